-- SPDX-License-Identifier: Apache-2.0
-- The compiler's small modules, each by itself: typed literals, numbers, JSON reader, patterns, suggestions.
local json_read = require "muster.filter.json_read"
local limits = require "muster.filter.limits"
local regex = require "muster.filter.regex"
local suggest = require "muster.filter.suggest"
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"
local wildcard = require "muster.filter.wildcard"

describe("times", function()
  it("are RFC 3339 or dates, to the microsecond", function()
    for text, micros in pairs {
      ["1970-01-01"] = 0LL, ["1970-01-01T00:00:01Z"] = 1000000LL, ["2025-10-09T12:00:00Z"] = 1760011200000000LL,
      ["2025-10-09T14:00:00+02:00"] = 1760011200000000LL, ["2025-10-09t12:00:00.5z"] = 1760011200500000LL,
      ["1969-12-31T23:59:59.999999Z"] = -1LL, ["2000-02-29"] = 951782400000000LL,
      ["2025-10-09T12:00:00.1234567Z"] = 1760011200123456LL, ["0001-01-01"] = -62135596800000000LL,
    } do
      assert.equal(tostring(micros), tostring(typed.parse_time(text)), text)
    end
  end)

  it("refuse what is none", function()
    for _, text in ipairs { "", "yesterday", "2025-13-01", "2025-02-29", "2025-10-09T12:00:00",
      "2025-10-09T24:00:00Z",
      "2025-10-09T12:00:60Z", "2025-10-09T12:00Z", "2025-10-09T12:00:00.Z", "2025-10-09T12:00:00+24:00", "2025-1-1",
      "2025-10-09 12:00:00Z", "2025-10-09Z", "x2025-10-09" } do
      assert.is_nil(typed.parse_time(text), text)
    end
  end)

  it("print and read back", function()
    math.randomseed(1)
    for _ = 1, 500 do
      local micros = math.random(-62000000000, 250000000000) * 1000000LL + math.random(0, 999999)
      assert.is_true(typed.parse_time(typed.format_time(micros)) == micros)
    end
  end)

  it("in numbers are seconds below 1e11, else milliseconds", function()
    assert.is_true(typed.number_time(1760000000) == 1760000000000000LL)
    assert.is_true(typed.number_time(1760000000000) == 1760000000000000LL)
    assert.is_true(typed.number_time(99999999999) == 99999999999000000LL)
    assert.is_true(typed.number_time(100000000000) == 100000000000000LL)
    assert.is_true(typed.number_time(-1.5) == -1500000LL)
    assert.is_nil(typed.number_time(1e300))
  end)
end)

describe("versions", function()
  local function order(a, b) return typed.compare_semver(typed.parse_semver(a), typed.parse_semver(b)) end

  it("have the order of semver 2.0", function()
    local ascending = { "0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
      "1.0.0-beta.11", "1.0.0-rc.1", "1", "1.0.1", "1.2.3.4", "1.10.0", "99999999999999999999.0" }
    for i = 1, #ascending - 1 do
      assert.equal(-1, order(ascending[i], ascending[i + 1]), ascending[i])
      assert.equal(1, order(ascending[i + 1], ascending[i]), ascending[i])
    end
    assert.equal(0, order("v1.2", "1.2.0+build.7"))
    assert.equal(0, order("1.02", "1.2"))
  end)

  it("refuse what is none", function()
    for _, text in ipairs { "", "v", "latest", "1..2", "1.", ".1", "1.x", "1-", "1-a..b", "1+", " 1", "1-a_b" } do
      assert.is_nil(typed.parse_semver(text), text)
    end
  end)
end)

describe("networks", function()
  local function holds(cidr, text)
    local address = typed.parse_address(text)
    return address ~= nil and typed.in_network(typed.parse_cidr(cidr), address)
  end

  it("hold their addresses", function()
    assert.is_true(holds("10.1.0.0/16", "10.1.255.255"))
    assert.is_false(holds("10.1.0.0/16", "10.2.0.0"))
    assert.is_true(holds("10.1.2.3/9", "10.127.0.1"))
    assert.is_false(holds("10.1.2.3/9", "10.128.0.1"))
    assert.is_true(holds("0.0.0.0/0", "255.255.255.255"))
    assert.is_true(holds("1.2.3.4", "1.2.3.4"))
    assert.is_true(holds("2001:db8::/32", "2001:db8:1::1"))
    assert.is_false(holds("2001:db8::/32", "2001:db9::1"))
    assert.is_true(holds("::ffff:10.0.0.0/104", "::ffff:10.1.2.3"))
    assert.is_false(holds("0.0.0.0/0", "::1"))
  end)

  it("refuse what is none", function()
    for _, text in ipairs { "", "10.0.0", "10.0.0.256", "10.0.0.01", "10.0.0.0/33", "10.0.0.0/",
      "10.0.0.0/08", "1::2::3",
      "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::/129", "x", ":1", "1:" } do
      assert.is_nil(typed.parse_cidr(text), text)
    end
  end)
end)

describe("numbers", function()
  it("print so that they read back the same", function()
    math.randomseed(2)
    for _ = 1, 2000 do
      local v = value.number((math.random() - 0.5) * 10 ^ math.random(-300, 300))
      assert.is_true(value.compare_numbers(v, value.parse_number(value.format_number(v))) == 0)
    end
  end)

  it("compare exactly between int64 and double", function()
    local big = value.parse_number "9007199254740993"
    assert.equal(1, value.compare_numbers(big, value.parse_number "9007199254740992"))
    assert.equal(1, value.compare_numbers(big, 9007199254740991))
    assert.equal(-1, value.compare_numbers(value.parse_number "9223372036854775807", 2 ^ 63))
    assert.equal(0, value.compare_numbers(value.parse_number "-9223372036854775808", value.number(-2 ^ 63)))
    assert.equal("cdata", type(value.parse_number "9007199254740993"))
    assert.equal("number", type(value.parse_number "9223372036854775808"))
  end)
end)

