-- SPDX-License-Identifier: Apache-2.0
-- `muster heartbeat`: renews leases.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "heartbeat",
  summary = "Renew the leases of identities.",
  examples = [[
  muster heartbeat sensor-1 sensor-2
  muster heartbeat sensor-1 --ttl 10m
]],
  details = "Ids that are not registered are listed, and the exit code is 1.",
}

function M.setup(command)
  command:argument("id", "The identities."):args "+"
  options.option(command, "--ttl", "<time>", "Lease: seconds, 5m, or never (default: as long as it was).")
  options.output(command)
  options.door(command)
end

function M.run(args, out)
  local door = options.open_door(args)
  local answer = door:call("heartbeat", text.object {
    { "ids", text.list(args.id, "id", "EID") },
    { "ttl", options.duration_json(args.ttl, "--ttl") },
  })
  door:close()
  local it = text.members(answer)
  local unknown = text.elements(it.unknown)
  if out.json then
    out:line(answer)
  else
    if not out.quiet then out:line(it.renewed .. " renewed") end
    for _, id in ipairs(unknown) do
      io.stderr:write("muster: not registered: ", output.visible(text.value(id)), "\n")
    end
  end
  return #unknown > 0 and failure.EXIT.refused or failure.EXIT.ok
end

return M
