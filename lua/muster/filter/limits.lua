-- SPDX-License-Identifier: Apache-2.0
-- What is counted before the text reaches LPeg: length, encoding, nesting of brackets, runs of `not`. A filter of a
-- million parentheses costs one look at its length.
local errors = require "muster.filter.errors"

local M = {}

M.DEFAULTS = { depth = 16, clauses = 64, bytes = 4096, list = 1000 }
M.BRACKETS = 32
M.NOTS = 32

-- The limits in force: defaults overlaid by `given`. Misuse throws.
function M.resolve(given)
  local limits = {}
  for key, default in pairs(M.DEFAULTS) do limits[key] = default end
  for key, v in pairs(given or {}) do
    if limits[key] == nil then error("unknown limit '" .. tostring(key) .. "'", 4) end
    if type(v) ~= "number" or v < 0 then error("limit '" .. key .. "' must be a number", 4) end
    limits[key] = v
  end
  return limits
end

local SECOND = { [0xe0] = { 0xa0, 0xbf }, [0xed] = { 0x80, 0x9f }, [0xf0] = { 0x90, 0xbf }, [0xf4] = { 0x80, 0x8f } }

-- Position of the first byte, from `from` (default: 1) on, that is not part of valid UTF-8, or nil.
function M.invalid_utf8(text, from)
  local at = text:find("[\128-\255]", from)
  while at do
    local lead = text:byte(at)
    local length = lead >= 0xf0 and 4 or lead >= 0xe0 and 3 or 2
    if lead < 0xc2 or lead > 0xf4 then return at end
    local range = SECOND[lead]
    for i = 1, length - 1 do
      local b = text:byte(at + i) or 0
      local low, high = 0x80, 0xbf
      if i == 1 and range then low, high = range[1], range[2] end
      if b < low or b > high then return at end
    end
    at = text:find("[\128-\255]", at + length)
  end
  return nil
end

-- Raises unless `text` may be parsed. `bytes` is the limit of its length.
function M.check_bytes(text, bytes)
  if #text > bytes then
    errors.raise("limit", ("filter is too long: %d bytes (limit %d)"):format(#text, bytes), bytes + 1)
  end
  local zero = text:find("%z")
  if zero then errors.raise("syntax", "NUL byte in filter", zero) end
  local bad = M.invalid_utf8(text)
  if bad then errors.raise("syntax", "invalid UTF-8", bad) end
end

local OPEN = { ["("] = true, ["["] = true, ["{"] = true }
local CLOSE = { [")"] = true, ["]"] = true, ["}"] = true }

-- Skips a string, a back-quoted name or a comment that starts at `at`; returns the position behind it, or nil if
-- nothing of the kind starts there. Unterminated ones reach to the end.
local function skip_opaque(text, at)
  local c = text:sub(at, at)
  if c == "`" then return (text:find("`", at + 1, true) or #text) + 1 end
  if c == "-" and text:sub(at + 1, at + 1) == "-" then return text:find("\n", at, true) or #text + 1 end
  if c == "/" and text:sub(at + 1, at + 1) == "*" then
    local _, stop = text:find("*/", at + 2, true)
    return (stop or #text) + 1
  end
  if c ~= '"' and c ~= "'" then return nil end
  local before = text:sub(math.max(1, at - 2), at - 1)
  local raw = before:find "^[rR]$" or before:find "[^%w_\128-\255][rR]$"
  local stop = at + 1
  while true do
    stop = text:find(raw and c or "[\\" .. c .. "]", stop)
    if not stop then return #text + 1 end
    if text:sub(stop, stop) == c then return stop + 1 end
    stop = stop + 2
  end
end
M.skip_opaque = skip_opaque

-- Length of a `not` or `!` operator at `at`, or nil.
local function not_length(text, at)
  local c = text:byte(at)
  if c == 33 then return not text:find("^[=~]", at + 1) and 1 or nil end
  if c ~= 78 and c ~= 110 then return nil end
  if not text:find("^[nN][oO][tT]", at) or text:find("^[%w_\128-\255]", at + 3) then return nil end
  return not text:find("^%-[%a_\128-\255]", at + 3) and 3 or nil
end

-- Raises where brackets nest deeper, or `not` repeats more often, than the parser should see.
function M.check_nesting(text)
  local at, depth, nots = 1, 0, 0
  while true do
    at = text:find("[^ \t\r\n\f\v]", at)
    if not at then return end
    local after = skip_opaque(text, at)
    local c = text:sub(at, at)
    local comment = after and (c == "-" or c == "/")
    local not_ = not after and not_length(text, at)
    if OPEN[c] then depth = depth + 1 elseif CLOSE[c] then depth = depth - 1 end
    if not_ then nots = nots + 1 elseif not comment then nots = 0 end
    if depth > M.BRACKETS or nots > M.NOTS then
      errors.raise("limit", ("nested too deeply (limit %d)"):format(M.BRACKETS), at)
    end
    if not after then
      after = not_ and at + not_ or (text:match("^[%a_\128-\255][%w_\128-\255]*()", at) or at + 1)
      -- a prefix letter must stay with its string, for skip_opaque looks back at it
    end
    at = after
  end
end

return M
