-- SPDX-License-Identifier: Apache-2.0
-- The JSON form's keys and values to operands of the tree. `ctx` as in json.lua.
local ast = require "muster.filter.ast"
local errors = require "muster.filter.errors"
local grammar = require "muster.filter.grammar"
local operands = require "muster.filter.operand"
local suggest = require "muster.filter.suggest"
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"

local M = {}

local function fail(ctx, message, hint, kind)
  errors.raise(kind or "json", message, nil, hint, { pointer = ctx.at })
end

local function below(ctx, key)
  local token = tostring(key):gsub("~", "~0"):gsub("/", "~1")
  return { elements = ctx.elements, at = ctx.at .. "/" .. token }
end

local KINDS = { bool = "boolean", array = "array" }
local function kind_name(v)
  local kind = value.kind(v)
  return KINDS[kind] or kind
end

local function expect(ctx, v, kind, what)
  if value.kind(v) ~= kind then
    fail(ctx, ("%s expects %s %s"):format(what, kind:find "^[aeiou]" and "an" or "a", KINDS[kind] or kind))
  end
  return v
end

-- Whether every key of an object begins with `$` (and there is one).
local function is_operators(v)
  if value.kind(v) ~= "object" or #v.keys == 0 then return false end
  for _, key in ipairs(v.keys) do
    if key:sub(1, 1) ~= "$" then return false end
  end
  return true
end

local function single(v)
  if value.kind(v) ~= "object" or #v.keys ~= 1 then return nil end
  return v.keys[1], v.values[v.keys[1]]
end

-- Paths -----------------------------------------------------------------------------------------------------------

