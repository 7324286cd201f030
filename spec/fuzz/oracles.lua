-- SPDX-License-Identifier: Apache-2.0
-- Evaluators in this process: the naive interpreter, and the engine on one row at a time. Both know when each row was
-- registered: as long ago as its id says.
local core = require "muster.core"
local filter = require "muster.filter"
local oracle = require "muster.filter.oracle"
local script = require "fuzz.script"
local value = require "muster.filter.value"

local M = {}

M.NOW = 1760000000000
M.NAMESPACE = "w1" -- as in engine.lua

local OPTIONS = { regex_check = core.regex_check }

-- id -> when it was registered and, for some, when it ends.
local function times(id)
  local n = tonumber(id:match "%d+") or 0
  local registered = M.NOW - n % 97 * 1000
  return registered, n % 3 == 0 and M.NOW + n % 60 * 1000 + 1000 or nil
end

local function compile(body)
  local source = body.values.filter
  if type(source) == "string" then return filter.compile(source, OPTIONS) end
  return filter.compile_json(source, OPTIONS)
end

-- How the ids that match are found: matches(compiled, body, row) for each row, or nil, code.
local function answer(rows, body, prepare)
  local compiled, _, code = compile(body)
  local matches
  if compiled then matches, code = prepare(compiled, body) end
  if not matches then return "!" .. code end
  local ids = {}
  for id, row in pairs(rows) do
    if matches(row) then ids[#ids + 1] = id end
  end
  return script.answer(ids)
end

-- As a naive reader of the language understands it.
local function naive(compiled, body)
  local params = body.values.params and body.values.params.values or {}
  for _, name in ipairs(compiled.params) do
    if params[name] == nil then return nil, "EPARAM" end
  end
  return function(row)
    return oracle.match(compiled.ast, row.document, { now = M.NOW, params = params, builtins = row.builtins })
  end
end

-- The engine on one row at a time.
local function row_by_row(compiled, body)
  local params = body.values.params and value.to_json(body.values.params)
  local matcher, _, code = core.matcher { program = compiled.program, params = params, now = M.NOW }
  if not matcher then return nil, code end
  return function(row)
    local holds, message = matcher:test(row.line)
    if holds == nil then error(message) end
    return holds
  end
end

local function make_row(id, metadata)
  local registered, expires = times(id)
  local text = value.to_json(metadata)
  local more = expires and (',"expires_at":%.0f'):format(expires) or ""
  return {
    document = metadata,
    builtins = { id = id, namespace = M.NAMESPACE, registered_at = registered, expires_at = expires },
    line = ('{"id":"%s","namespace":"%s","registered_at":%.0f%s,"metadata":%s}'):format(id, M.NAMESPACE, registered,
      more, text),
  }
end

-- Runs a script; `kinds`: the queries it answers. A list of answers.
local function run(operations, prepare, kinds)
  local rows, answers = {}, {}
  for _, operation in ipairs(operations) do
    local name = operation.name
    if name == "world" then
      rows = {}
    elseif name == "register" then
      for _, row in ipairs(assert(filter.decode_json(operation.json))) do
        rows[row.values.id] = make_row(row.values.id, row.values.metadata)
      end
    elseif name == "unregister" then
      rows[operation.id] = nil
    else
      answers[#answers + 1] = kinds[name] and answer(rows, assert(filter.decode_json(operation.json)), prepare) or "-"
    end
  end
  return answers
end

function M.naive(operations)
  return run(operations, naive, script.QUERIES)
end

function M.row_by_row(operations)
  return run(operations, row_by_row, script.QUERIES)
end

return M
