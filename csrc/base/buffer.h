// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A growable byte buffer with a limit. Zero-initialise to use; `mst_buffer_deinit` frees.
 *
 * An append that would pass the limit or finds no memory sets `failed` and changes nothing more; callers append
 * freely and test `failed` once at the end.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct mst_buffer {
    char *data;      /* owned; not NUL-terminated */
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* most bytes it may hold; 0 means no limit */
    bool failed;     /* an append did not fit or found no memory */
};

void mst_buffer_deinit(struct mst_buffer *buffer);

/* Empties the buffer and clears `failed`; keeps the memory. */
void mst_buffer_clear(struct mst_buffer *buffer);

/* What reserve does when there is no room: grows, or fails. */
bool mst__buffer_grow(struct mst_buffer *buffer, size_t more);

/* Makes room for `more` bytes behind the present end; false (and failed) if it cannot. */
static inline bool mst_buffer_reserve(struct mst_buffer *buffer, size_t more)
{
    bool within = buffer->limit == 0 || (buffer->length <= buffer->limit && more <= buffer->limit - buffer->length);
    if (__builtin_expect(!buffer->failed && buffer->data && within && more <= buffer->capacity - buffer->length, 1))
        return true;
    return mst__buffer_grow(buffer, more);
}

static inline void mst_buffer_append(struct mst_buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0 || !mst_buffer_reserve(buffer, length))
        return;
    memcpy(buffer->data + buffer->length, bytes, length);
    buffer->length += length;
}

static inline void mst_buffer_append_byte(struct mst_buffer *buffer, char byte)
{
    if (mst_buffer_reserve(buffer, 1))
        buffer->data[buffer->length++] = byte;
}

/* Inline, so that the length of a literal is known at compile time. */
static inline void mst_buffer_append_string(struct mst_buffer *buffer, const char *text)
{
    mst_buffer_append(buffer, text, strlen(text));
}

void mst_buffer_appendf(struct mst_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends a number in decimal without going through printf. */
void mst_buffer_append_u64(struct mst_buffer *buffer, uint64_t number);

/*
 * Writes a number in decimal at `at`, where MST_U64_ROOM bytes must be free though it needs 20 at most; returns the
 * end. For those who have reserved room for more than a number.
 */
#define MST_U64_ROOM 32u
char *mst_u64_write(char *at, uint64_t number);

/* Removes `count` bytes from the front. */
void mst_buffer_consume(struct mst_buffer *buffer, size_t count);

/* Hands the memory to the caller (to be freed with free) and empties the buffer. */
char *mst_buffer_take(struct mst_buffer *buffer, size_t *length);
