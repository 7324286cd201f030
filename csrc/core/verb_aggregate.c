// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "core/aggregate.h"
#include "core/coordinator_internal.h"

/* Aggregate: how many match, and figures over them, by group. */

#define GROUPS_DEFAULT 1000u
#define GROUPS_LIMIT_MAX 10000u
#define COMPUTE_MAX 16u
#define NAME_MAX_BYTES 64u

enum { FILTER, PARAMS, GROUP_BY, COMPUTE, ORDER, LIMIT, MIN_REVISION, KEYS };

static const struct mst__key keys[KEYS] = {
    [FILTER] = {"filter", MST__T_STRING | MST__T(MST_OBJECT), 0},
    [PARAMS] = {"params", MST__T(MST_OBJECT), 0},
    [GROUP_BY] = {"group_by", MST__T_STRING | MST__T(MST_ARRAY), 0},
    [COMPUTE] = {"compute", MST__T(MST_OBJECT), 0},
    [ORDER] = {"order", MST__T_STRING, 0},
    [LIMIT] = {"limit", MST__T_NUMBER, 0},
    [MIN_REVISION] = {"min_revision", MST__T_NUMBER, 0},
};

struct compute {
    struct mst_span name, path;
    enum mst__figure figure;
    struct mst__percent percent;
    uint32_t source; /* index in `sources` and `figures` */
};

struct source {
    struct mst_path path;
    bool sampled; /* percentiles are asked for */
};

struct aggregation {
    struct mst_path paths[MST__GROUP_PATHS_MAX];
    uint32_t path_count;
    struct compute computes[COMPUTE_MAX];
    uint32_t compute_count;
    uint64_t limit;
    unsigned by_key;
    struct source sources[COMPUTE_MAX];
    uint32_t source_count;
    struct mst__groups groups;
    struct mst__figures figures[COMPUTE_MAX];
    uint32_t figure_count; /* 0 until they are opened, then `source_count` */
    size_t sample_budget;
    uint32_t *order; /* owned; groups as they are listed */
};

static int add_path(struct aggregation *a, struct mst_span text, struct mst_error *error)
{
    if (a->path_count == MST__GROUP_PATHS_MAX)
        return mst_error_set(error, MST_ETOOBIG, "key \"group_by\": at most %u paths are allowed",
                             MST__GROUP_PATHS_MAX);
    return mst__path_read("group_by", text, 0, &a->paths[a->path_count++], error);
}

static int read_group_by(struct aggregation *a, const uint8_t *value, struct mst_error *error)
{
    const uint8_t *position = NULL, *element;
    if (!value)
        return 0;
    if (mst_value_tag(value) == MST_STRING)
        return add_path(a, mst__body_string(value), error);
    while (mst_value_next(value, &position, &element)) {
        if (mst_value_tag(element) != MST_STRING)
            return mst_error_set(error, MST_EINVAL, "key \"group_by\": expected strings");
        int code = add_path(a, mst__body_string(element), error);
        if (code)
            return code;
    }
    return 0;
}

static bool is_text(struct mst_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.data, text, span.length) == 0;
}

static const char *const figure_names[] = {"count", "sum", "avg", "min", "max", "p50", "p90", "p99", NULL};

static bool read_figure(struct mst_span text, struct compute *compute)
{
    for (unsigned i = MST__COUNT; i < MST__PERCENTILE; i++) {
        if (is_text(text, figure_names[i])) {
            compute->figure = (enum mst__figure)i;
            return true;
        }
    }
    compute->figure = MST__PERCENTILE;
    return text.length > 0 && text.data[0] == 'p' &&
           mst__percent_read((struct mst_span){text.data + 1, text.length - 1}, &compute->percent);
}

/* Cuts "avg(load)" or "avg:load" in two. */
static bool split_compute(struct mst_span text, struct mst_span *function, struct mst_span *path)
{
    size_t at = 0;
    while (at < text.length && text.data[at] != '(' && text.data[at] != ':')
        at++;
    if (at == text.length)
        return false;
    bool parenthesis = text.data[at] == '(';
    if (parenthesis && text.data[text.length - 1] != ')')
        return false;
    *function = (struct mst_span){text.data, at};
    *path = (struct mst_span){text.data + at + 1, text.length - at - 1 - parenthesis};
    return true;
}

