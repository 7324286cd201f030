// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the files of the Lua module share. */
#include <lua.h>

#include "base/error.h"

/* Pushes nil, message, code; returns 3. */
int mst__lua_fail(lua_State *L, const struct mst_error *error);

/* Each adds its functions and metatables to the module table on top of the stack. */
void mst__lua_open_door(lua_State *L);
void mst__lua_open_json(lua_State *L);
void mst__lua_open_match(lua_State *L);
void mst__lua_open_system(lua_State *L);
