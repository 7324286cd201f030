// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The compiler slot: how the coordinator turns filter text into a program without knowing Lua. The script layer fills
 * it.
 */
#include "base/buffer.h"
#include "base/error.h"
#include "model/json.h"

struct mst_compiler {
    void *context;

    /*
     * Compiles a filter, given as text or (json = true) as a JSON document, and appends the program (match/program.h)
     * to `program` and a JSON array of warnings to `warnings`. MST_EFILTER with position and hint.
     */
    int (*compile)(void *context, struct mst_span source, bool json, struct mst_buffer *program,
                   struct mst_buffer *warnings, struct mst_error *error);

    /* Appends a JSON array of the named filters there are; NULL: there is no such thing. MST_ENOMEM, MST_EINTERNAL. */
    int (*list)(void *context, struct mst_buffer *out, struct mst_error *error);
};
