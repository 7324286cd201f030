// SPDX-License-Identifier: Apache-2.0
#include "match/eval.h"

#include <string.h>

#include "base/clock.h"

static bool test_lazily(struct mst__run *run, const struct mst__leaf *leaf, struct mst__plan *plan, uint32_t row)
{
    enum { UNKNOWN, NO, YES };
    uint32_t code = mst_column_code(plan->columns[0], row);
    if (plan->table[code] == UNKNOWN) {
        const uint8_t *value = mst_column_value(plan->columns[0], code);
        plan->table[code] = mst__plan_test(run->bound, leaf, value) ? YES : NO;
        plan->tested++;
    }
    return plan->table[code] == YES;
}

static bool test_row(struct mst__run *run, const struct mst__leaf *leaf, const struct mst__plan *plan, uint32_t row)
{
    const uint8_t **values = run->bound->program->cache->values;
    uint8_t cells[3][16];
    struct mst_identity identity;
    struct mst__scope scope = {.values = values};
    run->verified++;
    if (leaf->by_row) {
        mst_view_identity(run->view, row, &identity);
        scope.identity = &identity;
    }
    for (unsigned i = 0; i < leaf->path_count; i++)
        values[leaf->paths[i]] = mst_column_row_value(plan->columns[i], row, cells[i]);
    return mst__leaf_holds(run->bound, leaf, &scope);
}

static bool test_document(struct mst__run *run, const struct mst__leaf *leaf, uint32_t row)
{
    struct mst_buffer *document = &run->bound->program->cache->document;
    struct mst_identity identity;
    run->verified++;
    mst_view_identity(run->view, row, &identity);
    mst_buffer_clear(document);
    int status = mst_view_document(run->view, row, document);
    if (status < 0) {
        run->status = status;
        return false;
    }
    struct mst__scope scope = {.document = (const uint8_t *)document->data, .identity = &identity};
    return mst__leaf_holds(run->bound, leaf, &scope);
}

static bool test(struct mst__run *run, const struct mst__leaf *leaf, struct mst__plan *plan, uint32_t row)
{
    switch (plan->answer) {
    case MST__LAZY:
        return test_lazily(run, leaf, plan, row);
    case MST__ROWS:
        return test_row(run, leaf, plan, row);
    default:
        return test_document(run, leaf, row);
    }
}

/* out = those rows of `mask` that pass, each looked at. `out` may be `mask`. */
static uint64_t test_rows(struct mst__run *run, const struct mst__leaf *leaf, struct mst__plan *plan,
                          struct mst__block block, const uint64_t *mask, uint64_t *out)
{
    uint64_t any = 0;
    for (unsigned word = 0; word < block.words; word++) {
        uint64_t found = 0;
        for (uint64_t rest = mask[word]; rest; rest &= rest - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(rest);
            found |= (uint64_t)test(run, leaf, plan, block.row + word * 64 + bit) << bit;
        }
        out[word] = found;
        any |= found;
    }
    return any;
}

/* ------------------------------------------------------------------------------------------------ clauses */

/* out = the rows of `mask` in `found`, or with `flip` the others. */
static uint64_t put(const uint64_t *found, uint64_t flip, const uint64_t *mask, uint64_t *out, unsigned words)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < words; i++)
        any |= out[i] = mask[i] & (found[i] ^ flip);
    return any;
}

static uint64_t put_all(bool all, const uint64_t *mask, uint64_t *out, unsigned words)
{
    struct mst__test test = {.kind = all ? MST__TEST_ALL : MST__TEST_NONE, .width = 1};
    return mst__test_match(NULL, &test, 0, NULL, mask, out, words);
}

static uint64_t eval_codes(const struct mst__run *run, const struct mst__plan *plan, uint64_t flip,
                           struct mst__block block, const uint64_t *mask, uint64_t *out)
{
    if (plan->sure)
        return put_all((plan->sure > 0) != (flip != 0), mask, out, block.words);
    if (plan->bitset)
        return put(plan->bitset + block.row / 64, flip ^ plan->yes.flip, mask, out, block.words);
    return mst__test_match(run->kernels, &plan->yes, flip, mst__plan_codes(plan, block.row), mask, out, block.words);
}

