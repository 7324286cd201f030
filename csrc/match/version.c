// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "match/types.h"

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_label(char byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '-';
}

/* Length of identifiers joined by single dots at the start of `text`; 0 if there is none or one is empty. */
static size_t dotted(const char *text, size_t length, bool (*allowed)(char byte))
{
    size_t at = 0;
    for (;;) {
        size_t start = at;
        while (at < length && allowed(text[at]))
            at++;
        if (at == start)
            return 0;
        if (at == length || text[at] != '.')
            return at;
        at++;
    }
}

bool mst__version_parse(struct mst__version *version, const char *text, size_t length)
{
    if (length > 0 && (text[0] == 'v' || text[0] == 'V')) {
        text++;
        length--;
    }
    size_t used = dotted(text, length, is_digit);
    if (used == 0)
        return false;
    *version = (struct mst__version){{text, used}, {text + used, 0}};
    if (used < length && text[used] == '-') {
        size_t label = dotted(text + used + 1, length - used - 1, is_label);
        if (label == 0)
            return false;
        version->release = (struct mst_span){text + used + 1, label};
        used += 1 + label;
    }
    if (used < length && text[used] == '+') {
        size_t build = dotted(text + used + 1, length - used - 1, is_label);
        if (build == 0)
            return false;
        used += 1 + build;
    }
    return used == length;
}

/* Cuts the next identifier off the front; an empty span at the end. */
static struct mst_span next_part(struct mst_span *rest)
{
    const char *dot = rest->length ? memchr(rest->data, '.', rest->length) : NULL;
    struct mst_span part = {rest->data, dot ? (size_t)(dot - rest->data) : rest->length};
    size_t used = part.length + (dot ? 1 : 0);
    rest->data += used;
    rest->length -= used;
    return part;
}

static int compare_text(struct mst_span a, struct mst_span b)
{
    int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);
    return order ? (order > 0) - (order < 0) : (a.length > b.length) - (a.length < b.length);
}

/* Digits of any length, so there is no number too large; no digits are 0. */
static int compare_digits(struct mst_span a, struct mst_span b)
{
    for (; a.length && *a.data == '0'; a.length--)
        a.data++;
    for (; b.length && *b.data == '0'; b.length--)
        b.data++;
    if (a.length != b.length)
        return a.length < b.length ? -1 : 1;
    return a.length ? compare_text(a, b) : 0;
}

static bool all_digits(struct mst_span part)
{
    for (size_t i = 0; i < part.length; i++)
        if (!is_digit(part.data[i]))
            return false;
    return true;
}

static int compare_release_part(struct mst_span a, struct mst_span b)
{
    bool a_number = all_digits(a), b_number = all_digits(b);
    if (a_number && b_number)
        return compare_digits(a, b);
    if (a_number != b_number)
        return a_number ? -1 : 1;
    return compare_text(a, b);
}

int mst__version_compare(const struct mst__version *a, const struct mst__version *b)
{
    struct mst_span left = a->numbers, right = b->numbers;
    while (left.length || right.length) {
        int order = compare_digits(next_part(&left), next_part(&right));
        if (order)
            return order;
    }
    left = a->release;
    right = b->release;
    if (!left.length || !right.length)
        return (left.length == 0) - (right.length == 0);
    while (left.length && right.length) {
        int order = compare_release_part(next_part(&left), next_part(&right));
        if (order)
            return order;
    }
    return (left.length > 0) - (right.length > 0);
}
