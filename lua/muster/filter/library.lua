-- SPDX-License-Identifier: Apache-2.0
-- Named filters from files: a folder with one file per filter, `low_battery.lua` for `@low_battery(..)`.
--
--   return {
--     doc = "Battery at or below a level.",                       one line, required
--     params = { { "percent", type = "number", default = 20, doc = "per cent" } },     or just "percent"
--     filter = [[ battery <= :percent ]],                         required; may use other named filters
--   }
--
-- type: number, string, bool, list, version, time, network or any (the default). Arguments are positional, so what has
-- a default stands last. A file is run without any function in reach: it is data.
--
--   local library, problems = Library.load(folder, list)
--
-- library: { folder =, named = { name = definition }, names = sorted }; nil where something is wrong. definition: what
-- build.lua wants, and { name =, path =, doc = }. problems: { { path =, line =, column =, message =, hint = }, .. }.
-- `list(folder)` gives the names of the files in it, or nil and a message.
local arguments = require "muster.filter.arguments"
local ast = require "muster.filter.ast"
local build = require "muster.filter.build"
local check = require "muster.filter.check"
local diagnose = require "muster.filter.diagnose"
local errors = require "muster.filter.errors"
local limits = require "muster.filter.limits"
local literals = require "muster.filter.literals"
local print = require "muster.filter.print"
local suggest = require "muster.filter.suggest"
local typed = require "muster.filter.typed"
local value = require "muster.filter.value"

local M = {}

local MAX_FILES = 1000
local MAX_BYTES = 65536 -- of a file
local MAX_PARAMS = 16
local KEYS = { doc = "string", params = "table", filter = "string" }
local SPEC_KEYS = { type = true, default = true, doc = true }

-- What a parameter is while its filter is checked and no argument is known.
local SAMPLES = {
  number = function() return ast.value(1) end,
  string = function() return ast.value "a" end,
  bool = function() return ast.value(true) end,
  list = function() return { kind = "list", items = { ast.value "a" } } end,
  version = function() return { kind = "semver", text = "1" } end,
  time = function() return { kind = "time", text = "2025-01-01" } end,
  network = function() return { kind = "cidr", text = "10.0.0.0/8" } end,
}

-- One file at a time --------------------------------------------------------------------------------------------------

