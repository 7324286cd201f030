-- Runs one spec file with busted in this LuaJIT and writes TAP: luajit spec/run.lua spec/lua/NAME_spec.lua
--
-- Under a sanitizer its run-time is preloaded, because LuaJIT itself is not linked to it. The servers that a spec
-- starts must not inherit that.
local ffi = require "ffi"
ffi.cdef "int unsetenv(const char *name);"
ffi.C.unsetenv("LD_PRELOAD")

local file = assert(arg[1], "usage: luajit spec/run.lua FILE")
arg = { [0] = "busted", "--ignore-lua", "--output=TAP", file } -- luacheck: ignore 121 (busted reads its options there)
require "busted.runner" { standalone = false }
