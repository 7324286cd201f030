-- SPDX-License-Identifier: Apache-2.0
-- Named filters from the command line: `muster filters`, `serve --filters` with reload, `match --filters`.
local core = require "muster.core"
local muster = require "muster"
local process = require "support.process"

local socket, folder

local function run(code, words, input)
  local r = process.muster(words, input)
  assert.equal(code, r.code, r.out .. r.err)
  return r
end

local function ask(code, words)
  words[#words + 1], words[#words + 2] = "--socket", socket
  return run(code, words)
end

local function write(name, source)
  process.write("named/" .. name .. ".lua", source)
end

describe("named filters", function()
  local server
  setup(function()
    socket = process.path "named.sock"
    folder = process.path "named"
    assert(core.mkdir(folder, 448))
    write("hot", 'return { doc = "Too hot.", params = { { "limit", type = "number", default = 70 } }, '
      .. 'filter = "temperature > :limit" }')
    server = process.serve { "--socket", socket, "--filters", folder }
    ask(0, { "register", "a", "-m", '{"temperature":80}' })
    ask(0, { "register", "b", "-m", '{"temperature":50}' })
  end)
  teardown(function()
    local status = process.stop(server)
    process.stop_all()
    assert.equal(0, status)
  end)

  it("are used in every filter", function()
    assert.equal("1\n", ask(0, { "count", "@hot()" }).out)
    assert.equal("2\n", ask(0, { "count", "@hot(40)" }).out)
    local r = ask(0, { "count", "@hot(:l)", "--param", "l=40" })
    assert.same({ "2\n", "" }, { r.out, r.err })
    assert.truthy(ask(0, { "ls", "not @hot()" }).out:find "^b\t")
    assert.truthy(ask(0, { "explain", "@hot()", "--id", "b" }).out:find("does NOT match", 1, true))
    assert.truthy(ask(0, { "multicast", "@hot()", "x", "--dry-run" }).out:find "1")
  end)

  it("are refused with the place, also where only the server knows them", function()
    local r = ask(2, { "count", 'temperature > 1 and @hot("x")' })
    assert.truthy(r.err:find("1:26: `limit` of `@hot` is a number, got a string", 1, true), r.err)
    assert.truthy(r.err:find("\n" .. (" "):rep(27) .. "^", 1, true), r.err)
    assert.truthy(ask(2, { "count", "@ho()" }).err:find "unknown filter `@ho`")
    local body = core.json_decode(ask(2, { "count", "@hot(1, 2)", "--json" }).out)
    assert.same({ "EFILTER", 9 }, { body.error.code, body.error.at.column })
  end)

  it("are listed", function()
    local r = ask(0, { "filters" })
    assert.truthy(r.out:find "@hot%(limit = 70%) +Too hot%.")
    local one = core.json_decode(ask(0, { "filters", "hot", "--json" }).out)
    assert.same({ "hot", "number", "70" }, { one.name, one.params[1].type, one.params[1].default })
    assert.truthy(ask(1, { "filters", "hto" }).err:find("did you mean 'hot'?", 1, true))
    assert.truthy(run(0, { "filters", "--filters", "filters" }).out:find "@low_battery")
  end)

  it("are read again on SIGHUP; a wrong file changes nothing", function()
    write("cold", 'return { doc = "Too cold.", filter = "temperature =< 60" }')
    core.kill(server.pid, 1)
    process.wait_for(server, "cold%.lua:1:51: unexpected `=<`.-filters not changed")
    assert.equal("1\n", ask(0, { "count", "@hot()" }).out)
    write("cold", 'return { doc = "Too cold.", filter = "temperature <= 60" }')
    write("hot", 'return { doc = "Too hot.", filter = "temperature >= 50" }')
    core.kill(server.pid, 1)
    process.wait_for(server, "filters read again, 2 of them")
    assert.equal("1\n", ask(0, { "count", "@cold()" }).out)
    assert.equal("2\n", ask(0, { "count", "@hot()" }).out)
    local r = run(78, { "filters", "--filters", process.path "nothing" })
    assert.truthy(r.err:find("No such file or directory", 1, true))
  end)

  it("are never run: an endless loop stops nothing", function()
    write("loop", "while true do end")
    core.kill(server.pid, 1)
    process.wait_for(server, "loop%.lua:1:1: expected `return`, found `while`")
    ask(0, { "count" })
    assert.truthy(run(78, { "filters", "--filters", folder }).err:find("loop.lua:1:1: ", 1, true))
    run(78, { "serve", "--socket", process.path "loop.sock", "--filters", folder })
    os.remove(folder .. "/loop.lua")
  end)

  it("are hinted at where their parentheses are missing", function()
    local r = ask(2, { "count", "@hot" })
    assert.truthy(r.err:find("^ `hot` is a named filter: write `@hot", 1, true), r.err)
    assert.truthy(ask(2, { "count", "@hots > 1" }).err:find("did you mean `@hot", 1, true))
  end)

  it("stop the start where one is wrong", function()
    assert(core.mkdir(process.path "wrong", 448))
    process.write("wrong/a.lua", 'return { doc = "a", filter = "b ==" }')
    process.write("wrong/b.lua", 'return { filter = "b" }')
    local r = run(78, { "serve", "--socket", process.path "other.sock", "--filters", process.path "wrong" })
    assert.truthy(r.err:find("a.lua:1:35: ", 1, true), r.err)
    assert.truthy(r.err:find("b.lua:1:1: `doc` is missing", 1, true), r.err)
    local m, message, code = muster.open { filters = process.path "wrong" }
    assert.is_nil(m)
    assert.equal("ECONFIG", code)
    assert.truthy(message:find("a.lua:1:35: ", 1, true), message)
  end)

  it("work in an embedded coordinator and without any", function()
    local m = assert(muster.open { filters = "filters" })
    assert(m:register { id = "a", metadata = { battery = 3 } })
    assert.equal(1, assert(m:count "@low_battery()").count)
    assert.is_true(m.raw:status().filters >= 1)
    m:close()
    assert.equal('{"battery":3}\n', run(0, { "match", "--filters", "filters", "@low_battery()" },
      '{"battery":3}\n{"battery":30}\n').out)
    assert.truthy(run(2, { "match", "@low_battery()" }, "{}").err:find "unknown filter")
  end)
end)
