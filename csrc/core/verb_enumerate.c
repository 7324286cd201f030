// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/utf8.h"
#include "core/coordinator_internal.h"

/* Get, enumerate and count: reading the view. */

#define LIMIT_DEFAULT 1000u
#define LIMIT_MAX 10000u
#define FIELDS_MAX 64u
#define ROOM_AHEAD (1u << 20) /* most that is made room for at once, before there is anything to put there */
#define PATH_SHOWN 100u
#define ROW_ROOM 256u /* a row's own text and numbers, written */

void mst__put_time(struct mst_buffer *out, int64_t ms)
{
    if (ms > 0)
        mst_buffer_append_u64(out, (uint64_t)ms);
    else
        MST__PUT(out, "null");
}

static int put_fields(struct mst__call *call, uint32_t row, const struct mst__projection *projection,
                      struct mst_buffer *out)
{
    struct mst_coordinator *coordinator = call->coordinator;
    mst_buffer_clear(&coordinator->document);
    int code = mst_view_document(call->space->view, row, &coordinator->document);
    if (code)
        return code;
    bool first = true;
    mst_buffer_append_byte(out, '{');
    for (uint32_t i = 0; i < projection->count; i++) {
        mst_buffer_clear(&coordinator->finals);
        const uint8_t *value =
            mst_path_find(&projection->paths[i], (const uint8_t *)coordinator->document.data, &coordinator->finals);
        if (!value)
            continue;
        if (!first)
            mst_buffer_append_byte(out, ',');
        first = false;
        mst_json_put_string(out, projection->names[i].data, projection->names[i].length);
        mst_buffer_append_byte(out, ':');
        mst_json_put_value(out, value);
    }
    mst_buffer_append_byte(out, '}');
    return coordinator->finals.failed ? MST_ENOMEM : 0;
}

#define WRITE(at, literal) ((char *)memcpy((at), "" literal, sizeof(literal) - 1) + sizeof(literal) - 1)

static char *write_time(char *at, int64_t ms)
{
    return ms > 0 ? mst_u64_write(at, (uint64_t)ms) : WRITE(at, "null");
}

/* What ends a row, written at once. Most identities were never updated: that time's text is there already. */
static void put_numbers(const struct mst_identity *identity, struct mst_buffer *out)
{
    if (!mst_buffer_reserve(out, ROW_ROOM))
        return;
    char *at = WRITE(out->data + out->length, ",\"revision\":");
    at = mst_u64_write(at, identity->revision);
    at = WRITE(at, ",\"registered_at\":");
    const char *registered = at;
    at = write_time(at, identity->registered_at);
    size_t length = (size_t)(at - registered);
    at = WRITE(at, ",\"updated_at\":");
    if (identity->updated_at == identity->registered_at)
        at = (char *)memmove(at, registered, MST_U64_ROOM) + length;
    else
        at = write_time(at, identity->updated_at);
    at = WRITE(at, ",\"expires_at\":");
    at = write_time(at, identity->expires_at);
    *at++ = '}';
    out->length = (size_t)(at - out->data);
}

int mst__put_row(struct mst__call *call, uint32_t row, const struct mst__projection *projection, struct mst_buffer *out)
{
    struct mst_identity identity;
    mst_view_identity(call->space->view, row, &identity);
    /* Once for most of what follows: growing is the rare way out of each append. */
    mst_buffer_reserve(out, identity.id.length + identity.metadata.length + ROW_ROOM);
    MST__PUT(out, "{\"id\":");
    mst_json_put_string(out, identity.id.data, identity.id.length);
    if (projection->metadata) {
        MST__PUT(out, ",\"metadata\":");
        int code = 0;
        if (projection->paths)
            code = put_fields(call, row, projection, out);
        else
            mst_buffer_append(out, identity.metadata.data, identity.metadata.length);
        if (code)
            return code;
    }
    if (identity.gateway.length) {
        MST__PUT(out, ",\"gateway\":");
        mst_json_put_string(out, identity.gateway.data, identity.gateway.length);
    } else {
        MST__PUT(out, ",\"gateway\":null");
    }
    put_numbers(&identity, out);
    return 0;
}

