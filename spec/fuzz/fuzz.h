// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the libFuzzer targets share. A target that finds a contradiction aborts, which libFuzzer reports as a crash. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Checks what must hold, whatever NDEBUG says. */
#define REQUIRE(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* Bytes of the input, taken off its front. */
struct input {
    const uint8_t *data;
    size_t size;
};

static inline uint8_t take_byte(struct input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

/* What stands before the next newline, or the rest. */
static inline struct mst_span take_line(struct input *input)
{
    const uint8_t *newline = input->size ? memchr(input->data, '\n', input->size) : NULL;
    size_t length = newline ? (size_t)(newline - input->data) : input->size;
    struct mst_span line = {(const char *)input->data, length};
    input->data += length + (newline != NULL);
    input->size -= length + (newline != NULL);
    return line;
}

/* A copy of exactly as many bytes, so that a read behind the end is seen. To be freed. */
static inline char *tight_copy(struct mst_span span)
{
    char *copy = malloc(span.length ? span.length : 1);
    REQUIRE(copy);
    if (span.length)
        memcpy(copy, span.data, span.length);
    return copy;
}
