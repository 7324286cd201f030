-- SPDX-License-Identifier: Apache-2.0
-- `muster receive`: gets the messages of identities or gateways and acknowledges them.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local limits = require "muster.filter.limits"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local register = require "muster.cli.register"
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
One line a message: its payload, with the id and a tab before it where there are several. Control characters are shown
as escapes; --json has the payload exactly. A gateway's envelope is taken apart, a line for each identity.
]],
}

local DEFAULT_LEASE = "5m"

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
    out:line((state.several and output.visible(id) .. "\t" or "") .. output.visible(message.payload))
  end
end

-- An envelope: its ids and the payload behind the first line; nil if it is none.
local function open_envelope(bytes)
  local head, payload = bytes:match "^([^\n]*)\n(.*)$"
  local envelope = head and core.json_decode(head)
  if type(envelope) ~= "table" or type(envelope.to) ~= "table" then return nil end
  return envelope.to, payload
end

local function on_message(state, name, message)
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
  if state.count and state.messages >= state.count then state.door.raw:stop() end
end

-- Leases -------------------------------------------------------------------------------------------------------------

local function register_ids(state, ids)
  for _, id in ipairs(ids) do state.door:call("register", register.body(state.args, id)) end
end

local function renew(state)
  local answer = state.door:call("heartbeat", text.object {
    { "ids", text.list(state.ids, "id", "EID") }, { "ttl", options.duration_json(state.args.ttl, "--ttl") },
  })
  local lost = {}
  for i, id in ipairs(text.elements(text.members(answer).unknown)) do lost[i] = text.value(id) end
  register_ids(state, lost)
end

-- Runs until there is a reason to end, and renews meanwhile.
local function run(state)
  local ends = state.duration and core.monotonic() + state.duration
  local renewal = state.half and core.monotonic() + state.half
  while true do
    local next_ = math.min(ends or math.huge, renewal or math.huge)
    local why = next_ < math.huge and state.door.raw:run(math.max(0.001, next_ - core.monotonic())) or
      next_ == math.huge and state.door.raw:run()
    if why ~= "timeout" then return why end
    if ends and core.monotonic() >= ends then return why end
    if renewal and core.monotonic() >= renewal then
      renew(state)
      renewal = core.monotonic() + state.half
    end
  end
end

local function check_arguments(args)
  if args.gateway and args.register then failure.usage "--register is for identities, not for gateways" end
  if not args.register and (args.metadata or args.ttl) then failure.usage "-m and --ttl need --register" end
  for _, id in ipairs(args.id) do
    if limits.invalid_utf8(id) then failure.raise { code = "EID", message = "id is not valid UTF-8" } end
  end
end

local function half_lease(args)
  if not args.register or args.ttl == "never" then return nil end
  return options.seconds(args.ttl or DEFAULT_LEASE, "--ttl") / 2
end

local function announce(state, kind)
  local names = {}
  for i, name in ipairs(state.ids) do names[i] = output.visible(name) end
  state.out:note(("receiving as %s%s"):format(kind == "via" and "gateway " or "", table.concat(names, ", ")))
end

function M.run(args, out)
  check_arguments(args)
  local state = {
    args = { ttl = args.ttl, metadata = args.metadata }, ids = args.id, out = out, messages = 0,
    gateway = args.gateway, several = args.gateway or #args.id > 1, ack = acknowledgement(args.ack),
    count = options.integer(args.count, "--count", 1), half = half_lease(args),
    duration = args.duration and options.seconds(args.duration, "--for"),
  }
  state.door = options.open_door(args)
  local kind = args.gateway and "via" or "to"
  for _, name in ipairs(args.id) do
    local ok, message, code = state.door.raw:receive(state.door.namespace, kind, name, function(payload, reply, subject)
      on_message(state, name, { payload = payload, reply = reply, subject = subject })
    end)
    if not ok then failure.raise { code = code, message = message } end
  end
  if args.register then register_ids(state, args.id) end
  announce(state, kind)
  local why = run(state)
  state.door:close()
  if why == "lost" then failure.raise { code = "ECLOSED", message = "the connection to the server was lost" } end
  local ends = { SIGINT = failure.EXIT.interrupted, SIGTERM = failure.EXIT.terminated }
  return ends[why] or failure.EXIT.ok
end

return M
