// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/aggregate.h"
#include "model/json.h"
#include "model/value.h"

#define BLOCK_SAMPLES 4096u
#define PERCENT_LENGTH 11u

/* Blocks, not one array that doubles: what is charged is what is taken. */
struct mst__samples {
    struct mst__samples *next;
    uint32_t count;
    uint32_t groups[BLOCK_SAMPLES];
    double numbers[BLOCK_SAMPLES];
};

/* A block, and the place of its numbers in `sorted`. */
#define BLOCK_COST (sizeof(struct mst__samples) + BLOCK_SAMPLES * sizeof(double))

/* The numbers that there can be, times the most units that a percentage has. */
_Static_assert(MST__SAMPLES_MAX / (sizeof(uint32_t) + 2 * sizeof(double)) < UINT64_MAX / UINT64_C(100000000000),
               "mst__percent_rank must not overflow");

bool mst__percent_read(struct mst_span text, struct mst__percent *percent)
{
    bool point = false;
    *percent = (struct mst__percent){.scale = 1};
    if (text.length == 0 || text.length > PERCENT_LENGTH || text.data[text.length - 1] == '.')
        return false;
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];
        if (byte == '.' && i > 0 && !point) {
            point = true;
            continue;
        }
        if (byte < '0' || byte > '9')
            return false;
        percent->units = percent->units * 10 + (uint64_t)(byte - '0');
        percent->scale *= point ? 10 : 1;
    }
    return percent->units <= 100 * percent->scale;
}

size_t mst__percent_rank(struct mst__percent percent, size_t count)
{
    uint64_t whole = 100 * percent.scale;
    uint64_t rank = (percent.units * count + whole - 1) / whole;
    return rank ? rank : 1;
}

// NOLINTNEXTLINE(readability-non-const-parameter): it is counted off through `figures`
void mst__figures_init(struct mst__figures *figures, struct mst_view *view, const struct mst_path *path, size_t *budget)
{
    *figures =
        (struct mst__figures){.view = view, .path = *path, .column = mst_view_column(view, path), .budget = budget};
}

static void free_samples(struct mst__figures *figures)
{
    while (figures->first) {
        struct mst__samples *next = figures->first->next;
        free(figures->first);
        figures->first = next;
    }
    figures->last = NULL;
}

void mst__figures_deinit(struct mst__figures *figures)
{
    free(figures->sums);
    free(figures->starts);
    free(figures->sorted);
    free_samples(figures);
    mst_row_scratch_deinit(&figures->scratch);
}

static int make_room(struct mst__figures *figures, uint32_t group)
{
    if (group < figures->groups)
        return 0;
    uint32_t groups = figures->groups ? 2 * figures->groups : 16;
    if (groups <= group)
        groups = group + 1;
    struct mst__sums *sums = realloc(figures->sums, groups * sizeof *sums);
    if (!sums)
        return MST_ENOMEM;
    memset(sums + figures->groups, 0, (groups - figures->groups) * sizeof *sums);
    figures->sums = sums;
    figures->groups = groups;
    return 0;
}

static void add_to_sum(struct mst__sums *sums, const uint8_t *value)
{
    long double number = mst_value_double(value), sum = sums->sum + number;
    sums->carry += fabsl(sums->sum) >= fabsl(number) ? (sums->sum - sum) + number : (number - sum) + sums->sum;
    sums->sum = sum;
    if (mst_value_tag(value) != MST_INT)
        sums->fraction = true;
    else if (!sums->broken && __builtin_add_overflow(sums->whole, mst_value_int(value), &sums->whole))
        sums->broken = true;
}

static int open_block(struct mst__figures *figures, struct mst_error *error)
{
    if (*figures->budget < BLOCK_COST) {
        mst_error_set(error, MST_ETOOBIG, "percentiles of so many numbers need more than %u MiB",
                      MST__SAMPLES_MAX >> 20);
        mst_error_hint(error, "a filter that lets fewer identities through, or percentiles of fewer paths");
        return MST_ETOOBIG;
    }
    struct mst__samples *block = malloc(sizeof *block);
    if (!block)
        return MST_ENOMEM;
    *figures->budget -= BLOCK_COST;
    block->next = NULL;
    block->count = 0;
    *(figures->last ? &figures->last->next : &figures->first) = block;
    figures->last = block;
    return 0;
}

static int keep_sample(struct mst__figures *figures, uint32_t group, double number, struct mst_error *error)
{
    if (!figures->last || figures->last->count == BLOCK_SAMPLES) {
        int code = open_block(figures, error);
        if (code)
            return code;
    }
    struct mst__samples *block = figures->last;
    block->groups[block->count] = group;
    block->numbers[block->count++] = number;
    return 0;
}

static int add_number(struct mst__figures *figures, uint32_t group, const uint8_t *value, struct mst_error *error)
{
    enum mst_tag tag = mst_value_tag(value);
    if (tag != MST_INT && tag != MST_DOUBLE)
        return 0;
    struct mst__sums *sums = &figures->sums[group];
    if (sums->numbers == 0 || mst_value_compare_numbers(value, sums->least) < 0)
        memcpy(sums->least, value, sizeof sums->least);
    if (sums->numbers == 0 || mst_value_compare_numbers(value, sums->most) > 0)
        memcpy(sums->most, value, sizeof sums->most);
    sums->numbers++;
    add_to_sum(sums, value);
    return figures->budget ? keep_sample(figures, group, mst_value_double(value), error) : 0;
}

