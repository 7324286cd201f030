-- SPDX-License-Identifier: Apache-2.0
-- Every verb from the command line, against `muster serve` in memory.
local core = require "muster.core"
local process = require "support.process"

local socket

local function muster(words, input)
  local full = { "--socket", socket }
  table.insert(full, 1, table.remove(words, 1))
  for _, word in ipairs(words) do full[#full + 1] = word end
  return process.muster(full, input)
end

local function expect(code, words, input)
  local r = muster(words, input)
  assert.equal(code, r.code, r.out .. r.err)
  return r
end

local function json(words, input)
  words[#words + 1] = "--json"
  return core.json_decode(expect(0, words, input).out)
end

local function lines(text)
  local found = {}
  for line in text:gmatch "[^\n]+" do found[#found + 1] = line end
  return found
end

-- A receiver in the background, ready.
local function receive(name, words)
  local full = { "receive", "--socket", socket }
  for _, word in ipairs(words) do full[#full + 1] = word end
  local receiver = process.start_muster(name, full)
  process.wait_for(receiver, "receiving as")
  return receiver
end

describe("muster serve in memory", function()
  local server
  setup(function()
    socket = process.path "control.sock"
    server = process.serve { "--socket", socket }
  end)
  teardown(function()
    local status = process.stop(server)
    process.stop_all()
    assert.equal(0, status)
  end)

  it("says where it serves", function()
    assert.truthy(process.read(server.log):find("muster serving on unix:" .. socket .. "   registry memory", 1, true))
  end)

  it("registers, renews, shows and removes", function()
    local first = json { "register", "sensor-1", "-m", ' {"site": "hq",\n "big": 9007199254740993} ', "--ttl", "5m" }
    assert.is_true(first.created)
    assert.is_true(math.abs(first.expires_at - core.now() - 300000) < 5000)
    assert.truthy(expect(0, { "register", "sensor-1" }).out:find "^renewed sensor%-1 ")
    expect(0, { "register", "sensor-1", "-m", '{"site": "hq",\n "big": 9007199254740993}' })
    -- as registered, but for the line break
    assert.truthy(expect(0, { "get", "sensor-1" }).out:find('{"site": "hq",  "big": 9007199254740993}', 1, true))
    local shown = expect(0, { "get", "sensor-1", "--json" }).out
    assert.truthy(shown:find('"metadata":{"site": "hq",  "big": 9007199254740993}', 1, true), shown)
    assert.equal("1 renewed\n", expect(0, { "heartbeat", "sensor-1", "--ttl", "10m" }).out)
    assert.is_true(json({ "get", "sensor-1" }).expires_at - core.now() > 500000)
    local r = expect(1, { "heartbeat", "sensor-1", "nobody" })
    assert.truthy(r.err:find("not registered: nobody", 1, true))
    r = expect(0, { "unregister", "sensor-1", "nobody" })
    assert.equal("removed sensor-1\nwas not registered: nobody\n", r.out)
    r = expect(1, { "get", "sensor-1" })
    assert.truthy(r.err:find "^muster: [^\n]+\n$")
    r = muster { "get", "sensor-1", "--json" }
    assert.equal("ENOTFOUND", core.json_decode(r.out).error.code)
  end)

  it("keeps the promises of create, replace, owner and if-revision", function()
    local made = json { "register", "c", "--create", "--owner", "me" }
    expect(1, { "register", "c", "--create" })
    expect(1, { "register", "c", "--mode", "create" })
    expect(1, { "register", "c", "--owner", "you" })
    expect(0, { "register", "c", "--owner", "you", "--replace" })
    expect(1, { "register", "c", "--owner", "you", "--if-revision", ("%d"):format(made.revision) })
    expect(0, { "unregister", "c" })
    expect(0, { "register", "c", "--if-revision", "0", "--ttl", "never" })
    assert.equal(core.null, json({ "get", "c" }).expires_at)
    expect(2, { "register", "c", "--mode", "sometimes" })
    expect(2, { "register", "c", "--ttl", "0.5" })
    expect(2, { "register", "c", "--ttl", "soon" })
    expect(0, { "unregister", "c" })
  end)

  it("registers lines of standard input in batches", function()
    local input = {}
    for i = 1, 1234 do input[i] = ('{"id":"bulk-%d","metadata":{"n":%d},"ttl":60}'):format(i, i) end
    input[600] = '{"id":"bulk-600","metdata":{}}'
    input[700] = "not json"
    input[800] = ""
    input[900] = "[1]"
    local r = expect(1, { "register", "-n", "bulk", "--stdin" }, table.concat(input, "\n"))
    assert.equal("1,230 accepted, 3 rejected\n", r.out)
    assert.same({
      'line 600: EINVAL: unknown key "metdata"; did you mean "metadata"?',
      'line 700, column 1: EJSON: unexpected "n", expected a value',
      'line 900: EINVAL: expected a JSON object',
    }, lines(r.err))
    assert.equal("1230\n", expect(0, { "count", "-n", "bulk" }).out)
    r = expect(1, { "register", "-n", "bulk", "--stdin", "--json" }, '{"id":"x"}\n{"id":""}\n')
    local answers = lines(r.out)
    assert.equal("x", core.json_decode(answers[1]).id)
    r = expect(1, { "register", "-n", "bulk", "--stdin" },
      '{"id":"y","no":1}\n  [\n{"id":"z"}\n{"id":""}\n' .. ("x"):rep(70000) .. '\n{"id":"\\u0001"}\n{"id":1,}')
    local numbers = {}
    for _, line in ipairs(lines(r.err)) do numbers[#numbers + 1] = line:match "^line ([^:]+): E" end
    assert.same({ "1", "2, column 4", "4", "5", "6", "7, column 9" }, numbers)
    assert.truthy(r.err:find('^line 1: EINVAL: unknown key "no"; known keys: id, metadata, ', 1), r.err)
    assert.same({ 2, "EID" }, { core.json_decode(answers[2]).line, core.json_decode(answers[2]).error.code })
  end)

  it("lists page by page", function()
    local input = {}
    for i = 1, 12345 do input[i] = ('{"id":"p%05d","metadata":{"n":%d},"ttl":"never"}'):format(i, i) end
    expect(0, { "register", "-n", "pages", "--stdin", "-q" }, table.concat(input, "\n"))
    local listed = lines(expect(0, { "enumerate", "-n", "pages" }).out)
    assert.equal(12345, #listed)
    table.sort(listed)
    assert.equal('p00001\t-\t{"n":1}', listed[1])
    assert.equal('p12345\t-\t{"n":12345}', listed[12345])
    assert.equal(11000, #lines(expect(0, { "ls", "-n", "pages", "--limit", "11000" }).out))
    assert.equal(3, #lines(expect(0, { "ls", "n > 100", "-n", "pages", "--limit", "3" }).out))
    local last = expect(0, { "ls", "-n", "pages", "--sort", "-n", "--limit", "2", "--no-metadata" })
    assert.equal("p12345\t-\np12344\t-\n", last.out)
    local sorted = expect(0, { "ls", "-n", "pages", "--sort", "n" })
    for i, line in ipairs(lines(sorted.out)) do assert.equal(('p%05d\t-\t{"n":%d}'):format(i, i), line) end
    assert.equal(12345, #lines(sorted.out))
    assert.equal("", sorted.err)
    assert.equal(10500, #lines(expect(0, { "ls", "-n", "pages", "--sort", "-n", "--limit", "10500" }).out))
    assert.equal("12345\n", expect(0, { "ls", "-n", "pages", "--count" }).out)
  end)

  it("goes on where --limit has stopped, and says how", function()
    local words = { "ls", "n <= 5", "-n", "pages", "--sort", "n", "--limit", "2", "--no-metadata" }
    local first = expect(0, { unpack(words) })
    local cursor = first.err:match "^2 of 5 that match; go on with %-%-cursor (%S+)\n$"
    assert.truthy(cursor, first.err)
    local second = expect(0, { "ls", "n <= 5", "-n", "pages", "--sort", "n", "--limit", "2", "--no-metadata",
                               "--cursor", cursor })
    assert.equal("p00003\t-\np00004\t-\n", second.out)
    local last = expect(0, { "ls", "n <= 5", "-n", "pages", "--sort", "n", "--json", "--cursor",
                             second.err:match "%-%-cursor (%S+)" })
    assert.equal("p00005", core.json_decode(last.out).id)
    assert.equal("", last.err)
    assert.equal("", expect(0, { "ls", "n <= 5", "-n", "pages", "--limit", "5" }).err)
    assert.equal("", expect(0, { "ls", "n <= 5", "-n", "pages", "--limit", "2", "-q" }).err)
    local r = expect(2, { "ls", "n <= 6", "-n", "pages", "--sort", "n", "--cursor", cursor })
    assert.truthy(r.err:find "^muster: %-%-cursor: belongs to another filter", r.err)
  end)

  it("holds to --min-revision with --exists, too", function()
    expect(0, { "ls", "-n", "pages", "--exists" })
    assert.truthy(expect(1, { "ls", "-n", "pages", "--exists", "--min-revision", "999999999" }).err:find "EREVISION")
  end)

  it("lists fields, sorted, and as JSON", function()
    for id, metadata in pairs { a = '{"r":"eu","l":3}', b = '{"r":"us","l":1}', c = '{"r":"eu","l":7}' } do
      expect(0, { "register", "-n", "lists", id, "-m", metadata, "--ttl", "1h" })
    end
    local listed = lines(expect(0, { "ls", "-n", "lists", "--sort", "r,-l", "--fields", "l" }).out)
    assert.truthy(listed[1]:find '^c\t3[56]%d%d\t{"l":7}$', listed[1])
    assert.truthy(listed[2]:find "^a\t" and listed[3]:find "^b\t")
    local objects = lines(expect(0, { "ls", "-n", "lists", 'r == "eu"', "--json", "--sort", "l" }).out)
    assert.equal(2, #objects)
    assert.same({ r = "eu", l = 3 }, core.json_decode(objects[1]).metadata)
    assert.equal("2\n", expect(0, { "count", "-n", "lists", "r == :r", "--param", 'r="eu"' }).out)
    assert.equal("1\n", expect(0, { "count", "-n", "lists", "--json-filter", '{"l.gt":5}' }).out)
    assert.equal("", expect(0, { "ls", "-n", "lists", "l > 100" }).out)
    expect(1, { "ls", "-n", "lists", "l > 100", "--fail-empty" })
    expect(1, { "count", "-n", "lists", "l > 100", "--fail-empty" })
  end)

  it("aligns columns for a terminal", function()
    local inner = process.command { process.program, "ls", "-n", "lists", "--socket", socket, "--fields", "r,nope",
                                    "--sort", "l" }
    if process.run({ "script", "-qec", "true", "/dev/null" }).code ~= 0 then
      return pending "no pseudo-terminal here"
    end
    local r = process.run { "script", "-qec", "NO_COLOR=1 " .. inner, "/dev/null" }
    local rows = lines((r.out:gsub("\r", "")))
    assert.truthy(rows[1]:find "^ID  LEASE +r   nope$", r.out)
    assert.truthy(rows[2]:find "^b   %w+ +us  %-$", r.out)
  end)

  it("shows where a filter is wrong, with exit code 2", function()
    local r = expect(2, { "ls", 'region == "eu" and load =< 5' })
    assert.truthy(r.err:find("muster: filter: 1:25: ", 1, true), r.err)
    assert.truthy(r.err:find("\n" .. (" "):rep(26) .. "^^", 1, true), r.err)
    r = muster { "ls", "load =< 5", "--json" }
    local e = core.json_decode(r.out).error
    assert.same({ "EFILTER", 5, 1, 6 }, { e.code, e.at.offset, e.at.line, e.at.column })
    expect(2, { "ls", "a == :x" })
    expect(2, { "ls", "-n", "no/namespace" })
  end)

  it("explains", function()
    expect(0, { "register", "-n", "why", "s1", "-m", '{"battery":97,"site":"hq"}' })
    local r = expect(0, { "explain", "-n", "why", 'site == "hq" and battery < 20', "--id", "s1" })
    assert.truthy(r.out:find "s1 does NOT match\n", r.out)
    assert.truthy(r.out:find 'true   site == "hq" +value "hq"', r.out)
    assert.truthy(r.out:find "FALSE  battery < 20 +value 97", r.out)
    r = expect(0, { "explain", "-n", "why", "not (fw < 5)" })
    assert.truthy(r.out:find("matches  1 of 1 identities, 100.0 %", 1, true), r.out)
    assert.is_true(json({ "explain", "-n", "why", "battery > 5", "--id", "s1" }).matches)
    expect(1, { "explain", "-n", "why", "battery > 5", "--id", "nobody" })
  end)

  it("sends and receives", function()
    expect(0, { "register", "-n", "send", "r2", "-m", '{"on":true}' })
    local r1 = receive("r1", { "r1", "-n", "send", "--register", "-m", '{"on":true}', "--ttl", "2s", "--count", "3" })
    local r = expect(3, { "multicast", "-n", "send", "on", '{"cmd":"ping"}', "--timeout", "2s" })
    assert.truthy(r.out:find "^2 matched   1 received   1 no_receiver   in [%d.]+ m?s\n", r.out)
    assert.truthy(r.out:find "\n  no_receiver  r2 +nobody listens", r.out)
    core.sleep(2.2) -- longer than the lease: it is renewed
    local guarded = { "multicast", "-n", "send", '@id == "r1"', "-", "--expect", "1", "--max-targets", "1" }
    r = expect(0, guarded, "two\nlines\27[2J")
    assert.truthy(r.out:find "^1 matched   1 received", r.out)
    local answer = json { "multicast", "-n", "send", "on", "@" .. process.write("payload", "\255\0"), "--ack", "none" }
    assert.equal(2, answer.targets)
    assert.equal(0, process.wait(r1))
    assert.equal('receiving as r1\n{"cmd":"ping"}\ntwo\\nlines\\x1b[2J\n\\xff\\x00\n', process.read(r1.log))
  end)

  it("ends with 5 where nobody answers in time, with 0 where nothing matches", function()
    local mute = receive("mute", { "mute", "-n", "late", "--register", "--ack", "none" })
    local r = expect(5, { "multicast", "-n", "late", "--all", "x", "--timeout", "100ms" })
    assert.truthy(r.out:find "^1 matched   1 timeout   in %d+%.%d ms", r.out)
    assert.equal("", expect(5, { "multicast", "-n", "late", "--all", "x", "--timeout", "50ms", "-q" }).out)
    expect(0, { "multicast", "-n", "late", "--all", "x", "--ack", "none" })
    expect(0, { "multicast", "-n", "late", "nope == 1", "x" })
    expect(1, { "multicast", "-n", "late", "nope == 1", "x", "--fail-empty" })
    assert.equal(143, process.stop(mute))
  end)

  it("has guards before it sends", function()
    expect(0, { "register", "-n", "guard", "g1" })
    expect(1, { "multicast", "-n", "guard", "", "x" })
    expect(1, { "multicast", "-n", "guard", "--all", "x", "--expect", "5" })
    expect(3, { "multicast", "-n", "guard", "--all", "x", "--expect", "2~50" })
    expect(1, { "multicast", "-n", "guard", "--all", "x", "--max-targets", "0" })
    local r = expect(0, { "multicast", "-n", "guard", "@id startswith 'g'", "--dry-run" })
    assert.truthy(r.out:find "^1 would get it   digest %x+\n  g1\n$", r.out)
  end)

  it("acknowledges as told", function()
    local failing = receive("failing", { "f", "-n", "acks", "--register", "--ack", "fail:EBUSY not now" })
    local done = receive("done", { "d", "-n", "acks", "--register", "--ack", "processed", "--json" })
    local r = expect(3, { "multicast", "-n", "acks", "--all", "job", "--ack", "processed", "--timeout", "2s" })
    assert.truthy(r.out:find "^2 matched   1 processed   1 failed", r.out)
    assert.truthy(r.out:find "\n  failed       f +EBUSY not now", r.out)
    local got = core.json_decode(process.wait_for(done, "\n{.-}\n"):match "\n({.-})\n")
    assert.same({ "d", "job", "muster.acks.to.d" }, { got.id, got.payload, got.subject })
    process.stop(failing)
    process.stop(done)
  end)

  it("takes the envelopes of a gateway apart", function()
    for _, id in ipairs { "u1", "u2", "u3" } do expect(0, { "register", "-n", "gate", id, "--gateway", "edge" }) end
    local gateway = receive("gateway", { "--gateway", "edge", "-n", "gate", "--count", "3" })
    expect(0, { "multicast", "-n", "gate", "--all", "hello\nthere" })
    assert.equal(0, process.wait(gateway))
    local got = lines(process.read(gateway.log))
    table.sort(got)
    assert.same({ "receiving as gateway edge", "u1\thello\\nthere", "u2\thello\\nthere", "u3\thello\\nthere" }, got)
  end)

  it("stores no hostile id and writes none to a terminal", function()
    for _, id in ipairs { "", "a\nb", "a\27[2J", ("x"):rep(256), "\255", "a\1" } do
      local r = muster { "register", "-n", "hostile", id }
      assert.equal(2, r.code, ("%q"):format(id) .. r.err)
      assert.is_nil(r.err:find("\27", 1, true))
      assert.truthy(r.err:find "^muster: [^\n]+\n$", r.err)
    end
    local odd = { "a b", "*", ">", "a.b.c", "../../etc", "-x", "\"quoted\"", "'; rm", "ü", ("x"):rep(255), "{}",
                  "%s%n", "\\n" }
    for _, id in ipairs(odd) do expect(0, { "register", "-n", "hostile", "--ttl", "1h", "--", id }) end
    local listed = {}
    for _, line in ipairs(lines(expect(0, { "ls", "-n", "hostile", "--json" }).out)) do
      listed[#listed + 1] = core.json_decode(line).id
    end
    table.sort(listed)
    table.sort(odd)
    assert.same(odd, listed)
    for _, id in ipairs(odd) do expect(0, { "get", "-n", "hostile", "--", id }) end
    local r = muster { "multicast", "-n", "hostile", "--all", "x", "--ack", "none" }
    assert.truthy(r.out:find("^" .. #odd .. " matched"), r.out)
  end)

  it("keeps namespaces apart", function()
    expect(0, { "register", "-n", "one", "same" })
    assert.equal("0\n", expect(0, { "count", "-n", "two" }).out)
    core.setenv("MUSTER_NAMESPACE", "one")
    local r = muster { "count" }
    core.setenv("MUSTER_NAMESPACE", "")
    assert.equal("1\n", r.out)
  end)

  it("refuses a second server on its socket", function()
    local r = process.muster { "serve", "--socket", socket }
    assert.equal(1, r.code) -- 78 would keep systemd from trying again
    assert.truthy(r.err:find "^muster: [^\n]+\n$", r.err)
    expect(0, { "count" })
  end)

  it("tells a receiver that it is gone", function()
    local own = process.path "short.sock"
    local short = process.serve({ "--socket", own }, "short")
    local receiver = process.start_muster("orphan", { "receive", "a", "--socket", own })
    process.wait_for(receiver, "receiving as")
    assert.equal(0, process.stop(short, 2))
    assert.equal(4, process.wait(receiver))
    assert.truthy(process.read(receiver.log):find "\nmuster: [^\n]+\n$")
    assert.equal("", process.read(own))
  end)

  it("uses a folder of its own for the default socket", function()
    local default = process.serve({}, "default")
    local mode = process.run { "stat", "-c", "%a", process.path "muster" }
    assert.equal("700\n", mode.out)
    assert.equal("0\n", process.muster({ "count" }).out)
    assert.equal(0, process.stop(default))
  end)
end)
