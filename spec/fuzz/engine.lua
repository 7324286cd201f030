-- SPDX-License-Identifier: Apache-2.0
-- Runs a script through a whole host in this process: luajit engine.lua SCRIPT ANSWERS
-- A process of its own, because MUSTER_KERNELS is read once.
local core = require "muster.core"
local script = require "fuzz.script"

local path, answers_path = assert(arg[1]), assert(arg[2])
local host = assert(core.open { log_level = "error" })
local answers = assert(io.open(answers_path, "wb"))
local namespace = "w1"

local function call(verb, body)
  local json, problem, code = host:call(verb, namespace, body)
  if json then return core.json_decode(json) end
  return nil, code, problem
end

local function need(answer, code, problem)
  if not answer then error(code .. ": " .. problem) end
  return answer
end

local function enumerate(body)
  local ids, cursor = {}, nil
  repeat
    local head = body:sub(1, -2) .. ',"include_metadata":false,"limit":10000'
    local page, code = call("enumerate", head .. (cursor and ',"cursor":"' .. cursor .. '"' or "") .. "}")
    if not page then return nil, code end
    for _, identity in ipairs(page.identities) do ids[#ids + 1] = identity.id end
    cursor = page.next_cursor ~= core.null and page.next_cursor or nil
  until not cursor
  return ids
end

local function query(_, body)
  local ids, code = enumerate(body)
  if not ids then return "!" .. code end
  local count = need(call("count", body)).count
  if count ~= #ids then return ("!count %d, listed %d"):format(count, #ids) end
  return script.answer(ids)
end

local OPERATIONS = {
  world = function() need(call("drop", "{}")) end,
  register = function(_, body)
    for i, answer in ipairs(need(call("register", body))) do
      if answer.error then error(("row %d: %s\n%s"):format(i, answer.error.message, body:sub(1, 2000))) end
    end
  end,
  unregister = function(_, body) need(call("unregister", body)) end,
  query = query,
  mongo = query,
  timed = function() return "-" end,
}

script.each(path, function(name, body)
  local answer = OPERATIONS[name](name, body)
  if answer then answers:write(answer, "\n") end
end)
answers:close()
host:close()
