-- An include points to its own layer or a lower one, and each outside library is known to one place only.

local order = { base = 1, model = 2, view = 3, match = 4, core = 5, io = 6, script = 6, host = 7 }

-- Patterns of outside headers, and the layers that may include them.
local outside = {
  { "^uv%.h$", { io = true } },
  { "^uv/", { io = true } },
  { "^hiredis", { io = true } },
  { "^nats", { io = true } },
  { "^openssl/", { io = true } },
  { "^lua", { script = true, host = true } },
  { "^lauxlib%.h$", { script = true, host = true } },
  { "^lualib%.h$", { script = true, host = true } },
}

local function sources()
  local pipe = assert(io.popen("find csrc -name '*.c' -o -name '*.h' -o -name '*.cpp' | sort"))
  local paths = {}
  for path in pipe:lines() do
    table.insert(paths, path)
  end
  pipe:close()
  return paths
end

-- Why a file of `layer` may not include `header`; nil if it may.
local function fault(layer, header)
  for _, rule in ipairs(outside) do
    if header:match(rule[1]) and not rule[2][layer] then
      return "belongs to another layer"
    end
  end
  local target = header:match("^([%w_]+)/")
  if header:match("^%.%.?/") then
    return "is relative"
  end
  if target == nil or target == layer or order[target] == nil then
    return nil
  end
  if layer == "include" then
    return "is not public"
  end
  if order[target] >= order[layer] then
    return ("points from %s to %s"):format(layer, target)
  end
end

-- {line, header, why} of each include of `text` that may not stand in `layer`.
local function faults(layer, text)
  local found, number = {}, 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local header = line:match('^%s*#%s*include%s*[<"]([^>"]+)[>"]')
    local why = header and fault(layer, header)
    if why then
      table.insert(found, { number, header, why })
    end
  end
  return found
end

describe("layers", function()
  it("are those of csrc", function()
    for _, path in ipairs(sources()) do
      local layer = path:match("^csrc/([%w_]+)/")
      assert.is_truthy(layer == "include" or order[layer], path .. " is in no layer")
    end
  end)

  it("include only downwards", function()
    local paths, wrong = sources(), {}
    assert.is_true(#paths > 10)
    for _, path in ipairs(paths) do
      local file = assert(io.open(path, "rb"))
      for _, found in ipairs(faults(path:match("^csrc/([%w_]+)/"), file:read("*a"))) do
        table.insert(wrong, ("%s:%d: %s %s"):format(path, found[1], found[2], found[3]))
      end
      file:close()
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)

  it("refuse what they should", function()
    local function refused(layer, include)
      return #faults(layer, "int x;\n#include " .. include .. "\n") == 1
    end
    assert.is_true(refused("base", '"model/value.h"'))
    assert.is_true(refused("io", '"script/vm.h"'))
    assert.is_true(refused("script", '"io/loop.h"'))
    assert.is_true(refused("core", "<uv.h>"))
    assert.is_true(refused("host", "<hiredis/async.h>"))
    assert.is_true(refused("core", "<nats/nats.h>"))
    assert.is_true(refused("io", "<lua.h>"))
    assert.is_true(refused("include", '"base/error.h"'))
    assert.is_true(refused("view", '"../match/match.h"'))
    assert.is_false(refused("match", '"view/view.h"'))
    assert.is_false(refused("io", "<uv.h>"))
    assert.is_false(refused("host", "<lauxlib.h>"))
    assert.is_false(refused("host", '"script/vm.h"'))
    assert.is_false(refused("script", '"muster.h"'))
    assert.is_false(refused("base", "<sys/types.h>"))
  end)
end)
