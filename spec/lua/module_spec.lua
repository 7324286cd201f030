-- SPDX-License-Identifier: Apache-2.0
-- The Lua module in a plain LuaJIT: an own coordinator, a client of another, and the example programs.
local core = require "muster.core"
local muster = require "muster"
local process = require "support.process"

describe("muster.open", function()
  local m
  before_each(function() m = assert(muster.open()) end)
  after_each(function() m:close() end)

  it("registers and finds", function()
    local made = assert(m:register { id = "a", metadata = { site = "hq", n = 5 }, ttl = "5m" })
    assert.is_true(made.created)
    assert.same({ "a", { site = "hq", n = 5 } }, { m:get("a").id, m:get("a").metadata })
    assert.equal(1, m:count('site == "hq"').count)
    assert.equal("a", m:enumerate({ filter = "n > 4" }).identities[1].id)
    assert.equal(1, m:heartbeat("a", "10m").renewed)
    assert.same({ "b" }, m:heartbeat({ "a", "b" }).unknown)
    assert.is_false(m:explain("n > 5", "a").matches)
    assert.is_true(m:unregister("a").removed)
    assert.equal(0, m:count().count)
  end)

  it("registers lists, and says what became of each", function()
    local answers = assert(m:register { { id = "a" }, { id = "" }, { id = "c" } })
    assert.same({ "a", "EID", "c" }, { answers[1].id, answers[2].error.code, answers[3].id })
  end)

  it("answers nil, message, code on failure", function()
    local answer, message, code, detail = m:get "nobody"
    assert.is_nil(answer)
    assert.equal("ENOTFOUND", code)
    assert.truthy(message:find "^ENOTFOUND: ")
    assert.equal("ENOTFOUND", detail.code)
    answer, message, code, detail = m:count "a =< 1"
    assert.same({ nil, "EFILTER", 3 }, { answer, code, detail.at.column }, message)
    answer, message, code = muster.open { redis = "not an address" }
    assert.same({ nil, "ECONFIG" }, { answer, code }, message)
    answer, message, code = muster.connect { socket = process.path "nobody.sock" }
    assert.same({ nil, "ECONNECT" }, { answer, code }, message)
    assert.truthy(message:find "^ECONNECT: ")
  end)

  it("throws on misuse", function()
    assert.has_error(function() muster.open { reddis = "x" } end)
    assert.has_error(function() muster.open { redis = { hots = "x" } } end)
    assert.has_error(function() muster.connect {} end)
    assert.has_error(function() m:register "a" end)
    assert.has_error(function() m:receive("a") end)
    assert.has_error(function() m:register { id = "a", metadata = { f = print } } end)
  end)

  it("iterates over all that match", function()
    local list = {}
    for i = 1, 2500 do list[#list + 1] = { id = "n" .. i, metadata = { n = i } } end
    for i = 1, #list, 500 do
      local part = {}
      for j = i, i + 499 do part[#part + 1] = list[j] end
      assert(m:register(part))
    end
    local seen = {}
    for identity in m:each { filter = "n > 100", limit = 1000 } do seen[identity.id] = true end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(2400, count)
  end)

  it("sends and receives", function()
    local got = {}
    for _, id in ipairs { "ok", "done", "bad", "later" } do assert(m:register { id = id }) end
    local kept
    assert(m:receive("ok", function(message) got[#got + 1] = message.id .. " " .. message.payload end))
    assert(m:receive("done", function() return true end))
    assert(m:receive("bad", function() return false, "EJAM paper" end))
    assert(m:receive("later", function(message)
      kept = message
      m:start("count", {}, function() m:acknowledge(kept, "processed") end)
      return "later"
    end))
    local order = { all = true, payload = { cmd = "go" }, ack = "processed", timeout = "1s", report = "all" }
    local report = assert(m:multicast(order))
    local states, codes = {}, {}
    for _, receipt in ipairs(report.receipts) do states[receipt.id], codes[receipt.id] = receipt.state, receipt.code end
    assert.same({ ok = "received", done = "processed", bad = "failed", later = "processed" }, states)
    assert.equal("EJAM paper", codes.bad)
    assert.same({ 'ok {"cmd":"go"}' }, got)
    assert.truthy(kept.reply)
  end)

  it("receives for a gateway", function()
    for i = 1, 3 do assert(m:register { id = "u" .. i, gateway = "edge" }) end
    local ids
    assert(m:receive({ gateway = "edge" }, function(message)
      ids = message.ids
      return { u2 = "EGONE left", u3 = true }
    end))
    local report = assert(m:multicast { all = true, payload = "x", report = "all" })
    table.sort(ids)
    assert.same({ "u1", "u2", "u3" }, { ids[1], ids[2], ids[3] })
    assert.same({ received = 1, processed = 1, failed = 1 }, report.states)
  end)

  it("lets an error of a handler out", function()
    assert(m:register { id = "a" })
    assert(m:receive("a", function() error "my own mistake" end))
    local ok, message = pcall(m.multicast, m, { all = true, payload = "x", timeout = "200ms" })
    assert.is_false(ok)
    assert.truthy(tostring(message):find("my own mistake", 1, true))
  end)

  it("does not wait where it was asked not to", function()
    local answer, failure
    assert(m:register { id = "a" })
    m:start("get", { id = "a" }, function(got) answer = got end)
    m:start("get", { id = "b" }, function(got, message, code)
      failure = { got, code, message:match "^ENOTFOUND: " }
      m:stop()
    end)
    assert.is_nil(answer)
    assert.equal("stop", m:run(5))
    assert.equal("a", answer.id)
    assert.same({ nil, "ENOTFOUND", "ENOTFOUND: " }, failure)
    assert.equal("timeout", m:run(0.01))
  end)

  it("keeps namespaces apart, and two hosts in one process", function()
    local other = assert(muster.open { namespace = "fleet" })
    assert(m:within("x"):register { id = "a" })
    assert.same({ 0, 1, 0 }, { m:count().count, m:within("x"):count().count, other:within("x"):count().count })
    other:close()
  end)

  it("gives null and empty lists as they are", function()
    assert(m:register { id = "a", metadata = { none = muster.null, list = muster.array {} }, ttl = "never" })
    local got = m:get "a"
    assert.equal(muster.null, got.metadata.none)
    assert.equal(muster.null, got.expires_at)
    assert.equal(1, m:count("len(list) == 0 and type(none) == 'null'").count)
  end)
end)

describe("muster.connect", function()
  teardown(process.stop_all)

  it("works as the coordinator itself does", function()
    local socket = process.path "control.sock"
    local server = process.serve { "--socket", socket }
    local m = assert(muster.connect { socket = socket, namespace = "fleet" })
    assert(m:register { id = "a", metadata = { on = true } })
    assert(m:receive("a", function(message) return message.payload == "go" end))
    local report = assert(m:multicast { filter = "on", payload = "go", ack = "processed", timeout = "2s" })
    assert.same({ processed = 1 }, report.states)
    process.stop(server)
    assert.equal("lost", m:run(5))
    local answer, message, code = m:count()
    assert.same({ nil, "ECLOSED" }, { answer, code }, message)
    m:close()
  end)

  it("opens the same registry twice on real servers", function()
    local redis, nats = process.redis(), process.nats()
    local one = assert(muster.open { redis = "redis://" .. redis.address .. "/0", nats = nats.url })
    assert(one:register { id = "kept", metadata = { on = true }, ttl = "1m" })
    one:close()
    local two = assert(muster.open { redis = redis.address, nats = { servers = nats.url } })
    assert.equal("kept", two:get("kept").id)
    local got
    assert(two:receive("kept", function(message) got = message.payload end))
    local report = assert(two:multicast { filter = "on", payload = "hello", timeout = "2s" })
    assert.same({ received = 1 }, report.states)
    assert.equal("hello", got)
    two:close()
  end)
end)

describe("the example", function()
  teardown(process.stop_all)

  local luajit = os.getenv "MUSTER_LUAJIT" or "luajit"

  local function run(name)
    local command = luajit .. " examples/" .. name .. ".lua"
    local r = process.run { "sh", "-c", command }
    assert.equal(0, r.code, r.err)
    assert.equal("", r.err)
    return r.out
  end

  local expected = {
    hello = "2 of 2 received it\n$",
    lease = "^on its way:\t1\nrenewed:\t1\nleft alone:\t0\n$",
    gateway = "received:\t4\nuser%-3\tfailed\tEGONE has just left\n$",
    acknowledge = "^broken\tfailed\tEBROKEN out of paper\nquick\tprocessed\t\nslow\tprocessed\t\n$",
    filter = "EFILTER\t1:25: .-\n +%^%^",
  }
  for name, pattern in pairs(expected) do
    it(name .. " does what it says", function()
      local out = run(name)
      assert.truthy(out:find(pattern), out)
    end)
  end

  it("embed.c builds with what pkg-config says of the build tree", function()
    local sanitized = (os.getenv "MUSTER_LUAJIT" or ""):find "LD_PRELOAD"
    if sanitized then return pending "the library needs a sanitizer's run-time" end
    local program, build = process.path "embed", process.program:match "^(.*)/"
    local flags = ("$(PKG_CONFIG_PATH=%s pkg-config --cflags --libs muster)"):format(process.quote(build))
    local made = process.run { "sh", "-c", ("cc examples/embed.c -o %s %s"):format(process.quote(program), flags) }
    assert.equal(0, made.code, made.err)
    assert.equal(0, process.run({ program }).code)
  end)

  it("files are short and all of them known here", function()
    local pipe = io.popen "ls examples/*.lua"
    for path in pipe:lines() do
      local count = 0
      for _ in io.lines(path) do count = count + 1 end
      assert.is_true(count < 40, path)
      assert.truthy(expected[path:match "([%w_]+)%.lua$"], path .. " is not run here")
    end
    pipe:close()
    assert.equal(core.version, muster.version)
  end)
end)
