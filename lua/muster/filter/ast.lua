-- SPDX-License-Identifier: Apache-2.0
-- The syntax tree, the same for text and JSON, and its constructors. They keep the tree in its one canonical shape, so
-- that printing and reading it back gives the same tree.
--
--   expr    = { op = "true" } | { op = "false" }
--           | { op = "and" | "or", expr, expr, ... }            two or more; no child of the same op, no constants
--           | { op = "not", expr }                              never around not or a constant
--           | { op = "any" | "all", left = path, expr }         the inner paths start at the element
--           | leaf
--   leaf    = { op = "==" | "<" | "<=" | ">" | ">=", left, right }
--           | { op = "in", left, right }                        right: list, param, path or cidr
--           | { op = "startswith" | "endswith" | "like" | "glob" | "matches" | "contains", left, right }
--           | { op = "contains any" | "contains all", left, right }      right: list or param
--           | { op = "exists", left } | { op = "type", left, right }     right: value, a type's name
--   operand = { kind = "path", steps = { "name" | index, ... }, fn, lat, lon }    no steps: the element itself (`it`)
--           | { kind = "path", builtin = "ttl", steps = {}, fn }
--           | { kind = "value", value }                         muster.filter.value; not a list as such
--           | { kind = "list", items = { operand, ... } }
--           | { kind = "semver" | "cidr", text } | { kind = "time", text, micros }
--           | { kind = "param", name, offset } | { kind = "now", offset }
--   fn      = nil | "lower" | "upper" | "len" | "semver" | "time" | "distance"; "exists" and "type" only until used
--   offset  = number of seconds (or a number) added, nil for none
--   terms   = { { minus = bool, name = param }, ... }           parameters added; on literals and now() too
-- Every table has `pos`, the 1-based place in the text, or nil.
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"

local M = {}

M.BUILTINS = { id = 0, namespace = 1, registered_at = 2, updated_at = 3, expires_at = 4, ttl = 5, age = 6 }
M.TIMES = { registered_at = true, updated_at = true, expires_at = true }
M.TYPES = { string = 1, number = 2, integer = 4, bool = 8, null = 16, array = 32, object = 64 }
M.MAX_STEPS = 16
M.MAX_TERMS = 4

local FLIP = { ["=="] = "==", ["!="] = "!=", ["<"] = ">", ["<="] = ">=", [">"] = "<", [">="] = "<=" }

-- Operands --------------------------------------------------------------------------------------------------------

function M.path(steps, pos)
  return { kind = "path", steps = steps, pos = pos }
end

function M.value(v, pos)
  return { kind = "value", value = value.sorted(v), pos = pos }
end

-- A copy of a path with a function around it.
function M.call(fn, path, pos)
  local copy = {}
  for key, v in pairs(path) do copy[key] = v end
  copy.fn, copy.pos = fn, pos
  return copy
end

function M.is_value(operand, kind)
  return operand.kind == "value" and value.kind(operand.value) == kind
end

local function shift_time(time, seconds)
  local shift = typed.seconds_micros(seconds)
  time.text = shift and typed.format_time(typed.parse_time(time.text) + shift)
  return time.text and time
end

-- Adds a number to a literal number, a valid time, a parameter or now(); nil if the operand takes none.
function M.add_number(operand, number)
  local copy = M.call(operand.fn, operand, operand.pos)
  if M.is_value(operand, "number") then
    copy.value = value.add(operand.value, number)
    return copy.value and copy
  elseif operand.kind == "param" or operand.kind == "now" then
    copy.offset = value.add(operand.offset or 0, number)
    if copy.offset == 0 then copy.offset = nil end
    return copy
  elseif operand.kind == "time" then
    return shift_time(copy, number)
  end
  return nil
end

