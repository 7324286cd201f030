// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Trusted Lua states: all standard libraries, JIT on, and a `require` that finds the modules built into this binary
 * (lua/muster, argparse) before those on disk. For the command line, the filter compiler and the user's own process;
 * nothing that comes from outside is ever loaded as code here.
 */
#include <lua.h>

#include "base/error.h"

/* A new state; NULL and an error: no memory. Close with lua_close. */
lua_State *mst_script_open(struct mst_error *error);

/* Adds the built-in modules to a state that somebody else made (the Lua module in plain luajit). */
void mst_script_install(lua_State *L);

/* Calls the function below its `arguments` under a traceback handler. 0, or MST_EINTERNAL with the message in `error`.
 */
int mst_script_call(lua_State *L, int arguments, int results, struct mst_error *error);
