// SPDX-License-Identifier: Apache-2.0
#include "script/state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "script/embedded.h"

static int load_embedded(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    for (const struct mst_embedded *module = mst_embedded_modules; module->name; module++) {
        if (strcmp(module->name, name) != 0)
            continue;
        if (luaL_loadbuffer(L, (const char *)module->code, module->length, name) != 0)
            return lua_error(L);
        return 1;
    }
    lua_pushfstring(L, "\n\tno module '%s' built in", name);
    return 1;
}

void mst_script_install(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    /* Second place: behind package.preload, ahead of the file system, so that the binary runs from anywhere as built.
     */
    for (int i = (int)lua_objlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, load_embedded);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

lua_State *mst_script_open(struct mst_error *error)
{
    lua_State *L = luaL_newstate();
    if (!L) {
        mst_error_set(error, MST_ENOMEM, "no memory for a Lua state");
        return NULL;
    }
    luaL_openlibs(L);
    mst_script_install(L);
    return L;
}

static int traceback(lua_State *L)
{
    if (!lua_isstring(L, 1))
        return 1;
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

int mst_script_call(lua_State *L, int arguments, int results, struct mst_error *error)
{
    int base = lua_gettop(L) - arguments;
    lua_pushcfunction(L, traceback);
    lua_insert(L, base);
    int status = lua_pcall(L, arguments, results, base);
    lua_remove(L, base);
    if (status == 0)
        return 0;
    const char *text = status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "out of memory";
    int code = mst_error_set(error, status == LUA_ERRMEM ? MST_ENOMEM : MST_EINTERNAL, "%s", text);
    lua_pop(L, 1);
    return code;
}
