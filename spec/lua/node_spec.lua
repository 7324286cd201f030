-- SPDX-License-Identifier: Apache-2.0
-- The official NATS client of Node.js against muster: runs the tests of spec/node, and examples/receiver.mjs.
-- Pending where Node.js or the packages of spec/node are not there (./dev test installs them if it can).
local process = require "support.process"

local function real_path(path)
  local pipe = io.popen("realpath " .. process.quote(path))
  local real = pipe:read "*l"
  pipe:close()
  return assert(real, path)
end

local FOLDER = real_path(debug.getinfo(1, "S").source:match "^@(.*)/lua/[^/]*$" .. "/node")
local EXAMPLE = FOLDER .. "/../../examples/receiver.mjs"
local FILES = { "verbs_test.mjs", "discovery_test.mjs", "receive_test.mjs" }

local function succeeds(command)
  local status = os.execute(command .. " >/dev/null 2>&1")
  return status == true or status == 0
end

local available = succeeds "node --version" and succeeds("test -d " .. process.quote(FOLDER .. "/node_modules/nats"))

-- The names of the tests in a file, in their order.
local function names(file)
  local list = {}
  for name in process.read(FOLDER .. "/" .. file):gmatch '\ntest%("([^"\n]+)"' do list[#list + 1] = name end
  assert(#list > 0, file .. " holds no test")
  return list
end

-- What the tests of a file came to: name -> true or false; and all that was printed.
local function run(file, url)
  local r = process.run { "env", "NATS_URL=" .. url, "node", "--test-reporter=tap", FOLDER .. "/" .. file }
  local results = {}
  for negative, name in r.out:gmatch "\n(n?o?t? ?)ok %d+ %- ([^\n]*)" do results[name] = negative == "" end
  return results, r.out .. r.err, r.code
end

local function serve_words(registry, nats)
  local words = { "--nats-servers", nats.url, "--socket", process.path "control.sock" }
  if registry == "redis" then
    words[#words + 1], words[#words + 2] = "--redis-addr", process.redis().address
  end
  return words
end

local function suite(file, registry)
  describe(("%s, registry %s:"):format(file:match "^%w+", registry), function()
    local nats, results, printed, code
    if available then
      setup(function()
        nats = process.nats()
        process.serve(serve_words(registry, nats))
        results, printed, code = run(file, nats.url)
      end)
      teardown(process.stop_all)
    end
    for _, name in ipairs(names(file)) do
      it(name, function()
        if not available then pending "no Node.js, or no packages in spec/node" end
        assert.is_true(results[name] or false, printed)
      end)
    end
    it("and no other test failed", function()
      if not available then pending "no Node.js, or no packages in spec/node" end
      assert.equal(0, code, printed)
    end)
  end)
end

for _, registry in ipairs { "memory", "redis" } do
  for _, file in ipairs(FILES) do suite(file, registry) end
end

describe("examples/receiver.mjs", function()
  if available then teardown(process.stop_all) end

  it("registers, receives and leaves in order", function()
    if not available then pending "no Node.js, or no packages in spec/node" end
    local nats = process.nats()
    process.serve(serve_words("memory", nats))
    -- As a user does it: a copy, beside a node_modules.
    local copy = process.write("receiver.mjs", process.read(EXAMPLE))
    assert.is_true(succeeds(process.command { "ln", "-s", FOLDER .. "/node_modules", process.path "node_modules" }))
    local id = "lamp 1.ü*"
    local receiver = process.start("receiver", { "env", "NATS_URL=" .. nats.url, "node", copy, id, '{"site":"hq"}' })
    process.wait_for(receiver, "receiving as lamp")
    local words = { "multicast", 'site == "hq"', "hello", "--ack", "processed",
      "--socket", process.path "control.sock" }
    local r = process.muster(words)
    assert.equal(0, r.code, r.out .. r.err)
    assert.truthy(r.out:find("1 processed", 1, true), r.out)
    process.wait_for(receiver, "\nhello\n")
    assert.equal(0, process.stop(receiver))
    assert.equal("0\n", process.muster({ "count", "--socket", process.path "control.sock" }).out)
  end)

  it("is tiny", function()
    local _, lines = process.read(EXAMPLE):gsub("\n", "")
    assert.is_true(lines > 0 and lines < 40)
  end)
end)
