-- SPDX-License-Identifier: Apache-2.0
-- `like` and `glob` for the oracle: patterns become lists of steps, one per code point of the text.
local regex = require "muster.filter.regex"

local M = {}

-- Only the last wildcard is ever taken back: what an earlier one could gain, the later one can too.
local function matches(pattern, s)
  local i, j, star, resume = 1, 1, nil, nil
  while j <= #s do
    local p = pattern[i]
    if p and p.many then
      star, resume, i = i, j, i + 1
    elseif p and p.accepts(s[j]) then
      i, j = i + 1, j + 1
    elseif star then
      resume = resume + 1
      i, j = star + 1, resume
    else
      return false
    end
  end
  while pattern[i] and pattern[i].many do i = i + 1 end
  return pattern[i] == nil
end

local function exactly(code) return { accepts = function(c) return c == code end } end
local function anything() return true end

local function like_pattern(text)
  local codes, out, i = regex.code_points(text), {}, 1
  while i <= #codes do
    local c = codes[i]
    if c == 37 then out[#out + 1] = { many = true }
    elseif c == 95 then out[#out + 1] = { accepts = anything }
    elseif c == 92 and codes[i + 1] then
      i = i + 1
      out[#out + 1] = exactly(codes[i])
    else out[#out + 1] = exactly(c) end
    i = i + 1
  end
  return out
end

-- A glob class that starts at codes[i]; nil if it is not closed.
local function glob_class(codes, i)
  local negated = codes[i + 1] == 33
  local first, ranges = negated and i + 2 or i + 1, {}
  local k = first
  while codes[k] and (codes[k] ~= 93 or k == first) do
    if codes[k + 1] == 45 and codes[k + 2] and codes[k + 2] ~= 93 then
      ranges[#ranges + 1], k = { codes[k], codes[k + 2] }, k + 3
    else
      ranges[#ranges + 1], k = { codes[k], codes[k] }, k + 1
    end
  end
  if not codes[k] then return nil end
  local function accepts(c)
    for _, range in ipairs(ranges) do
      if c >= range[1] and c <= range[2] then return not negated end
    end
    return negated
  end
  return { accepts = accepts }, k
end

local function glob_pattern(text)
  local codes, out, i = regex.code_points(text), {}, 1
  while i <= #codes do
    local c = codes[i]
    local class, stop
    if c == 91 then class, stop = glob_class(codes, i) end
    if c == 42 then out[#out + 1] = { many = true }
    elseif c == 63 then out[#out + 1] = { accepts = anything }
    elseif class then out[#out + 1], i = class, stop
    else out[#out + 1] = exactly(c) end
    i = i + 1
  end
  return out
end

-- `%` any text, `_` one code point, `\\` takes the next literally; the whole text must fit.
function M.like(pattern, text)
  return matches(like_pattern(pattern), regex.code_points(text))
end

-- `*` any text, `?` one code point, `[a-z]` and `[!a-z]` one of a set; the whole text must fit.
function M.glob(pattern, text)
  return matches(glob_pattern(pattern), regex.code_points(text))
end

return M
