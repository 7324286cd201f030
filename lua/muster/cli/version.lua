-- SPDX-License-Identifier: Apache-2.0
-- `muster version`.
local core = require "muster.core"
local failure = require "muster.cli.failure"

local M = { name = "version", summary = "Print the version." }

function M.setup(command)
  command:flag("--json", "Print JSON.")
end

function M.run(_, out)
  if out.json then
    out:line(core.json_encode { version = core.version, luajit = jit.version, arch = jit.arch, jit = (jit.status()) })
  else
    out:line(("muster %s (%s, %s %s)"):format(core.version, jit.version, jit.os, jit.arch))
  end
  return failure.EXIT.ok
end

return M