#define BATCH 32u

/* Rows whose values are on the way: fetched one after the other without waiting, looked at together. */
struct batch {
    uint32_t rows[BATCH];
    uint8_t cells[BATCH][16];
    unsigned count;
};

/* Turns the bits of those rows that pass. */
static void test_batch(struct mst__run *run, const struct mst__leaf *leaf, const struct mst__plan *plan,
                       struct batch *batch, uint32_t first_row, uint64_t *out)
{
    const uint8_t *values[BATCH];
    for (unsigned i = 0; i < batch->count; i++) {
        values[i] = mst_column_row_value(plan->columns[0], batch->rows[i], batch->cells[i]);
        __builtin_prefetch(values[i]);
    }
    for (unsigned i = 0; i < batch->count; i++) {
        bool scalar = plan->quick.usable && values[i] && mst_value_tag(values[i]) < MST_ARRAY;
        uint64_t holds =
            scalar ? mst__quick_test(&plan->quick, values[i]) : mst__plan_test(run->bound, leaf, values[i]);
        uint32_t place = batch->rows[i] - first_row;
        out[place / 64] ^= holds << (place % 64);
    }
    run->verified += batch->count;
    batch->count = 0;
}

static uint64_t any_of(const uint64_t *mask, unsigned words)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < words; i++)
        any |= mask[i];
    return any;
}

/* First what the buckets say, then a correction for each row whose bucket says nothing and that passes. */
static uint64_t eval_sketch(struct mst__run *run, const struct mst__leaf *leaf, struct mst__plan *plan, uint64_t flip,
                            struct mst__block block, const uint64_t *mask, uint64_t *out)
{
    uint64_t maybe[MST__BLOCK_WORDS];
    struct batch batch;
    const uint8_t *codes = mst__plan_codes(plan, block.row);
    uint64_t unsure = mst__test_match(run->kernels, &plan->maybe, 0, codes, mask, maybe, block.words);
    uint64_t any = mst__test_match(run->kernels, &plan->yes, flip, codes, mask, out, block.words);
    if (!unsure)
        return any;
    batch.count = 0;
    for (unsigned word = 0; word < block.words; word++)
        for (uint64_t rest = maybe[word]; rest; rest &= rest - 1) {
            batch.rows[batch.count++] = block.row + word * 64 + (uint32_t)__builtin_ctzll(rest);
            if (batch.count == BATCH)
                test_batch(run, leaf, plan, &batch, block.row, out);
        }
    test_batch(run, leaf, plan, &batch, block.row, out);
    return any_of(out, block.words);
}

static uint64_t eval_listed(const struct mst__plan *plan, uint64_t flip, struct mst__block block, const uint64_t *mask,
                            uint64_t *out)
{
    uint64_t found[MST__BLOCK_WORDS] = {0};
    uint32_t from = 0, to = plan->row_count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (plan->rows[middle] < block.row)
            from = middle + 1;
        else
            to = middle;
    }
    for (; from < plan->row_count && plan->rows[from] - block.row < block.words * 64; from++) {
        uint32_t place = plan->rows[from] - block.row;
        found[place / 64] |= UINT64_C(1) << (place % 64);
    }
    return put(found, flip, mask, out, block.words);
}

static uint64_t eval_leaf(struct mst__run *run, uint16_t node, struct mst__block block, const uint64_t *mask,
                          uint64_t *out)
{
    const struct mst_program *program = run->bound->program;
    uint16_t number = program->nodes[node].leaf;
    struct mst__plan *plan = &run->prepared->plans[number];
    uint64_t found[MST__BLOCK_WORDS], flip = program->cache->inverted[node] ? ~UINT64_C(0) : 0;
    switch (plan->answer) {
    case MST__CODES:
        return eval_codes(run, plan, flip, block, mask, out);
    case MST__SKETCH:
        return eval_sketch(run, &program->leaves[number], plan, flip, block, mask, out);
    case MST__LISTED:
        return eval_listed(plan, flip, block, mask, out);
    default:
        test_rows(run, &program->leaves[number], plan, block, mask, found);
        return put(found, flip, mask, out, block.words);
    }
}

