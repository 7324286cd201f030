-- SPDX-License-Identifier: Apache-2.0
-- `muster loadtest clean`: what load tests that were killed have left in Redis.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local options = require "muster.cli.options"
local output = require "muster.cli.output"

local M = {}

-- A load test renews the end of its keys every second (MST__LOAD_EXPIRE in csrc/host/loadtest_internal.h).
local EXPIRE_MS, FRESH_MS = 600000, 5000

local function ask(request)
  local answer, message, code = core.loadtest_clean(core.json_encode(request))
  if not answer then failure.raise { code = code, message = message } end
  return core.json_decode(answer)
end

local function fate(namespace)
  local ms = namespace.ends_in_ms
  if namespace.keys == 0 then return "nothing but its name is left" end
  if ms == core.null then return "stays" end
  return ms > EXPIRE_MS - FRESH_MS and "in use a moment ago" or "ends in " .. output.duration(ms / 1000)
end

local function list(found, out)
  local rows = {}
  for i, each in ipairs(found) do
    rows[i] = { each.namespace, ("%d"):format(each.identities), ("%d"):format(each.keys), fate(each) }
  end
  out:table({ "NAMESPACE", "IDENTITIES", "KEYS", "BY ITSELF" }, rows)
end

local function plural(count)
  return ("%d namespace%s"):format(count, count == 1 and "" or "s")
end

local function refuse(format, ...)
  failure.raise { exit = failure.EXIT.refused, code = "EGUARD", message = format:format(...) }
end

-- Nothing is removed before somebody has said how many there are.
local function confirm(count, args, out)
  local expected = options.integer(args.expect, "--expect")
  if expected then
    if expected ~= count then refuse("%s of load tests, not %d; nothing was removed", plural(count), expected) end
  elseif out.json or not (core.isatty(0) and core.isatty(2)) then
    refuse("%s would be removed; say --expect %d to do it, or --dry-run to look", plural(count), count)
  else
    io.stderr:write(("Type %d to remove %s: "):format(count, count == 1 and "it" or "them"))
    local given = io.read "*l"
    if tonumber(given or "") ~= count then refuse "nothing was removed" end
  end
end

local function still_there(names, found)
  local wanted, left = {}, {}
  for _, name in ipairs(names) do wanted[name] = true end
  for _, each in ipairs(found) do
    if wanted[each.namespace] then left[#left + 1] = each.namespace end
  end
  return left
end

local function report(found, removed, keys, out)
  if out.json then
    out:line(core.json_encode { namespaces = core.array(found), removed = removed, removed_keys = keys })
  end
end

function M.run(args, redis, out)
  local request = { redis = redis }
  local found = ask(request).namespaces
  if not out.json and #found > 0 and not out.quiet then list(found, out) end
  if #found == 0 or args.dry_run then
    out:note(#found == 0 and "no namespaces of load tests in Redis" or plural(#found) .. " of load tests")
    report(found, 0, 0, out)
    return failure.EXIT.ok
  end
  confirm(#found, args, out)
  local names = {}
  for i, each in ipairs(found) do names[i] = each.namespace end
  request.remove = core.array(names)
  local after = ask(request)
  local left = still_there(names, after.namespaces)
  report(found, #names - #left, after.removed_keys, out)
  out:note(("removed %s, %d keys"):format(plural(#names - #left), after.removed_keys))
  if #left > 0 then refuse("%s came back: a load test is running", table.concat(left, ", ")) end
  return failure.EXIT.ok
end

return M
