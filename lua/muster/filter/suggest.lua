-- SPDX-License-Identifier: Apache-2.0
-- "Did you mean": the nearest of some known words.
local M = {}

-- Damerau's distance: insertions, deletions, substitutions and swaps of neighbours.
function M.distance(a, b)
  local before, last
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    last, before = row, last
    row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local d = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        d = math.min(d, before[j - 2] + 1)
      end
      row[j] = d
    end
  end
  return row[#b]
end

-- The word of `known` nearest to `text`, at most a third of its length away; nil if none is.
function M.nearest(text, known)
  local lower = text:lower()
  local best, best_distance = nil, math.floor(#text / 3)
  if #text > 64 then return nil end
  for _, candidate in ipairs(known) do
    local d = M.distance(lower, candidate:lower())
    if d <= best_distance and (not best or d < best_distance) then best, best_distance = candidate, d end
  end
  return best
end

-- A name as a message shows it: a long one is cut.
function M.short(name)
  if #name <= 64 then return name end
  return name:sub(1, 60):gsub("[\192-\244][\128-\191]*$", "") .. ".."
end

-- The keys of a table, sorted, for use as `known`.
function M.keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

return M