static uint64_t trace_leaf(struct mst__run *run, uint16_t node, struct mst__block block, const uint64_t *mask,
                           uint64_t *out)
{
    struct mst__trace *trace = &run->traces[node];
    uint64_t verified = run->verified, before = mst_clock_monotonic();
    trace->rows_in += run->kernels->popcount(mask, block.words);
    uint64_t any = eval_leaf(run, node, block, mask, out);
    trace->ns += mst_clock_monotonic() - before;
    trace->rows_out += run->kernels->popcount(out, block.words);
    trace->verified += run->verified - verified;
    return any;
}

/* ------------------------------------------------------------------------------------------------ the tree */

static uint64_t eval_node(struct mst__run *run, uint16_t node, struct mst__block block, const uint64_t *mask,
                          uint64_t *out);

static uint64_t eval_and(struct mst__run *run, uint16_t node, struct mst__block block, const uint64_t *mask,
                         uint64_t *out)
{
    const uint64_t *left = mask;
    for (uint16_t child = run->prepared->first[node]; child; child = run->prepared->next[child]) {
        if (!eval_node(run, child, block, left, out))
            return 0;
        left = out;
    }
    return 1;
}

static uint64_t eval_or(struct mst__run *run, uint16_t node, struct mst__block block, const uint64_t *mask,
                        uint64_t *out)
{
    uint64_t left[MST__BLOCK_WORDS], found[MST__BLOCK_WORDS], any = 1;
    memcpy(left, mask, block.words * sizeof *left);
    for (uint16_t child = run->prepared->first[node]; child && any; child = run->prepared->next[child]) {
        if (!eval_node(run, child, block, left, found))
            continue;
        any = 0;
        for (unsigned i = 0; i < block.words; i++)
            any |= left[i] &= ~found[i];
    }
    return put(left, ~UINT64_C(0), mask, out, block.words);
}

/* As deep as the tree, which load has bounded. Nodes that are `not` are no part of it: flags stand for them. */
static uint64_t eval_node(struct mst__run *run, uint16_t node, struct mst__block block, const uint64_t *mask,
                          uint64_t *out)
{
    const struct mst_program *program = run->bound->program;
    unsigned kind = program->nodes[node].kind;
    bool inverted = program->cache->inverted[node];
    if (kind == MST__LEAF)
        return (run->traces ? trace_leaf : eval_leaf)(run, node, block, mask, out);
    if (kind == MST__TRUE || kind == MST__FALSE)
        return put_all((kind == MST__TRUE) != inverted, mask, out, block.words);
    return ((kind == MST__AND) != inverted ? eval_and : eval_or)(run, node, block, mask, out);
}

uint64_t mst__run_block(struct mst__run *run, struct mst__block block, const uint64_t *mask, uint64_t *out)
{
    return eval_node(run, run->root, block, mask, out);
}

unsigned mst__run_block_words(const struct mst__run *run)
{
    bool inverted;
    const struct mst__plan *plan = mst__run_single(run, &inverted);
    return plan && plan->answer == MST__CODES ? MST__WIDE_WORDS : MST__BLOCK_WORDS;
}

const struct mst__plan *mst__run_single(const struct mst__run *run, bool *inverted)
{
    const struct mst_program *program = run->bound->program;
    const struct mst__node *root = &program->nodes[run->root];
    *inverted = program->cache->inverted[run->root];
    return root->kind == MST__LEAF ? &run->prepared->plans[root->leaf] : NULL;
}

int mst__run_open(struct mst__run *run, struct mst_view *view, struct mst_bound *bound)
{
    *run = (struct mst__run){.view = view, .bound = bound, .kernels = bound->program->cache->kernels};
    run->root = mst__order_resolve(bound->program, 0);
    bound->failed = false;
    return mst__prepare(&run->prepared, view, bound);
}

int mst__run_close(struct mst__run *run)
{
    if (run->status == 0 && run->bound->failed)
        run->status = MST_ENOMEM;
    if (run->status < 0)
        mst__prepared_forget(run->prepared, run->bound->program);
    return run->status;
}
