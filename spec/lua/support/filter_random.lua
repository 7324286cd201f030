-- SPDX-License-Identifier: Apache-2.0
-- Random filters, as text, and random documents that they have a chance to match. Deterministic for a seed.
local M = {}

local random = math.random

local function pick(list) return list[random(#list)] end

local NAMES = { "a", "b", "tags", "s", "`odd name`", "contains", "größe", "a-b" }
local WORDS = { '"x"', "'y'", '"it\\"s"', 'r"\\d"', '""', '"Zü"', "'it''s'", '"1.2.0"', '"2025-10-09"', '"10.1.2.3"' }
local NUMBERS = { "0", "1", "-1", "2", "1.5", "1e3", "0x1f", "9007199254740993", "9007199254740992.0", "5m", "250ms",
                  "2km" }

local function path(depth)
  local text = pick(NAMES)
  while depth > 0 and random(4) == 1 do
    text = text .. pick { ".a", ".b", "[0]", "[1]", '["k k"]', ".in", ".`x.y`" }
    depth = depth - 1
  end
  return text
end

local scalar

local function array(depth)
  local items = {}
  for i = 1, random(0, 3) do items[i] = depth > 0 and random(6) == 1 and array(depth - 1) or scalar() end
  return "[" .. table.concat(items, pick { ", ", "," }) .. "]"
end

function scalar()
  local n = random(8)
  if n <= 3 then return pick(WORDS) end
  if n <= 6 then return pick(NUMBERS) end
  return pick { "true", "false", "null", '{"k": 1, "a": [2]}' }
end

local function ordered() return random(2) == 1 and pick(WORDS) or pick(NUMBERS) end

local WORD_OPERATORS = { "startswith", "endswith", "contains", "like", "glob" }
local TIMES = { "now()", "now() - 5m", "now() + :w", 't"2025-10-09T12:00:00Z"', 't"2025-10-09" + 1d' }
local MIXED = { ":p, 1", 'semver"1.2", "x"', 'cidr"10.0.0.0/8", null' }

local LEAVES = {
  function() return path(3) .. pick { " == ", "=", " != ", " <> " } .. scalar() end,
  function() return path(3) .. pick { "<", " <= ", " > ", " >= " } .. ordered() end,
  function() return scalar() .. " == " .. path(2) end,
  function() return pick(NUMBERS) .. " < " .. path(2) end,
  function() return path(2) .. pick { " in ", " not in " } .. array(1) end,
  function() return scalar() .. pick { " in ", " not in " } .. path(1) end,
  function() return path(1) .. " in " .. path(1) end,
  function() return path(1) .. " == " .. array(2) end,
  function() return path(2) .. pick { " ", " NOT " } .. pick(WORD_OPERATORS) .. " " .. pick(WORDS) end,
  function() return path(2) .. pick { " matches ", " =~ ", " !~ " } .. pick { '"^x"', '"[a-z]+$"', "'(?i)Y|z'" } end,
  function() return path(2) .. " contains " .. scalar() end,
  function() return path(2) .. pick { " ", " not " } .. pick { "contains any ", "contains all " } .. array(0) end,
  function() return path(2) .. " is " .. pick { "null", "not null", "missing", "not missing" } end,
  function() return pick { "exists(", "has(", "not exists(" } .. path(3) .. ")" end,
  function() return "type(" .. path(2) .. ") " .. pick { '== "string"', '!= "array"', 'in ["null", "integer"]' } end,
  function() return path(2) end,
  function() return "!" .. path(2) end,
  function() return path(1) .. pick { " < ", " == ", " != ", " >= " } .. path(1) end,
  function() return path(1) .. pick { " ", " not " } .. "between " .. pick(NUMBERS) .. " and " .. pick(NUMBERS) end,
  function() return pick { "len(", "size(" } .. path(1) .. pick { ") == ", ") < ", ") >= " } .. pick(NUMBERS) end,
  function() return pick { "lower(", "upper(" } .. path(1) .. pick { ") == ", ") < ", ") != " } .. pick(WORDS) end,
  function() return path(1) .. pick { " < ", " == ", " != " } .. pick { 'semver"1.10"', 'v"1.2.0-rc.1"' } end,
  function() return "semver(" .. path(1) .. ") " .. pick { "< ", "== " } .. pick { '"1.9"', "semver(b)", 'v"1.2"' } end,
  function() return path(1) .. pick { " < ", " >= " } .. pick(TIMES) end,
  function() return path(1) .. pick { " in ", " not in " } .. 'cidr"10.0.0.0/8"' end,
  function() return path(1) .. " in [" .. pick(MIXED) .. "]" end,
  function() return path(1) .. pick { " == ", " in ", " startswith ", " contains any " } .. pick { ":p", "$1" } end,
  function() return pick { "@id", "@ttl", "@registered_at" } .. pick { " == 5", " < 30s", " is missing", " != 7" } end,
  function() return pick { "true", "false" } end,
  function() return "distance(" .. path(1) .. ", 10, 20.5) < 5km" end,
}

local function element_leaf()
  local test = pick { " == 1", ' startswith "x"', " > 0", " != null", ' in [1, "x"]', "" }
  return pick { "it", "it.a", "it[0]", "`it`", "a" } .. test
end

local function expression(depth)
  if depth == 0 or random(4) == 1 then return pick(LEAVES)() end
  local n = random(8)
  if n <= 2 then return expression(depth - 1) .. pick { " and ", " && ", " AND " } .. expression(depth - 1) end
  if n <= 4 then return "(" .. expression(depth - 1) .. pick { " or ", " || " } .. expression(depth - 1) .. ")" end
  if n == 5 then return "not " .. expression(depth - 1) end
  if n == 6 then return "!(" .. expression(depth - 1) .. ")" end
  if n == 7 then
    local inner = random(2) == 1 and element_leaf() or element_leaf() .. " and not " .. expression(depth - 1)
    return pick { "any", "all" } .. "(" .. path(1) .. ", " .. inner .. ")"
  end
  return "((" .. expression(depth - 1) .. "))"
end

function M.filter()
  return expression(random(0, 3))
end

-- Documents, as JSON text -----------------------------------------------------------------------------------------

local SCALARS = { '"x"', '"y"', '"xyz"', '"Zü"', '""', "0", "1", "-1", "1.5", "1000", "2", "true", "false", "null",
                  '"1.2.0"', '"1.10"', '"10.1.2.3"', '"2025-10-09"', "1760000000", "9007199254740993" }
local KEYS = { "a", "b", "tags", "s", "odd name", "contains", "größe", "a-b", "k k", "in", "x.y", "0", "it", "k" }

local function json(depth)
  local n = random(6)
  if depth == 0 or n <= 3 then return pick(SCALARS) end
  local parts = {}
  if n == 4 or n == 5 then
    for i = 1, random(0, 3) do parts[i] = json(depth - 1) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local seen = {}
  for _ = 1, random(0, 3) do
    local key = pick(KEYS)
    if not seen[key] then parts[#parts + 1] = ('"%s":%s'):format(key, json(depth - 1)) end
    seen[key] = true
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

function M.document()
  local parts, seen = {}, {}
  for _ = 1, random(0, 6) do
    local key = pick(KEYS)
    if not seen[key] then parts[#parts + 1] = ('"%s":%s'):format(key, json(3)) end
    seen[key] = true
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local DAMAGE = { "", "(", ")", '"', "'", "`", "[", "]", " not ", "==", ",", "\\", "/*", "--", "\195", "\0", ".", "-",
                 "@", ":", "~" }

-- A random filter with a few bytes changed: seldom a filter.
function M.damaged()
  local text = M.filter()
  for _ = 1, random(1, 3) do
    local at = random(1, #text + 1)
    local what = pick(DAMAGE)
    text = text:sub(1, at - 1) .. what .. text:sub(at + random(0, 1))
  end
  return text
end

return M
