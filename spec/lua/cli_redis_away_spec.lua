-- SPDX-License-Identifier: Apache-2.0
-- What callers hear while Redis is away: the same code whatever they ask, and whether a write may have been done.
local core = require "muster.core"
local process = require "support.process"

local redis, server
local SIGKILL, SIGCONT, SIGSTOP = 9, 18, 19
local UNSURE = "it may have been carried out"

local CALLS = {
  known = { "register", "b", "-n", "known" }, new = { "register", "b", "-n", "brand-new" },
  beat = { "heartbeat", "a", "-n", "known" }, gone = { "unregister", "a", "-n", "known" },
  unknown = { "get", "b", "-n", "never-heard-of" },
}

-- All of them at once; what each says and ends with, by name.
local function ask_all()
  local asked, results = {}, {}
  for name, words in pairs(CALLS) do
    local all = { unpack(words) }
    for _, word in ipairs { "--json", "--socket", process.path "control.sock" } do all[#all + 1] = word end
    asked[name] = process.start_muster("ask-" .. name, all)
  end
  for name, each in pairs(asked) do
    results[name] = { code = process.wait(each, 20), text = process.read(each.log) }
  end
  return results
end

local function expect_all(results, code, name)
  for who, r in pairs(results) do
    assert.equal(code, r.code, who .. ": " .. r.text)
    assert.truthy(r.text:find('"code":"' .. name .. '"', 1, true), who .. ": " .. r.text)
  end
end

describe("while Redis is away", function()
  before_each(function()
    redis = process.redis()
    server = process.serve { "--redis-addr", redis.address, "--socket", process.path "control.sock" }
    local r = process.muster { "register", "a", "-n", "known", "--socket", process.path "control.sock" }
    assert.equal(0, r.code, r.err)
    core.sleep(1.1) -- what was looked up a moment ago is answered without Redis
  end)
  after_each(process.stop_all)

  it("every call says that it cannot be reached, of new namespaces as well", function()
    process.stop(redis, SIGKILL)
    assert.is_true(process.eventually(function()
      return process.read(server.log):find("connection lost", 1, true) ~= nil
    end))
    local results = ask_all()
    expect_all(results, 4, "EREDIS")
    for who, r in pairs(results) do
      assert.truthy(r.text:find(redis.address, 1, true), who .. ": " .. r.text)
      assert.is_nil(r.text:find(UNSURE, 1, true), who .. ": " .. r.text) -- nothing was sent
    end
    local r = process.muster { "count", "-n", "known", "--socket", process.path "control.sock" }
    assert.same({ 0, "1\n" }, { r.code, r.out }) -- reads go on
  end)

  it("a client that waits less says of writes only that they may have been done", function()
    core.kill(redis.pid, SIGSTOP)
    for name, words in pairs { known = CALLS.known, gone = CALLS.gone } do
      local all = { unpack(words) }
      for _, word in ipairs { "--wait", "300ms", "--socket", process.path "control.sock" } do all[#all + 1] = word end
      local r = process.muster(all)
      assert.equal(5, r.code, name)
      assert.equal("muster: EDEADLINE: no answer from a coordinator in 0.3 s; " .. UNSURE .. "\n", r.err)
    end
    local r = process.muster { "get", "b", "-n", "never-heard-of", "--wait", "300ms", "--socket",
                               process.path "control.sock" }
    assert.same({ 5, "muster: EDEADLINE: no answer from a coordinator in 0.3 s\n" }, { r.code, r.err })
    core.kill(redis.pid, SIGCONT)
  end)

  it("every call ends at its deadline where it is silent, and says what may have been done", function()
    core.kill(redis.pid, SIGSTOP)
    local first = ask_all()
    expect_all(first, 5, "EDEADLINE")
    -- what was sent first, one write or those that came in the same turn, is in flight; the others wait behind it, and
    -- of those that never write, or whose namespace is not there, nothing was sent
    local unsure = 0
    for who, r in pairs(first) do
      if r.text:find(UNSURE, 1, true) then
        unsure = unsure + 1
        assert.is_true(who == "known" or who == "beat" or who == "gone", who)
      end
    end
    assert.is_true(unsure > 0)
    -- the connection has been given up meanwhile
    expect_all(ask_all(), 5, "EDEADLINE")
    core.kill(redis.pid, SIGCONT)
    assert.is_true(process.eventually(function()
      return process.muster({ "register", "c", "-n", "brand-new", "--socket", process.path "control.sock" }).code == 0
    end, 10))
  end)
end)
