-- SPDX-License-Identifier: Apache-2.0
-- Looks on from outside, with nothing of ours in between: a bare connection that writes down what a server sends.
local process = require "support.process"

local M = {}

local count = 0

-- A connection that says `hello` (as for printf) and keeps all that comes; ready when `pattern` has come.
local function open(port, hello, pattern)
  count = count + 1
  local script = ("exec 3<>/dev/tcp/127.0.0.1/%d && printf '%s' >&3 && exec cat <&3"):format(port, hello)
  local tap = process.start("tap-" .. count, { "bash", "-c", script })
  process.wait_for(tap, pattern)
  return tap
end

-- A NATS subscriber that acknowledges nothing.
function M.nats(server, subject)
  return open(server.port, ("CONNECT {\"verbose\":false}\\r\\nSUB %s 1\\r\\nPING\\r\\n"):format(subject), "PONG\r\n")
end

-- All commands that Redis is given from now on.
function M.redis(server)
  return open(server.port, "MONITOR\\r\\n", "%+OK\r\n")
end

-- What one inline command to Redis answers.
function M.ask(server, command)
  local tap = open(server.port, command .. "\\r\\n", "\r\n")
  local text = process.read(tap.log)
  process.stop(tap, 9)
  return text
end

-- What has come to a NATS subscriber, in order: { subject =, reply =, payload = }; inboxes are left out.
function M.messages(tap)
  local text, at, list = process.read(tap.log), 1, {}
  while true do
    local _, stop, subject, rest = text:find("MSG (%S+) 1 ([^\r\n]*)\r\n", at)
    if not stop then return list end
    local reply, size = rest:match "^(%S+) (%d+)$"
    size = tonumber(size or rest)
    if not subject:find "^_INBOX%." then
      list[#list + 1] = { subject = subject, reply = reply, payload = text:sub(stop + 1, stop + size) }
    end
    at = stop + size + 3
  end
end

-- Waits until `expected` messages have come and then a little for those too many; how often each subject was there.
function M.subjects(tap, expected)
  process.eventually(function() return #M.messages(tap) >= expected end, 5)
  require("muster.core").sleep(0.3)
  local times = {}
  for _, message in ipairs(M.messages(tap)) do times[message.subject] = (times[message.subject] or 0) + 1 end
  return times
end

return M
