// SPDX-License-Identifier: Apache-2.0
#include "match/plan.h"

#include <stdlib.h>
#include <string.h>

#define EAGER_CODES 4096u    /* dictionaries up to this size are tested whole, larger ones as far as rows ask for it */
#define BITSET_ROWS 65536u   /* below, a pass over the codes is as fast as one over bits */
#define ROW_COST 80.0        /* ns for a row tested on its values */
#define DOCUMENT_COST 1500.0 /* and on its parsed metadata */
#define LAZY_COST 4.0

enum { UNKNOWN, NO, YES }; /* marks in a lazy table */

bool mst__plan_test(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *value)
{
    const uint8_t **values = bound->program->cache->values;
    struct mst__scope scope = {.values = values};
    for (unsigned i = 0; i < leaf->path_count; i++)
        values[leaf->paths[i]] = value;
    return mst__leaf_holds(bound, leaf, &scope);
}

/* A table for codes 0 .. `codes`; what was in it stays, the rest is 0. */
static int grow_table(uint8_t **table, uint32_t *capacity, uint32_t codes)
{
    uint32_t needed = codes + 1 < MST__TABLE_LEAST ? MST__TABLE_LEAST : codes + 1;
    if (*capacity >= needed)
        return 0;
    needed += needed / 4;
    uint8_t *grown = realloc(*table, (size_t)needed + MST__TABLE_SPARE);
    if (!grown)
        return MST_ENOMEM;
    memset(grown + *capacity, 0, (size_t)needed + MST__TABLE_SPARE - *capacity);
    *table = grown;
    *capacity = needed;
    return 0;
}

static int clear_table(uint8_t **table, uint32_t *capacity, uint32_t codes)
{
    if (*table)
        memset(*table, 0, (size_t)*capacity + MST__TABLE_SPARE);
    return grow_table(table, capacity, codes);
}

/* How many rows a test lets through, and of how many, as far as that was known when it was made. */
static double share_of(const struct mst__test *test, const uint8_t *table, const struct mst_column *column, double rows)
{
    uint64_t count = 0;
    if (test->kind == MST__TEST_NONE || test->kind == MST__TEST_ALL || rows < 1)
        return test->kind == MST__TEST_ALL;
    for (uint32_t code = 0; code <= test->codes; code++)
        if (table[code] == 0xff)
            count += mst_column_rows(column, code);
    return (double)count / rows;
}

static double pass_cost(const struct mst__test *test)
{
    static const double equal[] = {0.012, 0.03, 0.08}, member[] = {0.03, 0.08, 0.5};
    if (test->kind == MST__TEST_NONE || test->kind == MST__TEST_ALL)
        return 0.001;
    return (test->kind == MST__TEST_MEMBER ? member : equal)[test->width / 2];
}

/* ------------------------------------------------------------------------------------------------ lookups */

/* The codes of the values that equal a literal: at most a null and "missing", or the forms of a number. */
struct found {
    uint32_t codes[4];
    unsigned count;
};

static void look_up(struct found *found, const struct mst_column *column, const uint8_t *value)
{
    uint32_t code = mst_column_find(column, value);
    for (unsigned i = 0; i < found->count; i++)
        if (found->codes[i] == code)
            return;
    if (code)
        found->codes[found->count++] = code;
}

static void put_number(uint8_t *out, enum mst_tag tag, uint64_t bits)
{
    out[0] = (uint8_t)tag;
    for (unsigned i = 0; i < 8; i++)
        out[i + 1] = (uint8_t)(bits >> (8 * i));
}

static void look_up_form(struct found *found, const struct mst_column *column, const uint8_t *number, enum mst_tag tag,
                         uint64_t bits)
{
    uint8_t form[9];
    put_number(form, tag, bits);
    if (mst_value_compare_numbers(form, number) == 0)
        look_up(found, column, form);
}

/* A number has at most one form as an integer and one as a double, but for zero, which has two of the latter. */
static void look_up_number(struct found *found, const struct mst_column *column, const uint8_t *number)
{
    double value = mst_value_double(number);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    look_up(found, column, number);
    // cppcheck-suppress incorrectLogicOperator ; it misreads hexadecimal floating constants
    if (value >= -0x1p63 && value < 0x1p63)
        look_up_form(found, column, number, MST_INT, (uint64_t)(int64_t)value);
    look_up_form(found, column, number, MST_DOUBLE, bits);
    if (value == 0)
        look_up_form(found, column, number, MST_DOUBLE, bits ^ UINT64_C(1) << 63);
}

