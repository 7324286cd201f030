-- SPDX-License-Identifier: Apache-2.0
-- `muster enumerate --group-by` and `--agg`: how many match, and figures over them, by group.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {}

local MOST_GROUPS = 10000 -- of one answer

-- "avg:load" and "avg(load)" as the server's "avg(load)", which is also the figure's name.
local function figure(given)
  local name, path = given:match "^([%w.]+):(.+)$"
  if not name then name, path = given:match "^([%w.]+)%((.+)%)$" end
  if not name then failure.usage("--agg %s: expected FIGURE:PATH, e.g. avg:metrics.load", given) end
  return name .. "(" .. path .. ")"
end

local function compute_of(figures)
  if #figures == 0 then return nil end
  local members = {}
  for i, each in ipairs(figures) do
    local quoted = text.quote(each, "--agg")
    members[i] = quoted .. ":" .. quoted
  end
  return "{" .. table.concat(members, ",") .. "}"
end

-- A value of a group in a table: texts without their quotes.
local function cell(value, missing)
  if value == nil or value == "null" then return missing end
  local shown = value:byte() == 34 and text.value(value) or value
  return output.visible(shown)
end

local function cells(group, plan, missing)
  local it = text.members(group)
  local row = {}
  for i, value in ipairs(text.elements(it.key)) do row[i] = cell(value, missing) end
  row[#row + 1] = it.count
  for _, each in ipairs(plan.figures) do row[#row + 1] = cell(it[each], missing) end
  return row
end

local function show(it, plan, out)
  local groups = text.elements(it.groups)
  if out.json then
    for _, group in ipairs(groups) do out:line(text.one_line(group)) end
  elseif out.tty then
    local heading, rows = {}, {}
    for i, path in ipairs(plan.paths) do heading[i] = output.visible(path) end
    heading[#heading + 1] = "COUNT"
    for _, each in ipairs(plan.figures) do heading[#heading + 1] = output.visible(each) end
    for i, group in ipairs(groups) do rows[i] = cells(group, plan, "-") end
    out:table(heading, rows)
  else
    for _, group in ipairs(groups) do out:line(table.concat(cells(group, plan, "-"), "\t")) end
  end
  local total = tonumber(it.total_groups)
  if total > #groups and not plan.limit then
    out:warn(("%s of %s groups are listed"):format(output.number(#groups), output.number(total)))
  end
end

-- `paths`: those to group by, maybe none.
function M.run(args, out, paths)
  for _, other in ipairs { "sort", "fields", "no_metadata", "exists", "cursor" } do
    if args[other] then
      failure.usage("--%s does not go with --group-by and --agg", (other:gsub("_", "-")))
    end
  end
  local plan = { paths = paths, figures = {}, limit = options.integer(args.limit, "--limit", 1, MOST_GROUPS) }
  for i, given in ipairs(args.agg or {}) do plan.figures[i] = figure(given) end
  local source = options.filter_source(args, args.filter)
  local filter, params = options.filter_members(args, source, out)
  local door = options.open_door(args)
  local answer = door:call("aggregate", text.object {
    filter, params, { "group_by", #paths > 0 and text.list(paths, "--group-by") or nil },
    { "compute", compute_of(plan.figures) }, { "limit", ("%d"):format(plan.limit or MOST_GROUPS) },
    { "min_revision", args.min_revision and ("%d"):format(options.integer(args.min_revision, "--min-revision")) },
  }, source)
  door:close()
  local it = text.members(answer)
  for _, warning in ipairs(text.elements(it.warnings)) do out:warn(text.value(warning)) end
  show(it, plan, out)
  return args.fail_empty and it.total == "0" and failure.EXIT.refused or failure.EXIT.ok
end

return M
