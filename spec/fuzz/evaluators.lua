-- SPDX-License-Identifier: Apache-2.0
-- All evaluators that this machine has, and where their answers to a script part.
local core = require "muster.core"
local oracles = require "fuzz.oracles"
local script = require "fuzz.script"

local M = {}

local FOLDER = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
local LUAJIT = os.getenv "MUSTER_LUAJIT" or "luajit"
local PATIENCE = 120 -- seconds for one script

-- What the processor must say of itself for each set of kernels, as in match/kernel.c, which falls back without a word.
local KERNELS = {
  { "scalar" }, { "sse2", "sse2" }, { "avx2", "avx2", "popcnt" },
  { "avx512", "avx512bw", "avx512vl", "avx512vbmi", "avx512_vpopcntdq" },
}

local function cpu_flags()
  local flags = {}
  local file = io.open("/proc/cpuinfo")
  if not file then return flags end
  for line in file:lines() do
    local list = line:match "^flags%s*:%s*(.*)$"
    if list then
      for flag in list:gmatch "%S+" do flags[flag] = true end
      break
    end
  end
  file:close()
  return flags
end

-- The instruction sets to run the engine with.
function M.kernels()
  local names, flags = {}, cpu_flags()
  for _, entry in ipairs(KERNELS) do
    local has = true
    for i = 2, #entry do has = has and flags[entry[i]] end
    if has then names[#names + 1] = entry[1] end
  end
  return names
end

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

local function succeeds(command)
  local status = os.execute(command .. " >/dev/null 2>&1")
  return status == true or status == 0
end

-- Why mingo cannot run here; nil if it can.
function M.without_mingo()
  if not succeeds "node --version" then return "there is no Node.js" end
  if not succeeds("test -d " .. quote(FOLDER .. "/../node/node_modules/mingo")) then
    return "the package mingo is not installed (npm install in spec/node)"
  end
  return nil
end

-- Evaluators: { name =, run = function(operations) -> answers } or { name =, command = words for sh }.
function M.list(with_mingo)
  local list = { { name = "engine, row by row", run = oracles.row_by_row } }
  for _, name in ipairs(M.kernels()) do
    list[#list + 1] = {
      name = "engine, " .. name,
      command = ("MUSTER_KERNELS=%s exec %s %s"):format(name, LUAJIT, quote(FOLDER .. "/engine.lua")),
    }
  end
  if with_mingo then
    list[#list + 1] = { name = "mingo", mongo = true, command = "exec node " .. quote(FOLDER .. "/../node/mingo.mjs") }
  end
  return list
end

local function read_lines(path)
  local lines, file = {}, io.open(path, "rb")
  if not file then return lines end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

local function read_all(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read "*a"
  file:close()
  return text
end

local function start(evaluator, directory, number, script_path)
  local base = ("%s/%d"):format(directory, number)
  os.remove(base .. ".answers")
  local command = ("%s %s %s"):format(evaluator.command, quote(script_path), quote(base .. ".answers"))
  local pid = assert(core.spawn { argv = { "/bin/sh", "-c", command }, stdout = base .. ".log" })
  return { pid = pid, base = base }
end

local function finish(process)
  local exited, status = core.wait(process.pid, PATIENCE)
  if not exited then
    core.kill(process.pid, 9)
    core.wait(process.pid, 5)
    return nil, ("no end after %d s"):format(PATIENCE)
  end
  if status ~= 0 then return nil, ("ended with status %d\n%s"):format(status, read_all(process.base .. ".log")) end
  return read_lines(process.base .. ".answers")
end

-- Runs a script through `evaluators`; answers by their places: { { answers } or { problem = text }, .. }, and those of
-- the naive interpreter.
function M.run(evaluators, operations, directory)
  local path, processes, all = directory .. "/script", {}, {}
  local file = assert(io.open(path, "wb"))
  file:write(script.text(operations))
  file:close()
  for i, evaluator in ipairs(evaluators) do
    if evaluator.command then processes[i] = start(evaluator, directory, i, path) end
  end
  local naive = oracles.naive(operations)
  for i, evaluator in ipairs(evaluators) do
    if evaluator.command then
      local answers, problem = finish(processes[i])
      all[i] = answers or { problem = problem }
    else
      all[i] = evaluator.run(operations)
    end
  end
  return all, naive
end

-- A bad pattern or network in a parameter is refused by the engine; the naive interpreter lets its clause be false.
local function same(given, expected)
  return given == expected or given == "-" or given == "!EPARAM" and expected:sub(1, 1) ~= "!"
end
M.same = same

return M
