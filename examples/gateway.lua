-- A gateway serves many identities: one message for all of them, and an answer for those that differ.
local muster = require "muster"
local m = assert(muster.open())

for i = 1, 5 do
  assert(m:register { id = "user-" .. i, gateway = "edge-7", metadata = { room = "eng" } })
end

assert(m:receive({ gateway = "edge-7" }, function(message)
  print(("one message for %d users: %s"):format(#message.ids, message.payload))
  return { ["user-3"] = "EGONE has just left" }
end))

local report = assert(m:multicast { filter = 'room == "eng"', payload = "hi", report = "failed" })
print("received:", report.states.received)
for _, receipt in ipairs(report.receipts) do print(receipt.id, receipt.state, receipt.code) end
m:close()
