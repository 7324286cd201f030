-- SPDX-License-Identifier: Apache-2.0
-- `muster serve`: a coordinator on a control socket and, with NATS, as a service there.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local named = require "muster.cli.named"
local options = require "muster.cli.options"
local suggest = require "muster.filter.suggest"

local M = {
  name = "serve",
  summary = "Run a coordinator until SIGTERM or SIGINT.",
  examples = [[
  muster serve                              in memory, on the default control socket
  muster serve --redis-addr 127.0.0.1:6379 --nats-servers nats://127.0.0.1:4222
  muster serve -c muster.lua                a Lua file that returns the same settings: { redis_addr = ".." }
]],
  details = [[
Without --redis-addr the registry is in memory, without --nats-servers messages stay in the process. When it is ready it
says so in one line on standard error. SIGHUP reads the folder of named filters again: all of it, or, if a file is
wrong, nothing. Exit code: 0 after SIGTERM or SIGINT, 1 if another program listens on the socket, 4 if Redis or NATS
cannot be reached at the start, 78 if the configuration is wrong (an address that is none, too).
]],
}

-- Settings of the file given with -c, by the type of their value. The options of the same names come first.
local SETTINGS = {
  redis_addr = "string", redis_db = "number", redis_user = "string", redis_password = "string",
  password_file = "string", nats_servers = "string", nats_user = "string", nats_password_file = "string",
  nats_token_file = "string", nats_creds = "string",
  nats_nkey = "string", nats_ca = "string", socket = "string or false", prefix = "string",
  log_level = "string", log_format = "string", max_identities = "number", filters = "string",
}

function M.setup(command)
  options.option(command, "-c --config", "<file>", "Lua file that returns a table of settings; options come first.")
  command:group("Registry",
    options.option(command, "--redis-addr", "<addr>", "HOST:PORT, or the path of a Unix socket."),
    options.option(command, "--redis-db", "<n>", "Database (default: 0)."),
    options.option(command, "--redis-user", "<name>", "User name."),
    options.option(command, "--password-file", "<file>", "File with the password for Redis."),
    options.option(command, "--redis-password", "<text>", "The password; others can read it in the list of processes."),
    options.option(command, "--max-identities", "<n>", "Per namespace (default: 1000000)."))
  command:group("Messaging and doors",
    options.option(command, "--nats-servers", "<urls>", "Comma-separated; muster is a service there, too."),
    options.option(command, "--socket", "<path>", "Control socket (default: $XDG_RUNTIME_DIR/muster/control.sock)."),
    command:flag("--no-socket", "No control socket."),
    options.option(command, "--prefix", "<name>", "Of subjects and Redis keys (default: muster)."))
  command:group("Filters", named.option(command))
  options.nats_login(command)
  command:group("Log",
    options.option(command, "--log-level", "<level>", "debug, info, warn, error or off (default: warn)."),
    options.option(command, "--log-format", "<format>", "logfmt or json (default: logfmt)."))
end

local function config_error(format, ...)
  failure.raise { exit = failure.EXIT.config, code = "ECONFIG", message = format:format(...) }
end

local function check_setting(path, key, value)
  local expected = SETTINGS[key]
  if not expected then
    local near = suggest.nearest(tostring(key), suggest.keys(SETTINGS))
    config_error("%s: unknown setting '%s'%s", path, tostring(key), near and "; did you mean '" .. near .. "'?" or "")
  end
  local kind = type(value)
  local fits = kind == expected or expected == "string or false" and (kind == "string" or value == false)
  if not fits then config_error("%s: setting %s: expected a %s, got a %s", path, key, expected, kind) end
end

-- The table that a configuration file returns.
function M.read_config(path)
  local file, message = io.open(path, "rb")
  if not file then config_error("cannot read the configuration: %s", message) end
  local source = file:read "*a"
  file:close()
  local environment = {
    os = { getenv = os.getenv }, tostring = tostring, tonumber = tonumber, string = string, table = table, math = math,
    ipairs = ipairs, pairs = pairs, type = type, error = error, assert = assert,
  }
  local chunk
  chunk, message = load(source or "", "@" .. path, "t", environment)
  if not chunk then config_error("%s", message) end
  local ok, settings = pcall(chunk)
  if not ok then config_error("%s", tostring(settings)) end
  if type(settings) ~= "table" then config_error("%s: has to return a table, not a %s", path, type(settings)) end
  for key, value in pairs(settings) do check_setting(path, key, value) end
  return settings
