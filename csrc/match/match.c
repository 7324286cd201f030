// SPDX-License-Identifier: Apache-2.0
#include "match/match.h"

#include <stdlib.h>
#include <string.h>

#include "match/eval.h"

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

static uint32_t word_count(const struct mst_view *view)
{
    return (mst_view_row_limit(view) + 63) / 64;
}

static bool is_open(const struct mst_bound *bound)
{
    return !bound || bound->program->node_count == 0;
}

static struct mst__block block_at(uint32_t word, uint32_t words, unsigned most)
{
    return (struct mst__block){word * 64, words - word < most ? words - word : most};
}

static int fail(struct mst_error *error, int status)
{
    return mst_error_set(error, status, "%s", mst_error_text(status));
}

static void fill_set(struct mst__run *run, struct mst_rowset *set)
{
    const uint64_t *live = mst_view_live(run->view);
    unsigned most = mst__run_block_words(run);
    for (uint32_t word = 0; run->status == 0 && word < set->word_count; word += most) {
        struct mst__block block = block_at(word, set->word_count, most);
        if (mst__run_block(run, block, live + word, set->words + word))
            set->count += (uint32_t)run->kernels->popcount(set->words + word, block.words);
    }
}

int mst_match(struct mst_view *view, struct mst_bound *bound, struct mst_rowset *set, struct mst_error *error)
{
    struct mst__run run;
    int status = prepare_set(set, word_count(view));
    if (status == 0 && is_open(bound)) {
        if (set->word_count > 0)
            memcpy(set->words, mst_view_live(view), set->word_count * sizeof *set->words);
        set->count = mst_view_count(view);
        return 0;
    }
    if (status == 0)
        status = mst__run_open(&run, view, bound);
    if (status == 0) {
        fill_set(&run, set);
        status = mst__run_close(&run);
    }
    if (status == 0)
        return 0;
    set->word_count = set->count = 0;
    return fail(error, status);
}

/* ------------------------------------------------------------------------------------------------ counts */

#define ROWS_PER_CODE 32u /* a pass over as many rows takes as long as a look at the count of one code */

static uint64_t sum_counts(const struct mst_column *column, const struct mst__test *test, uint64_t live)
{
    uint64_t sum = 0;
    switch (test->kind) {
    case MST__TEST_NONE:
        return 0;
    case MST__TEST_ALL:
        return live;
    case MST__TEST_MEMBER:
        for (uint32_t code = 0; code <= test->codes; code++)
            if (test->table[code] == 0xff)
                sum += mst_column_rows(column, code);
        return sum;
    default:
        for (uint32_t code = test->low; code <= (test->kind == MST__TEST_EQUAL ? test->low : test->high); code++)
            sum += mst_column_rows(column, code);
        return test->flip ? live - sum : sum;
    }
}

/* How many codes a sum would have to look at. */
static uint32_t codes_to_sum(const struct mst__test *test)
{
    return test->kind == MST__TEST_MEMBER ? test->codes : test->kind == MST__TEST_RANGE ? test->high - test->low : 1;
}

/* The count of a filter of one clause, from what the column knows or with a pass that keeps no bits. */
static bool count_single(const struct mst__run *run, uint32_t *count)
{
    bool inverted;
    const struct mst__plan *plan = mst__run_single(run, &inverted);
    uint64_t live = mst_view_count(run->view), found;
    if (!plan || plan->answer != MST__CODES)
        return false;
    uint32_t words = word_count(run->view);
    if (codes_to_sum(&plan->yes) <= 1 || codes_to_sum(&plan->yes) < words * 64 / ROWS_PER_CODE)
        found = sum_counts(plan->columns[0], &plan->yes, live);
    else
        found = mst__test_count(run->kernels, &plan->yes, 0, plan->data, mst_view_live(run->view), words);
    *count = (uint32_t)(inverted ? live - found : found);
    return true;
}

static void count_blocks(struct mst__run *run, uint32_t *count, bool first_only)
{
    const uint64_t *live = mst_view_live(run->view);
    uint64_t out[MST__BLOCK_WORDS];
    uint32_t words = word_count(run->view);
    for (uint32_t word = 0; run->status == 0 && word < words; word += MST__BLOCK_WORDS) {
        struct mst__block block = block_at(word, words, MST__BLOCK_WORDS);
        if (!mst__run_block(run, block, live + word, out))
            continue;
        *count += (uint32_t)run->kernels->popcount(out, block.words);
        if (first_only)
            return;
    }
}

