-- SPDX-License-Identifier: Apache-2.0
-- Scripts: what every evaluator of filters is given, one operation a line, name and JSON separated by a tab.
--
--   world                       forget everything
--   register [{"id","metadata"},..]      new rows, or rows replaced
--   unregister {"id"}
--   query {"filter","params"}   for the engine and the oracle
--   timed {"filter","params"}   needs a fixed clock: for the engine row by row and the oracle
--   mongo {"filter"}            means the same to MongoDB: for all
--
-- Each of the last three is answered with one line: the ids that match, in byte order, separated by spaces; or `!CODE`;
-- or `-` where the evaluator does not take that kind.
--
-- An operation here is { name, json, id = of register or unregister, .. }; a script is a list of them.
local M = {}

M.QUERIES = { query = true, timed = true, mongo = true }

function M.text(script)
  local lines = {}
  for i, operation in ipairs(script) do
    lines[i] = operation.json and operation.name .. "\t" .. operation.json or operation.name
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Calls each(name, json) for every line of a file.
function M.each(path, each)
  for line in io.lines(path) do
    local name, json = line:match "^(%a+)\t(.*)$"
    each(name or line, json)
  end
end

-- The ids of an answer.
function M.answer(ids)
  table.sort(ids)
  return table.concat(ids, " ")
end

function M.world() return { name = "world" } end

-- rows: { { id =, metadata = JSON text }, .. }
function M.register(rows)
  local parts = {}
  for i, row in ipairs(rows) do parts[i] = ('{"id":"%s","metadata":%s}'):format(row.id, row.metadata) end
  return { name = "register", json = "[" .. table.concat(parts, ",") .. "]", rows = rows }
end

function M.unregister(id)
  return { name = "unregister", json = ('{"id":"%s"}'):format(id), id = id }
end

-- filter, params: JSON text; params may be nil.
function M.query(name, filter, params)
  local more = params and ',"params":' .. params or ""
  return { name = name, json = ('{"filter":%s%s}'):format(filter, more), filter = filter, params = params }
end

return M
