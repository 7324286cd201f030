-- SPDX-License-Identifier: Apache-2.0
-- Keeps identities registered while a command runs its door: renews their leases at half time, says once when that does
-- not work, tries again, and registers anew what the server no longer knows. Only misuse (exit code 2) is raised.
--
--   local lease = lease.new { ids =, args = { metadata =, ttl = }, out = }
--   lease:register(door)          the first time, waits; failures are raised
--   lease:resume(door)            after a connection was lost: all over again on a new one
--   lease.due                     core.monotonic() at which lease:act() wants to be called
local core = require "muster.core"
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local register = require "muster.cli.register"
local text = require "muster.cli.text"

local DEFAULT = "5m" -- of a registration; leases that do not end are looked after as often
local FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5

local Lease = {}
Lease.__index = Lease

local M = {}

function M.new(given)
  local ttl = given.args.ttl
  local seconds = options.seconds(ttl and ttl ~= "never" and ttl or DEFAULT, "--ttl")
  local bodies = {}
  for _, id in ipairs(given.ids) do bodies[id] = register.body(given.args, id) end
  local renewal = text.object {
    { "ids", text.list(given.ids, "id", "EID") }, { "ttl", options.duration_json(ttl, "--ttl") },
  }
  return setmetatable({
    ids = given.ids, out = given.out, bodies = bodies, renewal = renewal, half = seconds / 2, due = math.huge,
    pause = FIRST_PAUSE, broken = false,
  }, Lease)
end

function Lease:register(door)
  self.door = door
  for _, id in ipairs(self.ids) do door:call("register", self.bodies[id]) end
  self.due = core.monotonic() + self.half
end

function Lease:resume(door)
  self.door = door
  self.due = core.monotonic()
end

-- Says that something is wrong, once until it is mended. Answers how long to wait before the next attempt.
function Lease:fail(f)
  if f.exit == failure.EXIT.usage or failure.exit_of(f.code) == failure.EXIT.usage then failure.raise(f) end
  if not self.broken then
    self.broken = true
    self.out:warn(("cannot renew: %s: %s; trying again until it works"):format(f.code or "EINTERNAL", f.message))
  end
  local pause = math.min(self.pause, self.half)
  self.pause = math.min(2 * self.pause, LONGEST_PAUSE)
  return pause
end

function Lease:succeed(again)
  if again > 0 then
    self.out:note(output.number(again) .. " registered again")
  elseif self.broken then
    self.out:note "renewed again"
  end
  self.broken, self.pause = false, FIRST_PAUSE
  self.due = core.monotonic() + self.half
end

-- A call whose answer comes while the door runs, and lets its caller look at `due`.
function Lease:start(verb, body, done)
  local door = self.door
  self.due = math.huge
  door.raw:start(verb, door.namespace, body, function(json, code)
    if self.door ~= door then return end
    door.raw:stop()
    if not code then return done(json) end
    self.due = core.monotonic() + self:fail(options.server_failure(json, code))
  end)
end

-- Registers unknown[at] and those behind it, one after the other.
function Lease:register_from(unknown, at)
  if at > #unknown then return self:succeed(#unknown) end
  self:start("register", self.bodies[unknown[at]], function() self:register_from(unknown, at + 1) end)
end

function Lease:act()
  self:start("heartbeat", self.renewal, function(json)
    local unknown = {}
    for i, id in ipairs(text.elements(text.members(json).unknown)) do unknown[i] = text.value(id) end
    self:register_from(unknown, 1)
  end)
end

return M
