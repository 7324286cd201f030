-- SPDX-License-Identifier: Apache-2.0
-- Why a text is no filter: reads the instrumented grammar's farthest failure and says it in words, with a hint where
-- people are known to come from another language.
local errors = require "muster.filter.errors"
local grammar = require "muster.filter.grammar"
local limits = require "muster.filter.limits"
local suggest = require "muster.filter.suggest"

local M = {}

local VALUE = "value or field"

-- Operators of other languages, by what stands in the text.
local SYMBOLS = {
  ["=<"] = "did you mean `<=`?", ["=>"] = "did you mean `>=`?",
  ["~="] = "did you mean `!=` (not equal) or `=~` (regex match)?", ["~"] = "did you mean `=~` (regex match)?",
  ["==="] = "did you mean `==`?", ["!=="] = "did you mean `!=`?", ["=!"] = "did you mean `!=`?",
  ["<=>"] = "did you mean `==`?", [":"] = "did you mean `==`?", [":="] = "did you mean `==`?",
  ["&"] = "did you mean `and`?", ["|"] = "did you mean `or`?", [","] = "did you mean `and`?",
  [";"] = "did you mean `and`?",
  ["^"] = "did you mean `startswith`?", ["^="] = "did you mean `startswith`?", ["$="] = "did you mean `endswith`?",
  ["*="] = "did you mean `contains`?", ["!~="] = "did you mean `!~`?", ["=~="] = "did you mean `=~`?",
  ["?"] = "write conditions with `and` and `or`",
}
for _, c in ipairs { "+", "-", "*", "/", "%" } do
  SYMBOLS[c] = "arithmetic on fields is not supported; only times and numbers take `+` and `-`"
end

local WORDS = {
  eq = "==", ne = "!=", neq = "!=", lt = "<", le = "<=", lte = "<=", gt = ">", ge = ">=", gte = ">=", equals = "==",
  regex = "matches", regexp = "matches", rlike = "matches", match = "matches", ilike = "like", has = "contains",
  includes = "contains", include = "contains", starts = "startswith", begins = "startswith", beginswith = "startswith",
  startsWith = "startswith", ends = "endswith", nin = "not in", notin = "not in", isnull = "is null",
}
local OPERATOR_WORDS = { "and", "or", "not", "in", "between", "startswith", "endswith", "contains", "like", "glob",
                         "matches", "is" }
local COMPARISONS = { ["=="] = true, ["="] = true, ["!="] = true, ["<>"] = true, ["<"] = true, ["<="] = true,
                      [">"] = true, [">="] = true }

local function is_reserved(word)
  for _, reserved in ipairs(grammar.RESERVED) do
    if reserved == word:lower() then return true end
  end
  return false
end

-- What stands at the place, as the message shows it.
local function token_at(text, at)
  if at > #text then return nil end
  local rest = text:sub(at)
  return rest:match "^[%a_\128-\255][%w_\128-\255]*" or rest:match "^%d[%w.]*" or rest:match "^[=<>!~&|:*^$]+"
    or rest:match "^[%z\1-\127\194-\244][\128-\191]*"
end

local function raise(message, position, hint, state, length)
  errors.raise("syntax", message, position, hint, { expected = state.expected, length = length })
end

-- Lexical faults --------------------------------------------------------------------------------------------------

