-- SPDX-License-Identifier: Apache-2.0
-- Lua that is data: reads `return { .. }` of literals, and runs nothing. What it takes is a part of Lua's own syntax:
--
--   file:   "return" table [";"], comments anywhere
--   table:  "{" [field {("," | ";") field} ["," | ";"]] "}"
--   field:  value | name "=" value | "[" (string | number) "]" "=" value
--   value:  string, also a long one | ["-"] number | true | false | nil | table
--
--   local data, problem = literals.read(source)
--
-- problem: { offset = bytes from 0, message =, hint = }. The time is linear in the length of the source.
local M = {}

local MAX_DEPTH = 8
local DATA = "the file is data, nothing in it is run: texts, numbers, true, false and tables only"
local TABLE = "return { doc = .., params = { .. }, filter = [[ .. ]] }"

local KEYWORDS = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true "
  .. "until while"):gmatch "%a+" do
  KEYWORDS[word] = true
end

local CONSTANTS = { ["true"] = true, ["false"] = false }

local function fail(at, message, hint)
  error({ offset = at - 1, message = message, hint = hint }, 0)
end

-- Of the token at the place, to be shown.
local function found(state)
  local source, at = state.source, state.at
  if at > #source then return "the end" end
  local token = source:match("^[%a_][%w_]*", at) or source:match("^%.+", at) or source:match("^[%w]+", at)
    or source:match("^[\194-\244][\128-\191]*", at) or source:sub(at, at)
  return "`" .. token:sub(1, 40) .. "`"
end

local function expected(state, what, hint)
  fail(state.at, "expected " .. what .. ", found " .. found(state), hint)
end

-- A long bracket at `at`: its content and the place behind it; nil if there is none.
local function long_bracket(source, at)
  local level = source:match("^%[(=*)%[", at)
  if not level then return nil end
  local from = at + #level + 2
  local stop, last = source:find("]" .. level .. "]", from, true)
  if not stop then fail(at, "unterminated long text or comment", "add a closing ]" .. level .. "]") end
  return (source:sub(from, stop - 1):gsub("^\r?\n", "")), last + 1
end

-- Goes on behind white space and comments; answers the byte there as a text, "" at the end.
local function skip(state)
  local source, at = state.source, state.at
  while true do
    at = source:find("%S", at) or #source + 1
    if source:sub(at, at + 1) ~= "--" then break end
    local _, behind = long_bracket(source, at + 2)
    at = behind or source:find("\n", at, true) or #source + 1
  end
  state.at = at
  return source:sub(at, at)
end

local function word(state)
  return state.source:match("^[%a_][%w_]*", state.at)
end

local SIMPLE = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v", ["\\"] = "\\", ['"'] = '"',
                 ["'"] = "'", ["\n"] = "\n" }

-- The escape at `at`, which is a backslash: what it stands for, and the place behind it.
local function escape(source, at)
  local simple = SIMPLE[source:sub(at + 1, at + 1)]
  if simple then return simple, at + 2 end
  local hex = source:match("^x(%x%x)", at + 1)
  if hex then return string.char(tonumber(hex, 16)), at + 4 end
  local digits = source:match("^%d%d?%d?", at + 1)
  if digits and tonumber(digits) < 256 then return string.char(tonumber(digits)), at + 1 + #digits end
  if source:find("^z", at + 1) then return "", source:find("%S", at + 2) or #source + 1 end
  fail(at, "unknown escape " .. source:sub(at, at + 1):gsub("[^ -~]", "?"), "write \\\\ for a backslash, or [[ .. ]]")
end

local function read_string(state)
  local source, from = state.source, state.at
  local quote, at, parts = source:sub(from, from), from + 1, {}
  while true do
    local stop = source:find("[\\\n" .. quote .. "]", at)
    local c = stop and source:sub(stop, stop)
    if not stop or c == "\n" then fail(from, "unterminated string", "add a closing " .. quote) end
    parts[#parts + 1] = source:sub(at, stop - 1)
    if c == quote then
      state.at = stop + 1
      return table.concat(parts)
    end
    parts[#parts + 1], at = escape(source, stop)
  end
end

local function read_number(state)
  local source, from = state.source, state.at
  local text = source:match("^%.?%d[%w_.]*", from)
  if text:find "^[%d.]+[eE]$" then text = text .. source:match("^[+-]?%d*", from + #text) end
  local number = tonumber(text)
  if not number or number == math.huge then fail(from, "malformed number `" .. text:sub(1, 40) .. "`") end
  state.at = from + #text
  return number
end

local read_table

-- A value; a key, which is less, where `key`.
local function read_value(state, depth, key)
  local c = skip(state)
  local source, at = state.source, state.at
  if c == '"' or c == "'" then return read_string(state) end
  local text, behind = long_bracket(source, at)
  if text then
    state.at = behind
    return text
  end
  if source:find("^%.?%d", at) then return read_number(state) end
  if c == "-" then
    state.at = at + 1
    skip(state)
    if not source:find("^%.?%d", state.at) then expected(state, "a number behind `-`") end
    return -read_number(state)
  end
  if key then expected(state, "a text or a number as a key", DATA) end
  if c == "{" then return read_table(state, depth + 1) end
  local name = word(state)
  if name ~= "nil" and CONSTANTS[name or ""] == nil then expected(state, "a value", DATA) end
  state.at = at + #name
  return CONSTANTS[name]
end

-- The key of a field; nil if it has none.
local function read_key(state)
  local source, at = state.source, state.at
  if source:find("^%[[^%[=]", at) then
    state.at = at + 1
    local key = read_value(state, 0, true)
    if skip(state) ~= "]" then expected(state, "`]`", DATA) end
    state.at = state.at + 1
    if skip(state) ~= "=" then expected(state, "`=`", DATA) end
    state.at = state.at + 1
    return key
  end
  local name = word(state)
  if not name or KEYWORDS[name] then return nil end
  state.at = at + #name
  if skip(state) ~= "=" or source:sub(state.at + 1, state.at + 1) == "=" then
    fail(at, "expected a value, found `" .. name:sub(1, 40) .. "`", DATA)
  end
  state.at = state.at + 1
  return name
end

function read_table(state, depth)
  if depth > MAX_DEPTH then fail(state.at, ("nested too deeply (limit %d)"):format(MAX_DEPTH)) end
  state.at = state.at + 1
  local result, count, seen = {}, 0, {}
  while skip(state) ~= "}" do
    local at, key = state.at, read_key(state)
    if key == nil then key, count = count + 1, count + 1 end
    if seen[key] then fail(at, ("`%s` is there twice"):format(tostring(key):sub(1, 40))) end
    seen[key], result[key] = true, read_value(state, depth)
    local after = skip(state)
    if after == "," or after == ";" then
      state.at = state.at + 1
    elseif after ~= "}" then
      expected(state, "`,` or `}`", (after == "." or after == ":" or after == "(") and DATA or nil)
    end
  end
  state.at = state.at + 1
  return result
end

local function read_file(state)
  skip(state)
  if word(state) ~= "return" then expected(state, "`return`", DATA) end
  state.at = state.at + 6
  if skip(state) ~= "{" then fail(state.at, "has to return a table, not " .. found(state), TABLE) end
  local result = read_table(state, 1)
  if skip(state) == ";" then state.at = state.at + 1 end
  if skip(state) ~= "" then expected(state, "the end", DATA) end
  return result
end

function M.read(source)
  local ok, result = pcall(read_file, { source = source, at = 1 })
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  return nil, result
end

return M
