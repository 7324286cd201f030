// SPDX-License-Identifier: Apache-2.0
#pragma once

/* RE2 behind C: linear time in the text, bounded memory, no back-references. Nothing thrown leaves the .cpp file. */
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_regex;

enum mst__regex_status { MST__REGEX_OK, MST__REGEX_BAD, MST__REGEX_NO_MEMORY };

/*
 * Compiles a pattern. MST__REGEX_BAD: `message` (of `size` bytes) says why, and `*offset` is the place in the pattern
 * or -1. With `regex` NULL the pattern is only checked.
 */
enum mst__regex_status mst__regex_compile(struct mst_regex **regex, const char *pattern, size_t length, char *message,
                                          size_t size, long *offset);
void mst__regex_destroy(struct mst_regex *regex);

/* Whether the pattern occurs anywhere in the text. */
bool mst__regex_search(const struct mst_regex *regex, const char *text, size_t length);

#ifdef __cplusplus
}
#endif
