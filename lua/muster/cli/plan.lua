-- SPDX-License-Identifier: Apache-2.0
-- The plan of a filter as `muster explain` shows it: a line for each clause, in the order of evaluation.
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {}

-- Nanoseconds as people read them.
local function time(ns)
  if ns < 10000 then return ("%d ns"):format(ns) end
  if ns < 10000000 then return ("%.1f us"):format(ns / 1000) end
  return ("%.1f ms"):format(ns / 1000000)
end

local function count(value)
  return output.number(tonumber(value))
end

local function row(step, analyze)
  local it = text.members(step)
  local shown = output.visible(text.value(it.clause))
  if it.negated == "true" then shown = "not (" .. shown .. ")" end
  local cells = { shown, text.value(it.encoding), text.value(it.kernel), count(it.values), count(it.missing) }
  if analyze then
    for _, key in ipairs { "tested", "rows_in", "rows_out", "rows_verified" } do cells[#cells + 1] = count(it[key]) end
    cells[#cells + 1] = time(tonumber(it.ns))
  end
  return cells, tonumber(it.ns) or 0
end

-- `it`: the members of an answer of explain.
function M.show(it, analyze, out)
  local rows, ns = {}, 0
  for i, step in ipairs(text.elements(it.plan)) do
    local spent
    rows[i], spent = row(step, analyze)
    ns = ns + spent
  end
  if #rows == 0 then return end
  local heading = { "CLAUSE", "COLUMN", "KERNEL", "VALUES", "MISSING" }
  if analyze then
    for _, title in ipairs { "TESTED", "IN", "OUT", "VERIFIED", "TIME" } do heading[#heading + 1] = title end
  end
  out:line(("plan     in the order of evaluation, with %s%s"):format(text.value(it.instructions),
    analyze and ", " .. time(ns) .. " in all" or ""))
  out:table(heading, rows)
end

return M