static int get(struct mst__call *call)
{
    struct mst_span id;
    int code = mst__body_id(call, &id);
    if (code)
        return code;
    uint32_t row = mst_view_find(call->space->view, id.data, id.length);
    if (row == MST_ROW_NONE)
        return mst_error_set(&call->error, MST_ENOTFOUND, "identity not found: %.*s", (int)id.length, id.data);
    const struct mst__projection everything = {.metadata = true};
    return mst__put_row(call, row, &everything, &call->answer);
}

void mst__verb_get(struct mst__call *call)
{
    mst__call_end(call, get(call));
}

static int count(struct mst__call *call, struct mst__query *query)
{
    enum { FILTER, PARAMS, KEYS };
    static const struct mst__key keys[KEYS] = {
        [FILTER] = {"filter", MST__T_STRING | MST__T(MST_OBJECT), 0},
        [PARAMS] = {"params", MST__T(MST_OBJECT), 0},
    };
    const uint8_t *values[KEYS];
    uint32_t number = 0;
    int code = mst__body_read(call, keys, KEYS, values);
    if (code == 0)
        code = mst__query_init(query, call, values[FILTER], values[PARAMS]);
    if (code == 0)
        code = mst__query_count(query, call, &number);
    if (code)
        return code;
    MST__PUT(&call->answer, "{\"count\":");
    mst_buffer_append_u64(&call->answer, number);
    mst__put_tail(call, query);
    return 0;
}

void mst__verb_count(struct mst__call *call)
{
    struct mst__query query = {0};
    int code = count(call, &query);
    mst__query_deinit(&query);
    mst__call_end(call, code);
}

enum {
    FILTER,
    PARAMS,
    LIMIT,
    CURSOR,
    SORT,
    FIELDS,
    INCLUDE_METADATA,
    MIN_REVISION,
    EXISTS,
    GROUP_BY,
    COMPUTE,
    ORDER,
    KEYS
};

static const struct mst__key keys[KEYS] = {
    [FILTER] = {"filter", MST__T_STRING | MST__T(MST_OBJECT), 0},
    [PARAMS] = {"params", MST__T(MST_OBJECT), 0},
    [LIMIT] = {"limit", MST__T_NUMBER, 0},
    [CURSOR] = {"cursor", MST__T_STRING, 0},
    [SORT] = {"sort", MST__T_STRING | MST__T(MST_ARRAY), 0},
    [FIELDS] = {"fields", MST__T(MST_ARRAY), 0},
    [INCLUDE_METADATA] = {"include_metadata", MST__T_BOOL, 0},
    [MIN_REVISION] = {"min_revision", MST__T_NUMBER, 0},
    [EXISTS] = {"exists", MST__T_BOOL, 0},
    /* With one of these it is a request of aggregate. */
    [GROUP_BY] = {"group_by", MST__T_STRING | MST__T(MST_ARRAY), 0},
    [COMPUTE] = {"compute", MST__T(MST_OBJECT), 0},
    [ORDER] = {"order", MST__T_STRING, 0},
};

enum answer { LIST, WHETHER, GROUPS };

struct enumeration {
    enum answer answer;
    struct mst__query query;
    struct mst__projection projection;
    uint64_t limit;
    uint64_t mark; /* of filter, parameters and namespace: a cursor is good for these only */
    uint32_t first_row;
    struct mst_sort_key sort[MST__SORT_KEYS_MAX];
    uint32_t sort_count;
    bool sorted, by_id;        /* by_id: "@id" is the last key, or the only one */
    uint32_t *rows;            /* sorted */
    struct mst__cursor cursor; /* of a sorted list */
};

/* Adds which path it is to an error of parsing it from byte `skipped` on; the place is one in `text`, which is cut. */
static int in_path(const char *key, struct mst_span text, size_t skipped, int code, struct mst_error *error)
{
    struct mst_error cause = *error;
    int shown = (int)mst_utf8_cut(text.data, text.length, PATH_SHOWN);
    mst_error_set(error, code, "key \"%s\": path \"%.*s\": %s", key, shown, text.data, cause.message);
    if (cause.hint[0])
        mst_error_hint(error, "%s", cause.hint);
    mst_error_at(error, text.data, text.length, cause.offset + skipped);
    return code;
}

