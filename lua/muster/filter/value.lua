-- SPDX-License-Identifier: Apache-2.0
-- JSON values as the filter compiler holds them, exact for 64-bit integers.
--
--   null      the sentinel M.null
--   boolean, string   as in Lua
--   number    a Lua number, or an int64_t cdata for integers of magnitude 2^53 and more. A number has one form only:
--             M.number() turns whole doubles into integers, so equal numbers print the same.
--   array     { kind = "array", v1, v2, ... }
--   object    { kind = "object", keys = { "a", "b" }, values = { a = .., b = .. } }   keys in their order
local ffi = require "ffi"

local M = {}

local int64 = ffi.typeof "int64_t"
local uint64 = ffi.typeof "uint64_t"
local TWO53, TWO63 = 2 ^ 53, 2 ^ 63

M.null = setmetatable({}, { __tostring = function() return "null" end })

function M.is_int64(v)
  return type(v) == "cdata" and ffi.istype(int64, v)
end

-- "null", "bool", "number", "string", "array" or "object".
function M.kind(v)
  local t = type(v)
  if t == "boolean" then return "bool" end
  if t == "cdata" then return "number" end
  if v == M.null then return "null" end
  if t == "table" then return v.kind end
  return t
end

-- The one form of a number; nil for infinities and NaN.
function M.number(v)
  if type(v) == "cdata" then
    local d = tonumber(v)
    if d > -TWO53 and d < TWO53 then return d end
    return v
  end
  if v ~= v or v == math.huge or v == -math.huge then return nil end
  if v == 0 then return 0 end
  if v >= TWO53 or v <= -TWO53 then
    if v < TWO63 and v >= -TWO63 then return int64(v) end
  end
  return v
end

local function exact_integer(digits, negative)
  local top = negative and 9223372036854775808ULL or 9223372036854775807ULL
  local n = uint64(0)
  for i = 1, #digits do
    local d = digits:byte(i) - 48
    if n > (top - d) / 10 then return nil end
    n = n * 10 + d
  end
  if negative then return -ffi.cast(int64, n) end
  return ffi.cast(int64, n)
end

-- A decimal number as JSON writes it; nil if it is out of range.
function M.parse_number(text)
  local sign, digits = text:match "^([+-]?)0*(%d+)$"
  if digits then
    if #digits <= 15 then return M.number(tonumber(digits) * (sign == "-" and -1 or 1)) end
    if #digits <= 19 then
      local exact = exact_integer(digits, sign == "-")
      if exact then return M.number(exact) end
    end
  end
  return M.number(tonumber((text:gsub("^%+", ""))))
end

function M.is_integer(v)
  return type(v) == "cdata" or (v > -TWO53 and v < TWO53 and v == math.floor(v))
end

-- -1, 0 or 1 by mathematical value.
function M.compare_numbers(a, b)
  local x, y = type(a) == "cdata", type(b) == "cdata"
  if x and not y then
    if b >= TWO63 then return -1 elseif b < -TWO63 then return 1 end
    a = tonumber(a) -- |a| >= 2^53 > |b|: rounding cannot change the order
  elseif y and not x then
    return -M.compare_numbers(b, a)
  end
  if a < b then return -1 elseif a > b then return 1 end
  return 0
end

function M.add(a, b)
  if type(a) == "number" and type(b) == "number" then return M.number(a + b) end
  local da, db = tonumber(a), tonumber(b)
  if M.is_integer(a) and M.is_integer(b) and math.abs(da + db) < TWO63 - 4096 then
    return M.number(int64(a) + int64(b))
  end
  return M.number(da + db)
end

function M.negate(v)
  if type(v) == "number" then return M.number(-v) end
  if v == int64(-9223372036854775807LL - 1LL) then return TWO63 end
  return M.number(-v)
end

local function equal_arrays(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if not M.equal(a[i], b[i]) then return false end
  end
  return true
end

local function equal_objects(a, b)
  if #a.keys ~= #b.keys then return false end
  for _, key in ipairs(a.keys) do
    local other = b.values[key]
    if other == nil or not M.equal(a.values[key], other) then return false end
  end
  return true
end

-- Deep equality; numbers by mathematical value, key order ignored.
function M.equal(a, b)
  local kind = M.kind(a)
  if kind ~= M.kind(b) then return false end
  if kind == "number" then return M.compare_numbers(a, b) == 0 end
  if kind == "array" then return equal_arrays(a, b) end
  if kind == "object" then return equal_objects(a, b) end
  return a == b
end

function M.array(...)
  local a = { ... }
  a.kind = "array"
  return a
end

-- M.object("k1", v1, "k2", v2, ...)
function M.object(...)
  local o = { kind = "object", keys = {}, values = {} }
  for i = 1, select("#", ...), 2 do
    local key, v = select(i, ...)
    o.keys[#o.keys + 1] = key
    o.values[key] = v
  end
  return o
end

-- A copy with the keys of every object in byte order: the form of constants.
function M.sorted(v)
  local kind = M.kind(v)
  if kind == "array" then
    local copy = M.array()
    for i = 1, #v do copy[i] = M.sorted(v[i]) end
    return copy
  elseif kind == "object" then
    local copy = M.object()
    for i, key in ipairs(v.keys) do
      copy.keys[i] = key
      copy.values[key] = M.sorted(v.values[key])
    end
    table.sort(copy.keys)
    return copy
  end
  return v
end

-- Levels of nesting: 1 for a scalar or an empty container.
function M.depth(v)
  local kind, deepest = M.kind(v), 0
  if kind == "array" then
    for i = 1, #v do deepest = math.max(deepest, M.depth(v[i])) end
  elseif kind == "object" then
    for _, member in pairs(v.values) do deepest = math.max(deepest, M.depth(member)) end
  end
  return deepest + 1
end

function M.format_number(v)
  if type(v) == "cdata" then return (tostring(v):gsub("LL$", "")) end
  if v > -TWO53 and v < TWO53 and v == math.floor(v) then return ("%.0f"):format(v) end
  for precision = 15, 16 do
    local text = ("%." .. precision .. "g"):format(v)
    if tonumber(text) == v then return text end
  end
  return ("%.17g"):format(v)
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
                  ["\b"] = "\\b", ["\f"] = "\\f" }

function M.quote(s)
  return '"' .. s:gsub('[%z\1-\31"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function encode(v, out, comma, colon)
  local kind = M.kind(v)
  if kind == "string" then
    out[#out + 1] = M.quote(v)
  elseif kind == "number" then
    out[#out + 1] = M.format_number(v)
  elseif kind == "array" then
    out[#out + 1] = "["
    for i = 1, #v do
      if i > 1 then out[#out + 1] = comma end
      encode(v[i], out, comma, colon)
    end
    out[#out + 1] = "]"
  elseif kind == "object" then
    out[#out + 1] = "{"
    for i, key in ipairs(v.keys) do
      if i > 1 then out[#out + 1] = comma end
      out[#out + 1] = M.quote(key)
      out[#out + 1] = colon
      encode(v.values[key], out, comma, colon)
    end
    out[#out + 1] = "}"
  else
    out[#out + 1] = tostring(v)
  end
end

-- Compact JSON text.
function M.to_json(v)
  local out = {}
  encode(v, out, ",", ":")
  return table.concat(out)
end

-- A literal as filter text writes it.
function M.to_text(v)
  local out = {}
  encode(v, out, ", ", ": ")
  return table.concat(out)
end

return M
