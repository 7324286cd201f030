-- SPDX-License-Identifier: Apache-2.0
-- What a command prints: data on standard output, everything else on standard error; colour and alignment only for
-- people.
local core = require "muster.core"
local failure = require "muster.cli.failure"
local limits = require "muster.filter.limits"

local Output = {}
Output.__index = Output

local M = {}

local function set(name)
  local value = os.getenv(name)
  return value ~= nil and value ~= ""
end

-- --color, then NO_COLOR, then FORCE_COLOR and CLICOLOR_FORCE, then whether `descriptor` is a terminal.
function M.wants_color(when, descriptor)
  if when == "always" then return true end
  if when == "never" or set "NO_COLOR" then return false end
  if set "FORCE_COLOR" or set "CLICOLOR_FORCE" then return true end
  return core.isatty(descriptor) and os.getenv "TERM" ~= "dumb"
end

-- `args`: color, json, quiet as parsed.
function M.new(args)
  return setmetatable({
    json = args.json or false,
    quiet = args.quiet or false,
    tty = core.isatty(1),
    color = M.wants_color(args.color, 1),
    error_color = M.wants_color(args.color, 2),
  }, Output)
end

local STYLES = { bold = 1, dim = 2, red = 31, green = 32, yellow = 33, cyan = 36 }

local function paint(on, style, text)
  return on and ("\27[%dm%s\27[0m"):format(STYLES[style], text) or text
end

function Output:paint(style, text)
  return paint(self.color, style, text)
end

local function escape(c)
  if #c == 2 then return ("\\u%04x"):format(c:byte(2)) end
  local short = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
  return short[c] or ("\\x%02x"):format(c:byte())
end

-- Bytes that are not UTF-8 as \xHH.
local function escape_stray(text)
  local parts, from, at = {}, 1, limits.invalid_utf8(text)
  while at do
    parts[#parts + 1] = text:sub(from, at - 1) .. escape(text:sub(at, at))
    from = at + 1
    at = limits.invalid_utf8(text, from)
  end
  return from == 1 and text or table.concat(parts) .. text:sub(from)
end

-- Marks of direction and characters without width: U+200B to U+200F, U+202A to U+202E, U+2066 to U+2069, U+FEFF.
local function escape_mark(mark)
  local second, third = mark:byte(2, 3)
  local hidden = second == 0x80 and (third >= 0x8b and third <= 0x8f or third >= 0xaa and third <= 0xae)
    or second == 0x81 and third >= 0xa6 and third <= 0xa9
  return hidden and ("\\u%04x"):format(0x2000 + (second - 0x80) * 64 + third - 0x80) or nil
end

-- JSON text with these as its own escapes: it means the same.
function M.marked(text)
  return (text:gsub("\226[\128\129][\128-\191]", escape_mark):gsub("\239\187\191", "\\ufeff"))
end

-- Foreign text for one line of a terminal or a table: control characters (C0, DEL, C1), what turns the direction of
-- writing or has no width, and bytes that are not UTF-8 become visible.
function M.visible(text)
  return M.marked((escape_stray(text):gsub("[%z\1-\31\127]", escape):gsub("\194[\128-\159]", escape)))
end

-- The same so that the bytes can be had back: a backslash is doubled.
function M.exact(text)
  return M.visible((text:gsub("\\", "\\\\")))
end

local EPIPE = 32

-- Raises when standard output is gone; a closed pipe ends the program without a word.
local function written(ok, message, number)
  if ok then return end
  failure.raise { exit = failure.EXIT.refused, code = "EIO", silent = number == EPIPE,
                  message = "cannot write to standard output: " .. tostring(message) }
end

-- Methods, though they need no self: every command has an output, none has io.stdout.
function Output.write(_, ...)
  written(io.stdout:write(...))
end

function Output.flush()
  written(io.stdout:flush())
end

function Output:line(text)
  self:write(text, "\n")
end

-- A remark for people, on standard error; not with --quiet.
function Output:note(text)
  if not self.quiet then io.stderr:write(text, "\n") end
end

function Output:warn(text)
  if self.quiet then return end
  io.stderr:write(paint(self.error_color, "yellow", "muster: warning: "), M.visible(text), "\n")
end

function Output:warnings(list)
  for _, text in ipairs(list or {}) do self:warn(text) end
end

-- Mistakes of the caller are told by their text; what was refused or went wrong elsewhere has a code to look for.
local UNNAMED = { [failure.EXIT.usage] = true, [failure.EXIT.config] = true }

-- A failure (failure.lua): one line on standard error, the object on standard output with --json.
function Output:failure(f)
  if f.silent then return end
  local code = f.code and not UNNAMED[f.exit] and f.code .. ": " or ""
  local hint = f.hint and not f.message:find(f.hint, 1, true) and "; " .. f.hint or ""
  io.stderr:write(paint(self.error_color, "red", "muster: "), M.visible(code .. f.message .. hint), "\n")
  for _, line in ipairs(f.lines or {}) do io.stderr:write(M.visible(line), "\n") end
  if self.json then
    io.stdout:write(f.raw or core.json_encode(f.bare or failure.object(f)), "\n")
  end
end

-- Code points that take two columns: East Asian scripts, full-width forms, emoji. Combining marks take none.
local WIDE = { { 0x1100, 0x115f }, { 0x2e80, 0x303e }, { 0x3041, 0xa4cf }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff },
               { 0xfe30, 0xfe6f }, { 0xff00, 0xff60 }, { 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f }, { 0x1f900, 0x1f9ff },
               { 0x20000, 0x3fffd } }

