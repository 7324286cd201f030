-- The counter of the tests must not overlook one that failed.

local function tally(status, ...)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write("<testsuite>\n", table.concat({ ... }), "</testsuite>")
  file:close()
  local pipe = assert(io.popen("luajit spec/tally.lua " .. path .. " " .. status .. "; echo status $?"))
  local output = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return output:match("(%d+ passed, %d+ failed, %d+ skipped)\nstatus (%d+)\n$")
end

local function entry(name, status, output, inner)
  return ('<testcase name="%s" classname="%s" time="1" status="%s">%s<system-out>%s</system-out></testcase>\n')
    :format(name, name, status, inner or "", output)
end

local function expect(counts, code, ...)
  local got_counts, got_code = tally(...)
  assert.same({ counts, code }, { got_counts, got_code })
end

describe("tally", function()
  it("adds up the cases of cmocka and busted", function()
    expect("4 passed, 0 failed, 2 skipped", "0", 0,
      entry("c", "run", "1..2\nok 1 - a &lt;b&gt;\nnot ok 2 # SKIP b\n# ok - group\n1..1\nok 1 - c\n"),
      entry("lua", "run", "noise\nok 1 - a\nok 2 - # SKIP later\nok 3 - b\n1..3\n"))
  end)

  it("counts failed cases", function()
    expect("1 passed, 2 failed, 0 skipped", "1", 8,
      entry("c", "fail", "1..3\nok 1 - a\nnot ok 2 - b\nnot ok 3 - c\n"))
  end)

  it("counts a crash, a short run and an empty run as failed", function()
    expect("1 passed, 1 failed, 0 skipped", "1", 8, entry("c", "fail", "1..3\nok 1 - a\n"))
    expect("1 passed, 1 failed, 0 skipped", "1", 0, entry("c", "run", "1..3\nok 1 - a\n"))
    expect("0 passed, 1 failed, 0 skipped", "1", 0, entry("c", "run", "1..0\n"))
    expect("0 passed, 1 failed, 0 skipped", "1", 0, entry("c", "run", ""))
    expect("1 passed, 1 failed, 0 skipped", "1", 8, entry("c", "fail", "1..1\nok 1 - a\n"))
    expect("0 passed, 1 failed, 0 skipped", "1", 8, entry("c", "notrun", "", '<skipped message="Unable to find"/>'))
  end)

  it("knows skipped entries and plain programs", function()
    expect("1 passed, 0 failed, 3 skipped", "0", 0,
      entry("a", "notrun", "", '<skipped message="SKIP_RETURN_CODE=77"/>'),
      entry("b", "disabled", "Disabled"),
      entry("c", "run", "1..0 # SKIP no Node.js\n"),
      entry("run.example", "run", "whatever"))
    expect("0 passed, 1 failed, 0 skipped", "1", 8, entry("run.example", "fail", "whatever"))
  end)

  it("does not call it a success that nothing ran or ctest failed", function()
    expect("0 passed, 0 failed, 0 skipped", "1", 0)
    expect("1 passed, 0 failed, 0 skipped", "1", 1, entry("c", "run", "1..1\nok 1 - a\n"))
    local pipe = assert(io.popen("luajit spec/tally.lua does/not/exist 0; echo $?"))
    assert.equal("1", pipe:read("*a"):match("(%d+)\n$"))
    pipe:close()
  end)
end)
