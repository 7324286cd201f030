-- SPDX-License-Identifier: Apache-2.0
-- The JSON form to the syntax tree: canonical objects, RFC-017 suffixes ("a.lt": 1) and Mongo style. The writer is
-- json_write.lua.
--
-- ctx: { elements = depth of any/all, at = JSON pointer of the place being read }
local ast = require "muster.filter.ast"
local operands = require "muster.filter.json_operand"
local suggest = require "muster.filter.suggest"
local value = require "muster.filter.value"

local M = {}

local fail, below, expect, single = operands.fail, operands.below, operands.expect, operands.single
local is_operators, number_pair = operands.is_operators, operands.number_pair
local path_of_key, distance_path = operands.path, operands.distance_path
local special, operand, list_operand = operands.special, operands.operand, operands.list

-- Operators on one operand ----------------------------------------------------------------------------------------

local operators, document

local COMPARE = { ["$eq"] = "==", ["$ne"] = "!=", ["$lt"] = "<", ["$lte"] = "<=", ["$gt"] = ">", ["$gte"] = ">=" }
local LEAVES = { ["$startswith"] = "startswith", ["$endswith"] = "endswith", ["$contains"] = "contains",
                 ["$glob"] = "glob", ["$like"] = "like" }

local function quantifier(op)
  return function(ctx, left, v)
    local inner = { elements = ctx.elements + 1, at = ctx.at }
    expect(ctx, v, "object", op == "any" and "$elemMatch" or "$allMatch")
    return ast.quantifier(op, left, document(inner, v))
  end
end

local function under(name)
  return function(ctx, left, v)
    if left.fn or left.kind ~= "path" then fail(ctx, "$" .. name .. " expects a field") end
    local path = ast.call(name, left)
    if is_operators(v) and not special(ctx, v) then return operators(ctx, path, v) end
    return ast.compare("==", path, operand(ctx, v))
  end
end

local function type_test(ctx, left, v)
  local path = ast.call("type", left)
  if value.kind(v) == "array" then return ast.member(path, list_operand(ctx, v)) end
  return ast.compare("==", path, ast.value(expect(ctx, v, "string", "$type")))
end

local function all_of(ctx, left, v)
  local tests = {}
  for i, item in ipairs(list_operand(ctx, expect(ctx, v, "array", "$all")).items) do
    tests[i] = ast.compare("==", left, item)
  end
  if #tests == 0 then return ast.constant(false) end
  return ast.junction("and", tests)
end

local function distance_test(ctx, left, v)
  expect(ctx, v, "object", "$distance")
  for _, key in ipairs(v.keys) do
    if key ~= "from" and key ~= "is" then fail(ctx, "unknown key " .. key .. " in $distance") end
  end
  if not v.values.from or not is_operators(v.values.is) then fail(ctx, "$distance expects from and is") end
  return operators(below(ctx, "is"), distance_path(ctx, left, v.values.from), v.values.is)
end

local OPERATORS = {
  ["$in"] = function(ctx, left, v) return ast.member(left, list_operand(ctx, v)) end,
  ["$nin"] = function(ctx, left, v) return ast.negate(ast.member(left, list_operand(ctx, v))) end,
  ["$exists"] = function(ctx, left, v)
    local leaf = ast.leaf("exists", left)
    return expect(ctx, v, "bool", "$exists") and leaf or ast.negate(leaf)
  end,
  ["$type"] = type_test,
  ["$containsAny"] = function(ctx, left, v) return ast.leaf("contains any", left, list_operand(ctx, v)) end,
  ["$containsAll"] = function(ctx, left, v) return ast.leaf("contains all", left, list_operand(ctx, v)) end,
  ["$elemMatch"] = quantifier "any",
  ["$allMatch"] = quantifier "all",
  ["$all"] = all_of,
  ["$size"] = function(ctx, left, v)
    return ast.compare("==", ast.call("len", left), ast.value(expect(ctx, v, "number", "$size")))
  end,
  ["$distance"] = distance_test,
  ["$not"] = function(ctx, left, v)
    if not is_operators(v) then fail(ctx, "$not expects an object of operators") end
    return ast.negate(operators(ctx, left, v))
  end,
}
for key, name in pairs(operands.FUNCTIONS) do OPERATORS[key] = under(name) end
for key, op in pairs(COMPARE) do
  OPERATORS[key] = function(ctx, left, v) return ast.compare(op, left, operand(ctx, v)) end
end
for key, op in pairs(LEAVES) do
  OPERATORS[key] = function(ctx, left, v) return ast.leaf(op, left, operand(ctx, v)) end
end

local function regex(ctx, left, v, options)
  local right = operand(ctx, v)
  if options ~= nil then
    expect(ctx, options, "string", "$options")
    if options:find "[^ims]" then fail(ctx, "unknown $options " .. options, "only i, m and s are known") end
    if not ast.is_value(right, "string") then fail(ctx, "$options needs a pattern") end
    if options ~= "" then right = ast.value("(?" .. options .. ")" .. right.value) end
  end
  return ast.leaf("matches", left, right)
end

