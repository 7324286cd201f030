-- SPDX-License-Identifier: Apache-2.0
-- `muster demo` in its three forms, the commands that the help shows, and a short load test.
local core = require "muster.core"
local process = require "support.process"

local muster = process.muster

describe("muster demo", function()
  teardown(process.stop_all)

  it("shows the whole job without any server", function()
    local r = muster { "demo" }
    assert.equal(0, r.code, r.err)
    assert.equal("", r.err)
    for _, part in ipairs { "$ muster register sensor-1", "$ muster enumerate 'battery < 20'", "$ muster multicast",
                            "3 matched   2 received   1 no_receiver", "no_receiver  sensor-4", "$ muster explain",
                            "sensor-1 does NOT match", "FALSE  battery < 20" } do
      assert.truthy(r.out:find(part, 1, true), part .. "\n" .. r.out)
    end
  end)

  it("prints the answers as JSON", function()
    local verbs = 0
    for line in muster({ "demo", "--json" }).out:gmatch "[^\n]+" do
      assert.is_table(core.json_decode(line))
      verbs = verbs + 1
    end
    assert.equal(4, verbs)
  end)

  it("shows with real servers that the registry survives a restart, and leaves nothing behind", function()
    local began = core.monotonic()
    local r = muster { "demo", "--real" }
    assert.equal(0, r.code, r.out .. r.err)
    assert.truthy(r.out:find("All of them are there", 1, true), r.out)
    assert.is_true(core.monotonic() - began < 20)
    for port in r.out:match("^[^\n]+"):gmatch "port (%d+)" do
      local probe = process.run { "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/" .. port }
      assert.is_true(probe.code ~= 0, "a server still listens on " .. port)
    end
  end)

  it("stays for other commands when asked to", function()
    local socket = process.path "demo.sock"
    local demo = process.start_muster("demo", { "demo", "--stay", "--socket", socket })
    process.wait_for(demo, "Ctrl%-C ends it")
    assert.equal("5\n", muster({ "count", "-n", "demo", "--socket", socket }).out)
    local r = muster { "multicast", "battery < 20", "x", "-n", "demo", "--socket", socket, "--timeout", "2s" }
    assert.equal(3, r.code, r.err)
    assert.equal(0, process.stop(demo, 2))
  end)
end)

describe("the examples of the help", function()
  local server
  setup(function()
    process.write("metadata.json", '{"site":"hq"}')
    process.write("msg.json", '{"cmd":"x"}')
    process.write("cmd.json", '{"cmd":"x"}')
    process.write("notice.json", '{"notice":1}')
    process.write("fleet.ndjson", '{"id":"a","metadata":{"fw":"2"},"ttl":60}\n')
    process.write("log.ndjson", '{"level":"error","ms":300}\n')
    server = process.serve { "--socket", process.path "control.sock" }
  end)
  teardown(function()
    process.stop(server)
    process.stop_all()
  end)

  -- The commands in a text: lines that begin with `muster`, up to the remark behind them.
  local function commands(text)
    local found = {}
    for line in text:gmatch "\n  (muster [^\n]+)" do found[#found + 1] = line:gsub("   .*$", "") end
    return found
  end

  -- 0, or what refusing, missing or unreached looks like; never a mistake in the command.
  local fine = { [0] = true, [1] = true, [3] = true }

  local function run(command)
    local script = ('muster() { timeout 20 %s "$@"; }; cd %s; export MUSTER_URL=unix:%s; %s'):format(
      process.quote(process.program), process.quote(process.directory()), process.path "control.sock", command)
    local r = process.run { "bash", "-c", script }
    assert.is_true(fine[r.code] or false, command .. ": " .. r.code .. "\n" .. r.out .. r.err)
    assert.is_nil(r.err:find("internal error", 1, true), command .. ": " .. r.err)
  end

  it("can all be typed as they stand", function()
    local texts, count = { muster({ "help", "examples" }).out }, 0
    for _, name in ipairs { "register", "heartbeat", "get", "enumerate", "count", "multicast", "unregister", "explain",
                            "match" } do
      texts[#texts + 1] = "\n" .. muster({ name, "--help" }).out:match "^(.-)\nUsage:"
    end
    for _, command in ipairs(commands(table.concat(texts))) do
      local endless = command:find "^muster serve" or command:find "^muster receive" or command:find "^muster loadtest"
      if not endless then
        run(command)
        count = count + 1
      end
    end
    assert.is_true(count > 30, count)
  end)
end)

describe("muster loadtest", function()
  teardown(process.stop_all)

  it("reports as JSON, to a file, and by its exit code", function()
    local out = process.path "report.json"
    local r = muster { "loadtest", "mixed", "--embedded", "-r", "100", "-d", "500ms", "--report-interval", "200ms",
                       "--json", "--out", out, "--seed", "7", "--threshold", "error_rate<1%" }
    assert.equal(0, r.code, r.err)
    local report = core.json_decode(r.out)
    assert.same({ 7, 50, true }, { report.run.seed, report.run.planned, report.run.embedded })
    assert.equal(r.out, process.read(out))
    r = muster { "loadtest", "register", "--embedded", "-r", "100", "-d", "300ms", "--threshold", "register.p50<1ns" }
    assert.equal(99, r.code, r.err)
    assert.truthy(r.out:find("FAIL", 1, true))
  end)

  it("keeps passwords out of its report", function()
    local r = muster { "loadtest", "register", "--embedded", "-d", "100ms", "--json", "--redis-password", "hunter2" }
    assert.equal(0, r.code, r.err)
    assert.is_nil((r.out .. r.err):find("hunter2", 1, true))
    assert.truthy(r.out:find("***", 1, true))
    assert.truthy(r.err:find("--password-file", 1, true))
  end)
end)
