-- SPDX-License-Identifier: Apache-2.0
-- `muster multicast`: sends one payload to all that match and says what became of each.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "multicast",
  summary = "Send one message to every identity that matches a filter, and report.",
  usage = "multicast [options] <filter> <payload>\n       muster multicast [options] --all <payload>",
  examples = [[
  muster multicast 'room == "eng"' '{"text":"hi"}'         payload as argument
  muster multicast 'fw < semver"1.3"' @cmd.json --dry-run   payload from a file; who would get it?
  muster multicast --all - < notice.json                    to the whole namespace, payload from standard input
]],
  details = [[
<payload> is text, @FILE, or - for standard input. The exit code is 0 if all were reached, 3 if some were not, 5 if none
was and all timed out.

Those that were not reached are listed below the counts, each with the reason: the first 20 of them, with --report
failed all of them; --report all lists everybody. With --ack processed, who only received it was not reached. With
--json there are receipts only where --report is failed or all.
]],
}

local LISTED = 20 -- failures shown unless --report asks for all of them

function M.setup(command)
  command:argument("words", "The filter, then the payload."):args "0-2":argname "<filter> <payload>"
  options.filter(command)
  command:flag("--all", "Everybody: no filter, only the payload.")
  options.option(command, "--ack", "<what>", "What counts as reached: none, received or processed (default: received).")
  options.option(command, "--timeout", "<time>", "For the whole multicast (default: 5s).")
  options.option(command, "--retries", "<n>", "Sending again what was lost with its connection (default: 3).")
  options.option(command, "--expect", "<n[~pct]>", "Refuse unless so many match (pct per cent more or less).")
  options.option(command, "--max-targets", "<n>", "Refuse if more match.")
  command:flag("--dry-run", "Count, digest and a sample of ids; send nothing.")
  options.option(command, "--report", "<which>", "Receipts to list: summary, failed or all (default: summary).")
  command:flag("--fail-empty", "Exit code 1 if nothing matches.")
  options.output(command)
  options.door(command)
end

-- Filter and payload of the command line; either may be nil.
local function read_words(args)
  local words = args.words or {}
  local filter_elsewhere = args.all or args.json_filter
  if filter_elsewhere and #words == 2 then
    failure.usage("with %s there is only the payload", args.all and "--all" or "--json-filter")
  end
  if filter_elsewhere then return nil, words[1] end
  if #words == 1 and not args.dry_run then
    failure.usage "give a filter and a payload, or --all and a payload (see muster multicast --help)"
  end
  if #words == 0 then failure.usage "give a filter and a payload (see muster multicast --help)" end
  return words[1], words[2]
end

local function read_payload(given)
  if given == "-" then return options.read_file("-", "payload") end
  if given:sub(1, 1) == "@" then return options.read_file(given:sub(2), "payload") end
  return given
end

local function expectation(given)
  if not given then return nil end
  local number, percent = given:match "^(%d+)~(%d+)%%?$"
  if not number and not given:find "^%d+$" then failure.usage("--expect %s: expected N or N~PERCENT", given) end
  return text.quote(number and number .. "~" .. percent .. "%" or given)
end

local function number(given, name, max)
  return given and ("%d"):format(options.integer(given, name, 0, max))
end

local function body(args, source, payload, report, out)
  local filter, params = options.filter_members(args, source, out)
  return text.object {
    filter, params, { "all", args.all and "true" or nil }, payload and text.payload(payload) or { "payload", nil },
    { "ack", args.ack and text.quote(args.ack) }, { "timeout", options.duration_json(args.timeout, "--timeout") },
    { "retries", number(args.retries, "--retries", 10) }, { "expect", expectation(args.expect) },
    { "max_targets", number(args.max_targets, "--max-targets", 2 ^ 32 - 1) },
    { "dry_run", args.dry_run and "true" or nil }, { "report", report and text.quote(report) },
  }
end

-- The states in the order of a message's life; each with its colour.
local STATES = {
  { "published", "green" }, { "received", "green" }, { "processed", "green" }, { "failed", "red" },
  { "no_receiver", "red" }, { "timeout", "red" }, { "expired", "red" }, { "unreachable", "red" },
  { "skipped", "yellow" },
}

