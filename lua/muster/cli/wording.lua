-- SPDX-License-Identifier: Apache-2.0
-- Errors of the server in the words of the command line: its options instead of the keys of a request.
local errors = require "muster.filter.errors"

local M = {}

local OPTIONS = { params = "--param", include_metadata = "--no-metadata", compute = "--agg" }
for _, key in ipairs { "ack", "all", "cursor", "expect", "fields", "gateway", "group_by", "if_revision", "limit",
                       "max_targets", "metadata", "min_revision", "mode", "owner", "report", "retries", "sort",
                       "timeout", "ttl" } do
  OPTIONS[key] = "--" .. key:gsub("_", "-")
end

-- `"all": true` is --all, `"ttl": "never"` is --ttl never, a lone "limit" is --limit. Suggestions name values.
function M.hint(text)
  if text:find "^did you mean " then return text end
  text = text:gsub('"([%w_]+)": ("?)([%w_]+)%2', function(key, _, value)
    return OPTIONS[key] and OPTIONS[key] .. (value == "true" and "" or " " .. value)
  end)
  return (text:gsub('"([%w_]+)"', OPTIONS))
end

-- The lines that show `text` with `detail` (offset, line, column, length, hint) pointing into it.
function M.place(text, detail)
  local shown = { offset = detail.offset, line = detail.line, column = detail.column, length = detail.length,
                  message = detail.hint or "" }
  local lines = {}
  for line in (errors.format(text, shown) .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = "  " .. line:gsub("%s+$", "")
  end
  return lines
end

-- Rewrites what people see of a failure of the server; f.raw keeps the server's own words.
function M.reword(f)
  if f.code == "EFILTER" then return f end
  f.hint = f.hint and M.hint(f.hint)
  local key, rest = f.message:match '^key "([%w_]+)": (.*)$'
  local option = OPTIONS[key]
  if not option then return f end
  f.message = option .. ": " .. rest
  local path, cause = rest:match '^path "(.*)": (.-)$'
  local at = f.at
  if path and type(at) == "table" and at.line == 1 and at.offset <= #path then
    f.message = ("%s: %d:%d: %s"):format(option, at.line, at.column, cause)
    f.lines = M.place(path, { offset = at.offset, line = at.line, column = at.column, hint = f.hint })
    f.hint = nil
  end
  return f
end

return M
