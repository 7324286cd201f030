-- SPDX-License-Identifier: Apache-2.0
-- The load tester when servers go away or it is ended itself: its exit code, and what it leaves in Redis.
local core = require "muster.core"
local process = require "support.process"

local redis, nats
local SIGINT, SIGKILL, SIGTERM, SIGCONT, SIGSTOP = 2, 9, 15, 18, 19

local function start_redis(port)
  local words = { "redis-server", "--port", tostring(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                  "--appendfsync", "always", "--dir", process.directory() }
  local started = process.start("redis", words)
  started.port, started.address = port, "127.0.0.1:" .. port
  return started
end

local function ask_redis(...)
  return process.run { "redis-cli", "-h", "127.0.0.1", "-p", tostring(redis.port), ... }.out
end

local function answers()
  return ask_redis "PING" == "PONG\n"
end

local function keys()
  return ask_redis("KEYS", "muster:{lt-*")
end

local function words(mode, more)
  local all = { "loadtest", mode, "--redis-addr", redis.address, "--nats-servers", nats.url, "-r", "100",
                "--receivers", "0", "--report-interval", "100ms" }
  for _, word in ipairs(more) do all[#all + 1] = word end
  return all
end

-- A load test that has begun to send; its report goes to a file.
local function start(mode, more)
  local out = process.path "report.json"
  os.remove(out)
  local all = words(mode, more)
  all[#all + 1], all[#all + 2] = "--out", out
  local load = process.start_muster("load", all)
  process.wait_for(load, "%d+s%] +[1-9]")
  load.namespace = process.read(load.log):match "namespace (lt%-%w+)"
  load.report = function() return core.json_decode(process.read(out)) end
  return load
end

local function clean(more)
  local all = { "loadtest", "clean", "--redis-addr", redis.address }
  for _, word in ipairs(more or {}) do all[#all + 1] = word end
  return process.muster(all)
end

local function says(load, ...)
  local text = process.read(load.log)
  for _, part in ipairs { ... } do assert.truthy(text:find(part, 1, true), part .. "\n" .. text) end
end

describe("muster loadtest", function()
  before_each(function()
    redis, nats = start_redis(core.free_port()), process.nats()
    assert.is_true(process.eventually(answers))
  end)
  after_each(process.stop_all)

  it("fails when Redis dies, counts that, and says what it could not remove", function()
    local load = start("register", { "-d", "2s" })
    process.stop(redis, SIGKILL)
    assert.equal(4, process.wait(load, 40), process.read(load.log))
    says(load, "the run was not completed as planned", "operations were cut off from Redis or NATS",
      "namespace " .. load.namespace .. " may be left in Redis, keys muster:{" .. load.namespace .. "}:*",
      "muster loadtest clean --redis-addr " .. redis.address)
    local report = load.report()
    assert.same({ true, 4, 200 }, { report.run.left_behind, report.run.exit_code, report.run.planned })
    assert.is_true(report.failures.connection > 0 and report.run.ok > 0)
    assert.equal(200, report.run.ok + report.run.failed)
    -- and that is how it is removed
    redis = start_redis(redis.port)
    assert.is_true(process.eventually(answers))
    assert.truthy(keys():find(load.namespace, 1, true))
    assert.equal(0, clean { "--expect", "1" }.code)
    assert.equal("\n", keys())
  end)

  it("is content with a Redis that comes back in time, and removes its keys", function()
    local load = start("register", { "-d", "2s" })
    process.stop(redis, SIGKILL)
    redis = start_redis(redis.port)
    assert.equal(0, process.wait(load, 40), process.read(load.log))
    assert.same({ 200, false }, { load.report().run.ok, load.report().run.left_behind })
    assert.equal("\n", keys())
    assert.equal("\n", ask_redis("SMEMBERS", "muster:namespaces"))
  end)

  it("ends with the code of a deadline when Redis is silent", function()
    local load = start("register", { "-d", "1s" })
    core.kill(redis.pid, SIGSTOP)
    core.sleep(7)
    core.kill(redis.pid, SIGCONT)
    assert.equal(5, process.wait(load, 40), process.read(load.log))
    says(load, "operations got no answer in time")
    assert.is_true(load.report().failures.timeout > 0)
    assert.equal("\n", keys())
  end)

  it("fails when NATS goes away, unless a threshold says how many errors are all right", function()
    local load = start("multicast", { "-d", "1500ms", "--preload", "3" })
    process.stop(nats, SIGKILL)
    assert.equal(4, process.wait(load, 40), process.read(load.log))
    nats = process.nats()
    load = start("multicast", { "-d", "1500ms", "--preload", "3", "--threshold", "error_rate<=100%" })
    process.stop(nats, SIGKILL)
    assert.equal(0, process.wait(load, 40), process.read(load.log))
    assert.is_true(load.report().failures.connection > 0)
    assert.equal("\n", keys())
  end)

  it("removes its keys when it is ended by a signal", function()
    for signal, code in pairs { [SIGINT] = 130, [SIGTERM] = 143 } do
      local load = start("mixed", { "-d", "60s" })
      assert.truthy(keys():find(load.namespace, 1, true))
      core.kill(load.pid, signal)
      assert.equal(code, process.wait(load, 20), process.read(load.log))
      assert.equal("\n", keys())
    end
  end)

  it("says what stays when it is told twice to end", function()
    local load = start("register", { "-d", "60s" })
    core.kill(redis.pid, SIGSTOP)
    core.sleep(0.2)
    core.kill(load.pid, SIGTERM)
    process.wait_for(load, "once more to leave at once")
    core.kill(load.pid, SIGTERM)
    assert.equal(143, process.wait(load, 5))
    says(load, "namespace " .. load.namespace .. " may be left in Redis")
    core.kill(redis.pid, SIGCONT)
  end)

  it("leaves keys that end by themselves, and that clean removes, when it is killed", function()
    assert.equal(0, clean().code)
    local load = start("register", { "-d", "60s", "--preload", "1200" })
    core.sleep(1.2)
    process.stop(load, SIGKILL)
    ask_redis("HSET", "muster:{lt-fleet}:m", "rev", "1") -- somebody's own
    for kind in ("htsm"):gmatch "." do
      local ttl = tonumber(ask_redis("TTL", ("muster:{%s}:%s"):format(load.namespace, kind)))
      assert.is_true(ttl > 550 and ttl <= 600, kind .. ttl)
    end
    local r = clean { "--dry-run" }
    assert.equal(0, r.code, r.err)
    assert.truthy(r.out:find(load.namespace:gsub("%-", "%%-") .. " +1%d%d%d +4"), r.out)
    assert.is_nil(r.out:find("fleet", 1, true))
    r = clean()
    assert.equal(1, r.code)
    assert.truthy(r.err:find("--expect 1", 1, true), r.err)
    assert.equal(1, clean({ "--expect", "2" }).code)
    assert.truthy(keys():find(load.namespace, 1, true))
    r = clean { "--expect", "1", "--json" }
    assert.equal(0, r.code, r.err)
    local answer = core.json_decode(r.out)
    assert.same({ 1, 4, load.namespace }, { answer.removed, answer.removed_keys, answer.namespaces[1].namespace })
    assert.equal("muster:{lt-fleet}:m\n", keys())
  end)

  it("cannot clean a Redis that is not there", function()
    process.stop(redis, SIGKILL)
    local r = clean { "--dry-run" }
    assert.equal(4, r.code, r.err)
    assert.equal(2, process.muster({ "loadtest", "mixed", "--embedded", "--dry-run" }).code)
  end)
end)
