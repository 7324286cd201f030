rockspec_format = "3.0"
package = "muster"
version = "scm-1"

-- `luarocks make` builds the checkout that it is run in and never looks at this.
source = {
  url = "git+file://.",
}

description = {
  summary = "A live registry of identities, filters over it, and multicast with receipts",
  detailed = [[
    muster keeps a live registry of identities in Redis, finds those that match a filter in microseconds, and sends
    them a message over NATS with an honest receipt for each.
  ]],
  license = "Apache-2.0",
}

-- lpeg (1.0 or newer) is needed too, but is not named here: it comes from the system (Debian: lua-lpeg), LuaRocks does
-- not see that, and would ask its servers for a second copy. So `luarocks make` works without a network.
dependencies = {
  "lua >= 5.1, < 5.2",
}

external_dependencies = {
  UV = { header = "uv.h", library = "uv" },
  HIREDIS = { header = "hiredis/hiredis.h", library = "hiredis" },
  NATS = { header = "nats/nats.h", library = "nats" },
}

build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "RelWithDebInfo",
    INST_LIBDIR = "$(LIBDIR)",
    INST_LUADIR = "$(LUADIR)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    MUSTER_HOST = "OFF",
    MUSTER_MODULE = "ON",
    MUSTER_TESTS = "OFF",
    MUSTER_BENCH = "OFF",
  },
}