/* False where lookups by bytes cannot tell what equals the literal. */
static bool look_up_literal(struct found *found, const struct mst_column *column, const uint8_t *literal)
{
    found->count = 0;
    switch (mst_value_tag(literal)) {
    case MST_OBJECT:
        return false;
    case MST_ARRAY:
        return true; /* the column has none */
    case MST_INT:
    case MST_DOUBLE:
        look_up_number(found, column, literal);
        return true;
    case MST_NULL:
        found->codes[found->count++] = 0;
        break;
    default:
        break;
    }
    look_up(found, column, literal);
    return true;
}

static void mark(struct mst__plan *plan, uint32_t code, uint64_t *rows)
{
    struct mst__test *test = &plan->yes;
    if (plan->table[code])
        return;
    plan->table[code] = 0xff;
    *rows += mst_column_rows(plan->columns[0], code);
    if (test->few_count < MST__FEW_CODES)
        test->few[test->few_count] = code;
    test->few_count++;
}

static int plan_list(struct mst__plan *plan, uint32_t codes, const uint8_t *list, double rows, bool *known)
{
    const struct mst_column *column = plan->columns[0];
    const uint8_t *position = NULL, *element;
    uint64_t marked = 0;
    struct found found;
    if (clear_table(&plan->table, &plan->capacity, codes) < 0)
        return MST_ENOMEM;
    plan->yes = (struct mst__test){
        .kind = MST__TEST_MEMBER, .width = mst_column_width(column), .codes = codes, .table = plan->table};
    while (*known && mst_value_next(list, &position, &element)) {
        *known = look_up_literal(&found, column, element);
        for (unsigned i = 0; *known && i < found.count; i++)
            mark(plan, found.codes[i], &marked);
    }
    if (!*known)
        return 0;
    plan->share = rows < 1 ? 0 : (double)marked / rows;
    if (plan->yes.few_count == 0)
        plan->yes.kind = MST__TEST_NONE;
    else if (plan->yes.few_count == 1)
        plan->yes = (struct mst__test){.kind = MST__TEST_EQUAL, .width = plan->yes.width, .low = plan->yes.few[0]};
    else if (codes <= EAGER_CODES) /* in larger ones a look at all marks would be dearer than what it can find */
        mst__test_make(&plan->yes, plan->yes.width, plan->table, codes);
    else if (plan->yes.few_count > MST__FEW_CODES)
        plan->yes.few_count = 0;
    return 0;
}

/* `literal` NULL: equals nothing. */
static int plan_literal(struct mst__plan *plan, uint32_t codes, const uint8_t *literal, bool *known)
{
    const struct mst_column *column = plan->columns[0];
    unsigned width = mst_column_width(column);
    struct found found = {.count = 0};
    *known = !literal || look_up_literal(&found, column, literal);
    if (!*known)
        return 0;
    plan->share = 0.1;
    plan->yes = (struct mst__test){.kind = MST__TEST_EQUAL, .width = width, .codes = codes, .low = found.codes[0]};
    if (found.count == 0)
        plan->yes.kind = MST__TEST_NONE;
    if (found.count < 2)
        return 0;
    if (clear_table(&plan->table, &plan->capacity, codes) < 0)
        return MST_ENOMEM;
    for (unsigned i = 0; i < found.count; i++)
        plan->table[found.codes[i]] = 0xff;
    mst__test_make(&plan->yes, width, plan->table, codes);
    return 0;
}

/* Equality with literals on a column of scalars: lookups instead of tests. `*known` false: not such a case. */
static int probe(struct mst__plan *plan, const struct mst_bound *bound, const struct mst__leaf *leaf, uint32_t codes,
                 double rows, bool *known)
{
    const uint8_t *literal = leaf->right ? mst__operand_literal(bound, leaf->right) : NULL;
    *known = literal && (leaf->op == MST_OP_EQ || leaf->op == MST_OP_IN) && leaf->class == MST__PLAIN &&
             leaf->left->kind == MST__PATH && leaf->left->function == MST__NONE && leaf->left->term_count == 0 &&
             mst_column_compounds(plan->columns[0]) == 0;
    if (!*known)
        return 0;
    if (leaf->op == MST_OP_EQ)
        return plan_literal(plan, codes, literal, known);
    if (mst_value_tag(literal) == MST_ARRAY)
        return plan_list(plan, codes, literal, rows, known);
    return plan_literal(plan, codes, NULL, known);
}

