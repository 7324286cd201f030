// SPDX-License-Identifier: Apache-2.0
#include "core/explain.h"

/* Explain: what a filter means here, how it is answered, and why one identity matches or not. */

enum { FILTER, PARAMS, ID, ANALYZE, KEYS };

static const struct mst__key keys[KEYS] = {
    [FILTER] = {"filter", MST__T_STRING | MST__T(MST_OBJECT), 0},
    [PARAMS] = {"params", MST__T(MST_OBJECT), 0},
    [ID] = {"id", MST__T_STRING, 0},
    [ANALYZE] = {"analyze", MST__T_BOOL, 0},
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

static void put_revision(struct mst__call *call)
{
    MST__PUT(&call->answer, ",\"revision\":");
    mst_buffer_append_u64(&call->answer, mst__space_revision(call->space));
}

/* The warnings of the compiler, and those that only the data can give. */
static int put_warnings(struct mst__call *call, const struct mst__query *query, const struct mst__plan_report *report)
{
    struct mst_buffer *out = &call->answer;
    MST__PUT(out, ",\"warnings\":");
    mst__query_put_warnings(query, out);
    if (out->failed)
        return MST_ENOMEM;
    out->length--; /* the closing bracket */
    int code = mst__plan_report_warn(report, call, out->data[out->length - 1] == '[');
    MST__PUT(out, "]}");
    return code;
}

struct explanation {
    struct mst__query query;
    struct mst__plan_report report;
    uint32_t row; /* of the identity asked for, or MST_ROW_NONE */
    bool analyze;
};

static int read_request(struct mst__call *call, struct explanation *e)
{
    const uint8_t *values[KEYS];
    int code = mst__body_read(call, keys, KEYS, values);
    if (code == 0)
        code = mst__query_init(&e->query, call, values[FILTER], values[PARAMS]);
    if (code)
        return code;
    e->analyze = mst__body_bool(values[ANALYZE], false);
    if (!values[ID])
        return 0;
    struct mst_span id = mst__body_string(values[ID]);
    e->row = mst_view_find(call->space->view, id.data, id.length);
    if (e->row != MST_ROW_NONE)
        return 0;
    return mst_error_set(&call->error, MST_ENOTFOUND, "identity not found: %.*s", (int)id.length, id.data);
}

static int explain(struct mst__call *call, struct explanation *e)
{
    struct mst_buffer *out = &call->answer;
    struct mst_rowset *set;
    int code = read_request(call, e);
    if (code == 0)
        code = mst__plan_report_init(&e->report, call, &e->query, e->analyze);
    if (code == 0)
        code = mst__query_match_now(&e->query, call, &set);
    if (code == 0)
        code = mst__plan_report_count_missing(&e->report, call, set);
    if (code)
        return code;
    const char *matches = e->row == MST_ROW_NONE ? "null" : mst_rowset_next(set, e->row) == e->row ? "true" : "false";
    mst_buffer_appendf(out, "{\"matches\":%s,\"total\":%u,\"identities\":%u", matches, set->count,
                       mst_view_count(call->space->view));
    if (e->row != MST_ROW_NONE)
        code = put_clauses(call, &e->query, e->row);
    mst__plan_report_put(&e->report, e->analyze, out);
    put_revision(call);
    return code ? code : put_warnings(call, &e->query, &e->report);
}

void mst__verb_explain(struct mst__call *call)
{
    struct explanation e = {.row = MST_ROW_NONE};
    int code = explain(call, &e);
    mst__plan_report_deinit(&e.report);
    mst__query_deinit(&e.query);
    mst__call_end(call, code);
}
