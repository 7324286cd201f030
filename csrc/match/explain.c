// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "match/eval.h"

/* ------------------------------------------------------------------------------------------------ paths */

static bool is_plain(const struct mst_path_step *step)
{
    static const char *const reserved[] = {"and", "or", "not", "in", "is", "between", "like", "null", "true", "false"};
    if (step->length == 0 || isdigit((unsigned char)step->name[0]))
        return false;
    for (uint32_t i = 0; i < step->length; i++)
        if ((unsigned char)step->name[i] < 0x80 && !isalnum((unsigned char)step->name[i]) && step->name[i] != '_')
            return false;
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strlen(reserved[i]) == step->length && strncasecmp(reserved[i], step->name, step->length) == 0)
            return false;
    return true;
}

/* As filters write it; names that need no quotes may get them. */
static void put_path(const struct mst_path *path, struct mst_buffer *out)
{
    if (path->count == 0 || path->steps[0].index >= 0)
        mst_buffer_append_string(out, "it");
    for (uint32_t i = 0; i < path->count; i++) {
        const struct mst_path_step *step = &path->steps[i];
        if (step->index >= 0) {
            mst_buffer_append_byte(out, '[');
            mst_buffer_append(out, step->name, step->length);
            mst_buffer_append_byte(out, ']');
            continue;
        }
        if (i > 0 && memchr(step->name, '`', step->length)) {
            mst_buffer_append_byte(out, '[');
            mst_json_put_string(out, step->name, step->length);
            mst_buffer_append_byte(out, ']');
            continue;
        }
        if (i > 0)
            mst_buffer_append_byte(out, '.');
        if (is_plain(step)) {
            mst_buffer_append(out, step->name, step->length);
        } else {
            mst_buffer_append_byte(out, '`');
            mst_buffer_append(out, step->name, step->length);
            mst_buffer_append_byte(out, '`');
        }
    }
}

/* Kept with the program, so that steps may borrow it. NULL: no memory. */
static const char *path_text(const struct mst_program *program, uint16_t number)
{
    static const char *const builtins[] = {"@id",  "@namespace", "@registered_at", "@updated_at", "@expires_at",
                                           "@ttl", "@age"};
    const struct mst__source *source = &program->sources[number];
    char **text = &program->cache->path_texts[number];
    struct mst_buffer out = {0};
    size_t length;
    if (source->builtin)
        return builtins[source->which];
    if (!*text) {
        put_path(&source->path, &out);
        mst_buffer_append_byte(&out, '\0');
        if (!out.failed)
            *text = mst_buffer_take(&out, &length);
        mst_buffer_deinit(&out);
    }
    return *text;
}

/* ------------------------------------------------------------------------------------------------ steps */

static const char *encoding_of(const struct mst__plan *plan)
{
    static const char *const dictionaries[] = {"dict8", "dict16", "dict32"};
    switch (plan->answer) {
    case MST__SKETCH:
        return "sketch8";
    case MST__LISTED:
        return "ids";
    case MST__DOCUMENTS:
        return "documents";
    default:
        break;
    }
    const struct mst_column *column = plan->columns[0];
    if (!column)
        return "none";
    if (plan->answer == MST__CODES && plan->bitset)
        return "bitset";
    if (mst_column_encoding(column) == MST_ENCODING_SKETCH)
        return "sketch8";
    return dictionaries[mst_column_width(column) / 2];
}

static const char *name_of_test(const struct mst__test *test)
{
    switch (test->kind) {
    case MST__TEST_NONE:
        return "never";
    case MST__TEST_ALL:
        return "always";
    case MST__TEST_EQUAL:
        return test->flip ? "except" : "equal";
    case MST__TEST_RANGE:
        return "range";
    default:
        return "member";
    }
}

static const char *kernel_of(const struct mst__plan *plan)
{
    switch (plan->answer) {
    case MST__CODES:
        return plan->sure < 0   ? "never"
               : plan->sure > 0 ? "always"
               : plan->bitset   ? "bitset"
                                : name_of_test(&plan->yes);
    case MST__SKETCH:
        /* Rows to look at, and nothing that is sure without. */
        return plan->yes.kind == MST__TEST_NONE && plan->maybe.kind != MST__TEST_NONE ? "rows"
                                                                                      : name_of_test(&plan->yes);
    case MST__LAZY:
        return "member";
    case MST__LISTED:
        return "lookup";
    case MST__ROWS:
        return "rows";
    default:
        return "documents";
    }
}

