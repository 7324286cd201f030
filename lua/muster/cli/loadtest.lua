-- SPDX-License-Identifier: Apache-2.0

-- `muster loadtest MODE`: reads the flags, builds one options object and hands it to core.loadtest as JSON text.
-- The generator itself is C (csrc/host/loadtest.h). Every member is always present, except where it says optional:
--
--   { "mode": "register" | "enumerate" | "multicast" | "mixed",
--     "rate": 100,                      operations a second, above 0; may have a fraction
--     "duration_s": 60,                 seconds, above 0; may have a fraction
--     "report_interval_s": 5,           seconds between progress lines, above 0
--     "verbose": false,                 -v: more lines on stderr
--     "embedded": false,                true: memory and in-process; "redis" and "nats_servers" are not used
--     "redis": { "host": "localhost",   or an absolute path of a Unix socket, then "port" is 0
--                "port": 6379, "db": 0,
--                "user": "", "password": "" },      empty: none
--     "nats_servers": "nats://localhost:4222",      comma-separated
--     "mix": { "register": 50, "enumerate": 30, "multicast": 20 },    percentages, they add up to 100; for "mixed"
--     "ttl_s": 300,                     lease of the registrations in seconds
--     "filter": "",                     filter text of enumerate and multicast; empty: made from "status"
--     "status": "online",               the value of `status` in `status == "..."` where "filter" is empty
--     "payload": "...",                 optional: payload of multicasts, UTF-8
--     "receivers": 1,                   receiver processes; 0: nobody subscribes
--     "gateways": 0,                    gateways the identities are spread over; 0: each has a subject of its own
--     "ack": "none" | "received" | "processed",
--     "seed": 7412,                     optional: one is chosen (0 to 2^53); it is printed in the report
--     "thresholds": [ { "metric": "p99", "operator": "<", "value": 0.05, "text": "p99<50ms" } ],
--                                       metric: p50 p90 p95 p99 p99.9 p99.99 min mean max, alone or with "register.",
--                                       "enumerate." or "multicast." before it: value in seconds;
--                                       error_rate, delivery: value is a share (0.1% is 0.001);
--                                       also per operation: error_rate;
--                                       rate: operations a second; operator: < <= > >=
--     "json": false,                    print the report object as JSON on stdout at the end and no text report
--     "progress": "text" | "json" | "none",         of the lines every report_interval_s
--     "quiet": false,                   no progress lines, and no text report but the verdict of the thresholds
--     "out": "run.json",                optional: also write the report object to this file
--     "preload": 0,                     optional: identities registered before the clock starts
--     "in_flight": 1000,                optional: most operations at one time
--     "argv": ["loadtest","mixed"] }    for the report, with any password replaced by "***"
--
-- core.loadtest answers (report_json, exit_code), see csrc/host/loadtest.h; or nil, message, code. The C side prints
-- progress on stderr and the report text on stdout; printing report_json for --json and writing --out are done here.
local core = require "muster.core"
local clean = require "muster.cli.loadtest_clean"
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local text = require "muster.cli.text"

local M = {
  name = "loadtest",
  summary = "Measure: registrations, enumerations, multicasts at a constant rate.",
  examples = [[
  muster loadtest mixed -r 500 -d 30s --embedded
  muster loadtest multicast -r 200 -d 1m --receivers 2 --ack received --threshold 'delivery>99%'
  muster loadtest register -r 2000 -d 10s --redis-addr localhost:6379 --threshold 'p99<50ms' --json
  muster loadtest clean --dry-run           what load tests that were killed have left in Redis
]],
  details = [[
Latency counts from the planned start of each operation. A threshold is METRIC OPERATOR VALUE, such as 'p99<50ms',
'multicast.p99<100ms', 'error_rate<0.1%', 'delivery>99%' or 'rate>490'.

Exit code: 0 if the run was carried out as planned, 130 or 143 after SIGINT or SIGTERM (the report is printed, the
namespace removed), 99 if a threshold failed; 4 if operations were cut off from Redis or NATS, 5 if some got no answer
in time, 1 if all failed, unless a threshold for error_rate says how many may; 4 or 5 also if the run's namespace could
not be removed from Redis. What is slow or was shed is a result, for thresholds to judge.

Keys of a run are muster:{lt-NAME}:*. Of one that was killed they stay until Redis removes them ten minutes later.
`muster loadtest clean` lists such namespaces, running tests included, and removes them after the number of them was
typed or given by --expect.
]],
}

local DEFAULTS = {
  rate = "100", duration = "60s", report_interval = "5s", redis_addr = "localhost:6379", redis_db = "0",
  nats_servers = "nats://localhost:4222", register_pct = "50", enumerate_pct = "30", multicast_pct = "20",
  ttl = "300", status = "online", receivers = "1", gateways = "0", ack = "none", progress = "text",
}

