-- SPDX-License-Identifier: Apache-2.0
-- `muster`, `muster --help`, `muster help COMMAND`, `muster help examples`, `muster help filter`.
local failure = require "muster.cli.failure"
local filter_text = require "muster.cli.help_filter"
local suggest = require "muster.filter.suggest"

local M = { name = "help", summary = "Help for a command, or: help examples, help filter." }

local SHORT = [[
muster - register identities, find them by metadata, send to all that match

  muster demo                                       see it work, nothing to configure
  muster serve &                                    a server on a local socket
  muster register sensor-1 -m '{"site":"hq"}' --ttl 5m
  muster enumerate 'site == "hq"'
  muster multicast 'site == "hq"' '{"cmd":"ping"}'

Use it       register  heartbeat  get  enumerate (ls)  count  multicast  unregister  receive  explain  match  filters
Run it       serve
Measure it   loadtest
More         help  version  completion  demo

muster COMMAND --help for one command, muster help examples for a cheat sheet, muster help filter for the language.
]]

local EXITS = [[
Exit: 0 done, 1 refused, 2 usage, 3 some targets not reached, 4 no connection, 5 time ran out, 78 configuration,
      99 a threshold of the load test failed, 130 and 143 ended by a signal
]]

local EXAMPLES = [==[
A server
  muster serve                                          memory only, on the default socket
  muster serve --redis-addr 127.0.0.1:6379 --nats-servers nats://127.0.0.1:4222
  muster serve -c muster.lua                            the same settings from a file
Register
  muster register sensor-1 -m '{"site":"hq","battery":12}' --ttl 5m
  muster register sensor-1 -m @metadata.json --create   only if it is not there
  muster register --stdin < fleet.ndjson                one body a line: {"id":"a","metadata":{},"ttl":60}
  muster heartbeat sensor-1 sensor-2                    renew leases
  muster unregister sensor-1
Find
  muster get sensor-1
  muster enumerate 'battery < 20 and site in ["hq","lab"]'
  muster ls 'battery < :low' --param low=20 --sort site,-battery --limit 10
  muster ls --fields site,battery --json | head
  muster ls --group-by site --agg avg:metrics.load      how many, and figures, by group
  muster ls 'battery < 20' --exists                     only the exit code: 0 some, 1 none
  muster filters                                        named filters of the server, for @name(..) in any filter
  muster count 'not (fw >= semver"1.3")'
  muster explain 'battery < 20' --id sensor-1           why does it match, or not?
  muster match 'level == "error"' < log.ndjson          grep with the filter language, no server
Send
  muster receive sensor-1 --register -m '{"site":"hq"}' --ttl 30s
  muster receive --gateway edge-7 --json                for all that registered with --gateway edge-7
  muster multicast 'battery < 20' '{"cmd":"sleep"}' --dry-run
  muster multicast 'battery < 20' '{"cmd":"sleep"}' --ack processed --timeout 10s --expect 40~10%
  muster multicast --all @notice.json --report failed
Measure
  muster loadtest mixed -r 500 -d 30s --embedded --threshold 'p99<50ms'
Elsewhere
  export MUSTER_URL=nats://127.0.0.1:4222 MUSTER_NAMESPACE=fleet
  muster --json ls > fleet.ndjson
]==]

function M.short()
  return SHORT
end

-- What `module.name` is listed as.
local function listing(command)
  local alias = command._aliases[2] and (" (%s)"):format(command._aliases[2]) or ""
  return ("  %-16s %s"):format(command._name .. alias, command._summary)
end

