-- SPDX-License-Identifier: Apache-2.0
-- `muster register`: one identity, or many from standard input.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "register",
  summary = "Register an identity, renew its lease, or replace its metadata.",
  examples = [[
  muster register sensor-1 -m '{"site":"hq","battery":12}' --ttl 5m
  muster register sensor-1 -m @metadata.json --create
  muster register --stdin < fleet.ndjson      one body a line: {"id":"a","metadata":{},"ttl":60}
]],
  details = [[
With --stdin, lines are registered in batches of 500; what was refused is listed with its line number. The exit code is
that of the worst line: 4 if one failed because Redis or the server was not reached, else 5 if one ran out of time, else
1 if one was refused for another reason (its own mistakes, too).
]],
}

local BATCH = 500
local BATCH_BYTES = 768 * 1024 -- a request may have 1 MiB
local LINE_BYTES = 64 * 1024

function M.setup(command)
  command:argument("id", "The identity, 1 to 255 bytes."):args "?"
  options.option(command, "-m --metadata", "<json>", "A JSON object, or @FILE (default: {}).")
  options.option(command, "--ttl", "<time>", "Lease: seconds, 5m, 1h30m, or never (default: 5m).")
  options.option(command, "--gateway", "<name>", "The gateway that serves it.")
  options.option(command, "--mode", "<mode>", "upsert, create or replace (default: upsert).")
  command:flag("--create", "Short for --mode create: fail if it is alive.")
  command:flag("--replace", "Short for --mode replace: whoever owns it.")
  options.option(command, "--owner", "<token>", "An upsert of what another owner holds is refused.")
  options.option(command, "--if-revision", "<n>", "Only at this revision (0: only if it is not there).")
  command:flag("--stdin", "Read bodies from standard input, one JSON object a line.")
  options.output(command)
  options.door(command)
end

local function mode(args)
  local given = { args.mode, args.create and "create" or nil, args.replace and "replace" or nil }
  local chosen
  for i = 1, 3 do
    if given[i] and chosen and given[i] ~= chosen then failure.usage("--%s contradicts mode %s", given[i], chosen) end
    chosen = chosen or given[i]
  end
  return chosen and text.quote(chosen, "--mode")
end

-- The body for one identity from the command line.
function M.body(args, id)
  return text.object {
    { "id", text.quote(id, "id", "EID") },
    { "metadata", args.metadata and options.json_argument(args.metadata, "metadata", "object") },
    { "ttl", options.duration_json(args.ttl, "--ttl") },
    { "gateway", args.gateway and text.quote(args.gateway, "--gateway") },
    { "mode", mode(args) },
    { "owner", args.owner and text.quote(args.owner, "--owner") },
    { "if_revision", args.if_revision and ("%d"):format(options.integer(args.if_revision, "--if-revision")) },
  }
end

local function show(answer, out)
  if out.json then return out:line(answer) end
  if out.quiet then return end
  local it = text.members(answer)
  local done = it.created == "true" and "registered" or "renewed"
  local lease = output.lease(text.value(it.expires_at))
  out:line(("%s %s   revision %s   lease %s"):format(done, output.visible(text.value(it.id)), it.revision, lease))
end

-- Standard input ------------------------------------------------------------------------------------------------------

-- Of the lines' exit codes the first of these that occurs is the command's.
local WORST = { failure.EXIT.connection, failure.EXIT.deadline, failure.EXIT.refused }

local function exit_code(state)
  for _, exit in ipairs(WORST) do
    if state.exits[exit] then return exit end
  end
  return failure.EXIT.ok
end

-- e: { code =, message =, hint = }, the message perhaps with a place within the line.
local function reject(state, number, e)
  state.rejected = state.rejected + 1
  local exit = failure.exit_of(e.code)
  state.exits[exit == failure.EXIT.usage and failure.EXIT.refused or exit] = true
  if state.out.json then
    state.out:line(core.json_encode { line = number, error = e })
  else
    local what, column = e.message:match "^(.*) at line 1, column (%d+)$"
    local place = column and (", column %s"):format(column) or ""
    io.stderr:write(("line %d%s: %s: %s\n"):format(number, place, e.code,
      output.visible((what or e.message) .. (e.hint and "; " .. e.hint or ""))))
  end
end

local function take_answer(state, number, answer)
  local refused = text.members(answer).error
  if refused then
    local e = text.members(refused)
    return reject(state, number, { code = text.value(e.code), message = text.value(e.message),
                                   hint = text.value(e.hint) })
  end
  state.accepted = state.accepted + 1
  if state.out.json then state.out:line(answer) end
end

-- Sends the batch, and tells of all its lines in their order. Without any answer only what is known is told.
local function send(state)
  local bodies, answers, problem = {}, {}, nil
  for _, entry in ipairs(state.batch) do bodies[#bodies + 1] = entry.body end
  if #bodies > 0 then
    local ok, answer = pcall(state.door.call, state.door, "register", "[" .. table.concat(bodies, ",") .. "]")
    if ok then answers = text.elements(answer) else problem = answer end
  end
  local at = 0
  for _, entry in ipairs(state.batch) do
    if entry.refused then
      reject(state, entry.number, entry.refused)
    else
      at = at + 1
      if answers[at] then take_answer(state, entry.number, answers[at]) end
    end
  end
  if problem then error(problem, 0) end
  state.batch, state.bytes = {}, 0
end

-- What is wrong with a line before it is sent; nil if nothing is.
local function fault(line, body)
  if #line > LINE_BYTES then return { code = "ETOOBIG", message = "the line is longer than 64 KiB" } end
  local value, message = core.json_decode(line)
  if value == nil then return { code = "EJSON", message = tostring(message) } end
  return body:byte() ~= 123 and { code = "EINVAL", message = "expected a JSON object" } or nil
end

local function take(state, number, line)
  if line:find "^%s*$" then return end
  local body = line:match "^%s*(.-)%s*$"
  local refused = fault(line, body)
  local size = refused and 0 or #body + 1
  if state.bytes + size > BATCH_BYTES then send(state) end
  state.batch[#state.batch + 1] = { number = number, body = not refused and body or nil, refused = refused }
  state.bytes = state.bytes + size
  if #state.batch == BATCH then send(state) end
end

local function run_stdin(args, out)
  for _, name in ipairs { "id", "metadata", "ttl", "gateway", "mode", "owner", "if_revision" } do
    if args[name] then failure.usage("--stdin takes everything from its lines; leave out %s", name) end
  end
  local state = { out = out, batch = {}, bytes = 0, accepted = 0, rejected = 0, exits = {} }
  state.door = options.open_door(args)
  local number = 0
  for line in io.stdin:lines() do
    number = number + 1
    take(state, number, line)
  end
  send(state)
  state.door:close()
  if not out.json and not out.quiet then
    out:line(("%s accepted, %s rejected"):format(output.number(state.accepted), output.number(state.rejected)))
  end
  return exit_code(state)
end

function M.run(args, out)
  if args.stdin then return run_stdin(args, out) end
  if not args.id then failure.usage "give an id, or --stdin (see muster register --help)" end
  local body = M.body(args, args.id)
  local door = options.open_door(args)
  show(door:call("register", body), out)
  door:close()
  return failure.EXIT.ok
end

return M
