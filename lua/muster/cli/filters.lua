-- SPDX-License-Identifier: Apache-2.0
-- `muster filters`: the named filters of a server or of a folder.
local failure = require "muster.cli.failure"
local library = require "muster.filter.library"
local named = require "muster.cli.named"
local options = require "muster.cli.options"
local output = require "muster.cli.output"
local suggest = require "muster.filter.suggest"
local text = require "muster.cli.text"

local M = {
  name = "filters",
  summary = "List the named filters of a server, or check and list those of a folder.",
  examples = [[
  muster filters                            those that the server was started with
  muster filters low_battery                one of them, with its parameters and its text
  muster filters --filters ./filters        checks the files of a folder; needs no server
]],
  details = [[
A named filter is used as @name(arguments) in any filter: muster ls '@low_battery(15) and site == "hq"'. A file that is
wrong is told with line and column; the exit code is 78 then. With --json each filter is an object on a line of its own.
]],
}

function M.setup(command)
  command:argument("name", "Only this one, in full."):args "?"
  named.option(command)
  options.output(command)
  options.door(command)
end

-- The filters as JSON, by name.
local function fetch(args)
  if args.filters then
    return text.elements(library.list_json(named.load(args.filters, failure.EXIT.config).named))
  end
  local door = options.open_door(args)
  local answer = door:call("filters", "{}")
  door:close()
  return text.elements(text.members(answer).filters)
end

local function pick(filters, name)
  local names = {}
  for i, each in ipairs(filters) do
    names[i] = text.value(text.members(each).name)
    if names[i] == name then return each end
  end
  local near = suggest.nearest(name, names)
  failure.raise { code = "ENOTFOUND", message = ("there is no filter '%s'"):format(name),
                  hint = near and ("did you mean '%s'?"):format(near) or nil }
end

local function show(filter, out)
  local it = text.members(filter)
  out:line(out:paint("bold", "@" .. output.visible(text.value(it.signature))))
  out:line("  " .. output.visible(text.value(it.doc)))
  for _, param in ipairs(text.elements(it.params)) do
    local p = text.members(param)
    local default = text.value(p.default)
    out:line(("  %-12s %-8s %s%s"):format(text.value(p.name), text.value(p.type),
      output.visible(text.value(p.doc) or ""), default and " (default: " .. output.visible(default) .. ")" or ""))
  end
  for line in text.value(it.filter):gmatch "[^\n]+" do out:line("  | " .. output.visible(line:match "^%s*(.-)%s*$")) end
end

function M.run(args, out)
  local filters = fetch(args)
  local one = args.name and pick(filters, (args.name:gsub("^@", "")))
  if out.json then
    for _, each in ipairs(one and { one } or filters) do out:line(text.one_line(each)) end
  elseif one then
    show(one, out)
  elseif #filters == 0 then
    out:note "there are no named filters; start the server with --filters FOLDER"
  else
    local rows = {}
    for i, each in ipairs(filters) do
      local it = text.members(each)
      rows[i] = { "@" .. output.visible(text.value(it.signature)), output.visible(text.value(it.doc)) }
    end
    out:table({ "FILTER", "WHAT" }, rows)
  end
  return failure.EXIT.ok
end

return M