function M.add_param(operand, minus, name)
  local kind = operand.kind
  if not (M.is_value(operand, "number") or kind == "param" or kind == "now" or kind == "time") then return nil end
  local copy = M.call(operand.fn, operand, operand.pos)
  copy.terms = {}
  for i, term in ipairs(operand.terms or {}) do copy.terms[i] = term end
  copy.terms[#copy.terms + 1] = { minus = minus, name = name }
  return copy
end

-- The list as one array value, or nil and the item that is not plain.
function M.list_value(list)
  local array = value.array()
  for i, item in ipairs(list.items) do
    if item.kind ~= "value" then return nil, item end
    array[i] = item.value
  end
  return M.value(array, list.pos)
end

-- Expressions -----------------------------------------------------------------------------------------------------

function M.constant(truth, pos)
  return { op = truth and "true" or "false", pos = pos }
end

function M.leaf(op, left, right, pos)
  return { op = op, left = left, right = right, pos = pos }
end

function M.negate(expr, pos)
  if expr.op == "not" then return expr[1] end
  if expr.op == "true" or expr.op == "false" then return M.constant(expr.op == "false", pos) end
  return { op = "not", expr, pos = pos or expr.pos }
end

-- and / or of any number of expressions.
function M.junction(op, list, pos)
  local neutral, absorbing = "true", "false"
  if op == "or" then neutral, absorbing = absorbing, neutral end
  local node = { op = op, pos = pos }
  for _, expr in ipairs(list) do
    if expr.op == absorbing then return M.constant(absorbing == "true", pos) end
    if expr.op == op then
      for _, child in ipairs(expr) do node[#node + 1] = child end
    elseif expr.op ~= neutral then
      node[#node + 1] = expr
    end
  end
  if #node == 0 then return M.constant(neutral == "true", pos) end
  if #node == 1 then return node[1] end
  return node
end

-- `a op b`, where `a` may be reused: a long chain costs one step a link.
function M.join(op, a, b, pos)
  if a.op ~= op or b.op == "true" or b.op == "false" then return M.junction(op, { a, b }, pos) end
  if b.op ~= op then b = { b } end
  for _, child in ipairs(b) do a[#a + 1] = child end
  return a
end

-- any / all over the elements at `path`.
function M.quantifier(op, path, expr, pos)
  return { op = op, left = path, expr, pos = pos }
end

-- A string next to semver(p), time(p) or a built-in time is read as a version or a time.
local function retype(left, operand)
  local fn = left.fn or (M.TIMES[left.builtin or ""] and "time")
  if operand.kind == "list" then
    local items = {}
    for i, item in ipairs(operand.items) do items[i] = retype(left, item) end
    return { kind = "list", items = items, pos = operand.pos }
  end
  if (fn == "semver" or fn == "time") and M.is_value(operand, "string") then
    return { kind = fn, text = operand.value, pos = operand.pos }
  end
  return operand
end

-- ==, !=, <, <=, >, >=. A path comes to stand on the left.
function M.compare(op, left, right, pos)
  if left.kind ~= "path" and right.kind == "path" then
    left, right, op = right, left, FLIP[op]
  end
  if op == "!=" then return M.negate(M.compare("==", left, right, pos), pos) end
  if op == "==" and left.fn == "type" and M.is_value(right, "string") then
    return M.leaf("type", M.call(nil, left, left.pos), right, pos)
  end
  if op == "==" and left.fn == "exists" and M.is_value(right, "bool") then
    local exists = M.leaf("exists", M.call(nil, left, left.pos), nil, pos)
    return right.value and exists or M.negate(exists, pos)
  end
  return M.leaf(op, left, retype(left, right), pos)
end

-- `left in right`.
function M.member(left, right, pos)
  if left.fn == "type" and right.kind == "list" then
    local tests = {}
    for i, item in ipairs(right.items) do tests[i] = M.compare("==", left, item, pos) end
    return M.junction("or", tests, pos)
  end
  if right.kind == "path" and not right.fn and left.kind ~= "path" then
    return M.quantifier("any", right, M.leaf("==", M.path({}, right.pos), left, pos), pos)
  end
  return M.leaf("in", left, retype(left, right), pos)
end

-- The constant of an any() that is spelled `constant in path`, or nil.
function M.member_form(expr)
  local inner = expr[1]
  if expr.op ~= "any" or inner.op ~= "==" or inner.right.kind == "path" then return nil end
  local it = inner.left
  if it.kind == "path" and #it.steps == 0 and not it.fn and not it.builtin then return inner.right end
  return nil
end

-- `x between low and high`: two comparisons, which different elements of an array may satisfy.
function M.between(left, low, high, pos)
  return M.junction("and", { M.compare(">=", left, low, pos), M.compare("<=", left, high, pos) }, pos)
end

-- An operand alone; nil if it is no condition.
function M.truth(operand, pos)
  if M.is_value(operand, "bool") then return M.constant(operand.value, pos) end
  if operand.fn == "exists" then return M.leaf("exists", M.call(nil, operand, operand.pos), nil, pos) end
  if operand.offset or operand.terms or operand.fn then return nil end
  if operand.kind == "path" or operand.kind == "param" then
    return M.leaf("==", operand, M.value(true, pos), pos)
  end
  return nil
end

-- Calls visit(leaf or any/all, negated, in_element) for every clause, in the order of the text.
function M.each(expr, visit, negated, in_element)
  if expr.op == "and" or expr.op == "or" then
    for _, child in ipairs(expr) do M.each(child, visit, negated, in_element) end
  elseif expr.op == "not" then
    M.each(expr[1], visit, not negated, in_element)
  elseif expr.op == "any" or expr.op == "all" then
    visit(expr, negated or false, in_element or false)
    M.each(expr[1], visit, false, true)
  elseif expr.left then
    visit(expr, negated or false, in_element or false)
  end
end

return M
