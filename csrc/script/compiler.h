// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The filter compiler: lua/muster/filter in a trusted state of its own, behind the compiler slot. One thread. */
#include <lua.h>

#include "core/compiler.h"

struct mst_script_compiler;

/* MST_ENOMEM, MST_EINTERNAL (the Lua modules do not load). */
int mst_script_compiler_create(struct mst_script_compiler **compiler, struct mst_error *error);
void mst_script_compiler_destroy(struct mst_script_compiler *compiler);

/*
 * Takes the named filters in the files of a folder (lua/muster/filter/library.lua) in place of those there were; NULL:
 * none. MST_ECONFIG where a file is wrong, with its name, line and column in the message; then nothing has changed.
 * Programs compiled before keep what they were compiled with.
 */
int mst_script_compiler_load(struct mst_script_compiler *compiler, const char *folder, struct mst_error *error);

/* The slot; borrows the compiler. */
struct mst_compiler mst_script_compiler_slot(struct mst_script_compiler *compiler);

/* The compiler's door to the regular expressions, as a Lua function: pattern -> true | nil, message [, offset]. */
int mst_script_regex_check(lua_State *L);

/* The names in a folder, as a Lua function: path -> array of names | nil, message. */
int mst_script_list_folder(lua_State *L);
