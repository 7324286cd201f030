-- SPDX-License-Identifier: Apache-2.0
-- muster: register identities, find them by metadata, send to all that match.
--
--   local muster = require "muster"
--   local m = assert(muster.open())                                   in memory, in this process
--   local m = assert(muster.open{ redis = "127.0.0.1:6379", nats = "nats://127.0.0.1:4222", namespace = "fleet" })
--   local m = assert(muster.connect{ socket = "/run/muster/control.sock" })        a server elsewhere
--   local m = assert(muster.connect{ nats = "nats://127.0.0.1:4222" })
--
-- Tables in, tables out: requests and answers are those of csrc/README.md, section "Verbs". What is expected to fail
-- now and then answers `nil, "ENAME: message", "ENAME", detail` (detail: the error as a table); misuse throws.
-- JSON's null is muster.null; a list that may be empty is written muster.array{}.
--
--   m:register{ id =, metadata =, ttl =, .. }      m:register{ {..}, {..} }: a list, answered with a list
--   m:heartbeat(id or ids, ttl)    m:get(id)    m:unregister(id)
--   m:enumerate(filter or {..})    m:count(filter or {..})    m:explain(filter or {..}, id)
--   m:aggregate{ filter =, group_by = { "site" }, compute = { mean = "avg(load)" } }
--   m:prepare(filter)              checked and compiled now, used with parameters later (prepared.lua)
--   m:filters()  m:load_filters(folder)     named filters
--   m:multicast{ filter = or all = true, payload =, .. }
--   m:each{ filter =, .. }         iterates over all that match, page by page: for identity in m:each(..)
--   m:start(verb, body, fn)        does not wait; fn(answer) or fn(nil, message, code)
--   m:receive(id, handler)         m:receive({ gateway = name }, handler)
--   m:acknowledge(message, how)    where the handler did not: how is as below
--   m:run(seconds)                 runs the loop until m:stop(), a signal or the time is over; says which
--   m:within(namespace)            the same door, another namespace
--   m:close()
--
-- A handler gets message = { id or gateway =, ids = (of a gateway), payload =, subject =, multicast = } and answers how
-- to acknowledge: nothing or "received"; true or "processed"; false and "CODE text" for failed; "later" for not yet. A
-- gateway may answer a table of those ids that differ from received: { ["a"] = "CODE text", ["b"] = true }.
-- Handlers run while this process waits in m:run or in any call.
local core = require "muster.core"
local prepared = require "muster.prepared"

local M = { null = core.null, array = core.array, version = core.version }

local Door = {}
Door.__index = Door

local function check(value, kind, position, name)
  if type(value) ~= kind then
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(position, name, kind, type(value)), 3)
  end
end

local function fail(message, code, detail)
  return nil, code .. ": " .. message, code, detail
end

-- The three results of a call that failed with the JSON of an error object.
local function failed(json, code)
  local decoded = core.json_decode(json)
  local detail = type(decoded) == "table" and type(decoded.error) == "table" and decoded.error or { message = json }
  local message = tostring(detail.message) .. (detail.hint and "; " .. tostring(detail.hint) or "")
  return fail(message, code or detail.code or "EINTERNAL", detail)
end

-- Opening -----------------------------------------------------------------------------------------------------------

local OPEN = { redis = true, nats = true, namespace = true, prefix = true, log_level = true, log_json = true,
               max_identities = true, filters = true }
local CONNECT = { socket = true, nats = true, namespace = true, prefix = true, timeout = true }
local NATS = { servers = "nats_servers", user = "nats_user", password = "nats_password", token = "nats_token",
               credentials_file = "nats_credentials_file", nkey_file = "nats_nkey_file", ca_file = "nats_ca_file" }
local REDIS = { host = "redis_host", port = "redis_port", db = "redis_db", user = "redis_user",
                password = "redis_password" }

local function check_keys(options, known, name)
  for key in pairs(options) do
    if not known[key] then
      error(("bad argument #1 to '%s' (unknown option '%s')"):format(name, tostring(key)), 3)
    end
  end
end

