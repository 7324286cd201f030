-- SPDX-License-Identifier: Apache-2.0
-- `muster explain`: the plan, the warnings that only data can give, and matches for want of a field.
local core = require "muster.core"
local process = require "support.process"

local socket

local function explain(words)
  table.insert(words, 1, "explain")
  words[#words + 1], words[#words + 2] = "--socket", socket
  local r = process.muster(words)
  assert.equal(0, r.code, r.err)
  return r
end

local function has(part, whole)
  assert.is_truthy(whole:find(part, 1, true), whole)
end

describe("muster explain", function()
  local server
  setup(function()
    socket = process.path "explain.sock"
    server = process.serve { "--socket", socket }
    local input = {}
    for i = 1, 500 do
      input[i] = ('{"id":"n%d","metadata":{"battery":%d%s,"metrics":{"load":%d}}}'):format(i, i % 100,
        i % 5 == 0 and "" or ',"site":"s' .. i % 7 .. '"', i)
    end
    local r = process.muster({ "register", "--socket", socket, "--stdin" }, table.concat(input, "\n"))
    assert.equal(0, r.code, r.err)
  end)
  teardown(function()
    process.stop(server)
    process.stop_all()
  end)

  it("shows the plan, a line for each clause", function()
    local r = explain { 'battery < 20 and site == "s3"' }
    has("filter   battery < 20 and site == \"s3\"\n", r.out)
    has("\nplan     in the order of evaluation, with ", r.out)
    assert.truthy(r.out:find "\nCLAUSE +COLUMN +KERNEL +VALUES +MISSING\n")
    assert.truthy(r.out:find '\nsite == "s3" +%S+ +%S+ +7 +100\n', r.out)
    assert.truthy(r.out:find "\nbattery < 20 +%S+ +%S+ +100 +0\n", r.out)
    assert.falsy(r.out:find "TIME")
    assert.equal("", r.err)
  end)

  it("measures with --analyze", function()
    local r = explain { 'battery < 20 and site == "s3"', "--analyze" }
    assert.truthy(r.out:find "MISSING +TESTED +IN +OUT +VERIFIED +TIME\n")
    local it = core.json_decode(explain({ 'battery < 20 and site == "s3"', "--analyze", "--json" }).out)
    local first, last = it.plan[1], it.plan[2]
    assert.equal(500, first.rows_in)
    assert.equal(first.rows_out, last.rows_in)
    assert.equal(it.total, last.rows_out)
    assert.is_true(first.ns > 0 and last.ns > 0)
    assert.truthy(({ avx512 = 1, avx2 = 1, sse2 = 1, scalar = 1 })[it.instructions])
  end)

  it("warns of fields that nobody has, and tells which may be meant", function()
    local r = explain { 'stie == "s1" or load > 3 or zzz == 1 or metrics.laod > 3 or any(sensor, x == 1)' }
    has("no identity has `stie`; did you mean `site`?", r.err)
    has("no identity has `load`; did you mean `metrics.load`?", r.err)
    has("no identity has `metrics.laod`; did you mean `metrics.load`?", r.err)
    has("no identity has `zzz`\n", r.err)
    has("no identity has `sensor`\n", r.err)
  end)

  it("counts matches for want of a field", function()
    local r = explain { 'site != "s3"' }
    has("\n         100 only because a field is missing", r.out)
    assert.falsy(explain({ 'exists(site) and site != "s3"' }).out:find "only because")
    assert.falsy(explain({ "site is missing" }).out:find "only because")
    assert.falsy(explain({ 'site == "s3" or battery < 50' }).out:find "only because")
    local it = core.json_decode(explain({ 'site != "s3" and battery < 10', "--json" }).out)
    assert.equal(10, it.only_missing)
  end)

  it("gives the verdict of each clause for one identity", function()
    local r = explain { 'battery < 20 and site != "s3"', "--id", "n5" }
    has("n5 matches\n", r.out)
    assert.truthy(r.out:find 'true   not %(site == "s3"%) +no value\n', r.out)
    assert.falsy(r.out:find "\nplan ")
    has("\nplan ", explain({ "battery < 20", "--id", "n5", "--analyze" }).out)
  end)
end)
