-- SPDX-License-Identifier: Apache-2.0
-- Syntax tree to canonical JSON: operator objects only, one node = one object.
local grammar = require "muster.filter.grammar"
local value = require "muster.filter.value"

local M = {}

local object, array = value.object, value.array

-- A path as a key.
function M.path(path, in_element)
  if path.builtin then return "@" .. path.builtin end
  local parts = {}
  if path.steps[1] == nil or type(path.steps[1]) == "number" then parts[1] = "it" end
  for _, step in ipairs(path.steps) do
    local first = #parts == 0
    if type(step) == "number" then
      parts[#parts + 1] = ("%d"):format(step)
    elseif grammar.is_ident(step) and not (first and in_element and step == "it") then
      parts[#parts + 1] = step
    elseif step:find("[`%z]") then
      return M.bracketed(path, in_element)
    else
      parts[#parts + 1] = "`" .. step .. "`"
    end
  end
  return table.concat(parts, ".")
end

-- A path with a name that back-quotes cannot hold: as filter text writes it.
function M.bracketed(path, in_element)
  return require("muster.filter.print").path(path, in_element)
end

local OPERATORS = { ["=="] = "$eq", ["<"] = "$lt", ["<="] = "$lte", [">"] = "$gt", [">="] = "$gte", ["in"] = "$in",
                    startswith = "$startswith", endswith = "$endswith", contains = "$contains", like = "$like",
                    glob = "$glob", matches = "$regex", ["contains any"] = "$containsAny",
                    ["contains all"] = "$containsAll", type = "$type" }

local function param(name)
  return object("$param", name:find "^%d" and value.parse_number(name) or name)
end

local function base(operand, in_element)
  local kind = operand.kind
  if kind == "value" then return operand.value end
  if kind == "time" then return object("$date", operand.text) end
  if kind == "semver" or kind == "cidr" then return object("$" .. kind, operand.text) end
  if kind == "now" then return object("$now", operand.offset or 0) end
  if kind == "param" then
    if not operand.offset then return param(operand.name) end
    if value.compare_numbers(operand.offset, 0) < 0 then
      return object("$sub", array(param(operand.name), value.negate(operand.offset)))
    end
    return object("$add", array(param(operand.name), operand.offset))
  end
  local field = object("$field", M.path(operand, in_element))
  if operand.fn == "distance" then
    return object("$distance", object("from", array(operand.lat, operand.lon), "$field", field.values["$field"]))
  end
  return operand.fn and object("$" .. operand.fn, field) or field
end

local function operand_json(operand, in_element)
  if operand.kind == "list" then
    local list = array()
    for i, item in ipairs(operand.items) do list[i] = operand_json(item, in_element) end
    return list
  end
  local v = base(operand, in_element)
  for _, term in ipairs(operand.terms or {}) do
    v = object(term.minus and "$sub" or "$add", array(v, param(term.name)))
  end
  return v
end

-- { left: { operator: right } }, with the function of the left side between.
local function test(left, operator, right, in_element)
  local inner = object(operator, right)
  if left.kind ~= "path" then return object("$value", operand_json(left, in_element), "is", inner) end
  if left.fn == "distance" then
    inner = object("$distance", object("from", array(left.lat, left.lon), "is", inner))
  elseif left.fn then
    inner = object("$" .. left.fn, inner)
  end
  return object(M.path(left, in_element), inner)
end

local json

local function quantifier(expr, in_element)
  local inner = json(expr[1], true)
  if expr.op == "any" and #inner.keys == 1 and inner.keys[1] == "it" then inner = inner.values.it end
  return object(M.path(expr.left, in_element), object(expr.op == "any" and "$elemMatch" or "$allMatch", inner))
end

local function leaf(expr, in_element, negated)
  local op, left = expr.op, expr.left
  if op == "exists" then return test(left, "$exists", not negated, in_element), true end
  local operator = OPERATORS[op]
  local folded = op == "==" or (op == "in" and expr.right.kind ~= "cidr")
  if negated and folded then operator = op == "==" and "$ne" or "$nin" end
  return test(left, operator, operand_json(expr.right, in_element), in_element), folded
end

function json(expr, in_element)
  local op = expr.op
  if op == "true" then return object() end
  if op == "false" then return object("$or", array()) end
  if op == "and" or op == "or" then
    local parts = array()
    for i, child in ipairs(expr) do parts[i] = json(child, in_element) end
    return object("$" .. op, parts)
  end
  if op == "any" or op == "all" then return quantifier(expr, in_element) end
  if op ~= "not" then return (leaf(expr, in_element, false)) end
  local child = expr[1]
  if child.left and child.op ~= "any" and child.op ~= "all" then
    local written, folded = leaf(child, in_element, true)
    if folded then return written end
  end
  return object("$not", json(child, in_element))
end

-- The document (values as in muster.filter.value).
M.document = json

-- Its text.
function M.text(expr)
  return value.to_json(json(expr, false))
end

return M
