-- SPDX-License-Identifier: Apache-2.0
-- The compiler's public face: results, options, limits at their edges, hostile input.
local filter = require "muster.filter"
local oracle = require "muster.filter.oracle"
local program = require "support.filter_program"

local function compile(text, options)
  local compiled, message, _, detail = filter.compile(text, options)
  return compiled, message, detail
end

local function matches(text, json, env)
  return oracle.match(assert(filter.compile(text)).ast, assert(filter.decode_json(json)), env)
end

local function refused(text, options)
  local compiled, message, detail = compile(text, options)
  assert.is_nil(compiled, "compiled: " .. text:sub(1, 80))
  return detail, message
end

describe("compile", function()
  it("returns program, both canonical forms, parameters and fields", function()
    local c = assert(filter.compile 'a.b == :x and any(s, temp > $2 and it.k[0] in [1]) and exists(@ttl)')
    assert.equal("MSTP", c.program:sub(1, 4))
    assert.same({ "x", "2" }, c.params)
    assert.same({ "a.b", "s", "s.temp", "s.k.0" }, c.fields)
    assert.equal('a.b == :x and any(s, temp > $2 and k[0] in [1]) and exists(@ttl)', c.text)
    assert.is_string(c.json)
  end)

  it("reports an error as one line, a code and a located detail", function()
    local compiled, message, code, detail = filter.compile "a == 1\nand b =< 2"
    assert.is_nil(compiled)
    assert.equal("2:7: unexpected `=<`; did you mean `<=`?", message)
    assert.equal("EFILTER", code)
    assert.equal("syntax", detail.error)
    assert.equal(13, detail.offset)
    assert.equal(2, detail.line)
    assert.equal(7, detail.column)
    assert.is_true(#detail.expected > 5)
    assert.is_nil(getmetatable(detail))
  end)

  it("shows the place under the source line, in code points", function()
    local _, _, detail = compile "größe =< 1"
    assert.equal("größe =< 1\n      ^^ unexpected `=<`; did you mean `<=`?", filter.format_error("größe =< 1", detail))
  end)

  it("throws on misuse only", function()
    assert.has_error(function() filter.compile(5) end)
    assert.has_error(function() filter.compile("a", 5) end)
    assert.has_error(function() filter.compile("a", { limits = { depht = 3 } }) end)
    assert.has_error(function() filter.compile_json(5) end)
  end)
end)

describe("hints", function()
  local function hint(text) return refused(text).hint end

  it("meet those who come from other languages", function()
    assert.equal('a pattern stands in quotes: r"h.*"', hint "site =~ /h.*/")
    assert.equal('a pattern stands in quotes: r".."', hint('site !~ /' .. ("h"):rep(50) .. "/i"))
    assert.truthy(hint "a / 2 == 1":find "arithmetic")
    assert.equal('write in cidr"10.0.0.0/8"', hint 'ip in "10.0.0.0/8"')
    assert.equal('write in cidr"fd00::/8"', hint 'ip not in "fd00::/8"')
    assert.equal('write in ["10.0.0.1"]', hint 'ip in "10.0.0.1"')
    assert.equal("write `it` for the element", hint 'any(tags, @ == "a")')
    assert.equal("write `it` for the element", hint 'x and ALL (tags, not (b or @ == "a"))')
    assert.equal("behind `@` stands the name of a built-in or of a filter", hint '@ == "a"')
    assert.equal("write `exists(site)`", hint "a and exists site")
    assert.equal("write `has(a.b)`", hint "not has a.b and c")
  end)

  it("list what there is", function()
    local builtins = "known: @age, @expires_at, @id, @namespace, @registered_at, @ttl, @updated_at"
    assert.equal(builtins, hint '@gateway == "x"')
    assert.equal(builtins, select(4, filter.compile_json '{"@gateway":1}').hint)
    assert.equal("known: all, any, distance, exists, has, len, lower, now, semver, size, time, type, upper",
      hint "foo(a) == 1")
  end)

  it("and messages stay short", function()
    local long = ("x"):rep(3000)
    for _, text in ipairs { "a " .. long, "@" .. long, long .. "(a)", "@" .. long .. "()", "a == 5" .. long,
                            "a == 0" .. ("1"):rep(3000), "exists " .. long, "a == ." .. ("1"):rep(3000) } do
      local _, message = filter.compile(text)
      assert.truthy(#message < 400, message)
    end
  end)
end)

describe("warnings", function()
  local function warnings(text) return assert(filter.compile(text)).warnings end

  it("tell that != includes identities without the field", function()
    assert.same({ '`!=` also matches identities without `env`; write `exists(env) and env != "prod"`' },
      warnings 'env != "prod"')
    assert.equal(1, #warnings 'a == 1 and env not in ["x"]')
    assert.equal(1, #warnings 'any(s, kind != "x")')
    assert.equal(1, #warnings 'exists(env) or env != "x"')
  end)

  it("are silent where the field must be there, or null is meant", function()
    assert.same({}, warnings 'exists(env) and env != "prod"')
    assert.same({}, warnings 'env is not null and (a == 1 or env != "prod")')
    assert.same({}, warnings 'env != null')
    assert.same({}, warnings 'not online')
    assert.same({}, warnings 'env == "x"')
  end)

  it("suggest known fields for misspelt ones", function()
    local c = assert(filter.compile('regoin == "eu"', { known_fields = { "region", "load" } }))
    assert.same({ "no identity has `regoin`; did you mean `region`?" }, c.warnings)
  end)
end)

describe("limits", function()
  it("hold at their edges", function()
    local function limit(key, n) return { limits = { [key] = n } } end
    assert.is_truthy(compile("a == 1", limit("bytes", 6)))
    assert.equal(6, refused("a == 12", limit("bytes", 6)).offset)
    assert.is_truthy(compile("a and b", limit("clauses", 2)))
    assert.equal(12, refused("a and b and c", limit("clauses", 2)).offset)
    assert.is_truthy(compile("a in [1,2]", limit("list", 2)))
    assert.equal(10, refused("a in [1,2,3]", limit("list", 2)).offset)
    assert.is_truthy(compile("a or b and c", limit("depth", 2)))
    assert.equal("limit", refused("a or b and (c or d)", limit("depth", 2)).error)
    assert.is_truthy(compile("a.b[3] == 1"))
    assert.equal("limit", refused("a" .. (".b"):rep(16)).error)
    assert.is_truthy(compile("a" .. (".b"):rep(15)))
    assert.is_truthy(compile("a[2147483647] == 1"))
    assert.equal("limit", refused("a[2147483648] == 1").error)
  end)

  it("count one clause for each list item that is no plain value", function()
    local options = { limits = { clauses = 3 } }
    assert.is_truthy(compile("a in [1, 2, 3, 4, 5]", options))
    assert.is_truthy(compile("a in [1, 2, :x, :y]", options))
    assert.equal("limit", refused("a in [1, :x, :y, :z]", options).error)
  end)

  it("allow 32 brackets and 32 nots, and no more", function()
    local function nested(n) return ("("):rep(n) .. "a" .. (")"):rep(n) end
    assert.is_truthy(compile(nested(32)))
    assert.equal(32, refused(nested(33)).offset)
    assert.equal("a", compile(("not "):rep(32) .. "a").text)
    assert.equal(128, refused(("not "):rep(33) .. "a").offset)
    assert.equal("not a", compile("!" .. ("not "):rep(30) .. "a").text)
    local mixed = ("any(a,"):rep(16) .. "b == " .. ("["):rep(17)
    assert.equal(#mixed - 1, refused(mixed).offset)
  end)

  it("do not count what stands in strings, names and comments", function()
    assert.is_truthy(compile('a == "' .. ("("):rep(100) .. '"'))
    assert.is_truthy(compile("a == '" .. ("["):rep(100) .. "'"))
    assert.is_truthy(compile('a == r"' .. ("(\\"):rep(50) .. '" and b'))
    assert.is_truthy(compile("`" .. ("("):rep(100) .. "` == 1"))
    assert.is_truthy(compile("a -- " .. ("("):rep(100)))
    assert.is_truthy(compile("a /* " .. ("not "):rep(100) .. "*/ == 1"))
  end)

  it("keep a program within 64 KiB", function()
    local items = {}
    for i = 1, 900 do items[i] = ('"%s%d"'):format(("x"):rep(90), i) end
    local detail = refused("a in [" .. table.concat(items, ",") .. "]", { limits = { bytes = 1e6 } })
    assert.equal("limit", detail.error)
  end)
end)

describe("hostile input", function()
  local WIDE = { limits = { bytes = 1e7, depth = 1000, clauses = 1e6 } }
  local inputs = {
    ["100,000 parentheses"] = ("("):rep(100000), ["64 KiB of not"] = ("not "):rep(16384),
    ["64 KiB of !"] = ("!"):rep(65536), ["brackets"] = "a in " .. ("["):rep(100000),
    ["braces"] = "a == " .. ('{"a":'):rep(1e4), ["an open string"] = 'a == "' .. ("\\\\"):rep(30000),
    ["calls"] = ("f("):rep(30000), ["any"] = ("any(a,"):rep(20000),
    ["dots"] = "a" .. ("."):rep(60000), ["comments"] = ("/*"):rep(30000), ["quotes"] = ("'"):rep(60001),
    ["digits"] = "a == " .. ("1"):rep(60000) .. "x", ["a NUL byte"] = "a == \0", ["bad UTF-8"] = "a == '\255'",
    ["overlong UTF-8"] = "a == '\192\128'", ["a surrogate"] = "a == '\237\160\128'", ["cut UTF-8"] = "a == '\226\130",
    ["nots and parentheses"] = (("not "):rep(32) .. "("):rep(33), ["signs"] = "a == " .. ("+"):rep(60000),
  }
  for name, text in pairs(inputs) do
    it("is refused at once: " .. name, function()
      local started = os.clock()
      local detail, message = refused(text)
      assert.not_equal("internal", detail.error, message)
      detail, message = refused(text, WIDE)
      assert.not_equal("internal", detail.error, message)
      assert.is_true(os.clock() - started < 1)
      assert.is_string(filter.format_error(text, detail))
    end)
  end

  it("that is long but legal stays linear", function()
    local parts = {}
    for i = 1, 1000 do parts[i] = "a" .. i .. " == " .. i end
    local started = os.clock()
    assert.is_truthy(compile(table.concat(parts, " and "), WIDE))
    assert.is_true(os.clock() - started < 1)
    refused(table.concat(parts, " and ") .. (" and b"):rep(20000), WIDE)
    assert.is_true(os.clock() - started < 5)
  end)

  it("as JSON is refused at once", function()
    for _, text in ipairs { ("["):rep(100000), ('{"a":'):rep(100000), ('{"$not":'):rep(1000) .. "{}" .. ("}"):rep(1000),
      "", "nul", '{"a":1', '{"a":1}x', '{"a":01}',
       '{"a":"\\ud800"}', '{"a":"\1"}', '{"a":1,"a":2}', "[]", '"x"', "\255", '{"a":1e999}' } do
      local compiled, message, code, detail = filter.compile_json(text, { limits = { bytes = 1e6 } })
      assert.is_nil(compiled)
      assert.equal("EFILTER", code)
      assert.equal(detail.error == "internal", false, message)
    end
  end)
end)

describe("numbers", function()
  it("stay exact for 64-bit integers", function()
    assert.is_true(matches("a == 9007199254740993", '{"a":9007199254740993}'))
    assert.is_false(matches("a == 9007199254740993", '{"a":9007199254740992}'))
    assert.is_true(matches("a == -9223372036854775808", '{"a":-9223372036854775808}'))
    assert.is_false(matches("a < 9223372036854775807", '{"a":9223372036854775807}'))
    assert.is_true(matches("a > 9223372036854775806", '{"a":9223372036854775807}'))
    assert.is_true(matches("a < 9223372036854775808", '{"a":9223372036854775807}'))
    assert.is_true(matches("a == 0xff", '{"a":255}'))
    assert.equal("a == 9223372036854775807", compile("a == 0x7fffffffffffffff").text)
    local constants = program.read(compile("a == 9007199254740993").program).constants
    assert.equal(9007199254740993LL, constants[1].value[1])
  end)

  it("carry units", function()
    for text, canonical in pairs { ["1h30m"] = "5400", ["250ms"] = "0.25", ["1.5h"] = "5400", ["2w"] = "1209600",
      ["1h05m"] = "3900", ["-5m"] = "-300",
      ["5km"] = "5000", ["1us"] = "1e-06", ["3d"] = "259200", ["1e3"] = "1000", ["-0"] = "0" } do
      assert.equal("a == " .. canonical, compile("a == " .. text).text)
    end
  end)
end)

describe("programs", function()
  local function read(text, options) return program.read(assert(filter.compile(text, options)).program) end

  it("are the bytes of program.h", function()
    local hex = assert(filter.compile "a == 1").program:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    local header = "4d535450" .. "0100" .. "0100" .. "0100" .. "0000" .. "0200" .. "0100" .. "0100"
    local path, constant = "00" .. "01" .. "00" .. "0100" .. "61", "00" .. "09000000" .. "03" .. "0100000000000000"
    local operands = "00" .. "00" .. "0000" .. "00" .. "01" .. "00" .. "0000" .. "00"
    local leaf = "00" .. "00" .. "0000" .. "0100" .. "ffff" .. "0000" .. "0000" .. "0600" .. "61203d3d2031"
    local node = "00" .. "00" .. "0000" .. "0100"
    assert.equal(header .. path .. constant .. operands .. leaf .. node, hex)
  end)

  it("say the type of comparison on the path", function()
    local p = read 'v < semver"1.2"'
    assert.equal(4, p.operands[p.leaves[1].left + 1].fn)
    p = read "t > now() - 5m"
    assert.equal(5, p.operands[p.leaves[1].left + 1].fn)
    local now = p.operands[p.leaves[1].right + 1]
    assert.equal(3, now.kind)
    assert.same({ minus = 1, kind = 1, index = 0 }, now.terms[1])
    assert.equal(300LL, p.constants[1].value[1])
  end)

  it("hold null in lists and one leaf for each typed item", function()
    local p = read 'a in [null, 1, 1]'
    assert.equal(1, #p.leaves)
    assert.equal(6, p.leaves[1].op)
    assert.equal(2, #p.constants[1].value)
    p = read 'a in [1, :x, semver"1", cidr"10.0.0.0/8"]'
    assert.equal(4, #p.leaves)
    assert.same({ 6, 0, 0, 18 }, { p.leaves[1].op, p.leaves[2].op, p.leaves[3].op, p.leaves[4].op })
    assert.equal("a == :x", p.leaves[2].text)
    assert.equal('a in cidr"10.0.0.0/8"', p.leaves[4].text)
  end)

  it("number the top-level leaves in the order of the text, inner ones behind", function()
    local p = read "a and any(s, x and any(t, y)) and (b or c)"
    local texts = {}
    for i, leaf in ipairs(p.leaves) do texts[i] = leaf.text end
    assert.same({ "a", "any(s, x and any(t, y))", "b", "c", "x", "any(t, y)", "y" }, texts)
    assert.equal(4, p.top_leaves)
    assert.equal(17, p.leaves[1].op)
    assert.equal(19, p.leaves[2].op)
  end)

  it("fold what is constant", function()
    for text, kind in pairs { ["true"] = 4, ["1 == 1"] = 4, ['"a" == "b"'] = 5, [""] = 4, ["a in []"] = 5,
      ["1 < 2 or a"] = 4, ['semver"1.2" > semver"1.10"'] = 5, ['"10.0.0.1" in cidr"10.0.0.0/8"'] = 4 } do
      local p = read(text)
      assert.equal(1, #p.nodes, text)
      assert.equal(kind, p.nodes[1].kind, text)
    end
  end)

  it("cut long clause texts at a character", function()
    local p = read('a == "' .. ("é"):rep(900) .. '"')
    assert.is_true(#p.leaves[1].text <= 1024)
    assert.is_truthy(p.leaves[1].text:find "é%.%.%.$")
  end)

  it("test membership in an array through any", function()
    local p = read '"x" in tags'
    assert.equal(19, p.leaves[1].op)
    assert.equal('"x" in tags', p.leaves[1].text)
    assert.equal(0, #p.paths[p.operands[p.leaves[2].left + 1].index + 1])
  end)
end)

describe("regular expressions", function()
  it("are checked by the host's engine where there is one", function()
    local seen
    local function regex_check(pattern)
      seen = pattern
      if pattern == "bad" then return nil, "no good", 2 end
      return true
    end
    assert.is_truthy(compile('a matches "x+"', { regex_check = regex_check }))
    assert.equal("x+", seen)
    local detail = refused('a matches "bad"', { regex_check = regex_check })
    assert.equal("invalid regular expression: no good (at pattern offset 2)", detail.message)
    assert.equal(10, detail.offset)
    assert.is_truthy(compile('a matches "\\\\pN[[:foo:]]"', { regex_check = regex_check }))
  end)

  it("never look around or back", function()
    for _, pattern in ipairs { "(?=x)", "(?!x)", "(?<=x)", "(?<!x)", "(a)\\\\1", "(?P<n>a)(?P=n)" } do
      local detail = refused('a matches "' .. pattern .. '"', { regex_check = function() return true end })
      assert.is_truthy(detail.message:find "not supported", pattern)
    end
  end)
end)

describe("named filters", function()
  local named = {
    low = { filter = "battery < :level", params = { "level" } },
    ours = { filter = 'site in $1 and not @low(20)', params = { "sites" } },
    loop = { filter = "@loop()" },
    broken = { filter = "a =< 1" },
    twice = { filter = "@one() and @one()" },
    one = { filter = "a == 1" },
  }
  local options = { named = named }

  it("are inlined with their arguments", function()
    assert.equal('battery < 20 and region == "eu"', compile('@low(20) and region == "eu"', options).text)
    assert.equal('site in ["a", "b"] and not battery < 20', compile('@ours(["a", "b"])', options).text)
    assert.equal("battery < :x", compile("@low(:x)", options).text)
    assert.equal("a == 1 and a == 1", compile("@twice()", options).text)
    assert.equal("any(s, battery < 3)", compile("any(s, @low(3))", options).text)
  end)

  it("are refused with the place of their use", function()
    assert.is_truthy(refused("a or @loop()", options).message:find "filter `@loop` uses itself")
    local detail = refused("a and @broken()", options)
    assert.equal(6, detail.offset)
    assert.equal("in filter `@broken`: unexpected `=<`", detail.message)
    assert.equal("unknown filter `@lw`", refused("@lw(1)", options).message)
    assert.equal("`@low` takes 1 argument, got 0", refused("@low()", options).message)
    assert.equal("unknown filter `@low`", refused("@low(1)").message)
  end)

  it("are known from built-ins by their parentheses", function()
    assert.equal("`low` is a named filter: write `@low(level)`", refused("a and @low", options).hint)
    assert.equal("did you mean `@broken()`?", refused("@brokn", options).hint)
    assert.equal("did you mean `@updated_at`?", refused("@updated_a < 5", options).hint)
  end)

  it("cannot multiply beyond a bound", function()
    local bombs = { f0 = { filter = "a == 1" } }
    for i = 1, 12 do bombs["f" .. i] = { filter = (" or @f%d()"):format(i - 1):rep(20):sub(5) } end
    local started = os.clock()
    assert.equal("limit", refused("@f12()", { named = bombs }).error)
    assert.equal("limit", refused("@f4()", { named = bombs }).error)
    assert.is_true(os.clock() - started < 1)
  end)
end)

describe("JSON form", function()
  local function text(json) return assert(filter.compile_json(json)).text end
  local function why(json)
    local compiled, _, _, detail = filter.compile_json(json)
    assert.is_nil(compiled)
    return detail
  end

  it("reads Mongo style", function()
    assert.equal("a > 1 and a < 5", text '{"a":{"$gt":1,"$lt":5}}')
    assert.equal("not (a > 1 and a < 5)", text '{"a":{"$not":{"$gt":1,"$lt":5}}}')
    assert.equal("a == 1 and a == 2", text '{"a":{"$all":[1,2]}}')
    assert.equal('name matches "(?i)^s"', text '{"name":{"$regex":"^s","$options":"i"}}')
    assert.equal('name matches "(?i)^s"', text '{"name":{"$options":"i","$regex":"^s"}}')
    assert.equal("a < b or a == 5", text '{"$expr":{"$or":[{"$lt":["$a","$b"]},{"$eq":["$a",5]}]}}')
    assert.equal("any(a, it > 3 and b == 1)", text '{"a":{"$elemMatch":{"$gt":3,"b":1}}}')
    assert.equal("any(a, not it > 3)", text '{"a":{"$elemMatch":{"$not":{"$gt":3}}}}')
    assert.equal("not (a == 1 or b == 2)", text '{"$nor":[{"a":1},{"b":2}]}')
    assert.equal("len(a) == 2", text '{"a":{"$size":2}}')
    assert.equal('type(a) == "string" or type(a) == "null"', text '{"a":{"$type":["string","null"]}}')
    assert.equal("true", text '{"$and":[]}')
  end)

  it("reads RFC-017 suffixes where the value fits", function()
    assert.equal("a.b < 1", text '{"a.b.lt":1}')
    assert.equal('a == "*"', text '{"a.eq":"*"}')
    assert.equal("exists(a)", text '{"a":"*"}')
    assert.equal("not exists(a)", text '{"a.exists":false}')
    assert.equal('a.exists == "x"', text '{"a.exists":"x"}')
    assert.equal("a.b in [1]", text '{"a.b.in":[1]}')
    assert.equal("a.b.in == 1", text '{"a.b.in":1}')
    assert.equal('a.lt == 1', text '{"a.`lt`":1}')
    assert.equal("a.lt > 1", text '{"a.lt":{"$gt":1}}')
    assert.equal('v < semver"2"', text '{"v.lt":{"$semver":"2"}}')
    assert.equal("tags contains 5", text '{"tags.contains":5}')
    assert.equal('eq == 1', text '{"eq":1}')
  end)

  it("reads odd keys", function()
    assert.equal("`first name` == 1", text '{"first name":1}')
    assert.equal("`not` == 1", text '{"not":1}')
    assert.equal("a[0] == 1", text '{"a.0":1}')
    assert.equal("a.`0` == 1", text '{"a.`0`":1}')
    assert.equal("`0` == 1", text '{"0":1}')
    assert.equal("`$x` == 1", text '{"`$x`":1}')
    assert.equal("a.`00` == 1", text '{"a.00":1}')
    assert.equal("any(a, it[0] == 1)", text '{"a":{"$elemMatch":{"0":1}}}')
  end)

  it("says what is wrong and where", function()
    assert.equal("/a/$and", why '{"a":{"$and":[]}}'.pointer)
    assert.equal("operators and fields may not be mixed in one object", why '{"a":{"$gt":1,"x":2}}'.message)
    assert.equal("unknown operator $foo", why '{"$foo":1}'.message)
    assert.equal("empty name in path: a..b", why '{"a..b":1}'.message)
    assert.equal("a filter is a JSON object, got array", why "[]".message)
    assert.equal("/$or/1/b/$exists", why '{"$or":[{"a":1},{"b":{"$exists":1}}]}'.pointer)
    assert.equal("unknown built-in `@tl`", why '{"@tl":1}'.message)
    assert.equal("`<` cannot order a boolean value", why '{"a":{"$lt":true}}'.message)
    assert.equal('invalid JSON: duplicate key "a"', why '{"a":1,"a":2}'.message)
    assert.equal(7, why '{"a":1,"a":2}'.offset)
  end)
end)
