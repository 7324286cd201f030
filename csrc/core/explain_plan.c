// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "core/explain.h"

#define STEPS_MORE 16u /* that are not clauses of their own */

int mst__plan_report_init(struct mst__plan_report *report, struct mst__call *call, struct mst__query *query,
                          bool analyze)
{
    uint32_t capacity = STEPS_MORE, rows = 0;
    *report = (struct mst__plan_report){0};
    if (query->filter)
        capacity += mst_program_leaf_count(query->filter->program);
    report->steps = calloc(capacity, sizeof *report->steps);
    report->only_missing = calloc(capacity, sizeof *report->only_missing);
    if (!report->steps || !report->only_missing)
        return MST_ENOMEM;
    int code = mst_match_explain(call->space->view, query->bound, analyze, report->steps, capacity, &report->count,
                                 &rows, &call->error);
    if (report->count > capacity)
        report->count = capacity;
    return code;
}

void mst__plan_report_deinit(struct mst__plan_report *report)
{
    free(report->steps);
    free(report->only_missing);
}

/* Presence is what a clause with exists is about, so there a missing field is no accident. */
static bool may_miss(const struct mst_step *step)
{
    static const char exists[] = "exists(";
    bool about_presence = step->text_length >= sizeof exists - 1 && memcmp(step->text, exists, sizeof exists - 1) == 0;
    return step->negated && step->leaf != UINT32_MAX && step->path_length > 0 && step->missing > 0 && !about_presence;
}

/* Marks in `marks`, a bit per row, the rows of the set that have nothing at the step's path; counts them. */
static int mark_missing(struct mst_view *view, const struct mst_step *step, const struct mst_rowset *set,
                        uint64_t *marks, uint64_t *count)
{
    struct mst_path path;
    struct mst_row_scratch scratch = {0};
    struct mst_error error;
    if (mst_path_parse(&path, step->path, step->path_length, &error) < 0)
        return 0; /* a built-in */
    const struct mst_column *column = mst_view_column(view, &path);
    for (uint32_t row = mst_rowset_next(set, 0); row != MST_ROW_NONE; row = mst_rowset_next(set, row + 1)) {
        if (mst_row_value(view, column, &path, row, &scratch))
            continue;
        marks[row / 64] |= UINT64_C(1) << row % 64;
        ++*count;
    }
    int status = scratch.document.failed || scratch.finals.failed ? MST_ENOMEM : 0;
    mst_row_scratch_deinit(&scratch);
    return status;
}

int mst__plan_report_count_missing(struct mst__plan_report *report, struct mst__call *call,
                                   const struct mst_rowset *set)
{
    struct mst_view *view = call->space->view;
    uint32_t words = mst_view_row_limit(view) / 64 + 1;
    uint64_t *marks = NULL;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < report->count; i++) {
        if (!may_miss(&report->steps[i]))
            continue;
        if (!marks && !(marks = calloc(words, sizeof *marks)))
            return MST_ENOMEM;
        status = mark_missing(view, &report->steps[i], set, marks, &report->only_missing[i]);
    }
    for (uint32_t i = 0; marks && i < words; i++)
        report->any_missing += (uint64_t)__builtin_popcountll(marks[i]);
    free(marks);
    return status;
}

static void put_member(struct mst_buffer *out, const char *name, uint64_t number)
{
    MST__PUT(out, ",\"");
    mst_buffer_append_string(out, name);
    MST__PUT(out, "\":");
    mst_buffer_append_u64(out, number);
}

static void put_step(const struct mst_step *step, uint64_t only_missing, bool analyze, struct mst_buffer *out)
{
    MST__PUT(out, "{\"clause\":");
    mst_json_put_string(out, step->text, step->text_length);
    mst_buffer_append_string(out, step->negated ? ",\"negated\":true,\"path\":" : ",\"negated\":false,\"path\":");
    if (step->path_length)
        mst_json_put_string(out, step->path, step->path_length);
    else
        MST__PUT(out, "null");
    mst_buffer_appendf(out, ",\"encoding\":\"%s\",\"kernel\":\"%s\"", step->encoding, step->kernel);
    put_member(out, "values", step->values);
    put_member(out, "missing", step->missing);
    put_member(out, "only_missing", only_missing);
    if (analyze) {
        put_member(out, "tested", step->tested);
        put_member(out, "rows_in", step->rows_in);
        put_member(out, "rows_out", step->rows_out);
        put_member(out, "rows_verified", step->rows_verified);
        put_member(out, "ns", step->ns);
    }
    mst_buffer_append_byte(out, '}');
}

void mst__plan_report_put(const struct mst__plan_report *report, bool analyze, struct mst_buffer *out)
{
    put_member(out, "only_missing", report->any_missing);
    mst_buffer_appendf(out, ",\"instructions\":\"%s\",\"plan\":[", mst_match_instructions());
    for (uint32_t i = 0; i < report->count; i++) {
        if (i)
            mst_buffer_append_byte(out, ',');
        put_step(&report->steps[i], report->only_missing[i], analyze, out);
    }
    mst_buffer_append_byte(out, ']');
}

/* Whether no identity has the field; the same field further on is told once. */
static bool is_unknown(const struct mst__plan_report *report, uint32_t at, uint32_t identities)
{
    const struct mst_step *step = &report->steps[at];
    if (!step->path_length || step->path[0] == '@' || step->missing < identities || identities == 0)
        return false;
    for (uint32_t i = 0; i < at; i++)
        if (report->steps[i].path_length == step->path_length &&
            memcmp(report->steps[i].path, step->path, step->path_length) == 0)
            return false;
    return true;
}

static void warn(const struct mst_step *step, const struct mst__field_names *names, struct mst_buffer *out)
{
    struct mst_buffer text = {0}, meant = {0};
    MST__PUT(&text, "no identity has `");
    mst_buffer_append(&text, step->path, step->path_length);
    MST__PUT(&text, "`");
    mst__field_names_suggest(names, (struct mst_span){step->path, step->path_length}, &meant);
    if (meant.length) {
        MST__PUT(&text, "; did you mean `");
        mst_buffer_append(&text, meant.data, meant.length);
        MST__PUT(&text, "`?");
    }
    if (!text.failed)
        mst_json_put_string(out, text.data, text.length);
    mst_buffer_deinit(&text);
    mst_buffer_deinit(&meant);
}

int mst__plan_report_warn(const struct mst__plan_report *report, struct mst__call *call, bool first)
{
    const struct mst_view *view = call->space->view;
    struct mst__field_names names = {0};
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < report->count; i++) {
        if (!is_unknown(report, i, mst_view_count(view)))
            continue;
        if (!names.known)
            status = mst__field_names_init(&names, view);
        if (status)
            break;
        if (!first)
            mst_buffer_append_byte(&call->answer, ',');
        first = false;
        warn(&report->steps[i], &names, &call->answer);
    }
    mst__field_names_deinit(&names);
    return status;
}
