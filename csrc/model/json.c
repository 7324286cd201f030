// SPDX-License-Identifier: Apache-2.0
#include "model/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/value.h"

/*
 * Spans. The text is known to be valid, so these only look for structure; every step is still bounded by `length`, for
 * a caller's mistake must not become a read past the end.
 */

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static size_t skip_space(const char *text, size_t length, size_t at)
{
    while (at < length && is_space(text[at]))
        at++;
    return at;
}

/* Offset behind the string that opens at `at`. */
static size_t skip_string(const char *text, size_t length, size_t at)
{
    for (at++; at < length && text[at] != '"'; at++)
        if (text[at] == '\\')
            at++;
    return at < length ? at + 1 : length;
}

/* Offset behind the value that starts at `at`. */
static size_t skip_value(const char *text, size_t length, size_t at)
{
    size_t depth = 0;
    do {
        char byte = at < length ? text[at] : '\0';
        if (at >= length)
            return length;
        if (byte == '"') {
            at = skip_string(text, length, at);
            continue;
        }
        if (byte == '{' || byte == '[') {
            depth++;
            at++;
        } else if (byte == '}' || byte == ']') {
            depth--;
            at++;
        } else if (depth > 0) {
            at++;
        } else {
            while (at < length && !is_space(text[at]) && !strchr(",]}", text[at]))
                at++;
        }
    } while (depth > 0);
    return at;
}

static uint32_t unit_of(const char *digits)
{
    char copy[5];
    memcpy(copy, digits, 4);
    copy[4] = '\0';
    return (uint32_t)strtoul(copy, NULL, 16);
}

static unsigned encode(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    unsigned size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (unsigned i = size - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    out[0] = (char)(lead[size] | point);
    return size;
}

/* The bytes that the escape at `at` stands for; `*at` moves behind it. */
static unsigned unescape(const char *text, size_t end, size_t *at, char *out)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    if (end - *at < 2) {
        *at = end;
        return 0;
    }
    char kind = text[*at + 1];
    const char *found = strchr(letters, kind);
    *at += 2;
    if (kind != 'u' || end - *at < 4) {
        out[0] = found && kind ? meanings[found - letters] : kind;
        return 1;
    }
    uint32_t point = unit_of(text + *at);
    *at += 4;
    if (point >= 0xD800 && point < 0xDC00 && end - *at >= 6) {
        point = 0x10000 + ((point - 0xD800) << 10) + (unit_of(text + *at + 2) - 0xDC00);
        *at += 6;
    }
    return encode(point, out);
}

/* Whether the string between the quotes text[start-1] and text[end] means `key`. */
static bool key_equals(const char *text, size_t start, size_t end, const char *key, size_t key_length)
{
    if (!memchr(text + start, '\\', end - start))
        return end - start == key_length && memcmp(text + start, key, key_length) == 0;
    size_t used = 0;
    while (start < end) {
        char bytes[4] = {text[start]};
        unsigned size = 1;
        if (bytes[0] == '\\')
            size = unescape(text, end, &start, bytes);
        else
            start++;
        if (key_length - used < size || memcmp(key + used, bytes, size) != 0)
            return false;
        used += size;
    }
    return used == key_length;
}

bool mst_json_member(const char *text, size_t length, const char *key, struct mst_span *raw)
{
    size_t at = skip_space(text, length, 0), key_length = strlen(key);
    if (at >= length || text[at] != '{')
        return false;
    at = skip_space(text, length, at + 1);
    while (at < length && text[at] == '"') {
        size_t start = at + 1, end = skip_string(text, length, at);
        at = skip_space(text, length, end);
        at = skip_space(text, length, at + 1);
        if (at >= length)
            return false;
        size_t value = at;
        at = skip_value(text, length, at);
        if (key_equals(text, start, end - 1, key, key_length)) {
            *raw = (struct mst_span){text + value, at - value};
            return true;
        }
        at = skip_space(text, length, at);
        at = skip_space(text, length, at + 1);
    }
    return false;
}

bool mst_json_element(const char *text, size_t length, size_t *position, struct mst_span *raw)
{
    size_t at = *position;
    if (at == 0) {
        at = skip_space(text, length, 0);
        if (at >= length || text[at] != '[')
            return false;
        at = skip_space(text, length, at + 1);
    }
    if (at >= length || text[at] == ']')
        return false;
    size_t end = skip_value(text, length, at);
    *raw = (struct mst_span){text + at, end - at};
    at = skip_space(text, length, end);
    *position = at < length && text[at] == ',' ? skip_space(text, length, at + 1) : at;
    return true;
}

/* Writers. */

static void put_escape(struct mst_buffer *out, unsigned char byte)
{
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *form = short_forms; *form; form += 2) {
        if ((unsigned char)form[0] == byte) {
            const char pair[2] = {'\\', form[1]};
            mst_buffer_append(out, pair, sizeof pair);
            return;
        }
    }
    mst_buffer_appendf(out, "\\u%04x", byte);
}

/* Of a string's bytes: those that are written as they are and need no look at their neighbours. */
__extension__ static const bool plain[256] = {
    [0x20] = true,
    [0x21] = true,
    [0x23 ... 0x5B] = true,
    [0x5D ... 0x7F] = true,
};

