-- SPDX-License-Identifier: Apache-2.0
-- Named filters of the command line: a folder given with --filters.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local library = require "muster.filter.library"
local options = require "muster.cli.options"

local M = {}

function M.option(command)
  return options.option(command, "--filters", "<folder>", "Folder of named filters, for @name(..).")
end

-- The library of a folder; or nil and the problems, one line each.
function M.read(folder)
  local found, problems = library.load(folder, core.list_folder, { regex_check = options.regex_check })
  if found then return found end
  local lines = {}
  for i, problem in ipairs(problems) do lines[i] = library.line(problem) end
  return nil, lines
end

-- The library of a folder; every problem is shown where there is one. `exit`: the code then.
function M.load(folder, exit)
  if not folder then return nil end
  local found, lines = M.read(folder)
  if found then return found end
  local message = table.remove(lines, 1)
  failure.raise { exit = exit or failure.EXIT.usage, code = "ECONFIG", message = message, lines = lines }
end

return M
