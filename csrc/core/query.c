// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <string.h>

#include "core/coordinator_internal.h"

#define FILL_SHARE                                                                                                   \
    4u /* of a set that is at least so large a part, a column is waited for; of a smaller one the documents are read \
        */

static bool is_blank(struct mst_span text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!isspace((unsigned char)text.data[i]))
            return false;
    return true;
}

int mst__query_compile(struct mst__query *query, struct mst__call *call, const uint8_t *filter)
{
    struct mst_coordinator *coordinator = call->coordinator;
    *query = (struct mst__query){0};
    if (!filter)
        return 0;
    query->json = mst_value_tag(filter) == MST_OBJECT;
    if (query->json)
        mst_json_member(call->body.data, call->body.length, "filter", &query->source);
    else
        query->source = mst__body_string(filter);
    if (query->json ? mst_value_count(filter) == 0 : is_blank(query->source))
        return 0;
    return mst__filter_get(&coordinator->filters, &coordinator->compiler, query->source, query->json, &query->filter,
                           &call->error);
}

int mst__query_init(struct mst__query *query, struct mst__call *call, const uint8_t *filter, const uint8_t *params)
{
    int code = mst__query_compile(query, call, filter);
    if (code || !query->filter)
        return code;
    return mst_bound_create(&query->bound, query->filter->program, params, call->now_ms, call->namespace_,
                            &call->error);
}

void mst__query_deinit(struct mst__query *query)
{
    if (query->bound)
        mst_bound_destroy(query->bound);
    query->bound = NULL;
}

/* Whether somebody fills columns, so that it can be waited for. */
static bool is_filling(struct mst__space *space)
{
    mst__space_fill(space);
    return space->filling.slot != 0;
}

int mst__query_fill(struct mst__call *call, const struct mst_path *path, const struct mst_rowset *set)
{
    struct mst_view *view = call->space->view;
    const struct mst_column *column = mst_view_column(view, path);
    bool needed = column && mst_column_filling(column) && set->count >= mst_view_count(view) / FILL_SHARE;
    return needed && is_filling(call->space) ? MST__CALL_WAITS : 0;
}

/* Reading the documents of a large namespace is not for one turn of the loop: the call waits for the columns. */
static bool must_wait(const struct mst__query *query, struct mst__call *call)
{
    return mst_match_unfilled(call->space->view, query->bound) && is_filling(call->space);
}

int mst__query_count(struct mst__query *query, struct mst__call *call, uint32_t *count)
{
    if (must_wait(query, call))
        return MST__CALL_WAITS;
    return mst_match_count(call->space->view, query->bound, count, &call->error);
}

int mst__query_exists(struct mst__query *query, struct mst__call *call, bool *exists)
{
    if (must_wait(query, call))
        return MST__CALL_WAITS;
    return mst_match_exists(call->space->view, query->bound, exists, &call->error);
}

int mst__query_match(struct mst__query *query, struct mst__call *call, struct mst_rowset **set)
{
    return must_wait(query, call) ? MST__CALL_WAITS : mst__query_match_now(query, call, set);
}

int mst__query_match_now(struct mst__query *query, struct mst__call *call, struct mst_rowset **set)
{
    *set = &call->coordinator->matched;
    int code = mst_match(call->space->view, query->bound, *set, &call->error);
    mst__space_fill(call->space);
    return code;
}

int mst__need_revision(struct mst__call *call, uint64_t wanted)
{
    uint64_t revision = mst__space_revision(call->space);
    if (wanted <= revision)
        return 0;
    return mst_error_set(&call->error, MST_EREVISION, "namespace %s is at revision %llu here, not yet at %llu",
                         call->namespace_, (unsigned long long)revision, (unsigned long long)wanted);
}

bool mst__query_is_open(struct mst__query *query)
{
    if (!query->filter)
        return true;
    /* A comment, or a condition that compiles to nothing but "true". */
    const struct mst_identity nobody = {.id = {"", 0}};
    return mst_program_leaf_count(query->filter->program) == 0 &&
           mst_bound_match(query->bound, &nobody, mst__empty_object);
}

void mst__query_put_warnings(const struct mst__query *query, struct mst_buffer *out)
{
    if (query->filter)
        mst_buffer_append(out, query->filter->warnings, query->filter->warnings_length);
    else
        MST__PUT(out, "[]");
}

void mst__put_tail(struct mst__call *call, const struct mst__query *query)
{
    struct mst_buffer *out = &call->answer;
    MST__PUT(out, ",\"revision\":");
    mst_buffer_append_u64(out, mst__space_revision(call->space));
    MST__PUT(out, ",\"warnings\":");
    mst__query_put_warnings(query, out);
    mst_buffer_append_byte(out, '}');
}
