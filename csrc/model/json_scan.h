// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What simdjson's document tree cannot tell: where a text is wrong. Internal to json; runs only after a failed parse,
 * but for mst__json_widen, which runs only for texts with integers beyond 64 bits.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define MST__JSON_DEPTH_MAX 128u

/*
 * Finds the first fault of a text: syntax, UTF-8, numbers no double can hold (MST_EJSON) or nesting deeper than `depth`
 * (MST_ETOOBIG). Fills the error with its position; 0 if there is no fault.
 */
int mst__json_diagnose(const char *text, size_t length, unsigned depth, struct mst_error *error);

/* Offset of the object key with this number (from 0, in the order of the text) in a text without fault. */
size_t mst__json_key_offset(const char *text, size_t length, uint64_t number);

/* Copies a text without fault, writing integers outside 64 bits as doubles ("1e0" for "1"). */
void mst__json_widen(const char *text, size_t length, struct mst_buffer *out);
