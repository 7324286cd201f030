-- SPDX-License-Identifier: Apache-2.0
-- `muster demo`: the whole job in a few steps, with nothing to configure.
local core = require "muster.core"
local explain = require "muster.cli.explain"
local failure = require "muster.cli.failure"
local multicast = require "muster.cli.multicast"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "demo",
  summary = "See it work: a small fleet, a filter, a multicast with receipts. Nothing to configure.",
  examples = [[
  muster demo             all in this process, in memory
  muster demo --real      with a redis-server and a nats-server of its own, and a restart in between
  muster demo --stay      keeps a control socket open to go on with
]],
}

local FLEET = {
  { id = "sensor-1", metadata = '{"site":"hq","battery":97,"fw":"1.3.0"}' },
  { id = "sensor-2", metadata = '{"site":"hq","battery":12,"fw":"1.2.7"}' },
  { id = "sensor-3", metadata = '{"site":"lab","battery":55,"fw":"1.3.0"}' },
  { id = "sensor-4", metadata = '{"site":"lab","battery":15,"fw":"1.3.1"}', silent = true },
  { id = "sensor-5", metadata = '{"site":"lab","battery":18,"fw":"1.2.9"}' },
}

local FILTER = "battery < 20"
local NAMESPACE = "demo"

function M.setup(command)
  command:flag("--real", "Start private servers, and show that the registry survives a restart of muster.")
  command:flag("--stay", "Stay, with a control socket for other commands, until SIGINT.")
  options.option(command, "--socket", "<path>", "With --stay: the control socket.")
  command:flag("--json", "Print the answers as JSON, one a line.")
  command:flag("-q --quiet", "Nothing but the exit code.")
end

local Demo = {}
Demo.__index = Demo

function Demo:say(line)
  if not self.out.json and not self.out.quiet then self.out:line(line) end
end

-- What one would type for the step that follows.
function Demo:step(command)
  self:say(self.out:paint("cyan", "$ muster " .. command))
end

function Demo:call(verb, body)
  local answer, message, code = self.host:call(verb, NAMESPACE, body)
  if not answer then failure.raise(options.server_failure(message, code)) end
  if self.out.json then self.out:line(text.one_line(answer)) end
  return answer
end

function Demo:open()
  local host, message, code = core.open(self.settings)
  if not host then failure.raise { code = code, message = message } end
  self.host = host
end

function Demo:listen_for(id)
  local ok, message, code = self.host:receive(NAMESPACE, "to", id, function(_, reply)
    if reply then self.host:acknowledge(reply, "") end
  end)
  if not ok then failure.raise { code = code, message = message } end
end

-- The steps -----------------------------------------------------------------------------------------------------------