int mst__path_read(const char *key, struct mst_span text, size_t skipped, struct mst_path *path,
                   struct mst_error *error)
{
    int code = mst_path_parse(path, text.data + skipped, text.length - skipped, error);
    return code ? in_path(key, text, skipped, code, error) : 0;
}

static int add_sort_key(struct enumeration *e, struct mst_span text, struct mst_error *error)
{
    while (text.length && text.data[0] == ' ')
        text = (struct mst_span){text.data + 1, text.length - 1};
    while (text.length && text.data[text.length - 1] == ' ')
        text.length--;
    if (e->by_id)
        return mst_error_set(error, MST_EINVAL, "key \"sort\": nothing can stand behind @id");
    e->sorted = true;
    if (text.length == 3 && memcmp(text.data, "@id", 3) == 0) {
        e->by_id = true;
        return 0;
    }
    if (e->sort_count == MST__SORT_KEYS_MAX)
        return mst_error_set(error, MST_ETOOBIG, "key \"sort\": at most %u fields are allowed", MST__SORT_KEYS_MAX);
    struct mst_sort_key *key = &e->sort[e->sort_count++];
    key->descending = text.length && text.data[0] == '-';
    return mst__path_read("sort", text, key->descending, &key->path, error);
}

/* Splits "region,-load" at the commas that are not inside back-quotes. */
static int read_sort_text(struct enumeration *e, struct mst_span text, struct mst_error *error)
{
    bool quoted = false;
    size_t start = 0;
    int code = 0;
    for (size_t i = 0; code == 0 && i <= text.length; i++) {
        if (i < text.length && text.data[i] == '`')
            quoted = !quoted;
        if (i < text.length && (quoted || text.data[i] != ','))
            continue;
        code = add_sort_key(e, (struct mst_span){text.data + start, i - start}, error);
        start = i + 1;
    }
    return code;
}

static int read_sort(struct enumeration *e, const uint8_t *value, struct mst_error *error)
{
    const uint8_t *position = NULL, *element;
    if (!value)
        return 0;
    if (mst_value_tag(value) == MST_STRING)
        return read_sort_text(e, mst__body_string(value), error);
    while (mst_value_next(value, &position, &element)) {
        if (mst_value_tag(element) != MST_STRING)
            return mst_error_set(error, MST_EINVAL, "key \"sort\": expected strings");
        int code = add_sort_key(e, mst__body_string(element), error);
        if (code)
            return code;
    }
    return 0;
}

static int read_fields(struct mst__projection *projection, const uint8_t *value, struct mst_error *error)
{
    uint32_t most = mst_value_count(value);
    if (most > FIELDS_MAX)
        return mst_error_set(error, MST_ETOOBIG, "key \"fields\": at most %u paths are allowed", FIELDS_MAX);
    projection->paths = malloc((most + 1) * sizeof *projection->paths);
    projection->names = malloc((most + 1) * sizeof *projection->names);
    if (!projection->paths || !projection->names)
        return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    const uint8_t *position = NULL, *element;
    while (mst_value_next(value, &position, &element)) {
        if (mst_value_tag(element) != MST_STRING)
            return mst_error_set(error, MST_EINVAL, "key \"fields\": expected strings");
        struct mst_span name = mst__body_string(element);
        int code = mst__path_read("fields", name, 0, &projection->paths[projection->count], error);
        if (code)
            return code;
        projection->names[projection->count++] = name;
    }
    return 0;
}

/* What a cursor belongs to. */
static uint64_t mark_of(struct mst__call *call, const struct mst__query *query)
{
    struct mst_span params = {"", 0};
    mst_json_member(call->body.data, call->body.length, "params", &params);
    uint64_t mark = XXH3_64bits_withSeed(query->source.data, query->source.length, query->json);
    mark = XXH3_64bits_withSeed(params.data, params.length, mark);
    return XXH3_64bits_withSeed(call->namespace_, strlen(call->namespace_), mark);
}

