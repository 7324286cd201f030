-- Draws how the cost of filters grows with the number of identities, from lines of `bench/enumerate --json`:
--
--   luajit bench/plot.lua RESULTS.jsonl [INSTRUCTIONS] >growth.svg       the table goes to standard error
--
-- INSTRUCTIONS: avx512 (default), avx2, sse2 or scalar. Both axes are logarithmic; a line that falls or stays level
-- means that the cost per identity does not grow.
local path, chosen = arg[1], arg[2] or "avx512"
if not path then
  io.stderr:write("usage: luajit bench/plot.lua RESULTS.jsonl [INSTRUCTIONS] >growth.svg\n")
  os.exit(2)
end

local WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 460, 70, 260, 40, 50
local COLOURS = { "#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#117a65", "#7f8c8d", "#34495e" }

local lines, order, sizes = {}, {}, {}
for text in assert(io.lines(path)) do
  local set, case = text:match '"case":"(%w+): (Q[^"]*)"'
  local n, value, unit = text:match '"n":(%d+),"value":([%d.]+),"unit":"(%w+)"'
  if set == chosen and unit == "ns" then
    if not lines[case] then
      lines[case] = {}
      order[#order + 1] = case
    end
    n = tonumber(n)
    lines[case][n] = tonumber(value)
    sizes[n] = true
  end
end
local steps = {}
for n in pairs(sizes) do steps[#steps + 1] = n end
table.sort(steps)
if #steps < 2 then
  io.stderr:write("no growth of " .. chosen .. " in " .. path .. "\n")
  os.exit(1)
end

local least, most = math.huge, 0
for _, case in ipairs(order) do
  for _, value in pairs(lines[case]) do
    least, most = math.min(least, value), math.max(most, value)
  end
end
least, most = 10 ^ math.floor(math.log10(least)), 10 ^ math.ceil(math.log10(most))

local function x_of(n)
  local share = math.log10(n / steps[1]) / math.log10(steps[#steps] / steps[1])
  return LEFT + share * (WIDTH - LEFT - RIGHT)
end

local function y_of(value)
  local share = math.log10(value / least) / math.log10(most / least)
  return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
end

local function grouped(n)
  local text = ("%d"):format(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

local function put(format, ...) io.write(format:format(...), "\n") end

put('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">',
  WIDTH, HEIGHT)
put('<rect width="%d" height="%d" fill="white"/>', WIDTH, HEIGHT)
put('<text x="%d" y="22" font-size="14">A filter to a set of rows, ns per identity, %s</text>', LEFT, chosen)
for _, n in ipairs(steps) do
  put('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>', x_of(n), TOP, x_of(n), HEIGHT - BOTTOM)
  put('<text x="%.1f" y="%d" text-anchor="middle">%s</text>', x_of(n), HEIGHT - BOTTOM + 18, grouped(n))
end
local value = least
while value <= most * 1.01 do
  put('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>', LEFT, y_of(value), WIDTH - RIGHT, y_of(value))
  put('<text x="%d" y="%.1f" text-anchor="end">%g</text>', LEFT - 6, y_of(value) + 4, value)
  value = value * 10
end
put('<text x="%.1f" y="%d" text-anchor="middle">identities</text>', (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8)
for i, case in ipairs(order) do
  local points, colour = {}, COLOURS[(i - 1) % #COLOURS + 1]
  for _, n in ipairs(steps) do
    local at = lines[case][n]
    if at then points[#points + 1] = ("%.1f,%.1f"):format(x_of(n), y_of(at)) end
  end
  put('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>', table.concat(points, " "), colour)
  local y = TOP + 10 + (i - 1) * 20
  put('<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2"/>', WIDTH - RIGHT + 16, y,
    WIDTH - RIGHT + 36, y, colour)
  put('<text x="%d" y="%d">%s</text>', WIDTH - RIGHT + 42, y + 4, (case:gsub("&", "&amp;"):gsub("<", "&lt;")))
end
put "</svg>"

io.stderr:write("| filter, " .. chosen .. ", ns per identity")
for _, n in ipairs(steps) do io.stderr:write(" | ", grouped(n)) end
io.stderr:write(" |\n|", (" --- |"):rep(#steps + 1), "\n")
for _, case in ipairs(order) do
  io.stderr:write("| ", case)
  for _, n in ipairs(steps) do io.stderr:write(" | ", lines[case][n] and ("%.3g"):format(lines[case][n]) or "") end
  io.stderr:write(" |\n")
end