function Demo:register()
  local bodies = {}
  for i, sensor in ipairs(FLEET) do
    bodies[i] = ('{"id":"%s","metadata":%s,"ttl":"60s"}'):format(sensor.id, sensor.metadata)
    self:step(("register %s -m '%s' --ttl 60s"):format(sensor.id, sensor.metadata))
    if not sensor.silent then self:listen_for(sensor.id) end
  end
  local answers = text.elements(self:call("register", "[" .. table.concat(bodies, ",") .. "]"))
  self:say(("%d registered; all but sensor-4 listen for messages"):format(#answers))
end

function Demo:enumerate(filter)
  self:say ""
  self:step(filter and ("enumerate '%s'"):format(filter) or "enumerate")
  local answer = self:call("enumerate", filter and '{"filter":' .. text.quote(filter) .. "}" or "{}")
  local found = text.elements(text.members(answer).identities)
  local rows = {}
  for i, identity in ipairs(found) do
    local it = text.members(identity)
    rows[i] = { text.value(it.id), output.lease(text.value(it.expires_at)), text.one_line(it.metadata) }
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  if not self.out.json and not self.out.quiet then self.out:table({ "ID", "LEASE", "METADATA" }, rows) end
  return #found
end

function Demo:multicast()
  local payload = '{"cmd":"sleep"}'
  self:say ""
  self:step(("multicast '%s' '%s'"):format(FILTER, payload))
  local answer = self:call("multicast", text.object {
    { "filter", text.quote(FILTER) }, { "payload", text.quote(payload) }, { "timeout", "2" }, { "report", '"all"' },
  })
  if not self.out.json and not self.out.quiet then multicast.show(answer, { report = "all" }, self.out) end
  return answer
end

function Demo:explain()
  self:say ""
  self:step(("explain '%s' --id sensor-1"):format(FILTER))
  local answer = self:call("explain", text.object { { "filter", text.quote(FILTER) }, { "id", '"sensor-1"' } })
  if not self.out.json and not self.out.quiet then explain.show_identity(answer, "sensor-1", self.out) end
end

function Demo:restart()
  self:say ""
  self:say "Now muster itself is stopped and started again; the registry is in Redis:"
  self.host:close()
  self:open()
  local found = self:enumerate()
  if found ~= #FLEET then
    failure.raise { code = "EINTERNAL", message = ("%d of %d identities survived the restart"):format(found, #FLEET) }
  end
  self:say "All of them are there, with the rest of their leases."
end

-- Servers -------------------------------------------------------------------------------------------------------------

-- Waits until a host with the settings can be opened.
function Demo:wait_for(what)
  local message
  for _ = 1, 100 do
    local host
    host, message = core.open(self.settings)
    if host then return host:close() end
    local exited = core.wait(self.servers[what], 0)
    if exited then
      self.servers[what] = nil
      message = "it ended at once; is it installed?"
      break
    end
    core.sleep(0.05)
  end
  message = what .. " did not start: " .. tostring(message)
  failure.raise { exit = failure.EXIT.connection, code = "ECONNECT", message = message }
end

function Demo:spawn(name, argv)
  local log = self.directory .. "/" .. name .. ".log"
  local pid, message = core.spawn { argv = argv, stdout = log, directory = self.directory }
  if not pid then
    message = ("cannot start %s: %s"):format(name, message)
    failure.raise { exit = failure.EXIT.connection, code = "ECONNECT", message = message }
  end
  self.servers[name] = pid
end

function Demo:start_servers()
  self.directory = assert(core.make_directory "muster-demo")
  local redis, nats = tostring(core.free_port()), tostring(core.free_port())
  local began = core.monotonic()
  self:spawn("redis-server", { "redis-server", "--port", redis, "--bind", "127.0.0.1", "--save", "", "--appendonly",
    "no", "--dir", self.directory })
  self:spawn("nats-server", { "nats-server", "-a", "127.0.0.1", "-p", nats })
  self.settings = { redis_host = "127.0.0.1", redis_port = tonumber(redis), log_level = "off" }
  self:wait_for "redis-server"
  self.settings.nats_servers = "nats://127.0.0.1:" .. nats
  self:wait_for "nats-server"
  self.settings.log_level = nil
  self:say(("redis-server on port %s and nats-server on port %s started in %s"):format(redis, nats,
    output.duration(core.monotonic() - began)))
end

function Demo:stop_servers()
  for _, pid in pairs(self.servers) do core.kill(pid, 15) end
  for _, pid in pairs(self.servers) do
    if not core.wait(pid, 3) then
      core.kill(pid, 9)
      core.wait(pid, 3)
    end
  end
  self.servers = {}
  if self.directory then core.remove_tree(self.directory) end
end

-- Stays until a signal; the leases are renewed meanwhile.
function Demo:stay(path)
  if not path then
    local _, folder = options.default_socket()
    options.make_socket_folder(folder)
    path = folder .. "/demo.sock"
  end
  local ok, message, code = self.host:listen(path)
  if not ok then failure.raise { code = code, message = message } end
  self:say ""
  self:say "It keeps running. In another terminal:"
  self:say("  export MUSTER_URL=unix:" .. path .. " MUSTER_NAMESPACE=" .. NAMESPACE)
  self:say "  muster enumerate --sort battery"
  self:say "  muster receive sensor-6 --register -m '{\"battery\":5}' --ttl 10s"
  self:say(("  muster multicast '%s' '{\"cmd\":\"wake\"}'"):format(FILTER))
  self:say "Ctrl-C ends it."
  self.out:flush()
  local ids = {}
  for i, sensor in ipairs(FLEET) do ids[i] = sensor.id end
  local body = text.object { { "ids", text.list(ids) } }
  while self.host:run(20) == "timeout" do self.host:call("heartbeat", NAMESPACE, body) end
end

function Demo:run(args)
  if args.real then self:start_servers() end
  self:open()
  self:register()
  self:enumerate(FILTER)
  local states = text.members(text.members(self:multicast()).states)
  self:explain()
  if args.real then self:restart() end
  if args.stay then self:stay(args.socket) end
  self.host:close()
  local expected = states.received == "2" and states.no_receiver == "1"
  if not expected then failure.raise { code = "EINTERNAL", message = "the receipts are not what they should be" } end
  self:say ""
  self:say "That is all: muster help examples has more."
end

function M.run(args, out)
  local demo = setmetatable({ out = out, servers = {}, settings = {} }, Demo)
  local ok, problem = xpcall(demo.run, function(e)
    return failure.is(e) and e or debug.traceback(tostring(e), 2)
  end, demo, args)
  demo:stop_servers()
  if not ok then error(problem, 0) end
  return failure.EXIT.ok
end

return M
