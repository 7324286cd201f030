-- SPDX-License-Identifier: Apache-2.0
-- Input made to hurt: it is refused or answered, never a crash, never an error for a single row, and never in a time
-- that grows faster than the input. Times are compared with those of inputs of the same kind, so that a slow or busy
-- machine does not matter.
local core = require "muster.core"
local filter = require "muster.filter"
local oracle = require "muster.filter.oracle"
local value = require "muster.filter.value"

local WIDE = { limits = { depth = 64, clauses = 5000, bytes = 4000000, list = 100000 }, regex_check = core.regex_check }
local FLOOR = 1e-4 -- seconds; what is shorter is noise

-- Seconds, the best of some runs.
local function cost(run)
  local best = math.huge
  for _ = 1, 5 do
    local began = core.monotonic()
    run()
    best = math.min(best, core.monotonic() - began)
  end
  return math.max(best, FLOOR)
end

-- run(n) must not take more than in proportion to n; 8 times that for caches, collections and a busy machine. The
-- square of the usual factor, 16, is twice as much.
local function linear(name, n, run, factor)
  factor = factor or 16
  local small, big
  for _ = 1, 3 do
    small, big = cost(function() run(n) end), cost(function() run(n * factor) end)
    if big <= small * factor * 8 then return end
  end
  error(("%s: %.3f ms for %d, %.3f ms for %d"):format(name, small * 1e3, n, big * 1e3, n * factor))
end

-- Compiles or refuses, but never by an error of its own.
local function compile(text, options)
  local compiled, message, code, detail = filter.compile(text, options)
  if compiled then return compiled end
  assert.equal("EFILTER", code)
  assert.not_equal("internal", detail.error, message)
  return nil, message, detail
end

local function compile_json(text, options)
  local compiled, message, code, detail = filter.compile_json(text, options)
  if compiled then return compiled end
  assert.equal("EFILTER", code)
  assert.not_equal("internal", detail.error, message)
  return nil, message, detail
end

local function matcher(text, params)
  local compiled = assert(filter.compile(text, WIDE))
  return assert(core.matcher { program = compiled.program, params = params, now = 1760000000000 }), compiled
end

local function repeated(open, inside, close)
  return function(n) return open:rep(n) .. inside .. (close or ""):rep(n) end
end

