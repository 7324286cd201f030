-- SPDX-License-Identifier: Apache-2.0
-- Every line of spec/data/filter-cases.jsonl: meaning, canonical forms, places of errors.
local filter = require "muster.filter"
local oracle = require "muster.filter.oracle"
local value = require "muster.filter.value"

-- The limits the case file was written for (RFC-017).
local RFC = { limits = { depth = 5, clauses = 20 } }

local function read_cases()
  local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
  local cases = {}
  for line in io.lines(here .. "/../data/filter-cases.jsonl") do
    local case = assert(filter.decode_json(line))
    cases[#cases + 1] = case.values
  end
  return cases
end

local function environment(case)
  local env = { now = case.now and tonumber(case.now), builtins = {}, params = {} }
  for key, v in pairs(case.builtins and case.builtins.values or {}) do env.builtins[key] = v end
  for key, v in pairs(case.params and case.params.values or {}) do env.params[key] = v end
  return env
end

local function same_meaning(case, compiled)
  assert.equal(case.match, oracle.match(compiled.ast, case.metadata, environment(case)))
end

local function round_trips(compiled)
  local again = assert(filter.compile(compiled.text))
  assert.equal(compiled.text, again.text)
  assert.equal(compiled.json, again.json)
  assert.equal(compiled.program, again.program)
  local back = assert(filter.compile_json(compiled.json))
  assert.equal(compiled.text, back.text)
  assert.equal(compiled.json, back.json)
  assert.equal(compiled.program, back.program)
end

local kinds = {}

function kinds.dsl(case)
  local compiled = assert(filter.compile(case.filter))
  same_meaning(case, compiled)
  assert.equal(case.canonical, compiled.text)
  local written = assert(filter.decode_json(compiled.json))
  assert.is_true(value.equal(case.json, written), value.to_json(case.json) .. " expected, got " .. compiled.json)
  round_trips(compiled)
  same_meaning(case, assert(filter.compile_json(case.json)))
end

function kinds.err(case)
  local compiled, message, code, detail = filter.compile(case.filter, RFC)
  assert.is_nil(compiled)
  assert.equal("EFILTER", code)
  local expected = case.error.values
  assert.equal(expected.offset, detail.offset, message)
  assert.equal(expected.line, detail.line)
  assert.equal(expected.column, detail.column)
  assert.equal(expected.message, detail.message)
  if expected.hint then assert.equal(expected.hint, detail.hint) end
end

local function json_spelling(case, document)
  local compiled = assert(filter.compile_json(document))
  same_meaning(case, compiled)
  round_trips(compiled)
end

function kinds.mongo(case)
  json_spelling(case, case.mongo)
  if case.rfc017 then json_spelling(case, case.rfc017) end
  if case.filter then same_meaning(case, assert(filter.compile(case.filter))) end
end

function kinds.rfc(case)
  json_spelling(case, case.rfc017)
  local compiled = assert(filter.compile(case.filter))
  same_meaning(case, compiled)
  assert.equal(compiled.text, assert(filter.compile_json(case.rfc017)).text)
end

function kinds.jerr(case)
  local compiled, _, code, detail = filter.compile_json(case.mongo)
  assert.is_nil(compiled)
  assert.equal("EFILTER", code)
  assert.equal(case.error.values.message, detail.message)
  assert.equal(case.error.values.hint, detail.hint)
end

describe("filter case", function()
  local cases = read_cases()
  it("file holds its cases", function() assert.is_true(#cases > 300) end)
  for _, case in ipairs(cases) do
    it(case.id .. (case.note and " " .. case.note or ""), function() kinds[case.id:match "^%a+"](case) end)
  end
end)
