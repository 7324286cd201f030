-- SPDX-License-Identifier: Apache-2.0
-- A short run of what `./dev fuzz filter` does for hours: the engine on each instruction set, the naive interpreter and
-- mingo agree on random filters, records and changes.
local evaluators = require "fuzz.evaluators"
local fuzz = require "fuzz.filter"
local oracles = require "fuzz.oracles"
local script = require "fuzz.script"

local SECONDS = 2

local function agree(seed, options)
  local difference, counts = fuzz.run(seed, SECONDS, options)
  assert(not difference, difference)
  assert.is_true(counts.rounds >= 1 and counts.matched > counts.filters / 10, fuzz.summary(counts))
  return counts
end

describe("evaluators of filters agree", function()
  it("from a seed that is always the same, the engine on every instruction set", function()
    local counts = agree(20251009, { small = true, mingo = false })
    for _, name in ipairs(evaluators.kernels()) do assert.is_true(counts["engine, " .. name] > 20, name) end
  end)

  it("from a seed of its own", function()
    local seed = fuzz.random_seed()
    print(("# ./dev fuzz filter --seed %d"):format(seed))
    agree(seed, { small = true, mingo = false })
  end)

  it("with mingo, where both mean the same", function()
    local why = evaluators.without_mingo()
    if why then pending(why) end
    assert.is_true(agree(1, { small = true, mingo = true }).mingo > 5)
  end)
end)

describe("an evaluator that is wrong", function()
  -- Lets the last row out wherever a filter tests a prefix.
  local function forgetful(operations)
    local answers, number = oracles.naive(operations), 0
    for _, operation in ipairs(operations) do
      if script.QUERIES[operation.name] then
        number = number + 1
        if operation.json:find("startswith", 1, true) then answers[number] = answers[number]:gsub(" ?[^ ]+$", "") end
      end
    end
    return answers
  end

  it("is found, with the seed and a filter and records that are small", function()
    local difference = fuzz.run(1, 60, { small = true, evaluators = { { name = "forgetful", run = forgetful } } })
    assert.is_string(difference)
    assert.is_truthy(difference:find "^seed %d+: forgetful and the naive interpreter differ\n")
    local clause = assert(difference:match "which is: ([^\n]*)")
    assert.is_true(#clause < 60, difference)
    local _, operations = difference:gsub("\nregister ", "")
    assert.equal(1, operations, difference)
  end)
end)
