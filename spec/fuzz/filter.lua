-- SPDX-License-Identifier: Apache-2.0
-- All evaluators of filters against each other on random filters, records and changes:
--
--   luajit spec/fuzz/filter.lua [--seconds N] [--seed S]        (through ./dev fuzz filter)
--
-- Round i uses seed S + i, so that `--seed` of a report starts with the round that differed. Exit status 1 where the
-- evaluators differ.
local cases = require "fuzz.cases"
local core = require "muster.core"
local evaluators = require "fuzz.evaluators"
local filter = require "muster.filter"
local script = require "fuzz.script"
local shrink = require "fuzz.shrink"

local M = {}

local WORLDS = 12 -- in one round
local HUGE_EVERY = 60 -- rounds

local function describe_filter(query)
  local source = assert(filter.decode_json(query.filter))
  if type(source) == "string" then return source end
  local compiled = filter.compile_json(source)
  return query.filter .. (compiled and "\n  which is: " .. compiled.text or "")
end

local function report(seed, evaluator, small, given, expected)
  local lines = { ("seed %d: %s and the naive interpreter differ"):format(seed, evaluator.name) }
  lines[#lines + 1] = "filter    " .. describe_filter(small.query)
  if small.query.params then lines[#lines + 1] = "params    " .. small.query.params end
  for i, operation in ipairs(small.operations) do
    if i <= 10 then lines[#lines + 1] = ("%-9s %s"):format(operation.name, operation.json:sub(1, 2000)) end
  end
  if #small.operations > 10 then lines[#lines + 1] = ("... %d operations in all"):format(#small.operations) end
  lines[#lines + 1] = ("%s: [%s], expected [%s]"):format(evaluator.name, given:sub(1, 300), expected:sub(1, 300))
  return table.concat(lines, "\n")
end

-- The number of the first query where an evaluator is wrong; nil: none.
local function first_difference(answers, naive)
  for i, expected in ipairs(naive) do
    if not evaluators.same(answers[i], expected) then return i end
  end
end

-- The operations of the world that the query number `wanted` is asked in, and the query.
local function world_of(operations, wanted)
  local world, queries = {}, 0
  for _, operation in ipairs(operations) do
    if operation.name == "world" then world = {} end
    if script.QUERIES[operation.name] then
      queries = queries + 1
      if queries == wanted then return world, operation end
    elseif operation.name ~= "world" then
      world[#world + 1] = operation
    end
  end
end

-- What each evaluator answered to one query, as it came.
local function all_answers(list, all, naive, wanted)
  local lines = { "at first: naive interpreter [" .. naive[wanted]:sub(1, 600) .. "]" }
  for i, evaluator in ipairs(list) do
    local given = all[i][wanted] or all[i].problem or "?"
    lines[#lines + 1] = evaluator.name .. (given == naive[wanted] and " the same" or " [" .. given:sub(1, 600) .. "]")
  end
  return table.concat(lines, "\n  ")
end

local function explain(seed, evaluator, operations, directory, wanted, answers)
  local world, query = world_of(operations, wanted)
  local last = {}
  local function differs(candidates)
    local all, naive = evaluators.run({ evaluator }, candidates, directory)
    if all[1].problem then return nil end
    for i, expected in ipairs(naive) do
      local given = all[1][i]
      if not evaluators.same(given, expected) and expected:sub(1, 1) ~= "!" and given:sub(1, 1) ~= "!" then
        last.given, last.expected = given, expected
        return i
      end
    end
  end
  local small = shrink.shrink(world, query, differs)
  if not last.given then answers = "NOT SEEN AGAIN when the same was asked once more\n" .. answers end
  return report(seed, evaluator, small, last.given or "?", last.expected or "?") .. "\n" .. answers
end

-- One round: nil, or a text that says what differed; counts what was done.
local function round(list, seed, directory, counts, options)
  math.randomseed(seed)
  local operations = cases.script(options.huge and 1 or WORLDS, options)
  local all, naive = evaluators.run(list, operations, directory)
  for i, evaluator in ipairs(list) do
    local answers = all[i]
    if answers.problem then return ("seed %d: %s: %s"):format(seed, evaluator.name, answers.problem) end
    if #answers ~= #naive then
      return ("seed %d: %s gave %d answers of %d"):format(seed, evaluator.name, #answers, #naive)
    end
    local wrong = first_difference(answers, naive)
    if wrong then
      return explain(seed, evaluator, operations, directory, wrong, all_answers(list, all, naive, wrong))
    end
    for number, answer in ipairs(answers) do
      local counted = answer ~= "-" and answer:sub(1, 1) ~= "!"
      counts[evaluator.name] = (counts[evaluator.name] or 0) + (counted and 1 or 0)
      if i == 1 and naive[number] ~= "" and counted then counts.matched = counts.matched + 1 end
    end
  end
  counts.rounds, counts.filters = counts.rounds + 1, counts.filters + #naive
end

-- Runs for `seconds`, at least one round. A text where something differed, or nil; and counts: rounds, filters, those
-- that matched something, and answers by the name of each evaluator. options: small = true: no big worlds; mingo =
-- false: without it; evaluators: others than those of this machine.
function M.run(seed, seconds, options)
  local list = options.evaluators or evaluators.list(options.mingo)
  local directory = assert(core.make_directory "muster-fuzz")
  local counts, ends = { rounds = 0, filters = 0, matched = 0 }, core.monotonic() + seconds
  local difference
  repeat
    local huge = not options.small and counts.rounds % HUGE_EVERY == HUGE_EVERY - 1
    difference = round(list, seed + counts.rounds, directory, counts, { small = options.small, huge = huge })
  until difference or core.monotonic() >= ends
  core.remove_tree(directory)
  return difference, counts
end

-- A seed nobody has chosen.
function M.random_seed()
  return math.floor(core.now() * 1000 + core.pid()) % 2 ^ 31
end

function M.summary(counts)
  local parts = {}
  for name, count in pairs(counts) do
    if name ~= "rounds" and name ~= "filters" and name ~= "matched" then
      parts[#parts + 1] = ("%s %d"):format(name, count)
    end
  end
  table.sort(parts)
  return ("%d rounds, %d filters, %d of them match something; answers compared: %s"):format(counts.rounds,
    counts.filters, counts.matched, table.concat(parts, "; "))
end

local function main(words)
  local seconds, seed = 60, M.random_seed()
  for i = 1, #words, 2 do
    local number = tonumber(words[i + 1])
    if words[i] == "--seconds" and number then
      seconds = number
    elseif words[i] == "--seed" and number then
      seed = number
    else
      io.stderr:write "usage: filter.lua [--seconds N] [--seed S]\n"
      os.exit(2)
    end
  end
  local why = evaluators.without_mingo()
  print(("seed %d, kernels %s%s"):format(seed, table.concat(evaluators.kernels(), " "),
    why and ", without mingo: " .. why or ", with mingo"))
  io.stdout:flush()
  local difference, counts = M.run(seed, seconds, { mingo = not why })
  if difference then
    print(difference)
    os.exit(1)
  end
  print(M.summary(counts))
end

if arg and arg[0] and arg[0]:find "fuzz/filter%.lua$" then main(arg) end

return M