local function split_key(ctx, key)
  local steps, at = {}, 1
  while true do
    local name, after = key:match("^`([^`]*)`()", at)
    if name then
      steps[#steps + 1] = { name, quoted = true }
    else
      name, after = key:match("^([^.`]*)()", at)
      if name == "" then
        fail(ctx, at > #key and #key > 0 and "path ends in a dot: " .. key or "empty name in path: " .. key)
      end
      steps[#steps + 1] = { name }
    end
    if after > #key then return steps end
    if key:sub(after, after) ~= "." then fail(ctx, "misplaced back-quote in path: " .. key) end
    at = after + 1
  end
end

local function path_of_segments(ctx, segments)
  local steps, from = {}, 1
  if ctx.elements > 0 and segments[1] and segments[1][1] == "it" and not segments[1].quoted then from = 2 end
  for i = from, #segments do
    local name, quoted = segments[i][1], segments[i].quoted
    local index = not quoted and (i > 1 or ctx.elements > 0) and (name == "0" or name:find "^[1-9]%d*$")
    steps[#steps + 1] = index and #name < 11 and tonumber(name) or name
  end
  return ast.path(steps)
end

local function builtin_path(ctx, key)
  local name = key:sub(2)
  if not ast.BUILTINS[name] then
    local near = suggest.nearest(name, suggest.keys(ast.BUILTINS))
    fail(ctx, "unknown built-in `" .. key .. "`", near and "did you mean `@" .. near .. "`?"
      or "known: @" .. table.concat(suggest.keys(ast.BUILTINS), ", @"), "name")
  end
  return { kind = "path", builtin = name, steps = {} }
end

-- A path in a key or after $field.
local function path_of_key(ctx, key)
  if key:find "%z" then fail(ctx, "NUL byte in path") end
  if key:sub(1, 1) == "@" then return builtin_path(ctx, key) end
  if key:find("[", 1, true) then
    local steps = grammar.parse_path(key)
    if steps then
      if ctx.elements > 0 and steps[1] == "it" then table.remove(steps, 1) end
      return ast.path(steps)
    end
  end
  return path_of_segments(ctx, split_key(ctx, key))
end

-- Operands --------------------------------------------------------------------------------------------------------

local operand

local function number_pair(ctx, v, what)
  expect(ctx, v, "array", what)
  if #v ~= 2 then fail(ctx, what .. " expects two members") end
  return v[1], v[2]
end

local function distance_path(ctx, path, from)
  local lat, lon = number_pair(ctx, from, "from")
  lat, lon = tonumber(expect(ctx, lat, "number", "from")), tonumber(expect(ctx, lon, "number", "from"))
  if math.abs(lat) > 90 or math.abs(lon) > 180 then fail(ctx, "latitude or longitude out of range", nil, "value") end
  local copy = ast.call("distance", path)
  copy.lat, copy.lon = lat, lon
  return copy
end

local function sum(ctx, key, v)
  local a, b = number_pair(ctx, v, key)
  local left, right = operand(ctx, a), operand(ctx, b)
  local minus, result = key == "$sub", nil
  if left.kind == "time" and not typed.parse_time(left.text) then operands.bad_time(left) end
  if right.kind == "param" and not right.offset and not right.terms then
    result = ast.add_param(left, minus, right.name)
  elseif ast.is_value(right, "number") then
    result = ast.add_number(left, minus and value.negate(right.value) or right.value)
  end
  return result or fail(ctx, key .. " adds a number or a parameter to a number, a time or a parameter", nil, "type")
end

local function param(ctx, v)
  if value.kind(v) == "number" and value.is_integer(v) and value.compare_numbers(v, 0) > 0 then
    return { kind = "param", name = value.format_number(v) }
  end
  if value.kind(v) ~= "string" or not (grammar.is_ident(v) or v:find "^[1-9]%d*$") then
    fail(ctx, "$param expects a name or a number")
  end
  return { kind = "param", name = v }
end

-- The field inside {"$lower": {"$field": ..}} and the like; nil if `v` is none.
local function inner_field(ctx, v)
  local key, name = single(v)
  return key == "$field" and path_of_key(ctx, expect(ctx, name, "string", "$field")) or nil
end

local FUNCTIONS = { ["$lower"] = "lower", ["$upper"] = "upper", ["$len"] = "len", ["$semver"] = "semver",
                    ["$time"] = "time" }

local OPERANDS = {
  ["$field"] = function(ctx, v) return path_of_key(ctx, expect(ctx, v, "string", "$field")) end,
  ["$date"] = function(ctx, v) return { kind = "time", text = expect(ctx, v, "string", "$date") } end,
  ["$cidr"] = function(ctx, v) return { kind = "cidr", text = expect(ctx, v, "string", "$cidr") } end,
  ["$now"] = function(ctx, v)
    expect(ctx, v, "number", "$now")
    return { kind = "now", offset = v ~= 0 and v or nil }
  end,
  ["$param"] = param,
  ["$add"] = function(ctx, v) return sum(ctx, "$add", v) end,
  ["$sub"] = function(ctx, v) return sum(ctx, "$sub", v) end,
}

-- An operand that is not plain JSON ({"$date": ..} and so on); nil if `v` is none.
local function special(ctx, v)
  local key, inner = single(v)
  if key == nil then return nil end
  if OPERANDS[key] then return OPERANDS[key](below(ctx, key), inner) end
  if key == "$semver" and value.kind(inner) == "string" then return { kind = "semver", text = inner } end
  local field = FUNCTIONS[key] and inner_field(ctx, inner)
  if field then return ast.call(FUNCTIONS[key], field) end
  if key == "$distance" and value.kind(inner) == "object" and inner.values["$field"] then
    local path = path_of_key(ctx, expect(ctx, inner.values["$field"], "string", "$field"))
    return distance_path(ctx, path, inner.values.from)
  end
  return nil
end

function operand(ctx, v)
  local found = special(ctx, v)
  if found then return found end
  if is_operators(v) then fail(ctx, "unexpected operator " .. v.keys[1] .. " in a value") end
  return ast.value(v)
end

-- The right side of $in and its kin.
local function list_operand(ctx, v)
  if value.kind(v) ~= "array" then return operand(ctx, v) end
  local items = {}
  for i = 1, #v do items[i] = operand(below(ctx, i - 1), v[i]) end
  return { kind = "list", items = items }
end

M.FUNCTIONS = FUNCTIONS
M.fail, M.below, M.expect, M.single, M.kind_name = fail, below, expect, single, kind_name
M.is_operators, M.number_pair = is_operators, number_pair
M.path, M.distance_path, M.special, M.operand, M.list = path_of_key, distance_path, special, operand, list_operand

return M