local function explain_state(state, args)
  local within = args.timeout or "5s"
  local texts = {
    no_receiver = "nobody listens on its subject",
    timeout = (args.ack == "none" and "not confirmed by messaging" or "no acknowledgement") ..
      " within " .. within,
    received = args.ack == "processed" and "not processed within " .. within or nil,
    expired = "its lease ended",
    unreachable = "no connection to messaging, or it broke: it may have been delivered",
  }
  return texts[state] or ""
end

local function show_receipts(receipts, args, out)
  local all = args.report == "failed" or args.report == "all"
  for i, receipt in ipairs(receipts) do
    if i > LISTED and not all then
      out:line(("  and %s more (--report failed)"):format(output.number(#receipts - LISTED)))
      break
    end
    local it = text.members(receipt)
    local state, code = text.value(it.state), text.value(it.code)
    local why = output.visible(code or explain_state(state, args))
    local line = ("  %-12s %s %s"):format(state, output.pad(output.visible(text.value(it.id)), 14), why)
    out:line((line:gsub("%s+$", "")))
  end
end

local function count_states(it)
  local states = {}
  for state, n in pairs(text.members(it.states)) do states[state] = tonumber(n) end
  return states
end

-- The answer for people; `args`: report and timeout as given. Shared with `demo`.
function M.show(answer, args, out)
  local it = text.members(answer)
  local states = count_states(it)
  local parts = { out:paint("bold", output.number(tonumber(it.targets)) .. " matched") }
  for _, state in ipairs(STATES) do
    local n = states[state[1]]
    if n then parts[#parts + 1] = out:paint(state[2], output.number(n) .. " " .. state[1]) end
  end
  parts[#parts + 1] = "in " .. output.duration(text.value(it.elapsed_ms) / 1000)
  out:line(table.concat(parts, "   "))
  show_receipts(text.elements(it.receipts or "[]"), args, out)
  if it.receipts_cut == "true" then out:warn "not all receipts fit into the answer" end
end

local function show_dry_run(it, out)
  out:line(("%s would get it   digest %s"):format(output.number(tonumber(it.targets)), text.value(it.digest)))
  local sample = text.elements(it.sample)
  for _, id in ipairs(sample) do out:line("  " .. output.visible(text.value(id))) end
  if tonumber(it.targets) > #sample then out:line "  ..." end
end

-- 0 all were reached, 3 not all, 5 nobody and all of them timed out.
local function exit_code(states, targets, ack)
  local reached = states.processed or 0
  if ack ~= "processed" then reached = reached + (states.received or 0) end
  if ack == "none" then reached = reached + (states.published or 0) end
  if reached == targets then return failure.EXIT.ok end
  return states.timeout == targets and failure.EXIT.deadline or failure.EXIT.partial
end

function M.run(args, out)
  local filter, payload = read_words(args)
  if args.all and args.json_filter then failure.usage "--all and --json-filter exclude each other" end
  if not payload and not args.dry_run then failure.usage "the payload is missing (see muster multicast --help)" end
  local source = options.filter_source(args, filter)
  local report = args.report
  if not out.json and not out.quiet and (report == nil or report == "summary") then report = "failed" end
  local request = body(args, source, payload and read_payload(payload), report, out)
  local door = options.open_door(args)
  local answer = door:call("multicast", request, source)
  door:close()
  local it = text.members(answer)
  if out.json then
    out:line(answer)
  elseif not out.quiet then
    for _, warning in ipairs(text.elements(it.warnings)) do out:warn(text.value(warning)) end
  end
  local targets = tonumber(it.targets)
  local empty = args.fail_empty and targets == 0 and failure.EXIT.refused or failure.EXIT.ok
  if it.dry_run then
    if not out.json and not out.quiet then show_dry_run(it, out) end
    return empty
  end
  local states = count_states(it)
  if not out.json and not out.quiet then M.show(answer, args, out) end
  return targets == 0 and empty or exit_code(states, targets, args.ack or "received")
end

return M
