-- SPDX-License-Identifier: Apache-2.0
-- What a well-formed tree must still satisfy: types that can be seen without data, valid literals, limits. Raises
-- through errors.lua at the offending operand.
local ast = require "muster.filter.ast"
local errors = require "muster.filter.errors"
local operands = require "muster.filter.operand"
local regex = require "muster.filter.regex"
local suggest = require "muster.filter.suggest"
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"

local M = {}

local MAX_NESTING = 48 -- and, or, not, any, all; the engine allows 64
local MAX_CONSTANT_DEPTH = 16
local MAX_PATTERN = 1024 -- as in the engine
local ORDER = { ["<"] = true, ["<="] = true, [">"] = true, [">="] = true }
local NAMES = { bool = "boolean", array = "list" }
local FN_CLASS = { lower = "string", upper = "string", len = "number", distance = "number", semver = "semver",
                   time = "time", type = "string", exists = "bool" }
local SYNONYMS = { boolean = "bool", int = "integer", float = "number", double = "number", list = "array",
                   map = "object", dict = "object", table = "object", str = "string", text = "string", none = "null" }

local function fail(kind, operand, message, hint)
  errors.raise(kind, message, operand.pos, hint)
end

local function name_of(class)
  return NAMES[class] or class
end

local function a(class)
  local name = name_of(class)
  return (name:find "^[aeiou]" and "an " or "a ") .. name
end

-- What kind of value an operand gives, as far as the text tells; nil for a plain field or a parameter.
local function class_of(operand)
  if operand.kind == "path" then
    return FN_CLASS[operand.fn] or (not operand.fn and ast.TIMES[operand.builtin or ""] and "time") or nil
  end
  if operand.kind == "value" then return value.kind(operand.value) end
  if operand.kind == "now" then return "time" end
  if operand.kind == "param" then return nil end
  if operand.kind == "list" then return "array" end
  return operand.kind
end

local function fits(x, y)
  return not x or not y or x == y or (x == "time" and y == "number") or (x == "number" and y == "time")
end

-- Literals and paths ----------------------------------------------------------------------------------------------

local function check_path(path)
  if #path.steps > ast.MAX_STEPS then
    fail("limit", path, ("path has too many steps (limit %d)"):format(ast.MAX_STEPS))
  end
  for _, step in ipairs(path.steps) do
    if type(step) == "number" and step > 2147483647 then fail("limit", path, "index out of range") end
    if type(step) == "string" and #step > 65535 then fail("limit", path, "name is too long") end
  end
end

local function has_dollar(v)
  local kind = value.kind(v)
  if kind == "array" then
    for i = 1, #v do if has_dollar(v[i]) then return true end end
  elseif kind == "object" then
    for key, member in pairs(v.values) do
      if key:sub(1, 1) == "$" or has_dollar(member) then return true end
    end
  end
  return false
end

local function check_value(operand)
  if value.depth(operand.value) > MAX_CONSTANT_DEPTH then
    fail("limit", operand, ("nested too deeply (limit %d)"):format(MAX_CONSTANT_DEPTH))
  end
  if has_dollar(operand.value) then fail("value", operand, "an object's keys may not begin with `$`") end
end

local function check_literal(operand)
  if operand.kind == "semver" and not typed.parse_semver(operand.text) then
    fail("value", operand, "invalid version " .. value.quote(operand.text),
      'expected numbers separated by dots, e.g. semver"1.10.0"')
  elseif operand.kind == "time" then
    operand.micros = typed.parse_time(operand.text)
    if not operand.micros then operands.bad_time(operand) end
  elseif operand.kind == "cidr" and not typed.parse_cidr(operand.text) then
    fail("value", operand, "invalid network " .. value.quote(operand.text), 'e.g. cidr"10.1.0.0/16"')
  elseif operand.kind == "value" then
    check_value(operand)
  elseif operand.kind == "param" and #operand.name > 255 then
    fail("limit", operand, "parameter name is too long")
  end
end

