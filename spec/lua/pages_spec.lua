-- SPDX-License-Identifier: Apache-2.0
-- Lists over pages that three coordinators answer by turns, while identities come and go.
local muster = require "muster"
local process = require "support.process"

describe("a list over pages of several coordinators", function()
  local redis, nats, m
  setup(function()
    redis, nats = process.redis(), process.nats()
    for i = 1, 2 do
      process.serve({ "--no-socket", "--redis-addr", redis.address, "--nats-servers", nats.url }, "serve" .. i)
    end
    m = assert(muster.connect { nats = nats.url })
    local bodies = {}
    -- Rows are numbered in another order by each of them: one has loaded a part from a snapshot.
    for i = 1, 900 do bodies[i] = { id = ("n%04d"):format(i), metadata = { rank = i * 37 % 101 }, ttl = "1h" } end
    assert(m:register(bodies))
    process.serve({ "--no-socket", "--redis-addr", redis.address, "--nats-servers", nats.url }, "serve3")
    -- Until all of them have seen the whole of it, as far as asking many times can tell.
    assert.is_true(process.eventually(function()
      for _ = 1, 30 do
        if assert(m:count()).count ~= 900 then return false end
      end
      return true
    end))
  end)
  teardown(function()
    m:close()
    process.stop_all()
  end)

  -- Lists all while every fourth is removed or comes back after each page; those that stay must be there once.
  local function check(query)
    local seen, pages, turn = {}, 0, 0
    for identity in m:each(query) do
      seen[identity.id] = (seen[identity.id] or 0) + 1
      pages = pages + 1
      if pages % query.limit == 0 then
        turn = turn + 1
        for i = 4 * turn, 900, 80 do
          if i % 4 == 0 then assert(m:unregister(("n%04d"):format(i))) end
        end
      end
    end
    for i = 1, 900 do
      local id = ("n%04d"):format(i)
      if i % 4 == 0 then
        assert.is_true((seen[id] or 0) <= 1, id)
        assert(m:register { id = id, metadata = { rank = i * 37 % 101 }, ttl = "1h" })
      else
        assert.equal(1, seen[id], id)
      end
    end
  end

  it("has each of them once, by ids", function() check { limit = 50 } end)
  it("has each of them once, sorted", function() check { limit = 50, sort = { "-rank" } } end)
  it("has each of them once, filtered", function() check { limit = 50, filter = "exists(rank)", sort = "rank" } end)
end)
