-- SPDX-License-Identifier: Apache-2.0
-- The typed literals: times, versions, networks, durations. Parsers return nil for text that is none.
local ffi = require "ffi"
local value = require "muster.filter.value"

local M = {}

local int64 = ffi.typeof "int64_t"

-- Times -----------------------------------------------------------------------------------------------------------

local function days_from_civil(y, m, d)
  if m <= 2 then y = y - 1 end
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (m + (m > 2 and -3 or 9)) + 2) / 5) + d - 1
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function days_in_month(y, m)
  if m == 2 then return (y % 4 == 0 and (y % 100 ~= 0 or y % 400 == 0)) and 29 or 28 end
  return (m == 4 or m == 6 or m == 9 or m == 11) and 30 or 31
end

local function parse_offset(text)
  if text == "Z" or text == "z" then return 0 end
  local sign, hours, minutes = text:match "^([+-])(%d%d):(%d%d)$"
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then return nil end
  return (hours * 3600 + minutes * 60) * (sign == "-" and -1 or 1)
end

-- RFC 3339 or a date, to Unix microseconds as int64_t.
function M.parse_time(text)
  local y, mo, d, rest = text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$"
  if not y then return nil end
  y, mo, d = tonumber(y), tonumber(mo), tonumber(d)
  if mo < 1 or mo > 12 or d < 1 or d > days_in_month(y, mo) then return nil end
  local seconds, micros = days_from_civil(y, mo, d) * 86400, 0
  if rest ~= "" then
    local h, mi, s, fraction, zone = rest:match "^[Tt](%d%d):(%d%d):(%d%d)(%.?%d*)(.+)$"
    if not h or tonumber(h) > 23 or tonumber(mi) > 59 or tonumber(s) > 59 then return nil end
    local offset = parse_offset(zone)
    if not offset or fraction == "." or (fraction ~= "" and fraction:sub(1, 1) ~= ".") then return nil end
    seconds = seconds + h * 3600 + mi * 60 + s - offset
    if fraction ~= "" then micros = tonumber((fraction:sub(2) .. "00000"):sub(1, 6)) end
  end
  return int64(seconds) * 1000000LL + int64(micros)
end

-- Microseconds as RFC 3339 in UTC; nil outside the years 0000 to 9999.
function M.format_time(micros)
  local rest = tonumber(micros % 1000000LL)
  if rest < 0 then rest = rest + 1000000 end
  local seconds = tonumber((micros - int64(rest)) / 1000000LL)
  local days = math.floor(seconds / 86400)
  local second = seconds - days * 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  if year < 0 or year > 9999 then return nil end
  local text = ("%04d-%02d-%02dT%02d:%02d:%02d"):format(year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(second / 3600), math.floor(second / 60) % 60, second % 60)
  if rest ~= 0 then text = text .. ("." .. ("%06d"):format(rest)):gsub("0+$", "") end
  return text .. "Z"
end

-- To the nearest integer, halves away from zero.
function M.round(d)
  return int64(d < 0 and math.ceil(d - 0.5) or math.floor(d + 0.5))
end

-- A number as a time: seconds below 1e11 in magnitude, else milliseconds. Microseconds, or nil out of range.
function M.number_time(v)
  local d = tonumber(v)
  local scale = math.abs(d) < 1e11 and 1000000 or 1000
  if math.abs(d) * scale >= 2 ^ 63 then return nil end
  if value.is_integer(v) then return int64(v) * int64(scale) end
  return M.round(d * scale)
end

-- Seconds (any number) to microseconds; nil out of range.
function M.seconds_micros(v)
  local d = tonumber(v)
  if math.abs(d) >= 9e12 then return nil end
  if value.is_integer(v) then return int64(v) * 1000000LL end
  return M.round(d * 1e6)
end

-- Versions --------------------------------------------------------------------------------------------------------