/* ------------------------------------------------------------------------------------------------ dictionaries */

/* Marks codes from `first` on. Free ones are marked as not occurring: they get a value only with a new epoch. */
static void test_codes(struct mst__plan *plan, struct mst_bound *bound, const struct mst__leaf *leaf, uint32_t first,
                       uint32_t codes)
{
    for (uint32_t code = first; code <= codes; code++) {
        const uint8_t *value = mst_column_value(plan->columns[0], code);
        bool occurs = value || code == 0;
        plan->tested += occurs;
        plan->table[code] = !occurs ? 1 : mst__plan_test(bound, leaf, value) ? 0xff : 0;
    }
}

static void finish_codes(struct mst__plan *plan, uint32_t codes, double rows)
{
    const struct mst_column *column = plan->columns[0];
    mst__test_make(&plan->yes, mst_column_width(column), plan->table, codes);
    plan->answer = MST__CODES;
    plan->share = share_of(&plan->yes, plan->table, column, rows);
}

static void finish_lazy(struct mst__plan *plan, struct mst_bound *bound, const struct mst__leaf *leaf, uint32_t codes,
                        double rows)
{
    for (uint32_t code = 0; code <= codes; code++) {
        const uint8_t *value = mst_column_value(plan->columns[0], code);
        uint8_t mark = plan->table[code];
        if (mark == UNKNOWN && (value || code == 0)) {
            plan->tested++;
            mark = mst__plan_test(bound, leaf, value) ? YES : NO;
        }
        plan->table[code] = mark == UNKNOWN ? 1 : mark == YES ? 0xff : 0;
    }
    finish_codes(plan, codes, rows);
}

static int plan_dictionary(struct mst__plan *plan, struct mst_bound *bound, const struct mst__leaf *leaf,
                           uint32_t codes, double rows)
{
    bool known;
    int status = probe(plan, bound, leaf, codes, rows, &known);
    if (status < 0)
        return status;
    plan->probed = known;
    if (known) {
        plan->answer = MST__CODES;
        return 0;
    }
    if (clear_table(&plan->table, &plan->capacity, codes) < 0)
        return MST_ENOMEM;
    if (codes > EAGER_CODES) {
        plan->answer = MST__LAZY;
        plan->share = 0.5;
        return 0;
    }
    test_codes(plan, bound, leaf, 0, codes);
    finish_codes(plan, codes, rows);
    return 0;
}

