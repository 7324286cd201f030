// SPDX-License-Identifier: Apache-2.0
#include "base/buffer.h"

#include <endian.h>
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

#define EIGHT UINT64_C(100000000)

/*
 * The eight digits of a number below 10^8 as values in eight bytes, the first digit in the lowest. Each step halves the
 * groups in parallel: by 10^4, then by 100, then by 10, the divisions as multiplications that are exact in these
 * ranges.
 */
static uint64_t eight_digits(uint32_t number)
{
    uint64_t fours = number / 10000 | (uint64_t)(number % 10000) << 32;
    uint64_t hundreds = (fours * 10486 >> 20) & UINT64_C(0x0000007f0000007f);
    uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
    uint64_t tens = (twos * 103 >> 10) & UINT64_C(0x000f000f000f000f);
    return tens | (twos - 10 * tens) << 8;
}

static char *write_eight(char *at, uint64_t digits)
{
    uint64_t text = htole64(digits | UINT64_C(0x3030303030303030));
    memcpy(at, &text, sizeof text);
    return at + sizeof text;
}

/* Without leading zeros, but for the last digit; may write eight bytes for less. */
static char *write_leading(char *at, uint32_t number)
{
    uint64_t digits = eight_digits(number);
    unsigned zeros = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8;
    return write_eight(at, digits >> 8 * zeros) - zeros;
}

char *mst_u64_write(char *at, uint64_t number)
{
    if (number < EIGHT)
        return write_leading(at, (uint32_t)number);
    uint64_t upper = number / EIGHT;
    if (upper < EIGHT)
        at = write_leading(at, (uint32_t)upper);
    else
        at = write_eight(write_leading(at, (uint32_t)(upper / EIGHT)), eight_digits((uint32_t)(upper % EIGHT)));
    return write_eight(at, eight_digits((uint32_t)(number % EIGHT)));
}

void mst_buffer_append_u64(struct mst_buffer *buffer, uint64_t number)
{
    /* Not in place: a buffer at its limit may have room for the digits and no more. */
    char text[MST_U64_ROOM] = {0};
    mst_buffer_append(buffer, text, (size_t)(mst_u64_write(text, number) - text));
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