end

-- What the command line gives, over what the file gives.
local function merge(args)
  local settings = args.config and M.read_config(args.config) or {}
  for key in pairs(SETTINGS) do
    if args[key] ~= nil then settings[key] = args[key] end
  end
  if args.no_socket then settings.socket = false end
  return settings
end

local function choice(settings, key, choices)
  local value = settings[key]
  if value == nil then return nil end
  for _, each in ipairs(choices) do
    if each == value then return value end
  end
  config_error("%s is '%s', expected one of: %s", key, value, table.concat(choices, ", "))
end

local function whole(settings, key, min, max)
  local value = settings[key]
  local number = tonumber(value)
  if value ~= nil and (not number or number % 1 ~= 0 or number < min or number > max) then
    config_error("%s is '%s', expected a whole number from %d to %d", key, tostring(value), min, max)
  end
  return number
end

-- The options of core.open.
local function core_options(settings, out)
  local host, port
  if settings.redis_addr then
    host, port = options.parse_address(settings.redis_addr, 6379)
    if not host then config_error("redis_addr is '%s', expected HOST:PORT or a path", settings.redis_addr) end
  end
  local fault = settings.nats_servers and options.nats_fault(settings.nats_servers)
  if fault then config_error("nats_servers: '%s' is no address of a server; %s", fault, options.NATS_EXPECTED) end
  if settings.redis_password then
    out:warn "--redis-password can be read by others; better is --password-file"
  end
  local opened = options.login(settings)
  opened.redis_host, opened.redis_port = host, port
  opened.redis_db = whole(settings, "redis_db", 0, 65535)
  opened.redis_user = settings.redis_user
  opened.redis_password = options.secret(settings.password_file) or settings.redis_password
  opened.nats_servers, opened.prefix = settings.nats_servers, settings.prefix
  opened.log_level = choice(settings, "log_level", { "debug", "info", "warn", "error", "off" })
  opened.log_json = choice(settings, "log_format", { "logfmt", "json" }) == "json"
  opened.filters = settings.filters
  opened.max_identities = whole(settings, "max_identities", 1, 100000000)
  return opened
end

local function socket_path(settings)
  if settings.socket == false then return nil end
  if settings.socket then return settings.socket end
  local path, folder = options.default_socket()
  options.make_socket_folder(folder)
  return path
end

local function refuse(message, code)
  local hint = code == "EBUSY" and "each server needs a --socket of its own" or nil
  failure.raise { code = code, message = message, hint = hint }
end

-- "user:secret@" of a URL is nobody's business.
local function without_login(urls)
  return (urls:gsub("//[^/@,]*@", "//"))
end

local function announce(settings, socket)
  local doors = {}
  if socket then doors[1] = "unix:" .. socket end
  if settings.nats_servers then doors[#doors + 1] = "nats" end
  io.stderr:write(("muster serving on %s   registry %s   messaging %s\n"):format(
    #doors > 0 and table.concat(doors, " and ") or "nothing",
    settings.redis_addr and "redis " .. settings.redis_addr or "memory",
    settings.nats_servers and "nats " .. without_login(settings.nats_servers) or "in process"))
end

-- All problems are shown; the filters from before stay in force then.
local function reload(host, settings, out)
  local found, lines = named.read(settings.filters)
  local ok, message = found ~= nil, nil
  if ok then ok, message = host:load_filters(settings.filters) end
  for _, line in ipairs(lines or { message }) do out:warn(line) end
  io.stderr:write(("muster: filters %s\n"):format(ok and ("read again, %d of them"):format(#found.names)
    or "not changed"))
end

function M.run(args, out)
  if args.socket and args.no_socket then failure.usage "--socket and --no-socket exclude each other" end
  local settings = merge(args)
  if settings.socket == false and not settings.nats_servers then
    config_error "without a socket and without NATS nobody could reach it"
  end
  named.load(settings.filters, failure.EXIT.config)
  local opened = core_options(settings, out)
  local socket = socket_path(settings)
  local host, message, code = core.open(opened)
  if not host then refuse(message, code) end
  local ok = true
  if socket then ok, message, code = host:listen(socket) end
  if ok and settings.nats_servers then ok, message, code = host:serve() end
  if not ok then
    host:close()
    refuse(message, code)
  end
  announce(settings, socket)
  while host:run(nil, settings.filters ~= nil) == "SIGHUP" do reload(host, settings, out) end
  host:close()
  return failure.EXIT.ok
end

return M
