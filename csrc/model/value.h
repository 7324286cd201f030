// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Packed values: JSON values as self-contained, relocatable byte strings. A value is a borrowed `const uint8_t *`.
 *
 *   tag   body (little endian, unaligned)
 *   0     null        1 false        2 true
 *   3     integer     int64
 *   4     double      IEEE 754 binary64, finite
 *   5     string      u32 length, bytes (UTF-8)
 *   6     array       u32 bytes that follow the count, u32 count, the elements
 *   7     object      u32 bytes that follow the count, u32 count, then u32 key length, key, value each;
 *                     keys in ascending byte order, no key twice
 *   8     finals      as array; what a path denotes when it runs through an array and yields several values.
 *                     Never part of a document.
 *
 * A JSON number without fraction and exponent that fits is an integer, every other number a double.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

enum mst_tag { MST_NULL, MST_FALSE, MST_TRUE, MST_INT, MST_DOUBLE, MST_STRING, MST_ARRAY, MST_OBJECT, MST_FINALS };

static inline enum mst_tag mst_value_tag(const uint8_t *value)
{
    return (enum mst_tag)value[0];
}

size_t mst_value_size(const uint8_t *value); /* bytes, tag included */
int64_t mst_value_int(const uint8_t *value);
double mst_value_double(const uint8_t *value); /* of an integer too */
const char *mst_value_string(const uint8_t *value, size_t *length);
uint32_t mst_value_count(const uint8_t *value); /* elements or members of an array, object or finals */

/* Walks the elements of an array or finals. `*position` starts as NULL; false at the end. */
bool mst_value_next(const uint8_t *array, const uint8_t **position, const uint8_t **element);

/* Walks the members of an object the same way. */
bool mst_value_next_member(const uint8_t *object, const uint8_t **position, const char **key, size_t *key_length,
                           const uint8_t **element);

/* A member of an object by key; NULL if it is not there or the value is no object. */
const uint8_t *mst_value_get(const uint8_t *object, const char *key, size_t key_length);

/* An element of an array; NULL if out of range or no array. */
const uint8_t *mst_value_at(const uint8_t *array, uint32_t index);

/* Deep equality as filters define it: numbers by mathematical value, exact between int64 and double. */
bool mst_value_equal(const uint8_t *a, const uint8_t *b);

/* Order of two numbers by mathematical value: -1, 0, 1. Both must be numbers. */
int mst_value_compare_numbers(const uint8_t *a, const uint8_t *b);

/*
 * A total order over all values for sorting: null, false, true, numbers, strings (bytewise), arrays, objects
 * (the last two by their packed bytes).
 */
int mst_value_compare(const uint8_t *a, const uint8_t *b);

/*
 * Checks bytes that came from outside: tags, lengths, key order, nesting up to `max_depth`. True if `bytes` is exactly
 * one value.
 */
bool mst_value_verify(const uint8_t *bytes, size_t length, unsigned max_depth);

/* Writers. Arrays and objects: begin, append the children in order (keys ascending), end with the token begin gave. */
void mst_value_put_null(struct mst_buffer *out);
void mst_value_put_bool(struct mst_buffer *out, bool value);
void mst_value_put_int(struct mst_buffer *out, int64_t value);
void mst_value_put_double(struct mst_buffer *out, double value);
void mst_value_put_string(struct mst_buffer *out, const char *text, size_t length);
size_t mst_value_begin(struct mst_buffer *out, enum mst_tag tag); /* MST_ARRAY, MST_OBJECT or MST_FINALS */
void mst_value_put_key(struct mst_buffer *out, const char *key, size_t length);
void mst_value_end(struct mst_buffer *out, size_t token, uint32_t count);
