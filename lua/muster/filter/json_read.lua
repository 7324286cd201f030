-- SPDX-License-Identifier: Apache-2.0
-- A strict JSON reader for filters: exact 64-bit integers, key order kept, duplicate keys and invalid UTF-8 refused,
-- bounded nesting.
-- The values are those of muster.filter.value.
local limits = require "muster.filter.limits"
local value = require "muster.filter.value"

local M = {}

local MAX_DEPTH = 160

local function fail(offset, message)
  error({ json_error = message, offset = offset - 1 }, 0)
end

local SIMPLE = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  local char, floor = string.char, math.floor
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xc0 + floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then return char(0xe0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64) end
  return char(0xf0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64,
    0x80 + code % 64)
end
M.utf8 = utf8

local function unicode_escape(text, at)
  local hex = text:match("^%x%x%x%x", at + 2)
  if not hex then fail(at, "invalid \\u escape") end
  local code = tonumber(hex, 16)
  if code >= 0xdc00 and code <= 0xdfff then fail(at, "lone surrogate in \\u escape") end
  if code < 0xd800 or code > 0xdbff then return utf8(code), at + 6 end
  local low = tonumber(text:match("^\\u(%x%x%x%x)", at + 6) or "0", 16)
  if low < 0xdc00 or low > 0xdfff then fail(at, "lone surrogate in \\u escape") end
  return utf8(0x10000 + (code - 0xd800) * 1024 + (low - 0xdc00)), at + 12
end

local function read_string(text, at)
  local start, parts = at, {}
  at = at + 1
  while true do
    local stop = text:find('[%z\1-\31"\\]', at)
    if not stop then fail(start, "unterminated string") end
    parts[#parts + 1] = text:sub(at, stop - 1)
    local c = text:sub(stop, stop)
    if c == '"' then return table.concat(parts), stop + 1 end
    if c ~= "\\" then fail(stop, "control character in string") end
    local e = text:sub(stop + 1, stop + 1)
    if e == "u" then
      parts[#parts + 1], at = unicode_escape(text, stop)
    elseif SIMPLE[e] then
      parts[#parts + 1], at = SIMPLE[e], stop + 2
    else
      fail(stop, "unknown escape in string")
    end
  end
end

local function read_number(text, at)
  local whole = text:match("^-?0", at) or text:match("^-?[1-9]%d*", at)
  if not whole then fail(at, "unexpected character") end
  local stop = at + #whole
  local fraction = text:match("^%.%d+", stop)
  if fraction then stop = stop + #fraction end
  local exponent = text:match("^[eE][+-]?%d+", stop)
  if exponent then stop = stop + #exponent end
  if text:find("^[%w.+-]", stop) then fail(at, "invalid number") end
  local v = value.parse_number(text:sub(at, stop - 1))
  if v == nil then fail(at, "number out of range") end
  return v, stop
end

local WORDS = { { "true", true }, { "false", false }, { "null", value.null } }

local function skip(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local read_value

local function read_array(text, at, depth)
  local array = value.array()
  at = skip(text, at + 1)
  if text:sub(at, at) == "]" then return array, at + 1 end
  while true do
    array[#array + 1], at = read_value(text, at, depth + 1)
    at = skip(text, at)
    local c = text:sub(at, at)
    if c == "]" then return array, at + 1 end
    if c ~= "," then fail(at, "expected `,` or `]`") end
    at = skip(text, at + 1)
  end
end

local function read_object(text, at, depth)
  local object = value.object()
  at = skip(text, at + 1)
  if text:sub(at, at) == "}" then return object, at + 1 end
  while true do
    if text:sub(at, at) ~= '"' then fail(at, "expected a key in double quotes") end
    local key, after = read_string(text, at)
    if object.values[key] ~= nil then fail(at, "duplicate key " .. value.quote(key)) end
    at = skip(text, after)
    if text:sub(at, at) ~= ":" then fail(at, "expected `:`") end
    object.keys[#object.keys + 1] = key
    object.values[key], at = read_value(text, skip(text, at + 1), depth + 1)
    at = skip(text, at)
    local c = text:sub(at, at)
    if c == "}" then return object, at + 1 end
    if c ~= "," then fail(at, "expected `,` or `}`") end
    at = skip(text, at + 1)
  end
end

function read_value(text, at, depth)
  if depth > MAX_DEPTH then fail(at, "nested too deeply (limit " .. MAX_DEPTH .. ")") end
  local c = text:sub(at, at)
  if c == '"' then return read_string(text, at) end
  if c == "{" then return read_object(text, at, depth) end
  if c == "[" then return read_array(text, at, depth) end
  for _, word in ipairs(WORDS) do
    if text:sub(at, at + #word[1] - 1) == word[1] then return word[2], at + #word[1] end
  end
  if c == "" then fail(at, "unexpected end") end
  return read_number(text, at)
end

-- The value, or nil, message, offset (0-based).
function M.decode(text)
  local bad = limits.invalid_utf8(text)
  if bad then return nil, "invalid UTF-8", bad - 1 end
  local ok, result, after = pcall(read_value, text, skip(text, 1), 1)
  if not ok then
    if type(result) ~= "table" then error(result, 0) end
    return nil, result.json_error, result.offset
  end
  after = skip(text, after)
  if after <= #text then return nil, "text after the document", after - 1 end
  return result
end

return M
