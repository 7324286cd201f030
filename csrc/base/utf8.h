// SPDX-License-Identifier: Apache-2.0
#pragma once

/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the well-formed sequence at the start of `text` (1..4) and its code point; 0 if there is none. */
unsigned mst_utf8_decode(const char *text, size_t length, uint32_t *code_point);

/* Length of the longest prefix that is well-formed. */
size_t mst_utf8_span(const char *text, size_t length);

/* Whether all of `text` is well-formed. */
bool mst_utf8_valid(const char *text, size_t length);

/* The longest prefix of at most `most` bytes that does not cut a code point of valid `text`. */
size_t mst_utf8_cut(const char *text, size_t length, size_t most);