local function check_operand(operand, limits)
  if operand.kind == "path" then
    check_path(operand)
    if operand.fn == "exists" or operand.fn == "type" then
      fail("type", operand, operand.fn == "type" and "`type(...)` compares with == or != and a type's name"
        or "`exists(...)` is a condition by itself")
    end
  elseif operand.kind == "list" then
    if #operand.items > limits.list then
      fail("limit", operand.items[limits.list + 1], ("list is too long (limit %d)"):format(limits.list))
    end
    for _, item in ipairs(operand.items) do check_operand(item, limits) end
  else
    check_literal(operand)
    if value.kind(operand.value) == "array" and #operand.value > limits.list then
      fail("limit", operand, ("list is too long (limit %d)"):format(limits.list))
    end
  end
  local terms = #(operand.terms or {}) + ((operand.offset or operand.kind == "list") and 1 or 0)
  if terms > ast.MAX_TERMS then fail("limit", operand, ("too many terms (limit %d)"):format(ast.MAX_TERMS)) end
end

-- Clauses ---------------------------------------------------------------------------------------------------------

local function check_pair(leaf)
  local left, right = leaf.left, leaf.right
  if ORDER[leaf.op] then
    for _, side in ipairs { right, left } do
      local class = class_of(side)
      if class == "bool" or class == "null" or class == "array" or class == "object" then
        fail("type", side, ("`%s` cannot order %s value"):format(leaf.op, a(class)), "use == or !=")
      end
    end
  end
  for _, side in ipairs { right, left } do
    if class_of(side) == "cidr" then fail("type", side, "a network stands after `in` only", 'write ip in cidr"..."') end
  end
  local x, y = class_of(left), class_of(right)
  if y == "null" and left.kind == "path" and not left.fn then return end
  if not fits(x, y) then
    fail("type", right, ("cannot compare %s with %s"):format(a(x), a(y)),
      left.fn and ("`%s(...)` gives %s"):format(left.fn, a(x)) or nil)
  end
end

local function check_in(leaf)
  local right, class = leaf.right, class_of(leaf.left)
  if right.kind == "list" then
    for _, item in ipairs(right.items) do
      local item_class = class_of(item)
      if item_class == "cidr" then item_class = "string" end
      if not fits(class, item_class) and not (item_class == "null" and not leaf.left.fn) then
        fail("type", item, ("cannot compare %s with %s"):format(a(class), a(item_class)))
      end
    end
  elseif right.kind == "cidr" then
    if not fits(class, "string") then fail("type", leaf.left, "an address is a string, got " .. name_of(class)) end
  elseif right.kind == "path" and right.fn then
    fail("type", right, "expected a list or a field after `in`")
  elseif right.kind ~= "path" and right.kind ~= "param" or right.offset or right.terms then
    local hint = right.kind == "value" and "write in [" .. value.to_text(right.value) .. "]" or nil
    if ast.is_value(right, "string") and right.value:find("/", 1, true) and typed.parse_cidr(right.value) then
      hint = "write in cidr" .. value.to_text(right.value)
    end
    fail("type", right, "expected a list after `in`, got " .. name_of(class_of(right) or "number"), hint)
  end
end

local function check_string_operation(leaf, patterns_only)
  local op, right = leaf.op, leaf.right
  local class, left_class = class_of(right), class_of(leaf.left)
  if not fits(left_class, "string") or left_class == "time" then
    fail("type", leaf.left, ("`%s` tests strings, got %s"):format(op, name_of(left_class)))
  end
  if right.kind == "param" and (right.offset or right.terms) then class = "number" end
  if class and class ~= "string" then
    fail("type", right, ("`%s` expects a string, got %s"):format(op, name_of(class)))
  end
  if patterns_only and right.kind == "path" then
    fail("type", right, ("`%s` expects a string or a parameter, got a field"):format(op))
  elseif patterns_only and right.kind == "value" and #right.value > MAX_PATTERN then
    fail("limit", right, ("pattern is too long (limit %d)"):format(MAX_PATTERN))
  end
end

local function check_container(leaf)
  local class = class_of(leaf.left)
  if class and class ~= "string" and class ~= "array" then
    fail("type", leaf.left, ("`%s` looks into strings and arrays, got %s"):format(leaf.op, name_of(class)))
  end
end

local function check_contains(leaf)
  check_container(leaf)
  local class = class_of(leaf.right)
  if class == "array" then
    fail("type", leaf.right, "`contains` expects one value", "write `contains any [...]` or `contains all [...]`")
  end
  if leaf.right.kind ~= "value" and class and leaf.right.fn == nil then
    fail("type", leaf.right, "`contains` expects a plain value, got " .. name_of(class))
  end
end

