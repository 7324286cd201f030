-- SPDX-License-Identifier: Apache-2.0
-- The faults of the coordinator that muster takes the place of, each as a test that it does not come back. Most of them
-- showed with real servers only, so real ones are used, and what they are sent is seen from outside (support/tap.lua).
--
-- More on the same faults: cli_servers_spec.lua (kill -9 while registering), spec/c/io/redis_functions_test.c (retried
-- writes), spec/c/io/nats_messaging_test.c (lost connections), filter_spec.lua (limits at their edges).
local core = require "muster.core"
local muster = require "muster"
local process = require "support.process"
local tap = require "support.tap"

local redis, nats
local opened = {}

local function open(options)
  local m = assert(muster.open(options))
  opened[#opened + 1] = m
  return m
end

local function close_all()
  for _, m in ipairs(opened) do m:close() end
  opened = {}
end

-- A NATS server that writes down each line of the protocol.
local function start_nats()
  local port = core.free_port()
  local server = process.start("nats", { "nats-server", "-a", "127.0.0.1", "-p", tostring(port), "-V" })
  server.port, server.url = port, "nats://127.0.0.1:" .. port
  process.wait_for(server, "Server is ready")
  return server
end

-- How often clients have sent the operation `name` so far.
local function received_by_nats(name)
  local _, times = process.read(nats.log):gsub("<<%- %[" .. name, "")
  return times
end

-- `count` identities `prefix` .. 1 and so on, of metadata { group = prefix }.
local function populate(m, count, prefix)
  for first = 1, count, 1000 do
    local list = {}
    for i = first, math.min(first + 999, count) do
      list[#list + 1] = { id = prefix .. i, metadata = { group = prefix }, ttl = "10m" }
    end
    for _, answer in ipairs(assert(m:register(list))) do assert.is_nil(answer.error) end
  end
end

local function raw(m, verb, body)
  local json, problem, code = m.raw:call(verb, m.namespace, body)
  return json and core.json_decode(json), code or nil, problem
end

local function expect_once(times, subjects)
  local all = 0
  for subject, n in pairs(times) do
    assert.equal(1, n, subject)
    all = all + 1
  end
  assert.equal(subjects, all)
end

setup(function() redis, nats = process.redis(), start_nats() end)
teardown(process.stop_all)

describe("a fan-out", function()
  after_each(close_all)

  it("costs no PING per target, and many at once all end", function()
    local m = open { nats = nats.url, namespace = "pings" }
    populate(m, 500, "p")
    assert.is_true(received_by_nats "PING" > 0, "the server's lines are not read")
    local pings, sends, ended = received_by_nats "PING", received_by_nats "PUB muster%.pings%.to%.", 0
    for _ = 1, 20 do
      m:start("multicast", { all = true, payload = "x", ack = "none" }, function(report)
        assert.same({ published = 500 }, report.states)
        ended = ended + 1
        if ended == 20 then m:stop() end
      end)
    end
    assert.equal("stop", m:run(10))
    assert.equal(10000, received_by_nats "PUB muster%.pings%.to%." - sends)
    assert.is_true(received_by_nats "PING" - pings < 200)
  end)

  it("does not send again what was sent when the deadline passes", function()
    local mute = tap.nats(nats, "muster.once.to.>")
    local m = open { nats = nats.url, namespace = "once" }
    populate(m, 300, "o")
    local report = assert(m:multicast { all = true, payload = "x", timeout = "300ms", retries = 10 })
    assert.same({ timeout = 300 }, report.states)
    assert.same({ timeout = 300, connection = 0, logic = 0 }, report.failures)
    expect_once(tap.subjects(mute, 300), 300)
  end)

  it("does not send again when its sender goes", function()
    local mute = tap.nats(nats, "muster.gone.to.>")
    local m = open { nats = nats.url, namespace = "gone" }
    populate(m, 300, "g")
    m:start("multicast", { all = true, payload = "x", timeout = "1m", retries = 10 }, function() end)
    m:run(0.2)
    close_all()
    expect_once(tap.subjects(mute, 300), 300)
  end)

  it("ends by the default where no deadline was given, and has sent once", function()
    local mute = tap.nats(nats, "muster.default-end.to.>")
    local m = open { nats = nats.url, namespace = "default-end" }
    populate(m, 50, "d")
    local report = assert(m:multicast { all = true, payload = "x" })
    assert.same({ timeout = 50 }, report.states)
    assert.is_true(report.elapsed_ms > 4900 and report.elapsed_ms < 6000, report.elapsed_ms)
    expect_once(tap.subjects(mute, 50), 50)
  end)

  it("never calls delivered what was published", function()
    local m = open { nats = nats.url, namespace = "nobody" }
    populate(m, 3, "n")
    assert.same({ published = 3 }, assert(m:multicast { all = true, payload = "x", ack = "none" }).states)
    local report = assert(m:multicast { all = true, payload = "x" })
    assert.same({ no_receiver = 3 }, report.states)
    assert.same({ timeout = 0, connection = 0, logic = 3 }, report.failures)
    local mute = tap.nats(nats, "muster.nobody.to.>")
    report = assert(m:multicast { all = true, payload = "x", ack = "processed", timeout = "200ms" })
    assert.same({ timeout = 3 }, report.states)
    expect_once(tap.subjects(mute, 3), 3)
  end)

  it("that reaches nobody is no success to the load tester", function()
    local r = process.muster { "loadtest", "multicast", "--embedded", "-r", "100", "-d", "200ms", "--preload", "5",
      "--receivers", "0", "--ack", "received", "--json", "--threshold", "error_rate<1%" }
    local run = core.json_decode(r.out).run
    assert.same({ 99, 0, 20 }, { r.code, run.ok, run.failed })
  end)
end)

describe("the registry", function()
  after_each(close_all)

  local function coordinator(namespace)
    return open { redis = redis.address, nats = nats.url, namespace = namespace }
  end

  it("is kept over a restart, and what was there can be renewed and removed", function()
    local m = coordinator "restart"
    populate(m, 20, "r")
    assert(m:register { id = "for-ever", metadata = { kept = true }, ttl = "never" })
    close_all()
    m = coordinator "restart"
    assert.equal(21, assert(m:count()).count)
    assert.equal(20, assert(m:multicast { filter = 'group == "r"', payload = "x", ack = "none" }).targets)
    local _, _, code = m:register { id = "for-ever", mode = "create" }
    assert.equal("EEXISTS", code)
    assert.is_false(assert(m:register { id = "r1", metadata = { group = "r" } }).created)
    assert.is_true(assert(m:unregister "for-ever").removed)
    close_all()
    m = coordinator "restart"
    assert.equal(20, assert(m:count()).count)
    _, _, code = m:get "for-ever"
    assert.equal("ENOTFOUND", code)
  end)

  it("of one coordinator is seen by a second one on the same Redis", function()
    local one, two = coordinator "shared", coordinator "shared"
    local function seen(count)
      return process.eventually(function() two:run(0.01) return assert(two:count()).count == count end, 3)
    end
    assert.equal(0, assert(two:count()).count)
    populate(one, 30, "s")
    assert.is_true(seen(30))
    assert.equal(30, assert(two:multicast { all = true, payload = "x", ack = "none" }).targets)
    local _, _, code = two:register { id = "s1", mode = "create" }
    assert.equal("EEXISTS", code)
    assert.is_true(assert(one:unregister "s30").removed)
    assert.is_true(seen(29))
  end)

  it("lets an expired identity block neither its name nor its place", function()
    local coordinators = {}
    for i, address in ipairs { false, redis.address } do
      local m = open { redis = address or nil, max_identities = 3, namespace = "ends" }
      assert(m:register { id = "stays", ttl = "10m" })
      for _, id in ipairs { "one", "two" } do assert(m:register { id = id, ttl = "1s", owner = "before" }) end
      local _, _, code = m:register { id = "other" }
      assert.equal("EQUOTA", code)
      coordinators[i] = m
    end
    core.sleep(1.05)
    for _, m in ipairs(coordinators) do
      assert.is_true(assert(m:register { id = "one", owner = "after", mode = "create" }).created)
      assert.is_true(assert(m:register { id = "other" }).created)
      assert.equal(3, m:count().count)
    end
  end)

  it("renews without a gap", function()
    local m = coordinator "renew"
    local made = assert(m:register { id = "a", metadata = { n = 1 }, ttl = "2s" })
    assert.equal(1, assert(m:heartbeat("a", "10m")).renewed)
    local again = assert(m:register { id = "a", metadata = { n = 1 }, ttl = "10m" })
    assert.same({ false, made.registered_at }, { again.created, again.registered_at })
    assert.is_true(again.expires_at - core.now() > 590000)
  end)

  it("writes record and lease in one call", function()
    local m = coordinator "atomic"
    assert(m:register { id = "first" })
    local monitor = tap.redis(redis)
    for i = 1, 10 do assert(m:register { id = "a" .. i, ttl = "1m" }) end
    local text = process.wait_for(monitor, '"a10"')
    local calls = 0
    for command in text:gmatch ' %[0 127[^%]]*%] "(%a+)"' do
      local reads = command == "XREAD" or command == "TIME" or command == "PING"
      assert.is_true(command:upper() == "FCALL" or reads, command)
      calls = calls + (reads and 0 or 1)
    end
    assert.is_true(calls >= 10, text)
  end)

  it("finds while a registration is on its way to Redis", function()
    local m = coordinator "waits"
    populate(m, 100, "w")
    local answer
    core.kill(redis.pid, 19)
    m:start("register", { id = "late", ttl = "1m" }, function(...) answer = { ... } end)
    m:run(0.05)
    local began = core.monotonic()
    local found = m:count 'group == "w"'
    local took = core.monotonic() - began
    local before = answer
    core.kill(redis.pid, 18)
    process.eventually(function() m:run(0.01) return answer ~= nil end, 3)
    assert.is_nil(before)
    assert.equal(100, found.count)
    assert.is_true(took < 1, took)
    assert.is_true(answer[1] and answer[1].created, answer[2])
  end)

  it("is not broken by keys of somebody else", function()
    tap.ask(redis, "SET muster:{strange}:h text")
    tap.ask(redis, "SET muster:loadtest-user-1 {}")
    local m = coordinator "strange"
    local _, message, code = m:register { id = "a" }
    assert.truthy(code, "registered into a text")
    assert.truthy(message:find("^" .. code .. ": "), message)
    assert(m:within("beside"):register { id = "a" })
    assert.equal(1, assert(m:within("beside"):count()).count)
  end)
end)

describe("limits", function()
  after_each(close_all)

  it("are in force where nothing was asked for", function()
    local m = open { namespace = "limits" }
    local made = assert(m:register { id = "a", metadata = { a = 1 } })
    assert.equal(300000, made.expires_at - made.registered_at)
    local function code_of(filter) return (select(3, m:count(filter))) end
    local function clauses(n) return ("a == 1 or "):rep(n - 1) .. "a == 1" end
    local function nested(n) return ("(a == 1 and not "):rep(n - 1) .. "a == 1" .. (")"):rep(n - 1) end
    assert.is_nil(code_of(clauses(64)))
    assert.equal("EFILTER", code_of(clauses(65)))
    assert.is_nil(code_of(nested(8)))
    assert.equal("EFILTER", code_of(nested(20)))
    assert.equal("EFILTER", code_of("a == '" .. ("x"):rep(4096) .. "'"))
  end)

  it("that are not kept are refused, not ignored", function()
    local m = open {}
    for _, delivery in ipairs { "at_least_once", "exactly_once" } do
      local _, _, code = m:multicast { all = true, payload = "x", delivery = delivery }
      assert.equal("EUNSUPPORTED", code)
    end
  end)

  it("let a lease be neither nothing nor negative nor less than a second", function()
    local m = open {}
    for _, ttl in ipairs { "-1", "0", "-0.0", '"-5s"', '"0s"', "0.5", "1e-9", "-1e300" } do
      local _, code = raw(m, "register", ('{"id":"a","ttl":%s}'):format(ttl))
      assert.equal("ERANGE", code, ttl)
    end
    assert.equal(0, m:count().count)
    assert.is_true(assert(m:register { id = "a", ttl = 1 }).created)
    m:run(1.05)
    assert.equal(0, m:count().count)
  end)
end)

describe("messaging", function()
  after_each(close_all)

  it("goes on to the second server where the first is away", function()
    local m = open { nats = ("nats://127.0.0.1:%d,%s"):format(core.free_port(), nats.url) }
    populate(m, 2, "l")
    assert.same({ published = 2 }, assert(m:multicast { all = true, payload = "x", ack = "none" }).states)
  end)

  it("puts the dots into its subjects itself", function()
    local listener = tap.nats(nats, "critical.>")
    local m = open { nats = nats.url, prefix = "critical", namespace = "dots" }
    assert(m:register { id = "device-1" })
    assert(m:multicast { all = true, payload = "x", ack = "none" })
    assert.same({ ["critical.dots.to.device-1"] = 1 }, tap.subjects(listener, 1))
  end)

  it("lets ids neither reach other subjects nor inject protocol", function()
    local all = tap.nats(nats, ">")
    local m = open { nats = nats.url, namespace = "hostile" }
    local odd = { "sp ace", "sp\194\160ace", "wild.*", "tail.>", "*", ">", ".", "a.b", "a..b", "$SYS.x", "=41",
                  "%0d%0a", "x 3\\r\\nPUB evil 3\\r\\nxyz", "_INBOX.x" }
    for _, id in ipairs(odd) do assert(m:register { id = id, metadata = { odd = true } }) end
    local gateways = { "edge *", "via.>" }
    for i, gateway in ipairs(gateways) do
      assert(m:register { id = "g" .. i, gateway = gateway, metadata = { odd = true } })
    end
    local injection = "a 3\r\nxyz\r\nPUB evil 3\r\nxyz\r\n"
    for _, id in ipairs { "", "a\r\nPUB evil 3\r\nxyz", injection, "a\n", "a\0", "a\127" } do
      local _, _, code = m:register { id = id }
      assert.equal("EID", code, ("%q"):format(id))
      _, _, code = m:register { id = "b", gateway = id }
      assert.truthy(code, ("%q"):format(id))
    end
    local _, _, code = m:within("a.b"):register { id = "a" }
    assert.equal("ENAMESPACE", code)
    for _, id in ipairs { "sp", "wild", "wild.x", "A", "x" } do assert(m:register { id = id }) end
    assert.same({ published = #odd + #gateways },
      assert(m:multicast { filter = "odd", payload = "payload\r\nPUB evil 3\r\nxyz", ack = "none" }).states)
    expect_once(tap.subjects(all, #odd + #gateways), #odd + #gateways)
    for _, message in ipairs(tap.messages(all)) do
      assert.truthy(message.subject:find "^muster%.hostile%.%l+%.[%w_=-]+$", message.subject)
      assert.is_nil(message.reply)
      assert.truthy(message.payload:find "payload\r\nPUB evil 3\r\nxyz$")
      local to = message.subject:match "%.to%.(.+)$"
      assert.is_false(to == "sp" or to == "wild" or to == "A" or to == "x", message.subject)
    end
    -- and the connection still carries what comes after them
    assert.same({ published = 5 }, assert(m:multicast { filter = "not odd", payload = "x", ack = "none" }).states)
    expect_once(tap.subjects(all, #odd + #gateways + 5), #odd + #gateways + 5)
  end)
end)

describe("a filter", function()
  after_each(close_all)

  local function count(m, filter)
    local answer, code, problem = raw(m, "count", ('{"filter":%s}'):format(filter))
    return answer and answer.count or code, problem
  end

  it("compares numbers by value: 1.0 and 1, before and after a restart", function()
    local m = open { redis = redis.address, namespace = "numbers" }
    for i, n in ipairs { "1", "1.0", "1e0", "10e-1", "2", '"1"', "9007199254740993" } do
      assert(raw(m, "register", ('{"id":"n%d","metadata":{"n":%s},"ttl":600}'):format(i, n)))
    end
    for _ = 1, 2 do
      for _, filter in ipairs { '"n == 1"', '"n == 1.0"', '"n in [1.0]"', '"n >= 1 and n <= 1.0"', '{"n":1}',
                                '{"n":1.0}' } do
        assert.equal(4, count(m, filter), filter)
      end
      assert.equal(1, count(m, '"n == 9007199254740993"'))
      assert.equal(0, count(m, '"n == 9007199254740992"'))
      close_all()
      m = open { redis = redis.address, namespace = "numbers" }
    end
  end)

  it("on an array or object value answers", function()
    local m = open {}
    assert(raw(m, "register", '{"id":"a","metadata":{"v":["x","y"]}}'))
    assert(raw(m, "register", '{"id":"o","metadata":{"v":{"k":1}}}'))
    assert(raw(m, "register", '{"id":"s","metadata":{"v":"x"}}'))
    local expected = {
      ['{"v":["x","y"]}'] = 1, ['{"v":["y","x"]}'] = 0, ['{"v":{"k":1}}'] = 1, ['{"v":{"k":1.0}}'] = 1,
      ['{"v":{"k":{}}}'] = 0, ['{"v":[]}'] = 0, ['{"v.ne":["x","y"]}'] = 2, ['{"v.in":[["x","y"],{"k":1}]}'] = 2,
      ['{"v.lt":["x"]}'] = "EFILTER", ["\"v == ['x','y']\""] = 1, ["\"v == 'x'\""] = 2, ['"v < 3"'] = 0,
      ["\"v contains 'x'\""] = 2,
    }
    for filter, n in pairs(expected) do assert.equal(n, count(m, filter), filter) end
    assert.equal(3, m:count().count)
  end)
end)

describe("the load tester", function()
  it("counts what a standstill cost, from the plan on, and makes up for it", function()
    local out = process.path "stall.json"
    local load = process.start_muster("stall", { "loadtest", "register", "--embedded", "-r", "200", "-d", "1500ms",
      "--receivers", "0", "--report-interval", "100ms", "--progress", "json", "--out", out, "-v" })
    process.wait_for(load, '"t":0%.[3-9]')
    core.kill(load.pid, 19)
    core.sleep(0.4)
    core.kill(load.pid, 18)
    assert.equal(0, process.wait(load))
    local report = core.json_decode(process.read(out))
    assert.same({ 300, 300, 0 }, { report.run.planned, report.run.ok, report.run.failed })
    local latency, service = report.operations.register.latency_ms, report.operations.register.service_ms
    -- 80 operations were due in the standstill: a quarter of all, evenly from 0 to 400 ms late
    assert.is_true(latency.max > 350 and latency.p90 > 150 and latency.p90 < latency.p99, process.read(out))
    assert.is_true(service.p90 < latency.p90 / 2, process.read(out))
    local edges = { [0.01] = true, [0.05] = true, [0.1] = true, [0.5] = true, [1] = true, [5] = true, [10] = true,
                    [50] = true, [100] = true }
    for _, p in ipairs { "p90", "p95", "p99" } do
      assert.is_nil(edges[latency[p]], p)
      assert.is_true(latency[p] >= latency.min and latency[p] <= latency.max, p)
    end
    -- and nothing came ahead of the plan, from the first moment on
    local done, lines = 0, 0
    for line in process.read(load.log):gmatch "{[^\n]+}" do
      local progress = core.json_decode(line)
      if type(progress) == "table" and progress.t then
        done, lines = math.max(done, progress.ok), lines + 1
        assert.is_true(progress.ok <= progress.t * 200 + 2, line)
      end
    end
    assert.is_true(lines > 5 and done > 200, process.read(load.log))
  end)
end)
