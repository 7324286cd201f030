-- SPDX-License-Identifier: Apache-2.0
-- `muster explain`: what a filter means here, and why one identity matches or does not.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local plan = require "muster.cli.plan"
local text = require "muster.cli.text"

local M = {
  name = "explain",
  summary = "Explain a filter: how many match, how it is answered, and why one identity does or does not match.",
  examples = [[
  muster explain 'battery < 20 and site == "hq"'
  muster explain 'battery < 20 and site == "hq"' --id sensor-1
  muster explain 'battery < 20 and site == "hq"' --analyze
]],
  details = [[
The plan has a line for each clause, in the order of evaluation. COLUMN: how the field's values are kept (dict8: one
byte an identity, which stands for a value; sketch8: for a range of values; bitset; ids; documents: not in a column).
KERNEL: how its rows are found. VALUES: how many different ones there are (of a sketch: ranges); MISSING: how many
identities do not have the field. With --analyze: TESTED, for how many of the values the clause was worked out now;
IN and OUT, how many identities came in and went on; VERIFIED, how many were looked at one by one.
]],
}

function M.setup(command)
  command:argument("filter", "The filter."):args "?"
  options.filter(command)
  options.option(command, "--id", "<id>", "Clause by clause for this identity.")
  command:flag("--analyze", "Run it and tell rows and time of each clause.")
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
    widest = math.max(widest, output.width(rows[i][2]))
  end
  for _, row in ipairs(rows) do
    out:line(("%s  %s   %s"):format(row[1], output.pad(row[2], widest), row[3]))
  end
end

function M.run(args, out)
  local source = options.filter_source(args, args.filter)
  if not source then failure.usage "give a filter, or --json-filter" end
  local members, params = options.filter_members(args, source, out)
  local door = options.open_door(args)
  local answer = door:call("explain",
    text.object { members, params, { "id", args.id and text.quote(args.id, "--id", "EID") },
                  { "analyze", args.analyze and "true" or nil } }, source)
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
  if it.only_missing and it.only_missing ~= "0" then
    out:line(("         %s only because a field is missing (no value at a negated clause)"):format(
      output.number(tonumber(it.only_missing))))
  end
  if not args.id or args.analyze then plan.show(it, args.analyze, out) end
  for _, warning in ipairs(text.elements(it.warnings)) do out:warn(text.value(warning)) end
  return failure.EXIT.ok
end

return M
