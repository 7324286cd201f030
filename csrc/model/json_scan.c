// SPDX-License-Identifier: Apache-2.0
#include "model/json_scan.h"

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* A strict reader of RFC 8259 that builds nothing. Each read_* returns 0 or the code it put into `error`. */
struct scan {
    const char *text;
    size_t length, at;
    struct mst_error *error;
    unsigned depth, max_depth;
    bool object[MST__JSON_DEPTH_MAX]; /* what is open at each level */
    uint64_t keys;                    /* keys read so far */
    uint64_t wanted;                  /* number of the key to stop at; UINT64_MAX: none */
};

enum { STOPPED = 1 };

static int fault(struct scan *scan, size_t at, const char *message)
{
    mst_error_set(scan->error, MST_EJSON, "%s", message);
    mst_error_at(scan->error, scan->text, scan->length, at);
    return MST_EJSON;
}

/* -1 at the end. */
static int peek(const struct scan *scan)
{
    return scan->at < scan->length ? (unsigned char)scan->text[scan->at] : -1;
}

static bool digit(int byte)
{
    return byte >= '0' && byte <= '9';
}

static void skip_space(struct scan *scan)
{
    int byte = peek(scan);
    while (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r') {
        scan->at++;
        byte = peek(scan);
    }
}

static int unexpected(struct scan *scan, const char *expected)
{
    uint32_t point;
    unsigned size = mst_utf8_decode(scan->text + scan->at, scan->length - scan->at, &point);
    if (scan->at >= scan->length)
        return fault(scan, scan->length, "unexpected end of text");
    if (size == 0)
        return fault(scan, scan->at, "invalid UTF-8");
    if (point == 0xFEFF)
        return fault(scan, scan->at, "byte order mark is not allowed");
    if (point < 0x20 || point == 0x7F)
        mst_error_set(scan->error, MST_EJSON, "unexpected byte 0x%02X, expected %s", (unsigned)point, expected);
    else
        mst_error_set(scan->error, MST_EJSON, "unexpected \"%s%.*s\", expected %s", point == '"' ? "\\" : "", (int)size,
                      scan->text + scan->at, expected);
    mst_error_at(scan->error, scan->text, scan->length, scan->at);
    return MST_EJSON;
}

/* The four digits behind "\u"; -1 where they are none. */
static int32_t unit_at(const struct scan *scan, size_t at)
{
    int32_t unit = 0;
    if (scan->length - at < 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        char byte = scan->text[i];
        int lower = byte | 0x20;
        if (digit(byte))
            unit = unit * 16 + (byte - '0');
        else if (lower >= 'a' && lower <= 'f')
            unit = unit * 16 + (lower - 'a' + 10);
        else
            return -1;
    }
    return unit;
}

static int read_escape(struct scan *scan)
{
    size_t start = scan->at++;
    int byte = peek(scan);
    if (byte < 0)
        return fault(scan, scan->length, "unexpected end of text");
    scan->at++;
    if (byte != 'u')
        return byte && strchr("\"\\/bfnrt", byte) ? 0 : fault(scan, start, "invalid escape in a string");
    int32_t unit = unit_at(scan, scan->at);
    if (unit < 0)
        return fault(scan, start, "\"\\u\" needs four hexadecimal digits");
    scan->at += 4;
    if (unit < 0xD800 || unit > 0xDFFF)
        return 0;
    bool paired = unit < 0xDC00 && scan->length - scan->at >= 6 && scan->text[scan->at] == '\\' &&
                  scan->text[scan->at + 1] == 'u';
    int32_t low = paired ? unit_at(scan, scan->at + 2) : -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return fault(scan, start, "lone surrogate in a string");
    scan->at += 6;
    return 0;
}

static int read_string(struct scan *scan)
{
    size_t start = scan->at++;
    for (;;) {
        int byte = peek(scan);
        if (byte < 0)
            return fault(scan, start, "string is not closed");
        if (byte == '"') {
            scan->at++;
            return 0;
        }
        if (byte < 0x20)
            return fault(scan, scan->at, "control character in a string must be escaped");
        if (byte == '\\') {
            int status = read_escape(scan);
            if (status < 0)
                return status;
            continue;
        }
        uint32_t point;
        unsigned size = mst_utf8_decode(scan->text + scan->at, scan->length - scan->at, &point);
        if (size == 0)
            return fault(scan, scan->at, "invalid UTF-8");
        scan->at += size;
    }
}

static int read_digits(struct scan *scan)
{
    if (!digit(peek(scan)))
        return unexpected(scan, "a digit");
    while (digit(peek(scan)))
        scan->at++;
    return 0;
}

/* strtod with a copy, because the text need not end behind the number, and with the C locale's decimal point. */
static bool finite_number(const char *text, size_t length)
{
    bool finite = true;
    char *copy = calloc(1, length + 1);
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (copy && plain) {
        memcpy(copy, text, length);
        finite = isfinite(strtod_l(copy, NULL, plain));
    }
    if (plain)
        freelocale(plain);
    free(copy);
    return finite;
}

