-- SPDX-License-Identifier: Apache-2.0
-- The arguments of a named filter: how many, of which types, and what stands for those left out.
--
-- A definition has params = { "name", .. } and may have specs = { name = { type =, default = operand, doc = } }.
-- Without a spec an argument is required and may be anything.
local ast = require "muster.filter.ast"
local errors = require "muster.filter.errors"
local value = require "muster.filter.value"

local M = {}

-- What a type takes, by the kind of the literal; a string next to a type with a literal of its own is read as one.
M.TYPES = {
  any = { what = "anything" },
  number = { what = "a number", number = true },
  string = { what = "a string", string = true },
  bool = { what = "a boolean", bool = true },
  list = { what = "a list", list = true },
  version = { what = "a version", semver = true, literal = "semver" },
  time = { what = "a time", time = true, literal = "time" },
  network = { what = "a network", cidr = true, literal = "cidr" },
}

local SHOWN = { number = "a number", string = "a string", bool = "a boolean", null = "null", list = "a list",
                array = "a list", object = "an object", semver = "a version", time = "a time", cidr = "a network" }

-- "low_battery(percent = 20)".
function M.signature(name, definition)
  local parts = {}
  for i, param in ipairs(definition.params or {}) do
    local spec = (definition.specs or {})[param]
    parts[i] = param .. (spec and spec.default_text and " = " .. spec.default_text or "")
  end
  return name .. "(" .. table.concat(parts, ", ") .. ")"
end

local function kind_of(operand)
  return operand.kind == "value" and value.kind(operand.value) or operand.kind
end

-- The operand as the type wants it; nil if it does not fit. Parameters of the request are known only when it runs.
function M.fit(operand, type_name)
  local kind, accepts = kind_of(operand), M.TYPES[type_name or "any"]
  if type_name == nil or type_name == "any" or kind == "param" or accepts[kind] then return operand end
  if kind == "string" and accepts.literal then
    return { kind = accepts.literal, text = operand.value, pos = operand.pos }
  end
  return nil
end

local function hint(name, definition)
  return "write `@" .. M.signature(name, definition) .. "`"
end

local function refuse_count(name, definition, given, pos)
  local params, least = definition.params or {}, 0
  for i, param in ipairs(params) do
    local spec = (definition.specs or {})[param]
    if not (spec and spec.default) then least = i end
  end
  local wanted = least == #params and tostring(least) or ("%d to %d"):format(least, #params)
  local message = ("`@%s` takes %s argument%s, got %d"):format(name, wanted, wanted == "1" and "" or "s", given)
  local missing = given < #params and ("`%s` is missing: "):format(params[given + 1]) or ""
  errors.raise("type", message, pos, missing .. hint(name, definition))
end

local function check_type(name, definition, param, operand)
  local spec = (definition.specs or {})[param]
  local fitted = M.fit(operand, spec and spec.type)
  if fitted then return fitted end
  errors.raise("type", ("`%s` of `@%s` is %s, got %s"):format(param, name, M.TYPES[spec.type].what,
    SHOWN[kind_of(operand)] or kind_of(operand)), operand.pos, hint(name, definition))
end

-- The operands by name and by number. `given`: operands in order; `pos`: where the filter is called.
function M.bind(name, definition, given, pos)
  local params, args = definition.params or {}, {}
  if #given > #params then refuse_count(name, definition, #given, given[#params + 1].pos or pos) end
  for i, param in ipairs(params) do
    local spec = (definition.specs or {})[param]
    local operand = given[i]
    if not operand and spec and spec.default then
      operand = ast.call(spec.default.fn, spec.default, pos)
    elseif not operand then
      refuse_count(name, definition, #given, pos)
    end
    operand = check_type(name, definition, param, operand)
    args[param], args[tostring(i)] = operand, operand
  end
  return args
end

return M
