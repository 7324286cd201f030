// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "core/explain.h"

#define SAMPLE 2000u   /* identities whose fields are looked at */
#define NAMES 4096u    /* most fields */
#define NAME_SIZE 200u /* longer ones are left out */

static bool is_plain(const char *key, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)key[i];
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
        if (!letter && c != '_' && c < 0x80 && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return length > 0;
}

static int add_name(struct mst__field_names *names, const char *text, size_t length)
{
    if (names->count == NAMES || mst_map_get(names->known, text, length, NULL))
        return 0;
    if (names->count == names->capacity) {
        uint32_t capacity = names->capacity ? 2 * names->capacity : 64;
        char **texts = realloc(names->texts, capacity * sizeof *texts);
        if (!texts)
            return MST_ENOMEM;
        names->texts = texts;
        names->capacity = capacity;
    }
    char *copy = malloc(length + 1);
    if (!copy)
        return MST_ENOMEM;
    memcpy(copy, text, length);
    copy[length] = '\0';
    names->texts[names->count++] = copy;
    return mst_map_set(names->known, copy, length, 1);
}

/* `prefix` holds the path so far; a name in elements of a list is one level further, as in filters. */
static int walk(struct mst__field_names *names, const uint8_t *value, struct mst_buffer *prefix, bool in_list)
{
    const uint8_t *position = NULL, *element;
    const char *key;
    size_t length, before = prefix->length;
    int status = 0;
    if (mst_value_tag(value) == MST_ARRAY && !in_list)
        while (status == 0 && mst_value_next(value, &position, &element))
            status = walk(names, element, prefix, true);
    if (mst_value_tag(value) != MST_OBJECT)
        return status;
    while (status == 0 && mst_value_next_member(value, &position, &key, &length, &element)) {
        const char *quote = is_plain(key, length) ? "" : "`";
        prefix->length = before;
        if (before)
            mst_buffer_append_byte(prefix, '.');
        mst_buffer_append_string(prefix, quote);
        mst_buffer_append(prefix, key, length);
        mst_buffer_append_string(prefix, quote);
        if (prefix->length > NAME_SIZE)
            continue;
        status = add_name(names, prefix->data, prefix->length);
        if (status == 0)
            status = walk(names, element, prefix, false);
    }
    prefix->length = before;
    return status;
}

int mst__field_names_init(struct mst__field_names *names, const struct mst_view *view)
{
    struct mst_buffer document = {0}, prefix = {0};
    uint32_t limit = mst_view_row_limit(view), step = limit / SAMPLE + 1;
    *names = (struct mst__field_names){.known = mst_map_create()};
    int status = names->known ? 0 : MST_ENOMEM;
    for (uint32_t row = 0; status == 0 && row < limit; row += step) {
        if (!mst_view_alive(view, row))
            continue;
        mst_buffer_clear(&document);
        mst_buffer_clear(&prefix);
        status = mst_view_document(view, row, &document);
        if (status == 0)
            status = walk(names, (const uint8_t *)document.data, &prefix, false);
    }
    mst_buffer_deinit(&document);
    mst_buffer_deinit(&prefix);
    return status;
}

void mst__field_names_deinit(struct mst__field_names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        free(names->texts[i]);
    free(names->texts);
    if (names->known)
        mst_map_destroy(names->known);
}

static struct mst_span last_name(const char *text, size_t length)
{
    size_t at = length;
    bool quoted = false;
    while (at > 0 && (quoted || text[at - 1] != '.'))
        quoted ^= text[--at] == '`';
    return (struct mst_span){text + at, length - at};
}

/* A field somewhere else with this very name: for "load" it may be "metrics.load". */
static const char *same_name(const struct mst__field_names *names, struct mst_span path)
{
    struct mst_span wanted = last_name(path.data, path.length);
    for (uint32_t i = 0; i < names->count; i++) {
        struct mst_span name = last_name(names->texts[i], strlen(names->texts[i]));
        if (name.length == wanted.length && memcmp(name.data, wanted.data, name.length) == 0)
            return names->texts[i];
    }
    return NULL;
}

/* A field in the same object whose name is nearly this. */
static const char *near_name(const struct mst__field_names *names, struct mst_span path)
{
    struct mst_span wanted = last_name(path.data, path.length);
    size_t parent = path.length - wanted.length;
    const char **beside = malloc((names->count + 1) * sizeof *beside);
    uint32_t count = 0;
    if (!beside)
        return NULL;
    for (uint32_t i = 0; i < names->count; i++) {
        const char *text = names->texts[i];
        size_t length = strlen(text);
        if (length > parent && memcmp(text, path.data, parent) == 0 && last_name(text, length).data == text + parent)
            beside[count++] = text + parent;
    }
    const char *best = mst__suggest(wanted.data, wanted.length, beside, sizeof *beside, count);
    free(beside);
    return best ? best - parent : NULL;
}

void mst__field_names_suggest(const struct mst__field_names *names, struct mst_span path, struct mst_buffer *out)
{
    const char *best = near_name(names, path);
    if (!best)
        best = same_name(names, path);
    if (!best)
        best = mst__suggest(path.data, path.length, names->texts, sizeof *names->texts, names->count);
    if (best)
        mst_buffer_append_string(out, best);
}
