-- SPDX-License-Identifier: Apache-2.0
-- Seed corpora for the libFuzzer targets, made from the filter cases: luajit spec/fuzz/seeds.lua DIRECTORY
-- writes DIRECTORY/program, json, frame and envelope, which have to be there.
local filter = require "muster.filter"
local random = require "support.filter_random"
local value = require "muster.filter.value"

local root = assert(arg[1], "usage: luajit seeds.lua DIRECTORY")
local here = arg[0]:match "^(.*)/[^/]*$" or "."
local counts = {}

local function write(target, bytes)
  counts[target] = (counts[target] or 0) + 1
  local file = assert(io.open(("%s/%s/seed-%04d"):format(root, target, counts[target]), "wb"))
  file:write(bytes)
  file:close()
end

-- The first two bytes are limits: depth 64, any number of fields.
local function json(text)
  write("json", "\64\0" .. text)
end

local function programs(case)
  local compiled
  if type(case.filter) == "string" then compiled = filter.compile(case.filter) end
  if compiled then write("program", compiled.program) end
  for _, form in ipairs { "json", "mongo", "rfc017" } do
    local document = case[form]
    if value.kind(document) == "object" then
      json(value.to_json(document))
      local other = filter.compile_json(document)
      if other and not compiled then write("program", other.program) end
    end
  end
end

local function frames(case)
  local body = ('{"filter":%s}'):format(type(case.filter) == "string" and value.quote(case.filter) or "{}")
  write("frame", ("\7call %d count default %d\n%s"):format(counts.frame or 0, #body, body))
end

-- Programs and documents of more shapes than the cases have.
local function at_random()
  math.randomseed(1)
  for _ = 1, 600 do
    local compiled = filter.compile(random.filter())
    if compiled and #compiled.program < 4000 then write("program", compiled.program) end
    json(random.document())
  end
end

local function envelopes()
  local ids = { "a", "b c", "\195\188", "x*y", "1" }
  local replies = { "", "+", "-E1 broken", '{"a":"-E2 no"}', '+{"b c":"","nobody":"+"}', "{}", "garbage", '{"a":1}' }
  for options = 0, 255, 7 do
    for _, reply in ipairs(replies) do
      local parts = { string.char(options, #ids) }
      for i, id in ipairs(ids) do parts[#parts + 1] = id .. "\n" .. (i <= 3 and "gw 1" or "") .. "\n" end
      parts[#parts + 1] = "payload\n"
      parts[#parts + 1] = "\0\0\n\2\0" .. reply .. "\n\2\1" .. reply .. "\n" .. string.char(3 + options % 2, 0) .. "\n"
      write("envelope", table.concat(parts))
    end
  end
end

for line in io.lines(here .. "/../data/filter-cases.jsonl") do
  local case = assert(filter.decode_json(line)).values
  programs(case)
  frames(case)
  if value.kind(case.metadata) == "object" then json(value.to_json(case.metadata)) end
  json(line)
end
for _, text in ipairs { "-0", "1e400", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1E+2",
                        '"\\ud83d\\ude00"', '"\\ud800"', "[[[[]]]]", '{"a":1,"\\u0061":2}', "\239\187\1911", "NaN",
                        "Infinity", "1.", "01", '{"\\u0000":0}', " [1 , 2 ] " } do
  json(text)
end
for _, text in ipairs { "receive 1 ns - 2\nid", "reply 2 - - 9\nsubject\n+", "answer 3 0 - 2\n{}",
                        "message 4 s r 1\nx", "call 01 a b 0\n", "call 9007199254740992 a b 0\n" } do
  write("frame", "\3" .. text .. text)
end
envelopes()
at_random()
