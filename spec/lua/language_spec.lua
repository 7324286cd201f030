-- SPDX-License-Identifier: Apache-2.0
-- The examples of filters/LANGUAGE.md say what is so: lines `FILTER  matches|misses  RECORD [with PARAMETERS]`.
local core = require "muster.core"
local filter = require "muster.filter"

local NOW = 1760011200000 -- 2025-10-09T12:00:00Z

local function matches(text, record, params)
  local compile = text:find "^{" and filter.compile_json or filter.compile
  local compiled = assert(compile(text, { regex_check = core.regex_check }))
  local matcher = assert(core.matcher { program = compiled.program, params = params, now = NOW })
  local result, message = matcher:test(record)
  assert(result ~= nil, message)
  return result
end

-- The lines between fences.
local function examples()
  local found, inside = {}, false
  for line in io.lines "filters/LANGUAGE.md" do
    if line:find "^```" then
      inside = not inside
    elseif inside then
      found[#found + 1] = line
    end
  end
  return found
end

describe("filters/LANGUAGE.md", function()
  local seen = { matches = 0, misses = 0 }
  for _, line in ipairs(examples()) do
    it("is right about " .. line, function()
      local text, verb, rest = line:match "^(.-)%s+(m%a+es)%s+({.*)$"
      assert.truthy(seen[verb], line)
      local record, params = rest:match "^(.-) with (.*)$"
      assert.equal(verb == "matches", matches(text, record or rest, params), line)
      seen[verb] = seen[verb] + 1
    end)
  end

  it("has examples of both kinds", function()
    assert.is_true(seen.matches > 30 and seen.misses > 5)
  end)

  it("tells every operator, function, built-in and key of the JSON form", function()
    local file = assert(io.open("filters/LANGUAGE.md"))
    local text = file:read "*a"
    file:close()
    local ast = require "muster.filter.ast"
    for name in pairs(ast.BUILTINS) do assert.truthy(text:find("`@" .. name .. "`", 1, true), name) end
    for name in pairs(ast.TYPES) do assert.truthy(text:find(name, 1, true), name) end
    for word in ([[exists( has type( len( size lower( upper( semver( time( distance( any( all( now( startswith endswith
        contains like glob matches between $eq $ne $lt $lte $gt $gte $in $nin $exists $type $regex $and $or $nor $not
        $elemMatch $allMatch $containsAny $containsAll $len $lower $upper $distance $field $semver $date $now $cidr
        $param $all $size $expr]]):gmatch "%S+" do
      assert.truthy(text:find(word, 1, true), word)
    end
  end)

  it("gives the limits that are in force", function()
    local limits = require("muster.filter.limits").DEFAULTS
    local function items(count) return "a in [" .. ("1,"):rep(count) .. "]" end
    local function clauses(count) return ("a == 1 or "):rep(count - 1) .. "b == 1" end
    assert.same({ 16, 64, 4096, 1000 }, { limits.depth, limits.clauses, limits.bytes, limits.list })
    local pairs_ = { { items(1000), items(1001) }, { clauses(64), clauses(65) },
                     { "a" .. (".b"):rep(15) .. " == 1", "a" .. (".b"):rep(16) .. " == 1" },
                     { 'a like "' .. ("x"):rep(1024) .. '"', 'a like "' .. ("x"):rep(1025) .. '"' },
                     { ("("):rep(32) .. "a" .. (")"):rep(32), ("("):rep(33) .. "a" .. (")"):rep(33) },
                     { ("not "):rep(32) .. "a", ("not "):rep(33) .. "a" },
                     { "a < :p + :q + :r + :s + :t", "a < :p + :q + :r + :s + :t + :u" },
                     { '{"a":1' .. (" "):rep(16384 - 7) .. "}", '{"a":1' .. (" "):rep(16384 - 6) .. "}", json = true } }
    for _, pair in ipairs(pairs_) do
      local compile = pair.json and filter.compile_json or filter.compile
      assert.truthy(compile(pair[1]), pair[1]:sub(1, 40))
      local refused, _, code, detail = compile(pair[2])
      assert.same({ nil, "EFILTER", "limit" }, { refused, code, detail and detail.error }, pair[2]:sub(1, 40))
    end
  end)
end)
