// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/utf8.h"
#include "match/types.h"

/* A byte that starts no code point counts as one of its own, above all real ones. */
static size_t decode(struct mst_span text, size_t at, uint32_t *code_point)
{
    unsigned used = mst_utf8_decode(text.data + at, text.length - at, code_point);
    if (used)
        return used;
    *code_point = 0x110000u + (uint8_t)text.data[at];
    return 1;
}

/* The set behind the "[" at `at`: its end (behind "]") and whether it holds the code point; 0 if it is not closed. */
static size_t match_set(struct mst_span pattern, size_t at, uint32_t code_point, bool *holds)
{
    bool inverted = ++at < pattern.length && pattern.data[at] == '!', found = false;
    /* Without this a row of open brackets would be walked to its end from each of them. */
    if (!memchr(pattern.data + at, ']', pattern.length - at))
        return 0;
    at += inverted;
    for (size_t start = at; at < pattern.length;) {
        if (pattern.data[at] == ']' && at > start) {
            *holds = found != inverted;
            return at + 1;
        }
        uint32_t low, high;
        at += decode(pattern, at, &low);
        high = low;
        if (at + 1 < pattern.length && pattern.data[at] == '-' && pattern.data[at + 1] != ']')
            at += 1 + decode(pattern, at + 1, &high);
        found = found || (low <= code_point && code_point <= high);
    }
    return 0;
}

/* One step of a pattern against one code point of the text: both advance, or false. */
typedef bool step(struct mst_span pattern, size_t *pattern_at, struct mst_span text, size_t *text_at);

static bool step_literal(struct mst_span pattern, size_t *pattern_at, struct mst_span text, size_t *text_at)
{
    if (pattern.data[*pattern_at] != text.data[*text_at])
        return false;
    ++*pattern_at;
    ++*text_at;
    return true;
}

static bool step_any(size_t *pattern_at, struct mst_span text, size_t *text_at)
{
    uint32_t code_point;
    ++*pattern_at;
    *text_at += decode(text, *text_at, &code_point);
    return true;
}

static bool step_like(struct mst_span pattern, size_t *pattern_at, struct mst_span text, size_t *text_at)
{
    if (pattern.data[*pattern_at] == '_')
        return step_any(pattern_at, text, text_at);
    if (pattern.data[*pattern_at] != '\\' || *pattern_at + 1 == pattern.length)
        return step_literal(pattern, pattern_at, text, text_at);
    size_t escaped = *pattern_at + 1;
    if (!step_literal(pattern, &escaped, text, text_at))
        return false;
    *pattern_at = escaped;
    return true;
}

static bool step_glob(struct mst_span pattern, size_t *pattern_at, struct mst_span text, size_t *text_at)
{
    if (pattern.data[*pattern_at] == '?')
        return step_any(pattern_at, text, text_at);
    if (pattern.data[*pattern_at] == '[') {
        uint32_t code_point;
        bool holds = false;
        size_t used = decode(text, *text_at, &code_point);
        size_t end = match_set(pattern, *pattern_at, code_point, &holds);
        if (end) {
            *pattern_at = end;
            *text_at += used;
            return holds;
        }
    }
    return step_literal(pattern, pattern_at, text, text_at);
}

/* Only the last wildcard is ever taken back: an earlier one that matched less can be extended by the later one. */
static bool match(struct mst_span pattern, struct mst_span text, char wildcard, step *step)
{
    size_t pattern_at = 0, text_at = 0, star = SIZE_MAX, resume = 0;
    while (text_at < text.length) {
        if (pattern_at < pattern.length && pattern.data[pattern_at] == wildcard) {
            star = ++pattern_at;
            resume = text_at;
            continue;
        }
        size_t next_pattern = pattern_at, next_text = text_at;
        if (pattern_at < pattern.length && step(pattern, &next_pattern, text, &next_text)) {
            pattern_at = next_pattern;
            text_at = next_text;
        } else if (star == SIZE_MAX) {
            return false;
        } else {
            uint32_t code_point;
            resume += decode(text, resume, &code_point);
            pattern_at = star;
            text_at = resume;
        }
    }
    while (pattern_at < pattern.length && pattern.data[pattern_at] == wildcard)
        pattern_at++;
    return pattern_at == pattern.length;
}

bool mst__like_match(struct mst_span pattern, struct mst_span text)
{
    return match(pattern, text, '%', step_like);
}

bool mst__glob_match(struct mst_span pattern, struct mst_span text)
{
    return match(pattern, text, '*', step_glob);
}