static int refuse_figure(struct mst_span name, struct mst_span text, struct mst_span function, struct mst_error *error)
{
    mst_error_set(error, MST_EINVAL, "key \"compute\": \"%.*s\": \"%.*s\" is no figure", (int)name.length, name.data,
                  (int)(text.length > 64 ? 64 : text.length), text.data);
    const char *near = mst__suggest(function.data, function.length, figure_names, sizeof *figure_names,
                                    sizeof figure_names / sizeof *figure_names - 1);
    if (near)
        mst_error_hint(error, "did you mean \"%s\"?", near);
    else
        mst_error_hint(error, "write \"avg(path)\"; count, sum, avg, min, max, p50, p90, p99 and other percentiles");
    return MST_EINVAL;
}

static int add_compute(struct aggregation *a, struct mst_span name, const uint8_t *value, struct mst_error *error)
{
    if (a->compute_count == COMPUTE_MAX)
        return mst_error_set(error, MST_ETOOBIG, "key \"compute\": at most %u figures are allowed", COMPUTE_MAX);
    if (name.length == 0 || name.length > NAME_MAX_BYTES || is_text(name, "key") || is_text(name, "count"))
        return mst_error_set(error, MST_EINVAL, "key \"compute\": \"%.*s\" cannot be the name of a figure",
                             (int)(name.length > NAME_MAX_BYTES ? NAME_MAX_BYTES : name.length), name.data);
    if (mst_value_tag(value) != MST_STRING)
        return mst_error_set(error, MST_EINVAL, "key \"compute\": \"%.*s\": expected a string", (int)name.length,
                             name.data);
    struct compute *compute = &a->computes[a->compute_count++];
    struct mst_span text = mst__body_string(value), function = text;
    *compute = (struct compute){.name = name};
    if (!split_compute(text, &function, &compute->path) || !read_figure(function, compute))
        return refuse_figure(name, text, function, error);
    for (uint32_t i = 0; i + 1 < a->compute_count; i++) {
        const struct compute *other = &a->computes[i];
        if (other->path.length == compute->path.length &&
            memcmp(other->path.data, compute->path.data, compute->path.length) == 0) {
            compute->source = other->source;
            a->sources[other->source].sampled |= compute->figure == MST__PERCENTILE;
            return 0;
        }
    }
    compute->source = a->source_count++;
    a->sources[compute->source].sampled = compute->figure == MST__PERCENTILE;
    return mst__path_read("compute", compute->path, 0, &a->sources[compute->source].path, error);
}

static int read_compute(struct aggregation *a, const uint8_t *value, struct mst_error *error)
{
    const uint8_t *position = NULL, *element;
    struct mst_span name;
    while (value && mst_value_next_member(value, &position, &name.data, &name.length, &element)) {
        int code = add_compute(a, name, element, error);
        if (code)
            return code;
    }
    return 0;
}

static int read_request(struct mst__call *call, struct aggregation *a, struct mst__query *query)
{
    static const char *const orders[] = {"count", "key", NULL};
    const uint8_t *values[KEYS];
    struct mst_error *error = &call->error;
    uint64_t min_revision = 0;
    int code = mst__body_read(call, keys, KEYS, values);
    if (code == 0)
        code = mst__body_choice(values[ORDER], "order", orders, &a->by_key, error);
    if (code == 0)
        code = mst__body_integer(values[LIMIT], "limit", 1, GROUPS_LIMIT_MAX, &a->limit, error);
    if (code == 0)
        code = mst__body_integer(values[MIN_REVISION], "min_revision", 0, INT64_MAX, &min_revision, error);
    if (code == 0)
        code = mst__need_revision(call, min_revision);
    if (code == 0)
        code = read_group_by(a, values[GROUP_BY], error);
    if (code == 0)
        code = read_compute(a, values[COMPUTE], error);
    return code ? code : mst__query_init(query, call, values[FILTER], values[PARAMS]);
}

/* Makes the columns, so only once the whole request is known to be good: a view has room for a limited number. */
static int open_columns(struct mst__call *call, struct aggregation *a, const struct mst_rowset *set)
{
    struct mst_view *view = call->space->view;
    bool wait = false;
    for (uint32_t i = 0; i < a->path_count; i++)
        wait = mst__query_fill(call, &a->paths[i], set) || wait;
    for (uint32_t i = 0; i < a->source_count; i++)
        wait = mst__query_fill(call, &a->sources[i].path, set) || wait;
    if (wait)
        return MST__CALL_WAITS;
    a->sample_budget = MST__SAMPLES_MAX;
    for (uint32_t i = 0; i < a->source_count; i++) {
        const struct source *source = &a->sources[i];
        mst__figures_init(&a->figures[i], view, &source->path, source->sampled ? &a->sample_budget : NULL);
    }
    a->figure_count = a->source_count;
    mst__space_fill(call->space);
    return mst__groups_init(&a->groups, view, a->paths, a->path_count);
}

