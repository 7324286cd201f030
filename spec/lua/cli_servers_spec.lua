-- SPDX-License-Identifier: Apache-2.0
-- The command line with a real Redis and a real NATS: restarts, both ways in, receivers.
local core = require "muster.core"
local process = require "support.process"

local redis, nats, server

local function serve_words()
  return { "--redis-addr", redis.address, "--nats-servers", nats.url, "--socket", process.path "control.sock" }
end

local function muster(words, input)
  words[#words + 1], words[#words + 2] = "--socket", process.path "control.sock"
  return process.muster(words, input)
end

local function over_nats(words)
  words[#words + 1], words[#words + 2] = "--nats-servers", nats.url
  return process.muster(words)
end

local function ok(r, code)
  assert.equal(code or 0, r.code, r.out .. r.err)
  return r
end

describe("muster serve with Redis and NATS", function()
  setup(function()
    redis, nats = process.redis(), process.nats()
    server = process.serve(serve_words())
  end)
  teardown(process.stop_all)

  it("says what it works on", function()
    local text = process.read(server.log)
    assert.truthy(text:find("registry redis " .. redis.address, 1, true), text)
    assert.truthy(text:find("messaging nats " .. nats.url, 1, true), text)
  end)

  it("answers over NATS as over its socket", function()
    ok(over_nats { "register", "n1", "-m", '{"via":"nats"}', "--ttl", "1m" })
    assert.truthy(ok(muster { "get", "n1" }).out:find('{"via":"nats"}', 1, true))
    assert.equal("1\n", ok(over_nats { "count", 'via == "nats"' }).out)
    ok(over_nats { "get", "nobody" }, 1)
    local r = ok(over_nats { "count", "a =< 1" }, 2)
    assert.truthy(r.err:find("1:3", 1, true), r.err)
  end)

  it("reaches receivers by socket and by NATS", function()
    local near = process.start_muster("near", { "receive", "near", "--register", "-n", "reach", "--socket",
      process.path "control.sock" })
    local far = process.start_muster("far", { "receive", "far", "--register", "-n", "reach", "--nats-servers", nats.url,
      "--ack", "processed" })
    process.wait_for(near, "receiving as near")
    process.wait_for(far, "receiving as far")
    ok(muster { "register", "-n", "reach", "nobody" })
    local r = ok(muster { "multicast", "-n", "reach", "--all", "hello", "--timeout", "3s" }, 3)
    assert.truthy(r.out:find "^3 matched   1 received   1 processed   1 no_receiver", r.out)
    ok(over_nats { "multicast", "-n", "reach", '@id in ["near", "far"]', "again" })
    process.wait_for(near, "hello\nagain\n")
    process.wait_for(far, "hello\nagain\n")
    process.stop(near)
    process.stop(far)
  end)

  it("keeps every acknowledged registration when it is killed", function()
    local input = {}
    for i = 1, 5000 do
      input[i] = ('{"id":"k%d","metadata":{"n":%d},"ttl":%d}'):format(i, i, i % 2 == 0 and 600 or 60)
    end
    local path = process.write("killed.ndjson", table.concat(input, "\n"))
    local command = ("exec %s register --stdin --json -n kill --socket %s < %s"):format(
      process.quote(process.program), process.quote(process.path "control.sock"), process.quote(path))
    local writer = process.start("writer", { "sh", "-c", command })
    process.wait_for(writer, "\n")
    process.stop(server, 9)
    process.wait(writer)
    local acknowledged = {}
    for line in process.read(writer.log):gmatch "[^\n]+" do
      local answer = line:find "^{" and core.json_decode(line)
      if answer and answer.id then acknowledged[answer.id] = answer.expires_at end
    end
    assert.is_true(next(acknowledged) ~= nil)
    server = process.serve(serve_words())
    local found = {}
    for line in ok(muster { "ls", "-n", "kill", "--json" }).out:gmatch "[^\n]+" do
      local identity = core.json_decode(line)
      found[identity.id] = identity.expires_at
    end
    for id, expires_at in pairs(acknowledged) do assert.equal(expires_at, found[id], id) end
  end)

  it("says so when Redis or NATS cannot be reached", function()
    local free = "127.0.0.1:" .. core.free_port()
    local r = process.muster { "serve", "--redis-addr", free, "--socket", process.path "x.sock" }
    assert.equal(4, r.code, r.err)
    r = process.muster { "serve", "--nats-servers", "nats://" .. free, "--socket", process.path "x.sock" }
    assert.equal(4, r.code, r.err)
    r = over_nats { "count", "--prefix", "elsewhere", "--wait", "1s" }
    assert.equal(4, r.code, r.err)
  end)

  it("takes its settings from a file, options first", function()
    local content = "return { redis_addr = '%s', socket = '/does/not/exist', prefix = 'other' }"
    local config = process.write("muster.lua", content:format(redis.address))
    local socket = process.path "configured.sock"
    local configured = process.serve({ "-c", config, "--socket", socket }, "configured")
    assert.equal("0\n", ok(process.muster { "count", "-n", "kill", "--socket", socket }).out)
    assert.equal(0, process.stop(configured))
  end)

  it("ends in order on SIGTERM", function()
    assert.equal(0, process.stop(server))
    ok(muster { "count" }, 4)
  end)
end)