local function identifiers(text)
  local list = {}
  for id in (text .. "."):gmatch "([^.]*)%." do
    if not id:find "^[0-9A-Za-z-]+$" then return nil end
    list[#list + 1] = id
  end
  return list
end

-- { numbers = { digits without leading zeros }, pre = { identifiers } or nil }
function M.parse_semver(text)
  local core = text:match "^[vV]?(.*)$"
  local without_build, build = core:match "^([^+]*)%+(.*)$"
  if without_build then
    if not identifiers(build) then return nil end
    core = without_build
  end
  local numbers, pre = core:match "^([%d.]+)%-(.*)$"
  if not numbers then numbers = core end
  local version = { numbers = {} }
  for part in (numbers .. "."):gmatch "([^.]*)%." do
    if not part:find "^%d+$" then return nil end
    version.numbers[#version.numbers + 1] = part:match "^0*(%d+)$"
  end
  if pre then
    version.pre = identifiers(pre)
    if not version.pre then return nil end
  end
  return version
end

local function compare_digits(a, b)
  if #a ~= #b then return #a < #b and -1 or 1 end
  if a == b then return 0 end
  return a < b and -1 or 1
end

local function compare_identifiers(a, b)
  local x, y = a:match "^0*(%d+)$", b:match "^0*(%d+)$"
  if x and y then return compare_digits(x, y) end
  if x then return -1 elseif y then return 1 end
  if a == b then return 0 end
  return a < b and -1 or 1
end

-- Precedence of semver 2.0: -1, 0, 1. Components not given are 0; build metadata does not count.
function M.compare_semver(a, b)
  for i = 1, math.max(#a.numbers, #b.numbers) do
    local c = compare_digits(a.numbers[i] or "0", b.numbers[i] or "0")
    if c ~= 0 then return c end
  end
  if not a.pre or not b.pre then
    if a.pre then return -1 elseif b.pre then return 1 end
    return 0
  end
  for i = 1, math.max(#a.pre, #b.pre) do
    if not a.pre[i] then return -1 elseif not b.pre[i] then return 1 end
    local c = compare_identifiers(a.pre[i], b.pre[i])
    if c ~= 0 then return c end
  end
  return 0
end

-- Networks --------------------------------------------------------------------------------------------------------

local function parse_ipv4(text)
  local bytes = {}
  for part in (text .. "."):gmatch "([^.]*)%." do
    if not part:find "^%d%d?%d?$" or tonumber(part) > 255 or part:find "^0%d" then return nil end
    bytes[#bytes + 1] = string.char(tonumber(part))
  end
  return #bytes == 4 and table.concat(bytes) or nil
end

-- Groups of hexadecimal digits joined by colons, the last perhaps an IPv4 address.
local function parse_groups(text)
  if text == "" then return "" end
  local bytes, groups = {}, {}
  for group in (text .. ":"):gmatch "([^:]*):" do groups[#groups + 1] = group end
  for i, group in ipairs(groups) do
    if group:find("^%x%x?%x?%x?$") then
      local n = tonumber(group, 16)
      bytes[#bytes + 1] = string.char(math.floor(n / 256), n % 256)
    else
      local ipv4 = i == #groups and parse_ipv4(group)
      if not ipv4 then return nil end
      bytes[#bytes + 1] = ipv4
    end
  end
  return table.concat(bytes)
end

local function parse_ipv6(text)
  local before, after = text:match "^(.-)::(.*)$"
  local head = parse_groups(before or text)
  if not head or (not before and #head ~= 16) then return nil end
  if not before then return head end
  -- an IPv4 address stands at the very end only
  local tail = parse_groups(after)
  if not tail or before:find(".", 1, true) or #head + #tail > 14 then return nil end
  return head .. ("\0"):rep(16 - #head - #tail) .. tail
end

-- An address as 4 or 16 bytes.
function M.parse_address(text)
  if text:find(":", 1, true) then return parse_ipv6(text) end
  return parse_ipv4(text)
end

-- { address = 4 or 16 bytes, bits } of a network; without a prefix the address alone.
function M.parse_cidr(text)
  local address, prefix = text:match "^([^/]*)/(%d%d?%d?)$"
  local bytes = M.parse_address(address or text)
  if not bytes or (prefix and prefix:find "^0%d") then return nil end
  local bits = tonumber(prefix or #bytes * 8)
  return bits <= #bytes * 8 and { address = bytes, bits = bits } or nil
end

function M.in_network(network, address)
  if #address ~= #network.address then return false end
  local whole = math.floor(network.bits / 8)
  if address:sub(1, whole) ~= network.address:sub(1, whole) then return false end
  local rest = network.bits % 8
  if rest == 0 then return true end
  local size = 2 ^ (8 - rest)
  return math.floor(address:byte(whole + 1) / size) == math.floor(network.address:byte(whole + 1) / size)
end

-- Numbers with units ----------------------------------------------------------------------------------------------

local UNITS = { w = 604800, d = 86400, h = 3600, m = 60, s = 1, km = 1000 }
local FRACTIONS = { ms = 1e3, us = 1e6, ns = 1e9 }

local function parse_hex(digits)
  if #digits > 16 then return value.number(tonumber("0x" .. digits)) end
  local n = 0ULL
  for i = 1, #digits do n = n * 16 + tonumber(digits:sub(i, i), 16) end
  if n > 9223372036854775807ULL then return value.number(tonumber(n)) end
  return value.number(ffi.cast(int64, n))
end

-- A number as filter text writes it: decimal, hexadecimal, or with units (seconds, metres). nil if out of range.
function M.parse_number(text)
  local sign, body = text:match "^([+-]?)(.*)$"
  local result
  if body:find "^0[xX]" then
    result = parse_hex(body:sub(3):gsub("^0+", ""))
  elseif body:find "%l" and not body:find "^[%d.]+e" then
    result = 0
    for number, unit in body:gmatch "([%d.]+)(%l+)" do
      local n = tonumber(number)
      result = result + (UNITS[unit] and n * UNITS[unit] or n / FRACTIONS[unit])
    end
    result = value.number(result)
  else
    result = value.parse_number((sign == "-" and "-" or "") .. body)
    sign = ""
  end
  return result and (sign == "-" and value.negate(result) or result)
end

return M
