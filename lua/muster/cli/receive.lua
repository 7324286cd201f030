-- SPDX-License-Identifier: Apache-2.0
-- `muster receive`: gets the messages of identities or gateways and acknowledges them.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local lease = require "muster.cli.lease"
local limits = require "muster.filter.limits"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "receive",
  summary = "Receive the messages of identities or gateways, and acknowledge them.",
  examples = [[
  muster receive sensor-1 --register -m '{"site":"hq"}' --ttl 30s
  muster receive --gateway edge-7 --json
  muster receive sensor-1 --ack 'fail:EBUSY not now' --count 1
]],
  details = [[
One line a message: its payload, with the id and a tab before it where there are several. Control characters and bytes
that are not UTF-8 are shown as escapes (\n, \x1b, \xff), a backslash as two; --json has the payload as it came. A
gateway's envelope is taken apart, a line for each identity.

With --register, renewals that fail and a server that goes away are told once and tried again until a signal, --count or
--for ends it; identities that the server has forgotten are registered again. Without, it ends with 4 when the control
socket is closed; over NATS it stays.
]],
}

function M.setup(command)
  command:argument("id", "The identities; with --gateway, the gateways."):args "+"
  command:flag("--gateway", "The names are gateways.")
  options.option(command, "--ack", "<what>", "received, processed, none, or 'fail:CODE text' (default: received).")
  options.option(command, "--count", "<n>", "End after n messages.")
  options.option(command, "--for", "<time>", "End after this time."):target "duration"
  command:flag("--register", "Register the ids, and renew their leases at half time.")
  options.option(command, "-m --metadata", "<json>", "With --register: a JSON object, or @FILE.")
  options.option(command, "--ttl", "<time>", "With --register: the lease (default: 5m).")
  options.output(command)
  options.door(command)
end

-- The text of the acknowledgement; nil: none.
local function acknowledgement(given)
  local texts = { received = "", processed = "+" }
  if given == nil then return "" end
  if given == "none" then return nil end
  local failed = given:match "^fail:(.+)$"
  if failed and failed:find "^[%w_.%-]+" then return "-" .. failed end
  return texts[given] or failure.usage("--ack %s: expected received, processed, none or fail:CODE text", given)
end

local function payload_json(payload)
  local member = text.payload(payload)
  return ('"%s":%s'):format(member[1], member[2])
end

local function show(state, id, message)
  state.messages = state.messages + 1
  local out = state.out
  if out.json then
    out:line(('{"id":%s,%s,"subject":%s}'):format(core.json_encode(id), payload_json(message.payload),
      core.json_encode(message.subject)))
  else
    out:line((state.several and output.exact(id) .. "\t" or "") .. output.exact(message.payload))
  end
end

-- An envelope: its ids and the payload behind the first line; nil if it is none.
local function open_envelope(bytes)
  local head, payload = bytes:match "^([^\n]*)\n(.*)$"
  local envelope = head and core.json_decode(head)
  if type(envelope) ~= "table" or type(envelope.to) ~= "table" then return nil end
  return envelope.to, payload
end

-- Whether all that --count asks for has come.
local function full(state)
  return state.count ~= nil and state.messages >= state.count
end

local function on_message(state, name, message)
  if full(state) then return end
  local ids = { name }
  if state.gateway then
    local payload
    ids, payload = open_envelope(message.payload)
    if not ids then return state.out:warn("an envelope for " .. name .. " cannot be read") end
    message.payload = payload
  end
  for _, id in ipairs(ids) do show(state, id, message) end
  state.out:flush()
  if message.reply and state.ack then state.door.raw:acknowledge(message.reply, state.ack) end
  if full(state) then state.door.raw:stop() end
end

-- Running ------------------------------------------------------------------------------------------------------------

-- A door on which everything is subscribed.
local function subscribe(state)
  local door = options.open_door(state.args)
  state.door = door -- messages come from the first subscription on
  for _, name in ipairs(state.ids) do
    local ok, message, code = door.raw:receive(door.namespace, state.kind, name, function(payload, reply, subject)
      on_message(state, name, { payload = payload, reply = reply, subject = subject })
    end)
    if not ok then
      door:close()
      failure.raise { code = code, message = message }
    end
  end
end

local LOST = { code = "ECLOSED", message = "the connection to the server was lost" }

-- Connects again and again; false if the time of the command is over before.
local function reconnect(state)
  state.door:close()
  local problem = LOST
  repeat
    local pause = state.lease:fail(problem)
    core.sleep(math.max(0, math.min(pause, state.ends - core.monotonic())))
    if core.monotonic() >= state.ends then return false end
    local ok, result = pcall(subscribe, state)
    if ok then
      state.lease:resume(state.door)
      return true
    end
    if not failure.is(result) then error(result, 0) end
    problem = result
  until false
end

-- Runs until there is a reason to end, and keeps the leases meanwhile.
local function run(state)
  local keeper = state.lease
  while not full(state) do
    local now = core.monotonic()
    if now >= state.ends then return "timeout" end
    if keeper and keeper.due <= now then keeper:act() end
    local next_ = math.min(state.ends, keeper and keeper.due or math.huge)
    local why = state.door.raw:run(next_ < math.huge and math.max(0.001, next_ - now) or nil)
    if why == "lost" and keeper and not full(state) then
      if not reconnect(state) then return "timeout" end
    elseif why ~= "timeout" and why ~= "stop" then
      return full(state) and "stop" or why
    end
  end
  return "stop"
end

local function check_arguments(args)
  if args.gateway and args.register then failure.usage "--register is for identities, not for gateways" end
  if not args.register and (args.metadata or args.ttl) then failure.usage "-m and --ttl need --register" end
  for _, id in ipairs(args.id) do
    if limits.invalid_utf8(id) then failure.raise { code = "EID", message = "id is not valid UTF-8" } end
  end
end

local function make_lease(args, out)
  if not args.register then return nil end
  -- Read once: it may come from standard input.
  local metadata = args.metadata and options.json_argument(args.metadata, "metadata", "object")
  return lease.new { ids = args.id, args = { metadata = metadata, ttl = args.ttl }, out = out }
end

local function announce(state)
  local names = {}
  for i, name in ipairs(state.ids) do names[i] = output.visible(name) end
  state.out:note(("receiving as %s%s"):format(state.kind == "via" and "gateway " or "", table.concat(names, ", ")))
end

function M.run(args, out)
  check_arguments(args)
  local duration = args.duration and options.seconds(args.duration, "--for")
  local state = {
    args = args, ids = args.id, out = out, messages = 0, kind = args.gateway and "via" or "to",
    gateway = args.gateway, several = args.gateway or #args.id > 1, ack = acknowledgement(args.ack),
    count = options.integer(args.count, "--count", 1), lease = make_lease(args, out), ends = math.huge,
  }
  subscribe(state)
  if state.lease then state.lease:register(state.door) end
  announce(state)
  if duration then state.ends = core.monotonic() + duration end
  local why = run(state)
  state.door:close()
  if why == "lost" then failure.raise(LOST) end
  local ends = { SIGINT = failure.EXIT.interrupted, SIGTERM = failure.EXIT.terminated }
  return ends[why] or failure.EXIT.ok
end

return M
