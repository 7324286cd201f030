// SPDX-License-Identifier: Apache-2.0

/*
 * The muster program: a trusted Lua state that runs lua/muster/cli/main.lua over the arguments.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/lua_core.h"
#include "script/state.h"

static int run(lua_State *L, int count, char **arguments, struct mst_error *error)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, luaopen_muster_core);
    lua_setfield(L, -2, "muster.core");
    lua_pop(L, 2);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "muster.cli.main");
    int code = mst_script_call(L, 1, 1, error);
    if (code)
        return code;
    lua_getfield(L, -1, "run");
    lua_createtable(L, count, 0);
    for (int i = 1; i < count; i++) {
        lua_pushstring(L, arguments[i]);
        lua_rawseti(L, -2, i);
    }
    return mst_script_call(L, 1, 1, error);
}

int main(int count, char **arguments)
{
    struct mst_error error = {0};
    lua_State *L = mst_script_open(&error);
    if (!L || run(L, count, arguments, &error)) {
        fprintf(stderr, "muster: %s\n", error.message);
        if (L)
            lua_close(L);
        return EXIT_FAILURE;
    }
    int status = (int)lua_tointeger(L, -1);
    lua_close(L);
    return status;
}
