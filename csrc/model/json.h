// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * JSON in and out. Reading is simdjson behind an extern "C" file: strict RFC 8259, UTF-8 checked, duplicate keys and
 * documents over the limits refused. Writing is our own, so that stored bytes can be spliced in untouched.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

struct mst_json_limits {
    size_t bytes;    /* longest text */
    unsigned depth;  /* deepest nesting; a scalar has 0, {} has 1; at most 128 */
    uint32_t fields; /* most object members in all; 0 = no limit */
};

/* One parser per thread; keeps its memory between documents. */
struct mst_json_parser;
struct mst_json_parser *mst_json_parser_create(void);
void mst_json_parser_destroy(struct mst_json_parser *parser);

/*
 * Parses one JSON text and appends it to `out` as one packed value. On failure `out` is as before and the error has
 * offset, line and column where the parser can tell them. MST_EJSON, MST_ETOOBIG (limits), MST_ENOMEM.
 */
int mst_json_parse(struct mst_json_parser *parser, const char *text, size_t length,
                   const struct mst_json_limits *limits, struct mst_buffer *out, struct mst_error *error);

/* A borrowed piece of text. */
struct mst_span {
    const char *data;
    size_t length;
};

/*
 * Finds the raw text of a member of the top-level object in a JSON text that has been parsed without error (escapes in
 * keys understood). False if it is not there.
 */
bool mst_json_member(const char *text, size_t length, const char *key, struct mst_span *raw);

/* Walks the raw texts of the elements of a top-level array; `*position` starts at 0. Text as above. */
bool mst_json_element(const char *text, size_t length, size_t *position, struct mst_span *raw);

/* Writers; they add no separators. Strings are escaped; invalid UTF-8 becomes U+FFFD. */
void mst_json_put_string(struct mst_buffer *out, const char *text, size_t length);
void mst_json_put_int(struct mst_buffer *out, int64_t number);

/* The shortest form that reads back equal, always with a point or an exponent; null if it is not finite. */
void mst_json_put_double(struct mst_buffer *out, double number);

void mst_json_put_value(struct mst_buffer *out, const uint8_t *value);

/* The error object `{"error":{"code":..,"message":..,"hint":..,"at":{..}}}`. */
void mst_json_put_error(struct mst_buffer *out, const struct mst_error *error);
