-- SPDX-License-Identifier: Apache-2.0
-- Warnings: filters that are right but may not say what was meant.
local ast = require "muster.filter.ast"
local print = require "muster.filter.print"
local suggest = require "muster.filter.suggest"

local M = {}

local function never_null(leaf)
  local right = leaf.right
  if not right or right.kind == "cidr" or right.kind == "path" then return true end
  if leaf.op ~= "==" and leaf.op ~= "in" then return true end
  for _, item in ipairs(right.kind == "list" and right.items or { right }) do
    if item.kind == "param" or ast.is_value(item, "null") then return false end
  end
  return true
end

-- The paths that some clause of a conjunction makes sure are there.
local function present_paths(expr, into)
  if expr.op == "and" then
    for _, child in ipairs(expr) do present_paths(child, into) end
  elseif expr.left and expr.left.kind == "path" and never_null(expr) then
    into[print.path(expr.left)] = true
  elseif expr.op == "not" and expr[1].op == "==" and ast.is_value(expr[1].right, "null") then
    into[print.path(expr[1].left)] = true
  end
end

local function warn_missing(leaf, in_element, out)
  local plain = leaf.op == "==" and not ast.is_value(leaf.right, "null") and not ast.is_value(leaf.right, "bool")
  if leaf.left.kind ~= "path" or not (plain or (leaf.op == "in" and leaf.right.kind ~= "cidr")) then return end
  if #leaf.left.steps == 0 and not leaf.left.builtin then return end
  local path = print.path(leaf.left, in_element)
  out[#out + 1] = ("`%s` also matches %s without `%s`; write `exists(%s) and %s`"):format(leaf.op == "==" and "!="
    or "not in", in_element and "elements" or "identities", path, path, print.text({ op = "not", leaf }, in_element))
end

local function collect(expr, present, in_element, out)
  if expr.op == "and" then
    local more = setmetatable({}, { __index = present })
    present_paths(expr, more)
    for _, child in ipairs(expr) do collect(child, more, in_element, out) end
  elseif expr.op == "not" and expr[1].left and expr[1].op ~= "any" and expr[1].op ~= "all" then
    local leaf = expr[1]
    if not (leaf.left.kind == "path" and present[print.path(leaf.left)]) then warn_missing(leaf, in_element, out) end
  else
    local inside = expr.op == "any" or expr.op == "all"
    for _, child in ipairs(expr) do collect(child, inside and {} or present, inside or in_element, out) end
  end
end

-- A list of warnings. `known`: the fields there are (optional), to spot misspelt ones.
function M.list(expr, fields, known)
  local out = {}
  collect(expr, {}, false, out)
  if known and #known > 0 then
    local set = {}
    for _, name in ipairs(known) do set[name] = true end
    for _, field in ipairs(fields) do
      local near = not set[field] and suggest.nearest(field, known)
      if near then out[#out + 1] = ("no identity has `%s`; did you mean `%s`?"):format(field, near) end
    end
  end
  return out
end

return M
