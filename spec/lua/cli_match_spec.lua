-- SPDX-License-Identifier: Apache-2.0
-- `muster match` through the real program, over every line of spec/data/filter-cases.jsonl.
local core = require "muster.core"
local process = require "support.process"
local text = require "muster.cli.text"

local muster = process.muster

-- Values stay JSON text, so that 2^53 + 1 reaches the program as written.
local function read_cases()
  local cases = {}
  for line in io.lines "spec/data/filter-cases.jsonl" do
    local case = text.members(line)
    case.name = text.value(case.id)
    cases[#cases + 1] = case
  end
  return cases
end

-- The line that stands for a case's identity.
local function record(case)
  if not case.builtins then return case.metadata end
  local members = { '"metadata":' .. case.metadata }
  for key, value in pairs(text.members(case.builtins)) do members[#members + 1] = ('"%s":%s'):format(key, value) end
  return "{" .. table.concat(members, ",") .. "}"
end

local function settings(case)
  local words = {}
  for name, value in pairs(text.members(case.params or "{}")) do
    words[#words + 1], words[#words + 2] = "--param", name .. "=" .. value
  end
  if case.now then words[#words + 1], words[#words + 2] = "--now", case.now end
  return words
end

-- What a case asks of the program: { arguments, expected exit code }.
local function calls_of(case)
  local calls = {}
  local function add(words, expected)
    for _, word in ipairs(settings(case)) do words[#words + 1] = word end
    local line = case.metadata and record(case) or "{}"
    calls[#calls + 1] = { words = words, expected = expected, case = case, line = line }
  end
  local expected = case.match == "true" and 0 or 1
  if case.error then
    if case.filter then add({ "match", "--json", text.value(case.filter) }, 2) end
    if case.mongo then add({ "match", "--json", "--json-filter", case.mongo }, 2) end
    return calls
  end
  if case.filter then add({ "match", "-q", text.value(case.filter) }, expected) end
  for _, spelling in ipairs { "json", "mongo", "rfc017" } do
    if case[spelling] then add({ "match", "-q", "--json-filter", case[spelling] }, expected) end
  end
  return calls
end

-- Runs them all in one shell, which is much quicker than one shell each.
local function run(calls)
  local script = { "cd " .. process.quote(process.directory()) }
  for i, call in ipairs(calls) do
    script[#script + 1] = ("printf '%%s\\n' %s | %s %s >out.%d 2>err.%d; echo $? >code.%d"):format(
      process.quote(call.line), process.quote(process.program), process.command(call.words), i, i, i)
  end
  os.execute("sh " .. process.quote(process.write("cases.sh", table.concat(script, "\n"))))
  for i, call in ipairs(calls) do
    call.code = tonumber(process.read(process.path("code." .. i)))
    call.out, call.err = process.read(process.path("out." .. i)), process.read(process.path("err." .. i))
  end
end

-- Cases of the limits of RFC-017 (depth 5, 20 clauses), which are not the default.
local OTHER_LIMITS = { ["err-062"] = true, ["err-063"] = true }

describe("muster match", function()
  local calls = {}
  for _, case in ipairs(read_cases()) do
    if not OTHER_LIMITS[case.name] then
      for _, call in ipairs(calls_of(case)) do calls[#calls + 1] = call end
    end
  end
  setup(function() run(calls) end)
  teardown(process.stop_all)

  it("has its cases", function() assert.is_true(#calls > 600, #calls) end)

  for _, call in ipairs(calls) do
    local case = call.case
    it(case.name .. (call.words[3] == "--json-filter" and " as JSON" or ""), function()
      assert.equal(call.expected, call.code, table.concat(call.words, " ") .. "\n" .. call.err)
      if call.expected == 0 then assert.equal(call.line .. "\n", call.out) end
      if call.expected == 1 then assert.equal("", call.out) end
      if not case.error then return end
      local got, expected = core.json_decode(call.out), core.json_decode(case.error)
      assert.truthy(call.err:find "^muster: filter: [^\n]+\n", call.err)
      assert.truthy(#got.message > 0)
      assert.same({ expected.offset, expected.line, expected.column }, expected.offset and
        { got.offset, got.line, got.column } or {})
      assert.equal(expected.message, got.message)
    end)
  end

  it("works like grep", function()
    local input = '{"a":1}\n{"a": 2,  "b":[1, 2]}\n\n{"id":"x","metadata":{"a":3}}\n'
    local r = muster({ "match", "a >= 2" }, input)
    assert.same({ 0, '{"a": 2,  "b":[1, 2]}\n{"id":"x","metadata":{"a":3}}\n', "" }, { r.code, r.out, r.err })
    local some, none = muster({ "match", "a >= 2", "--count" }, input), muster({ "match", "a > 9", "--count" }, input)
    assert.same({ 0, "2\n", 1, "0\n" }, { some.code, some.out, none.code, none.out })
    assert.equal(r.out, muster({ "match", "a >= 2", process.write("lines.ndjson", input) }).out)
    assert.equal(r.out, muster({ "match", "--json-filter", '{"a":{"$gte":2}}' }, input).out)
  end)

  it("knows the built-ins of records", function()
    local line = '{"id":"x","namespace":"iot","metadata":{},"registered_at":1000,"updated_at":2000,"expires_at":31000}'
    local filters = { '@id == "x"', '@namespace == "iot"', "@ttl == 30", "@age == 0s",
                      "@registered_at < @updated_at" }
    for _, filter in ipairs(filters) do
      assert.equal(0, muster({ "match", filter, "--now", "1000" }, line).code, filter)
    end
    assert.equal(1, muster({ "match", '@id == "y"' }, line).code)
  end)

  it("takes the time as RFC 3339", function()
    local times = { ["2025-10-09T12:00:00Z"] = 1760011200, ["2025-10-09T14:00:00.5+02:00"] = 1760011200.5,
                    ["1969-12-31T23:59:59Z"] = -1, ["2024-02-29"] = 1709164800 }
    for given, seconds in pairs(times) do
      local line = ('{"t":%.3f}\n'):format(seconds)
      assert.equal(0, muster({ "match", "t >= now() and t <= now()", "--now", given }, line).code, given)
    end
    assert.equal(2, muster({ "match", "t == now()", "--now", "2025-13-09T12:00:00Z" }, "{}\n").code)
  end)

  it("skips no byte of its input, and refuses what is no file of lines", function()
    local r = muster({ "match", "b == 1" }, '\0\0garbage\n{"b":1}\n')
    assert.equal(2, r.code)
    assert.truthy(r.err:find("line 1: ", 1, true), r.err)
    r = muster({ "match", "b == 1" }, '{"b":1}\n{"b":2}\n{"b":1}')
    assert.same({ 0, '{"b":1}\n{"b":1}\n' }, { r.code, r.out })
    r = muster { "match", "b == 1", "/" }
    assert.equal(2, r.code)
    assert.is_nil(r.err:find("internal error", 1, true), r.err)
    r = muster({ "match", "b == 1" }, ("0"):rep(3000000))
    assert.truthy(r.err:find("line 1: longer than", 1, true), r.err)
  end)

  it("names the line that is no JSON", function()
    local r = muster({ "match", "a == 1" }, '{"a":1}\n{"a":\n')
    assert.equal(2, r.code)
    assert.equal('{"a":1}\n', r.out)
    assert.truthy(r.err:find("line 2: ", 1, true), r.err)
    assert.equal(2, muster({ "match", "a == 1" }, "5\n").code)
  end)

  it("shows the place of an error", function()
    local r = muster { "match", "a =< 1" }
    assert.equal(2, r.code)
    assert.equal("", r.out)
    assert.equal("muster: filter: 1:3: unexpected `=<`\n  a =< 1\n    ^^ did you mean `<=`?\n", r.err)
  end)

  it("says which parameter is missing", function()
    local r = muster({ "match", "a == :x" }, "{}\n")
    assert.equal(2, r.code)
    assert.truthy(r.err:find("x", 1, true))
  end)

  it("warns of filters that match more than they seem to", function()
    local r = muster({ "match", 'env != "prod"' }, "{}\n")
    assert.equal(0, r.code)
    assert.truthy(r.err:find "^muster: warning: ", r.err)
    assert.equal("", muster({ "match", "-q", 'env != "prod"' }, "{}\n").err)
  end)

  it("takes a filter that begins with a dash", function()
    assert.equal(0, muster({ "match", "-- a remark\na == 1" }, '{"a":1}\n').code)
  end)

  it("does not care for hostile filters", function()
    local filters = { ("("):rep(60000), ("not "):rep(10000) .. "a", ("a"):rep(60000), "a == \"\1",
                      "a matches '(a+)+$'" }
    for _, filter in ipairs(filters) do
      local r = muster({ "match", filter }, '{"a":"' .. ("a"):rep(1000) .. '!"}\n')
      assert.is_true(r.code == 1 or r.code == 2, filter:sub(1, 20) .. ": " .. r.err:sub(1, 200))
    end
  end)
end)