describe("the JSON reader", function()
  it("reads values, keys in order", function()
    local v = json_read.decode ' {"b":[1,-2.5e1,true,null,"\\u00e9\\ud83d\\ude00\\n"],"a":{}} '
    assert.same({ "b", "a" }, v.keys)
    assert.equal(-25, v.values.b[2])
    assert.equal(value.null, v.values.b[4])
    assert.equal("é😀\n", v.values.b[5])
    assert.equal('{"b":[1,-25,true,null,"é😀\\n"],"a":{}}', value.to_json(v))
  end)

  it("refuses everything else, with the place", function()
    for text, offset in pairs { [""] = 0, ["{"] = 1, ["[1,]"] = 3, ["01"] = 0, ["1."] = 0, ["+1"] = 0, ["tru"] = 0,
      ['"a'] = 0, ['"\\x"'] = 1, ['{"a":1,}'] = 7, ["{a:1}"] = 1, ["1 2"] = 2, ["NaN"] = 0, ["[1 2]"] = 3,
      ["'a'"] = 0 } do
      local v, message, at = json_read.decode(text)
      assert.is_nil(v, text)
      assert.is_string(message)
      assert.equal(offset, at, text)
    end
  end)
end)

describe("the regular expressions of the oracle", function()
  it("find what RE2 finds", function()
    for _, case in ipairs { { "^a+$", "aaa", true }, { "^a+$", "aab", false }, { "b", "abc", true }, { "a|b",
      "xb", true },
      { "(?i)ABC", "xabcx", true }, { "a.c", "a\nc", false }, { "(?s)a.c", "a\nc", true }, { "[^a-c]", "abc", false },
      { "\\d{2,3}x", "a12x", true }, { "\\d{3}x", "a12x", false }, { "^(a|b)*?c", "abac", true },
      { "\\bfoo\\b", "a foo b", true },
      { "\\bfoo", "afoo", false }, { "é.", "éü", true }, { "^.$", "é", true }, { "", "", true },
      { "[[:alpha:]]+1", "ab1", true },
      { "(?:x)?y", "y", true }, { "\\.", "a", false }, { "(a*)*b", "aaaa", false }, { "[]a]", "]", true } } do
      assert.equal(case[3], regex.find(case[1], case[2]), case[1] .. " in " .. case[2])
    end
  end)

  it("refuse broken patterns with the place", function()
    for pattern, offset in pairs { ["("] = 1, ["a)"] = 1, ["*a"] = 0, ["[a"] = 0, ["a\\"] = 1, ["(?=x)"] = 0,
      ["x(?<!y)"] = 1,
      ["(a)\\1"] = 3, ["a{2,1}"] = 1, ["[b-a]"] = 1, ["\\y"] = 0 } do
      local ok, message, at = regex.check(pattern)
      assert.is_nil(ok, pattern)
      assert.is_string(message)
      assert.equal(offset, at, pattern)
    end
  end)
end)

describe("wildcards", function()
  it("match whole values", function()
    for _, case in ipairs { { "a%", "abc", true }, { "%c", "abc", true }, { "%b%", "abc", true }, { "a_c",
      "aéc", true },
      { "a", "ab", false }, { "a\\%", "a%", true }, { "a\\%", "ab", false }, { "", "", true }, { "%",
      "", true }, { "_", "", false } } do
      assert.equal(case[3], wildcard.like(case[1], case[2]), case[1])
    end
    for _, case in ipairs { { "a*", "abc", true }, { "?b?", "abc", true }, { "[a-c]x", "bx", true },
      { "[!a-c]x", "bx", false },
      { "[]]", "]", true }, { "[a", "[a", true }, { "*a*b*c", "xaxbxc", true }, { "*a*b*c", "xaxcxb", false },
      { "[a-]", "-", true } } do
      assert.equal(case[3], wildcard.glob(case[1], case[2]), case[1])
    end
  end)
end)

describe("suggestions", function()
  it("are the nearest word within a third", function()
    local words = { "startswith", "endswith", "contains", "type" }
    assert.equal("startswith", suggest.nearest("startwith", words))
    assert.equal("startswith", suggest.nearest("STARTSWIHT", words))
    assert.equal("type", suggest.nearest("tpye", words))
    assert.is_nil(suggest.nearest("foo", words))
    assert.is_nil(suggest.nearest("ty", words))
    assert.equal(1, suggest.distance("ab", "ba"))
    assert.equal(2, suggest.distance("", "ab"))
  end)
end)

describe("UTF-8", function()
  it("is checked to the letter", function()
    for _, text in ipairs { "", "a", "é", "€", "😀", "\244\143\191\191", "\237\159\191", "\238\128\128" } do
      assert.is_nil(limits.invalid_utf8(text))
    end
    for text, at in pairs { ["\128"] = 1, ["a\192\128"] = 2, ["\224\128\128"] = 1, ["\237\160\128"] = 1,
      ["\244\144\128\128"] = 1, ["\245\128\128\128"] = 1, ["é\195"] = 3, ["\240\143\191\191"] = 1, ["\255"] = 1 } do
      assert.equal(at, limits.invalid_utf8(text))
    end
  end)
end)
