-- SPDX-License-Identifier: Apache-2.0
-- Regular expressions in Lua, for two uses: the compiler refuses look-around and back-references with a clear message
-- before RE2 sees the pattern (and checks the rest where no RE2 is at hand); the oracle matches with it. The matcher
-- backtracks within a step budget, so it is for tests only; the engine runs RE2.
local M = {}

local function fail(at, message, refused)
  error({ regex = message, offset = at - 1, refused = refused }, 0)
end

local function code_points(text)
  local list, at = {}, {}
  for start, c in text:gmatch "()([%z\1-\127\194-\244][\128-\191]*)" do
    local b = { c:byte(1, -1) }
    local code = b[1]
    if #b > 1 then
      code = b[1] % 2 ^ (7 - #b)
      for i = 2, #b do code = code * 64 + b[i] % 64 end
    end
    list[#list + 1], at[#at + 1] = code, start
  end
  return list, at
end
M.code_points = code_points

local WORD = { { 48, 57 }, { 65, 90 }, { 95, 95 }, { 97, 122 } }
local SETS = { d = { { 48, 57 } }, w = WORD, s = { { 9, 10 }, { 12, 13 }, { 32, 32 } } }
local POSIX = { alpha = { { 65, 90 }, { 97, 122 } }, digit = SETS.d, alnum = { { 48, 57 }, { 65, 90 }, { 97, 122 } },
                upper = { { 65, 90 } }, lower = { { 97, 122 } }, space = { { 9, 13 }, { 32, 32 } }, word = WORD,
                punct = { { 33, 47 }, { 58, 64 }, { 91, 96 }, { 123, 126 } },
                xdigit = { { 48, 57 }, { 65, 70 }, { 97, 102 } } }
local CONTROLS = { a = 7, f = 12, n = 10, r = 13, t = 9, v = 11 }

-- Reader: p = { text, at, flags = { i, s, m, U } }
local parse_alternatives

local function peek(p) return p.text:sub(p.at, p.at) end

local function escape(p, in_class)
  local start, c = p.at, p.text:sub(p.at + 1, p.at + 1)
  p.at = p.at + 2
  if c == "" then fail(start, "trailing backslash") end
  local set = SETS[c:lower()]
  if set then return { kind = "set", ranges = set, negated = c ~= c:lower() } end
  if c == "p" or c == "P" then
    local name = p.text:match("^{%^?[%w_]+}", p.at) or p.text:match("^%a", p.at)
    if not name then fail(start, "invalid character class") end
    p.at = p.at + #name
    return { kind = "set", ranges = {}, negated = c == "P" }
  end
  if CONTROLS[c] then return { kind = "char", code = CONTROLS[c] } end
  if c == "x" then
    local hex = p.text:match("^{%x+}", p.at) or p.text:match("^%x%x", p.at)
    if not hex then fail(start, "invalid escape sequence") end
    p.at = p.at + #hex
    return { kind = "char", code = tonumber(hex:match "%x+", 16) }
  end
  if not in_class then
    if c == "b" or c == "B" or c == "A" or c == "z" then return { kind = "assert", what = c } end
    if c == "k" or c:find "^[1-9]$" then fail(start, "back-references are not supported (linear-time regex)", true) end
  end
  if c:find "^[%w_]$" then fail(start, "invalid escape sequence \\" .. c) end
  local code = code_points(p.text:sub(start + 1))[1]
  p.at = start + 1 + #(p.text:match("^[%z\1-\127\194-\244][\128-\191]*", start + 1) or c)
  return { kind = "char", code = code }
end

local function class_item(p)
  if peek(p) == "\\" then return escape(p, true) end
  local c = p.text:match("^[%z\1-\127\194-\244][\128-\191]*", p.at)
  p.at = p.at + #c
  return { kind = "char", code = code_points(c)[1] }
end

local function class(p)
  local start, node = p.at, { kind = "class", items = {}, flags = p.flags }
  p.at = p.at + 1
  if peek(p) == "^" then node.negated, p.at = true, p.at + 1 end
  local first = true
  while first or peek(p) ~= "]" do
    if p.at > #p.text then fail(start, "missing closing ]") end
    local negated, name = p.text:match("^%[:(%^?)(%a+):%]", p.at)
    if name then
      if not POSIX[name] then fail(p.at, "invalid character class") end
      node.items[#node.items + 1] = { kind = "set", ranges = POSIX[name], negated = negated == "^" }
      p.at = p.at + #name + #negated + 4
    else
      local at, item = p.at, class_item(p)
      if item.kind == "char" and peek(p) == "-" and not p.text:find("^%-%]", p.at) and p.at < #p.text then
        p.at = p.at + 1
        local high = class_item(p)
        if high.kind ~= "char" or high.code < item.code then fail(at, "invalid character class range") end
        item = { kind = "set", ranges = { { item.code, high.code } } }
      elseif item.kind == "char" then
        item = { kind = "set", ranges = { { item.code, item.code } } }
      end
      node.items[#node.items + 1] = item
    end
    first = false
  end
  p.at = p.at + 1
  return node
end

local function set_flags(p, start, text)
  local flags, on = {}, true
  for key, v in pairs(p.flags) do flags[key] = v end
  for c in text:gmatch "." do
    if c == "-" then on = false
    elseif c:find "[imsU]" then flags[c] = on
    else fail(start, "invalid group flag " .. c) end
  end
  p.flags = flags
end

local function group(p)
  local start, saved = p.at, p.flags
  local text = p.text
  if text:find("^%(%?<?[=!]", p.at) then fail(start, "lookaround is not supported (linear-time regex)", true) end
  if text:find("^%(%?P[=>]", p.at) then fail(start, "back-references are not supported (linear-time regex)", true) end
  local name = text:match("^%(%?P?<[%a_][%w_]*>", p.at)
  local flags, ending = text:match("^%(%?([%a-]*)([:)])", p.at)
  if name then
    p.at = p.at + #name
  elseif flags then
    set_flags(p, start, flags)
    p.at = p.at + 3 + #flags
    if ending == ")" then return { kind = "empty" } end -- the flags hold to the end of the enclosing group
  elseif text:find("^%(%?", p.at) then
    fail(start, "invalid group")
  else
    p.at = p.at + 1
  end
  local node = parse_alternatives(p)
  if peek(p) ~= ")" then fail(#text + 1, "missing closing parenthesis") end
  p.at, p.flags = p.at + 1, saved
  return node
end

local function atom(p)
  local c = peek(p)
  if c == "(" then return group(p) end
  if c == "[" then return class(p) end
  if c == "\\" then
    local node = escape(p)
    node.flags = p.flags
    return node
  end
  if c:find "[*+?]" then fail(p.at, "missing argument to repetition operator " .. c) end
  if c == "^" or c == "$" or c == "." then
    p.at = p.at + 1
    return { kind = c == "." and "dot" or "assert", what = c, flags = p.flags }
  end
  local char = p.text:match("^[%z\1-\127\194-\244][\128-\191]*", p.at)
  p.at = p.at + #char
  return { kind = "char", code = code_points(char)[1], flags = p.flags }
end

local function quantified(p)
  local start, node = p.at, atom(p)
  while true do
    local low, high, at = nil, nil, p.at
    local c = peek(p)
    if c == "*" then low, high = 0, math.huge elseif c == "+" then low, high = 1, math.huge
    elseif c == "?" then low, high = 0, 1 end
    local stop = p.at + 1
    if not low then
      local a, comma, b, after = p.text:match("^{(%d+)(,?)(%d*)}()", p.at)
      if not a or (comma == "" and b ~= "") then return node end
      low, stop = tonumber(a), after
      high = comma == "" and low or (b == "" and math.huge or tonumber(b))
      if low > 1000 or (high ~= math.huge and (high > 1000 or high < low)) then fail(at, "invalid repetition size") end
    end
    if node.kind == "repeat" and node.bare then fail(start, "invalid nested repetition operator") end
    p.at = stop
    local lazy = peek(p) == "?"
    if lazy then p.at = p.at + 1 end
    node = { kind = "repeat", node, low = low, high = high, lazy = lazy, bare = true }
  end
end

local function sequence(p)
  local list = { kind = "sequence" }
  while p.at <= #p.text do
    local c = peek(p)
    if c == "|" or c == ")" then break end
    list[#list + 1] = quantified(p)
  end
  return list
end

function parse_alternatives(p)
  p.depth = p.depth + 1
  if p.depth > 100 then fail(p.at, "nested too deeply") end
  local node = { kind = "either", sequence(p) }
  while peek(p) == "|" do
    p.at = p.at + 1
    node[#node + 1] = sequence(p)
  end
  p.depth = p.depth - 1
  return node
end

local function parse(text)
  local p = { text = text, at = 1, flags = {}, depth = 0 }
  local node = parse_alternatives(p)
  if p.at <= #text then fail(p.at, "unexpected )") end
  return node
end

-- true, or nil, message, offset in the pattern, whether it is a refusal (and not just a syntax error).
function M.check(pattern)
  local ok, result = pcall(parse, pattern)
  if ok then return true end
  if type(result) ~= "table" then error(result, 0) end
  return nil, result.regex, result.offset, result.refused
end

-- Matcher ---------------------------------------------------------------------------------------------------------

local function in_ranges(ranges, code)
  for _, range in ipairs(ranges) do
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

local function fold(code)
  if code >= 65 and code <= 90 then return code + 32 end
  if code >= 97 and code <= 122 then return code - 32 end
  return code
end

local function in_class(node, code)
  for _, item in ipairs(node.items) do
    if in_ranges(item.ranges, code) ~= (item.negated or false) then return true end
  end
  return false
end

local function accepts(node, code)
  local kind, flags = node.kind, node.flags or {}
  if kind == "dot" then return flags.s or code ~= 10 end
  if kind == "char" then return code == node.code or (flags.i and fold(code) == node.code) or false end
  if kind == "set" then return in_ranges(node.ranges, code) ~= (node.negated or false) end
  return (in_class(node, code) or (flags.i and in_class(node, fold(code))) or false) ~= (node.negated or false)
end

local function is_word(code) return code ~= nil and in_ranges(WORD, code) end

local function holds(node, s, i)
  local what, m = node.what, node.flags and node.flags.m
  if what == "^" or what == "A" then return i == 1 or (m and what == "^" and s[i - 1] == 10) end
  if what == "$" or what == "z" then return i == #s + 1 or (m and what == "$" and s[i] == 10) end
  return (is_word(s[i - 1]) ~= is_word(s[i])) == (what == "b")
end

local run

local function run_repeat(node, s, i, next, count, budget)
  local function more()
    if count >= node.high then return false end
    return run(node[1], s, i, function(j)
      if j == i and count >= node.low then return false end
      return run_repeat(node, s, j, next, count + 1, budget)
    end, budget)
  end
  if count < node.low then return more() end
  if node.lazy then return next(i) or more() end
  return more() or next(i)
end

function run(node, s, i, next, budget)
  budget.steps = budget.steps - 1
  if budget.steps < 0 then error("regex: too many steps", 0) end
  local kind = node.kind
  if kind == "empty" then return next(i) end
  if kind == "assert" then return holds(node, s, i) and next(i) end
  if kind == "either" then
    for _, alternative in ipairs(node) do
      if run(alternative, s, i, next, budget) then return true end
    end
    return false
  end
  if kind == "sequence" then
    local function from(k, j)
      if k > #node then return next(j) end
      return run(node[k], s, j, function(after) return from(k + 1, after) end, budget)
    end
    return from(1, i)
  end
  if kind == "repeat" then return run_repeat(node, s, i, next, 0, budget) end
  return i <= #s and accepts(node, s[i]) and next(i + 1)
end

-- Whether the pattern is found anywhere in `text`. The pattern must have passed check.
function M.find(pattern, text)
  local node, s = parse(pattern), code_points(text)
  local budget = { steps = 200000 }
  for i = 1, #s + 1 do
    if run(node, s, i, function() return true end, budget) then return true end
  end
  return false
end

return M
