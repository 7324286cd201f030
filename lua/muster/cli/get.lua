-- SPDX-License-Identifier: Apache-2.0
-- `muster get`: one identity.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "get",
  summary = "Show one identity.",
  examples = [[
  muster get sensor-1
  muster get sensor-1 --json
]],
}

function M.setup(command)
  command:argument("id", "The identity.")
  options.output(command)
  options.door(command)
end

function M.run(args, out)
  local door = options.open_door(args)
  local answer = door:call("get", text.object { { "id", text.quote(args.id, "id", "EID") } })
  door:close()
  if out.json then
    out:line(text.one_line(answer))
    return failure.EXIT.ok
  end
  local it = text.members(answer)
  local function put(name, value) out:line(("%-11s %s"):format(name, output.visible(value))) end
  put("id", text.value(it.id))
  put("metadata", text.one_line(it.metadata))
  put("gateway", text.value(it.gateway) or "-")
  put("revision", it.revision)
  put("registered", output.time(text.value(it.registered_at)))
  put("updated", output.time(text.value(it.updated_at)))
  put("lease", output.lease(text.value(it.expires_at)))
  return failure.EXIT.ok
end

return M
