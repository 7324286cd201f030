-- SPDX-License-Identifier: Apache-2.0
-- Named filters from files: how they are read and checked, and what those in filters/ mean.
local core = require "muster.core"
local filter = require "muster.filter"
local library = require "muster.filter.library"
local literals = require "muster.filter.literals"

local NOW = 1760011200000 -- 2025-10-09T12:00:00Z

local function has_text(part, whole)
  assert.is_truthy(whole:find(part, 1, true), whole)
end

describe("a folder of filters", function()
  local folder
  before_each(function() folder = assert(core.make_directory "muster-library") end)
  after_each(function() core.remove_tree(folder) end)

  local function write(name, source)
    local file = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(source)
    file:close()
  end

  local function load() return library.load(folder, core.list_folder, { regex_check = core.regex_check }) end

  local function problems_of(name, source)
    write(name, source)
    local found, problems = load()
    assert.is_nil(found)
    for i, problem in ipairs(problems) do problems[i] = library.line(problem):sub(#folder + 2) end
    return problems
  end

  local function problem_of(source)
    local problems = problems_of("f.lua", source)
    assert.equal(1, #problems)
    return problems[1]
  end

  it("is read: names, parameters, defaults", function()
    write("low.lua", 'return { doc = "low", params = { { "level", type = "number", default = 20 } }, '
      .. 'filter = "battery < :level" }')
    write("notes.txt", "no filter")
    local found, problems = load()
    assert.same({}, problems)
    assert.same({ "low" }, found.names)
    local options = { named = found.named }
    assert.equal("battery < 20", filter.compile("@low()", options).text)
    assert.equal("battery < 5", filter.compile("@low(5)", options).text)
    assert.equal("battery < :l", filter.compile("@low(:l)", options).text)
    assert.equal('[{"name":"low","signature":"low(level = 20)","doc":"low","params":[{"name":"level","type":"number",'
      .. '"default":"20","doc":null}],"filter":"battery < :level"}]', library.list_json(found.named))
    assert.equal("[]", library.list_json(nil))
  end)

  it("reads texts as what a parameter wants", function()
    write("f.lua", 'return { doc = "d", params = { { "v", type = "version" }, '
      .. '{ "t", type = "time", default = "2025-01-01" }, { "n", type = "network", default = "10.0.0.0/8" } }, '
      .. 'filter = "semver(a) < :v and time(b) > :t and ip in :n" }')
    local options = { named = assert(load()).named }
    assert.equal('semver(a) < semver"1.2" and time(b) > t"2025-01-01" and ip in cidr"10.0.0.0/8"',
      filter.compile('@f("1.2")', options).text)
    local _, message = filter.compile('x == 1 and @f("one")', options)
    assert.equal('1:15: invalid version "one"; expected numbers separated by dots, e.g. semver"1.10.0"', message)
  end)

  it("tells which argument is missing, too much or of the wrong type", function()
    write("near.lua", 'return { doc = "d", params = { { "lat", type = "number" }, { "lon", type = "number" }, '
      .. '{ "r", type = "number", default = 5 } }, filter = "distance(at, :lat, :lon) < :r" }')
    local options = { named = assert(load()).named }
    local function why(source) return (select(2, filter.compile(source, options))) end
    assert.equal("1:5: `@near` takes 2 to 3 arguments, got 1; `lon` is missing: write `@near(lat, lon, r = 5)`",
      why "not @near(1)")
    assert.equal("1:16: `@near` takes 2 to 3 arguments, got 4; write `@near(lat, lon, r = 5)`",
      why "@near(1, 2, 3, 4)")
    assert.equal("1:10: `lon` of `@near` is a number, got a string; write `@near(lat, lon, r = 5)`",
      why '@near(1, "2")')
    assert.truthy(why "@near(91, 0)":find "the latitude must be from %-90 to 90")
    assert.equal("1:1: unknown filter `@naer`; did you mean `@near`?", why "@naer(1, 2)")
  end)

  it("tells every wrong file with line and column", function()
    assert.equal("f.lua:3:5: unexpected `=<`; did you mean `<=`?",
      problem_of 'return { doc = "x", filter = [[\n  a == 1 and\n  b =< 2 ]] }')
    assert.equal("f.lua:2:34: `@low` takes 0 arguments, got 1; write `@low()`", (function()
      write("low.lua", 'return { doc = "x", filter = "a == 1" }')
      return problem_of 'return {\n doc = "x", filter = [[a or @low(1)]] }'
    end)())
    assert.equal("f.lua:1:31: filter `@f` uses itself", problem_of 'return { doc = "x", filter = "@f()" }')
    assert.equal("f.lua:1:45: unknown key `prams`; did you mean `params`?",
      problem_of 'return { doc = "x", filter = "a == :b",     prams = {} }')
    assert.equal("f.lua:1:1: `doc` is missing", problem_of 'return { filter = "a == 1" }')
    has_text("f.lua:1:36: unknown parameter `b`",
      problem_of 'return { doc = "x", filter = "a == :b" }')
    has_text("f.lua:1:21: parameter `c` is not used",
      problem_of 'return { doc = "x", params = { "c" }, filter = "a == 1" }')
    assert.truthy(problem_of 'return { doc = "x",\n filter "a" }':find "^f.lua:2:%d+: ")
    assert.truthy(problem_of 'return {\n doc = "x"\n filter = "a" }':find "^f.lua:3:2: ")
    assert.truthy(problem_of 'return os.exit()':find "^f.lua:1:8: ")
    has_text("has to return a table", problem_of 'return 1')
    has_text("unknown type `numbr` of parameter `a`; did you mean `number`?",
      problem_of 'return { doc = "x", params = { { "a", type = "numbr" } }, filter = "b == :a" }')
    has_text("`doc` of parameter `a` has to be a string",
      problem_of 'return { doc = "x", params = { { "a", doc = {} } }, filter = "b == :a" }')
    has_text("the default of `a` is not a number",
      problem_of 'return { doc = "x", params = { { "a", type = "number", default = "1" } }, filter = "b == :a" }')
    has_text("without a default",
      problem_of 'return { doc = "x", params = { { "a", default = 1 }, "b" }, filter = "b == :a or c == :b" }')
    has_text("longer than 65536 bytes", problem_of(('return { doc = "x", filter = "a" } '):rep(2000)))
    os.remove(folder .. "/f.lua")
    has_text("`@ttl` is a built-in", problems_of("ttl.lua", 'return { doc = "x", filter = "a" }')[1])
    assert.equal(2, #problems_of("a-b.lua", 'return { doc = "x", filter = "a" }'))
  end)

  it("is data: nothing in a file is run", function()
    local function refused(place, part, source)
      local clock = os.clock()
      local problem = problem_of(source)
      assert.equal("f.lua:" .. place .. ": ", problem:sub(1, #place + 8))
      has_text(part, problem)
      assert.is_true(os.clock() - clock < 1)
    end
    refused("1:1", "expected `return`, found `while`", "while true do end")
    refused("2:1", "expected `return`, found `local`", "-- a loop\nlocal x = 1 while true do end return {}")
    refused("1:8", "has to return a table, not `(`", "return (function() while true do end end)()")
    refused("1:16", "expected a value, found `(`", 'return { doc = ("x"):rep(1e9), filter = "a" }')
    refused("1:19", "expected `,` or `}`, found `:`", 'return { doc = "x":rep(1e9), filter = "a" }')
    refused("1:20", "expected `,` or `}`, found `..`", 'return { doc = "x" .. "y", filter = "a" }')
    refused("1:16", "expected a value, found `function`", 'return { doc = function() end, filter = "a" }')
    refused("1:11", "as a key, found `{`", 'return { [{}] = 1 }')
    refused("1:10", "expected a value, found `x`", 'return { x }')
    refused("2:3", "`doc` is there twice", 'return { doc = "a",\n  doc = "b", filter = "a" }')
    refused("1:18", "expected the end, found `while`", 'return { a = 1 } while true do end')
    refused("1:12", "expected a value, found the end", "return { a=")
    refused("1:16", "unterminated string", 'return { doc = "a\n", filter = "a" }')
    refused("1:25", "unterminated long text", 'return { doc = "a", b = [==[ a ]] }')
    refused("1:17", "unknown escape \\q", 'return { doc = "\\q", filter = "a" }')
    refused("1:12", "malformed number `1e999`", "return { a=1e999 }")
    refused("1:12", "malformed number `0x`", "return { a=0x }")
    refused("1:16", "nested too deeply", "return " .. ("{"):rep(30000))
    has_text("unterminated long", problem_of("--" .. ("[="):rep(20) .. "return {}\n--[[ "))
    problem_of(("-"):rep(60000))
    problem_of("return { " .. ("a,"):rep(30000))
  end)

  it("is read as Lua reads it", function()
    for _, source in ipairs {
      [==[return { doc = "\65\x42\t\"'\\", filter = [[
a]], params = { { "p", default = -0.5e+1, }, "q"; [3] = 'r', n = nil } };]==],
      "return {1, .5, 0x1F, 1e3; -2, true, false, {}, {{}}} -- end", "return--[[x]]{a='\\\n',b=[=[\n]]]=],['c d']=3}",
    } do
      assert.same(loadstring(source)(), literals.read(source))
    end
  end)

  it("has to be there", function()
    local found, problems = library.load(folder .. "/none", core.list_folder)
    assert.is_nil(found)
    has_text("/none:1:1: No such file or directory", library.line(problems[1]))
  end)
end)

describe("the filters of filters/", function()
  local found, problems = library.load("filters", core.list_folder, { regex_check = core.regex_check })
  local used = {}

  -- Lines of metadata that match and that do not.
  local function expect(source, matching, others)
    for name in source:gmatch "@([%w_]+)%(" do used[name] = true end
    local compiled, message = filter.compile(source, { named = found.named, regex_check = core.regex_check })
    assert(compiled, message)
    assert.same({}, compiled.warnings)
    local matcher = assert(core.matcher { program = compiled.program, now = NOW })
    for _, line in ipairs(matching) do assert.is_true(matcher:test(line), source .. " on " .. line) end
    for _, line in ipairs(others) do assert.is_false(matcher:test(line), source .. " on " .. line) end
  end

  it("are free of faults", function()
    assert.same({}, problems)
    assert.is_true(#found.names >= 10)
  end)

  it("find devices", function()
    expect("@low_battery()", { '{"battery":20}', '{"battery":3.5}' }, { '{"battery":21}', "{}", '{"battery":"3"}' })
    expect("@low_battery(5)", { '{"battery":5}' }, { '{"battery":6}' })
    expect('@outdated("2.10.0")', { '{"fw":"2.9.0"}', '{"fw":"v2.10.0-rc.1"}' },
      { '{"fw":"2.10.0"}', "{}", '{"fw":"new"}' })
    expect("@near(52.52, 13.405, 5km)", { '{"location":{"lat":52.53,"lon":13.4}}' },
      { '{"location":{"lat":52.53,"lon":13.6}}', "{}" })
    expect("@stale()", { '{"read_at":"2025-10-09T11:49:59Z"}', '{"read_at":1760010000}' },
      { '{"read_at":"2025-10-09T11:50:01Z"}', "{}" })
    expect("@overheating(70)", { '{"sensors":[{"kind":"temperature","value":60},{"kind":"temperature","value":71}]}' },
      { '{"sensors":[{"kind":"temperature","value":60},{"kind":"load","value":90}]}', "{}" })
    expect('@in_network("10.20.0.0/16")', { '{"ip":"10.20.3.4"}' }, { '{"ip":"10.21.3.4"}', "{}" })
  end)

  it("know who is present", function()
    expect("@online()", { '{"status":"online"}', '{"status":"busy"}' }, { '{"status":"offline"}', "{}" })
    expect("@reachable()", { '{"status":"away"}', '{"status":"online","dnd":false}' },
      { '{"status":"busy"}', '{"status":"online","dnd":true}' })
    expect("@idle(5m)", { '{"status":"online","last_active":1760010000}' },
      { '{"status":"online","last_active":1760011190}' })
    expect('@in_room("eng")', { '{"room":"eng"}', '{"room":["ops","eng"]}' }, { '{"room":"ops"}', "{}" })
    expect("@leaving()", { '{"id":"a","metadata":{},"expires_at":1760011210000}' },
      { '{"id":"a","metadata":{},"expires_at":1760011290000}', '{"id":"a","metadata":{}}' })
  end)

  it("discover services", function()
    expect("@healthy()", { '{"health":"up"}' }, { '{"health":"up","draining":true}', '{"health":"failing"}' })
    expect('@service("billing", "2.1")', { '{"service":"billing","health":"up","version":"2.10.0"}' },
      { '{"service":"billing","health":"up","version":"2.0.9"}', '{"service":"billing","health":"up"}' })
    expect('@service("billing")',
      { '{"service":"billing","health":"up"}', '{"service":"billing","health":"up","version":"1"}' },
      { '{"service":"mail","health":"up"}' })
    expect('@in_zone(["a","b"])', { '{"zone":"b"}' }, { '{"zone":"c"}', "{}" })
    expect('@tagged(["canary","ssd"])', { '{"tags":["ssd","canary","x"]}' }, { '{"tags":["ssd"]}', "{}" })
  end)

  it("choose agents", function()
    expect("@has_capacity()", { '{"current_tasks":1,"max_tasks":2}' },
      { '{"current_tasks":2,"max_tasks":2}', '{"current_tasks":1,"max_tasks":2,"paused":true}', "{}" })
    expect('@can(["sql"])', { '{"skills":["sql","go"]}' }, { '{"skills":[]}', "{}" })
    expect("@with_gpu(40)", { '{"gpus":[{"free_gb":8},{"free_gb":48}]}' }, { '{"gpus":[{"free_gb":8}]}', "{}" })
    local agent = '{"status":"online","skills":["sql"],"current_tasks":0,"max_tasks":1%s}'
    expect('@agent_for(["sql"], 0.7)', { agent:format ',"success_rate":0.8' },
      { agent:format ',"success_rate":0.6', agent:format "" })
    expect('@agent_for(["sql"])', { agent:format "" }, {})
  end)

  it("are all tested here, and compose", function()
    expect('@low_battery(15) and @online()', { '{"battery":1,"status":"online"}' }, { '{"battery":1}' })
    for _, name in ipairs(found.names) do assert.is_true(used[name], name) end
  end)
end)