static int add_rows(struct aggregation *a, const struct mst_rowset *set, struct mst_error *error)
{
    for (uint32_t row = mst_rowset_next(set, 0); row != MST_ROW_NONE; row = mst_rowset_next(set, row + 1)) {
        uint32_t group = 0;
        int code = mst__groups_add(&a->groups, row, &group, error);
        for (uint32_t i = 0; code == 0 && i < a->figure_count; i++)
            code = mst__figures_add(&a->figures[i], group, row, error);
        if (code)
            return code;
    }
    return 0;
}

static int by_place(const void *left, const void *right, void *context)
{
    const struct aggregation *a = context;
    const uint32_t x = *(const uint32_t *)left, y = *(const uint32_t *)right;
    const uint32_t *rows = a->groups.rows;
    if (!a->by_key && rows[x] != rows[y])
        return rows[x] < rows[y] ? 1 : -1;
    return mst__groups_compare(&a->groups, x, y);
}

static int put_group(struct mst__call *call, struct aggregation *a, uint32_t group)
{
    struct mst_buffer *out = &call->answer;
    MST__PUT(out, "{\"key\":[");
    for (uint32_t i = 0; i < a->path_count; i++) {
        const uint8_t *value = mst__group_value(&a->groups, group, i);
        if (i)
            mst_buffer_append_byte(out, ',');
        if (value)
            mst_json_put_value(out, value);
        else
            MST__PUT(out, "null");
    }
    MST__PUT(out, "],\"count\":");
    mst_buffer_append_u64(out, a->groups.rows[group]);
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < a->compute_count; i++) {
        const struct compute *compute = &a->computes[i];
        mst_buffer_append_byte(out, ',');
        mst_json_put_string(out, compute->name.data, compute->name.length);
        mst_buffer_append_byte(out, ':');
        code = mst__figures_put(&a->figures[compute->source], group, compute->figure, compute->percent, out);
    }
    mst_buffer_append_byte(out, '}');
    if (code == 0 && out->length > MST__ANSWER_MAX)
        code = mst_error_set(&call->error, MST_ETOOBIG, "the answer is larger than %u bytes", MST__ANSWER_MAX);
    return code;
}

static int put_groups(struct mst__call *call, struct aggregation *a)
{
    const uint32_t count = a->groups.count;
    a->order = malloc((count + 1) * sizeof *a->order);
    if (!a->order)
        return MST_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        a->order[i] = i;
    qsort_r(a->order, count, sizeof *a->order, by_place, a);
    MST__PUT(&call->answer, "{\"groups\":[");
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < count && i < a->limit; i++) {
        if (i)
            mst_buffer_append_byte(&call->answer, ',');
        code = put_group(call, a, a->order[i]);
    }
    return code;
}

static int run(struct mst__call *call, struct aggregation *a, struct mst__query *query)
{
    struct mst_rowset *set = NULL;
    int code = read_request(call, a, query);
    if (code == 0)
        code = mst__query_match(query, call, &set);
    if (code == 0)
        code = open_columns(call, a, set);
    if (code == 0)
        code = add_rows(a, set, &call->error);
    if (code == 0)
        code = put_groups(call, a);
    if (code)
        return code;
    MST__PUT(&call->answer, "],\"total_groups\":");
    mst_buffer_append_u64(&call->answer, a->groups.count);
    MST__PUT(&call->answer, ",\"total\":");
    mst_buffer_append_u64(&call->answer, set->count);
    mst__put_tail(call, query);
    return 0;
}

int mst__aggregate(struct mst__call *call, struct mst__query *query)
{
    struct aggregation *a = calloc(1, sizeof *a);
    if (!a)
        return mst_error_set(&call->error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    a->limit = GROUPS_DEFAULT;
    int code = run(call, a, query);
    mst__groups_deinit(&a->groups);
    for (uint32_t i = 0; i < a->figure_count; i++)
        mst__figures_deinit(&a->figures[i]);
    free(a->order);
    free(a);
    return code;
}

void mst__verb_aggregate(struct mst__call *call)
{
    struct mst__query query = {0};
    int code = mst__aggregate(call, &query);
    mst__query_deinit(&query);
    mst__call_end(call, code);
}
