-- SPDX-License-Identifier: Apache-2.0
-- `muster completion SHELL`.
local failure = require "muster.cli.failure"

local M = {
  name = "completion",
  summary = "Print a completion script for bash, zsh or fish.",
  examples = [[
  source <(muster completion bash)
  muster completion fish > ~/.config/fish/completions/muster.fish
]],
}

function M.setup(command)
  command:argument("shell", "bash, zsh or fish."):choices { "bash", "zsh", "fish" }
end

function M.run(args, out, parser)
  out:write(parser["get_" .. args.shell .. "_complete"](parser))
  return failure.EXIT.ok
end

return M