/* How many bytes from the front are plain for sure: looked at eight at a time, so not to the last. */
static size_t plain_prefix(const char *text, size_t length)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
    size_t at = 0;
    for (uint64_t word; length - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
        uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
        /* Borrows can only find too much. */
        if (((word - ones * 0x20) | (quote - ones) | (slash - ones) | word) & high)
            break;
    }
    return at;
}

void mst_json_put_string(struct mst_buffer *out, const char *text, size_t length)
{
    size_t start = 0, at = plain_prefix(text, length);
    bool room = mst_buffer_reserve(out, length + 2);
    while (at < length && plain[(unsigned char)text[at]])
        at++;
    if (at == length && room && length > 0) {
        char *to = out->data + out->length;
        to[0] = '"';
        memcpy(to + 1, text, length);
        to[length + 1] = '"';
        out->length += length + 2;
        return;
    }
    mst_buffer_append_byte(out, '"');
    while (at < length) {
        unsigned char byte = (unsigned char)text[at];
        if (plain[byte]) {
            at++;
            continue;
        }
        uint32_t point;
        unsigned size = mst_utf8_decode(text + at, length - at, &point);
        if (size > 1) {
            at += size;
            continue;
        }
        mst_buffer_append(out, text + start, at - start);
        if (size == 0)
            mst_buffer_append_string(out, "\xEF\xBF\xBD");
        else
            put_escape(out, byte);
        start = ++at;
    }
    mst_buffer_append(out, text + start, at - start);
    mst_buffer_append_byte(out, '"');
}

void mst_json_put_int(struct mst_buffer *out, int64_t number)
{
    if (number < 0)
        mst_buffer_append_byte(out, '-');
    mst_buffer_append_u64(out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

/* An embedding program may have set a locale with another decimal point, of one byte or several. */
static size_t plain_point(char *text, size_t length)
{
    size_t kept = 0;
    bool point = false;
    for (size_t i = 0; i < length; i++) {
        if (strchr("0123456789+-e", text[i])) {
            text[kept++] = text[i];
        } else if (!point) {
            text[kept++] = '.';
            point = true;
        }
    }
    return kept;
}

void mst_json_put_double(struct mst_buffer *out, double number)
{
    char text[40];
    size_t length = 0;
    if (!isfinite(number)) {
        mst_buffer_append_string(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        length = (size_t)snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    length = plain_point(text, length);
    mst_buffer_append(out, text, length);
    if (!memchr(text, '.', length) && !memchr(text, 'e', length))
        mst_buffer_append_string(out, ".0");
}

static void put_object(struct mst_buffer *out, const uint8_t *object)
{
    const uint8_t *position = NULL, *element;
    const char *key;
    size_t length;
    char separator = '{';
    while (mst_value_next_member(object, &position, &key, &length, &element)) {
        mst_buffer_append_byte(out, separator);
        mst_json_put_string(out, key, length);
        mst_buffer_append_byte(out, ':');
        mst_json_put_value(out, element);
        separator = ',';
    }
    mst_buffer_append_string(out, separator == '{' ? "{}" : "}");
}

static void put_list(struct mst_buffer *out, const uint8_t *list)
{
    const uint8_t *position = NULL, *element;
    char separator = '[';
    while (mst_value_next(list, &position, &element)) {
        mst_buffer_append_byte(out, separator);
        mst_json_put_value(out, element);
        separator = ',';
    }
    mst_buffer_append_string(out, separator == '[' ? "[]" : "]");
}

void mst_json_put_value(struct mst_buffer *out, const uint8_t *value)
{
    size_t length;
    const char *text;
    switch (mst_value_tag(value)) {
    case MST_FALSE:
        mst_buffer_append_string(out, "false");
        return;
    case MST_TRUE:
        mst_buffer_append_string(out, "true");
        return;
    case MST_INT:
        mst_json_put_int(out, mst_value_int(value));
        return;
    case MST_DOUBLE:
        mst_json_put_double(out, mst_value_double(value));
        return;
    case MST_STRING:
        text = mst_value_string(value, &length);
        mst_json_put_string(out, text, length);
        return;
    case MST_ARRAY:
    case MST_FINALS:
        put_list(out, value);
        return;
    case MST_OBJECT:
        put_object(out, value);
        return;
    case MST_NULL:
        break;
    }
    mst_buffer_append_string(out, "null");
}

static void put_text_member(struct mst_buffer *out, const char *name, const char *text)
{
    mst_buffer_append_string(out, name);
    mst_json_put_string(out, text, strlen(text));
}

void mst_json_put_error(struct mst_buffer *out, const struct mst_error *error)
{
    put_text_member(out, "{\"error\":{\"code\":", mst_error_name(error->code));
    put_text_member(out, ",\"message\":", error->message[0] ? error->message : mst_error_text(error->code));
    if (error->hint[0])
        put_text_member(out, ",\"hint\":", error->hint);
    if (error->has_position)
        mst_buffer_appendf(out, ",\"at\":{\"offset\":%u,\"line\":%u,\"column\":%u}", error->offset, error->line,
                           error->column);
    mst_buffer_append_string(out, "}}");
}
