-- SPDX-License-Identifier: Apache-2.0
-- The command line without any server: help, mistakes, exit codes.
local core = require "muster.core"
local filter = require "muster.filter"
local process = require "support.process"

local muster = process.muster

local COMMANDS = { "register", "heartbeat", "get", "enumerate", "count", "multicast", "unregister", "receive",
                   "explain", "match", "serve", "loadtest", "demo", "help", "version", "completion" }

describe("the command line", function()
  teardown(process.stop_all)

  it("shows a short text when called alone", function()
    local r = muster {}
    assert.equal(0, r.code)
    assert.truthy(r.out:find("muster demo", 1, true))
    assert.equal("", r.err)
  end)

  it("has help for every command, in three ways", function()
    local all = muster { "--help" }
    assert.equal(0, all.code)
    for _, name in ipairs(COMMANDS) do
      assert.truthy(all.out:find("\n  " .. name, 1, true), name)
      local long, short, by_word = muster { name, "--help" }, muster { name, "-h" }, muster { "help", name }
      assert.same({ 0, 0, 0 }, { long.code, short.code, by_word.code }, name)
      assert.truthy(long.out:find("Usage: muster " .. name, 1, true), name)
      assert.equal(long.out, short.out)
      assert.equal(long.out, by_word.out)
      assert.equal("", long.err)
    end
    assert.equal(muster { "enumerate", "--help" }.out, muster { "help", "ls" }.out)
  end)

  it("has no line in its help that a terminal of 120 columns breaks", function()
    for _, words in ipairs { {}, { "--help" }, { "help", "examples" }, { "help", "filter" }, { "multicast", "-h" },
                             { "loadtest", "-h" } } do
      for line in muster(words).out:gmatch "[^\n]+" do assert.is_true(#line <= 120, line) end
    end
  end)

  it("has the filter language on one screen", function()
    local r = muster { "help", "filter" }
    assert.same({ 0, "" }, { r.code, r.err })
    local _, count = r.out:gsub("\n", "")
    assert.is_true(count <= 40)
    assert.truthy(r.out:find("filters/LANGUAGE.md", 1, true))
    local conditions = 0
    for line in r.out:gmatch "\n  (%S[^\n]*)" do
      if line:sub(53, 54) == "  " then line = line:sub(1, 54) end -- a remark stands in the second column
      for part in (line .. "   "):gmatch "(%S.-)   " do
        if not line:find("^lower") then
          assert.truthy(filter.compile(part:match "^(.-)%s*$"), part)
          conditions = conditions + 1
        end
      end
    end
    assert.is_true(conditions > 25)
  end)

  it("tells the topics where there is no help for one", function()
    local r = muster { "help", "nosuch" }
    assert.same({ 2, "" }, { r.code, r.out })
    assert.truthy(r.err:find("^muster: no help for 'nosuch'\n"), r.err)
    assert.truthy(r.err:find("Topics: examples, filter, and the commands\n", 1, true), r.err)
    for _, name in ipairs(COMMANDS) do assert.truthy(r.err:find("%f[%l]" .. name .. "%f[^%l]"), name) end
    assert.truthy(muster({ "help", "filtr" }).err:find("Did you mean 'filter'?", 1, true))
  end)

  it("prints its version", function()
    assert.truthy(muster({ "version" }).out:find("muster " .. core.version, 1, true))
    assert.equal(muster({ "version" }).out, muster({ "--version" }).out)
    assert.equal(core.version, core.json_decode(muster({ "version", "--json" }).out).version)
  end)

  it("meets typos with a suggestion", function()
    local r = muster { "regster", "x" }
    assert.same({ 2, "", "muster: unknown command 'regster'. Did you mean 'register'?\n" }, { r.code, r.out, r.err })
    r = muster { "get", "x", "--jsn" }
    assert.same({ 2, "", "muster: unknown option '--jsn'. Did you mean '--json'?\n" }, { r.code, r.out, r.err })
  end)

  it("calls a wrong call one, in one line, with exit code 2", function()
    local wrong = {
      { "get" }, { "get", "a", "b" }, { "unregister" }, { "heartbeat" }, { "register" }, { "receive" },
      { "enumerate", "a", "b" }, { "enumerate", "--limit", "0" }, { "enumerate", "--limit", "x" },
      { "enumerate", "--no-metadata", "--fields", "a" }, { "enumerate", "--sort", "a,,b" },
      { "ls", "a", "--exists", "--count" }, { "ls", "--group-by", "site", "--count" },
      { "ls", "--agg", "avg:load", "--count" }, { "ls", "--count", "--min-revision", "9" },
      { "ls", "--count", "--cursor", "s" }, { "ls", "--exists", "--cursor", "s" },
      { "ls", "--group-by", "site", "--cursor", "s" },
      { "enumerate", "a == :x", "--param", "x" }, { "enumerate", "a == :x", "--param", "x=eu" },
      { "enumerate", "a == :x", "--param", "x=1", "--param", "x=2" }, { "count", "a", "--json-filter", "{}" },
      { "count", "--json-filter", "[]" }, { "count", "--json-filter", "{" }, { "multicast" }, { "multicast", "a" },
      { "multicast", "--all" }, { "multicast", "--all", "a", "b" }, { "multicast", "a", "b", "--expect", "many" },
      { "multicast", "a", "@/does/not/exist" }, { "multicast", "a", "b", "--retries", "11" },
      { "register", "a", "-m", "{" }, { "register", "a", "-m", "[]" }, { "register", "a", "-m", "@/does/not/exist" },
      { "register", "a", "--create", "--replace" }, { "register", "a", "--stdin" }, { "register", "\255" },
      { "register", "a", "-m", '{},"mode":"replace"' }, { "receive", "a", "--ack", "maybe" },
      { "receive", "a", "--count", "0" }, { "receive", "a", "--gateway", "--register" }, { "receive", "a", "-m", "{}" },
      { "explain" }, { "match" }, { "match", "a", "/does/not/exist" }, { "match", "a", "--now", "soon" },
      { "help", "nonsense" }, { "completion", "tcsh" }, { "get", "a", "--color", "sometimes" },
      { "get", "a", "--socket", "x", "--nats-servers", "y" }, { "loadtest" }, { "loadtest", "everything" },
      { "loadtest", "mixed", "--rate", "0" }, { "loadtest", "mixed", "--rate", "-1" },
      { "loadtest", "mixed", "--threshold", "p99<50" }, { "loadtest", "mixed", "--threshold", "p98<50ms" },
      { "loadtest", "mixed", "--threshold", "nonsense" }, { "loadtest", "mixed", "--duration", "soon" },
      { "loadtest", "mixed", "--filter", "a =< 1" }, { "loadtest", "mixed", "--redis-addr", "a:b:c" },
      { "serve", "--socket", "x", "--no-socket" }, { "--nonsense" }, { "demo", "--nonsense" },
    }
    for _, words in ipairs(wrong) do
      local r = muster(words)
      local what = table.concat(words, " ") .. ": " .. r.out .. r.err
      assert.equal(2, r.code, what)
      assert.equal("", r.out, what)
      assert.truthy(r.err:find "^muster: [^\n]+\n", what)
      assert.is_nil(r.err:find("traceback", 1, true), what)
    end
  end)

  it("wants percentages that add up", function()
    local r = muster { "loadtest", "mixed", "--register-pct", "60" }
    assert.same({ 2, "muster: percentages must add up to 100, got 110\n" }, { r.code, r.err })
  end)

  it("says how to start a server where there is none, with exit code 4", function()
    local path = process.path "nobody.sock"
    local r = muster { "get", "a", "--socket", path }
    assert.equal(4, r.code)
    assert.equal("", r.out)
    assert.truthy(r.err:find "^muster: [^\n]+muster serve[^\n]*\n$", r.err)
    r = muster { "get", "a", "--nats-servers", "nats://127.0.0.1:" .. core.free_port() }
    assert.equal(4, r.code)
    assert.truthy(r.err:find "^muster: [^\n]+\n$", r.err)
  end)

  it("puts the error on standard output too where JSON is asked for", function()
    local r = muster { "get", "a", "--json", "--socket", process.path "nobody.sock" }
    assert.equal(4, r.code)
    assert.equal("ECONNECT", core.json_decode(r.out).error.code)
    r = muster { "get", "--json" }
    assert.equal(2, r.code)
    assert.equal("EINVAL", core.json_decode(r.out).error.code)
  end)

  it("takes the place of the server from the environment", function()
    core.setenv("MUSTER_URL", "unix:" .. process.path "elsewhere.sock")
    local r = muster { "get", "a" }
    core.setenv("MUSTER_URL", "http://x")
    local bad = muster { "get", "a" }
    core.setenv("MUSTER_URL", "")
    assert.equal(4, r.code)
    assert.truthy(r.err:find("elsewhere.sock", 1, true))
    assert.equal(2, bad.code)
  end)

  it("colours only where it is wanted", function()
    local no_one = { "get", "a", "--socket", process.path "nobody.sock" }
    assert.is_nil(muster(no_one).err:find("\27", 1, true))
    core.setenv("FORCE_COLOR", "1")
    local forced = muster(no_one)
    core.setenv("NO_COLOR", "1")
    local refused = muster(no_one)
    core.setenv("FORCE_COLOR", "")
    core.setenv("NO_COLOR", "")
    no_one[#no_one + 1] = "--color=always"
    assert.truthy(forced.err:find("\27[31m", 1, true))
    assert.is_nil(refused.err:find("\27", 1, true))
    assert.truthy(muster(no_one).err:find("\27[31m", 1, true))
  end)

  it("completes for bash, zsh and fish", function()
    local bash = muster { "completion", "bash" }
    assert.equal(0, bash.code)
    assert.equal(0, process.run { "bash", "-n", process.write("completion", bash.out) }.code)
    assert.truthy(muster({ "completion", "zsh" }).out:find "^#compdef muster")
    assert.truthy(muster({ "completion", "fish" }).out:find("complete -c muster", 1, true))
  end)

  it("ends quietly when nobody reads on", function()
    local command = ("%s help examples | head -n 1; exit ${PIPESTATUS[0]}"):format(process.quote(process.program))
    assert.equal("", process.run({ "bash", "-c", command }).err)
  end)

  describe("configuration", function()
    local function serve(content, ...)
      return muster { "serve", "-c", process.write("muster.lua", content), ... }
    end

    it("with an unknown key is refused with a suggestion", function()
      local r = serve "return { redis_adr = '127.0.0.1' }"
      assert.equal(78, r.code)
      assert.truthy(r.err:find("unknown setting 'redis_adr'; did you mean 'redis_addr'?", 1, true), r.err)
    end)

    it("that is none is refused", function()
      local wrong = { "return 5", "return {", "error 'x'", "return { redis_db = 'x' }", "return { socket = true }",
                      "return { log_level = 'loud' }", "return { redis_db = 1.5 }", "return { socket = false }",
                      "return { redis_addr = 'a:b:c' }", "\27LJ", "return io.open" }
      for _, content in ipairs(wrong) do
        local r = serve(content)
        assert.equal(78, r.code, content .. ": " .. r.err)
        assert.truthy(r.err:find "^muster: [^\n]+\n$", r.err)
      end
      assert.equal(78, muster({ "serve", "-c", "/does/not/exist" }).code)
    end)
  end)
end)
