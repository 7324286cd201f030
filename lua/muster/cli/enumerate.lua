-- SPDX-License-Identifier: Apache-2.0
-- `muster enumerate`: lists what matches, page by page.
local aggregate = require "muster.cli.aggregate"
local count = require "muster.cli.count"
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"
local core = require "muster.core"

local M = {
  name = "enumerate ls",
  summary = "List the identities that match a filter.",
  examples = [[
  muster enumerate 'site == "hq" and battery < 20'
  muster ls --sort site,-battery --limit 10
  muster ls 'fw < semver"1.3"' --fields site,fw --json
  muster ls --group-by site --agg avg:metrics.load --agg p99:metrics.load
  muster ls 'battery < 5' --exists && echo "hurry"
]],
  details = [[
On a terminal the list has aligned columns. Otherwise each line is id, seconds left of the lease (- for never) and
metadata, separated by tabs; with --json each line is the identity as the server gives it. Where --limit leaves some
out, a line on standard error has the --cursor to go on with, and the same filter, --param and --sort.

With --group-by or --agg there is a line for each group instead, the largest first: its values, how many, the figures.
Figures are count, sum, avg, min, max and percentiles (p50, p90, p99, p99.9), over the numbers at a path. With --exists
nothing but the exit code tells whether anything matches: 0 yes, 1 no.
]],
}

local PAGE = 4000 -- of any order; smaller where the answer does not fit
local SORTED = 10000 -- each page of a sorted list looks at all that match

function M.setup(command)
  command:argument("filter", "A filter; without one, all."):args "?"
  options.filter(command)
  options.option(command, "--limit", "<n>", "At most so many (default: all).")
  options.option(command, "--cursor", "<text>", "Go on where an earlier --limit stopped.")
  options.option(command, "--sort", "<paths>", "Sort by these, e.g. region,-load (- for descending).")
  options.option(command, "--fields", "<paths>", "Only these fields of the metadata.")
  command:flag("--no-metadata", "Only ids and leases.")
  command:flag("--count", "Only how many (as muster count).")
  command:flag("--exists", "Only whether: exit code 0 or 1.")
  options.option(command, "--group-by", "<paths>", "Count by the values there, e.g. site,kind.")
  options.option(command, "--agg", "<figure:path>", "A figure of each group, e.g. avg:metrics.load (repeatable).")
    :count "*"
  options.option(command, "--min-revision", "<n>", "Refuse unless the server has seen this revision.")
  command:flag("--fail-empty", "Exit code 1 if nothing matches.")
  options.output(command)
  options.door(command)
end