local function describe(name, description)
  return DEFAULTS[name] and ("%s (default: %s)."):format(description, DEFAULTS[name]) or description .. "."
end

function M.setup(command)
  local function add(names, argument, name, description)
    return options.option(command, names, argument, describe(name, description)):target(name)
  end
  command:argument("mode", "register, enumerate, multicast or mixed; or clean."):args "?"
    :choices { "register", "enumerate", "multicast", "mixed", "clean" }
  command:group("Load",
    add("-r --rate", "<n>", "rate", "Operations a second"),
    add("-d --duration", "<time>", "duration", "How long"),
    add("--register-pct", "<n>", "register_pct", "Share of registrations in mixed"),
    add("--enumerate-pct", "<n>", "enumerate_pct", "Share of enumerations in mixed"),
    add("--multicast-pct", "<n>", "multicast_pct", "Share of multicasts in mixed"),
    add("--ttl", "<time>", "ttl", "Lease of the registrations"),
    add("--preload", "<n>", "preload", "Identities registered before the clock starts"),
    add("--filter", "<filter>", "filter", "Filter of enumerations and multicasts"),
    add("--status", "<text>", "status", "Without --filter it is status == TEXT"),
    add("--payload", "<text>", "payload", "Payload of multicasts, or @FILE"),
    add("--receivers", "<n>", "receivers", "Processes that receive; 0: nobody listens"),
    add("--gateways", "<n>", "gateways", "Gateways the identities are spread over"),
    add("--ack", "<what>", "ack", "none, received or processed"):choices { "none", "received", "processed" },
    add("--in-flight", "<n>", "in_flight", "Most operations at one time"),
    add("--seed", "<n>", "seed", "Same seed, same operations"))
  command:group("Where",
    command:flag("--embedded", "Memory and in-process messaging, no servers."),
    add("--redis-addr", "<addr>", "redis_addr", "HOST:PORT, or the path of a Unix socket"),
    add("--redis-db", "<n>", "redis_db", "Database"),
    add("--redis-user", "<name>", "redis_user", "User name"),
    add("--password-file", "<file>", "password_file", "File with the password for Redis"),
    add("--redis-password", "<text>", "redis_password", "The password; others can read it in the list of processes"),
    add("--nats-servers", "<urls>", "nats_servers", "Comma-separated"))
  command:group("Clean",
    command:flag("--dry-run", "Only list what would be removed."),
    add("--expect", "<n>", "expect", "Remove them, if there are so many"))
  command:group("Report",
    add("--report-interval", "<time>", "report_interval", "Time between progress lines"),
    add("--progress", "<how>", "progress", "Progress lines: text, json or none"):choices { "text", "json", "none" },
    add("--threshold", "<test>", "threshold", "What must hold (repeatable)"):count "*",
    add("--out", "<file>", "out", "Write the report as JSON to this file, too"),
    command:flag("--json", "Print the report as JSON."),
    command:flag("-v --verbose", "More about the run."),
    command:flag("-q --quiet", "No progress and no report, only the verdict of the thresholds."))
end

local function number(given, name, min, max)
  local value = given:find "^%d+%.?%d*$" and tonumber(given)
  if not value or value < min or value > max then
    failure.usage("%s %s: expected a number from %g to %g", name, given, min, max)
  end
  return value
end

local function seconds(given, name)
  local value = options.seconds(given, name)
  if value <= 0 then failure.usage("%s %s: expected more than nothing", name, given) end
  return value
end

local LATENCIES = { p50 = true, p90 = true, p95 = true, p99 = true, ["p99.9"] = true, ["p99.99"] = true, min = true,
                    mean = true, max = true }

-- The value of a threshold: latencies in seconds, shares as fractions, rates as they are; nil if it does not fit.
local function threshold_value(metric, given)
  if LATENCIES[metric] then return given:find "%a$" and options.parse_duration(given) or nil end
  local percent = given:match "^(%d+%.?%d*)%%$"
  if metric == "rate" then return tonumber(given) end
  return percent and tonumber(percent) / 100 or given:find "^%d*%.?%d+$" and tonumber(given) or nil
end

local OPERATIONS = { register = true, enumerate = true, multicast = true }

-- "p99" of "multicast.p99"; nil if there is no such metric.
local function base_metric(metric)
  if LATENCIES[metric] or metric == "error_rate" or metric == "delivery" or metric == "rate" then return metric end
  local operation, base = metric:match "^(%l+)%.(.+)$"
  return OPERATIONS[operation or ""] and (LATENCIES[base] or base == "error_rate") and base or nil
end

