-- SPDX-License-Identifier: Apache-2.0
-- Checked tree to the leaves the engine knows. Clauses keep their order.
--
--   node = { op = "and" | "or", node, ... } | { op = "not", node } | { op = "true" } | { op = "false" }
--        | { op = "leaf", code, left, right, inner, text }
--   code   the name of an enum mst_op without its prefix; inner: node of any/all; text: the clause, for explain
-- Operands are those of ast.lua, without lists; further kinds: { kind = "pattern", type = "like" | "glob" | "regex",
-- text }, { kind = "types", mask }. A path beside a version or a time says so in its `fn`.
local ast = require "muster.filter.ast"
local oracle = require "muster.filter.oracle"
local print = require "muster.filter.print"
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"

local M = {}

local CODES = { ["=="] = "EQ", ["<"] = "LT", ["<="] = "LE", [">"] = "GT", [">="] = "GE", ["in"] = "IN",
                startswith = "STARTSWITH", endswith = "ENDSWITH", contains = "CONTAINS",
                ["contains any"] = "CONTAINS_ANY", ["contains all"] = "CONTAINS_ALL",
                like = "LIKE", glob = "GLOB", matches = "MATCHES", exists = "EXISTS",
                type = "TYPE" }
local PATTERNS = { like = "like", glob = "glob", matches = "regex" }

local function leaf(code, left, right, text)
  return { op = "leaf", code = code, left = left, right = right, text = text }
end

-- "semver" or "time" if the comparison is one of versions or times.
local function class_of(left, right)
  for _, side in ipairs { left, right } do
    if side.fn == "semver" or side.kind == "semver" then return "semver" end
    if side.fn == "time" or side.kind == "time" or side.kind == "now" then return "time" end
    if not side.fn and ast.TIMES[side.builtin or ""] then return "time" end
  end
  return nil
end

local function typed_side(side, class)
  if side.kind == "path" and not side.fn then return ast.call(class, side, side.pos) end
  if class == "time" and ast.is_value(side, "number") and not side.terms then
    local micros = typed.number_time(side.value)
    if micros then return { kind = "time", micros = micros } end
  end
  return side
end

local function comparison(code, left, right, text)
  local class = class_of(left, right)
  if class then left, right = typed_side(left, class), typed_side(right, class) end
  if code == "EQ" and left.kind == "path" and not left.fn and ast.is_value(right, "bool") and right.value then
    return leaf("TRUE", left, nil, text)
  end
  return leaf(code, left, right, text)
end

-- `left in list`: one IN over the plain values, one leaf each for the rest.
local function members(expr, in_element)
  local left, plain, tests = expr.left, {}, {}
  local class = class_of(left, left)
  for _, item in ipairs(expr.right.items) do
    if item.kind == "value" and not class then
      local known = false
      for _, other in ipairs(plain) do known = known or value.equal(other.value, item.value) end
      if not known then plain[#plain + 1] = item end
    else
      local single = item.kind == "cidr" and ast.leaf("in", left, item) or ast.leaf("==", left, item)
      local text = print.text(single, in_element)
      tests[#tests + 1] = item.kind == "cidr" and leaf("CIDR", left, item, text) or comparison("EQ", left, item, text)
    end
  end
  if #plain == 0 and #tests == 0 then return { op = "false" } end
  local list = { kind = "list", items = plain }
  if #plain > 0 then
    local text = print.text(ast.leaf("in", left, list), in_element)
    table.insert(tests, 1, leaf("IN", left, ast.list_value(list), text))
  end
  return #tests == 1 and tests[1] or ast.junction("or", tests)
end

local function is_constant(operand)
  if operand == nil then return true end
  if operand.kind == "list" then
    for _, item in ipairs(operand.items) do
      if not is_constant(item) then return false end
    end
    return true
  end
  return operand.kind ~= "path" and operand.kind ~= "param" and operand.kind ~= "now" and not operand.terms
end

local function clause(expr, in_element)
  local op, left, right = expr.op, expr.left, expr.right
  -- patterns are left to the engine, whose matchers are bounded
  if is_constant(left) and is_constant(right) and not PATTERNS[op] then
    return { op = oracle.match(expr, value.object()) and "true" or "false" }
  end
  if op == "in" and right.kind == "list" then return members(expr, in_element) end
  local text = print.text(expr, in_element)
  if op == "in" and right.kind == "cidr" then return leaf("CIDR", left, right, text) end
  if op == "type" then return leaf("TYPE", left, { kind = "types", mask = ast.TYPES[right.value] }, text) end
  if PATTERNS[op] and right.kind == "value" then
    right = { kind = "pattern", type = PATTERNS[op], text = right.value }
  elseif right and right.kind == "list" then
    right = ast.list_value(right)
  end
  local code = CODES[op]
  if code == "EQ" or code == "LT" or code == "LE" or code == "GT" or code == "GE" then
    return comparison(code, left, right, text)
  end
  return leaf(code, left, right, text)
end

local lower

local function junction(expr, in_element)
  local parts = {}
  for i, child in ipairs(expr) do parts[i] = lower(child, in_element) end
  return ast.junction(expr.op, parts)
end

function lower(expr, in_element)
  local op = expr.op
  if op == "true" or op == "false" then return { op = op } end
  if op == "and" or op == "or" then return junction(expr, in_element) end
  if op == "not" then return ast.negate(lower(expr[1], in_element)) end
  if op == "any" or op == "all" then
    local node = leaf(op:upper(), expr.left, nil, print.text(expr, in_element))
    node.inner = lower(expr[1], true)
    return node
  end
  return clause(expr, in_element)
end

function M.lower(expr)
  return lower(expr, false)
end

return M
