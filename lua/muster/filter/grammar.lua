-- SPDX-License-Identifier: Apache-2.0
-- Filter text to a raw parse: one grammar, built twice. The plain build only accepts or refuses; the instrumented build
-- also records the farthest place that could not be consumed and what was expected there (see diagnose.lua).
--
-- The raw parse is a flat list in postfix order, so that captures never nest with the text (LPeg allows 200 levels):
--   { op = "pred", pos, left = operand, [tail] }   a leaf; tail: op2, oppos, neg, right, third
--   { op = "nots", pos, count, bang }  ..  "not"   a run of not; bang: its last operator is `!`
--   { op = "quant", pos, quant, path } ..  "quant"
--   { op = "named", pos, name, args }
--   "and", "or"                                    joins the two expressions before it
--   "group"                                        the expression before it stood in parentheses
-- operand: { base, { pos, sign, base } ... }, base: { pos, kind, ... } with kind
--   path (steps in the array part, quoted), builtin (name), param (name), call (name, args), string (value),
--   number (text), true, false, null, typed (type, value), list (items), object (pairs: key, value alternating)
local lpeg = require "lpeg"
local utf8 = require("muster.filter.json_read").utf8

local P, R, S, V, C, Cc, Cg, Cp, Cs, Ct, Cmt, Carg =
  lpeg.P, lpeg.R, lpeg.S, lpeg.V, lpeg.C, lpeg.Cc, lpeg.Cg, lpeg.Cp, lpeg.Cs, lpeg.Ct, lpeg.Cmt, lpeg.Carg

local M = {}

M.RESERVED = { "and", "or", "not", "in", "is", "between", "like", "null", "true", "false" }

-- Lexical patterns, shared by both builds -------------------------------------------------------------------------

-- Quotes and spaces that only look right; they would otherwise be letters.
local quotes = P "\226\128" * R "\152\159"
local spaces = P "\194\160" + P "\226\128" * R "\128\138" + P "\226\128" * S "\168\169\175" + P "\226\129\159"
  + P "\227\128\128" + P "\239\187\191" + P "\226\128\139"
local high = R "\128\255" - (quotes + spaces)
local digit = R "09"
local start = R("az", "AZ") + "_" + high
local follow = start + digit + P "-" * #start
local boundary = -follow
local ident = start * follow ^ 0

local space = (S " \t\r\n\f\v" ^ 1 + "--" * (1 - P "\n") ^ 0 + "/*" * (1 - P "*/") ^ 0 * "*/") ^ 0

local function word(text)
  local p = P(true)
  for c in text:gmatch "." do
    p = p * (c:match "%a" and S(c:lower() .. c:upper()) or P(c))
  end
  return p * boundary
end

local reserved = P(false)
for _, w in ipairs(M.RESERVED) do reserved = reserved + word(w) end

local quantifier = word "any" + word "all"

local hex = R("09", "af", "AF")
local function from_hex(text) return utf8(tonumber(text, 16)) end
local function from_pair(high_half, low_half)
  return utf8(0x10000 + (tonumber(high_half, 16) - 0xd800) * 1024 + tonumber(low_half, 16) - 0xdc00)
