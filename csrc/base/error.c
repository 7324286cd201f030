// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

struct entry {
    int code;
    const char *name, *class_, *text;
};

static const struct entry entries[] = {
#define MST_X(code, number, name, class_, text) {code, name, class_, text},
    MST_ERRORS(MST_X)
#undef MST_X
};

#define ENTRIES (sizeof entries / sizeof entries[0])

static const struct entry *find(int code)
{
    for (size_t i = 0; i < ENTRIES; i++)
        if (entries[i].code == code)
            return &entries[i];
    return NULL;
}

static const struct entry *find_or_internal(int code)
{
    const struct entry *entry = find(code);
    return entry ? entry : find(MST_EINTERNAL);
}

const char *mst_error_name(int code)
{
    return find_or_internal(code)->name;
}

int mst_error_code(const char *name)
{
    for (size_t i = 0; i < ENTRIES; i++)
        if (strcmp(entries[i].name, name) == 0)
            return entries[i].code;
    return MST_EINTERNAL;
}

const char *mst_error_class(int code)
{
    return find_or_internal(code)->class_;
}

const char *mst_error_text(int code)
{
    return find_or_internal(code)->text;
}

/* Messages quote bytes from outside: what is no printable UTF-8 becomes '?', a sequence cut by the array's end goes. */
static void clean(char *text, size_t length, bool cut)
{
    size_t at = 0;
    while (at < length) {
        uint32_t point;
        unsigned size = mst_utf8_decode(text + at, length - at, &point);
        if (size == 0 && cut && length - at < 4) {
            text[at] = '\0';
            return;
        }
        if (size == 0 || point < 0x20 || point == 0x7F)
            text[at] = point == '\n' && size ? ' ' : '?';
        at += size ? size : 1;
    }
}

__attribute__((format(printf, 3, 0))) static void print(char *text, size_t room, const char *format, va_list arguments)
{
    int needed = vsnprintf(text, room, format, arguments);
    if (needed < 0)
        text[0] = '\0';
    clean(text, strlen(text), needed >= (int)room);
}

int mst_error_set(struct mst_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    *error = (struct mst_error){.code = code};
    va_list arguments;
    va_start(arguments, format);
    print(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return code;
}

void mst_error_hint(struct mst_error *error, const char *format, ...)
{
    if (!error)
        return;
    va_list arguments;
    va_start(arguments, format);
    print(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
}

void mst_error_at(struct mst_error *error, const char *text, size_t length, size_t offset)
{
    if (!error)
        return;
    if (offset > length)
        offset = length;
    error->has_position = 1;
    error->offset = (uint32_t)offset;
    error->line = 1;
    error->column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            error->line++;
            error->column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            error->column++;
        }
    }
}