-- Raises a problem at byte `offset` (from 0) of the file.
local function fail(file, offset, message, hint)
  local detail = errors.locate({ offset = math.max(0, math.min(offset or 0, #file.source)) }, file.source)
  error({ path = file.path, line = detail.line, column = detail.column, message = message, hint = hint }, 0)
end

-- Where a key is set, for want of a better place.
local function place_of(file, key)
  return (file.source:find("%f[%w_]" .. tostring(key):gsub("%W", "%%%0") .. "%s*=") or 1) - 1
end

local function parse(file)
  local data, problem = literals.read(file.source)
  return data or fail(file, problem.offset, problem.message, problem.hint)
end

local function check_keys(file, returned)
  for key, v in pairs(returned) do
    if not KEYS[key] then
      local near = suggest.nearest(tostring(key), suggest.keys(KEYS))
      fail(file, place_of(file, key), "unknown key `" .. tostring(key) .. "`",
        near and "did you mean `" .. near .. "`?")
    end
    if type(v) ~= KEYS[key] then
      fail(file, place_of(file, key), ("`%s` has to be a %s, not a %s"):format(key, KEYS[key], type(v)))
    end
  end
  for _, key in ipairs { "doc", "filter" } do
    if not returned[key] then fail(file, 0, "`" .. key .. "` is missing") end
  end
  if returned.doc:find "[%c]" or returned.doc == "" then
    fail(file, place_of(file, "doc"), "`doc` has to be one line of text")
  end
end

-- A default of the file as an operand, and as it is shown.
local function default_of(file, name, given, type_name)
  local operand
  if type(given) == "table" then
    local items = {}
    for i, item in ipairs(given) do
      if type(item) == "table" then fail(file, place_of(file, "default"), "a default's list holds plain values") end
      items[i] = ast.value(type(item) == "number" and value.number(item) or item)
    end
    operand = { kind = "list", items = items }
  else
    operand = ast.value(type(given) == "number" and value.number(given) or given)
  end
  operand = arguments.fit(operand, type_name)
  local valid = operand and (operand.kind ~= "time" or typed.parse_time(operand.text))
    and (operand.kind ~= "semver" or typed.parse_semver(operand.text))
    and (operand.kind ~= "cidr" or typed.parse_cidr(operand.text))
  if not valid then
    fail(file, place_of(file, "default"), ("the default of `%s` is not %s"):format(name,
      arguments.TYPES[type_name].what))
  end
  return operand, print.operand(operand)
end

local function read_spec(file, given, number)
  if type(given) == "string" then given = { given } end
  local name = type(given) == "table" and given[1]
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" or #name > 64 then
    fail(file, place_of(file, "params"), ("parameter %d has no valid name"):format(number), "e.g. { \"percent\" }")
  end
  for key in pairs(given) do
    if key ~= 1 and not SPEC_KEYS[key] then
      fail(file, place_of(file, key), ("unknown key `%s` of parameter `%s`"):format(tostring(key), name))
    end
  end
  if given.doc ~= nil and type(given.doc) ~= "string" then
    fail(file, place_of(file, "doc"), ("`doc` of parameter `%s` has to be a string"):format(name))
  end
  local spec = { type = given.type or "any", doc = given.doc }
  if not arguments.TYPES[spec.type] then
    local near = suggest.nearest(tostring(spec.type), suggest.keys(arguments.TYPES))
    fail(file, place_of(file, "type"), ("unknown type `%s` of parameter `%s`"):format(tostring(spec.type), name),
      near and "did you mean `" .. near .. "`?" or "one of: " .. table.concat(suggest.keys(arguments.TYPES), ", "))
  end
  if given.default ~= nil then spec.default, spec.default_text = default_of(file, name, given.default, spec.type) end
  return name, spec
end

local function read_params(file, given, definition)
  if #given > MAX_PARAMS then
    fail(file, place_of(file, "params"), ("too many parameters (limit %d)"):format(MAX_PARAMS))
  end
  local optional
  for i, each in ipairs(given) do
    local name, spec = read_spec(file, each, i)
    if definition.specs[name] then
      fail(file, place_of(file, "params"), "parameter `" .. name .. "` is there twice")
    end
    if optional and not spec.default then
      fail(file, place_of(file, "params"),
        ("parameter `%s` without a default comes behind `%s`, which has one"):format(name, optional))
    end
    optional = spec.default and name or optional
    definition.params[i], definition.specs[name] = name, spec
  end
end

local function read_file(folder, name)
  local path = folder:gsub("/*$", "") .. "/" .. name
  local file = { path = path, name = name:gsub("%.lua$", ""), source = "" }
  local handle, message = io.open(path, "rb")
  local source = handle and handle:read(MAX_BYTES + 1)
  if handle then handle:close() end
  if not handle then fail(file, 0, (message:gsub("^.-: ", ""))) end
  file.source = source or ""
  if #file.source > MAX_BYTES then fail(file, 0, ("is longer than %d bytes"):format(MAX_BYTES)) end
  if not file.name:find "^[%a_][%w_]*$" then
    fail(file, 0, "its name is none for a filter", "letters, digits and _ only, then .lua")
  end
  if ast.BUILTINS[file.name] then fail(file, 0, "`@" .. file.name .. "` is a built-in") end
  return file
end

local function define(file)
  local returned = parse(file)
  check_keys(file, returned)
  local definition = { name = file.name, path = file.path, doc = returned.doc, params = {}, specs = {},
                       filter = returned.filter }
  read_params(file, returned.params or {}, definition)
  return definition
end

-- All of them together ------------------------------------------------------------------------------------------------

local function sample_arguments(definition)
  local args = {}
  for i, name in ipairs(definition.params) do
    local make = SAMPLES[definition.specs[name].type]
    args[name] = make and make() or { kind = "param", name = name }
    args[tostring(i)] = args[name]
  end
  return args
end

-- Compiles a definition's text with sample arguments; raises with the place in its file.
local function check_definition(file, definition, named, bounds, regex_check)
  local used, text = {}, definition.filter
  local ok, problem = pcall(function()
    local function before(source)
      limits.check_bytes(source, bounds.bytes)
      limits.check_nesting(source)
    end
    local ctx = build.context({ named = named, args = sample_arguments(definition) }, before, diagnose.fail)
    ctx.active, ctx.used = { [definition.name] = true }, used
    check.check(build.parse(text, ctx), { limits = bounds, regex_check = regex_check })
  end)
  -- A text with escapes is not found as it stands; then its key has to do.
  local from = file.source:find(text, 1, true)
  if not ok then
    if not errors.is(problem) then error(problem, 0) end
    fail(file, from and from - 1 + (problem.offset or 0) or place_of(file, "filter"), problem.message, problem.hint)
  end
  for i, name in ipairs(definition.params) do
    if not used[name] and not used[tostring(i)] then
      fail(file, place_of(file, "params"), "parameter `" .. name .. "` is not used", "write `:" .. name .. "`")
    end
  end
end

local function guarded(problems, run_one, ...)
  local ok, result = pcall(run_one, ...)
  if ok then return result end
  if type(result) ~= "table" or not result.path then error(result, 0) end
  problems[#problems + 1] = result
  return nil
end

-- The files of a folder that are filters: those that end in .lua, sorted.
local function file_names(folder, list)
  local all, message = list(folder)
  if not all then return nil, message end
  local names = {}
  for _, name in ipairs(all) do
    if name:find "%.lua$" and not name:find "^%." then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

function M.load(folder, list, options)
  local names, message = file_names(folder, list)
  local whole = { path = folder, line = 1, column = 1 }
  if not names then
    whole.message = message
    return nil, { whole }
  elseif #names > MAX_FILES then
    whole.message = ("too many filters (limit %d)"):format(MAX_FILES)
    return nil, { whole }
  end
  local library, problems, files = { folder = folder, named = {}, names = {} }, {}, {}
  for _, name in ipairs(names) do
    local file = guarded(problems, read_file, folder, name)
    local definition = file and guarded(problems, define, file)
    if definition then
      files[#files + 1] = file
      library.named[file.name] = definition
      library.names[#library.names + 1] = file.name
    end
  end
  local bounds = limits.resolve(options and options.limits)
  for _, file in ipairs(files) do
    guarded(problems, check_definition, file, library.named[file.name], library.named, bounds,
      options and options.regex_check)
  end
  table.sort(problems, function(a, b) return a.path < b.path end) -- one a file
  if #problems > 0 then return nil, problems end
  return library, problems
end

-- One line: `filters/x.lua:3:14: message; hint`.
function M.line(problem)
  return ("%s:%d:%d: %s"):format(problem.path, problem.line, problem.column, problem.message)
    .. (problem.hint and "; " .. problem.hint or "")
end

-- A definition as callers see it.
function M.describe(definition)
  local params = {}
  for i, name in ipairs(definition.params) do
    local spec = definition.specs[name]
    params[i] = { name = name, type = spec.type, default = spec.default_text, doc = spec.doc }
  end
  return {
    name = definition.name, signature = arguments.signature(definition.name, definition), doc = definition.doc,
    params = params, filter = (definition.filter:match "^%s*(.-)%s*$"),
  }
end

local function json_of(described)
  local params = {}
  for i, param in ipairs(described.params) do
    params[i] = ('{"name":%s,"type":%s,"default":%s,"doc":%s}'):format(value.to_json(param.name),
      value.to_json(param.type), value.to_json(param.default or value.null), value.to_json(param.doc or value.null))
  end
  return ('{"name":%s,"signature":%s,"doc":%s,"params":[%s],"filter":%s}'):format(value.to_json(described.name),
    value.to_json(described.signature), value.to_json(described.doc), table.concat(params, ","),
    value.to_json(described.filter))
end

-- A JSON array of all definitions, by name. `named` may be nil.
function M.list_json(named)
  local parts = {}
  for i, name in ipairs(suggest.keys(named or {})) do parts[i] = json_of(M.describe(named[name])) end
  return "[" .. table.concat(parts, ",") .. "]"
end

return M