local function decode_percent(text)
  return text and (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- "HOST:PORT", "HOST", "[V6]:PORT", "/path" or "redis://[user][:password@]host[:port][/db]" as a table; else nil.
local function parse_redis(text)
  if text:find "^/" then return { host = text } end
  local login, rest = text:match "^redis://([^@]*)@(.*)$"
  rest = rest or text:match "^redis://(.*)$" or text
  local place, db = rest:match "^(.-)/(%d*)$"
  place = place or rest
  local host, port = place:match "^%[([%x:%.]+)%]:?(%d*)$"
  if not host then host, port = place:match "^([^:/%s]+):?(%d*)$" end
  if not host or tonumber(port) and tonumber(port) > 65535 then return nil end
  local user, password = (login or ""):match "^([^:]*):?(.*)$"
  return {
    host = host, port = tonumber(port), db = tonumber(db), user = user ~= "" and decode_percent(user) or nil,
    password = password ~= "" and decode_percent(password) or nil,
  }
end

local function copy(from, names, into, what, name)
  for key, value in pairs(from) do
    if not names[key] then
      error(("bad argument #1 to '%s' (unknown %s option '%s')"):format(name, what, tostring(key)), 4)
    end
    into[names[key]] = value
  end
end

local function add_nats(nats, into, name)
  if nats == nil then return end
  if type(nats) == "string" then nats = { servers = nats } end
  if type(nats) ~= "table" then error(("bad argument #1 to '%s' (nats: string or table expected)"):format(name), 3) end
  copy(nats, NATS, into, "nats", name)
end

local function add_redis(redis, into)
  if redis == nil then return true end
  if type(redis) == "string" then redis = parse_redis(redis) end
  if redis == nil then return false end
  if type(redis) ~= "table" then error("bad argument #1 to 'open' (redis: string or table expected)", 3) end
  copy(redis, REDIS, into, "redis", "open")
  return true
end

-- `many`: there may be several coordinators behind it.
local function door(raw, namespace, many)
  return setmetatable({ raw = raw, namespace = namespace or "default", many = many }, Door)
end

-- A coordinator in this process.
function M.open(options)
  options = options or {}
  check(options, "table", 1, "open")
  check_keys(options, OPEN, "open")
  local settings = { prefix = options.prefix, log_level = options.log_level, log_json = options.log_json,
                     max_identities = options.max_identities, filters = options.filters }
  if not add_redis(options.redis, settings) then
    return fail("redis is '" .. options.redis .. "', expected HOST:PORT, a path or redis://HOST:PORT/DB", "ECONFIG")
  end
  add_nats(options.nats, settings, "open")
  local raw, message, code = core.open(settings)
  if not raw then return fail(message, code) end
  return door(raw, options.namespace)
end

-- A coordinator elsewhere.
function M.connect(options)
  check(options, "table", 1, "connect")
  check_keys(options, CONNECT, "connect")
  if (options.socket == nil) == (options.nats == nil) then
    error("bad argument #1 to 'connect' (give either socket or nats)", 2)
  end
  local settings = { socket = options.socket, prefix = options.prefix, timeout = options.timeout }
  add_nats(options.nats, settings, "connect")
  local raw, message, code = core.connect(settings)
  if not raw then return fail(message, code) end
  return door(raw, options.namespace, options.nats ~= nil)
end

-- Verbs -------------------------------------------------------------------------------------------------------------

function Door:call(verb, body)
  check(verb, "string", 1, "call")
  local answer, message, code = self.raw:call(verb, self.namespace, core.json_encode(body or {}))
  if not answer then return failed(message, code) end
  return core.json_decode(answer)
end

function Door:start(verb, body, fn)
  check(verb, "string", 1, "start")
  check(fn, "function", 3, "start")
  return self.raw:start(verb, self.namespace, core.json_encode(body or {}), function(json, code)
    if code then return fn(failed(json, code)) end
    fn(core.json_decode(json))
  end)
end

-- A body, or a short form of it: a text stands for the member `key`.
local function body_of(given, key, name)
  if type(given) == "string" then return { [key] = given } end
  if given == nil and key == "filter" then return {} end
  check(given, "table", 1, name)
  return given
end

function Door:register(identity)
  check(identity, "table", 1, "register")
  return self:call("register", #identity > 0 and core.array(identity) or identity)
end

function Door:heartbeat(ids, ttl)
  if type(ids) == "string" then ids = { ids } end
  check(ids, "table", 1, "heartbeat")
  if ids.ids or ids.id then return self:call("heartbeat", ids) end
  return self:call("heartbeat", { ids = core.array(ids), ttl = ttl })
end

function Door:get(id)
  return self:call("get", body_of(id, "id", "get"))
end

function Door:unregister(id)
  return self:call("unregister", body_of(id, "id", "unregister"))
end

function Door:enumerate(query)
  return self:call("enumerate", body_of(query, "filter", "enumerate"))
end

function Door:count(query)
  return self:call("count", body_of(query, "filter", "count"))
end

function Door:aggregate(query)
  return self:call("aggregate", body_of(query, "filter", "aggregate"))
end

function Door:explain(query, id)
  local body = {}
  for key, value in pairs(body_of(query, "filter", "explain")) do body[key] = value end
  body.id = id or body.id
  return self:call("explain", body)
end

-- A filter that is used again and again, with parameters (prepared.lua).
function Door:prepare(filter)
  local described, message, code, detail = self:call("prepare", { filter = filter })
  if not described then return nil, message, code, detail end
  return prepared.new(self, filter, described)
end

-- The named filters of the coordinator: a list of { name =, signature =, doc =, params =, filter = }.
function Door:filters()
  local answer, message, code, detail = self:call("filters", {})
  if not answer then return nil, message, code, detail end
  return answer.filters
end

-- Reads a folder of named filters again, or another one; only on a coordinator opened here.
function Door:load_filters(folder)
  check(folder, "string", 1, "load_filters")
  local ok, message, code = self.raw:load_filters(folder)
  if not ok then return fail(message, code) end
  return true
end

function Door:multicast(message)
  check(message, "table", 1, "multicast")
  return self:call("multicast", message)
end

-- Iterates over all that match. An error in the middle of the list is thrown.
function Door:each(query)
  local body = {}
  for key, value in pairs(body_of(query, "filter", "each")) do body[key] = value end
  return coroutine.wrap(function()
    -- The next page may come from another instance, and only a sorted list goes on there.
    if self.many and not body.sort then body.sort = core.array { "@id" } end
    repeat
      local page = assert(self:enumerate(body))
      for _, identity in ipairs(page.identities) do coroutine.yield(identity) end
      body.cursor = page.next_cursor ~= core.null and page.next_cursor or nil
    until not body.cursor
  end)
end

-- Messages ----------------------------------------------------------------------------------------------------------

local ACKNOWLEDGEMENTS = { received = "", processed = "+" }

-- The text that stands for one answer of a handler, as described at the top; nil: none.
local function acknowledgement(how, why)
  if how == nil then return "" end
  if how == true then return "+" end
  if how == "later" then return nil end
  if how == false then return "-" .. (why or "EFAILED") end
  if type(how) == "table" then
    local differing = {}
    for id, each in pairs(how) do
      local plain = each == true and "+" or each == false and "-EFAILED" or ACKNOWLEDGEMENTS[each]
      differing[id] = plain or "-" .. tostring(each)
    end
    return core.json_encode(differing)
  end
  return ACKNOWLEDGEMENTS[how] or error(("'%s' is no acknowledgement"):format(tostring(how)), 0)
end

local function read_envelope(message, bytes)
  local head, payload = bytes:match "^([^\n]*)\n(.*)$"
  local envelope = head and core.json_decode(head)
  if type(envelope) ~= "table" then return end
  message.payload, message.ids, message.multicast = payload, envelope.to, envelope.m
end

function Door:receive(who, handler)
  local gateway = type(who) == "table" and who.gateway or nil
  local name = gateway or who
  check(name, "string", 1, "receive")
  check(handler, "function", 2, "receive")
  local function on_message(payload, reply, subject)
    local received = { payload = payload, reply = reply, subject = subject, gateway = gateway }
    if gateway then read_envelope(received, payload) else received.id = name end
    local text = acknowledgement(handler(received))
    if reply and text then self.raw:acknowledge(reply, text) end
  end
  local ok, message, code = self.raw:receive(self.namespace, gateway and "via" or "to", name, on_message)
  if not ok then return fail(message, code) end
  return true
end

-- For a message whose handler answered "later"; `how` and `why` are what it could have answered.
function Door:acknowledge(message, how, why)
  check(message, "table", 1, "acknowledge")
  if not message.reply then return true end
  local text = acknowledgement(how, why)
  if text == nil then return true end
  local ok, problem, code = self.raw:acknowledge(message.reply, text)
  if ok == nil and problem then return fail(problem, code) end
  return true
end

function Door:run(seconds)
  return self.raw:run(seconds)
end

function Door:stop()
  return self.raw:stop()
end

function Door:close()
  return self.raw:close()
end

-- Doors to others, only on a coordinator opened here.
function Door:listen(path)
  local ok, message, code = self.raw:listen(path)
  if not ok then return fail(message, code) end
  return true
end

function Door:serve()
  local ok, message, code = self.raw:serve()
  if not ok then return fail(message, code) end
  return true
end

function Door:within(namespace)
  check(namespace, "string", 1, "within")
  return door(self.raw, namespace, self.many)
end

return M
