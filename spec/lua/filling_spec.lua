-- A column that a query asks for in a large namespace is filled between the loop's other business: until then the
-- clause is answered from the documents, with the same result.
local muster = require "muster"

local MANY = 60000 -- above what is filled at once

describe("a column of a large namespace", function()
  it("is filled in the background", function()
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
    local function plan()
      local answer = assert(m:explain "place.floor == 1")
      assert.equal(MANY / 3, assert(m:count "place.floor == 1").count)
      return answer.plan[1].encoding
    end
    assert.equal("documents", plan())
    local waited = 0
    while plan() ~= "dict8" do
      m:run(0.01)
      waited = waited + 1
      assert.is_true(waited < 1000, "it is never filled")
    end
    assert(m:register { id = "one more", metadata = { place = { floor = 1 } } })
    assert.equal(MANY / 3 + 1, assert(m:count "place.floor == 1").count)
    m:close()
  end)
end)