local KNOWN = suggest.keys(OPERATORS)
for _, key in ipairs { "$regex", "$options", "$and", "$or", "$nor", "$expr", "$value" } do KNOWN[#KNOWN + 1] = key end
for i, key in ipairs(KNOWN) do KNOWN[i] = key:sub(2) end
table.sort(KNOWN)

local function unknown_operator(ctx, key)
  local near = suggest.nearest(key:sub(2), KNOWN)
  fail(ctx, "unknown operator " .. key .. (near and ", did you mean $" .. near .. "?" or ""), nil, "name")
end

-- One operator of an operator object.
local function operator(ctx, left, key, object)
  local v, inner = object.values[key], below(ctx, key)
  if key == "$regex" then return regex(inner, left, v, object.values["$options"]) end
  if key == "$options" then
    if object.values["$regex"] == nil then fail(ctx, "$options without $regex") end
    return ast.constant(true)
  end
  if not OPERATORS[key] then unknown_operator(inner, key) end
  return OPERATORS[key](inner, left, v)
end

function operators(ctx, left, object)
  local tests = {}
  for i, key in ipairs(object.keys) do tests[i] = operator(ctx, left, key, object) end
  return ast.junction("and", tests)
end

-- Documents -------------------------------------------------------------------------------------------------------

local function junction(op)
  return function(ctx, v, key)
    expect(ctx, v, "array", key)
    local parts = {}
    for i = 1, #v do parts[i] = document(below(ctx, i - 1), v[i]) end
    return ast.junction(op, parts)
  end
end

local function value_test(ctx, object)
  if #object.keys ~= 2 or not is_operators(object.values.is) then
    fail(ctx, "$value expects `is` with operators beside it")
  end
  local left = operand(ctx, object.values["$value"])
  local test = single(object.values.is) == "$eq" and operand(ctx, object.values.is.values["$eq"])
  if test and ast.is_value(test, "bool") and test.value then return ast.truth(left) or ast.compare("==", left, test) end
  return operators(below(ctx, "is"), left, object.values.is)
end

-- Mongo's {"$expr": {"$lt": ["$a", 5]}}
local function expr_operand(ctx, v)
  if value.kind(v) == "string" and v:sub(1, 1) == "$" then return path_of_key(ctx, v:sub(2)) end
  return operand(ctx, v)
end

local function expression(ctx, v)
  local key, args = single(expect(ctx, v, "object", "$expr"))
  if key == "$and" or key == "$or" then
    local parts = {}
    for i, part in ipairs(expect(ctx, args, "array", key)) do parts[i] = expression(below(ctx, i - 1), part) end
    return ast.junction(key:sub(2), parts)
  elseif key == "$not" then
    if value.kind(args) == "array" then args = args[1] end
    return ast.negate(expression(ctx, args))
  elseif not COMPARE[key] and key ~= "$in" then
    fail(ctx, "$expr knows $eq $ne $lt $lte $gt $gte $in $and $or $not")
  end
  local a, b = number_pair(ctx, args, key)
  if key == "$in" then
    local right = value.kind(b) == "array" and list_operand(ctx, b) or expr_operand(ctx, b)
    return ast.member(expr_operand(ctx, a), right)
  end
  return ast.compare(COMPARE[key], expr_operand(ctx, a), expr_operand(ctx, b))
end

local LOGIC = {
  ["$and"] = junction "and",
  ["$or"] = junction "or",
  ["$nor"] = function(ctx, v, key) return ast.negate(junction "or"(ctx, v, key)) end,
  ["$not"] = function(ctx, v) return ast.negate(document(ctx, v)) end,
  ["$expr"] = expression,
}

local SUFFIXES = {}
for word in ("eq ne lt lte gt gte in nin startswith endswith contains regex glob like exists type"):gmatch "%S+" do
  SUFFIXES[word] = "$" .. word
end

local function suffix_fits(suffix, v)
  local kind = value.kind(v)
  if suffix == "type" then return kind == "string" and ast.TYPES[v] ~= nil end
  if suffix == "exists" then return kind == "bool" end
  if suffix == "in" or suffix == "nin" then return kind == "array" end
  return true
end

-- The path and the operator of a key like "a.b.lt", or nil.
local function with_suffix(ctx, key, v)
  local name, suffix = key:match "^(.+)%.(%l+)$"
  if not SUFFIXES[suffix or ""] or not suffix_fits(suffix, v) then return nil end
  local quotes = select(2, name:gsub("`", ""))
  if quotes % 2 == 1 then return nil end
  return path_of_key(ctx, name), SUFFIXES[suffix]
end

-- One member of a document.
local function member(ctx, key, v)
  if key == "metadata.exists" and value.kind(v) == "string" then return ast.leaf("exists", path_of_key(ctx, v)) end
  local typed_value = is_operators(v) and special(ctx, v)
  if not is_operators(v) or typed_value then
    local path, op = with_suffix(ctx, key, v)
    if path then
      return operator(ctx, path, op, value.object(op, v))
    end
  end
  local path = path_of_key(ctx, key)
  if typed_value then return ast.compare("==", path, typed_value) end
  if is_operators(v) then return operators(ctx, path, v) end
  if v == "*" then return ast.leaf("exists", path) end
  if value.kind(v) == "object" then
    for _, name in ipairs(v.keys) do
      if name:sub(1, 1) == "$" then fail(ctx, "operators and fields may not be mixed in one object") end
    end
  end
  return ast.compare("==", path, ast.value(v))
end

function document(ctx, object)
  if value.kind(object) ~= "object" then fail(ctx, "a filter is a JSON object, got " .. operands.kind_name(object)) end
  if object.values["$value"] ~= nil then return value_test(ctx, object) end
  local parts = {}
  for i, key in ipairs(object.keys) do
    local v, inner = object.values[key], below(ctx, key)
    if LOGIC[key] then
      parts[i] = LOGIC[key](inner, v, key)
    elseif ctx.elements > 0 and (OPERATORS[key] or key == "$regex" or key == "$options") then
      parts[i] = operator(ctx, ast.path {}, key, object)
    elseif key:sub(1, 1) == "$" then
      unknown_operator(ctx, key)
    else
      parts[i] = member(inner, key, v)
    end
  end
  return ast.junction("and", parts)
end

-- The tree of a decoded document.
function M.read(root)
  return document({ elements = 0, at = "" }, root)
end

return M
