-- An identity is listed as long as its lease is renewed.
local muster = require "muster"
local m = assert(muster.open())

assert(m:register { id = "lamp", ttl = "2s" })
m:run(1.2)
print("on its way:", m:count().count)
assert(m:heartbeat "lamp")
m:run(1.2)
print("renewed:", m:count().count)
m:run(2.4)
print("left alone:", m:count().count)
m:close()
