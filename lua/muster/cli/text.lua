-- SPDX-License-Identifier: Apache-2.0
-- JSON as text: answers are passed on byte for byte, so they are cut apart and put together, never decoded and encoded
-- again. Everything cut here was written by the server or checked before.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local limits = require "muster.filter.limits"

local M = {}

local REQUEST_MAX = 1048576 -- bytes of a request, as the server limits it

local function skip_string(text, at)
  at = at + 1
  while true do
    at = text:find('["\\]', at)
    if not at then return #text + 1 end
    if text:byte(at) == 34 then return at + 1 end
    at = at + 2
  end
end

local STEP = { [91] = 1, [123] = 1, [93] = -1, [125] = -1 } -- [ { ] }

-- Position behind the value that begins at `at`.
local function skip_value(text, at)
  local first = text:byte(at)
  if first == 34 then return skip_string(text, at) end
  if STEP[first] ~= 1 then return text:find("[,%]}%s]", at) or #text + 1 end
  local depth = 0
  repeat
    at = text:find('["%[%]{}]', at)
    if not at then return #text + 1 end
    local c = text:byte(at)
    if c == 34 then
      at = skip_string(text, at)
    else
      depth, at = depth + STEP[c], at + 1
    end
  until depth == 0
  return at
end

local function unquote(text)
  if not text:find("\\", 1, true) then return text:sub(2, -2) end
  return core.json_decode("[" .. text .. "]")[1]
end

-- The members of an object: a table from key to the value's text.
function M.members(text)
  local found = {}
  local at = text:find('["}]', (text:find("{", 1, true) or 0) + 1)
  while at and text:byte(at) == 34 do
    local stop = skip_string(text, at)
    local key = unquote(text:sub(at, stop - 1))
    at = text:find("[^%s:]", stop)
    stop = skip_value(text, at)
    found[key] = text:sub(at, stop - 1)
    at = text:find('["}]', stop)
  end
  return found
end

-- The elements of an array: a list of texts.
function M.elements(text)
  local found = {}
  local at = text:find("[^%s]", (text:find("[", 1, true) or 0) + 1)
  while at and text:byte(at) ~= 93 do
    local stop = skip_value(text, at)
    found[#found + 1] = text:sub(at, stop - 1)
    at = text:find("[^%s,]", stop)
  end
  return found
end

-- A string or number value that was cut out; nil for null.
function M.value(text)
  if text == nil or text == "null" then return nil end
  if text:byte() == 34 then return unquote(text) end
  return tonumber(text) or text
end

-- On one line. Line breaks cannot stand inside a JSON string, so only the space between is touched.
function M.one_line(text)
  return (text:gsub("[\r\n\t]", " "))
end

-- `text` quoted for a request. `what` names it if it is not UTF-8.
function M.quote(text, what, code)
  if limits.invalid_utf8(text) then
    local message = (what or "text") .. " is not valid UTF-8"
    failure.raise { exit = failure.EXIT.usage, code = code or "EINVAL", message = message }
  end
  return core.json_encode(text)
end

function M.list(texts, what, code)
  local quoted = {}
  for i, text in ipairs(texts) do quoted[i] = M.quote(text, what, code) end
  return "[" .. table.concat(quoted, ",") .. "]"
end

-- Checks JSON text that the user wrote; `kind` may be "object". Returns it with blanks at the ends cut off.
function M.check(text, what, kind)
  local given = text:match "^%s*(.-)%s*$"
  local value, message = core.json_decode(given)
  if value == nil then failure.usage("%s is not valid JSON: %s", what, tostring(message)) end
  if kind == "object" and given:byte() ~= 123 then failure.usage("%s has to be a JSON object", what) end
  return given
end

-- A request: M.object{ {"id", text.quote(id)}, {"ttl", nil} } leaves out what is nil.
function M.object(members)
  local parts = {}
  for _, member in ipairs(members) do
    if member[2] ~= nil then parts[#parts + 1] = ('"%s":%s'):format(member[1], member[2]) end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- The payload members of a request: text as it is, anything else as base64.
function M.payload(bytes)
  if #bytes > REQUEST_MAX then
    failure.raise { code = "ETOOBIG", message = ("the payload has %d bytes; a request holds at most %d"):format(#bytes,
                                                                                                 REQUEST_MAX) }
  end
  if limits.invalid_utf8(bytes) then return { "payload_base64", '"' .. core.base64(bytes) .. '"' } end
  return { "payload", core.json_encode(bytes) }
end

return M
