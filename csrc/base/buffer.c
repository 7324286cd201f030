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

bool mst_buffer_reserve(struct mst_buffer *buffer, size_t more)
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

void mst_buffer_append(struct mst_buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0 || !mst_buffer_reserve(buffer, length))
        return;
    memcpy(buffer->data + buffer->length, bytes, length);
    buffer->length += length;
}

void mst_buffer_append_string(struct mst_buffer *buffer, const char *text)
{
    mst_buffer_append(buffer, text, strlen(text));
}

void mst_buffer_append_byte(struct mst_buffer *buffer, char byte)
{
    if (mst_buffer_reserve(buffer, 1))
        buffer->data[buffer->length++] = byte;
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
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    mst_buffer_append(buffer, digits + at, sizeof digits - at);
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
