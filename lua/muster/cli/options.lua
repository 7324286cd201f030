-- SPDX-License-Identifier: Apache-2.0
-- Options that several commands share, and the way from them to a door (a client of a running server).
local core = require "muster.core"
local errors = require "muster.filter.errors"
local failure = require "muster.cli.failure"
local filter = require "muster.filter"
local regex = require "muster.filter.regex"
local text = require "muster.cli.text"
local wording = require "muster.cli.wording"

local M = {}

local function option(command, names, argument, description)
  return command:option(names, description):argname(argument)
end
M.option = option

-- Where --------------------------------------------------------------------------------------------------------------

-- A door is asked for by these; `what` is what the command is called in examples.
function M.door(command)
  command:group("Where",
    option(command, "--socket", "<path>", "Control socket of the server [MUSTER_URL=unix:PATH]."),
    option(command, "--nats-servers", "<urls>", "Reach the server over NATS [MUSTER_URL=nats://HOST:PORT]."),
    option(command, "--prefix", "<name>", "Prefix of its subjects (default: muster)."),
    option(command, "--wait", "<time>", "Longest wait for an answer (default: 30s)."),
    option(command, "-n --namespace", "<name>", "Namespace [MUSTER_NAMESPACE] (default: default)."))
  M.nats_login(command)
end

-- Credentials for NATS; secrets come from files.
function M.nats_login(command)
  command:group("NATS login",
    option(command, "--nats-user", "<name>", "User name."),
    option(command, "--nats-password-file", "<file>", "File with the password."),
    option(command, "--nats-token-file", "<file>", "File with the token."),
    option(command, "--nats-creds", "<file>", "Credentials file (JWT and seed)."),
    option(command, "--nats-nkey", "<file>", "File with the NKey seed."),
    option(command, "--nats-ca", "<file>", "Certificate authority for TLS."))
end

function M.output(command)
  command:flag("--json", "Print JSON: one object, or one a line for lists.")
  command:flag("-q --quiet", "No remarks and no warnings.")
end

function M.read_file(path, what)
  local file, message = io.stdin, nil
  if path ~= "-" then file, message = io.open(path, "rb") end
  if not file then failure.usage("cannot read %s: %s", what or "file", message) end
  local content = file:read "*a"
  if file ~= io.stdin then file:close() end
  if not content then failure.usage("cannot read %s: %s", what or "file", path) end
  return content
end

-- A file's only line.
function M.secret(path)
  return path and (M.read_file(path, "secret"):gsub("[\r\n]+$", ""))
end

-- The login members of core.open and core.connect.
function M.login(args)
  return {
    nats_user = args.nats_user,
    nats_password = M.secret(args.nats_password_file),
    nats_token = M.secret(args.nats_token_file),
    nats_credentials_file = args.nats_creds,
    nats_nkey_file = args.nats_nkey,
    nats_ca_file = args.nats_ca,
  }
end

-- The default control socket. Its folder has mode 0700.
function M.default_socket()
  local runtime = os.getenv "XDG_RUNTIME_DIR"
  local folder = runtime and runtime ~= "" and runtime .. "/muster" or "/tmp/muster-" .. core.uid()
  return folder .. "/control.sock", folder
end

local PRIVATE = 448 -- 0700

-- Makes the folder of the default socket; refused if somebody else was there first.
function M.make_socket_folder(folder)
  local ok, message = core.mkdir(folder, PRIVATE)
  if not ok then
    failure.raise { exit = failure.EXIT.config, code = "ECONFIG", message = message, hint = "give --socket PATH" }
  end
end

function M.namespace(args)
  local from_environment = os.getenv "MUSTER_NAMESPACE"
  return args.namespace or from_environment and from_environment ~= "" and from_environment or "default"
end

-- Where the server is: { socket = } or { nats_servers = }.
local function place(args)
  if args.socket and args.nats_servers then failure.usage "--socket and --nats-servers exclude each other" end
  if args.socket then return { socket = args.socket } end
  if args.nats_servers then return { nats_servers = M.nats_servers(args.nats_servers) } end
  local url = os.getenv "MUSTER_URL"
  if not url or url == "" then return { socket = (M.default_socket()) } end
  local path = url:match "^unix:(.+)$"
  if path then return { socket = (path:gsub("^//", "")) } end
  if url:find "^nats://" or url:find "^tls://" then return { nats_servers = M.nats_servers(url, "MUSTER_URL") } end
  failure.usage("MUSTER_URL is '%s', expected unix:PATH or nats://HOST:PORT", url)
end

-- Whether a door would be opened over NATS, behind which there may be several servers.
function M.over_nats(args)
  return place(args).nats_servers ~= nil
end

local Door = {}
Door.__index = Door

