// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The Lua modules built into this binary, as bytecode of the LuaJIT it was built with; ends with a NULL name.
 * Generated. */
#include <stddef.h>

struct mst_embedded {
    const char *name; /* as for require */
    const unsigned char *code;
    size_t length;
};

extern const struct mst_embedded mst_embedded_modules[];