static int read_number(struct scan *scan)
{
    size_t start = scan->at;
    if (peek(scan) == '-')
        scan->at++;
    bool zero = peek(scan) == '0';
    size_t first = scan->at, exponent = 0;
    int status = read_digits(scan);
    if (status == 0 && zero && scan->at > first + 1)
        return fault(scan, start, "number has a leading zero");
    if (status == 0 && peek(scan) == '.') {
        scan->at++;
        status = read_digits(scan);
    }
    if (status == 0 && (peek(scan) == 'e' || peek(scan) == 'E')) {
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-')
            scan->at++;
        exponent = scan->at;
        status = read_digits(scan);
    }
    /* The largest double has 309 digits: what is shorter and has an exponent of one or two digits needs no look. */
    bool large = scan->at - start > 200 || (exponent && scan->at - exponent > 2);
    if (status == 0 && large && !finite_number(scan->text + start, scan->at - start))
        return fault(scan, start, "number is out of range");
    return status;
}

static int read_word(struct scan *scan)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(words[i]);
        if (scan->length - scan->at >= size && memcmp(scan->text + scan->at, words[i], size) == 0) {
            scan->at += size;
            return 0;
        }
    }
    return unexpected(scan, "a value");
}

static int read_key(struct scan *scan)
{
    skip_space(scan);
    if (peek(scan) != '"')
        return unexpected(scan, "a key in double quotes");
    if (scan->keys++ == scan->wanted)
        return STOPPED;
    int status = read_string(scan);
    if (status < 0)
        return status;
    skip_space(scan);
    if (peek(scan) != ':')
        return unexpected(scan, "\":\"");
    scan->at++;
    return 0;
}

/* Opens an array or object; the caller goes on with its first element, unless it is empty (then `*closed`). */
static int read_open(struct scan *scan, bool object, bool *closed)
{
    if (scan->depth == scan->max_depth) {
        mst_error_set(scan->error, MST_ETOOBIG, "nested deeper than %u levels", scan->max_depth);
        mst_error_at(scan->error, scan->text, scan->length, scan->at);
        return MST_ETOOBIG;
    }
    scan->object[scan->depth++] = object;
    scan->at++;
    skip_space(scan);
    *closed = peek(scan) == (object ? '}' : ']');
    if (*closed) {
        scan->at++;
        scan->depth--;
        return 0;
    }
    return object ? read_key(scan) : 0;
}

/* Behind a value: closes what ends here; `*done` at the end of the outermost value. */
static int read_after(struct scan *scan, bool *done)
{
    while (scan->depth > 0) {
        bool object = scan->object[scan->depth - 1];
        skip_space(scan);
        int byte = peek(scan);
        if (byte == ',') {
            scan->at++;
            return object ? read_key(scan) : 0;
        }
        if (byte != (object ? '}' : ']'))
            return unexpected(scan, object ? "\",\" or \"}\"" : "\",\" or \"]\"");
        scan->at++;
        scan->depth--;
    }
    *done = true;
    return 0;
}

static int read_text(struct scan *scan)
{
    bool done = false;
    while (!done) {
        int status = 0;
        bool complete = true;
        skip_space(scan);
        int byte = peek(scan);
        if (byte == '{' || byte == '[')
            status = read_open(scan, byte == '{', &complete);
        else if (byte == '"')
            status = read_string(scan);
        else if (byte == '-' || digit(byte))
            status = read_number(scan);
        else
            status = read_word(scan);
        if (status == 0 && complete)
            status = read_after(scan, &done);
        if (status != 0)
            return status;
    }
    skip_space(scan);
    return scan->at < scan->length ? unexpected(scan, "the end of the text") : 0;
}

int mst__json_diagnose(const char *text, size_t length, unsigned depth, struct mst_error *error)
{
    struct scan scan = {.text = text, .length = length, .error = error, .max_depth = depth, .wanted = UINT64_MAX};
    return read_text(&scan);
}

size_t mst__json_key_offset(const char *text, size_t length, uint64_t number)
{
    struct scan scan = {.text = text, .length = length, .max_depth = MST__JSON_DEPTH_MAX, .wanted = number};
    return read_text(&scan) == STOPPED ? scan.at : 0;
}

/* Whether an integer's digits (no sign) fit in 64 bits: signed where negative, else unsigned. */
static bool fits(const char *digits, size_t length, bool negative)
{
    const char *most = negative ? "9223372036854775808" : "18446744073709551615";
    size_t size = strlen(most);
    return length < size || (length == size && memcmp(digits, most, size) <= 0);
}

void mst__json_widen(const char *text, size_t length, struct mst_buffer *out)
{
    struct scan scan = {.text = text, .length = length};
    while (scan.at < length) {
        size_t start = scan.at;
        char byte = text[start];
        if (byte == '"') {
            read_string(&scan);
        } else if (byte == '-' || digit(byte)) {
            scan.at++;
            while (digit(peek(&scan)))
                scan.at++;
            size_t first = start + (byte == '-'), end = scan.at;
            while (peek(&scan) >= 0 && strchr("+-.eE0123456789", peek(&scan)))
                scan.at++;
            mst_buffer_append(out, text + start, scan.at - start);
            if (scan.at == end && !fits(text + first, end - first, byte == '-'))
                mst_buffer_append_string(out, "e0");
            continue;
        } else {
            scan.at++;
        }
        mst_buffer_append(out, text + start, scan.at - start);
    }
}