-- What to do where nothing could be opened. A server behind NATS is not known to be missing while NATS is.
local function connect_hint(args, where, message)
  if where.nats_servers then
    local silent = false
    for _, part in ipairs { "No server available", "no answer in time", "cannot connect: ", "Timeout" } do
      silent = silent or message:find(part, 1, true) ~= nil
    end
    return silent and "no NATS server answers there, and a coordinator is reached only through one" or nil
  end
  local url = os.getenv "MUSTER_URL"
  local how = (args.socket or url and url ~= "") and " --socket " .. where.socket or ""
  return "start one with: muster serve" .. how
end

-- Connects. Door: call(verb, body) -> text, the core's door as `raw`, the namespace as `namespace`.
function M.open_door(args)
  local where = place(args)
  local options = M.login(args)
  options.socket, options.nats_servers = where.socket, where.nats_servers
  options.prefix = args.prefix
  options.timeout = args.wait and M.seconds(args.wait, "--wait")
  local raw, message, code = core.connect(options)
  if not raw then
    failure.raise { exit = failure.EXIT.connection, code = code or "ECONNECT", message = message,
                    hint = connect_hint(args, where, message) }
  end
  return setmetatable({ raw = raw, namespace = M.namespace(args) }, Door)
end

-- The failure that an error object of the server stands for.
function M.server_failure(json, code)
  local decoded = core.json_decode(json)
  local e = type(decoded) == "table" and type(decoded.error) == "table" and decoded.error or { message = json }
  return wording.reword {
    code = code or e.code, message = tostring(e.message), hint = e.hint, at = e.at,
    raw = type(decoded) == "table" and json or nil,
  }
end

-- One verb; the answer's text. `source` is the filter of the request, { text =, json = }, to show where it is wrong.
-- nil where the error is `excused`, an error's name.
function Door:call(verb, body, source, excused)
  local answer, message, code = self.raw:call(verb, self.namespace, body)
  if answer then return answer end
  if excused and code == excused then return nil end
  local f = M.server_failure(message, code)
  if code == "EFILTER" and source then M.show_filter_error(f, source) end
  failure.raise(f)
end

function Door:close()
  self.raw:close()
end

-- Filters ------------------------------------------------------------------------------------------------------------

function M.filter(command)
  option(command, "--json-filter", "<json>", "The filter in its JSON form.")
  option(command, "--param", "<name=json>", "Value of :name in the filter (repeatable)."):count "*"
end

