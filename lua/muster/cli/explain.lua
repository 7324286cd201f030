-- SPDX-License-Identifier: Apache-2.0
-- `muster explain`: what a filter means here, and why one identity matches or does not.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "explain",
  summary = "Explain a filter: how many match, and why one identity does or does not.",
  examples = [[
  muster explain 'battery < 20 and site == "hq"'
  muster explain 'battery < 20 and site == "hq"' --id sensor-1
]],
}

function M.setup(command)
  command:argument("filter", "The filter."):args "?"
  options.filter(command)
  options.option(command, "--id", "<id>", "Clause by clause for this identity.")
  options.output(command)
  options.door(command)
end

-- The filter as the server understands it.
local function canonical(source)
  local compiled = options.compile(source)
  return compiled and compiled.text or source.text or source.json
end

-- One line a clause: what it says with the `not` around it, its text, the value it looked at.
local function clause_row(clause, out)
  local it = text.members(clause)
  local negated = it.negated == "true"
  local good = (it.holds == "true") ~= negated
  local shown = text.value(it.text)
  local verdict = out:paint(good and "green" or "red", good and "true " or "FALSE")
  local value = it.value and "value " .. text.one_line(it.value) or "no value"
  return { "  " .. verdict, output.visible(negated and "not (" .. shown .. ")" or shown), output.visible(value) }
end

-- Shared with `demo`.
function M.show_identity(answer, id, out)
  local it = text.members(answer)
  local matches = it.matches == "true"
  local verdict = matches and out:paint("green", "matches") or out:paint("red", "does NOT match")
  out:line(output.visible(id) .. " " .. verdict)
  local rows, widest = {}, 0
  for i, clause in ipairs(text.elements(it.clauses or "[]")) do
    rows[i] = clause_row(clause, out)
    widest = math.max(widest, #rows[i][2])
  end
  for _, row in ipairs(rows) do
    out:line(("%s  %s%s   %s"):format(row[1], row[2], (" "):rep(widest - #row[2]), row[3]))
  end
end

function M.run(args, out)
  local source = options.filter_source(args, args.filter)
  if not source then failure.usage "give a filter, or --json-filter" end
  local members, params = options.filter_members(args, source)
  local door = options.open_door(args)
  local answer = door:call("explain",
    text.object { members, params, { "id", args.id and text.quote(args.id, "--id", "EID") } }, source)
  door:close()
  if out.json then
    out:line(answer)
    return failure.EXIT.ok
  end
  local it = text.members(answer)
  if args.id then
    M.show_identity(answer, args.id, out)
  else
    out:line("filter   " .. output.visible(canonical(source)))
  end
  local total, all = tonumber(it.total), tonumber(it.identities)
  local share = all > 0 and (", %.1f %%"):format(100 * total / all) or ""
  out:line(("matches  %s of %s identities%s"):format(output.number(total), output.number(all), share))
  for _, warning in ipairs(text.elements(it.warnings)) do out:warn(text.value(warning)) end
  return failure.EXIT.ok
end

return M