static uint32_t values_in(const struct mst_column *column)
{
    uint32_t count = 0;
    bool sketch = mst_column_encoding(column) == MST_ENCODING_SKETCH;
    for (uint32_t code = 1; code <= mst_column_codes(column); code++)
        count += sketch ? mst_column_rows(column, code) > 0 : mst_column_value(column, code) != NULL;
    return count;
}

static uint32_t number_of(const struct mst_program *program, uint16_t leaf)
{
    for (uint32_t i = 0; i < program->top_count; i++)
        if (program->top[i] == leaf)
            return i;
    return UINT32_MAX;
}

static int put_step(const struct mst__run *run, uint16_t node, struct mst_step *step)
{
    const struct mst_program *program = run->bound->program;
    uint16_t number = program->nodes[node].leaf;
    const struct mst__leaf *leaf = &program->leaves[number];
    const struct mst__plan *plan = &run->prepared->plans[number];
    const struct mst__trace *trace = &run->traces[node];
    *step = (struct mst_step){
        .leaf = number_of(program, number),
        .text = leaf->text.data,
        .text_length = leaf->text.length,
        .path = "",
        .encoding = encoding_of(plan),
        .kernel = kernel_of(plan),
        .tested = plan->tested,
        .rows_in = trace->rows_in,
        .rows_out = trace->rows_out,
        .rows_verified = trace->verified,
        .ns = trace->ns,
        .negated = program->cache->inverted[node],
    };
    if (leaf->left->kind == MST__PATH) {
        step->path = path_text(program, leaf->left->index);
        if (!step->path)
            return MST_ENOMEM;
        step->path_length = strlen(step->path);
    }
    const struct mst_column *column = plan->columns[0];
    if (column && plan->answer != MST__DOCUMENTS) {
        step->values = values_in(column);
        step->missing = mst_column_rows(column, 0);
    }
    return 0;
}

struct steps {
    struct mst_step *steps;
    uint32_t capacity, count;
};

/* As deep as the tree, which load has bounded. */
static int put_steps(const struct mst__run *run, uint16_t node, struct steps *out)
{
    const struct mst__node *here = &run->bound->program->nodes[node];
    int status = 0;
    if (here->kind == MST__LEAF) {
        if (out->count < out->capacity)
            status = put_step(run, node, &out->steps[out->count]);
        out->count++;
        return status;
    }
    if (here->kind != MST__AND && here->kind != MST__OR)
        return 0;
    for (uint16_t child = run->prepared->first[node]; status == 0 && child; child = run->prepared->next[child])
        status = put_steps(run, child, out);
    return status;
}

static void analyze_blocks(struct mst__run *run, uint32_t *rows)
{
    uint64_t out[MST__BLOCK_WORDS];
    const uint64_t *live = mst_view_live(run->view);
    uint32_t words = (mst_view_row_limit(run->view) + 63) / 64;
    for (uint32_t word = 0; run->status == 0 && word < words; word += MST__BLOCK_WORDS) {
        unsigned count = words - word < MST__BLOCK_WORDS ? words - word : MST__BLOCK_WORDS;
        if (mst__run_block(run, (struct mst__block){word * 64, count}, live + word, out))
            *rows += (uint32_t)run->kernels->popcount(out, count);
    }
}

int mst_match_explain(struct mst_view *view, struct mst_bound *bound, bool analyze, struct mst_step *steps,
                      uint32_t capacity, uint32_t *step_count, uint32_t *rows, struct mst_error *error)
{
    struct mst__run run;
    struct steps out = {steps, capacity, 0};
    *step_count = *rows = 0;
    if (!bound || bound->program->node_count == 0) {
        *rows = analyze ? mst_view_count(view) : 0;
        return 0;
    }
    struct mst__trace *traces = calloc(bound->program->node_count, sizeof *traces);
    int status = traces ? mst__run_open(&run, view, bound) : MST_ENOMEM;
    if (status == 0) {
        run.traces = traces;
        if (analyze)
            analyze_blocks(&run, rows);
        if (run.status == 0)
            run.status = put_steps(&run, run.root, &out);
        status = mst__run_close(&run);
    }
    free(traces);
    if (status < 0)
        return mst_error_set(error, status, "%s", mst_error_text(status));
    *step_count = out.count;
    return 0;
}