-- "multicast.p99 < 50ms" as the C side wants it.
local function threshold(given)
  local metric, operator, value = given:match "^%s*([%w_%.]+)%s*([<>]=?)%s*(%S+)%s*$"
  local base = metric and base_metric(metric)
  local parsed = base and threshold_value(base, value)
  if not parsed then
    local examples = "p99<50ms, multicast.p99<50ms, error_rate<0.1% or delivery>99%"
    failure.usage("--threshold '%s': expected something like %s", given, examples)
  end
  return { metric = metric, operator = operator, value = parsed, text = given }
end

local function mix(args)
  local shares, sum = {}, 0
  for _, kind in ipairs { "register", "enumerate", "multicast" } do
    shares[kind] = number(args[kind .. "_pct"], "--" .. kind .. "-pct", 0, 100)
    sum = sum + shares[kind]
  end
  if math.abs(sum - 100) > 1e-9 then failure.usage("percentages must add up to 100, got %g", sum) end
  return shares
end

local function redis(args, out)
  local host, port = options.parse_address(args.redis_addr, 6379)
  if not host then failure.usage("--redis-addr %s: expected HOST:PORT or a path", args.redis_addr) end
  if args.redis_password then out:warn "--redis-password can be read by others; better is --password-file" end
  return {
    host = host, port = port, db = options.integer(args.redis_db, "--redis-db", 0, 65535), user = args.redis_user or "",
    password = options.secret(args.password_file) or args.redis_password or "",
  }
end

local function payload(given)
  if not given then return nil end
  given = given:sub(1, 1) == "@" and options.read_file(given:sub(2), "payload") or given
  text.quote(given, "--payload")
  return given
end

-- For the report: what was asked for, with no secret in it.
local function asked_for(args)
  local argv = { "loadtest", args.mode }
  local names = {}
  for name, value in pairs(args) do
    local option = type(value) ~= "boolean" and name ~= "mode" and name ~= "command" and name ~= "color"
    if option then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local values = type(args[name]) == "table" and args[name] or { args[name] }
    for _, value in ipairs(values) do
      argv[#argv + 1] = "--" .. name:gsub("_", "-")
      argv[#argv + 1] = name == "redis_password" and "***" or value
    end
  end
  if args.embedded then argv[#argv + 1] = "--embedded" end
  return core.array(argv)
end

local function build(args, out)
  local given = {}
  for name, value in pairs(args) do given[name] = value end
  for name, value in pairs(DEFAULTS) do
    if given[name] == nil then given[name] = value end
  end
  local thresholds = {}
  for i, each in ipairs(args.threshold or {}) do thresholds[i] = threshold(each) end
  return {
    mode = args.mode,
    rate = number(given.rate, "--rate", 0.001, 1e7),
    duration_s = seconds(given.duration, "--duration"),
    report_interval_s = seconds(given.report_interval, "--report-interval"),
    verbose = args.verbose or false,
    embedded = args.embedded or false,
    redis = redis(given, out),
    nats_servers = options.nats_servers(given.nats_servers),
    mix = mix(given),
    ttl_s = seconds(given.ttl, "--ttl"),
    filter = args.filter or "",
    status = given.status,
    payload = payload(args.payload),
    receivers = options.integer(given.receivers, "--receivers", 0, 64),
    gateways = options.integer(given.gateways, "--gateways", 0, 100000),
    ack = given.ack,
    seed = options.integer(args.seed, "--seed"),
    thresholds = core.array(thresholds),
    json = out.json,
    progress = given.progress,
    quiet = out.quiet,
    out = args.out,
    preload = options.integer(args.preload, "--preload"),
    in_flight = options.integer(args.in_flight, "--in-flight", 1),
    argv = asked_for(args),
  }
end

function M.run(args, out)
  if not args.mode then failure.usage "give a mode: register, enumerate, multicast or mixed" end
  if args.mode == "clean" then
    local given = setmetatable({}, { __index = function(_, name) return args[name] or DEFAULTS[name] end })
    return clean.run(args, redis(given, out), out)
  end
  if args.dry_run or args.expect then failure.usage "--dry-run and --expect are for muster loadtest clean" end
  local settings = build(args, out)
  local file
  if args.out then
    local message
    file, message = io.open(args.out, "wb")
    if not file then failure.usage("--out %s: cannot write: %s", args.out, message) end
  end
  if settings.filter ~= "" then
    local source = { text = settings.filter }
    local f = options.show_filter_error({ code = "EFILTER" }, source)
    if f.message then failure.raise(f) end
  end
  local report, code_or_message, name = core.loadtest(core.json_encode(settings))
  if not report then failure.raise { code = name, message = code_or_message } end
  if file then
    file:write(report, "\n")
    file:close()
  end
  if out.json then out:line(report) end
  return code_or_message
end

return M