local function check_contains_list(leaf)
  check_container(leaf)
  local right = leaf.right
  if right.kind == "param" and not right.offset and not right.terms then return end
  if right.kind ~= "list" then
    fail("type", right, ("`%s` expects a list"):format(leaf.op))
  end
  for _, item in ipairs(right.items) do
    if item.kind ~= "value" then
      fail("type", item, ("the list of `%s` holds plain values only"):format(leaf.op),
        "pass the whole list as one parameter")
    end
  end
end

local function check_type(leaf)
  local name = leaf.right.value
  if ast.TYPES[name] then return end
  local near = SYNONYMS[name:lower()] or suggest.nearest(name, suggest.keys(ast.TYPES))
  local hint = near and "did you mean " .. value.quote(near) .. "?"
  fail("name", leaf.right, "unknown type name " .. value.quote(name), hint)
end

local function check_regex(leaf, regex_check)
  local right = leaf.right
  if right.kind ~= "value" then return end
  local ok, message, offset, refused = regex.check(right.value)
  if not ok and not refused and regex_check then ok = true end
  if ok and regex_check then ok, message, offset = regex_check(right.value) end
  if ok then return end
  local where = offset and offset >= 0 and (" (at pattern offset %d)"):format(tonumber(offset)) or ""
  fail("value", right, "invalid regular expression: " .. tostring(message) .. where)
end

local CHECKS = {
  ["in"] = check_in, contains = check_contains, ["contains any"] = check_contains_list,
  ["contains all"] = check_contains_list, type = check_type,
  startswith = check_string_operation, endswith = check_string_operation,
  like = function(leaf) check_string_operation(leaf, true) end,
  glob = function(leaf) check_string_operation(leaf, true) end,
}

local function check_leaf(leaf, env)
  check_operand(leaf.left, env.limits)
  if leaf.left.kind == "list" then fail("type", leaf.left, "a list cannot stand on the left") end
  if leaf.right then check_operand(leaf.right, env.limits) end
  if leaf.op == "==" or ORDER[leaf.op] then
    check_pair(leaf)
  elseif leaf.op == "matches" then
    check_string_operation(leaf, true)
    check_regex(leaf, env.regex_check)
  elseif CHECKS[leaf.op] then
    CHECKS[leaf.op](leaf)
  elseif leaf.op == "exists" and leaf.left.kind ~= "path" then
    fail("type", leaf.left, "`exists` expects a field")
  end
end

-- Limits ----------------------------------------------------------------------------------------------------------

local function count_clause(env, expr, number)
  env.clauses = env.clauses + number
  if env.clauses > env.limits.clauses then
    errors.raise("limit", ("too many clauses (limit %d)"):format(env.limits.clauses), expr.pos)
  end
end

-- Items that are no plain values become clauses of their own.
local function clauses_of(leaf)
  if not (leaf.right and leaf.right.kind == "list") then return 1 end
  local odd, plain = 0, 0
  for _, item in ipairs(leaf.right.items) do
    if item.kind == "value" then plain = 1 else odd = odd + 1 end
  end
  return math.max(1, odd + plain)
end

local function walk(expr, env, depth, nesting)
  if nesting > MAX_NESTING then
    errors.raise("limit", ("filter is nested too deeply (limit %d)"):format(MAX_NESTING), expr.pos)
  end
  if expr.op == "and" or expr.op == "or" then
    depth = depth + 1
    if depth > env.limits.depth then
      errors.raise("limit", ("filter is nested too deeply (limit %d)"):format(env.limits.depth), expr.pos)
    end
  elseif expr.left then
    if expr.op == "any" or expr.op == "all" then
      check_operand(expr.left, env.limits)
      if expr.left.kind ~= "path" or expr.left.fn then
        fail("type", expr.left, "`" .. expr.op .. "` expects a field")
      end
      if not expr[1].left and #expr[1] == 0 then count_clause(env, expr, 1) end
    else
      count_clause(env, expr, clauses_of(expr))
      check_leaf(expr, env)
    end
  end
  for _, child in ipairs(expr) do walk(child, env, depth, nesting + 1) end
end

-- Raises if the tree is wrong. `env`: { limits =, regex_check = }.
function M.check(expr, env)
  walk(expr, { limits = env.limits, regex_check = env.regex_check, clauses = 0 }, 0, 1)
end

return M
