-- SPDX-License-Identifier: Apache-2.0
-- What the command line says: in its own words, with a place, once, and so that bytes can be told apart.
local core = require "muster.core"
local output = require "muster.cli.output"
local process = require "support.process"
local wording = require "muster.cli.wording"

local socket

local function expect(code, words)
  words[#words + 1], words[#words + 2] = "--socket", socket
  local r = process.muster(words)
  assert.equal(code, r.code, r.out .. r.err)
  return r
end

local function receive(name, words)
  local full = { "receive", "--register", "--socket", socket }
  for _, word in ipairs(words) do full[#full + 1] = word end
  local receiver = process.start_muster(name, full)
  process.wait_for(receiver, "receiving as")
  return receiver
end

describe("what the command line says", function()
  local server
  setup(function()
    socket = process.path "control.sock"
    server = process.serve { "--socket", socket }
  end)
  teardown(function()
    process.stop(server)
    process.stop_all()
  end)

  it("names options, not the keys of requests", function()
    local r = expect(1, { "multicast", "", "x" })
    assert.truthy(r.err:find("; if that is meant, add --all\n", 1, true), r.err)
    r = expect(1, { "multicast", "", "x", "--json" })
    assert.truthy(core.json_decode(r.out).error.hint:find('"all": true', 1, true), r.out)
    r = expect(2, { "register", "a", "--ttl", "0.1" })
    assert.truthy(r.err:find "^muster: %-%-ttl: expected 1s .+; a lease that does not end is %-%-ttl never\n$", r.err)
    assert.equal('did you mean "all"?', wording.hint 'did you mean "all"?')
    assert.equal("a lower --limit, fewer --fields, or --report summary",
      wording.hint 'a lower "limit", fewer "fields", or "report": "summary"')
    assert.equal('key "id": no', wording.reword({ message = 'key "id": no' }).message)
  end)

  it("has the code of what was refused in front, as the lines of --stdin have", function()
    expect(0, { "register", "there", "--owner", "me" })
    assert.equal("muster: EEXISTS: identity there already registered\n",
      expect(1, { "register", "there", "--create" }).err)
    assert.truthy(expect(1, { "register", "there", "--owner", "you" }).err:find "^muster: EOWNER: ")
    assert.truthy(expect(1, { "get", "nobody" }).err:find "^muster: ENOTFOUND: ")
    assert.truthy(expect(2, { "get", "there", "--limit", "1" }).err:find "^muster: unknown option '%-%-limit'")
  end)

  it("shows where a path is wrong", function()
    local r = expect(2, { "ls", "--sort", "a,-si te" })
    assert.equal('muster: --sort: 1:4: expected "." or "["', r.err:match "^[^\n]+")
    assert.truthy(r.err:find("\n  -si te\n     ^ a name with other characters ", 1, true), r.err)
    assert.truthy(r.err:find("stands in back-quotes: `a b`\n", 1, true), r.err)
    r = expect(2, { "ls", "--fields", "ok,ü..x", "--json" })
    assert.truthy(r.err:find('muster: --fields: 1:3: expected a field name\n  ü..x\n    ^ ', 1, true), r.err)
    local e = core.json_decode(r.out).error
    assert.same({ "EINVAL", 3, 1, 3 }, { e.code, e.at.offset, e.at.line, e.at.column })
    assert.truthy(e.message:find('key "fields": path "ü..x": ', 1, true), e.message)
    expect(0, { "ls", "--sort", "`si te`,-a.b" })
  end)

  it("says once what is wrong with a filter, and once what to do", function()
    local r = expect(2, { "ls", "a == 1 and" })
    assert.equal("muster: filter: 1:11: unexpected end of filter\n" ..
      "  a == 1 and\n            ^ the filter ends too early\n", r.err)
  end)

  it("says what was received but not processed", function()
    local half = receive("half", { "half", "-n", "ack", "--ack", "received" })
    local r = expect(3, { "multicast", "-n", "ack", "--all", "x", "--ack", "processed", "--timeout", "100ms" })
    local row = "\n  received     half +not processed within 100ms\n$"
    assert.truthy(r.out:find(row), r.out)
    for _, report in ipairs { "failed", "all", "summary" } do
      r = expect(3, { "multicast", "-n", "ack", "--all", "x", "--ack", "processed", "--timeout", "100ms", "--report",
                      report })
      assert.truthy(r.out:find(row), r.out)
    end
    r = expect(3, { "multicast", "-n", "ack", "--all", "x", "--ack", "processed", "--timeout", "100ms", "--report",
                    "failed", "--json" })
    assert.equal("half", core.json_decode(r.out).receipts[1].id)
    r = expect(0, { "multicast", "-n", "ack", "--all", "x", "--report", "failed", "--json" })
    assert.equal(0, #core.json_decode(r.out).receipts)
    r = expect(0, { "multicast", "-n", "ack", "--all", "x" })
    assert.is_nil(r.out:find("processed", 1, true), r.out)
    process.stop(half)
  end)

  it("shows payloads so that no two look the same", function()
    local receiver = receive("bytes", { "b", "-n", "bytes", "--count", "4" })
    for _, payload in ipairs { "a\\nb", "a\nb", "ü\255\\xff", "\192\128\194\155" } do
      local path = process.write("payload", payload)
      expect(0, { "multicast", "-n", "bytes", "--all", "@" .. path })
    end
    assert.equal(0, process.wait(receiver))
    assert.equal("receiving as b\na\\\\nb\na\\nb\nü\\xff\\\\xff\n\\xc0\\x80\\u009b\n", process.read(receiver.log))
    local big = ("\255"):rep(300000)
    assert.equal(1200000, #output.exact(big))
    assert.equal("C:\\x", output.visible "C:\\x")
  end)

  it("cuts a long line around the place", function()
    local r = expect(2, { "count", ("a"):rep(100000) })
    assert.truthy(#r.err < 400, r.err)
    assert.truthy(r.err:find("\n  ..." .. ("a"):rep(120) .. "...\n" .. (" "):rep(65) .. "^\n", 1, true), r.err)
    r = expect(2, { "count", "x == 1 and\n" .. ("ü"):rep(1000) .. " =< 5 and b == 2" })
    assert.truthy(r.err:find("\n  ..." .. ("ü"):rep(59) .. " =< 5 and b == 2\n" .. (" "):rep(65) .. "^^ did", 1, true),
      r.err)
    r = expect(2, { "count", "b == " .. ("x"):rep(3000) .. "(a)" })
    assert.truthy(#r.err < 600, r.err)
    r = expect(2, { "count", "b " .. ("x"):rep(3000) })
    assert.truthy(#r.err < 600, r.err)
    r = expect(2, { "count", "a == 1 and " .. ("\255"):rep(3000) })
    assert.truthy(#r.err < 600, r.err)
  end)

  it("warns of parameters that the filter does not use, and says which there are where one is missing", function()
    local function err(code, ...) return expect(code, { "count", ... }).err end
    local warning = "muster: warning: parameter extra is not used in the filter\n"
    assert.equal(warning, err(0, "a == :b", "--param", "b=1", "--param", "extra=1"))
    assert.equal(warning, err(0, "--param", "extra=1"))
    assert.equal("", err(0, "a == :b", "--param", ":b=1"))
    assert.equal("", err(0, "a == $1", "--param", "$1=1"))
    assert.equal("", err(0, "a == :b", "--param", "b=1", "--param", "extra=1", "-q"))
    assert.equal('muster: parameter "low" is not bound; none is given\n', err(2, "a == :low"))
    assert.equal('muster: parameter "low" is not bound; given: "lo", "x"\n',
      err(2, "a == :low and b == :x", "--param", "lo=1", "--param", "x=1"):gsub("^muster: warning[^\n]+\n", "") .. "")
    assert.truthy(err(2, "a == :low", "--param", ("x"):rep(900) .. "=1"):find('given: ..\n', 1, true))
    local r = process.muster({ "match", "a == :b", "--param", "b=1", "--param", "extra=1" }, '{"a":1}\n')
    assert.same({ 0, '{"a":1}\n', warning }, { r.code, r.out, r.err })
  end)

  it("aligns what is wide, and shows what turns the direction of writing", function()
    for _, id in ipairs { "日本", "plain", "grüße", "a\226\128\174b" } do expect(0, { "register", id, "-n", "wide" }) end
    local r = expect(3, { "multicast", "-n", "wide", "--all", "x", "--timeout", "1s" })
    for _, row in ipairs { "日本           nobody", "plain          nobody", "grüße          nobody",
                           "a\\u202eb       nobody" } do
      assert.truthy(r.out:find("  no_receiver  " .. row, 1, true), r.out)
    end
    assert.equal("\\u200b\\u200f\\u202a\\u2066\\u2069-\226\128\144\226\129\170", output.visible(
      "\226\128\139\226\128\143\226\128\170\226\129\166\226\129\169-\226\128\144\226\129\170"))
    assert.same({ 4, 5, 2, 1, 2, 3 }, { output.width "日本", output.width "\27[31mgrüße\27[0m", output.width "😀",
      output.width "e\204\129", output.width "Ａ", output.width "abc" })
    expect(0, { "register", "m", "-n", "mark", "-m", '{"a":"x\226\128\174y"}', "--ttl", "never" })
    assert.equal('m\t-\t{"a":"x\\u202ey"}\n', expect(0, { "ls", "-n", "mark" }).out)
    assert.truthy(expect(0, { "ls", "-n", "mark", "--json" }).out:find('x\226\128\174y', 1, true))
  end)

  it("calls a socket that is taken no wrong configuration", function()
    local r = process.muster { "serve", "--socket", socket }
    assert.equal(1, r.code)
    assert.truthy(r.err:find "^muster: EBUSY: [^\n]+another program listens on it; [^\n]+%-%-socket[^\n]+\n$", r.err)
    assert.equal(78, process.muster({ "serve", "--socket", "/does/not/exist/x.sock" }).code)
  end)
end)