int mst__figures_add(struct mst__figures *figures, uint32_t group, uint32_t row, struct mst_error *error)
{
    if (make_room(figures, group) < 0)
        return MST_ENOMEM;
    const struct mst_row_scratch *scratch = &figures->scratch;
    const uint8_t *value = mst_row_value(figures->view, figures->column, &figures->path, row, &figures->scratch);
    if (scratch->document.failed || scratch->finals.failed)
        return MST_ENOMEM;
    if (!value)
        return 0;
    figures->sums[group].present++;
    if (mst_value_tag(value) != MST_ARRAY && mst_value_tag(value) != MST_FINALS)
        return add_number(figures, group, value, error);
    const uint8_t *position = NULL, *element;
    int code = 0;
    while (code == 0 && mst_value_next(value, &position, &element))
        code = add_number(figures, group, element, error);
    return code;
}

/* Puts the samples of each group side by side (a counting sort). */
static int spread_samples(struct mst__figures *figures)
{
    size_t count = 0;
    figures->starts = calloc((size_t)figures->groups + 2, sizeof *figures->starts);
    if (!figures->starts)
        return MST_ENOMEM;
    /* Two places ahead, so that filling moves each start to where it belongs. */
    for (const struct mst__samples *block = figures->first; block; block = block->next) {
        for (uint32_t i = 0; i < block->count; i++)
            figures->starts[block->groups[i] + 2]++;
        count += block->count;
    }
    figures->sorted = malloc((count + 1) * sizeof *figures->sorted);
    if (!figures->sorted)
        return MST_ENOMEM;
    for (uint32_t i = 2; i <= figures->groups + 1; i++)
        figures->starts[i] += figures->starts[i - 1];
    for (const struct mst__samples *block = figures->first; block; block = block->next)
        for (uint32_t i = 0; i < block->count; i++)
            figures->sorted[figures->starts[block->groups[i] + 1]++] = block->numbers[i];
    free_samples(figures);
    return 0;
}

static void sift_down(double *heap, size_t at, size_t count)
{
    double number = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1] > heap[child])
            child++;
        if (heap[child] <= number)
            break;
        heap[at] = heap[child];
    }
    heap[at] = number;
}

/* A heap sort: needs no memory, and no order of the numbers makes it slow. */
static void sort_numbers(double *numbers, size_t count)
{
    for (size_t i = count / 2; i-- > 0;)
        sift_down(numbers, i, count);
    for (size_t end = count; end-- > 1;) {
        double most = numbers[0];
        numbers[0] = numbers[end];
        numbers[end] = most;
        sift_down(numbers, 0, end);
    }
}

/* Moves the smaller ones to the front; returns the last place of the front, which is not the last of all. */
static size_t part_numbers(double *numbers, size_t low, size_t high)
{
    double pivot = numbers[low + (high - low) / 2];
    for (;;) {
        while (numbers[low] < pivot)
            low++;
        while (numbers[high] > pivot)
            high--;
        if (low >= high)
            return high;
        double swapped = numbers[low];
        numbers[low++] = numbers[high];
        numbers[high--] = swapped;
    }
}

/*
 * The number at `rank` (from 0) in ascending order; moves the numbers. Hoare's selection with the middle one as pivot,
 * which some orders make quadratic: where twice the rounds of a good run were not enough, the rest is sorted.
 */
static double select_rank(double *numbers, size_t count, size_t rank)
{
    size_t low = 0, high = count - 1;
    unsigned rounds = 2 * (64 - (unsigned)__builtin_clzll(count));
    for (; low < high && rounds > 0; rounds--) {
        size_t front = part_numbers(numbers, low, high);
        if (rank <= front)
            high = front;
        else
            low = front + 1;
    }
    if (low < high)
        sort_numbers(numbers + low, high - low + 1);
    return numbers[rank];
}

static void put_number(struct mst_buffer *out, double number, bool whole)
{
    if (whole && fabs(number) < 0x1p53)
        mst_json_put_int(out, (int64_t)number);
    else
        mst_json_put_double(out, number);
}

static int put_percentile(struct mst__figures *figures, uint32_t group, struct mst__percent percent,
                          struct mst_buffer *out)
{
    if (!figures->sorted && spread_samples(figures) < 0)
        return MST_ENOMEM;
    size_t start = figures->starts[group], count = figures->starts[group + 1] - start;
    double number = select_rank(figures->sorted + start, count, mst__percent_rank(percent, count) - 1);
    put_number(out, number, !figures->sums[group].fraction);
    return 0;
}

static void put_sum(const struct mst__sums *sums, struct mst_buffer *out)
{
    if (!sums->fraction && !sums->broken)
        mst_json_put_int(out, sums->whole);
    else
        mst_json_put_double(out, (double)(sums->sum + sums->carry));
}

int mst__figures_put(struct mst__figures *figures, uint32_t group, enum mst__figure figure, struct mst__percent percent,
                     struct mst_buffer *out)
{
    static const struct mst__sums nothing;
    const struct mst__sums *sums = group < figures->groups ? &figures->sums[group] : &nothing;
    if (figure == MST__COUNT) {
        mst_buffer_append_u64(out, sums->present);
    } else if (figure == MST__SUM) {
        put_sum(sums, out);
    } else if (sums->numbers == 0) {
        mst_buffer_append_string(out, "null");
    } else if (figure == MST__AVG) {
        mst_json_put_double(out, (double)((sums->sum + sums->carry) / (long double)sums->numbers));
    } else if (figure == MST__PERCENTILE) {
        return put_percentile(figures, group, percent, out);
    } else {
        mst_json_put_value(out, figure == MST__MIN ? sums->least : sums->most);
    }
    return 0;
}
