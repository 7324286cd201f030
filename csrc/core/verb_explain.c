// SPDX-License-Identifier: Apache-2.0
#include "core/coordinator_internal.h"

enum { FILTER, PARAMS, ID, KEYS };

static const struct mst__key keys[KEYS] = {
    [FILTER] = {"filter", MST__T_STRING | MST__T(MST_OBJECT), 0},
    [PARAMS] = {"params", MST__T(MST_OBJECT), 0},
    [ID] = {"id", MST__T_STRING, 0},
};

static void put_clause(const struct mst_verdict *verdict, struct mst_buffer *out)
{
    MST__PUT(out, "{\"text\":");
    mst_json_put_string(out, verdict->text, verdict->text_length);
    if (verdict->holds)
        MST__PUT(out, ",\"holds\":true,\"negated\":");
    else
        MST__PUT(out, ",\"holds\":false,\"negated\":");
    mst_buffer_append_string(out, verdict->negated ? "true" : "false");
    if (verdict->value) {
        MST__PUT(out, ",\"value\":");
        mst_json_put_value(out, verdict->value);
    }
    mst_buffer_append_byte(out, '}');
}

static int put_clauses(struct mst__call *call, const struct mst__query *query, uint32_t row)
{
    struct mst_buffer *out = &call->answer, *document = &call->coordinator->document;
    struct mst_view *view = call->space->view;
    struct mst_identity identity;
    mst_buffer_clear(document);
    int code = mst_view_document(view, row, document);
    if (code)
        return code;
    mst_view_identity(view, row, &identity);
    uint32_t count = query->filter ? mst_program_leaf_count(query->filter->program) : 0;
    MST__PUT(out, ",\"clauses\":[");
    for (uint32_t leaf = 0; leaf < count; leaf++) {
        struct mst_verdict verdict;
        mst_bound_verdict(query->bound, leaf, &identity, (const uint8_t *)document->data, &verdict);
        if (leaf)
            mst_buffer_append_byte(out, ',');
        put_clause(&verdict, out);
    }
    mst_buffer_append_byte(out, ']');
    return 0;
}

static int explain(struct mst__call *call, struct mst__query *query)
{
    struct mst_view *view = call->space->view;
    struct mst_buffer *out = &call->answer;
    const uint8_t *values[KEYS];
    struct mst_rowset *set;
    uint32_t row = MST_ROW_NONE;
    int code = mst__body_read(call, keys, KEYS, values);
    if (code == 0)
        code = mst__query_init(query, call, values[FILTER], values[PARAMS]);
    if (code)
        return code;
    if (values[ID]) {
        struct mst_span id = mst__body_string(values[ID]);
        row = mst_view_find(view, id.data, id.length);
        if (row == MST_ROW_NONE)
            return mst_error_set(&call->error, MST_ENOTFOUND, "identity not found: %.*s", (int)id.length, id.data);
    }
    code = mst__query_match(query, call, &set);
    if (code)
        return code;
    const char *matches = row == MST_ROW_NONE ? "null" : mst_rowset_next(set, row) == row ? "true" : "false";
    mst_buffer_appendf(out, "{\"matches\":%s,\"total\":%u,\"identities\":%u", matches, set->count,
                       mst_view_count(view));
    if (row != MST_ROW_NONE)
        code = put_clauses(call, query, row);
    mst__put_tail(call, query);
    return code;
}

void mst__verb_explain(struct mst__call *call)
{
    struct mst__query query = {0};
    int code = explain(call, &query);
    mst__query_deinit(&query);
    mst__call_end(call, code);
}
