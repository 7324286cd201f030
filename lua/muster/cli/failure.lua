-- SPDX-License-Identifier: Apache-2.0
-- How a command gives up: a raised table that main.lua prints and turns into an exit code.
--
--   { exit =, code = "ENAME", message =, hint =, at = { offset, line, column },
--     lines = { .. } to be shown below the one line of the error, silent = true to say nothing,
--     raw = the server's error object as JSON, or bare = a table, for --json }
local M = {}

-- Exit codes of the program.
M.EXIT = {
  ok = 0,
  refused = 1,
  usage = 2,
  partial = 3,
  connection = 4,
  deadline = 5,
  config = 78,
  threshold = 99,
  interrupted = 130,
  terminated = 143,
}

-- Errors of the server by exit code. What is wrong with a request whatever the server holds is a matter of usage.
local BY_CODE = {
  EINVAL = M.EXIT.usage,
  EJSON = M.EXIT.usage,
  EFILTER = M.EXIT.usage,
  EPARAM = M.EXIT.usage,
  EID = M.EXIT.usage,
  ENAMESPACE = M.EXIT.usage,
  ERANGE = M.EXIT.usage,
  EREDIS = M.EXIT.connection,
  ENATS = M.EXIT.connection,
  ECONNECT = M.EXIT.connection,
  ECLOSED = M.EXIT.connection,
  EPERMISSION = M.EXIT.connection,
  EDEADLINE = M.EXIT.deadline,
  ECONFIG = M.EXIT.config,
}

local Failure = {}

function M.exit_of(code)
  return BY_CODE[code] or M.EXIT.refused
end

function M.is(value)
  return getmetatable(value) == Failure
end

function M.raise(failure)
  failure.exit = failure.exit or M.exit_of(failure.code)
  error(setmetatable(failure, Failure), 0)
end

-- A mistake on the command line.
function M.usage(format, ...)
  M.raise { exit = M.EXIT.usage, code = "EINVAL", message = select("#", ...) > 0 and format:format(...) or format }
end

-- The object for --json, as the server writes it.
function M.object(failure)
  return {
    error = { code = failure.code or "EINTERNAL", message = failure.message, hint = failure.hint, at = failure.at },
  }
end

return M