end
local surrogate = S "dD" * R("89", "af", "AF") * hex * hex
local pair = P "\\u" * C(S "dD" * S "89abAB" * hex * hex) * "\\u" * C(S "dD" * R("cf", "CF") * hex * hex) / from_pair
local plain = P "\\u" * C(hex * hex * hex * hex - surrogate) / from_hex
local simple = P "\\" * C(S "\"'\\/bfnrt")
  / { ['"'] = '"', ["'"] = "'", ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
M.escape = pair + plain + simple

local quoted_string = '"' * Cs((M.escape + (1 - S '"\\')) ^ 0) * '"'
  + "'" * Cs((M.escape + P "''" / "'" + (1 - S "'\\")) ^ 0) * "'"
local string = quoted_string + S "rR" * ('"' * C((1 - P '"') ^ 0) * '"' + "'" * C((1 - P "'") ^ 0) * "'")

local integer = P "0" + R "19" * digit ^ 0
local fraction = "." * digit ^ 1
local unit = P "ns" + "us" + "ms" + "km" + S "smhdw"
local number = S "+-" ^ -1 * (
    P "0" * S "xX" * hex ^ 1
    + integer * fraction ^ -1 * unit * (digit ^ 1 * fraction ^ -1 * unit) ^ 0
    + integer * fraction ^ -1 * (S "eE" * S "+-" ^ -1 * digit ^ 1) ^ -1)
  * boundary * -P "."

local function node(kind, p)
  return Ct(Cg(Cp(), "pos") * Cg(Cc(kind), "kind") * p)
end

local param = node("param", P ":" * Cg(C(ident), "name") + P "$" * Cg(C(R "19" * digit ^ 0), "name"))
local builtin = node("builtin", P "@" * Cg(C(ident), "name"))
local back_quoted = "`" * C((1 - P "`") ^ 0) * "`"
local number_node = node("number", Cg(C(number), "text"))
local typed = node("typed",
  Cg((P "semver" + "v") * Cc "semver" + (P "time" + "t") * Cc "time" + P "cidr" * Cc "cidr", "type")
  * Cg(quoted_string, "value"))

-- The grammar -----------------------------------------------------------------------------------------------------

local function build(expect)
  local function tok(p, name) return space * (p + expect(name)) end
  local function sym(text) return tok(P(text), text) end
  local function kw(text) return tok(word(text), text) end
  local function list_of(item, open, close)
    return node("list", P(open) * (V(item) * (sym "," * V(item)) ^ 0 * sym "," ^ -1) ^ -1 * sym(close))
  end
  local function comma_list(p) return (p * (sym "," * p) ^ 0) ^ -1 end

  local segment = "." * (C(ident) + back_quoted + expect "name")
    + "[" * space * (C(integer) * boundary / tonumber + string + expect "index") * space * (P "]" + expect "]")
  local first = back_quoted * Cg(Cc(true), "quoted") + C(ident) - reserved
  local path = node("path", first * segment ^ 0)
  local scalar = node("string", Cg(string, "value")) + number_node + typed
    + node("true", word "true") + node("false", word "false") + node("null", word "null")

  local cmp = tok(P "==" * -S "=<>~", "==") / "==" + tok(P "=" * -S "=<>~", "=") / "=="
    + tok(P "!=" * -S "=", "!=") / "!=" + tok(P "<>", "<>") / "!="
    + tok(P "<=" * -S "=>", "<=") / "<=" + tok(P ">=" * -S "=", ">=") / ">="
    + tok(P "<" * -S "=>", "<") / "<" + tok(P ">" * -S "=", ">") / ">"

  local function op(name) return Cg(Cc(name), "op2") end
  local right = Cg(V "operand", "right")
  local here = Cg(space * Cp(), "oppos")
  local neg = Cg(kw "not" * Cc(true) + Cc(false), "neg")

  local tail = here * Cg(cmp, "op2") * Cg(V "operand" + V "brackets", "right")
    + here * neg * (
        kw "in" * op "in" * Cg(V "list" + V "operand", "right")
        + kw "between" * op "between" * right * kw "and" * Cg(V "operand", "third")
        + kw "startswith" * op "startswith" * right
        + kw "endswith" * op "endswith" * right
        + kw "contains" * (kw "any" * op "contains any" * Cg(V "list" + V "operand", "right")
          + kw "all" * op "contains all" * Cg(V "list" + V "operand", "right")
          + op "contains" * Cg(V "operand" + V "brackets", "right"))
        + kw "like" * op "like" * right
        + kw "glob" * op "glob" * right
        + (kw "matches" + sym "=~") * op "matches" * right)
    + here * sym "!~" * op "matches" * Cg(Cc(true), "neg") * right
    + here * kw "is" * neg * (kw "null" * op "null" + kw "missing" * op "missing")

  return P {
    "filter",
    filter = Ct(V "or_" ^ -1) * space * (-P(1) + expect "end of filter"),
    or_ = V "and_" * ((kw "or" + sym "||") * V "and_" * Cc "or") ^ 0,
    and_ = V "not_" * ((kw "and" + sym "&&") * V "not_" * Cc "and") ^ 0,
    not_ = V "nots" * V "primary" * Cc "not" + V "primary",
    nots = space * Ct(Cg(Cp(), "pos") * Cg(Cc "nots", "op")
      * (space * (word "not" * Cc(false) + P "!" * -S "=~" * Cc(true))) ^ 1),
    primary = space * "(" * V "or_" * sym ")" * Cc "group" + V "quant" + V "named" + V "pred",
    quant = space * Ct(Cg(Cp(), "pos") * Cg(Cc "quant", "op")
      * Cg(word "any" * Cc "any" + word "all" * Cc "all", "quant")
      * space * "(" * space * Cg(path + expect "field", "path") * sym ",") * V "or_" * sym ")" * Cc "quant",
    named = space * Ct(Cg(Cp(), "pos") * Cg(Cc "named", "op") * "@" * Cg(C(ident), "name") * space * "("
      * Cg(Ct(comma_list(V "item")), "args") * sym ")"),
    pred = Ct(Cg(space * Cp(), "pos") * Cg(Cc "pred", "op") * Cg(V "operand", "left") * tail ^ -1),
    operand = Ct(V "base" * V "term" ^ 0),
    term = space * Ct(Cg(Cp(), "pos") * Cg(C(S "+-"), "sign") * tok(number_node + param, "number")),
    base = tok(V "call" + scalar + V "object" + param + builtin + path, "value or field"),
    call = node("call", Cg(C(ident - reserved - quantifier), "name") * space * "("
      * Cg(Ct(comma_list(tok(scalar + param + builtin + path, "argument"))), "args") * sym ")"),
    list = space * (list_of("item", "[", "]") + list_of("item", "(", ")")),
    brackets = space * list_of("item", "[", "]"),
    item = tok(scalar + V "object" + param, "literal") + V "brackets",
    object = node("object", "{" * comma_list(tok(string, "key") * sym ":" * V "member") * sym "}"),
    member = tok(scalar + V "object", "literal") + V "brackets",
  }
end

local plain_grammar = build(function() return P(false) end)
local instrumented

local function tracking()
  return build(function(name)
    -- `* P(false)`: without it LPeg takes the alternative for nullable and suspects left recursion
    return Cmt(Carg(1), function(_, position, state)
      if position > state.position then state.position, state.expected, state.seen = position, {}, {} end
      if position == state.position and not state.seen[name] then
        state.seen[name] = true
        state.expected[#state.expected + 1] = name
      end
      return false
    end) * P(false)
  end)
end

lpeg.setmaxstack(4000)

-- The raw parse, or nil. An error from LPeg itself (its own limits) is thrown.
function M.parse(text)
  return plain_grammar:match(text)
end

local whole_ident = ident * -P(1)

-- Whether a name can stand without back-quotes (reserved words aside).
function M.is_ident(name)
  return whole_ident:match(name) ~= nil
end

local escape_stop = M.escape / 0 * Cp()

-- The position behind the escape sequence at `at`, or nil.
function M.escape_end(text, at)
  return escape_stop:match(text, at)
end

local whole_path = Ct((C(ident) + back_quoted)
  * ("." * (C(ident) + back_quoted) + "[" * (C(integer) * boundary / tonumber + string) * "]") ^ 0) * -P(1)

-- The steps of a path as filter text writes it, or nil.
function M.parse_path(text)
  return whole_path:match(text)
end

-- For text that does not parse: { position = farthest, expected = { names }, seen = set of them }.
function M.explain(text)
  instrumented = instrumented or tracking()
  local state = { position = 1, expected = {}, seen = {} }
  instrumented:match(text, 1, state)
  return state
end

return M