-- --param name=JSON, as the text of an object; nil without any.
function M.params(args)
  local parts, seen = {}, {}
  for _, given in ipairs(args.param or {}) do
    local name, value = given:match "^([^=]+)=(.*)$"
    if not name then failure.usage("--param %s: expected name=JSON", given) end
    name = name:gsub("^[:$]", "")
    if seen[name] then failure.usage("--param %s is given twice", name) end
    seen[name] = true
    if core.json_decode(value) == nil then
      failure.usage("--param %s: '%s' is not JSON; write a string as %s", name, value, name .. '="' .. value .. '"')
    end
    parts[#parts + 1] = text.quote(name, "--param") .. ":" .. value
  end
  return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or nil
end

-- Whether :name occurs in a filter. Named filters may be known to the server alone; then its text has to do. Of one
-- that is wrong anyway there is more to say than this.
local function uses(source, compiled, name)
  if not source then return false end
  if compiled then
    for _, used in ipairs(compiled.params) do
      if used == name then return true end
    end
    return false
  end
  local given = source.json or source.text
  return not given:find "@[%a_][%w_]*[%(\"]" or given:find(name, 1, true) ~= nil
end

-- Warns of each --param that the filter does not use.
function M.warn_unused(args, source, out, library)
  if #(args.param or {}) == 0 then return end
  local compiled = source and M.compile(source, library)
  for _, given in ipairs(args.param) do
    local name = given:match "^[:$]?([^=]*)"
    if not uses(source, compiled, name) then
      out:warn(("parameter %s is not used in the filter"):format(name))
    end
  end
end

-- The filter of a command: { text = DSL } or { json = document }, or nil. `words` is the positional argument.
function M.filter_source(args, words)
  if words and args.json_filter then failure.usage "give the filter as text or with --json-filter, not both" end
  if args.json_filter then return { json = args.json_filter } end
  return words and { text = words } or nil
end

-- Its members of a request; `out` is for warnings.
function M.filter_members(args, source, out)
  local value
  if source and source.json then
    value = text.check(source.json, "--json-filter", "object")
  elseif source then
    value = text.quote(source.text, "filter", "EFILTER")
  end
  local params = M.params(args)
  M.warn_unused(args, source, out)
  return { "filter", value }, { "params", params }
end

-- RE2 decides whether a pattern is good; of those that are not, the compiler's own check speaks more clearly.
local function regex_check(pattern)
  local ok, message, offset = core.regex_check(pattern)
  if ok then return true end
  local own, own_message, own_offset = regex.check(pattern)
  if not own then return nil, own_message, own_offset end
  return nil, (message:gsub("^bad regular expression: ", "")), offset
end

M.regex_check = regex_check

-- Compiles { text = } or { json = }; results as of filter.compile. `library`: the named filters (library.lua), or nil.
function M.compile(source, library)
  local compile = source.json and filter.compile_json or filter.compile
  return compile(source.json or source.text, { regex_check = regex_check, named = library and library.named })
end

-- Adds the place of the fault to a failure, as people like to see it.
function M.show_filter_error(f, source, library)
  local given = source.json or source.text
  local _, message, _, detail = M.compile(source, library)
  local at = type(f.at) == "table" and f.at
  if at and detail and detail.message == f.message then
    detail.hint = f.hint -- the server knows more names
    message = errors.line(detail)
  elseif at then
    -- The server has named filters that are not known here: its own words hold.
    detail = { line = at.line, column = at.column, offset = at.offset, message = f.message, hint = f.hint }
    message = errors.line(detail)
  end
  if not detail then return f end
  f.message, f.hint = "filter: " .. message, nil
  if detail.line then
    f.message = "filter: " .. errors.line { line = detail.line, column = detail.column, message = detail.message,
                                            pointer = detail.pointer }
    f.lines = wording.place(given, detail)
  end
  return f
end

-- Values -------------------------------------------------------------------------------------------------------------

local UNITS = { ns = 1e-9, us = 1e-6, ms = 1e-3, s = 1, m = 60, h = 3600, d = 86400, w = 604800 }

-- "1.5", "250ms", "1h30m" as seconds; nil if it is none.
function M.parse_duration(given)
  if given:find "^%d+%.?%d*$" then return tonumber(given) end
  local total, rest = 0, given
  repeat
    local number, unit, after = rest:match "^(%d+%.?%d*)(%a+)(.*)$"
    if not number or not UNITS[unit] then return nil end
    total, rest = total + tonumber(number) * UNITS[unit], after
  until rest == ""
  return total
end

function M.seconds(given, name)
  local seconds = M.parse_duration(given)
  if not seconds then failure.usage("%s %s: expected a time such as 5s, 1h30m or 250ms", name, given) end
  return seconds
end

-- A duration for a request: numbers stay numbers.
function M.duration_json(given, name)
  if given == nil then return nil end
  return given:find "^%d+%.?%d*$" and ("%.15g"):format(tonumber(given)) or text.quote(given, name)
end

function M.integer(given, name, min, max)
  if given == nil then return nil end
  local number = given:find "^%d+$" and #given < 16 and tonumber(given)
  if not number or number < (min or 0) or number > (max or 2 ^ 53) then
    local range = max and (" from %d to %d"):format(min or 0, max) or (" of at least %d"):format(min or 0)
    failure.usage("%s %s: expected a whole number%s", name, given, range)
  end
  return number
end

-- "HOST:PORT", "HOST", "[v6]:PORT" or "/path"; nil if it is none.
function M.parse_address(given, port)
  if given:find "^/" then return given, 0 end
  local host, digits = given:match "^%[([%x:%.]+)%]:(%d+)$"
  if not host then host, digits = given:match "^([^:%s/]+):(%d+)$" end
  if not host then host, digits = given:match "^([^:%s/]+)$", tostring(port) end
  local number = tonumber(digits)
  if not host or number < 1 or number > 65535 then return nil end
  return host, number
end

-- What is wrong with a list of NATS servers: the first that is neither nats://HOST nor HOST:PORT, without the user and
-- the password in it; nil where all are good.
function M.nats_fault(servers)
  local count = 0
  for server in servers:gmatch "[^,]+" do
    local scheme, rest = server:match "^%s*(%a+)://(.*)$"
    rest = (rest or server:gsub("^%s+", "")):gsub("^.*@", "")
    local known = scheme == nil or scheme == "nats" or scheme == "tls"
    local host, port = M.parse_address((rest:gsub("(.)/+$", "%1")), scheme and 4222 or 0)
    if not known or not host or port == 0 then return (scheme and scheme .. "://" or "") .. rest end
    count = count + 1
  end
  return count == 0 and servers or nil
end

M.NATS_EXPECTED = "expected nats://HOST:PORT, several with commas between"

-- A list of NATS servers from the command line.
function M.nats_servers(given, name)
  local fault = M.nats_fault(given)
  if fault then
    failure.usage("%s: '%s' is no address of a server; %s", name or "--nats-servers", fault, M.NATS_EXPECTED)
  end
  return given
end

-- JSON text or @FILE.
function M.json_argument(given, what, kind)
  if given:sub(1, 1) == "@" then given = M.read_file(given:sub(2), what) end
  return text.check(given, what, kind)
end

return M
