-- SPDX-License-Identifier: Apache-2.0
-- `muster match`: grep with the filter language. No server; the engine's own matcher runs on each line.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local named = require "muster.cli.named"
local options = require "muster.cli.options"

local M = {
  name = "match",
  summary = "Print the lines of JSON that match a filter, like grep. Needs no server.",
  usage = "match [options] <filter> [<file>]\n       muster match [options] --json-filter <json> [<file>]",
  examples = [[
  muster match 'level == "error" and ms > 200' log.ndjson
  muster enumerate --json | muster match '@ttl < 30s' --count
  muster match 'fw < :v' --param 'v="2"' fleet.ndjson
]],
  details = [[
Each line is a record {"id":..,"metadata":{..}}, also with namespace, registered_at, updated_at and expires_at (Unix
milliseconds), or a bare metadata object. Lines that match are printed unchanged. Exit code: 0 some match, 1 none, 2
error.
]],
}

-- Exit codes as grep has them.
local SOME, NONE = 0, 1

function M.setup(command)
  command:argument("words", "The filter, then a file (default: standard input)."):args "0-2":argname "<filter> <file>"
  options.filter(command)
  named.option(command)
  command:flag("--count", "Print only how many lines match.")
  options.option(command, "--now", "<time>", "What now() is: Unix milliseconds, or RFC 3339.")
  options.output(command)
end

-- Days from 1970 of a date in the proleptic Gregorian calendar (Howard Hinnant's days_from_civil).
local function days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

local function parse_time(given)
  if given:find "^%-?%d+$" and #given < 16 then return tonumber(given) end
  local y, mo, d, h, mi, s, zone = given:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d%.?%d*)(.+)$"
  if not y then
    y, mo, d = given:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)$"
    h, mi, s, zone = 0, 0, 0, "Z"
  end
  local sign, zone_h, zone_m = (zone or ""):match "^([+-])(%d%d):(%d%d)$"
  local valid = y and (sign or zone == "Z" or zone == "z") and tonumber(mo) >= 1 and tonumber(mo) <= 12
    and tonumber(d) >= 1 and tonumber(d) <= 31 and tonumber(h) < 24 and tonumber(mi) < 60 and tonumber(s) < 61
  if not valid then failure.usage("--now %s: expected Unix milliseconds, or as in 2025-10-09T12:00:00Z", given) end
  local seconds = days(tonumber(y), tonumber(mo), tonumber(d)) * 86400 + h * 3600 + mi * 60 + s
  if sign then seconds = seconds - (sign == "-" and -1 or 1) * (zone_h * 3600 + zone_m * 60) end
  return math.floor(seconds * 1000 + 0.5)
end

local function read_words(args)
  local words = args.words or {}
  if args.json_filter then
    if #words == 2 then failure.usage "with --json-filter there is only a file" end
    return { json = args.json_filter }, words[1]
  end
  if #words == 0 then failure.usage "give a filter (see muster match --help)" end
  return { text = words[1] }, words[2]
end

local function compile(source, library)
  local compiled, message, code, detail = options.compile(source, library)
  if compiled then return compiled end
  local f = { code = code, message = "filter: " .. message, bare = detail }
  options.show_filter_error(f, source, library)
  failure.raise(f)
end

local function create_matcher(args, source, out)
  local library = named.load(args.filters)
  local compiled = compile(source, library)
  out:warnings(compiled.warnings)
  options.warn_unused(args, source, out, library)
  local matcher, message, code = core.matcher {
    program = compiled.program, params = options.params(args), now = args.now and parse_time(args.now) or core.now(),
  }
  if not matcher then failure.raise { exit = failure.EXIT.usage, code = code, message = message } end
  return matcher
end

local function open(path)
  if path == nil or path == "-" then return io.stdin, "standard input" end
  local file, message = io.open(path, "rb")
  if not file then failure.usage("%s", message) end
  return file, path
end

local BLOCK = 65536
local LONGEST = 1048576 -- bytes of a line; what the matcher takes

-- The lines of a file, whatever bytes they hold (file:lines() would stop at a NUL). An error of reading is raised.
local function lines(file, name)
  local pending, at, ended, number = "", 1, false, 0
  local function more()
    local block, message = file:read(BLOCK)
    if message then failure.usage("%s: %s", name, message) end
    ended = not block
    pending, at = pending:sub(at) .. (block or ""), 1
    if #pending > LONGEST + BLOCK and not pending:find("\n", 1, true) then
      failure.usage("%s: line %d: longer than %d bytes", name, number + 1, LONGEST)
    end
  end
  return function()
    local stop = pending:find("\n", at, true)
    while not stop and not ended do
      more()
      stop = pending:find("\n", at, true)
    end
    if not stop and at > #pending then return nil end
    local line = pending:sub(at, (stop or #pending + 1) - 1)
    at, number = (stop or #pending) + 1, number + 1
    return line
  end
end

function M.run(args, out)
  local source, path = read_words(args)
  local matcher = create_matcher(args, source, out)
  local file, name = open(path)
  local number, found = 0, 0
  for line in lines(file, name) do
    number = number + 1
    if line:find "%S" then
      local matches, message, code = matcher:test(line)
      if matches == nil then
        out:flush()
        message = ("%s: line %d: %s"):format(name, number, message)
        failure.raise { exit = failure.EXIT.usage, code = code, message = message }
      end
      if matches then
        found = found + 1
        if not args.count then out:line(line) end
      end
    end
  end
  if file ~= io.stdin then file:close() end
  if args.count then out:line(("%d"):format(found)) end
  return found > 0 and SOME or NONE
end

return M