function M.all(parser)
  local lines = {}
  for _, command in ipairs(parser._commands) do lines[#lines + 1] = listing(command) end
  return SHORT:match "^(.-)\nUse it" .. "\nUsage: muster COMMAND [options]\n\nCommands:\n" .. table.concat(lines, "\n")
    .. "\n\nmuster COMMAND --help for its options; -V, --version prints the version.\n"
    .. "Environment: MUSTER_URL (unix:PATH or nats://HOST:PORT), MUSTER_NAMESPACE, NO_COLOR, FORCE_COLOR\n" .. EXITS
end

-- "-n, --namespace <name>".
local function label(option)
  local argument = option._argname and option._minargs > 0 and " " .. option._argname or ""
  return table.concat(option._public_aliases, ", ") .. argument
end

local COLUMN = 30

local function block(title, rows)
  if #rows == 0 then return "" end
  local lines = { "\n" .. title }
  for _, row in ipairs(rows) do
    local apart = #row[1] < COLUMN - 2 and (" "):rep(COLUMN - 2 - #row[1]) or "\n" .. (" "):rep(COLUMN)
    lines[#lines + 1] = "  " .. row[1] .. apart .. row[2]
  end
  return table.concat(lines, "\n") .. "\n"
end

-- The options by group, those in no group first.
local function option_blocks(command)
  local grouped, blocks = {}, {}
  for _, group in ipairs(command._groups) do
    local rows = {}
    for i, option in ipairs(group) do
      grouped[option] = true
      rows[i] = { label(option), option._description }
    end
    blocks[#blocks + 1] = block(group.name, rows)
  end
  local rows = {}
  for _, option in ipairs(command._options) do
    if not grouped[option] then rows[#rows + 1] = { label(option), option._description } end
  end
  return block("Options", rows) .. table.concat(blocks)
end

-- "muster get [options] <id>".
local function usage(module, command)
  if module.usage then return "muster " .. module.usage end
  local parts = { "muster", command._name, "[options]" }
  for _, argument in ipairs(command._arguments) do
    parts[#parts + 1] = argument._minargs == 0 and ("[<%s>]"):format(argument._name) or ("<%s>"):format(argument._name)
    if argument._maxargs > 1 then parts[#parts] = parts[#parts] .. " ..." end
  end
  return table.concat(parts, " ")
end

function M.command(module, command)
  local examples = module.examples and "\n" .. module.examples or ""
  local arguments = {}
  for i, argument in ipairs(command._arguments) do
    arguments[i] = { argument._argname or ("<%s>"):format(argument._name), argument._description }
  end
  local details = module.details and "\n" .. module.details:gsub("\n*$", "") .. "\n" or ""
  return module.summary .. "\n" .. examples .. "\nUsage: " .. usage(module, command) .. "\n"
    .. block("Arguments", arguments) .. option_blocks(command) .. details
end

function M.setup(command)
  command:argument("topic", "A command, examples, or filter."):args "?"
end

local TOPICS = { examples = EXAMPLES, filter = filter_text }

-- No help for `topic`: says what there is help for.
local function refuse(topic, commands)
  local names = suggest.keys(TOPICS)
  local shown = { "Topics: " .. table.concat(names, ", ") .. ", and the commands" }
  for i, name in ipairs(commands) do
    if i % 9 == 1 then shown[#shown + 1] = " " end
    shown[#shown] = shown[#shown] .. " " .. name
    names[#names + 1] = name
  end
  local near = suggest.nearest(topic, names)
  failure.raise {
    exit = failure.EXIT.usage, code = "EINVAL", lines = shown,
    message = ("no help for '%s'%s"):format(topic, near and (". Did you mean '%s'?"):format(near) or ""),
  }
end

function M.run(args, out, parser)
  local text = args.topic and TOPICS[args.topic]
  if text or not args.topic then
    out:write(text or M.all(parser))
    return failure.EXIT.ok
  end
  local commands = {}
  for i, command in ipairs(parser._commands) do
    commands[i] = command._name
    for _, alias in ipairs(command._aliases) do
      if alias == args.topic then
        out:write(M.command(command.module, command))
        return failure.EXIT.ok
      end
    end
  end
  refuse(args.topic, commands)
end

return M
