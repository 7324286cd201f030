-- SPDX-License-Identifier: Apache-2.0
-- The filter compiler: text or JSON in, a program for the engine out.
--
--   text, JSON -> limits -> grammar -> build / json -> (ast) -> check -> lower -> emit
--
--   local filter = require "muster.filter"
--   local compiled, message, code, detail = filter.compile('status == "online"')
--
-- compiled: { program = bytes (csrc/match/program.h), text = canonical text, json = canonical JSON, warnings = { .. },
--             params = { names }, fields = { "a.b", .. }, ast = the tree (ast.lua) }
-- options, all optional:
--   limits        { depth, clauses, bytes, list }
--   regex_check   function(pattern) -> true | nil, message, offset
--   named         the filters behind @name(..): name -> { filter = text, params = { names }, specs = (arguments.lua) },
--                 a table or a function
--   args          operands for the parameters of the text, by name (library.lua)
--   known_fields  { "a.b", .. }, to warn of misspelt ones
-- A filter that is wrong gives nil, `1:8: message; hint`, "EFILTER", detail (errors.lua); only misuse throws.
local ast = require "muster.filter.ast"
local build = require "muster.filter.build"
local check = require "muster.filter.check"
local diagnose = require "muster.filter.diagnose"
local emit = require "muster.filter.emit"
local errors = require "muster.filter.errors"
local json = require "muster.filter.json"
local json_read = require "muster.filter.json_read"
local json_write = require "muster.filter.json_write"
local limits = require "muster.filter.limits"
local lower = require "muster.filter.lower"
local print = require "muster.filter.print"
local warn = require "muster.filter.warn"

local M = {}

-- JSON says the same in more bytes.
local JSON_BYTES = 4

local function param_names(expr)
  local names, seen = {}, {}
  local function note(name)
    if not seen[name] then names[#names + 1], seen[name] = name, true end
  end
  local function operand(o)
    if o == nil then return end
    if o.kind == "param" then note(o.name) end
    for _, term in ipairs(o.terms or {}) do note(term.name) end
    for _, item in ipairs(o.items or {}) do operand(item) end
  end
  ast.each(expr, function(leaf)
    operand(leaf.left)
    operand(leaf.right)
  end)
  return names
end

local function field_names(expr)
  local names, seen = {}, {}
  local function note(path, prefix)
    if path == nil or path.kind ~= "path" or path.builtin then return end
    local name = json_write.path(path, prefix ~= nil)
    if prefix then name = name == "it" and prefix or prefix .. "." .. name:gsub("^it%.", "") end
    if not seen[name] then names[#names + 1], seen[name] = name, true end
    return name
  end
  local function visit(node, prefix)
    if node.left then
      local name = note(node.left, prefix)
      note(node.right, prefix)
      if node.op == "any" or node.op == "all" then prefix = name end
    end
    for _, child in ipairs(node) do visit(child, prefix) end
  end
  visit(expr, nil)
  return names
end

local function finish(expr, options, bounds)
  check.check(expr, { limits = bounds, regex_check = options.regex_check })
  local fields = field_names(expr)
  return {
    program = emit.emit(lower.lower(expr)),
    text = print.text(expr),
    json = json_write.text(expr),
    warnings = warn.list(expr, fields, options.known_fields),
    params = param_names(expr),
    fields = fields,
    ast = expr,
  }
end

-- Runs one compilation; its errors become results.
local function guarded(text, run)
  local ok, result = pcall(run)
  if ok then return result end
  local detail = result
  if not errors.is(result) then
    local message = tostring(result)
    local deep = message:find "stack overflow" or message:find "nesting too deep" or message:find "too many captures"
    detail = deep and { error = "limit", message = "filter is too complex" }
      or { error = "internal", message = "internal error in the filter compiler: " .. message }
  end
  detail.nested = nil
  detail = errors.locate(detail, text)
  return nil, errors.line(detail), "EFILTER", detail
end

local function check_options(options)
  if options ~= nil and type(options) ~= "table" then error("bad argument #2 (table expected)", 3) end
  return options or {}
end

function M.compile(text, options)
  if type(text) ~= "string" then error("bad argument #1 to 'compile' (string expected)", 2) end
  options = check_options(options)
  local bounds = limits.resolve(options.limits)
  return guarded(text, function()
    local function before(source)
      limits.check_bytes(source, bounds.bytes)
      limits.check_nesting(source)
    end
    return finish(build.parse(text, build.context(options, before, diagnose.fail)), options, bounds)
  end)
end

-- `document`: JSON text, or a value decoded by M.decode_json.
function M.compile_json(document, options)
  local is_text = type(document) == "string"
  if not is_text and type(document) ~= "table" then
    error("bad argument #1 to 'compile_json' (string or decoded document expected)", 2)
  end
  options = check_options(options)
  local bounds = limits.resolve(options.limits)
  return guarded(is_text and document or "", function()
    local root = document
    if is_text then
      limits.check_bytes(document, bounds.bytes * JSON_BYTES)
      local message, offset
      root, message, offset = json_read.decode(document)
      if root == nil then errors.raise("json", "invalid JSON: " .. message, offset + 1) end
    end
    return finish(json.read(root), options, bounds)
  end)
end

-- JSON text to the values compile_json takes; or nil, message, offset.
M.decode_json = json_read.decode

-- The filter's text with the place of the error underlined.
M.format_error = errors.format

return M
