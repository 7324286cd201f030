// SPDX-License-Identifier: Apache-2.0
#include "base/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mst_buffer_deinit(struct mst_buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->length = buffer->capacity = 0;
    buffer->failed = false;
}

void mst_buffer_clear(struct mst_buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
}

/* Allocates one byte more than `capacity` says, so that vsnprintf has room for its NUL at a full buffer. */
static bool grow(struct mst_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 4 ? needed : capacity + capacity / 2;
    if (buffer->limit && capacity > buffer->limit)
        capacity = buffer->limit;
    char *data = realloc(buffer->data, capacity + 1);
    if (!data)
        return false;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

bool mst__buffer_grow(struct mst_buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    bool fits = more < SIZE_MAX / 2 - buffer->length;
    size_t needed = buffer->length + more;
    if (fits && buffer->limit)
        fits = needed <= buffer->limit;
    if (fits && (needed > buffer->capacity || !buffer->data))
        fits = grow(buffer, needed);
    buffer->failed = !fits;
    return fits;
}

void mst_buffer_appendf(struct mst_buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    char small[128];
    int length = vsnprintf(small, sizeof small, format, arguments);
    if (length < 0) {
        buffer->failed = true;
    } else if ((size_t)length < sizeof small) {
        mst_buffer_append(buffer, small, (size_t)length);
    } else if (mst_buffer_reserve(buffer, (size_t)length)) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

void mst_buffer_append_u64(struct mst_buffer *buffer, uint64_t number)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    static const uint64_t powers[] = {
        10ull,
        100ull,
        1000ull,
        10000ull,
        100000ull,
        1000000ull,
        10000000ull,
        100000000ull,
        1000000000ull,
        10000000000ull,
        100000000000ull,
        1000000000000ull,
        10000000000000ull,
        100000000000000ull,
        1000000000000000ull,
        10000000000000000ull,
        100000000000000000ull,
        1000000000000000000ull,
        10000000000000000000ull,
    };
    unsigned count = 1;
    while (count < 20 && number >= powers[count - 1])
        count++;
    if (!mst_buffer_reserve(buffer, count))
        return;
    buffer->length += count;
    char *at = buffer->data + buffer->length;
    for (; number >= 100; number /= 100)
        memcpy(at -= 2, &pairs[number % 100 * 2], 2);
    if (number >= 10)
        memcpy(at - 2, &pairs[number * 2], 2);
    else
        at[-1] = (char)('0' + number);
}

void mst_buffer_consume(struct mst_buffer *buffer, size_t count)
{
    if (count >= buffer->length) {
        buffer->length = 0;
        return;
    }
    memmove(buffer->data, buffer->data + count, buffer->length - count);
    buffer->length -= count;
}

char *mst_buffer_take(struct mst_buffer *buffer, size_t *length)
{
    char *data = buffer->data;
    if (length)
        *length = buffer->length;
    buffer->data = NULL;
    buffer->length = buffer->capacity = 0;
    buffer->failed = false;
    return data;
}
