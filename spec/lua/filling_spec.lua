-- A column that a query asks for in a large namespace is filled between the loop's other business. Who asks waits for
-- it; explain does not, and shows that the documents would be read.
local muster = require "muster"

local MANY = 60000 -- above what is filled at once

local function fleet()
  local m = assert(muster.open())
  local answered = 0
  for i = 1, MANY do
    m:start("register", { id = "i" .. i, metadata = { place = { floor = i % 3 } } }, function(_, message)
      assert(not message, message)
      answered = answered + 1
    end)
    if i % 500 == 0 then m:run(0) end
  end
  while answered < MANY do m:run(0.01) end
  return m
end

describe("a column of a large namespace", function()
  it("is filled while others are served", function()
    local m = fleet()
    local function encoding() return assert(m:explain "place.floor == 1").plan[1].encoding end
    assert.equal("documents", encoding())
    local order = {}
    m:start("count", { filter = "place.floor == 1" }, function(answer) order[#order + 1] = answer end)
    m:start("enumerate", { filter = "place.floor == 1", limit = 1 }, function(answer) order[#order + 1] = answer end)
    m:start("get", { id = "i7" }, function(answer) order[#order + 1] = answer end)
    while #order < 3 do m:run(0.01) end
    assert.equal("i7", order[1].id)
    assert.equal(MANY / 3, order[2].count)
    assert.equal(MANY / 3, order[3].total)
    assert.equal("dict8", encoding())
    assert(m:register { id = "one more", metadata = { place = { floor = 1 } } })
    assert.equal(MANY / 3 + 1, assert(m:count "place.floor == 1").count)
    m:close()
  end)

  it("is waited for by sorting and by groups", function()
    local m = fleet()
    local page = assert(m:enumerate { sort = { "-place.floor" }, limit = 2 })
    assert.equal(2, page.identities[1].metadata.place.floor)
    m:close()
    m = fleet()
    local answer = assert(m:aggregate { group_by = "place.floor", compute = { most = "max(place.floor)" } })
    assert.equal(3, #answer.groups)
    assert.equal("dict8", assert(m:explain "place.floor == 1").plan[1].encoding)
    m:close()
  end)

  it("is waited for by a multicast", function()
    local m = fleet()
    local report = assert(m:multicast { filter = "place.floor == 2", payload = "x", ack = "none" })
    assert.equal(MANY / 3, report.targets)
    m:close()
  end)

  it("is given up when the host closes", function()
    local m = fleet()
    m:start("count", { filter = "place.floor == 1" }, function() end)
    m:close()
  end)
end)