/* Codes were added and none has changed its meaning. */
static int extend_dictionary(struct mst__plan *plan, struct mst_bound *bound, const struct mst__leaf *leaf,
                             uint32_t codes, double rows)
{
    if (grow_table(&plan->table, &plan->capacity, codes) < 0)
        return MST_ENOMEM;
    if (plan->answer == MST__LAZY)
        return 0;
    test_codes(plan, bound, leaf, plan->codes + 1, codes);
    finish_codes(plan, codes, rows);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ sketches */

static int plan_sketch(struct mst__plan *plan, struct mst_bound *bound, const struct mst__leaf *leaf, uint32_t codes,
                       double rows)
{
    struct mst_column *column = plan->columns[0];
    unsigned width = mst_column_width(column);
    if (clear_table(&plan->table, &plan->capacity, codes) < 0 ||
        clear_table(&plan->maybe_table, &plan->maybe_capacity, codes) < 0)
        return MST_ENOMEM;
    plan->tested += codes + 1;
    plan->empty_count = 0;
    plan->table[0] = mst__plan_test(bound, leaf, NULL) ? 0xff : 0;
    for (uint32_t code = 1; code <= codes; code++) {
        const uint8_t *low, *high;
        mst_column_bucket(column, code, &low, &high);
        if (!low && plan->empty_count < MST__EMPTY_KEPT && mst_column_rows(column, code) == 0) {
            plan->empty[plan->empty_count++] = (uint8_t)code;
            plan->table[code] = plan->maybe_table[code] = 1;
            continue;
        }
        enum mst__bucket found = mst__sketch_decide(bound, leaf, low, high);
        plan->table[code] = found == MST__BUCKET_YES ? 0xff : 0;
        plan->maybe_table[code] = found == MST__BUCKET_VERIFY ? 0xff : 0;
    }
    mst__test_make(&plan->yes, width, plan->table, codes);
    mst__test_make(&plan->maybe, width, plan->maybe_table, codes);
    double verified = share_of(&plan->maybe, plan->maybe_table, column, rows);
    plan->answer = MST__SKETCH;
    plan->share = share_of(&plan->yes, plan->table, column, rows) + verified / 2;
    plan->cost = pass_cost(&plan->yes) + pass_cost(&plan->maybe) + verified * ROW_COST;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ one column */

static void note_request(struct mst__plan *plan, const struct mst_view *view, const struct mst_bound *bound,
                         const struct mst__leaf *leaf)
{
    struct mst_column *column = plan->columns[0];
    uint32_t live = mst_view_count(view);
    plan->data = mst_column_data(column);
    plan->bitset = NULL;
    plan->sure = 0;
    if (plan->answer == MST__SKETCH)
        mst__quick_init(&plan->quick, bound, leaf);
    if (plan->answer == MST__LAZY)
        plan->cost = LAZY_COST;
    if (plan->answer != MST__CODES)
        return;
    plan->cost = pass_cost(&plan->yes);
    if (plan->yes.kind != MST__TEST_EQUAL)
        return;
    /* The counts are exact at every moment. */
    uint32_t rows = mst_column_rows(column, plan->yes.low);
    double share = live ? (double)rows / live : 0;
    plan->share = plan->yes.flip ? 1 - share : share;
    if (rows == 0 || rows == live)
        plan->sure = (rows == live) != (plan->yes.flip != 0) ? 1 : -1;
    else if (plan->yes.low && mst_view_row_limit(view) >= BITSET_ROWS)
        plan->bitset = mst_column_bitset(column, plan->yes.low, bound->now_ms);
    if (plan->bitset || plan->sure)
        plan->cost = 0.002;
}

/* A bucket may come to have rows, and so bounds, without a new epoch. */
static bool still_empty(const struct mst__plan *plan)
{
    for (unsigned i = 0; i < plan->empty_count; i++)
        if (mst_column_rows(plan->columns[0], plan->empty[i]) > 0)
            return false;
    return true;
}

static int update_column(struct mst__plan *plan, const struct mst_view *view, struct mst_bound *bound,
                         const struct mst__leaf *leaf, bool *changed)
{
    const struct mst_column *column = plan->columns[0];
    uint64_t epoch = mst_column_epoch(column);
    uint32_t codes = mst_column_codes(column);
    double rows = mst_view_count(view);
    bool sketch = mst_column_encoding(column) == MST_ENCODING_SKETCH;
    bool same = plan->answer != MST__UNPLANNED && !leaf->varies && plan->epoch == epoch &&
                (plan->answer == MST__SKETCH) == sketch && !plan->probed && (!sketch || still_empty(plan));
    int status = 0;
    plan->uses++;
    if (plan->probed && !leaf->varies && plan->epoch == epoch && plan->codes == codes && !sketch &&
        plan->yes.width == mst_column_width(column))
        goto done;
    if (same && plan->codes == codes && plan->answer == MST__LAZY && plan->uses > 1) {
        finish_lazy(plan, bound, leaf, codes, rows);
        *changed = true;
        goto done;
    }
    if (same && plan->codes == codes && (plan->answer == MST__LAZY || plan->yes.width == mst_column_width(column)))
        goto done;
    *changed = true;
    plan->probed = false;
    if (sketch)
        status = plan_sketch(plan, bound, leaf, codes, rows);
    else if (same && plan->codes < codes)
        status = extend_dictionary(plan, bound, leaf, codes, rows);
    else {
        plan->uses = 1;
        status = plan_dictionary(plan, bound, leaf, codes, rows);
    }
    if (status < 0) {
        plan->answer = MST__UNPLANNED;
        return status;
    }
    plan->epoch = epoch;
    plan->codes = codes;
done:
    note_request(plan, view, bound, leaf);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ ids */

static int list_id(struct mst__plan *plan, const struct mst_view *view, const uint8_t *literal)
{
    size_t length;
    if (mst_value_tag(literal) != MST_STRING)
        return 0;
    const char *id = mst_value_string(literal, &length);
    uint32_t row = mst_view_find(view, id, length);
    if (row == MST_ROW_NONE)
        return 0;
    if (plan->row_count == plan->row_capacity) {
        uint32_t capacity = plan->row_capacity ? plan->row_capacity * 2 : 8;
        uint32_t *grown = realloc(plan->rows, capacity * sizeof *grown);
        if (!grown)
            return MST_ENOMEM;
        plan->rows = grown;
        plan->row_capacity = capacity;
    }
    plan->rows[plan->row_count++] = row;
    return 0;
}

/* Equality of @id with literals. Every row has an id, so that null equals none. */
static bool is_id_lookup(const struct mst_bound *bound, const struct mst__leaf *leaf)
{
    const struct mst__operand *left = leaf->left;
    if ((leaf->op != MST_OP_EQ && leaf->op != MST_OP_IN) || leaf->class != MST__PLAIN || left->kind != MST__PATH ||
        left->function != MST__NONE || left->term_count > 0 || !mst__operand_literal(bound, leaf->right))
        return false;
    const struct mst__source *source = &bound->program->sources[left->index];
    return source->builtin && source->which == MST__ID;
}

static int by_number(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static int plan_ids(struct mst__plan *plan, const struct mst_view *view, const struct mst_bound *bound,
                    const struct mst__leaf *leaf)
{
    const uint8_t *literal = mst__operand_literal(bound, leaf->right), *position = NULL, *element;
    int status = 0;
    plan->answer = MST__LISTED;
    plan->row_count = 0;
    if (leaf->op == MST_OP_EQ)
        status = list_id(plan, view, literal);
    else if (mst_value_tag(literal) == MST_ARRAY)
        while (status == 0 && mst_value_next(literal, &position, &element))
            status = list_id(plan, view, element);
    if (plan->row_count > 1)
        qsort(plan->rows, plan->row_count, sizeof *plan->rows, by_number);
    plan->share = (double)plan->row_count / (mst_view_count(view) + 1.0);
    plan->cost = 0.001;
    return status;
}

/* ------------------------------------------------------------------------------------------------ any leaf */

/* Sets the columns; false: one is not to be had, or not filled yet. */
static bool find_columns(struct mst__plan *plan, struct mst_view *view, const struct mst_program *program,
                         const struct mst__leaf *leaf)
{
    bool usable = true;
    for (unsigned i = 0; i < leaf->path_count; i++) {
        if (!plan->columns[i])
            plan->columns[i] = mst_view_column(view, &program->sources[leaf->paths[i]].path);
        usable = usable && plan->columns[i] && !mst_column_filling(plan->columns[i]);
    }
    return usable;
}

static void set_answer(struct mst__plan *plan, enum mst__answer answer, double cost, bool *changed)
{
    *changed = *changed || plan->answer != answer;
    plan->answer = answer;
    plan->share = 0.5;
    plan->cost = cost;
}

int mst__plan_update(struct mst__plan *plan, struct mst_view *view, struct mst_bound *bound,
                     const struct mst__leaf *leaf, bool *changed)
{
    plan->tested = 0;
    if (is_id_lookup(bound, leaf)) {
        *changed = true;
        return plan_ids(plan, view, bound, leaf);
    }
    if (!find_columns(plan, view, bound->program, leaf)) {
        set_answer(plan, MST__DOCUMENTS, DOCUMENT_COST, changed);
        return 0;
    }
    bool one = true;
    for (unsigned i = 1; i < leaf->path_count; i++)
        one = one && plan->columns[i] == plan->columns[0];
    if (leaf->by_row || !one) {
        set_answer(plan, MST__ROWS, ROW_COST, changed);
        return 0;
    }
    if (leaf->path_count > 0) {
        if (plan->answer == MST__DOCUMENTS)
            plan->answer = MST__UNPLANNED;
        return update_column(plan, view, bound, leaf, changed);
    }
    if (plan->answer == MST__CODES && !leaf->varies)
        return 0;
    bool holds = mst__plan_test(bound, leaf, NULL);
    plan->yes = (struct mst__test){.kind = holds ? MST__TEST_ALL : MST__TEST_NONE, .width = 1};
    set_answer(plan, MST__CODES, 0.001, changed);
    plan->share = holds;
    return 0;
}

void mst__plan_deinit(struct mst__plan *plan)
{
    free(plan->table);
    free(plan->maybe_table);
    free(plan->rows);
}

size_t mst__plan_bytes(const struct mst__plan *plan)
{
    return plan->capacity + plan->maybe_capacity + plan->row_capacity * sizeof *plan->rows;
}
