-- SPDX-License-Identifier: Apache-2.0
-- A prepared filter: compiled once by the coordinator, used many times with other parameters.
--
--   local near = assert(m:prepare "site == :site and battery < :low")
--   near:count{ site = "hq", low = 20 }
--
-- params: the names it wants; warnings: what the compiler had to say. The methods are those of the door, with the
-- parameters first: count(params) exists(params) enumerate(params, more) each(params, more) aggregate(params, more)
-- explain(params, id) multicast(params, message); `more` and `message` hold the other members of the request.
-- The coordinator keeps compiled filters by their text, so that it may forget one (or start again) without harm.
local suggest = require "muster.filter.suggest"

local Prepared = {}
Prepared.__index = Prepared

local M = {}

-- `described`: the answer of the verb prepare.
function M.new(door, filter, described)
  return setmetatable({ door = door, filter = filter, params = described.params, warnings = described.warnings },
    Prepared)
end

-- Misspelt parameters would else only be missed under their right names.
local function check_params(self, params)
  local known = {}
  for _, name in ipairs(self.params) do known[name] = true end
  for name in pairs(params) do
    if not known[tostring(name)] then
      local near = suggest.nearest(tostring(name), self.params)
      local message = ("the filter has no parameter '%s'"):format(tostring(name))
      local hint = near and ("did you mean '%s'?"):format(near) or nil
      return nil, "EPARAM: " .. message .. (hint and "; " .. hint or ""), "EPARAM", { message = message, hint = hint }
    end
  end
  return true
end

local function call(self, method, params, more, last)
  params = params or {}
  if type(params) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(method, type(params)), 3)
  end
  local ok, message, code, detail = check_params(self, params)
  if not ok then return nil, message, code, detail end
  local body = { filter = self.filter, params = next(params) ~= nil and params or nil }
  for key, value in pairs(more or {}) do body[key] = value end
  return self.door[method](self.door, body, last)
end

for _, method in ipairs { "count", "enumerate", "aggregate", "multicast" } do
  Prepared[method] = function(self, params, more) return call(self, method, params, more) end
end

function Prepared:explain(params, id)
  return call(self, "explain", params, nil, id)
end

function Prepared:exists(params)
  local answer, message, code, detail = call(self, "enumerate", params, { exists = true })
  if not answer then return nil, message, code, detail end
  return answer.exists
end

-- As Door:each; what is wrong with the parameters is thrown.
function Prepared:each(params, more)
  local iterator, message = call(self, "each", params, more)
  return iterator or error(message, 2)
end

return M