static int read_cursor(struct enumeration *e, const uint8_t *value, struct mst_error *error)
{
    if (!value)
        return 0;
    struct mst_span text = mst__body_string(value);
    if (e->sorted)
        return mst__cursor_read(&e->cursor, text, e->sort_count, e->mark, error);
    char copy[40] = "", again[40];
    unsigned row = 0;
    unsigned long long mark = 0;
    if (text.length < sizeof copy)
        memcpy(copy, text.data, text.length);
    /* Written again and compared, because scanf takes more than what was given out. */
    if (sscanf(copy, "%8x-%16llx", &row, &mark) == 2)
        snprintf(again, sizeof again, "%x-%016llx", row, mark);
    else
        again[0] = '\0';
    if (strlen(again) != text.length || text.length == 0 || memcmp(again, text.data, text.length) != 0)
        return mst_error_set(error, MST_EINVAL, "key \"cursor\": not a cursor that enumerate has given");
    e->first_row = row;
    if (mark == e->mark)
        return 0;
    mst_error_set(error, MST_EINVAL,
                  "key \"cursor\": belongs to another filter, parameters or namespace, or to another instance");
    mst_error_hint(error, "with \"sort\": [\"@id\"] any instance can go on with a list");
    return MST_EINVAL;
}

static int read_enumeration(struct mst__call *call, struct enumeration *e)
{
    const uint8_t *values[KEYS];
    struct mst_error *error = &call->error;
    uint64_t min_revision = 0;
    int code = mst__body_read(call, keys, KEYS, values);
    if (code)
        return code;
    if (values[GROUP_BY] || values[COMPUTE] || values[ORDER]) {
        e->answer = GROUPS;
        return 0;
    }
    if (mst__body_bool(values[EXISTS], false))
        e->answer = WHETHER;
    e->projection.metadata = mst__body_bool(values[INCLUDE_METADATA], true);
    if (values[FIELDS] && !e->projection.metadata)
        return mst_error_set(error, MST_EINVAL, "\"fields\" and \"include_metadata\": false exclude each other");
    code = mst__body_integer(values[LIMIT], "limit", 1, LIMIT_MAX, &e->limit, error);
    if (code == 0)
        code = mst__body_integer(values[MIN_REVISION], "min_revision", 0, INT64_MAX, &min_revision, error);
    if (code == 0)
        code = read_sort(e, values[SORT], error);
    if (code == 0 && values[FIELDS])
        code = read_fields(&e->projection, values[FIELDS], error);
    if (code == 0)
        code = mst__query_init(&e->query, call, values[FILTER], values[PARAMS]);
    if (code)
        return code;
    code = mst__need_revision(call, min_revision);
    if (code)
        return code;
    e->mark = mark_of(call, &e->query);
    if (e->sorted)
        e->mark = mst__sort_mark(e->sort, e->sort_count, e->mark);
    else /* rows have these numbers here only */
        e->mark = XXH3_64bits_withSeed(&call->space->generation, sizeof call->space->generation, e->mark);
    return read_cursor(e, values[CURSOR], error);
}

/* `most`: rows that may come, which are taken to be as long as the first. */
static int put_listed(struct mst__call *call, const struct enumeration *e, uint32_t row, bool first, uint64_t most)
{
    struct mst_buffer *out = &call->answer;
    size_t before = out->length;
    if (!first)
        mst_buffer_append_byte(out, ',');
    int code = mst__put_row(call, row, &e->projection, out);
    if (first && code == 0) {
        uint64_t room = most * (out->length - before + 8);
        mst_buffer_reserve(out, room < ROOM_AHEAD ? (size_t)room : ROOM_AHEAD);
    }
    if (code || out->length <= MST__ANSWER_MAX)
        return code;
    mst_error_set(&call->error, MST_ETOOBIG, "the answer is larger than %u bytes", MST__ANSWER_MAX);
    mst_error_hint(&call->error, "lower \"limit\", or ask for \"fields\"");
    return MST_ETOOBIG;
}

