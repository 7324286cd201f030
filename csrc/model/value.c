// SPDX-License-Identifier: Apache-2.0
#include "model/value.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"

#define CONTAINER_HEAD 9u /* tag, bytes, count */
#define STRING_HEAD 5u    /* tag, length */

static uint32_t load32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint64_t load64(const uint8_t *bytes)
{
    return (uint64_t)load32(bytes) | (uint64_t)load32(bytes + 4) << 32;
}

static void store32(uint8_t *bytes, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
}

static void store64(uint8_t *bytes, uint64_t number)
{
    store32(bytes, (uint32_t)number);
    store32(bytes + 4, (uint32_t)(number >> 32));
}

static bool is_number(const uint8_t *value)
{
    return value[0] == MST_INT || value[0] == MST_DOUBLE;
}

static bool is_list(const uint8_t *value)
{
    return value[0] == MST_ARRAY || value[0] == MST_FINALS;
}

size_t mst_value_size(const uint8_t *value)
{
    switch (mst_value_tag(value)) {
    case MST_INT:
    case MST_DOUBLE:
        return 9;
    case MST_STRING:
        return STRING_HEAD + (size_t)load32(value + 1);
    case MST_ARRAY:
    case MST_OBJECT:
    case MST_FINALS:
        return CONTAINER_HEAD + (size_t)load32(value + 1);
    default:
        return 1;
    }
}

int64_t mst_value_int(const uint8_t *value)
{
    return (int64_t)load64(value + 1);
}

double mst_value_double(const uint8_t *value)
{
    if (value[0] == MST_INT)
        return (double)mst_value_int(value);
    uint64_t bits = load64(value + 1);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

const char *mst_value_string(const uint8_t *value, size_t *length)
{
    *length = load32(value + 1);
    return (const char *)value + STRING_HEAD;
}

uint32_t mst_value_count(const uint8_t *value)
{
    return load32(value + 5);
}

bool mst_value_next(const uint8_t *array, const uint8_t **position, const uint8_t **element)
{
    const uint8_t *at = *position ? *position : array + CONTAINER_HEAD;
    if (at >= array + mst_value_size(array))
        return false;
    *element = at;
    *position = at + mst_value_size(at);
    return true;
}

bool mst_value_next_member(const uint8_t *object, const uint8_t **position, const char **key, size_t *key_length,
                           const uint8_t **element)
{
    const uint8_t *at = *position ? *position : object + CONTAINER_HEAD;
    if (at >= object + mst_value_size(object))
        return false;
    *key_length = load32(at);
    *key = (const char *)at + 4;
    *element = at + 4 + *key_length;
    *position = *element + mst_value_size(*element);
    return true;
}

static int compare_bytes(const void *a, size_t a_length, const void *b, size_t b_length)
{
    size_t shorter = a_length < b_length ? a_length : b_length;
    int order = shorter ? memcmp(a, b, shorter) : 0;
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a_length > b_length) - (a_length < b_length);
}

const uint8_t *mst_value_get(const uint8_t *object, const char *key, size_t key_length)
{
    if (object[0] != MST_OBJECT)
        return NULL;
    const uint8_t *position = NULL, *element;
    const char *name;
    size_t length;
    while (mst_value_next_member(object, &position, &name, &length, &element))
        if (length == key_length && memcmp(name, key, length) == 0)
            return element;
    return NULL;
}

const uint8_t *mst_value_at(const uint8_t *array, uint32_t index)
{
    if (!is_list(array) || index >= mst_value_count(array))
        return NULL;
    const uint8_t *position = NULL, *element = NULL;
    do {
        if (!mst_value_next(array, &position, &element))
            return NULL;
    } while (index--);
    return element;
}

static int compare_int_double(int64_t integer, double number)
{
    if (number >= 0x1p63)
        return -1;
    if (number < -0x1p63)
        return 1;
    double whole = trunc(number);
    int64_t other = (int64_t)whole;
    if (integer != other)
        return integer < other ? -1 : 1;
    return (number < whole) - (number > whole);
}

int mst_value_compare_numbers(const uint8_t *a, const uint8_t *b)
{
    if (a[0] == MST_INT && b[0] == MST_INT) {
        int64_t left = mst_value_int(a), right = mst_value_int(b);
        return (left > right) - (left < right);
    }
    if (a[0] == MST_INT)
        return compare_int_double(mst_value_int(a), mst_value_double(b));
    if (b[0] == MST_INT)
        return -compare_int_double(mst_value_int(b), mst_value_double(a));
    double left = mst_value_double(a), right = mst_value_double(b);
    return (left > right) - (left < right);
}

static bool equal_lists(const uint8_t *a, const uint8_t *b)
{
    const uint8_t *a_position = NULL, *b_position = NULL, *left, *right;
    while (mst_value_next(a, &a_position, &left) && mst_value_next(b, &b_position, &right))
        if (!mst_value_equal(left, right))
            return false;
    return true;
}

static bool equal_objects(const uint8_t *a, const uint8_t *b)
{
    const uint8_t *a_position = NULL, *b_position = NULL, *left, *right;
    const char *a_key, *b_key;
    size_t a_length, b_length;
    while (mst_value_next_member(a, &a_position, &a_key, &a_length, &left) &&
           mst_value_next_member(b, &b_position, &b_key, &b_length, &right))
        if (a_length != b_length || memcmp(a_key, b_key, a_length) != 0 || !mst_value_equal(left, right))
            return false;
    return true;
}