describe("a filter as text", function()
  it("of 100,000 parentheses costs no more than one of 100,000 letters", function()
    for _, hostile in ipairs { ("("):rep(1e5), ("("):rep(5e4) .. "a" .. (")"):rep(5e4), ("["):rep(1e5), (")"):rep(1e5),
                               "a in " .. ("("):rep(1e5), "a == " .. ("{"):rep(1e5) } do
      local plain = ("a"):rep(#hostile)
      assert.is_nil((compile(hostile)))
      assert.is_nil((compile(hostile, WIDE)))
      local usual = cost(function() compile(plain, WIDE) end)
      assert.is_true(cost(function() compile(hostile, WIDE) end) < usual * 20)
      assert.is_true(cost(function() compile(hostile) end) < usual * 20)
    end
  end)

  it("of 64 KiB of `not` costs no more than one of 64 KiB of letters", function()
    for _, word in ipairs { "not ", "NOT\n", "!", "! ", "!(", "not(", "not--\n" } do
      local hostile = word:rep(65536 / #word) .. "a"
      local plain = ("a"):rep(#hostile)
      assert.is_nil((compile(hostile)))
      local _, message = compile(hostile, WIDE)
      assert.is_truthy(message:find("nested too deeply", 1, true), message)
      local usual = cost(function() compile(plain, WIDE) end)
      assert.is_true(cost(function() compile(hostile, WIDE) end) < usual * 20)
    end
  end)

  it("takes a time in proportion to its depth, right or wrong", function()
    local kinds = {
      right = repeated("(", "a == 1", ")"), wrong = repeated("(", "a =< 1", ")"), open = repeated("(", "a == 1"),
      list = repeated("(", "1, 2", ")"), negated = repeated("!(", "a", ")"), arrays = repeated("a == [[", "1", "]]"),
      behind = function(n) return ("("):rep(n) .. "a" .. (" in (1,2))"):rep(n) end,
      quantified = repeated("any(a, ", "it == 1", ")"), mixed = repeated("(not (", "a == ", "))"),
    }
    for name, make in pairs(kinds) do
      linear(name, 4, function(n) for _ = 1, 20 do compile(make(n), WIDE) end end, 4)
    end
  end)

  it("takes a time in proportion to its length, right or wrong", function()
    local kinds = {
      quotes = repeated('"', ""), back_quotes = repeated("`", ""), raw = repeated('r"', ""),
      comments = repeated("/*", ""),
      ended_comments = repeated("/**/", "a"), dashes = repeated("--\n", "a"), spaces = repeated(" ", "a"),
      path = repeated("a.", "a"), digits = repeated("9", ""), units = repeated("1s", ""), escapes = repeated("\\", ""),
      text = function(n) return 'a == "' .. ("\\n"):rep(n) .. '"' end,
      list = function(n) return "a in [" .. ("1,"):rep(n) .. "]" end,
      sum = function(n) return "a == now()" .. (" + 1"):rep(n) end,
      operators = repeated("== ", "a"), word = function(n) return "a " .. ("startswit"):rep(n) .. ' "x"' end,
      joined = function(n) return ("a or "):rep(n) .. "a" end, dangling = function(n) return ("a == 1 or "):rep(n) end,
      like = function(n) return 'a like "' .. ("%a"):rep(n) .. '"' end,
      glob = function(n) return 'a glob "' .. ("*[!a]"):rep(n) .. '"' end,
      version = function(n) return 'a < semver"' .. ("1."):rep(n) .. '0"' end,
      network = function(n) return 'a in cidr"' .. ("1:"):rep(n) .. '/8"' end,
    }
    for name, make in pairs(kinds) do
      linear(name, 250, function(n) compile(make(n), WIDE) end)
    end
  end)

  it("is refused above its limits, at the limit of the defaults", function()
    assert.is_truthy(compile('a == "' .. ("x"):rep(4096 - 7) .. '"'))
    assert.is_nil((compile('a == "' .. ("x"):rep(4097 - 7) .. '"')))
    assert.is_truthy(compile(("("):rep(32) .. "a" .. (")"):rep(32)))
    assert.is_nil((compile(("("):rep(33) .. "a" .. (")"):rep(33))))
    assert.is_truthy(compile(("not "):rep(32) .. "a"))
    assert.is_nil((compile(("not "):rep(33) .. "a")))
  end)
end)

describe("a regular expression", function()
  local HARD = { "(a*)*$b", "(a|a)*c", "(a|aa)+c", "(.*)(.*)(.*)(.*)(.*)c", "(x+x+)+y", "^(([a-z])+.)+[A-Z]([a-z])+$",
                 "(a?){64}a{64}c", "([^b]|a)*c", "(?i)(A+)+C", "a.*a.*a.*a.*c" }

  it("that makes others take for ever is as linear as any", function()
    for _, pattern in ipairs(HARD) do
      local m = matcher(("s matches %s"):format(value.quote(pattern)))
      linear(pattern, 2000, function(n)
        local row = ('{"s":"%s!"}'):format(("a"):rep(n))
        for _ = 1, 4 do assert.is_boolean(m:test(row)) end
      end)
    end
  end)

  it("that is too big or no expression is refused when it is compiled", function()
    for _, pattern in ipairs { "((a{1000}){1000}){1000}", ("(a{1,99})"):rep(120), ("("):rep(1000), ("["):rep(1000),
                               "(?P<n>a)(?P=n)", "(a)\\1", "(?=a)", "(?<!a)", "a**", "\\", "[z-a]", "(?P<>a)",
                               "\\p{Nope}", "x{2,1}", ("a"):rep(1025) } do
      local text = "s matches " .. value.quote(pattern)
      assert.is_nil((compile(text, WIDE)), pattern)
      local compiled = assert(filter.compile("s matches :p", WIDE))
      local params = ('{"p":%s}'):format(value.quote(pattern))
      local made, _, code = core.matcher { program = compiled.program, params = params }
      if made then assert.is_false(made:test '{"s":"a"}') else assert.equal("EFILTER", code) end
    end
  end)

  it("of any random bytes is taken or refused, and what is taken runs", function()
    math.randomseed(7)
    local parts = { "(", ")", "[", "]", "{2}", "{1,3}", "*", "+", "?", "|", "^", "$", ".", "a", "ü", "\\d", "\\", "-",
                    "(?:", "(?i)", "[^", "\\b", "\\pL", "\\Q", "\\E", "\\x{41}", "&&", "\n" }
    local taken = 0
    for _ = 1, 1500 do
      local pattern = ""
      for _ = 1, math.random(1, 12) do pattern = pattern .. parts[math.random(#parts)] end
      local compiled = compile("s matches " .. value.quote(pattern), WIDE)
      if compiled then
        taken = taken + 1
        local m, message = core.matcher { program = compiled.program }
        assert.is_truthy(m, pattern .. ": " .. tostring(message))
        assert.is_boolean(m:test '{"s":"aaüa-1\\n"}')
      end
    end
    assert.is_true(taken > 100 and taken < 1400, tostring(taken))
  end)
end)

describe("like and glob", function()
  it("with many wildcards take a time in proportion to the text", function()
    for _, part in ipairs { "like %a", "like %_", "glob *a", "glob *?", "glob *[!b]" } do
      local op, wildcards = part:match "^(%a+) (.*)$"
      local clause = ("s %s %s"):format(op, value.quote(wildcards:rep(100) .. "b"))
      local m = matcher(clause)
      linear(clause, 1000, function(n) assert.is_false(m:test(('{"s":"%s"}'):format(("a"):rep(n)))) end)
    end
  end)
end)

describe("JSON", function()
  -- Every way that reads JSON: the filter compiler's, the module's, records of a matcher.
  local always = matcher "true"
  local readers = {
    compiler = filter.decode_json,
    module = function(text) return core.json_decode(text) end,
    record = function(text)
      local holds = always:test(text)
      return holds
    end,
  }

  local function refused(text)
    for name, read in pairs(readers) do
      local ok, result = pcall(read, text)
      assert.is_true(ok, name .. ": " .. tostring(result) .. ": " .. text:sub(1, 60))
      assert.is_nil(result, name .. ": " .. text:sub(1, 60))
    end
  end

  it("that is nested 100,000 deep is refused and costs no more than 100,000 letters", function()
    local plain = '{"a":"' .. ("x"):rep(1e5) .. '"}'
    for _, hostile in ipairs { ("["):rep(1e5), ("["):rep(5e4) .. ("]"):rep(5e4), '{"a":' .. ("["):rep(1e5),
                               ('{"a":'):rep(2e4) .. "1" .. ("}"):rep(2e4), ("[{"):rep(5e4) } do
      refused(hostile)
      for _, read in pairs(readers) do
        assert.is_true(cost(function() read(hostile) end) < 40 * cost(function() read(plain) end))
      end
    end
  end)

  it("as a filter of any depth is taken or refused in a time in proportion to it", function()
    for name, make in pairs {
      conjunctions = repeated('{"$and":[', "{}", "]}"), negations = repeated('{"$not":', '{"a":1}', "}"),
      quantifiers = repeated('{"a":{"$elemMatch":', '{"b":1}', "}}"), sums = repeated('{"$add":[1,', "1", "]}"),
      values = function(n) return '{"a":{"$eq":' .. ("["):rep(n) .. ("]"):rep(n) .. "}}" end,
    } do
      for _, n in ipairs { 15, 16, 17, 64, 79, 80, 160, 161, 1000, 20000 } do compile_json(make(n), WIDE) end
      linear(name, 4, function(n) for _ = 1, 10 do compile_json(make(n), WIDE) end end)
      linear(name, 1000, function(n) compile_json(make(n), WIDE) end)
    end
  end)

  it("with many keys and texts is read in a time in proportion to it", function()
    for name, make in pairs {
      keys = function(n)
        local parts = {}
        for i = 1, n do parts[i] = ('"k%d":%d'):format(i, i) end
        return "{" .. table.concat(parts, ",") .. "}"
      end,
      one_prefix = function(n)
        local parts = {}
        for i = 1, n do parts[i] = ('"%s%d":1'):format(("k"):rep(40), n - i) end
        return "{" .. table.concat(parts, ",") .. "}"
      end,
      escapes = function(n) return '{"a":"' .. ("\\u0061\\n"):rep(n) .. '"}' end,
      items = function(n) return '{"a":[' .. ("1,"):rep(n) .. "1]}" end,
      spaces = function(n) return "{" .. (" \n"):rep(n) .. "}" end,
    } do
      local texts = {}
      for reader, read in pairs(readers) do
        linear(name .. ", " .. reader, 500, function(n)
          texts[n] = texts[n] or make(n)
          assert.not_nil(read(texts[n]))
        end)
      end
    end
  end)

  it("with a key twice is refused, however it is written", function()
    for _, text in ipairs { '{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '{"x":{"a":1,"b":2,"a":3}}', '[{"":1,"":2}]',
                            '{"ü":1,"\\u00fc":2}', '{"\\ud83d\\ude00":1,"😀":2}', '{"a":1,"b":[{"c":1,"c":null}]}' } do
      refused(text)
      assert.is_nil((compile_json(text)))
    end
    local parts = {}
    for i = 1, 3000 do parts[i] = ('"k%d":1'):format(i) end
    refused("{" .. table.concat(parts, ",") .. ',"k1500":1}')
  end)

  it("and text that is not valid UTF-8 are refused", function()
    for _, bytes in ipairs { "\128", "\191", "\192\128", "\193\191", "\194", "\194\65", "\224\128\128", "\224\159\191",
                             "\237\160\128", "\237\191\191", "\239\191", "\240\128\128\128", "\240\143\191\191",
                             "\244\144\128\128", "\245\128\128\128", "\248\136\128\128\128", "\252\132\128\128\128\128",
                             "\254", "\255", "\240\159\152", "\226\130", "\255\254a\0" } do
      refused('{"a":"' .. bytes .. '"}')
      refused('{"' .. bytes .. '":1}')
      assert.is_nil((compile('a == "' .. bytes .. '"')))
      assert.is_nil((compile("a" .. bytes .. " == 1")))
      assert.is_nil((compile("`" .. bytes .. "` == 1")))
      assert.is_nil((compile("a -- " .. bytes)))
    end
    for _, text in ipairs { '{"a":"\\ud800"}', '{"a":"\\udc00\\ud800"}', '{"a":"\\ud83dx"}', '{"\\udfff":1}',
                            '{"a":"\\u12g4"}', '{"a":"\\u12"}', '{"a":"\\x41"}', '{"a":"\1"}', '{"a":"\n"}' } do
      refused(text)
    end
    for _, good in ipairs { "\194\128", "\223\191", "\224\160\128", "\237\159\191", "\239\191\191", "\240\144\128\128",
                            "\244\143\191\191" } do
      assert.is_true(matcher('a == "' .. good .. '"'):test('{"a":"' .. good .. '"}'))
    end
  end)

  it("has no NaN and no infinity, however they are spelled", function()
    for _, word in ipairs { "NaN", "nan", "NAN", "-NaN", "+NaN", "-nan", "nan(0)", "Infinity", "-Infinity", "+Infinity",
                            "inf", "-inf", "INF", "1e999", "-1e999", "1e400", ("9"):rep(400), "0x1p1", "0x10",
                            "1.#QNAN", "1.#INF", "NaN()", ".nan", "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+",
                            "0/0", "1_000", "undefined", "None", "True", "nil", "１" } do
      refused(('{"a":%s}'):format(word))
      assert.is_nil((compile_json(('{"a":%s}'):format(word))), word)
      assert.is_nil((compile_json(('{"a":{"$lt":%s}}'):format(word))), word)
    end
  end)
end)

describe("a number in a filter", function()
  it("is finite, or the filter is refused", function()
    for _, number in ipairs { "1e999", "-1e999", "1e309", ("9"):rep(400), "0x" .. ("f"):rep(300), "1e400s", "0x",
                              "1e", "1e+", ("9"):rep(310) .. "w", "+-1", "--1" } do
      assert.is_nil((compile("a == " .. number .. " and b", WIDE)), number)
    end
    -- Words are fields, not numbers.
    for _, word in ipairs { "NaN", "nan", "inf", "Infinity" } do
      local compiled = assert(filter.compile("a == " .. word))
      assert.same({ "a", word }, compiled.fields)
      assert.is_false(matcher("a < " .. word):test '{"a":1}')
    end
  end)

  it("does not become infinite by addition", function()
    for _, text in ipairs { "a < 1e308 + 1e308", "a < now() + 1e300", "a > now() - 1e300", "a < :p + 1e308",
                            'a < t"2025-01-01" + 1e18' } do
      local compiled = compile(text, WIDE)
      local m = compiled and core.matcher { program = compiled.program, params = '{"p":1e308}' }
      if m then
        for _, row in ipairs { '{"a":1}', '{"a":1e308}', '{"a":"2025-01-01"}', "{}" } do
          assert.is_boolean(m:test(row))
        end
      end
    end
  end)

  local NUMBERS = { "0", "-0", "-0.0", "1", "9007199254740992", "9007199254740993", "9007199254740992.0",
                    "9223372036854775806", "9223372036854775807", "9223372036854775808", "9223372036854775809",
                    "-9223372036854775807", "-9223372036854775808", "-9223372036854775809", "9.223372036854775807e18",
                    "18446744073709551615", "18446744073709551616", "1e19", "1e300", "-1e300", "5e-324", "0.1",
                    "123456789012345678901234567890", "1.7976931348623157e308" }

  it("beyond int64 has the same order in the engine, the oracle and the record", function()
    for _, a in ipairs(NUMBERS) do
      for _, op in ipairs { "==", "<", "<=", ">", ">=", "!=" } do
        local m, compiled = matcher(("a %s %s"):format(op, a))
        for _, b in ipairs(NUMBERS) do
          local row = ('{"a":%s}'):format(b)
          assert.equal(oracle.match(compiled.ast, assert(filter.decode_json(row)), {}), m:test(row),
            ("%s %s %s"):format(b, op, a))
        end
      end
    end
  end)

  it("beyond int64 is no int64 next to it", function()
    assert.is_true(matcher("a > 9223372036854775807"):test '{"a":9223372036854775808}')
    assert.is_false(matcher("a == 9223372036854775807"):test '{"a":9223372036854775808}')
    assert.is_false(matcher("a == -9223372036854775808"):test '{"a":-9223372036854777856}')
    assert.is_true(matcher("a == -9223372036854775808"):test '{"a":-9223372036854775808}')
    assert.is_true(matcher("a == 18446744073709551616"):test '{"a":1.8446744073709552e19}')
  end)
end)

describe("a row", function()
  local VALUES = { "null", "true", "false", "0", "-1", "1.5", "1e308", "9223372036854775807", '""', '"x"', '"NaN"',
                   '"1.2.3"', '"1.2.3-"', '"v"', '"2025-02-30"',
                   '"2025-10-09T25:61:61Z"', '"9999-12-31T23:59:59.999999999+99:99"',
                   '"10.0.0.0/8"', '"999.1.1.1"', '"::1%eth0"', '"1:2:3:4:5:6:7:8:9"', "[]", "{}", "[[[[]]]]", "[null]",
                   '[{"a":[{"a":1}]}]', '{"lat":91,"lon":181}', '{"lat":"x","lon":null}', '{"lat":1e308,"lon":-1e308}',
                   '{"type":"Point","coordinates":[]}', '{"type":"Point","coordinates":[1,2,3]}', '"\\u0000"', '"😀"',
                   '"' .. ("x"):rep(300) .. '"', '"' .. ("1."):rep(150) .. '1"', '"1' .. ("0"):rep(400) .. '"' }
  local FILTERS = { "a == 1", "a < 1", "a < 'x'", "a", "!a", "a == null", "a in [1, 'x', null]", "'x' in a", "a in b",
                    "a == b", "a < b", "a startswith 'x'", "a like '%x_'", "a glob '[!x]*'", "a matches '^(x|1)+$'",
                    "a contains 'x'", "a contains any ['x', 1]", "a contains all []", "exists(a)", "type(a) == 'array'",
                    "len(a) > 1", "lower(a) == 'x'", "upper(a) < 'X'", "semver(a) < '1.2'", "a >= semver'1.2.3-rc.1'",
                    "semver(a) == semver(b)", "a < now()", "time(a) > t'2025-01-01'", "time(a) < time(b)",
                    "a in cidr'10.0.0.0/8'", "a in cidr'::/0'", "distance(a, 1, 2) < 5km", "any(a, it == 1)",
                    "all(a, a > 1)", "any(a, any(a, a == 1))", "a[0] == 1", "a.a.a == 1", "a.`0` == 1",
                    "a between 0 and 1", "a == :p", "a in :p", "a matches :p", "a like :p", "a < :p + 1",
                    "a < now() + :p", "a contains any :p" }
  local PARAMS = { "null", "1", "1e308", '"x"', "[]", '["x",[1],{}]', "{}", "true", '"1.2"' }

  it("never gives an error, whatever is in it, whatever the clause", function()
    for _, text in ipairs(FILTERS) do
      local compiled = assert(filter.compile(text, WIDE))
      for _, params in ipairs(text:find(":p", 1, true) and PARAMS or { "null" }) do
        local m, _, code = core.matcher { program = compiled.program, params = ('{"p":%s}'):format(params), now = 0 }
        if not m then assert.is_truthy(code == "EFILTER" or code == "EPARAM") end
        for i, v in ipairs(m and VALUES or {}) do
          local row = ('{"a":%s,"b":%s}'):format(v, VALUES[#VALUES + 1 - i])
          local holds, message = m:test(row)
          assert.is_boolean(holds, text .. "  " .. row:sub(1, 200) .. "  " .. tostring(message))
          local env = { now = 0, params = { p = filter.decode_json("[" .. params .. "]")[1] } }
          local expected = oracle.match(compiled.ast, assert(filter.decode_json(row)), env)
          assert.equal(expected, holds, text .. "  " .. row:sub(1, 200))
        end
      end
    end
  end)

  it("with long arrays is tested in a time in proportion to it", function()
    for _, text in ipairs { "a == 0", "0 in a", "a contains all [1, 2]", "any(a, it == 0)", "all(a, it == 1)",
                            "a in [2, 3]", "a startswith 'y'", "len(a) == 3", "a.b.c == 1", "a.b < 1" } do
      local m = matcher(text)
      local rows = {}
      linear(text, 500, function(n)
        rows[n] = rows[n] or ('{"a":[%s1]}'):format(('1,"x",{"b":{"c":2}},'):rep(n))
        assert.is_boolean(m:test(rows[n]))
      end)
    end
  end)
end)

describe("a host", function()
  local host
  setup(function() host = assert(core.open { log_level = "off" }) end)
  teardown(function() host:close() end)

  local function code_of(verb, body)
    local answer, _, code = host:call(verb, "hostile", body)
    return answer and "ok" or code
  end

  it("answers a body that is hostile with an error, and goes on", function()
    local bodies = {
      ("["):rep(1e5), ('{"filter":'):rep(1e5), '{"filter":"' .. ("("):rep(1e5) .. '"}', "\0", "{", '"', "nul",
      '{"filter":"' .. ("not "):rep(16384) .. 'a"}', '{"filter":"a","filter":"b"}', '{"filter":"\255"}',
      '{"filter":NaN}', '{"filter":{"a":1e999}}', '{"filter":{"a":1,"a":2}}', '{"filter":"a == 1","params":{"p":NaN}}',
      '{"filter":"a matches \\"(\\""}', '{"filter":' .. ('{"$not":'):rep(5000) .. "{}" .. ("}"):rep(5000) .. "}",
      '{"filter":"a == :p"}', "{}" .. (" "):rep(2 ^ 20), '{"filter":"\\u0000"}', '{"filter":"\\ud800"}',
    }
    for _, body in ipairs(bodies) do
      for _, verb in ipairs { "enumerate", "count", "explain", "register", "multicast", "get", "heartbeat",
                              "unregister" } do
        assert.not_equal("ok", code_of(verb, body), verb .. " " .. body:sub(1, 60))
        assert.not_equal("EINTERNAL", code_of(verb, body), verb .. " " .. body:sub(1, 60))
      end
    end
    assert.equal("ok", code_of("register", '{"id":"a","metadata":{"n":18446744073709551616}}'))
    assert.equal("ok", code_of("count", '{"filter":"n > 9223372036854775807"}'))
  end)

  it("refuses metadata that is hostile", function()
    for _, metadata in ipairs { ('{"a":'):rep(17) .. "1" .. ("}"):rep(17), '{"a":"' .. ("x"):rep(16384) .. '"}',
                                '{"a":1,"a":2}', '{"a":NaN}', '{"a":1e999}', '{"a":"\255"}', "[]", "1", '"x"',
                                '{"a":"\\ud800"}' } do
      assert.not_equal("ok", code_of("register", ('{"id":"b","metadata":%s}'):format(metadata)), metadata:sub(1, 60))
    end
    assert.equal("ENOTFOUND", code_of("get", '{"id":"b"}'))
  end)
end)
