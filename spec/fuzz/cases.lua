-- SPDX-License-Identifier: Apache-2.0
-- Random scripts: worlds of rows that are registered, replaced and removed, with filters between. Deterministic for a
-- seed of math.random.
local filter = require "muster.filter"
local mongo = require "fuzz.mongo"
local random_filter = require "support.filter_random"
local script = require "fuzz.script"
local value = require "muster.filter.value"

local M = {}

local random = math.random

local function pick(list) return list[random(#list)] end

-- Rows --------------------------------------------------------------------------------------------------------------

-- Fields beside those of support.filter_random, some with many distinct values: codes of one, two and four bytes. One
-- more, `c`, only grows, so that a range of it is a run of codes.
local EXTRA = {
  function(many) return ('"n":%d'):format(random(-2, many)) end,
  function(many) return ('"u":"SN%d"'):format(random(0, many)) end,
  function(many) return ('"f":%.2f'):format(random(0, many) / 4) end,
  function(many) return ('"site":{"rack":"r%d","slot":%d}'):format(random(0, many), random(0, 9)) end,
  function() return ('"flags":[%s]'):format(pick { "", '"x"', '"x","y"', "1,2", '"y",null', '[1],"x"' }) end,
  function() return ('"on":%s'):format(pick { "true", "false", "null", "1", '"true"' }) end,
}

local function document(world)
  if world.mongo then return mongo.document() end
  world.counter = world.counter + random(0, 2)
  local parts = { ('"c":%d'):format(world.counter) }
  for _, make in ipairs(EXTRA) do
    if random(3) > 1 then parts[#parts + 1] = make(world.many) end
  end
  local other = random_filter.document():sub(2, -2)
  if other ~= "" and (not world.big or random(4) == 1) then parts[#parts + 1] = other end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Filters -----------------------------------------------------------------------------------------------------------

local function number(world) return tostring(random(-3, world.many + 1)) end
local function serial(world) return ('"SN%d"'):format(random(0, world.many)) end

local function list(world, make)
  local items = {}
  for i = 1, random(0, 6) do items[i] = make(world) end
  return "[" .. table.concat(items, ", ") .. "]"
end

local COMPARE = { " == ", " != ", " < ", " <= ", " > ", " >= " }

local LEAVES = {
  function(world) return "c" .. pick(COMPARE) .. number(world) end,
  function(world) return "c" .. pick { " ", " not " } .. "between " .. number(world) .. " and " .. number(world) end,
  function(world) return "n" .. pick(COMPARE) .. number(world) end,
  function(world) return "n" .. pick { " ", " not " } .. "between " .. number(world) .. " and " .. number(world) end,
  function(world) return "n" .. pick { " in ", " not in " } .. list(world, number) end,
  function(world) return "u" .. pick(COMPARE) .. serial(world) end,
  function(world) return "u" .. pick { " in ", " not in " } .. list(world, serial) end,
  function() return "u" .. pick { ' startswith "SN1"', ' endswith "7"', ' like "SN_"', ' glob "*[13]"', " =~ '2'" } end,
  function(world) return "f" .. pick(COMPARE) .. ("%.2f"):format(random(0, world.many) / 4) end,
  function(world) return ('site.rack%s"r%d"'):format(pick { " == ", " != ", " < " }, random(0, world.many)) end,
  function() return "site.slot" .. pick { " == n", " < n", " != 3", " in [1, 5, 9]", " > f" } end,
  function() return "flags" .. pick { ' == "x"', ' contains "y"', " is null", " contains any [1, 'y']", " == []" } end,
  function() return pick { "on", "!on", "not on", "exists(on)", "on is missing", 'type(on) == "bool"' } end,
  function() return pick { '@id == "r3"', '@id in ["r1", "r7", "zz"]', '@id startswith "r1"', '@id != "r2"' } end,
  function() return pick { '@namespace == "w1"', "@namespace is missing", "exists(n) and exists(u)" } end,
  function() return "len(u) " .. pick { "== 3", "> 4", "<= 3" } end,
}

local function expression(world, depth)
  if depth == 0 then return pick(LEAVES)(world) end
  local n = random(6)
  if n <= 2 then return expression(world, depth - 1) .. " and " .. expression(world, depth - 1) end
  if n <= 4 then return "(" .. expression(world, depth - 1) .. " or " .. expression(world, depth - 1) .. ")" end
  if n == 5 then return "not (" .. expression(world, depth - 1) .. ")" end
  return expression(world, 0)
end

local PARAMS = {
  '{"p":"x","1":1,"w":60}', '{"p":["x",1,null],"1":["y",[1],{"k":1}],"w":0.5}', '{"p":null,"1":"1.5","w":-3600}',
  '{"p":[],"1":[],"w":1}',
}

-- What depends on the clock, or on when a row was registered.
local TIMED = { "now%(", "@ttl", "@age", "@registered_at", "@updated_at", "@expires_at" }

local function is_timed(text)
  for _, pattern in ipairs(TIMED) do
    if text:find(pattern) then return true end
  end
  return false
end

-- Whether 1.0 is an integer is not seen by the naive interpreter, which keeps one form of each number; documents of
-- mongo.lua hold such.
local function is_vague(world, text)
  return world.mongo and text:find('"integer"', 1, true) ~= nil
end

-- A query of any kind; those that compile badly (limits) are sent all the same: all must refuse them.
local function query(world)
  if world.mongo and random(3) > 1 then return script.query("mongo", mongo.filter()) end
  local text = expression(world, random(0, world.big and 2 or 3))
  if random(5) > (world.big and 4 or 2) then
    local other = random_filter.filter()
    if is_vague(world, other) then other = "true" end
    text = random(2) == 1 and other or ("(%s) %s (%s)"):format(text, pick { "and", "or", "and not" }, other)
  end
  local kind, params = is_timed(text) and "timed" or "query", text:find "[:$]" and pick(PARAMS) or nil
  local compiled = random(3) == 1 and filter.compile(text)
  return script.query(kind, compiled and compiled.json or value.quote(text), params)
end

-- Scripts -----------------------------------------------------------------------------------------------------------

-- How many rows there can be, how many distinct values, how many changes at a time, how many filters between changes.
local SIZES = {
  { weight = 50, rows = 12, many = 9, batch = 4, steps = 6, queries = 4 },
  { weight = 30, rows = 70, many = 30, batch = 30, steps = 5, queries = 4 },
  { weight = 14, rows = 1200, many = 2000, batch = 900, steps = 3, queries = 5, big = true },
  { weight = 3, rows = 9000, many = 6000, batch = 6000, steps = 2, queries = 5, big = true },
}
-- Codes of four bytes; seldom, because the naive interpreter takes its time for it.
local HUGE = { rows = 70000, many = 90000, queries = 6 }

local function choose_size(options)
  local at = random(options.small and 94 or 97)
  for _, size in ipairs(SIZES) do
    at = at - size.weight
    if at <= 0 then return size end
  end
end

local function change(world, operations)
  local rows, in_order = {}, world.counter == 0 and random(2) == 1
  for i = 1, in_order and world.batch or random(1, world.batch) do
    rows[i] = { id = "r" .. (in_order and i or random(0, world.rows - 1)), metadata = document(world) }
    if #rows[i].metadata > 8000 then rows[i].metadata = "{}" end
  end
  for first = 1, #rows, 1000 do
    local part = {}
    for i = first, math.min(first + 999, #rows) do part[#part + 1] = rows[i] end
    operations[#operations + 1] = script.register(part)
  end
  local removals = random(3) == 1 and random(0, math.min(world.rows, 200)) or random(0, 3)
  for _ = 1, removals do operations[#operations + 1] = script.unregister("r" .. random(0, world.rows - 1)) end
end

-- As many values as rows, and nothing else.
local function add_huge_world(operations)
  operations[#operations + 1] = script.world()
  for first = 0, HUGE.rows - 1, 1000 do
    local rows = {}
    for i = first, first + 999 do
      rows[#rows + 1] = { id = "r" .. i, metadata = ('{"c":%d,"n":%d}'):format(i, i * 2 % 99991) }
    end
    operations[#operations + 1] = script.register(rows)
  end
  for _ = 1, HUGE.queries do
    local text = LEAVES[random(5)](HUGE)
    if random(2) == 1 then text = ("(%s) and not (%s)"):format(text, LEAVES[random(5)](HUGE)) end
    operations[#operations + 1] = script.query("query", value.quote(text))
    operations[#operations + 1] = script.unregister("r" .. random(0, HUGE.rows - 1))
  end
end

-- Appends a world to a script. options: small = true, no big ones; huge = true, a very big one.
local function add_world(operations, options)
  if options.huge then return add_huge_world(operations) end
  local size = choose_size(options)
  local world = setmetatable({ mongo = random(3) == 1, counter = 0 }, { __index = size })
  operations[#operations + 1] = script.world()
  for _ = 1, random(1, size.steps) do
    change(world, operations)
    for _ = 1, size.queries do operations[#operations + 1] = query(world) end
  end
end

-- A script of about `worlds` worlds.
function M.script(worlds, options)
  local operations = {}
  for _ = 1, worlds do add_world(operations, options or {}) end
  return operations
end

return M
