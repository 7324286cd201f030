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

-- The source line with the place underlined.
function M.format(text, detail)
  if not detail.line then return M.line(detail) end
  local first = detail.offset
  while first > 0 and text:byte(first) ~= 10 do first = first - 1 end
  local source = text:sub(first + 1):match "[^\r\n]*"
  local pad = text:sub(first + 1, detail.offset):gsub("[^\t\128-\191]", " "):gsub("[\128-\191]", "")
  local message = detail.message .. (detail.hint and ("; " .. detail.hint) or "")
  return source .. "\n" .. pad .. ("^"):rep(math.max(1, detail.length or 1)) .. " " .. message
end

return M
