-- Adds up what a run of ctest did, case by case: luajit spec/tally.lua REPORT STATUS
--
-- REPORT is ctest's JUnit file, STATUS its exit status. Each entry's output is TAP (cmocka and busted both write it).
-- An entry that crashed, stopped short of its plan or ran no case counts as one failed case. An entry whose name starts
-- with "run." is a plain program: one case, by its exit status. The last line is "N passed, N failed, N skipped"; the
-- exit status is 0 if at least one case passed and none failed.

local entities = { lt = "<", gt = ">", quot = '"', apos = "'", amp = "&" }

local function unescape(text)
  return (text:gsub("&(%a+);", entities))
end

-- Counts of one entry's TAP, and the names of what failed.
local function read_tap(output)
  local count = { passed = 0, failed = 0, skipped = 0, planned = 0, names = {} }
  for line in output:gmatch("[^\n]+") do
    local negative, rest = line:match("^(n?o?t? ?)ok %d+%s*(.*)")
    local plan, remark = line:match("^1%.%.(%d+)%s*(.*)")
    if plan then
      local skip = remark:match("^# SKIP") -- "1..0 # SKIP why": all of the entry is one skipped case
      count.planned = count.planned + (skip and 1 or tonumber(plan))
      count.skipped = count.skipped + (skip and 1 or 0)
    elseif negative and rest:match("# SKIP") then -- cmocka writes skipped cases as "not ok"
      count.skipped = count.skipped + 1
    elseif negative == "" then
      count.passed = count.passed + 1
    elseif negative == "not " then
      count.failed = count.failed + 1
      table.insert(count.names, (rest:gsub("^%- ", "")))
    end
  end
  return count
end

local function add_failure(count, why)
  count.failed = count.failed + 1
  table.insert(count.names, why)
end

-- `entry` is {name, status, skip, output}; status as ctest writes it: run, fail, notrun, disabled.
local function count_entry(entry)
  if entry.name:match("^run%.") and (entry.status == "run" or entry.status == "fail") then
    local count = { passed = entry.status == "run" and 1 or 0, failed = 0, skipped = 0, names = {} }
    if entry.status == "fail" then
      add_failure(count, "ended with an error")
    end
    return count
  end
  local count = read_tap(entry.output)
  local ran = count.passed + count.failed + count.skipped
  if entry.status == "disabled" or entry.skip and count.skipped == 0 then
    count.skipped = count.skipped + 1
  elseif entry.skip then
    return count
  elseif entry.status == "notrun" then
    add_failure(count, "could not be run")
  elseif entry.status == "fail" and count.failed == 0 then
    add_failure(count, "ended with an error outside of its cases")
  elseif ran == 0 then
    add_failure(count, "ran no test")
  elseif count.planned ~= ran and count.failed == 0 then
    add_failure(count, ("planned %d cases but ended after %d"):format(count.planned, ran))
  end
  return count
end

local function entries(report)
  return coroutine.wrap(function()
    for attributes, body in report:gmatch("<testcase(.-)>(.-)</testcase>") do
      local skip = body:match('<skipped message="(.-)"') or ""
      coroutine.yield({
        name = unescape(attributes:match('name="(.-)"')),
        status = attributes:match('status="(.-)"'),
        skip = skip:match("^SKIP_") ~= nil,
        output = unescape(body:match("<system%-out>(.*)</system%-out>") or ""),
      })
    end
  end)
end

local function main(path, status)
  local file = io.open(path, "rb")
  if not file then
    print("ctest wrote no report")
    print("0 passed, 0 failed, 0 skipped")
    return 1
  end
  local total = { passed = 0, failed = 0, skipped = 0 }
  for entry in entries(file:read("*a")) do
    local count = count_entry(entry)
    for key, value in pairs(total) do
      total[key] = value + count[key]
    end
    for _, name in ipairs(count.names) do
      print(("FAILED %s: %s"):format(entry.name, name))
    end
  end
  file:close()
  if status ~= "0" and total.failed == 0 then
    print("ctest ended with status " .. status)
  end
  print(("%d passed, %d failed, %d skipped"):format(total.passed, total.failed, total.skipped))
  return status == "0" and total.failed == 0 and total.passed > 0 and 0 or 1
end

os.exit(main(arg[1], arg[2]), true)