bool mst_value_equal(const uint8_t *a, const uint8_t *b)
{
    if (is_number(a) && is_number(b))
        return mst_value_compare_numbers(a, b) == 0;
    if (a[0] != b[0])
        return false;
    switch (mst_value_tag(a)) {
    case MST_STRING: {
        size_t size = mst_value_size(a);
        return size == mst_value_size(b) && memcmp(a, b, size) == 0;
    }
    case MST_ARRAY:
    case MST_FINALS:
        return mst_value_count(a) == mst_value_count(b) && equal_lists(a, b);
    case MST_OBJECT:
        return mst_value_count(a) == mst_value_count(b) && equal_objects(a, b);
    default:
        return true;
    }
}

int mst_value_compare(const uint8_t *a, const uint8_t *b)
{
    if (is_number(a) && is_number(b))
        return mst_value_compare_numbers(a, b);
    /* Tags are numbered in sorting order, but for the two of numbers, which no other tag comes between. */
    if (a[0] != b[0])
        return a[0] < b[0] ? -1 : 1;
    if (a[0] == MST_STRING) {
        size_t a_length, b_length;
        const char *left = mst_value_string(a, &a_length), *right = mst_value_string(b, &b_length);
        return compare_bytes(left, a_length, right, b_length);
    }
    return compare_bytes(a, mst_value_size(a), b, mst_value_size(b));
}

/* Size of the valid value at `bytes`, 0 if there is none. */
static size_t verified_size(const uint8_t *bytes, size_t length, unsigned depth);

static size_t verified_container(const uint8_t *bytes, size_t length, unsigned depth)
{
    if (length < CONTAINER_HEAD || depth == 0)
        return 0;
    size_t size = mst_value_size(bytes), at = CONTAINER_HEAD;
    uint32_t count = mst_value_count(bytes);
    const uint8_t *former = NULL;
    if (size > length)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        if (bytes[0] == MST_OBJECT) {
            if (size - at < 4 || load32(bytes + at) > size - at - 4)
                return 0;
            const uint8_t *key = bytes + at;
            if (!mst_utf8_valid((const char *)key + 4, load32(key)) ||
                (former && compare_bytes(former + 4, load32(former), key + 4, load32(key)) >= 0))
                return 0;
            former = key;
            at += 4 + (size_t)load32(key);
        }
        size_t element = verified_size(bytes + at, size - at, depth - 1);
        if (element == 0)
            return 0;
        at += element;
    }
    return at == size ? size : 0;
}

static size_t verified_size(const uint8_t *bytes, size_t length, unsigned depth)
{
    if (length == 0)
        return 0;
    switch (mst_value_tag(bytes)) {
    case MST_NULL:
    case MST_FALSE:
    case MST_TRUE:
        return 1;
    case MST_INT:
        return length >= 9 ? 9 : 0;
    case MST_DOUBLE:
        return length >= 9 && isfinite(mst_value_double(bytes)) ? 9 : 0;
    case MST_STRING:
        if (length < STRING_HEAD || mst_value_size(bytes) > length ||
            !mst_utf8_valid((const char *)bytes + STRING_HEAD, load32(bytes + 1)))
            return 0;
        return mst_value_size(bytes);
    case MST_ARRAY:
    case MST_OBJECT:
        return verified_container(bytes, length, depth);
    default:
        return 0;
    }
}

bool mst_value_verify(const uint8_t *bytes, size_t length, unsigned max_depth)
{
    return length > 0 && verified_size(bytes, length, max_depth) == length;
}

void mst_value_put_null(struct mst_buffer *out)
{
    mst_buffer_append_byte(out, MST_NULL);
}

void mst_value_put_bool(struct mst_buffer *out, bool value)
{
    mst_buffer_append_byte(out, value ? MST_TRUE : MST_FALSE);
}

static void put_number(struct mst_buffer *out, enum mst_tag tag, uint64_t bits)
{
    uint8_t bytes[9] = {(uint8_t)tag};
    store64(bytes + 1, bits);
    mst_buffer_append(out, bytes, sizeof bytes);
}

void mst_value_put_int(struct mst_buffer *out, int64_t value)
{
    put_number(out, MST_INT, (uint64_t)value);
}

void mst_value_put_double(struct mst_buffer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_number(out, MST_DOUBLE, bits);
}

static bool fits(struct mst_buffer *out, size_t length)
{
    if (length <= UINT32_MAX)
        return true;
    out->failed = true;
    return false;
}

void mst_value_put_string(struct mst_buffer *out, const char *text, size_t length)
{
    uint8_t head[STRING_HEAD] = {MST_STRING};
    if (!fits(out, length) || !mst_buffer_reserve(out, sizeof head + length))
        return;
    store32(head + 1, (uint32_t)length);
    mst_buffer_append(out, head, sizeof head);
    mst_buffer_append(out, text, length);
}

size_t mst_value_begin(struct mst_buffer *out, enum mst_tag tag)
{
    size_t token = out->length;
    uint8_t head[CONTAINER_HEAD] = {(uint8_t)tag};
    mst_buffer_append(out, head, sizeof head);
    return token;
}

void mst_value_put_key(struct mst_buffer *out, const char *key, size_t length)
{
    uint8_t head[4];
    if (!fits(out, length) || !mst_buffer_reserve(out, sizeof head + length))
        return;
    store32(head, (uint32_t)length);
    mst_buffer_append(out, head, sizeof head);
    mst_buffer_append(out, key, length);
}

void mst_value_end(struct mst_buffer *out, size_t token, uint32_t count)
{
    if (out->failed || !fits(out, out->length - token - CONTAINER_HEAD))
        return;
    uint8_t *head = (uint8_t *)out->data + token;
    store32(head + 1, (uint32_t)(out->length - token - CONTAINER_HEAD));
    store32(head + 5, count);
}