static int put_unsorted(struct mst__call *call, const struct enumeration *e, const struct mst_rowset *set,
                        uint32_t *next_row)
{
    struct mst_row_walk walk;
    int code = 0;
    mst_row_walk_init(&walk, call->space->view, set, e->first_row);
    uint32_t row = mst_row_walk_next(&walk);
    uint64_t most = e->limit < set->count ? e->limit : set->count;
    for (uint64_t i = 0; code == 0 && i < e->limit && row != MST_ROW_NONE; i++) {
        code = put_listed(call, e, row, i == 0, most);
        row = mst_row_walk_next(&walk);
    }
    *next_row = row;
    return code;
}

/* One row more than the page holds tells that there is another page. */
static int put_sorted(struct mst__call *call, struct enumeration *e, const struct mst_rowset *set, uint32_t *last_row)
{
    uint32_t limit = e->limit < set->count ? (uint32_t)e->limit : set->count, found = 0;
    e->rows = malloc((limit + 2) * sizeof *e->rows);
    if (!e->rows)
        return MST_ENOMEM;
    int code = 0;
    for (uint32_t i = 0; i < e->sort_count; i++)
        code = mst__query_fill(call, &e->sort[i].path, set) ? MST__CALL_WAITS : code;
    if (code)
        return code;
    code = mst_sort_after(call->space->view, set, e->sort, e->sort_count, e->cursor.given ? &e->cursor.place : NULL,
                          limit + 1, e->rows, &found);
    uint32_t listed = found < limit ? found : limit;
    for (uint32_t i = 0; code == 0 && i < listed; i++)
        code = put_listed(call, e, e->rows[i], i == 0, listed);
    *last_row = found > listed && listed ? e->rows[listed - 1] : MST_ROW_NONE;
    return code;
}

static void put_cursor(struct mst__call *call, const struct enumeration *e, uint32_t next_row)
{
    if (next_row == MST_ROW_NONE)
        MST__PUT(&call->answer, ",\"next_cursor\":null");
    else
        mst_buffer_appendf(&call->answer, ",\"next_cursor\":\"%x-%016llx\"", next_row, (unsigned long long)e->mark);
}

static int list(struct mst__call *call, struct enumeration *e)
{
    struct mst_buffer *out = &call->answer;
    struct mst_rowset *set;
    uint32_t next_row = MST_ROW_NONE, last_row = MST_ROW_NONE;
    int code = mst__query_match(&e->query, call, &set);
    if (code)
        return code;
    MST__PUT(out, "{\"identities\":[");
    code = e->sorted ? put_sorted(call, e, set, &last_row) : put_unsorted(call, e, set, &next_row);
    if (code)
        return code;
    MST__PUT(out, "],\"total\":");
    mst_buffer_append_u64(out, set->count);
    if (last_row != MST_ROW_NONE)
        code = mst__cursor_put(call, e->sort, e->sort_count, e->mark, last_row);
    else
        put_cursor(call, e, next_row);
    mst__put_tail(call, &e->query);
    return code;
}

static int tell_whether(struct mst__call *call, struct enumeration *e)
{
    bool exists = false;
    int code = mst__query_exists(&e->query, call, &exists);
    if (code)
        return code;
    mst_buffer_append_string(&call->answer, exists ? "{\"exists\":true" : "{\"exists\":false");
    mst__put_tail(call, &e->query);
    return 0;
}

static int enumerate(struct mst__call *call, struct enumeration *e)
{
    int code = read_enumeration(call, e);
    if (code)
        return code;
    if (e->answer == GROUPS)
        return mst__aggregate(call, &e->query);
    return e->answer == WHETHER ? tell_whether(call, e) : list(call, e);
}

void mst__verb_enumerate(struct mst__call *call)
{
    struct enumeration e;
    /* Not the whole of it: the sort keys are large and seldom used. */
    e.answer = LIST;
    e.query = (struct mst__query){0};
    e.projection = (struct mst__projection){0};
    e.limit = LIMIT_DEFAULT;
    e.first_row = 0;
    e.sort_count = 0;
    e.sorted = e.by_id = false;
    e.rows = NULL;
    e.cursor.given = false;
    e.cursor.packed = (struct mst_buffer){0};
    int code = enumerate(call, &e);
    mst__query_deinit(&e.query);
    free(e.projection.paths);
    free(e.projection.names);
    free(e.rows);
    mst__cursor_deinit(&e.cursor);
    mst__call_end(call, code);
}
