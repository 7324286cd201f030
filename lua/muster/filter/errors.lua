-- SPDX-License-Identifier: Apache-2.0
-- Filter errors: raised as tables inside the compiler, caught once in init.lua, shown to people by format().
--
--   { error = "syntax" | "type" | "limit" | "name" | "value" | "json" | "internal",
--     offset = bytes from 0, line = from 1, column = code points from 1, length = code points to underline,
--     message =, hint =, expected = { .. }, pointer = JSON pointer }
local M = {}

local Error = {}

-- Raises. `position` is 1-based bytes as LPeg counts, or nil where there is no text.
function M.raise(kind, message, position, hint, extra)
  local detail = setmetatable({ error = kind, message = message, hint = hint }, Error)
  if position then detail.offset = position - 1 end
  for key, v in pairs(extra or {}) do detail[key] = v end
  error(detail, 0)
end

function M.is(e)
  return getmetatable(e) == Error
end

local function code_points(s)
  return #s:gsub("[\128-\191]", "")
end

-- Fills in line and column from the offset, and drops the metatable: the detail leaves the compiler as a plain table.
function M.locate(detail, text)
  setmetatable(detail, nil)
  if not detail.offset then return detail end
  local before = text:sub(1, detail.offset)
  local _, newlines = before:gsub("\n", "")
  detail.line = newlines + 1
  detail.column = code_points(before:match "[^\n]*$") + 1
  return detail
end

-- One line: `1:8: text; hint`.
function M.line(detail)
  local where = detail.line and ("%d:%d: "):format(detail.line, detail.column) or ""
  local at = detail.pointer and detail.pointer ~= "" and (" (at " .. detail.pointer .. ")") or ""
  return where .. detail.message .. at .. (detail.hint and ("; " .. detail.hint) or "")
end

local AROUND = 60 -- code points of a long line that are shown on either side of the place

-- The end of `text`, at most AROUND code points of it; stray bytes count as such.
local function last_part(text)
  local at = #text + 1
  for _ = 1, AROUND do
    local least = math.max(1, at - 4)
    repeat at = at - 1 until at <= least or not text:find("^[\128-\191]", at)
    if at <= 1 then return text end
  end
  return "..." .. text:sub(at)
end

local function first_part(text)
  local at = 1
  for _ = 1, AROUND do
    if at > #text then return text end
    at = text:match("^.[\128-\191]?[\128-\191]?[\128-\191]?()", at)
  end
  return at > #text and text or text:sub(1, at - 1) .. "..."
end

-- The source line, or so much of a long one as stands around the place, with the place underlined.
function M.format(text, detail)
  if not detail.line then return M.line(detail) end
  local first = detail.offset
  while first > 0 and text:byte(first) ~= 10 do first = first - 1 end
  local before, after = text:sub(first + 1, detail.offset), text:match("^[^\r\n]*", detail.offset + 1) or ""
  local underlined = detail.length or 1
  if #before + #after > 2 * AROUND then
    before, after = last_part(before), first_part(after)
    underlined = math.min(underlined, code_points(after))
  end
  local pad = before:gsub("[^\t\128-\191]", " "):gsub("[\128-\191]", "")
  local message = detail.message .. (detail.hint and ("; " .. detail.hint) or "")
  return before .. after .. "\n" .. pad .. ("^"):rep(math.max(1, underlined)) .. " " .. message
end

return M