local function columns(sequence)
  local a, b, c, d = sequence:byte(1, 4)
  local point = #sequence == 2 and a % 32 * 64 + b % 64 or #sequence == 3 and (a % 16 * 64 + b % 64) * 64 + c % 64
    or #sequence == 4 and ((a % 8 * 64 + b % 64) * 64 + c % 64) * 64 + d % 64 or 0
  if point >= 0x300 and point <= 0x36f then return 0 end
  for _, range in ipairs(WIDE) do
    if point >= range[1] and point <= range[2] then return 2 end
  end
  return 1
end

-- Columns that `text`, made visible, takes on a terminal.
local function width(text)
  text = text:gsub("\27%[%d+m", "")
  if not text:find "[\128-\255]" then return #text end
  local count = #text:gsub("[\128-\255]", "")
  for sequence in text:gmatch "[\194-\244][\128-\191]*" do count = count + columns(sequence) end
  return count
end
M.width = width

-- `text` with blanks behind it, to fill so many columns.
function M.pad(text, wanted)
  return text .. (" "):rep(wanted - width(text))
end

-- Aligned columns with a heading; the last column is not padded.
function Output:table(heading, rows)
  local widths = {}
  for column, title in ipairs(heading) do
    widths[column] = width(title)
    for _, row in ipairs(rows) do widths[column] = math.max(widths[column], width(row[column])) end
  end
  local function put(row, style)
    local cells = {}
    for column, cell in ipairs(row) do
      local pad = column < #row and (" "):rep(widths[column] - width(cell)) or ""
      cells[column] = (style and self:paint(style, cell) or cell) .. pad
    end
    self:line(table.concat(cells, "  "))
  end
  put(heading, "bold")
  for _, row in ipairs(rows) do put(row) end
end

-- Seconds as people read them: 0.8 ms, 5.00 s, 4m12s, 3h5m, 2d4h.
function M.duration(seconds)
  if seconds < 1 then return ("%.1f ms"):format(seconds * 1000) end
  if seconds < 60 then return ("%.2f s"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  if whole < 3600 then return ("%dm%ds"):format(whole / 60, whole % 60) end
  if whole < 86400 then return ("%dh%dm"):format(whole / 3600, whole % 3600 / 60) end
  return ("%dd%dh"):format(whole / 86400, whole % 86400 / 3600)
end

-- The rest of a lease: 48s, 4m12s, 2d4h.
function M.lease(expires_at)
  if not expires_at then return "never" end
  local seconds = math.max(0, math.ceil((expires_at - core.now()) / 1000))
  return seconds < 60 and seconds .. "s" or M.duration(seconds)
end

function M.time(milliseconds)
  return milliseconds and os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(milliseconds / 1000)) or "-"
end

-- 12345 as 12,345.
function M.number(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

return M
