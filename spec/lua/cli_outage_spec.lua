-- SPDX-License-Identifier: Apache-2.0
-- What the command line does while the server, Redis or NATS is away.
local core = require "muster.core"
local process = require "support.process"

local function ok(r, code)
  assert.equal(code or 0, r.code, r.out .. r.err)
  return r
end

local function occurrences(text, plain)
  local count, at = 0, text:find(plain, 1, true)
  while at do count, at = count + 1, text:find(plain, at + 1, true) end
  return count
end

local function start_receiver(name, words)
  local full = { "receive", name, "--register", "-m", '{"on":true}', "--ttl", "1s" }
  for _, word in ipairs(words) do full[#full + 1] = word end
  local receiver = process.start_muster(name, full)
  process.wait_for(receiver, "receiving as " .. name)
  return receiver
end

describe("receive --register", function()
  teardown(process.stop_all)

  it("comes back, with its metadata, to a server that starts again on the socket", function()
    local socket = process.path "again.sock"
    local words = { "--socket", socket }
    local server = process.serve(words, "first")
    local receiver = start_receiver("near", words)
    assert.equal(0, process.stop(server))
    core.sleep(1.5) -- several attempts
    server = process.serve(words, "second")
    process.wait_for(receiver, "1 registered again")
    local r = ok(process.muster { "multicast", "on", "hello", "--socket", socket })
    assert.truthy(r.out:find "^1 matched   1 received", r.out)
    local text = process.wait_for(receiver, "\nhello\n")
    assert.equal(1, occurrences(text, "cannot renew: ECLOSED: "), text)
    assert.equal(143, process.stop(receiver))
    process.stop(server)
  end)

  it("tells an outage over NATS once, and the next one again", function()
    local nats = process.nats()
    local words = { "--no-socket", "--nats-servers", nats.url, "--log-level", "off" }
    local server = process.serve(words, "one")
    local receiver = start_receiver("far", { "--nats-servers", nats.url })
    process.stop(server)
    process.wait_for(receiver, "cannot renew: ECONNECT: no coordinator")
    core.sleep(1.5)
    server = process.serve(words, "two")
    local text = process.wait_for(receiver, "1 registered again\n")
    assert.equal(1, occurrences(text, "cannot renew"), text)
    process.stop(server)
    process.wait_for(receiver, "cannot renew.*cannot renew")
    assert.equal(143, process.stop(receiver))
  end)

  it("registers again what somebody removed, and goes on", function()
    local socket = process.path "removed.sock"
    local server = process.serve({ "--socket", socket }, "removed")
    local receiver = start_receiver("gone", { "--socket", socket, "--count", "1" })
    ok(process.muster { "unregister", "gone", "--socket", socket })
    local text = process.wait_for(receiver, "1 registered again\n")
    assert.equal(0, occurrences(text, "cannot renew"), text)
    ok(process.muster { "multicast", "on", "x", "--socket", socket })
    assert.equal(0, process.wait(receiver))
    process.stop(server)
  end)

  it("ends in time and on a mistake even while it tries", function()
    local socket = process.path "ends.sock"
    local server = process.serve({ "--socket", socket }, "ends")
    local timed = start_receiver("timed", { "--socket", socket, "--for", "2s" })
    local held = start_receiver("held", { "--socket", socket })
    process.stop(server, 9)
    process.wait_for(held, "cannot renew")
    assert.equal(143, process.stop(held))
    assert.equal(0, process.wait(timed))
    local r = process.muster { "receive", "x", "--register", "--ttl", "0.1", "--socket", socket }
    ok(r, 4)
    server = process.serve({ "--socket", socket }, "ends-again")
    ok(process.muster { "receive", "x", "--register", "--ttl", "0.1", "--socket", socket }, 2)
    process.stop(server)
  end)
end)

describe("without Redis", function()
  local redis, server, words
  setup(function()
    redis = process.redis()
    words = { "--socket", process.path "redis.sock" }
    server = process.serve { "--redis-addr", redis.address, "--log-level", "off", unpack(words) }
    ok(process.muster { "register", "before", unpack(words) }) -- the namespace is loaded
  end)
  teardown(process.stop_all)

  it("register --stdin has the exit code of a connection", function()
    process.stop(redis, 9)
    local r = process.muster({ "register", "--stdin", unpack(words) }, '{"id":"a"}\nnot json\n')
    assert.truthy(r.err:find("line 1: EREDIS: ", 1, true), r.err)
    assert.equal("0 accepted, 2 rejected\n", r.out)
    assert.equal(4, r.code)
    r = ok(process.muster({ "register", "--stdin", unpack(words) }, "not json\n"), 1)
    assert.truthy(r.err:find("line 1, column 1: EJSON: ", 1, true), r.err)
    assert.truthy(process.muster({ "register", "--help" }).out:find("4 if one failed because Redis", 1, true))
  end)

  it("what fails says its code in front", function()
    local r = ok(process.muster { "register", "x", unpack(words) }, 4)
    assert.truthy(r.err:find "^muster: EREDIS: Redis at ", r.err)
    process.stop(server)
  end)
end)

describe("addresses of NATS", function()
  teardown(process.stop_all)

  it("that are none are a mistake: 78 for serve, 2 elsewhere", function()
    local socket = process.path "none.sock"
    local wrong = { "bogus", "http://127.0.0.1:4222", "nats://", "nats://a:b", "a:0", "a:b:c", "nats://x:70000", ",",
                    "nats://127.0.0.1:1,bogus" }
    for _, address in ipairs(wrong) do
      local r = ok(process.muster { "serve", "--socket", socket, "--nats-servers", address }, 78)
      assert.truthy(r.err:find "^muster: nats_servers: '[^\n]+expected nats://HOST:PORT[^\n]*\n$", r.err)
      ok(process.muster { "get", "a", "--nats-servers", address }, 2)
    end
    ok(process.muster { "loadtest", "mixed", "--nats-servers", "bogus" }, 2)
    local config = process.write("nats.lua", "return { nats_servers = 'bogus' }")
    ok(process.muster { "serve", "--socket", socket, "-c", config }, 78)
  end)

  it("are shown without their password", function()
    local r = ok(process.muster { "serve", "--no-socket", "--nats-servers", "nats://me:secret@host:port" }, 78)
    assert.truthy(r.err:find("'nats://host:port'", 1, true), r.err)
  end)

  it("that are good but answer to nobody are a connection", function()
    local port = core.free_port()
    for _, address in ipairs { "nats://127.0.0.1:%d", "127.0.0.1:%d", " 127.0.0.1:%d,nats://u:p@127.0.0.1:%d/" } do
      address = address:gsub("%%d", tostring(port))
      local r = ok(process.muster { "serve", "--no-socket", "--nats-servers", address }, 4)
      assert.truthy(r.err:find "\nmuster: ENATS: [^\n]*cannot connect", r.err)
      assert.is_nil(r.err:find "%.c:%d", r.err)
    end
  end)

  it("that are silent, are free or have no coordinator behind them are told apart", function()
    local nats = process.nats()
    local function why()
      return ok(process.muster { "ls", "--wait", "1s", "--nats-servers", nats.url }, 4).err
    end
    local none = why()
    assert.truthy(none:find("^muster: ECONNECT: no coordinator answers on muster%.default%.api%.enumerate; is "), none)
    core.kill(nats.pid, 19)
    local silent = why()
    core.kill(nats.pid, 18)
    assert.truthy(silent:find("; no NATS server answers there, ", 1, true), silent)
    assert.is_nil(silent:find("start one with", 1, true), silent)
    assert.is_nil(silent:find "%.c:%d", silent)
    process.stop(nats, 9)
    local free = why()
    assert.truthy(free:find("; no NATS server answers there, ", 1, true), free)
  end)

  it("are a wrong configuration for programs, too", function()
    local host, message, code = core.open { nats_servers = "nats://a:b", log_level = "off" }
    assert.is_nil(host)
    assert.equal("ECONFIG", code)
    assert.is_nil(message:find "%.c:%d", message)
  end)
end)