local function check_string(text, at, state)
  local quote = text:sub(at, at)
  local raw = text:sub(1, at - 1):find "%f[%w_][rR]$"
  local i = at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == quote then
      if quote == "'" and not raw and text:sub(i + 1, i + 1) == "'" then i = i + 1 else return end
    elseif c == "\\" and not raw then
      local stop = grammar.escape_end(text, i)
      if not stop then
        local what = text:match("^\\u%x*", i) or text:match("^\\[%z\1-\127\194-\244]?[\128-\191]*", i)
        if what:find "^\\u" then
          raise("invalid escape " .. what, i, "write \\u and four hexadecimal digits", state, #what)
        end
        if #what > 1 then
          local hint = 'write \\\\ for a backslash, or use a raw string r"..." for patterns'
          raise("unknown escape " .. what, i, hint, state, 2)
        end
      end
      i = (stop or i + 2) - 1
    end
    i = i + 1
  end
  raise("unterminated string", at, "add a closing " .. quote, state)
end

local function check_number(text, at, state)
  local whole = text:match("^[+-]?[%w_.]+", at)
  if text:find("^[+-]?%.%d", at) then
    raise("number must start with a digit", at, "write " .. suggest.short(whole):gsub("%.", "0.", 1), state, #whole)
  end
  local sign, digits = whole:match "^([+-]?)0+(%d+)$"
  if digits then
    local hint = "write " .. sign .. suggest.short(digits)
    raise("leading zero in number " .. suggest.short(whole), at, hint, state, #whole)
  end
  local hint = "known units: ns us ms s m h d w (time, seconds) and km (metres)"
  if whole:find "^%d+%.%d+%.[%w.]*$" then
    hint = 'put strings in quotes; for versions write semver"' .. suggest.short(whole) .. '"'
  end
  raise("invalid number or unit `" .. suggest.short(whole) .. "`", at, hint, state, #whole)
end

local function check_lexical(text, at, state)
  if text:find("^/%*", at) then raise("unterminated comment", at, "add a closing */", state, 2) end
  local three, two = text:sub(at, at + 2), text:sub(at, at + 1)
  if three:find "^\226\128[\152-\159]" then raise("typographic quote", at, "use plain ' or \"", state) end
  if two == "\194\160" or three:find "^\226\128[\128-\143\168\169\175]" or three == "\226\129\159"
    or three == "\227\128\128" or three == "\239\187\191" then
    raise("invisible or non-breaking space", at, "use a plain space", state)
  end
  local c = text:sub(at, at)
  if c == "`" and not text:find("`", at + 1, true) then
    raise("unterminated back-quote", at, "add a closing `", state)
  end
  local value_expected = state.seen[VALUE] or state.seen.literal or state.seen.argument or state.seen.number
  local prefix = text:sub(1, at - 1):match "%f[%w_](%a+)$"
  local typed = prefix and (" semver v time t cidr r R "):find(" " .. prefix .. " ", 1, true)
  if c == '"' or c == "'" then
    if value_expected or typed or state.seen.key or state.seen.index then check_string(text, at, state) end
  elseif value_expected and (text:find("^[+-]?%d", at) or text:find("^[+-]?%.%d", at)) then
    check_number(text, at, state)
  end
end

-- Hints -----------------------------------------------------------------------------------------------------------

-- Positions of the brackets that are still open before `stop`, the innermost last.
local function open_brackets(text, stop)
  local stack, at = {}, 1
  while at < stop do
    local after = limits.skip_opaque(text, at)
    local c = text:sub(at, at)
    if c:find "[%(%[{]" then stack[#stack + 1] = at elseif c:find "[%)%]}]" then stack[#stack] = nil end
    at = after or at + 1
  end
  return stack
end

-- The innermost one, and which it is.
local function open_bracket(text, stop)
  local stack = open_brackets(text, stop)
  local open = stack[#stack]
  return open, open and text:sub(open, open)
end

local function end_hint(text, state)
  local open, bracket = open_bracket(text, #text + 1)
  local closing = open and ({ ["("] = ")", ["["] = "]", ["{"] = "}" })[bracket]
  if closing and state.seen[closing] then
    local place = errors.locate({ offset = open - 1 }, text)
    return ("`%s` opened at line %d, column %d is not closed"):format(bracket, place.line, place.column)
  end
  return "the filter ends too early"
end

local function word_hint(word, state)
  if state.seen[VALUE] and is_reserved(word) then
    return ("`%s` is a keyword; write `%s` in backticks to use it as a field name"):format(word, word)
  end
  if state.seen["literal"] then return "a list holds literals and parameters only; put strings in quotes" end
  if not state.seen["end of filter"] and not state.seen[")"] and not state.seen["in"] then return nil end
  local known = WORDS[word] or WORDS[word:lower()] or suggest.nearest(word, OPERATOR_WORDS)
  if known and known ~= word:lower() then return "did you mean `" .. known .. "`?" end
  return not state.seen["=="] and state.seen["and"] and "join conditions with `and` or `or`" or nil
end

local function parenthesis_hint(text, at, state)
  if state.seen[VALUE] then return "a value does not stand in parentheses" end
  if not text:sub(1, at - 1):find "[%w_`%]]%s*$" then return nil end
  if state.seen["=="] then return "method calls are not supported: write `field startswith \"x\"`" end
  return state.seen[","] and "a function takes a field" or nil
end

local CALLED = { exists = true, has = true, len = true, size = true, lower = true, upper = true }

-- `exists site`: a function whose field stands without parentheses.
local function call_hint(text, at)
  local name = text:sub(1, at - 1):match "%f[%w_.@:$`]([%a]+)%s+$"
  local field = name and CALLED[name:lower()] and text:match("^[%a_\128-\255][%w_.\128-\255]*", at)
  if not field or is_reserved(field) then return nil end
  return ("write `%s(%s)`"):format(name, #field > 40 and ".." or field)
end

-- What stands where a value should, in the manner of other languages.
local function value_hint(text, at, token)
  if token == "/" then
    local pattern = text:match("^/([^/\"]+)/", at)
    return ('a pattern stands in quotes: r"%s"'):format(pattern and #pattern <= 40 and pattern or "..")
  end
  if token == "@" then
    for _, open in ipairs(open_brackets(text, at)) do
      local quantifier = text:sub(1, open - 1):lower():match "%f[%w_](a%l%l)%s*$"
      if quantifier == "any" or quantifier == "all" then return "write `it` for the element" end
    end
    return "behind `@` stands the name of a built-in or of a filter"
  end
  return nil
end

local function hint_for(text, at, token, state)
  local hint = state.seen[VALUE] and value_hint(text, at, token)
  if hint then return hint end
  if token == '"' or token == "'" then
    return (state.seen["=="] or state.seen["and"]) and "missing operator before the string" or nil
  end
  if token == "(" then return parenthesis_hint(text, at, state) end
  if token == ")" and not open_bracket(text, at) then return "no `(` is open here" end
  if token:find "^[%a_\128-\255]" then return call_hint(text, at) or word_hint(token, state) end
  if COMPARISONS[token] then
    if state.seen[VALUE] then return "missing field or value before the operator" end
    if not state.seen["=="] then return "comparisons do not chain: write `a < x and x < b`, or `x between a and b`" end
  end
  if state.seen.index then return "an index is a number from 0, or a name in quotes" end
  return SYMBOLS[token]
end

-- Raises the syntax error of `text`, which does not parse.
function M.fail(text)
  local ok, state = pcall(grammar.explain, text)
  if not ok then errors.raise("limit", "filter is too complex to parse", 1) end
  local at = state.position
  check_lexical(text, at, state)
  local token = token_at(text, at)
  if not token then raise("unexpected end of filter", at, end_hint(text, state), state) end
  local length = #token:gsub("[\128-\191]", "")
  raise("unexpected `" .. suggest.short(token) .. "`", at, hint_for(text, at, token, state), state, length)
end

return M
