-- SPDX-License-Identifier: Apache-2.0
-- Syntax tree to canonical filter text. Reading it back gives the same tree.
local ast = require "muster.filter.ast"
local grammar = require "muster.filter.grammar"
local value = require "muster.filter.value"

local M = {}

local RESERVED = {}
for _, word in ipairs(grammar.RESERVED) do RESERVED[word] = true end

-- Paths -----------------------------------------------------------------------------------------------------------

local is_ident = grammar.is_ident

local function step_text(step)
  if type(step) == "number" then return ("[%d]"):format(step) end
  if is_ident(step) then return "." .. step end
  if step:find "[`%z]" then return "[" .. value.quote(step) .. "]" end
  return ".`" .. step .. "`"
end

-- `in_element`: inside any or all, where a path without names is `it`.
function M.path(path, in_element)
  if path.builtin then return "@" .. path.builtin end
  local steps, out, from = path.steps, {}, 2
  local first = steps[1]
  if first == nil or type(first) == "number" then
    out[1], from = "it", 1
  elseif is_ident(first) and not RESERVED[first:lower()] and not (in_element and first == "it") then
    out[1] = first
  else
    out[1] = "`" .. first .. "`"
  end
  for i = from, #steps do out[#out + 1] = step_text(steps[i]) end
  return table.concat(out)
end

-- Operands --------------------------------------------------------------------------------------------------------

local function param(name)
  return (name:find "^%d" and "$" or ":") .. name
end

local function offset_text(offset, unit)
  if not offset then return "" end
  local minus = value.compare_numbers(offset, 0) < 0
  local text = value.format_number(minus and value.negate(offset) or offset)
  if text:find "e" then unit = "" end
  return (minus and " - " or " + ") .. text .. unit
end

local function base_text(operand, in_element)
  local kind = operand.kind
  if kind == "value" then return value.to_text(operand.value) end
  if kind == "param" then return param(operand.name) .. offset_text(operand.offset, "") end
  if kind == "now" then return "now()" .. offset_text(operand.offset, "s") end
  if kind == "time" then return "t" .. value.quote(operand.text) end
  if kind == "semver" or kind == "cidr" then return kind .. value.quote(operand.text) end
  if kind == "list" then
    local items = {}
    for i, item in ipairs(operand.items) do items[i] = base_text(item, in_element) end
    return "[" .. table.concat(items, ", ") .. "]"
  end
  local path = M.path(operand, in_element)
  if operand.fn == "distance" then
    return ("distance(%s, %s, %s)"):format(path, value.format_number(operand.lat), value.format_number(operand.lon))
  end
  return operand.fn and operand.fn .. "(" .. path .. ")" or path
end

function M.operand(operand, in_element)
  local text = base_text(operand, in_element)
  for _, term in ipairs(operand.terms or {}) do
    text = text .. (term.minus and " - " or " + ") .. param(term.name)
  end
  return text
end

-- Expressions -----------------------------------------------------------------------------------------------------

local function is_null(operand)
  return ast.is_value(operand, "null")
end

local function is_truth(leaf)
  return leaf.op == "==" and ast.is_value(leaf.right, "bool") and leaf.right.value and not leaf.left.fn
    and not leaf.left.offset and not leaf.left.terms and (leaf.left.kind == "path" or leaf.left.kind == "param")
end

-- A clause without its negation; second result: how the operator reads negated, or nil for `not` before the clause.
local function leaf_text(leaf, in_element, negated)
  local op, left = leaf.op, M.operand(leaf.left, in_element)
  if op == "exists" then return "exists(" .. left .. ")", false end
  local right = M.operand(leaf.right, in_element)
  if op == "type" then return ("type(%s) %s %s"):format(left, negated and "!=" or "==", right), true end
  if op == "==" then
    if is_truth(leaf) then return left, false end
    if is_null(leaf.right) then return left .. (negated and " is not null" or " is null"), true end
    return left .. (negated and " != " or " == ") .. right, true
  end
  if #op <= 2 and op ~= "in" or (op == "in" and leaf.right.kind == "cidr") then
    return left .. " " .. op .. " " .. right, false
  end
  return left .. (negated and " not " or " ") .. op .. " " .. right, true
end

local text

local function quantifier_text(expr, in_element)
  local path = M.operand(expr.left, in_element)
  local member = ast.member_form(expr)
  if member then return M.operand(member, in_element) .. " in " .. path end
  return expr.op .. "(" .. path .. ", " .. text(expr[1], true) .. ")"
end

local function is_leaf(expr)
  return expr.left and expr.op ~= "any" and expr.op ~= "all"
end

local function child_text(expr, in_element, parent)
  local inner = text(expr, in_element)
  if expr.op == "or" or (expr.op == "and" and parent == "not") then return "(" .. inner .. ")" end
  return inner
end

function text(expr, in_element)
  local op = expr.op
  if op == "true" or op == "false" then return op end
  if op == "and" or op == "or" then
    local parts = {}
    for i, child in ipairs(expr) do parts[i] = child_text(child, in_element, op) end
    return table.concat(parts, " " .. op .. " ")
  end
  if op == "not" then
    if is_leaf(expr[1]) then
      local clause, folded = leaf_text(expr[1], in_element, true)
      return folded and clause or "not " .. clause
    end
    return "not " .. child_text(expr[1], in_element, "not")
  end
  if op == "any" or op == "all" then return quantifier_text(expr, in_element) end
  return (leaf_text(expr, in_element, false))
end

-- The canonical text of a whole filter or of one clause.
M.text = text

return M
