// SPDX-License-Identifier: Apache-2.0
#include "host/lua_core.h"

#include <lauxlib.h>

#include "host/loadtest.h"
#include "host/lua_internal.h"

int mst__lua_fail(lua_State *L, const struct mst_error *error)
{
    lua_pushnil(L);
    lua_pushstring(L, error->message);
    lua_pushstring(L, mst_error_name(error->code));
    return 3;
}

static int loadtest(lua_State *L)
{
    size_t length;
    const char *options = luaL_checklstring(L, 1, &length);
    struct mst_buffer report = {0};
    struct mst_error error = {0};
    int exit_code = 0;
    int status = mst_loadtest_run(options, length, &report, &exit_code, &error);
    if (status) {
        mst_buffer_deinit(&report);
        return mst__lua_fail(L, &error);
    }
    lua_pushlstring(L, report.data ? report.data : "", report.length);
    mst_buffer_deinit(&report);
    lua_pushinteger(L, exit_code);
    return 2;
}

static int loadtest_clean(lua_State *L)
{
    size_t length;
    const char *options = luaL_checklstring(L, 1, &length);
    struct mst_buffer answer = {0};
    struct mst_error error = {0};
    int status = mst_loadtest_clean(options, length, &answer, &error);
    if (status == 0)
        lua_pushlstring(L, answer.data, answer.length);
    mst_buffer_deinit(&answer);
    return status ? mst__lua_fail(L, &error) : 1;
}

int luaopen_muster_core(lua_State *L)
{
    lua_newtable(L);
    mst__lua_open_door(L);
    mst__lua_open_json(L);
    mst__lua_open_match(L);
    mst__lua_open_system(L);
    lua_pushcfunction(L, loadtest);
    lua_setfield(L, -2, "loadtest");
    lua_pushcfunction(L, loadtest_clean);
    lua_setfield(L, -2, "loadtest_clean");
    lua_pushliteral(L, MST_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
