// SPDX-License-Identifier: Apache-2.0
#include "model/path.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/utf8.h"
#include "model/value.h"

#define STEPS_MAX (sizeof((struct mst_path *)NULL)->steps / sizeof(struct mst_path_step))

/* What was found so far: nothing, one borrowed value, or a finals under construction in `scratch`. */
struct search {
    const struct mst_path *path;
    struct mst_buffer *scratch;
    const uint8_t *only;
    size_t token;
    uint32_t count;
};

static void found(struct search *search, const uint8_t *value)
{
    if (search->count == 0) {
        search->only = value;
    } else {
        if (search->count == 1) {
            search->token = mst_value_begin(search->scratch, MST_FINALS);
            mst_buffer_append(search->scratch, search->only, mst_value_size(search->only));
        }
        mst_buffer_append(search->scratch, value, mst_value_size(value));
    }
    search->count++;
}

/* Recursion is as deep as the path is long. */
static void walk(struct search *search, uint32_t number, const uint8_t *value)
{
    if (number == search->path->count) {
        found(search, value);
        return;
    }
    const struct mst_path_step *step = &search->path->steps[number];
    const uint8_t *inner;
    if (mst_value_tag(value) == MST_OBJECT) {
        inner = mst_value_get(value, step->name, step->length);
        if (inner)
            walk(search, number + 1, inner);
    } else if (mst_value_tag(value) == MST_ARRAY && step->index >= 0) {
        inner = mst_value_at(value, (uint32_t)step->index);
        if (inner)
            walk(search, number + 1, inner);
    } else if (mst_value_tag(value) == MST_ARRAY) {
        const uint8_t *position = NULL, *element;
        while (mst_value_next(value, &position, &element)) {
            inner = mst_value_get(element, step->name, step->length);
            if (inner)
                walk(search, number + 1, inner);
        }
    }
}

const uint8_t *mst_path_find(const struct mst_path *path, const uint8_t *document, struct mst_buffer *scratch)
{
    struct search search = {.path = path, .scratch = scratch};
    walk(&search, 0, document);
    if (search.count < 2)
        return search.only;
    mst_value_end(scratch, search.token, search.count);
    return scratch->failed ? NULL : (const uint8_t *)scratch->data + search.token;
}

struct reader {
    const char *text;
    size_t length, at;
    struct mst_error *error;
};

static int fault(const struct reader *reader, size_t at, const char *message)
{
    int code = mst_error_set(reader->error, MST_EINVAL, "%s", message);
    mst_error_at(reader->error, reader->text, reader->length, at);
    return code;
}

static bool letter(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '_' || (unsigned char)byte >= 0x80;
}

static bool digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* A fault that a name in back-quotes would not have. */
static int fault_of_name(const struct reader *reader, const char *message)
{
    int code = fault(reader, reader->at, message);
    mst_error_hint(reader->error, "a name with other characters than letters, digits, \"_\" and \"-\" stands in "
                                  "back-quotes: `a b`");
    return code;
}

/* A name as filters know it: "-" may stand in it only before a letter. */
static int read_bare(struct reader *reader, struct mst_path_step *step)
{
    size_t start = reader->at;
    while (reader->at < reader->length) {
        char byte = reader->text[reader->at];
        bool joins = byte == '-' && reader->at > start && reader->at + 1 < reader->length &&
                     letter(reader->text[reader->at + 1]);
        if (!letter(byte) && !joins && !(digit(byte) && reader->at > start))
            break;
        reader->at++;
    }
    if (reader->at == start && start == reader->length)
        return fault(reader, start, "unexpected end of path");
    if (reader->at == start)
        return fault_of_name(reader, "expected a field name");
    *step = (struct mst_path_step){reader->text + start, (uint32_t)(reader->at - start), -1};
    return 0;
}

static int read_quoted(struct reader *reader, struct mst_path_step *step)
{
    size_t start = reader->at++;
    while (reader->at < reader->length && reader->text[reader->at] != '`')
        reader->at++;
    if (reader->at == reader->length)
        return fault(reader, start, "back-quote is not closed");
    if (reader->at == start + 1)
        return fault(reader, start, "empty field name");
    *step = (struct mst_path_step){reader->text + start + 1, (uint32_t)(reader->at - start - 1), -1};
    reader->at++;
    return 0;
}

static int read_index(struct reader *reader, struct mst_path_step *step)
{
    size_t open = reader->at++, start = reader->at;
    int64_t index = 0;
    while (reader->at < reader->length && digit(reader->text[reader->at])) {
        index = index * 10 + (reader->text[reader->at++] - '0');
        if (index > INT32_MAX)
            return fault(reader, start, "index is too large");
    }
    if (reader->at == reader->length)
        return fault(reader, open, "\"[\" is not closed");
    if (reader->at == start)
        return fault(reader, start, "expected a number from 0");
    if (reader->text[reader->at] != ']')
        return fault(reader, reader->at, "expected \"]\"");
    if (reader->text[start] == '0' && reader->at > start + 1)
        return fault(reader, start, "index has a leading zero");
    *step = (struct mst_path_step){reader->text + start, (uint32_t)(reader->at - start), (int32_t)index};
    reader->at++;
    return 0;
}

int mst_path_parse(struct mst_path *path, const char *text, size_t length, struct mst_error *error)
{
    struct reader reader = {text, length, 0, error};
    path->count = 0;
    if (length > UINT32_MAX)
        return fault(&reader, 0, "path is too long");
    size_t valid = mst_utf8_span(text, length);
    if (valid < length)
        return fault(&reader, valid, "invalid UTF-8");
    do {
        if (path->count == STEPS_MAX)
            return fault(&reader, reader.at, "path has more than 16 steps");
        struct mst_path_step *step = &path->steps[path->count];
        char next = reader.at < length ? text[reader.at] : '\0';
        int status;
        if (path->count > 0 && next == '[') {
            status = read_index(&reader, step);
        } else {
            if (path->count > 0 && next != '.')
                return fault_of_name(&reader, "expected \".\" or \"[\"");
            if (path->count > 0)
                next = ++reader.at < length ? text[reader.at] : '\0';
            status = next == '`' ? read_quoted(&reader, step) : read_bare(&reader, step);
        }
        if (status < 0)
            return status;
        path->count++;
    } while (reader.at < length);
    return 0;
}
