-- SPDX-License-Identifier: Apache-2.0
-- `muster count`: how many match.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local text = require "muster.cli.text"

local M = {
  name = "count",
  summary = "Count the identities that match a filter.",
  examples = [[
  muster count
  muster count 'battery < :low' --param low=20
]],
}

function M.setup(command)
  command:argument("filter", "A filter; without one, all."):args "?"
  options.filter(command)
  command:flag("--fail-empty", "Exit code 1 if nothing matches.")
  options.output(command)
  options.door(command)
end

-- Also what `enumerate --count` does.
function M.run(args, out)
  local source = options.filter_source(args, args.filter)
  local filter, params = options.filter_members(args, source, out)
  local door = options.open_door(args)
  local answer = door:call("count", text.object { filter, params }, source)
  door:close()
  local it = text.members(answer)
  if out.json then
    out:line(answer)
  else
    out:line(it.count)
    for _, warning in ipairs(text.elements(it.warnings)) do out:warn(text.value(warning)) end
  end
  return args.fail_empty and it.count == "0" and failure.EXIT.refused or failure.EXIT.ok
end

return M
