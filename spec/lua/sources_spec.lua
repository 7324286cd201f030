-- What holds for every source file, whatever is in it.

local function lines(command)
  local pipe = assert(io.popen(command))
  local found = {}
  for line in pipe:lines() do
    table.insert(found, line)
  end
  pipe:close()
  return found
end

local places = "csrc lua filters examples bench spec cmake rockspec dev .ci CMakeLists.txt"
-- Ended by `true`, because find complains about a place that is not there.
local all = "find " .. places .. " -name node_modules -prune -o -type f -print 2>/dev/null; true"

-- Split, so that this file does not hold the words itself.
local unfinished = { "TO" .. "DO", "FIX" .. "ME" }

describe("source files", function()
  it("hold no note of unfinished work", function()
    local paths, wrong = lines(all), {}
    assert.is_true(#paths > 20)
    for _, path in ipairs(paths) do
      local number = 0
      for line in io.lines(path) do
        number = number + 1
        for _, word in ipairs(unfinished) do
          if line:match("%f[%w_]" .. word .. "%f[^%w_]") then
            table.insert(wrong, ("%s:%d: %s"):format(path, number, word))
          end
        end
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)

  it("in C and C++ begin with the licence", function()
    local wrong = {}
    for _, path in ipairs(lines(all)) do
      if path:match("%.[ch]$") or path:match("%.cpp$") then
        local file = assert(io.open(path, "rb"))
        if file:read("*l") ~= "// SPDX-License-Identifier: Apache-2.0" then
          table.insert(wrong, path)
        end
        file:close()
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)
end)
