// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "match/kernel.h"
#include "match/match.h"
#include "match/plan.h"

#define BLOCK_WORDS 64u /* 4,096 rows: the masks of a block stay in the first cache */

struct run {
    struct mst_view *view;
    struct mst_bound *bound;
    struct mst__plan *plans; /* by leaf; made when the first row asks */
    const uint8_t **values;  /* by path of the program */
    struct mst_buffer document;
    int status;
};

/* One block: `words` words of rows from `row` on. */
struct block {
    uint32_t row;
    unsigned words;
};

static bool is_empty(const uint64_t *mask, unsigned words)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < words; i++)
        any |= mask[i];
    return any == 0;
}

static bool test_lazily(struct run *run, const struct mst__leaf *leaf, struct mst__plan *plan, uint32_t row)
{
    uint32_t code = mst_column_code(plan->columns[0], row);
    if (plan->table[code] == 0) {
        const uint8_t *value = mst_column_value(plan->columns[0], code);
        plan->table[code] = mst__plan_test(run->bound, leaf, run->values, value) ? 2 : 1;
    }
    return plan->table[code] == 2;
}

static bool test_row(struct run *run, const struct mst__leaf *leaf, const struct mst__plan *plan, uint32_t row)
{
    struct mst_identity identity;
    struct mst__scope scope = {.values = run->values};
    if (leaf->by_row) {
        mst_view_identity(run->view, row, &identity);
        scope.identity = &identity;
    }
    for (unsigned i = 0; i < leaf->path_count; i++)
        run->values[leaf->paths[i]] = mst_column_value(plan->columns[i], mst_column_code(plan->columns[i], row));
    return mst__leaf_holds(run->bound, leaf, &scope);
}

static bool test_document(struct run *run, const struct mst__leaf *leaf, uint32_t row)
{
    struct mst_identity identity;
    mst_view_identity(run->view, row, &identity);
    mst_buffer_clear(&run->document);
    int status = mst_view_document(run->view, row, &run->document);
    if (status < 0) {
        run->status = status;
        return false;
    }
    struct mst__scope scope = {.document = (const uint8_t *)run->document.data, .identity = &identity};
    return mst__leaf_holds(run->bound, leaf, &scope);
}

static void test_rows(struct run *run, const struct mst__leaf *leaf, struct mst__plan *plan, struct block block,
                      const uint64_t *mask, uint64_t *out)
{
    for (unsigned word = 0; word < block.words; word++) {
        uint64_t found = 0;
        for (uint64_t rest = mask[word]; rest; rest &= rest - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(rest);
            uint32_t row = block.row + word * 64 + bit;
            bool holds = plan->answer == MST__LAZY   ? test_lazily(run, leaf, plan, row)
                         : plan->answer == MST__ROWS ? test_row(run, leaf, plan, row)
                                                     : test_document(run, leaf, row);
            found |= (uint64_t)holds << bit;
        }
        out[word] = found;
    }
}

static void run_kernel(const struct mst__plan *plan, struct block block, const uint64_t *mask, uint64_t *out)
{
    unsigned width = mst_column_width(plan->columns[0]);
    const uint8_t *codes = (const uint8_t *)mst_column_data(plan->columns[0]) + (size_t)block.row * width;
    if (plan->answer == MST__MEMBER) {
        mst__kernel_member(codes, width, plan->table, mask, out, block.words);
        return;
    }
    mst__kernel_equal(codes, width, plan->code, mask, out, block.words);
    for (unsigned i = 0; plan->answer == MST__EXCEPT && i < block.words; i++)
        out[i] = mask[i] & ~out[i];
}

static void eval_leaf(struct run *run, const struct mst__leaf *leaf, struct block block, const uint64_t *mask,
                      uint64_t *out)
{
    struct mst__plan *plan = &run->plans[leaf - run->bound->program->leaves];
    memset(out, 0, block.words * sizeof *out);
    if (plan->answer == MST__UNPLANNED) {
        int status = mst__plan_make(plan, run->view, run->bound, leaf, run->values);
        if (status < 0) {
            run->status = status;
            return;
        }
    }
    switch (plan->answer) {
    case MST__NEVER:
    case MST__UNPLANNED:
        return;
    case MST__ALWAYS:
        memcpy(out, mask, block.words * sizeof *out);
        return;
    case MST__EQUAL:
    case MST__EXCEPT:
    case MST__MEMBER:
        run_kernel(plan, block, mask, out);
        return;
    case MST__LISTED:
        for (unsigned i = 0; i < block.words; i++)
            out[i] = mask[i] & plan->rows[block.row / 64 + i];
        return;
    default:
        test_rows(run, leaf, plan, block, mask, out);
    }
}

static void eval_node(struct run *run, uint32_t node, struct block block, const uint64_t *mask, uint64_t *out);

static void eval_and(struct run *run, uint32_t node, struct block block, const uint64_t *mask, uint64_t *out)
{
    const struct mst__node *nodes = run->bound->program->nodes;
    uint64_t left[BLOCK_WORDS];
    memcpy(left, mask, block.words * sizeof *left);
    for (uint32_t child = node + 1; child < nodes[node].end; child = nodes[child].end) {
        eval_node(run, child, block, left, out);
        if (is_empty(out, block.words))
            return;
        memcpy(left, out, block.words * sizeof *left);
    }
}

