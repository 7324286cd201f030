-- SPDX-License-Identifier: Apache-2.0
-- `muster unregister`: removes identities.
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local text = require "muster.cli.text"

local M = {
  name = "unregister",
  summary = "Remove identities.",
  examples = [[
  muster unregister sensor-1 sensor-2
]],
  details = "One that was not registered is no error: it is gone as asked.",
}

function M.setup(command)
  command:argument("id", "The identities."):args "+"
  options.output(command)
  options.door(command)
end

function M.run(args, out)
  local bodies = {}
  for i, id in ipairs(args.id) do bodies[i] = text.object { { "id", text.quote(id, "id", "EID") } } end
  local door = options.open_door(args)
  for i, body in ipairs(bodies) do
    local answer = door:call("unregister", body)
    if out.json then
      out:line(answer)
    elseif not out.quiet then
      local removed = text.members(answer).removed == "true"
      out:line((removed and "removed " or "was not registered: ") .. output.visible(args.id[i]))
    end
  end
  door:close()
  return failure.EXIT.ok
end

return M
