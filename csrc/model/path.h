// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Field paths: where in a document to look, and what is found there.
 *
 * A path denotes a list of finals: start with the document; a name step goes into objects, and through an array into
 * each of its object elements (one level); an index step takes array element n (from 0) or the object key "n".
 */
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

struct mst_path_step {
    const char *name; /* borrowed; for an index step its decimal text */
    uint32_t length;
    int32_t index; /* -1: a name step */
};

struct mst_path {
    uint32_t count; /* 0: the document itself */
    struct mst_path_step steps[16];
};

/*
 * Finds what `path` denotes in `document`. Returns NULL where it is missing; a borrowed value where there is exactly
 * one final; else a MST_FINALS value built at the end of `scratch` (valid until `scratch` changes). If `scratch` fails,
 * NULL; see scratch->failed.
 */
const uint8_t *mst_path_find(const struct mst_path *path, const uint8_t *document, struct mst_buffer *scratch);

/*
 * Parses a path as users write it in sort keys and projections: names joined by dots, `[n]` for elements, back-quotes
 * around names with other bytes. Names in `path` point into `text` (back-quoted names too: there is no escape in them).
 * MST_EINVAL with position.
 */
int mst_path_parse(struct mst_path *path, const char *text, size_t length, struct mst_error *error);
