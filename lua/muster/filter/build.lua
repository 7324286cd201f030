-- SPDX-License-Identifier: Apache-2.0
-- Raw parse (grammar.lua) to syntax tree (ast.lua): joins the postfix list and inlines named filters.
local arguments = require "muster.filter.arguments"
local ast = require "muster.filter.ast"
local errors = require "muster.filter.errors"
local grammar = require "muster.filter.grammar"
local operand = require "muster.filter.operand"
local suggest = require "muster.filter.suggest"
local value = require "muster.filter.value"

local M = {}

local MAX_NAMED_DEPTH = 8
local MAX_NAMED_USES = 64

local base_of, operand_of, path_of, place = operand.base, operand.operand, operand.path, operand.place

-- Expressions -----------------------------------------------------------------------------------------------------

local COMPARISONS = { ["=="] = true, ["!="] = true, ["<"] = true, ["<="] = true, [">"] = true, [">="] = true }

local function array_operand(list)
  local array, odd = ast.list_value(list)
  if not array then
    errors.raise("type", "a list that is compared as a whole holds plain values only", odd.pos)
  end
  return array
end

local function predicate(ctx, raw)
  local pos, left = place(ctx, raw), operand_of(ctx, raw.left)
  local op = raw.op2
  if not op then
    local expr = ast.truth(left, pos)
    if expr then return expr end
    local kind = left.kind == "value" and value.kind(left.value)
    errors.raise("syntax", "expected a comparison after this value", left.pos,
      kind == "string" and "a bare string is not a condition" or "write a condition such as `field == 1`")
  end
  if op == "missing" and (left.kind ~= "path" or left.fn) then
    errors.raise("type", "`is missing` expects a field", left.pos)
  end
  local right = raw.right and operand_of(ctx, raw.right)
  if right and right.kind == "list" and (COMPARISONS[op] or op == "contains") then right = array_operand(right) end
  local expr
  if COMPARISONS[op] then
    expr = ast.compare(op, left, right, pos)
  elseif op == "in" then
    expr = ast.member(left, right, pos)
  elseif op == "between" then
    expr = ast.between(left, right, operand_of(ctx, raw.third), pos)
  elseif op == "null" then
    expr = ast.compare("==", left, ast.value(value.null, pos), pos)
  elseif op == "missing" then
    expr = ast.negate(ast.leaf("exists", left, nil, pos), pos)
  else
    expr = ast.leaf(op, left, right, pos)
  end
  return raw.neg and ast.negate(expr, pos) or expr
end

local function check_bang(raw, child)
  if raw.bang and child.raw and child.raw.op2 then
    errors.raise("syntax", "`!` applies to the field only", child.raw.oppos, "write `not a ...` or `!( ... )`")
  end
end

local join

-- Inlines a named filter.
local function named(ctx, raw)
  local pos, name = place(ctx, raw), raw.name
  local source = ctx.named
  local definition
  if ast.BUILTINS[name] then errors.raise("name", "`@" .. name .. "` is a built-in and takes no arguments", pos) end
  if type(source) == "function" then definition = source(name) elseif source then definition = source[name] end
  if not definition then
    local near = type(source) == "table" and suggest.nearest(name, suggest.keys(source))
    errors.raise("name", "unknown filter `@" .. suggest.short(name) .. "`", pos,
      near and "did you mean `@" .. near .. "`?")
  end
  if ctx.active[name] then errors.raise("name", "filter `@" .. name .. "` uses itself", pos) end
  ctx.uses.count = ctx.uses.count + 1
  if ctx.depth >= MAX_NAMED_DEPTH or ctx.uses.count > MAX_NAMED_USES then
    errors.raise("limit", "too many named filters in one another", pos)
  end
  local given = {}
  for i, arg in ipairs(raw.args) do given[i] = base_of(ctx, arg) end
  local args = arguments.bind(name, definition, given, pos)
  local active = setmetatable({ [name] = true }, { __index = ctx.active })
  local inner = setmetatable({ at = pos, args = args, active = active, depth = ctx.depth + 1 }, { __index = ctx })
  inner.elements, inner.used = ctx.elements, false
  local ok, result = pcall(M.parse, definition.filter, inner)
  if ok then return result end
  if not errors.is(result) then error(result, 0) end
  if result.nested then error(result, 0) end
  errors.raise(result.error, "in filter `@" .. name .. "`: " .. result.message, pos, result.hint, { nested = true })
end

-- Joins the postfix list. The stack holds { expr, raw = predicate or nil, pos } and the openings of not and any/all.
function join(ctx, items)
  local stack = {}
  local function pop() return table.remove(stack) end
  local function push(expr, raw, pos) stack[#stack + 1] = { expr = expr, raw = raw, pos = pos or expr.pos } end
  for _, item in ipairs(items) do
    if item == "and" or item == "or" then
      local b, a = pop(), pop()
      push(ast.join(item, a.expr, b.expr, a.pos), nil, a.pos)
    elseif item == "not" then
      local child, run = pop(), pop()
      check_bang(run, child)
      local expr, pos = child.expr, place(ctx, run)
      if run.count % 2 == 1 then expr = ast.negate(expr, pos) end
      push(expr, nil, pos)
    elseif item == "group" then
      stack[#stack].raw = nil
    elseif item == "quant" then
      local child, head = pop(), pop()
      ctx.elements = ctx.elements - 1
      push(ast.quantifier(head.raw.quant, head.path, child.expr, place(ctx, head.raw)))
    elseif item.op == "nots" then
      stack[#stack + 1] = { count = #item, bang = item[#item], pos = item.pos }
    elseif item.op == "quant" then
      stack[#stack + 1] = { raw = item, path = path_of(ctx, item.path) }
      ctx.elements = ctx.elements + 1
    elseif item.op == "named" then
      push(named(ctx, item), nil, place(ctx, item))
    else
      push(predicate(ctx, item), item)
    end
  end
  return stack[1] and stack[1].expr or ast.constant(true)
end

-- Parses text that has passed limits.lua. `ctx.fail(text)` explains a syntax error.
function M.parse(text, ctx)
  ctx.check(text)
  local items = grammar.parse(text)
  if not items then ctx.fail(text) end
  return join(ctx, items)
end

-- A context for M.parse.
function M.context(options, check, fail)
  return { elements = 0, active = {}, depth = 0, uses = { count = 0 }, named = options.named, args = options.args,
           check = check, fail = fail }
end

return M
