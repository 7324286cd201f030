-- SPDX-License-Identifier: Apache-2.0
-- Real processes for specs: the muster program, and private Redis and NATS servers. Everything is started on free
-- loopback ports with a directory of its own and ended by process id; what is started dies with this process.
local core = require "muster.core"

local M = {}

M.program = assert(os.getenv "MUSTER", "MUSTER has to name the muster program")

local directory -- of this test program, made on first use
local running = {}

-- What a developer has set must not reach the tests.
for _, name in ipairs { "MUSTER_URL", "MUSTER_NAMESPACE", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE" } do
  core.setenv(name, "")
end

function M.directory()
  if not directory then
    directory = assert(core.make_directory "muster-spec")
    core.setenv("XDG_RUNTIME_DIR", directory)
  end
  return directory
end

function M.path(name)
  return M.directory() .. "/" .. name
end

function M.write(name, content)
  local path = M.path(name)
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  return path
end

function M.read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local content = file:read "*a"
  file:close()
  return content
end

function M.quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

function M.command(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = M.quote(word) end
  return table.concat(quoted, " ")
end

-- Runs `words` (the program's arguments) to the end: { code =, out =, err = }. `input` goes to standard input.
function M.muster(words, input)
  local full = { M.program }
  for _, word in ipairs(words) do full[#full + 1] = word end
  return M.run(full, input)
end

function M.run(words, input)
  local from = input and M.write("stdin", input) or "/dev/null"
  local status = os.execute(("timeout 60 %s <%s >%s 2>%s"):format(M.command(words), M.quote(from),
    M.quote(M.path "stdout"), M.quote(M.path "stderr")))
  if status == true then status = 0 end
  if status >= 256 then status = status / 256 end
  return { code = status, out = M.read(M.path "stdout"), err = M.read(M.path "stderr") }
end

-- Starts a process in the background; standard output and error go to one file. { pid =, log = path }
function M.start(name, words, where)
  local log = M.path(name .. ".log")
  os.remove(log)
  local pid = assert(core.spawn { argv = words, stdout = log, directory = where or M.directory() })
  local process = { pid = pid, log = log }
  running[pid] = process
  return process
end

function M.start_muster(name, words)
  local full = { M.program }
  for _, word in ipairs(words) do full[#full + 1] = word end
  return M.start(name, full)
end

-- Waits for `pattern` in what the process prints.
function M.wait_for(process, pattern, seconds)
  local ends = core.monotonic() + (seconds or 10)
  repeat
    local text = M.read(process.log)
    if text:find(pattern) then return text end
    core.sleep(0.01)
  until core.monotonic() > ends
  error(("no %q within %g s in:\n%s"):format(pattern, seconds or 10, M.read(process.log)), 2)
end

-- True as soon as `condition()` is; false after `seconds`.
function M.eventually(condition, seconds)
  local ends = core.monotonic() + (seconds or 5)
  repeat
    if condition() then return true end
    core.sleep(0.02)
  until core.monotonic() > ends
  return false
end

-- Ends a process with `signal` (default SIGTERM) and answers its exit status.
function M.stop(process, signal)
  if not running[process.pid] then return process.status end
  core.kill(process.pid, signal or 15)
  local exited, status = core.wait(process.pid, 10)
  if not exited then
    core.kill(process.pid, 9)
    core.wait(process.pid, 10)
    status = "had to be killed"
  end
  running[process.pid] = nil
  process.status = status
  return status
end

-- Waits for a process to end by itself; its exit status, or nil after `seconds`.
function M.wait(process, seconds)
  local exited, status = core.wait(process.pid, seconds or 10)
  if not exited then return nil end
  running[process.pid] = nil
  process.status = status
  return status
end

-- Ends everything. For teardown.
function M.stop_all()
  for _, process in pairs(running) do M.stop(process, 9) end
  if directory then core.remove_tree(directory) end
  directory = nil
end

-- Servers ------------------------------------------------------------------------------------------------------------

local function answers(port, hello, greeting)
  local command = "exec 3<>/dev/tcp/127.0.0.1/%d && printf '%s' >&3 && timeout 1 head -c %d <&3"
  command = command:format(port, hello, #greeting)
  local pipe = io.popen("bash -c " .. M.quote(command) .. " 2>/dev/null")
  local got = pipe:read "*a"
  pipe:close()
  return got == greeting
end

local function start_server(name, words, port, hello, greeting)
  local process = M.start(name, words)
  process.port = port
  process.address = "127.0.0.1:" .. port
  assert(M.eventually(function() return answers(port, hello, greeting) end, 10), name .. " did not start")
  return process
end

function M.redis()
  local port = core.free_port()
  return start_server("redis", { "redis-server", "--port", tostring(port), "--bind", "127.0.0.1", "--save", "",
    "--appendonly", "no", "--dir", M.directory() }, port, "PING\\r\\n", "+PONG")
end

function M.nats()
  local port = core.free_port()
  local process = start_server("nats", { "nats-server", "-a", "127.0.0.1", "-p", tostring(port) }, port, "", "INFO")
  process.url = "nats://" .. process.address
  return process
end

-- `muster serve` with `words`, ready.
function M.serve(words, name)
  local full = { "serve" }
  for _, word in ipairs(words) do full[#full + 1] = word end
  local process = M.start_muster(name or "serve", full)
  M.wait_for(process, "muster serving on")
  return process
end

return M
