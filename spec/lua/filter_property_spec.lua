-- SPDX-License-Identifier: Apache-2.0
-- What must hold for every filter, tried on random ones.
local filter = require "muster.filter"
local oracle = require "muster.filter.oracle"
local program = require "support.filter_program"
local random = require "support.filter_random"

local WIDE = { limits = { depth = 40, clauses = 500, bytes = 65536, list = 1000 } }

local function environment()
  return { now = 1760000000000, params = { p = "x", ["1"] = 1, w = 60 },
           builtins = { id = "x", registered_at = 1759999990000 } }
end

local function documents(count)
  local list = {}
  for i = 1, count do list[i] = assert(filter.decode_json(random.document())) end
  return list
end

describe("random filters", function()
  before_each(function() math.randomseed(20251009) end)

  it("print, read and print again the same, as text and as JSON", function()
    for _ = 1, 3000 do
      local text = random.filter()
      local first = assert(filter.compile(text, WIDE))
      local again = assert(filter.compile(first.text, WIDE))
      assert.equal(first.text, again.text, text)
      assert.equal(first.json, again.json, text)
      assert.equal(first.program, again.program, text)
      local back, why = filter.compile_json(first.json, WIDE)
      assert.is_truthy(back, text .. "\n" .. first.json .. "\n" .. tostring(why))
      assert.equal(first.text, back.text, text)
      assert.equal(first.json, back.json, text)
      assert.equal(first.program, back.program, text)
    end
  end)

  it("mean the same after printing, and `not` is the exact complement", function()
    for _ = 1, 600 do
      local text = random.filter()
      local first = assert(filter.compile(text, WIDE))
      local back = assert(filter.compile_json(first.json, WIDE))
      local negated = assert(filter.compile("not (" .. text .. ")", WIDE))
      local doubled = assert(filter.compile("!(not (" .. text .. "))", WIDE))
      assert.equal(first.text, doubled.text)
      for _, document in ipairs(documents(15)) do
        local holds = oracle.match(first.ast, document, environment())
        assert.equal(holds, oracle.match(back.ast, document, environment()), text)
        assert.equal(not holds, oracle.match(negated.ast, document, environment()), text)
      end
    end
  end)

  it("become programs without a wrong index, length or range", function()
    for _ = 1, 1500 do
      local text = random.filter()
      local compiled = assert(filter.compile(text, WIDE))
      local ok, why = pcall(program.read, compiled.program)
      assert.is_true(ok, text .. ": " .. tostring(why))
    end
  end)

  it("that are damaged give a filter or a located error, never a throw", function()
    for _ = 1, 6000 do
      local text = random.damaged()
      local compiled, message, code, detail = filter.compile(text)
      if not compiled then
        assert.equal("EFILTER", code)
        assert.not_equal("internal", detail.error, text .. "\n" .. message)
        assert.is_true(detail.offset >= 0 and detail.offset <= #text + 1, text .. "\n" .. message)
        assert.is_true(detail.line >= 1 and detail.column >= 1)
        assert.is_string(filter.format_error(text, detail))
      end
    end
  end)

  it("refused by the parser are explained by the instrumented grammar at a place that exists", function()
    local grammar = require "muster.filter.grammar"
    for _ = 1, 3000 do
      local text = random.damaged()
      if not text:find "[%z\128-\255]" and not grammar.parse(text) then
        local state = grammar.explain(text)
        assert.is_true(#state.expected > 0, text)
      end
    end
  end)
end)
