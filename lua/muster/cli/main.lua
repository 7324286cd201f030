-- SPDX-License-Identifier: Apache-2.0
-- The command line: require("muster.cli.main").run{"enumerate", ...} -> exit code.
--
-- A command is a module with { name = "enumerate ls", summary =, examples =, details =, usage =,
-- setup = function(command), run = function(args, out) -> exit code }. It raises failures (failure.lua); they end here.
local argparse = require "argparse"
local failure = require "muster.cli.failure"
local help = require "muster.cli.help"
local output = require "muster.cli.output"

local M = {}

M.COMMANDS = {
  "register", "heartbeat", "get", "enumerate", "count", "multicast", "unregister", "receive", "explain", "filters",
  "match", "serve", "loadtest", "demo", "help", "version", "completion",
}

-- Leaves the parser, through its own code, with a text to print.
local function ask_for_help(render)
  return function() error({ help = render }, 0) end
end

local function add_help(parser, render)
  parser:flag("-h --help", "Show this help."):action(ask_for_help(render))
end

local function command_error(parser, message)
  local name = parser:_get_fullname()
  message = message:gsub("\n", ". "):gsub("^(.-): (Did you mean .*)$", "%1. %2")
  local tip = message:find("Did you mean", 1, true) and "" or (" (see %s --help)"):format(name)
  error({ usage = message .. tip }, 0)
end

-- The parser of everything, and the modules by name.
function M.parser()
  local parser = argparse("muster"):add_help(false):command_target "command":require_command(false)
  parser:flag("-V --version", "Print the version.")
  add_help(parser, function() return help.all(parser) end)
  parser.error = command_error
  local modules = {}
  for _, name in ipairs(M.COMMANDS) do
    local module = require("muster.cli." .. name)
    local command = parser:command(module.name):add_help(false)
    command:summary(module.summary)
    module.setup(command)
    command:option("--color", "When to colour: auto, always, never (default: auto)."):argname "<when>"
      :choices { "auto", "always", "never" }
    add_help(command, function() return help.command(module, command) end)
    modules[command._name] = module
    command.module = module
  end
  return parser, modules
end

local function find_command(parser, name)
  for _, command in ipairs(parser._commands) do
    for _, alias in ipairs(command._aliases) do
      if alias == name then return command end
    end
  end
end

-- The options of a parser by their spelling.
local function spellings(parser, into)
  for _, option in ipairs(parser._options) do
    for _, alias in ipairs(option._aliases) do into[alias] = option end
  end
  return into
end

local function takes_value(option)
  return option ~= nil and option._minargs == 1
end

-- In front of an argument that only looks like an option. No argument of a process has a NUL.
local PLAIN = "\0"

-- A filter may begin with `-`: a word with space in it that starts with no option of the command.
local function looks_like_option_only(given, known)
  return given:find "^%-.*%s" and not known[given:match "^[^=%s]+"] and not known[given:sub(1, 2)]
end

-- argparse would take the value in `--sort -load` for an option: such a value is joined to its option, as in getopt.
local function join_values(argv, command)
  local known = spellings(command, {})
  local joined, at = {}, 1
  while at <= #argv do
    local given, value = argv[at], argv[at + 1]
    if given == "--" then
      for i = at, #argv do joined[#joined + 1] = argv[i] end
      break
    end
    if takes_value(known[given]) and value and value:find "^%-." and value ~= "--" then
      joined[#joined + 1] = given .. (given:find "^%-%-" and "=" or "") .. value
      at = at + 2
    elseif takes_value(known[given]) and value then
      joined[#joined + 1], joined[#joined + 2] = given, value
      at = at + 2
    else
      joined[#joined + 1] = (looks_like_option_only(given, known) and PLAIN or "") .. given
      at = at + 1
    end
  end
  return joined
end

local function strip_marks(args)
  for key, value in pairs(args) do
    if type(value) == "table" then
      strip_marks(value)
    elseif type(value) == "string" and value:sub(1, 1) == PLAIN then
      args[key] = value:sub(2)
    end
  end
  return args
end

-- `muster -n fleet --json ls` is `muster ls -n fleet --json`.
local function command_first(argv, parser)
  local shared = spellings(parser._commands[1], {})
  local own = spellings(parser, {})
  local before, at = {}, 1
  while argv[at] and argv[at]:find "^%-." and shared[argv[at]:match "^[^=]+"] and not own[argv[at]] do
    before[#before + 1] = argv[at]
    if takes_value(shared[argv[at]]) then
      before[#before + 1] = argv[at + 1]
      at = at + 1
    end
    at = at + 1
  end
  if #before == 0 or not find_command(parser, argv[at]) then return argv end
  local moved = { argv[at] }
  for _, given in ipairs(before) do moved[#moved + 1] = given end
  for i = at + 1, #argv do moved[#moved + 1] = argv[i] end
  return moved
end

-- Options as parsed, or nil and what to say: { help = function } or { usage = message }.
local function parse(parser, argv)
  argv = command_first(argv, parser)
  local command = argv[1] and find_command(parser, argv[1])
  if command then argv = join_values(argv, command) end
  local ok, result = pcall(parser.parse, parser, argv)
  if ok then return strip_marks(result) end
  if type(result) ~= "table" then error(result, 0) end
  return nil, result
end

local function guarded(run, out)
  local ok, result = xpcall(run, function(e)
    return failure.is(e) and e or debug.traceback(tostring(e), 2)
  end)
  if ok then return result end
  if not failure.is(result) then
    local message, trace = result:match "^(.-)\n(.*)$"
    result = { exit = failure.EXIT.refused, code = "EINTERNAL", message = "internal error: " .. (message or result) }
    result.lines = { trace }
  end
  out:failure(result)
  return result.exit
end

local function json_wanted(argv)
  for _, given in ipairs(argv) do
    if given == "--" then return false end
    if given == "--json" then return true end
  end
  return false
end

-- Runs one command line; `argv` is a plain array without the program's name. Answers the exit code.
function M.run(argv)
  local parser, modules = M.parser()
  local args, other = parse(parser, argv)
  local out = output.new(args or { json = json_wanted(argv) })
  return guarded(function()
    if other and other.usage then failure.usage("%s", other.usage) end
    local code
    if other then
      out:write(other.help())
      code = failure.EXIT.ok
    elseif args.version and not args.command then
      code = modules.version.run({}, out)
    elseif not args.command then
      out:write(help.short())
      code = failure.EXIT.ok
    else
      code = modules[args.command].run(args, out, parser)
    end
    out:flush()
    return code
  end, out)
end

return M
