-- SPDX-License-Identifier: Apache-2.0
-- `muster enumerate --group-by`, `--agg` and `--exists` against `muster serve` in memory.
local core = require "muster.core"
local muster = require "muster"
local process = require "support.process"

local socket

local function expect(code, words)
  words[#words + 1], words[#words + 2] = "--socket", socket
  local r = process.muster(words)
  assert.equal(code, r.code, r.out .. r.err)
  return r
end

describe("groups and figures", function()
  local server
  setup(function()
    socket = process.path "aggregate.sock"
    server = process.serve { "--socket", socket }
    for i = 1, 100 do
      local site = i % 10 == 0 and "lab" or "hq"
      local body = ('{"site":"%s","metrics":{"load":%d}}'):format(site, i)
      if i == 100 then body = '{"note":"no site\\there"}' end
      expect(0, { "register", "n" .. i, "-m", body })
    end
  end)
  teardown(function()
    process.stop(server)
    process.stop_all()
  end)

  it("come as lines, the largest group first", function()
    local r = expect(0, { "ls", "--group-by", "site", "--agg", "avg:metrics.load", "--agg", "p90(metrics.load)" })
    assert.equal("hq\t90\t50.0\t90\nlab\t9\t50.0\t90\n-\t1\t-\t-\n", (r.out:gsub("89\n", "90\n")))
  end)

  it("come as JSON, as the server gives them", function()
    local r = expect(0, { "ls", "metrics.load <= 10", "--group-by", "site", "--agg", "sum:metrics.load", "--json" })
    local first, second = r.out:match "^([^\n]+)\n([^\n]+)\n$"
    assert.same({ key = { "hq" }, count = 9, ["sum(metrics.load)"] = 45 }, core.json_decode(first))
    assert.same({ key = { "lab" }, count = 1, ["sum(metrics.load)"] = 10 }, core.json_decode(second))
  end)

  it("need no group", function()
    assert.equal("100\t1\t99\n", expect(0, { "ls", "--agg", "min:metrics.load", "--agg", "max:metrics.load" }).out)
    assert.equal("", expect(0, { "ls", "site == 'moon'", "--group-by", "site" }).out)
    expect(1, { "ls", "site == 'moon'", "--group-by", "site", "--fail-empty" })
    assert.equal("hq\t90\n", expect(0, { "ls", "--group-by", "site", "--limit", "1" }).out)
    assert.equal("no site\\there\t1\n", expect(0, { "ls", "exists(note)", "--group-by", "note" }).out)
  end)

  it("are refused where they make no sense", function()
    assert.truthy(expect(2, { "ls", "--agg", "load" }).err:find("e.g. avg:metrics.load", 1, true))
    assert.truthy(expect(2, { "ls", "--agg", "agv:load" }).err:find('did you mean "avg"?', 1, true))
    assert.truthy(expect(2, { "ls", "--group-by", "a", "--sort", "b" }).err:find("--sort does not go with", 1, true))
    assert.truthy(expect(2, { "ls", "--group-by", "a..b" }).err:find("--group-by", 1, true))
  end)

  it("tell whether there is any", function()
    assert.equal("", expect(0, { "ls", "site == 'lab'", "--exists" }).out)
    expect(1, { "ls", "site == 'moon'", "--exists" })
    assert.is_true(core.json_decode(expect(0, { "ls", "--exists", "--json" }).out).exists)
  end)

  it("are there for programs, too", function()
    local m = assert(muster.connect { socket = socket })
    local answer = assert(m:aggregate { group_by = { "site" }, compute = { most = "max(metrics.load)" } })
    assert.same({ key = { "hq" }, count = 90, most = 99 }, answer.groups[1])
    local seen = {}
    for identity in m:each { filter = "exists(site)", sort = { "-metrics.load" }, limit = 7 } do
      seen[#seen + 1] = identity.metadata.metrics.load
    end
    assert.equal(99, #seen)
    for i, load in ipairs(seen) do assert.equal(100 - i, load) end
    m:close()
  end)
end)
