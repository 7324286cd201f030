-- SPDX-License-Identifier: Apache-2.0
-- The engine and the oracle are two answers to one question: on random filters and documents they agree.
local core = require "muster.core"
local filter = require "muster.filter"
local oracle = require "muster.filter.oracle"
local random = require "support.filter_random"

local WIDE = { limits = { depth = 40, clauses = 500, bytes = 65536, list = 1000 } }
local SECONDS, MOST, LEAST = 5, 6000, 300
local NOW = 1760000000000

local PARAMS = {
  '{"p":"x","1":1,"w":60}',
  '{"p":["x",1,null],"1":["y",[1],{"k":1}],"w":0.5}',
  '{"p":null,"1":"1.5","w":-3600}',
  '{"p":[],"1":[],"w":1}',
}

-- A record, and the same as the oracle takes it.
local function record(document)
  local builtins = { id = math.random(2) == 1 and "x" or "sensor-5", registered_at = NOW - math.random(0, 90) * 1000 }
  local more = ""
  if math.random(2) == 1 then
    builtins.expires_at = NOW + math.random(1, 60) * 1000
    more = (',"expires_at":%.0f'):format(builtins.expires_at)
  end
  local line = ('{"id":"%s","registered_at":%.0f%s,"metadata":%s}'):format(builtins.id, builtins.registered_at, more,
    document)
  return line, builtins
end

local function compare(text, params_json)
  local params = filter.decode_json(params_json).values
  local compiled = assert(filter.compile(text, WIDE))
  local matcher, message, code = core.matcher { program = compiled.program, params = params_json, now = NOW }
  if not matcher then
    assert.equal("EPARAM", code, text .. ": " .. message)
    return 0
  end
  for _ = 1, 12 do
    local document = random.document()
    local line, builtins = record(document)
    local env = { now = NOW, params = params, builtins = builtins }
    local expected = oracle.match(compiled.ast, assert(filter.decode_json(document)), env)
    local got = matcher:test(line)
    if got ~= expected then
      error(("%s\nparams %s\n%s\nengine %s, oracle %s"):format(text, params_json, line, tostring(got),
        tostring(expected)))
    end
  end
  return 1
end

describe("engine and oracle", function()
  it("agree on random filters", function()
    math.randomseed(20251009)
    local ends, compared, tried = core.monotonic() + SECONDS, 0, 0
    while tried < MOST and core.monotonic() < ends do
      tried = tried + 1
      compared = compared + compare(random.filter(), PARAMS[math.random(#PARAMS)])
    end
    assert.is_true(compared >= math.min(LEAST, tried / 2), ("%d of %d filters"):format(compared, tried))
  end)
end)