static void eval_or(struct run *run, uint32_t node, struct block block, const uint64_t *mask, uint64_t *out)
{
    const struct mst__node *nodes = run->bound->program->nodes;
    uint64_t left[BLOCK_WORDS], found[BLOCK_WORDS];
    memcpy(left, mask, block.words * sizeof *left);
    memset(out, 0, block.words * sizeof *out);
    for (uint32_t child = node + 1; child < nodes[node].end && !is_empty(left, block.words); child = nodes[child].end) {
        eval_node(run, child, block, left, found);
        for (unsigned i = 0; i < block.words; i++) {
            out[i] |= found[i];
            left[i] &= ~found[i];
        }
    }
}

/* out = the rows of `mask` for which the node holds. As deep as the tree, which load has bounded. */
static void eval_node(struct run *run, uint32_t node, struct block block, const uint64_t *mask, uint64_t *out)
{
    const struct mst_program *program = run->bound->program;
    const struct mst__node *here = &program->nodes[node];
    switch (here->kind) {
    case MST__LEAF:
        eval_leaf(run, &program->leaves[here->leaf], block, mask, out);
        return;
    case MST__AND:
        eval_and(run, node, block, mask, out);
        return;
    case MST__OR:
        eval_or(run, node, block, mask, out);
        return;
    case MST__NOT:
        eval_node(run, node + 1, block, mask, out);
        for (unsigned i = 0; i < block.words; i++)
            out[i] = mask[i] & ~out[i];
        return;
    default:
        for (unsigned i = 0; i < block.words; i++)
            out[i] = here->kind == MST__TRUE ? mask[i] : 0;
    }
}

static int prepare_set(struct mst_rowset *set, uint32_t words)
{
    if (words > set->capacity) {
        uint64_t *grown = realloc(set->words, words * sizeof *grown);
        if (!grown)
            return MST_ENOMEM;
        set->words = grown;
        set->capacity = words;
    }
    set->word_count = words;
    set->count = 0;
    return 0;
}

static void count_set(struct mst_rowset *set)
{
    for (uint32_t i = 0; i < set->word_count; i++)
        set->count += (uint32_t)__builtin_popcountll(set->words[i]);
}

static int open_run(struct run *run)
{
    const struct mst_program *program = run->bound->program;
    run->plans = calloc(program->leaf_count + 1u, sizeof *run->plans);
    run->values = calloc(program->source_count + 1u, sizeof(*run->values));
    run->bound->failed = false;
    return run->plans && run->values ? 0 : MST_ENOMEM;
}

static void close_run(struct run *run)
{
    for (unsigned i = 0; run->plans && i < run->bound->program->leaf_count; i++)
        mst__plan_deinit(&run->plans[i]);
    free(run->plans);
    free(run->values);
    mst_buffer_deinit(&run->document);
}

static int evaluate(struct mst_view *view, struct mst_bound *bound, struct mst_rowset *set)
{
    struct run run = {.view = view, .bound = bound};
    run.status = open_run(&run);
    for (uint32_t word = 0; run.status == 0 && word < set->word_count; word += BLOCK_WORDS) {
        unsigned words = set->word_count - word < BLOCK_WORDS ? set->word_count - word : BLOCK_WORDS;
        const uint64_t *live = mst_view_live(view) + word;
        if (is_empty(live, words))
            memset(set->words + word, 0, words * sizeof *live);
        else
            eval_node(&run, 0, (struct block){word * 64, words}, live, set->words + word);
    }
    if (run.status == 0 && bound->failed)
        run.status = MST_ENOMEM;
    close_run(&run);
    return run.status;
}

int mst_match(struct mst_view *view, struct mst_bound *bound, struct mst_rowset *set, struct mst_error *error)
{
    uint32_t words = (mst_view_row_limit(view) + 63) / 64;
    int status = prepare_set(set, words);
    if (status == 0) {
        if (bound && bound->program->node_count > 0)
            status = evaluate(view, bound, set);
        else if (words > 0)
            memcpy(set->words, mst_view_live(view), words * sizeof *set->words);
    }
    if (status < 0) {
        set->word_count = 0;
        return mst_error_set(error, status, "%s", mst_error_text(status));
    }
    count_set(set);
    return 0;
}

void mst_rowset_deinit(struct mst_rowset *set)
{
    free(set->words);
    *set = (struct mst_rowset){0};
}

uint32_t mst_rowset_next(const struct mst_rowset *set, uint32_t row)
{
    uint32_t word = row / 64;
    if (word >= set->word_count)
        return MST_ROW_NONE;
    uint64_t rest = set->words[word] >> (row % 64) << (row % 64);
    while (!rest) {
        if (++word == set->word_count)
            return MST_ROW_NONE;
        rest = set->words[word];
    }
    return word * 64 + (uint32_t)__builtin_ctzll(rest);
}
