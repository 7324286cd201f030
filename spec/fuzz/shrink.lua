-- SPDX-License-Identifier: Apache-2.0
-- Makes a script on which evaluators differ small: fewer operations, a smaller filter, smaller records.
local core = require "muster.core"
local filter = require "muster.filter"
local script = require "fuzz.script"
local value = require "muster.filter.value"

local M = {}

local MOST = 120 -- candidates in one go
local SECONDS = 60 -- for all of it

-- Smaller JSON values -----------------------------------------------------------------------------------------------

local function without_key(object, gone)
  local copy = value.object()
  for _, key in ipairs(object.keys) do
    if key ~= gone then
      copy.keys[#copy.keys + 1] = key
      copy.values[key] = object.values[key]
    end
  end
  return copy
end

local function with_key(object, changed, new)
  local copy = value.object()
  for _, key in ipairs(object.keys) do
    copy.keys[#copy.keys + 1] = key
    copy.values[key] = key == changed and new or object.values[key]
  end
  return copy
end

local function with_item(array, at, new)
  local copy = value.array()
  for i = 1, #array do
    if i ~= at then
      copy[#copy + 1] = array[i]
    elseif new ~= nil then
      copy[#copy + 1] = new
    end
  end
  return copy
end

local JOINS = { ["$and"] = true, ["$or"] = true, ["$nor"] = true, ["$not"] = true }

-- Calls add(candidate) for each value that is a step smaller.
local function smaller(v, add, scalars)
  local kind = value.kind(v)
  if kind == "object" then
    for _, key in ipairs(v.keys) do
      local member = v.values[key]
      if JOINS[key] and value.kind(member) == "object" then add(member) end
      for i = 1, JOINS[key] and value.kind(member) == "array" and #member or 0 do add(member[i]) end
    end
    for _, key in ipairs(v.keys) do add(without_key(v, key)) end
    for _, key in ipairs(v.keys) do
      smaller(v.values[key], function(new) add(with_key(v, key, new)) end, scalars)
    end
  elseif kind == "array" then
    for i = 1, #v do add(with_item(v, i, nil)) end
    for i = 1, #v do smaller(v[i], function(new) add(with_item(v, i, new)) end, scalars) end
  elseif scalars and kind == "string" and #v > 1 and v:sub(1, 1) ~= "$" then
    add "x"
  elseif scalars and kind == "number" and value.compare_numbers(v, 1) ~= 0 then
    add(1)
  end
end

local function candidates(json, scalars)
  local list = {}
  smaller(assert(filter.decode_json(json)), function(v)
    if #list < MOST then list[#list + 1] = value.to_json(v) end
  end, scalars)
  return list
end

-- Cases: { operations = .., query = operation } ---------------------------------------------------------------------

-- One operation for each row; only what is still there at the end if `final`.
local function single_rows(operations, final)
  local list, last = {}, {}
  for _, operation in ipairs(operations) do
    for _, row in ipairs(operation.rows or {}) do
      list[#list + 1] = script.register { row }
      last[row.id] = #list
    end
    if operation.name == "unregister" then
      list[#list + 1] = operation
      last[operation.id] = nil
    end
  end
  if not final then return list end
  local rows = {}
  for i, operation in ipairs(list) do
    if operation.rows and last[operation.rows[1].id] == i then rows[#rows + 1] = operation end
  end
  return rows
end

-- `ends`: when to leave off.
local function case(operations, query, ends) return { operations = operations, query = query, ends = ends } end

-- The first of the cases that still differs.
local function first(cases, differs)
  if #cases == 0 then return nil end
  local all = {}
  for _, each in ipairs(cases) do
    all[#all + 1] = script.world()
    for _, operation in ipairs(each.operations) do all[#all + 1] = operation end
    all[#all + 1] = each.query
  end
  local at = differs(all)
  return at and cases[at]
end

local function fewer_operations(now, differs)
  local size = math.ceil(#now.operations / 2)
  while size >= 1 and #now.operations > 1 and core.monotonic() < now.ends do
    local cases = {}
    for from = 1, #now.operations, size do
      local rest = {}
      for i, operation in ipairs(now.operations) do
        if i < from or i >= from + size then rest[#rest + 1] = operation end
      end
      if #cases < MOST then cases[#cases + 1] = case(rest, now.query, now.ends) end
    end
    local found = first(cases, differs)
    if found then
      now = found
      size = math.min(size, math.ceil(#now.operations / 2))
    else
      size = size == 1 and 0 or math.ceil(size / 2)
    end
  end
  return now
end

local function smaller_filter(now, differs)
  local cases, query = {}, now.query
  for _, json in ipairs(candidates(query.filter, query.name ~= "mongo")) do
    cases[#cases + 1] = case(now.operations, script.query(query.name, json, query.params), now.ends)
  end
  return first(cases, differs)
end

local function smaller_record(now, differs)
  local cases = {}
  if #now.operations > 20 then return nil end
  for at, operation in ipairs(now.operations) do
    local row = operation.rows and operation.rows[1]
    for _, json in ipairs(row and candidates(row.metadata, now.query.name ~= "mongo") or {}) do
      local changed = {}
      for i, other in ipairs(now.operations) do changed[i] = other end
      changed[at] = script.register { { id = row.id, metadata = json } }
      if #cases < MOST and json:sub(1, 1) == "{" then cases[#cases + 1] = case(changed, now.query, now.ends) end
    end
  end
  return first(cases, differs)
end

-- The filter as a document, where it differs as one, too: only documents are made smaller.
local function as_document(now, differs)
  local text = filter.decode_json(now.query.filter)
  local compiled = type(text) == "string" and filter.compile(text)
  if not compiled then return now end
  local query = script.query(now.query.name, compiled.json, now.query.params)
  return first({ case(now.operations, query, now.ends) }, differs) or now
end

-- operations: those of one world, before the query. differs(script): the number of the first query of a script for
-- which the evaluators still differ, or nil.
function M.shrink(operations, query, differs)
  local ends = core.monotonic() + SECONDS
  local now = first({ case(single_rows(operations, true), query, ends) }, differs)
    or first({ case(single_rows(operations, false), query, ends) }, differs)
  if not now then return case(operations, query) end
  now = as_document(fewer_operations(now, differs), differs)
  while core.monotonic() < ends do
    local found = smaller_filter(now, differs) or smaller_record(now, differs)
    if not found then break end
    now = found
  end
  return fewer_operations(now, differs)
end

return M