static int count_rows(struct mst_view *view, struct mst_bound *bound, bool first_only, uint32_t *count,
                      struct mst_error *error)
{
    struct mst__run run;
    *count = 0;
    if (is_open(bound)) {
        *count = mst_view_count(view);
        return 0;
    }
    int status = mst__run_open(&run, view, bound);
    if (status == 0) {
        if (!count_single(&run, count))
            count_blocks(&run, count, first_only);
        status = mst__run_close(&run);
    }
    return status == 0 ? 0 : fail(error, status);
}

int mst_match_count(struct mst_view *view, struct mst_bound *bound, uint32_t *count, struct mst_error *error)
{
    return count_rows(view, bound, false, count, error);
}

int mst_match_exists(struct mst_view *view, struct mst_bound *bound, bool *exists, struct mst_error *error)
{
    uint32_t count;
    int status = count_rows(view, bound, true, &count, error);
    *exists = status == 0 && count > 0;
    return status;
}

bool mst_match_unfilled(struct mst_view *view, const struct mst_bound *bound)
{
    bool unfilled = false;
    for (unsigned i = 0; bound && i < bound->program->top_count; i++) {
        const struct mst__leaf *leaf = &bound->program->leaves[bound->program->top[i]];
        for (unsigned p = 0; p < leaf->path_count; p++) {
            const struct mst_column *column = mst_view_column(view, &bound->program->sources[leaf->paths[p]].path);
            unfilled = unfilled || (column && mst_column_filling(column));
        }
    }
    return unfilled;
}

const char *mst_match_instructions(void)
{
    return mst__kernels_choose()->name;
}

/* ------------------------------------------------------------------------------------------------ sets */

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

/* The rows of one word from its bit `first` on. */
static uint32_t list_word(const struct mst_rowset *set, uint32_t word, unsigned first, uint32_t *rows,
                          uint32_t capacity)
{
    uint32_t count = 0;
    for (uint64_t rest = set->words[word] >> first << first; rest && count < capacity; rest &= rest - 1)
        rows[count++] = word * 64 + (uint32_t)__builtin_ctzll(rest);
    return count;
}

uint32_t mst_rowset_list(const struct mst_rowset *set, uint32_t first, uint32_t *rows, uint32_t capacity)
{
    const struct mst__kernels *kernels = mst__kernels_choose();
    uint32_t word = first / 64, count = 0;
    if (word < set->word_count && first % 64)
        count = list_word(set, word++, first % 64, rows, capacity);
    /* Pieces that surely fit, then word by word. */
    while (word < set->word_count && capacity - count >= 64) {
        uint32_t words = (capacity - count) / 64;
        words = words < set->word_count - word ? words : set->word_count - word;
        count += kernels->list(set->words + word, words, word * 64, rows + count);
        word += words;
    }
    for (; word < set->word_count && count < capacity; word++)
        count += list_word(set, word, 0, rows + count, capacity - count);
    return count;
}

/* ------------------------------------------------------------------------ walks */

enum { WALK_ROWS = 64, WALK_AHEAD = 16 };

void mst_row_walk_init(struct mst_row_walk *walk, const struct mst_view *view, const struct mst_rowset *set,
                       uint32_t first)
{
    walk->view = view;
    walk->set = set;
    walk->next = first;
    walk->at = walk->count = 0;
}

static bool walk_on(struct mst_row_walk *walk)
{
    walk->at = 0;
    walk->count = mst_rowset_list(walk->set, walk->next, walk->rows, WALK_ROWS);
    for (uint32_t i = 0; i < walk->count; i++)
        mst_view_prefetch(walk->view, walk->rows[i]);
    for (uint32_t i = 0; i < walk->count && i < WALK_AHEAD; i++)
        mst_view_prefetch_text(walk->view, walk->rows[i]);
    if (walk->count)
        walk->next = walk->rows[walk->count - 1] + 1;
    return walk->count > 0;
}

uint32_t mst_row_walk_next(struct mst_row_walk *walk)
{
    for (;;) {
        if (walk->at == walk->count && !walk_on(walk))
            return MST_ROW_NONE;
        if (walk->at + WALK_AHEAD < walk->count)
            mst_view_prefetch_text(walk->view, walk->rows[walk->at + WALK_AHEAD]);
        uint32_t row = walk->rows[walk->at++];
        if (mst_view_alive(walk->view, row))
            return row;
    }
}
