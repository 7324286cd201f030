-- Register, find, send: everything in this process, nothing to install.
local muster = require "muster"
local m = assert(muster.open())

for name, battery in pairs { anna = 80, ben = 12, carl = 7 } do
  assert(m:register { id = name, metadata = { battery = battery }, ttl = "1m" })
  assert(m:receive(name, function(message) print(name .. " got " .. message.payload) end))
end

local report = assert(m:multicast { filter = "battery < 20", payload = "go to sleep" })
print(("%d of %d received it"):format(report.states.received, report.targets))
m:close()
