-- What a receiver answers ends up in the receipts.
local muster = require "muster"
local m = assert(muster.open())

local answers = {
  quick = function() return true end, -- processed
  broken = function() return false, "EBROKEN out of paper" end,
  slow = function(message)
    m:start("count", {}, function() m:acknowledge(message, "processed") end)
    return "later"
  end,
}
for name, handler in pairs(answers) do
  assert(m:register { id = name, metadata = { kind = "printer" } })
  assert(m:receive(name, handler))
end

local report = assert(m:multicast {
  filter = 'kind == "printer"', payload = { print = "page 1" }, ack = "processed", timeout = "2s", report = "all",
})
table.sort(report.receipts, function(a, b) return a.id < b.id end)
for _, receipt in ipairs(report.receipts) do
  print(receipt.id, receipt.state, receipt.code ~= muster.null and receipt.code or "")
end
m:close()
