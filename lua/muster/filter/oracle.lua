-- SPDX-License-Identifier: Apache-2.0
-- The meaning of a filter, written down as plainly as possible: one row at a time, over decoded values. Slow; it is the
-- second opinion for tests of the engine, and folds constant clauses.
local ast = require "muster.filter.ast"
local regex = require "muster.filter.regex"
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"
local wildcard = require "muster.filter.wildcard"

local M = {}

-- Paths -----------------------------------------------------------------------------------------------------------

local function step_into(v, step, out)
  local kind = value.kind(v)
  if kind == "object" then
    local member = v.values[tostring(step)]
    if member ~= nil then out[#out + 1] = member end
  elseif kind == "array" and type(step) == "number" then
    if v[step + 1] ~= nil then out[#out + 1] = v[step + 1] end
  elseif kind == "array" then
    for i = 1, #v do
      if value.kind(v[i]) == "object" and v[i].values[step] ~= nil then out[#out + 1] = v[i].values[step] end
    end
  end
end

local function builtin(row, name)
  local b, now = row.builtins, row.now
  if b[name] ~= nil then return b[name] end
  if name == "ttl" and b.expires_at then return value.number((tonumber(b.expires_at) - now) / 1000) end
  if name == "age" and b.registered_at then return value.number((now - tonumber(b.registered_at)) / 1000) end
  return nil
end

-- What a path denotes: a list of values.
local function finals(row, path)
  if path.builtin then
    local v = builtin(row, path.builtin)
    return v == nil and {} or { v }
  end
  local current = { row.document }
  for _, step in ipairs(path.steps) do
    local next = {}
    for _, v in ipairs(current) do step_into(v, step, next) end
    current = next
  end
  return current
end

local function with_elements(list)
  local out = {}
  for _, v in ipairs(list) do out[#out + 1] = v end
  for _, v in ipairs(list) do
    if value.kind(v) == "array" then
      for i = 1, #v do out[#out + 1] = v[i] end
    end
  end
  return out
end

-- Functions -------------------------------------------------------------------------------------------------------

local function length(v)
  local kind = value.kind(v)
  if kind == "string" then return #regex.code_points(v) end
  if kind == "array" then return #v end
  if kind == "object" then return #v.keys end
  return nil
end

local function first_of(members, ...)
  for i = 1, select("#", ...) do
    local v = members[select(i, ...)]
    if v ~= nil then return v end
  end
end

local function coordinates(v)
  if value.kind(v) ~= "object" then return nil end
  local m = v.values
  local lat, lon = first_of(m, "lat", "latitude"), first_of(m, "lon", "lng", "longitude")
  local point = m.coordinates
  if m.type == "Point" and value.kind(point) == "array" then lon, lat = point[1], point[2] end
  if value.kind(lat) ~= "number" or value.kind(lon) ~= "number" then return nil end
  lat, lon = tonumber(lat), tonumber(lon)
  if math.abs(lat) > 90 or math.abs(lon) > 180 then return nil end
  return lat, lon
end

local function haversine(v, lat2, lon2)
  local lat1, lon1 = coordinates(v)
  if not lat1 then return nil end
  local dlat, dlon = math.rad(lat2 - lat1), math.rad(lon2 - lon1)
  local h = math.sin(dlat / 2) ^ 2 + math.cos(math.rad(lat1)) * math.cos(math.rad(lat2)) * math.sin(dlon / 2) ^ 2
  return 2 * 6371008.8 * math.asin(math.min(1, math.sqrt(h)))
end

local ASCII = {
  lower = function(s) return (s:gsub("[A-Z]", function(c) return string.char(c:byte() + 32) end)) end,
  upper = function(s) return (s:gsub("[a-z]", function(c) return string.char(c:byte() - 32) end)) end,
}

local function apply(path, v)
  local fn = path.fn
  if ASCII[fn] then return value.kind(v) == "string" and ASCII[fn](v) or nil end
  if fn == "len" then return length(v) end
  if fn == "distance" then return haversine(v, path.lat, path.lon) end
  return v -- semver and time: typed by the comparison
end

local function mapped(row, path, elements)
  local list = finals(row, path)
  if elements and path.fn ~= "len" then list = with_elements(list) end
  local out = {}
  for _, v in ipairs(list) do
    local result = apply(path, v)
    if result ~= nil then out[#out + 1] = result end
  end
  return out
end

-- Operands --------------------------------------------------------------------------------------------------------

-- The number that offset and terms add; nil if a parameter is none.
local function added(row, operand)
  local sum = operand.offset or 0
  for _, term in ipairs(operand.terms or {}) do
    local v = row.params[term.name]
    if value.kind(v) ~= "number" then return nil end
    sum = value.add(sum, term.minus and value.negate(v) or v)
  end
  return sum
end

local function time_sum(micros, seconds)
  local shift = seconds and typed.seconds_micros(seconds)
  return shift and { class = "time", micros + shift }
end

-- The values of an operand, as a list. Typed ones are { class = "time" | "semver", payload }.
local function values(row, operand)
  local kind = operand.kind
  if kind == "path" then
    if ast.TIMES[operand.builtin or ""] and (not operand.fn or operand.fn == "time") then
      local v = builtin(row, operand.builtin)
      return v == nil and {} or { { class = "time", value.is_integer(v) and v * 1000LL } }
    end
    return mapped(row, operand, true)
  end
  if kind == "semver" then return { { class = "semver", typed.parse_semver(operand.text) } } end
  local extra = added(row, operand)
  if kind == "time" then return { time_sum(typed.parse_time(operand.text), extra) } end
  if kind == "now" then return { time_sum(typed.seconds_micros(value.number(row.now / 1000)), extra) } end
  local v = operand.value
  if kind == "param" then v = row.params[operand.name] end
  if not operand.offset and not operand.terms then return { v } end
  if value.kind(v) ~= "number" or not extra then return {} end
  return { value.add(v, extra) }
end

local function class_of(operand)
  if operand.fn == "semver" or operand.kind == "semver" then return "semver" end
  if operand.fn == "time" or operand.kind == "time" or operand.kind == "now" then return "time" end
  if not operand.fn and ast.TIMES[operand.builtin or ""] then return "time" end
  return nil
end

local function typed_value(class, v)
  if type(v) == "table" and v.class then return v.class == class and v[1] or nil end
  local kind = value.kind(v)
  if class == "semver" then return kind == "string" and typed.parse_semver(v) or nil end
  if kind == "string" then return typed.parse_time(v) end
  return kind == "number" and typed.number_time(v) or nil
end

-- Comparisons -----------------------------------------------------------------------------------------------------

-- -1, 0, 1, or nil where the two have no order.
local function order(class, a, b)
  if class then
    a, b = typed_value(class, a), typed_value(class, b)
    if a == nil or b == nil then return nil end
    if class == "semver" then return typed.compare_semver(a, b) end
    return a < b and -1 or a > b and 1 or 0
  end
  local kind = value.kind(a)
  if kind ~= value.kind(b) then return nil end
  if kind == "number" then return value.compare_numbers(a, b) end
  if kind == "string" then return a == b and 0 or M.less(a, b) and -1 or 1 end
  return nil
end

-- Bytewise, whatever the locale.
function M.less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local HOLDS = {
  ["=="] = function(c) return c == 0 end, ["<"] = function(c) return c < 0 end, ["<="] = function(c) return c <= 0 end,
  [">"] = function(c) return c > 0 end, [">="] = function(c) return c >= 0 end,
}

local function is_null_constant(row, operand, leaf)
  if leaf.element then return false end -- the elements of a field are no literals
  if operand.kind == "param" then return row.params[operand.name] == value.null and not operand.terms end
  return operand.kind == "value" and operand.value == value.null
end

-- Whether a side has no value: no candidate, or a null among them. Of typed sides only versions or times count.
local function holds_null(class, list)
  local count = 0
  for _, v in ipairs(list) do
    if not class and v == value.null then return true end
    if not class or typed_value(class, v) ~= nil then count = count + 1 end
  end
  return count == 0
end

local function compare(row, leaf)
  local class = class_of(leaf.left) or class_of(leaf.right)
  local lefts = values(row, leaf.left)
  if leaf.op == "==" and is_null_constant(row, leaf.right, leaf) then return holds_null(class, lefts) end
  local rights = values(row, leaf.right)
  for _, a in ipairs(lefts) do
    for _, b in ipairs(rights) do
      if leaf.op == "==" and not class then
        if value.equal(a, b) then return true end
      else
        local c = order(class, a, b)
        if c and HOLDS[leaf.op](c) then return true end
      end
    end
  end
  return false
end

local function in_network(row, leaf, text)
  local network = typed.parse_cidr(text)
  for _, v in ipairs(values(row, leaf.left)) do
    local address = value.kind(v) == "string" and typed.parse_address(v)
    if address and typed.in_network(network, address) then return true end
  end
  return false
end

local function member(row, leaf)
  local right = leaf.right
  if right.kind == "cidr" then return in_network(row, leaf, right.text) end
  local items = {}
  if right.kind == "list" then
    items = right.items
  elseif right.kind == "path" then
    -- members: the elements of arrays, not scalars
    for _, array in ipairs(finals(row, right)) do
      for i = 1, value.kind(array) == "array" and #array or 0 do
        local item = { kind = "value", value = array[i] }
        if compare(row, { op = "==", left = leaf.left, right = item, element = true }) then return true end
      end
    end
  elseif value.kind(row.params[right.name]) == "array" then
    for i, v in ipairs(row.params[right.name]) do items[i] = { kind = "value", value = v } end
  end
  for _, item in ipairs(items) do
    if item.kind == "cidr" then
      if in_network(row, leaf, item.text) then return true end
    elseif compare(row, { op = "==", left = leaf.left, right = item }) then
      return true
    end
  end
  return false
end

-- Strings and patterns --------------------------------------------------------------------------------------------

local STRINGS = {
  startswith = function(s, x) return s:sub(1, #x) == x end,
  endswith = function(s, x) return x == "" or s:sub(-#x) == x end,
  like = function(s, x) return wildcard.like(x, s) end,
  glob = function(s, x) return wildcard.glob(x, s) end,
  matches = function(s, x) return regex.find(x, s) end,
}

local function string_test(row, leaf)
  for _, s in ipairs(values(row, leaf.left)) do
    for _, x in ipairs(values(row, leaf.right)) do
      if type(s) == "string" and type(x) == "string" and STRINGS[leaf.op](s, x) then return true end
    end
  end
  return false
end

local function holds_item(container, item)
  if type(container) == "string" then return type(item) == "string" and container:find(item, 1, true) ~= nil end
  if value.kind(container) ~= "array" then return false end
  for i = 1, #container do
    if value.equal(container[i], item) then return true end
  end
  return false
end

local function left_finals(row, leaf)
  if leaf.left.kind == "path" then return mapped(row, leaf.left, false) end
  return values(row, leaf.left)
end

local function contains(row, leaf)
  for _, container in ipairs(left_finals(row, leaf)) do
    for _, item in ipairs(values(row, leaf.right)) do
      if holds_item(container, item) then return true end
    end
  end
  return false
end

local function contains_list(row, leaf)
  local list = leaf.right.kind == "param" and row.params[leaf.right.name] or {}
  for i, item in ipairs(leaf.right.items or {}) do list[i] = item.value end
  if leaf.right.kind == "param" and value.kind(list) ~= "array" then return false end
  for _, container in ipairs(left_finals(row, leaf)) do
    local found = 0
    for i = 1, #list do
      if holds_item(container, list[i]) then found = found + 1 end
    end
    local is_container = type(container) == "string" or value.kind(container) == "array"
    if is_container and (leaf.op == "contains all" and found == #list or leaf.op == "contains any" and found > 0) then
      return true
    end
  end
  return false
end

-- Expressions -----------------------------------------------------------------------------------------------------

local function has_type(v, name)
  local kind = value.kind(v)
  return kind == name or (name == "integer" and kind == "number" and value.is_integer(v))
end

local function type_test(row, leaf)
  for _, v in ipairs(finals(row, leaf.left)) do
    if has_type(v, leaf.right.value) then return true end
  end
  return false
end

local evaluate

local function quantifier(row, expr)
  for _, v in ipairs(finals(row, expr.left)) do
    if value.kind(v) == "array" then
      local count = 0
      for i = 1, #v do
        local inner = setmetatable({ document = v[i] }, { __index = row })
        if evaluate(inner, expr[1]) then count = count + 1 end
      end
      if expr.op == "any" and count > 0 or expr.op == "all" and count == #v then return true end
    end
  end
  return false
end

local LEAVES = { ["in"] = member, contains = contains, ["contains any"] = contains_list,
                 ["contains all"] = contains_list,
                 type = type_test, exists = function(row, leaf) return #finals(row, leaf.left) > 0 end }
for op in pairs(HOLDS) do LEAVES[op] = compare end
for op in pairs(STRINGS) do LEAVES[op] = string_test end

function evaluate(row, expr)
  local op = expr.op
  if op == "true" or op == "false" then return op == "true" end
  if op == "not" then return not evaluate(row, expr[1]) end
  if op == "and" or op == "or" then
    for _, child in ipairs(expr) do
      if evaluate(row, child) == (op == "or") then return op == "or" end
    end
    return op == "and"
  end
  if op == "any" or op == "all" then return quantifier(row, expr) end
  return LEAVES[op](row, expr)
end

-- Whether the checked tree `expr` holds for `document` (a value). `env` (optional): { now = Unix ms, params = { name =
-- value }, builtins = { id, namespace, registered_at, updated_at, expires_at in ms; or ttl, age in seconds } }.
function M.match(expr, document, env)
  env = env or {}
  local row = { document = document, now = env.now or 0, params = env.params or {}, builtins = env.builtins or {} }
  return evaluate(row, expr)
end

return M