-- Refuses what would be left undone: `others`, by their keys in `args`, next to `name`.
local function only(args, name, others)
  for _, key in ipairs(others) do
    local given = args[key]
    if given and (type(given) ~= "table" or #given > 0) then
      failure.usage("--%s does not go with %s", (key:gsub("_", "-")), name)
    end
  end
end

local function split(given, name)
  local parts = {}
  for part in (given .. ","):gmatch "%s*(.-)%s*," do
    if part == "" then failure.usage("%s %s: an empty path", name, given) end
    parts[#parts + 1] = part
  end
  return parts
end

-- One row's cells: id, lease, metadata or the fields asked for.
local function cells(it, fields)
  local row = { output.visible(text.value(it.id)), output.lease(text.value(it.expires_at)) }
  if fields then
    local found = text.members(it.metadata or "{}")
    for _, path in ipairs(fields) do
      local value = found[path]
      row[#row + 1] = output.visible(value and text.one_line(value:match '^"([^"\\]*)"$' or value) or "-")
    end
  elseif it.metadata then
    row[#row + 1] = output.visible(text.one_line(it.metadata))
  end
  return row
end

local function plain(it)
  local expires_at = text.value(it.expires_at)
  local left = expires_at and ("%d"):format(math.max(0, math.ceil((expires_at - core.now()) / 1000))) or "-"
  local line = output.visible(text.value(it.id)) .. "\t" .. left
  return it.metadata and line .. "\t" .. output.marked(text.one_line(it.metadata)) or line
end

local function show_page(identities, out, plan)
  if out.json then
    for _, identity in ipairs(identities) do out:line(text.one_line(identity)) end
  elseif out.tty then
    local rows = {}
    for i, identity in ipairs(identities) do rows[i] = cells(text.members(identity), plan.fields) end
    local heading = { "ID", "LEASE" }
    for _, path in ipairs(plan.fields or {}) do heading[#heading + 1] = output.visible(path) end
    if not plan.fields and plan.metadata then heading[3] = "METADATA" end
    if #rows > 0 then out:table(heading, rows) end
  else
    for _, identity in ipairs(identities) do out:line(plain(text.members(identity))) end
  end
end

local function body(plan, limit, cursor)
  return text.object {
    plan.filter, plan.params, { "limit", ("%d"):format(limit) }, { "cursor", cursor }, { "sort", plan.sort },
    { "fields", plan.fields and text.list(plan.fields, "--fields") },
    { "include_metadata", not plan.metadata and "false" or nil }, { "min_revision", plan.min_revision },
  }
end

-- One page of at most `limit`, and the limit that its answer fitted in.
local function fetch(door, plan, limit, cursor)
  while true do
    local answer = door:call("enumerate", body(plan, limit, cursor), plan.source, limit > 1 and "ETOOBIG" or nil)
    if answer then return text.members(answer), limit end
    limit = math.floor(limit / 2)
  end
end

-- Pages through the list. Answers how many were listed.
local function list(door, plan, out)
  local listed, cursor, page, total = 0, plan.cursor, plan.sort and SORTED or PAGE
  repeat
    local wanted = math.min(page, plan.limit - listed)
    local it, limit = fetch(door, plan, wanted, cursor)
    if limit < wanted then page = limit end
    if listed == 0 then
      for _, warning in ipairs(text.elements(it.warnings)) do out:warn(text.value(warning)) end
    end
    local identities = text.elements(it.identities)
    show_page(identities, out, plan)
    listed = listed + #identities
    cursor, total = it.next_cursor ~= "null" and it.next_cursor or nil, it.total
  until not cursor or listed >= plan.limit
  if cursor then
    out:note(("%s of %s that match; go on with --cursor %s"):format(output.number(listed),
      output.number(tonumber(total)), output.visible(text.value(cursor))))
  end
  return listed
end

local function min_revision(args)
  return args.min_revision and ("%d"):format(options.integer(args.min_revision, "--min-revision"))
end

-- Whether anything matches.
local function tell_whether(args, out)
  local source = options.filter_source(args, args.filter)
  local filter, params = options.filter_members(args, source, out)
  local door = options.open_door(args)
  local answer = door:call("enumerate", text.object {
    filter, params, { "exists", "true" }, { "min_revision", min_revision(args) },
  }, source)
  door:close()
  local it = text.members(answer)
  for _, warning in ipairs(text.elements(it.warnings)) do out:warn(text.value(warning)) end
  if out.json then out:line(answer) end
  return it.exists == "true" and failure.EXIT.ok or failure.EXIT.refused
end

function M.run(args, out)
  if args.count then
    only(args, "--count", { "exists", "group_by", "agg", "min_revision", "cursor" })
    return count.run(args, out)
  end
  if args.group_by or #(args.agg or {}) > 0 then
    return aggregate.run(args, out, args.group_by and split(args.group_by, "--group-by") or {})
  end
  if args.exists then
    only(args, "--exists", { "cursor" })
    return tell_whether(args, out)
  end
  if args.no_metadata and args.fields then failure.usage "--no-metadata and --fields exclude each other" end
  local plan = {
    source = options.filter_source(args, args.filter),
    limit = options.integer(args.limit, "--limit", 1) or math.huge,
    fields = args.fields and split(args.fields, "--fields"),
    -- Over NATS the next page may come from another instance, and only a sorted list goes on there.
    sort = args.sort and text.list(split(args.sort, "--sort"), "--sort")
      or options.over_nats(args) and '["@id"]' or nil,
    metadata = not args.no_metadata,
    cursor = args.cursor and text.quote(args.cursor, "--cursor"),
    min_revision = min_revision(args),
  }
  plan.filter, plan.params = options.filter_members(args, plan.source, out)
  local door = options.open_door(args)
  local listed = list(door, plan, out)
  door:close()
  return args.fail_empty and listed == 0 and failure.EXIT.refused or failure.EXIT.ok
end

return M
