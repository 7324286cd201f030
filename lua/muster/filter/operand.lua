-- SPDX-License-Identifier: Apache-2.0
-- Raw operands (grammar.lua) to operands of the tree (ast.lua): literals, functions, built-ins, parameters, arithmetic.
local arguments = require "muster.filter.arguments"
local ast = require "muster.filter.ast"
local errors = require "muster.filter.errors"
local suggest = require "muster.filter.suggest"
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"

local M = {}

local FUNCTIONS = { exists = 1, has = 1, type = 1, len = 1, size = 1, lower = 1, upper = 1, semver = 1, time = 1,
                    distance = 3, now = 0 }
local OPERATORS = { startswith = true, endswith = true, contains = true, matches = true, like = true, glob = true }
local ALIASES = { has = "exists", size = "len" }

-- ctx: { elements = depth of any/all, at = fixed position or nil, args = name -> operand or nil, named, ... }
local function place(ctx, raw)
  return ctx.at or raw.pos
end

-- Literals --------------------------------------------------------------------------------------------------------

local function number_of(ctx, raw)
  local v = typed.parse_number(raw.text)
  if v == nil then errors.raise("value", "number out of range", place(ctx, raw)) end
  return v
end

local plain

local function object_of(ctx, raw)
  local object = value.object()
  for i = 1, #raw, 2 do
    local key = raw[i]
    if object.values[key] ~= nil then
      errors.raise("value", "duplicate key " .. value.quote(key), place(ctx, raw))
    end
    if key:sub(1, 1) == "$" then
      errors.raise("value", "an object's keys may not begin with `$`", place(ctx, raw))
    end
    object.keys[#object.keys + 1] = key
    object.values[key] = plain(ctx, raw[i + 1])
  end
  return object
end

local function array_of(ctx, raw)
  local array = value.array()
  for i, item in ipairs(raw) do array[i] = plain(ctx, item) end
  return array
end

-- A raw literal as a plain value; raises for versions, times, networks and parameters.
function plain(ctx, raw)
  local kind = raw.kind
  if kind == "string" then return raw.value end
  if kind == "number" then return number_of(ctx, raw) end
  if kind == "true" or kind == "false" then return kind == "true" end
  if kind == "null" then return value.null end
  if kind == "object" then return object_of(ctx, raw) end
  if kind == "list" then return array_of(ctx, raw) end
  errors.raise("type", "a nested list or object holds plain values only", place(ctx, raw))
end

-- Operands --------------------------------------------------------------------------------------------------------

local function path_of(ctx, raw)
  local steps = {}
  for i, step in ipairs(raw) do steps[i] = step end
  if ctx.elements > 0 and steps[1] == "it" and not raw.quoted then table.remove(steps, 1) end
  return ast.path(steps, place(ctx, raw))
end

-- For an unknown name: a named filter that lacks its parentheses, the nearest built-in, or all of them.
local function builtin_hint(ctx, name)
  local source, definition = ctx.named, nil
  if type(source) == "function" then definition = source(name) elseif source then definition = source[name] end
  if definition then
    return ("`%s` is a named filter: write `@%s`"):format(name, arguments.signature(name, definition))
  end
  local near = suggest.nearest(name, suggest.keys(ast.BUILTINS))
  if near then return "did you mean `@" .. near .. "`?" end
  near = type(source) == "table" and suggest.nearest(name, suggest.keys(source))
  if near then return "did you mean `@" .. arguments.signature(near, source[near]) .. "`?" end
  return "known: @" .. table.concat(suggest.keys(ast.BUILTINS), ", @")
end

local function builtin_of(ctx, raw)
  local pos = place(ctx, raw)
  if not ast.BUILTINS[raw.name] then
    errors.raise("name", "unknown built-in `@" .. suggest.short(raw.name) .. "`", pos, builtin_hint(ctx, raw.name),
      { length = #raw.name + 1 })
  end
  return { kind = "path", builtin = raw.name, steps = {}, pos = pos }
end

local function param_of(ctx, raw)
  if not ctx.args then return { kind = "param", name = raw.name, pos = place(ctx, raw) } end
  local bound = ctx.args[raw.name]
  if ctx.used then ctx.used[raw.name] = true end
  if not bound then
    local near = suggest.nearest(raw.name, suggest.keys(ctx.args))
    errors.raise("name", "unknown parameter `" .. raw.name .. "`", raw.pos, near and "did you mean `" .. near .. "`?")
  end
  return bound.pos and bound or ast.call(bound.fn, bound, place(ctx, raw))
end

local function argument_number(operand)
  return ast.is_value(operand, "number") and tonumber(value.to_text(operand.value)) or nil
end

local function distance_of(ctx, raw, path)
  local function degrees(i, limit, what)
    local arg = raw.args[i]
    local v = arg.kind == "number" and tonumber(number_of(ctx, arg))
    if arg.kind == "param" and ctx.args then v = argument_number(param_of(ctx, arg)) end
    if not v then errors.raise("type", "`distance` expects a number for the " .. what, place(ctx, arg)) end
    if v < -limit or v > limit then
      errors.raise("value", ("the %s must be from -%d to %d"):format(what, limit, limit), place(ctx, arg))
    end
    return v
  end
  path.lat, path.lon = degrees(2, 90, "latitude"), degrees(3, 180, "longitude")
  return path
end

local function call_of(ctx, raw)
  local name, pos = raw.name:lower(), place(ctx, raw)
  local count = FUNCTIONS[name]
  if not count then
    local known = suggest.keys(FUNCTIONS)
    known[#known + 1], known[#known + 2] = "any", "all"
    local near = suggest.nearest(raw.name, known)
    table.sort(known)
    local hint = near and "did you mean `" .. near .. "`?" or "known: " .. table.concat(known, ", ")
    if OPERATORS[name] then hint = ("write `field %s ...`"):format(name) end
    errors.raise("name", "unknown function `" .. suggest.short(raw.name) .. "`", pos, hint, { length = #raw.name })
  end
  if #raw.args ~= count then
    errors.raise("type", ("`%s` takes %s argument%s, got %d"):format(raw.name, count == 0 and "no" or count,
      count == 1 and "" or "s", #raw.args), pos)
  end
  if name == "now" then return { kind = "now", pos = pos } end
  local first = raw.args[1]
  if first.kind ~= "path" and first.kind ~= "builtin" then
    errors.raise("type", "`" .. raw.name .. "` expects a field", place(ctx, first))
  end
  local inner = first.kind == "path" and path_of(ctx, first) or builtin_of(ctx, first)
  local path = ast.call(ALIASES[name] or name, inner, pos)
  return name == "distance" and distance_of(ctx, raw, path) or path
end

local base_of

local function list_of(ctx, raw)
  local items = {}
  for i, item in ipairs(raw) do
    if item.kind == "list" or item.kind == "object" then
      items[i] = ast.value(plain(ctx, item), place(ctx, item))
    else
      items[i] = base_of(ctx, item)
    end
  end
  return { kind = "list", items = items, pos = place(ctx, raw) }
end

function base_of(ctx, raw)
  local kind = raw.kind
  if kind == "path" then return path_of(ctx, raw) end
  if kind == "builtin" then return builtin_of(ctx, raw) end
  if kind == "param" then return param_of(ctx, raw) end
  if kind == "call" then return call_of(ctx, raw) end
  if kind == "typed" then return { kind = raw.type, text = raw.value, pos = place(ctx, raw) } end
  if kind == "list" then return list_of(ctx, raw) end
  return ast.value(plain(ctx, raw), place(ctx, raw))
end

local function add_term(ctx, operand, term)
  local what, minus, sum = term[1], term.sign == "-", nil
  local other = base_of(ctx, what)
  if other.kind == "param" and not other.offset and not other.terms then
    sum = ast.add_param(operand, minus, other.name)
  elseif ast.is_value(other, "number") then
    sum = ast.add_number(operand, minus and value.negate(other.value) or other.value)
  end
  if sum then return sum end
  if operand.kind == "path" then
    errors.raise("type", "arithmetic on a field is not supported", operand.pos,
      "only times and numbers take `+` and `-`")
  end
  errors.raise("type", "`+` and `-` need a number or a time", operand.pos)
end

local function operand_of(ctx, raw)
  if raw.kind then return base_of(ctx, raw) end -- a list
  local operand = base_of(ctx, raw[1])
  if operand.kind == "time" and raw[2] and not typed.parse_time(operand.text) then M.bad_time(operand) end
  for i = 2, #raw do operand = add_term(ctx, operand, raw[i]) end
  return operand
end

function M.bad_time(operand)
  errors.raise("value", "invalid time " .. value.quote(operand.text), operand.pos,
    'expected RFC 3339, e.g. t"2025-10-09T12:00:00Z"')
end

M.place, M.base, M.operand, M.path = place, base_of, operand_of, path_of

return M
