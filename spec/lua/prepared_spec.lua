-- SPDX-License-Identifier: Apache-2.0
-- Prepared filters and the counters of compiled filters, in a coordinator of this process.
local muster = require "muster"

describe("a prepared filter", function()
  local m
  setup(function()
    m = assert(muster.open { filters = "filters" })
    for i = 1, 20 do
      assert(m:register { id = "n" .. i, metadata = { site = i % 2 == 0 and "hq" or "lab", battery = i } })
    end
  end)
  teardown(function() m:close() end)

  it("is used with other parameters each time, and compiled once", function()
    local low = assert(m:prepare "site == :site and battery < :low")
    assert.same({ "low", "site" }, (function() table.sort(low.params) return low.params end)())
    local before = m.raw:status()
    assert.equal(4, low:count { site = "hq", low = 10 }.count)
    assert.equal(2, low:count { site = "lab", low = 5 }.count)
    assert.is_true(low:exists { site = "hq", low = 3 })
    assert.is_false(low:exists { site = "moon", low = 3 })
    assert.equal(2, #low:enumerate({ site = "hq", low = 100 }, { limit = 2 }).identities)
    local ids = {}
    for each in low:each({ site = "hq", low = 7 }, { sort = { "battery" }, limit = 1 }) do ids[#ids + 1] = each.id end
    assert.same({ "n2", "n4", "n6" }, ids)
    assert.equal(4.0, low:aggregate({ site = "hq", low = 7 }, { compute = { mean = "avg(battery)" } }).groups[1].mean)
    assert.is_true(low:explain({ site = "hq", low = 7 }, "n2").matches)
    assert.equal(3, low:multicast({ site = "hq", low = 7 }, { payload = "x", dry_run = true }).targets)
    local after = m.raw:status()
    assert.equal(before.filter_misses, after.filter_misses)
    assert.is_true(after.filter_hits - before.filter_hits >= 10)
    assert.is_true(after.filters >= 1 and after.filter_bytes > 0 and after.filter_evictions == 0)
  end)

  it("is refused when it is prepared, and so are wrong parameters", function()
    local prepared, message, code, detail = m:prepare "site =< 1"
    assert.is_nil(prepared)
    assert.equal("EFILTER", code)
    assert.equal(6, detail.at.column)
    assert.truthy(message:find("did you mean `<=`?", 1, true))
    local low = assert(m:prepare "battery < :low")
    prepared, message, code = low:count { lwo = 1 }
    assert.is_nil(prepared)
    assert.equal("EPARAM", code)
    assert.truthy(message:find("did you mean 'low'?", 1, true), message)
    assert.equal("EPARAM", select(3, low:count()))
    assert.has_error(function() low:count(7) end)
  end)

  it("may be a named one, in JSON form, or without parameters", function()
    assert.equal(5, assert(m:prepare "@low_battery(:l)"):count { l = 5 }.count)
    assert.equal(1, assert(m:prepare { battery = { ["$eq"] = { ["$param"] = "b" } } }):count { b = 5 }.count)
    assert.equal(10, assert(m:prepare 'site == "hq"'):count().count)
    assert.equal(1, #assert(m:prepare 'site != "hq"').warnings)
    assert.equal("low_battery", (function()
      for _, each in ipairs(m:filters()) do if each.name == "low_battery" then return each.name end end
    end)())
  end)

  it("outlives a reload of the named filters", function()
    local low = assert(m:prepare "@low_battery(5)")
    assert.equal(5, low:count().count)
    assert(m:load_filters "filters")
    assert.equal(0, m.raw:status().filters)
    assert.equal(5, low:count().count)
    local ok, message, code = m:load_filters "spec"
    assert.same({ nil, "ECONFIG" }, { ok, code })
    assert.truthy(message:find("spec/", 1, true))
    assert.equal(5, low:count().count)
  end)
end)
