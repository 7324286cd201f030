// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/aggregate.h"
#include "model/json.h"
#include "model/value.h"

struct sample {
    uint32_t group;
    double number;
};

void mst__figures_init(struct mst__figures *figures, struct mst_view *view, const struct mst_path *path)
{
    *figures = (struct mst__figures){.view = view, .path = *path, .column = mst_view_column(view, path)};
}

void mst__figures_deinit(struct mst__figures *figures)
{
    free(figures->sums);
    free(figures->starts);
    free(figures->sorted);
    mst_buffer_deinit(&figures->samples);
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
    double number = mst_value_double(value), sum = sums->sum + number;
    sums->carry += fabs(sums->sum) >= fabs(number) ? (sums->sum - sum) + number : (number - sum) + sums->sum;
    sums->sum = sum;
    if (mst_value_tag(value) != MST_INT)
        sums->fraction = true;
    else if (!sums->broken && __builtin_add_overflow(sums->whole, mst_value_int(value), &sums->whole))
        sums->broken = true;
}

static void add_number(struct mst__figures *figures, uint32_t group, const uint8_t *value)
{
    enum mst_tag tag = mst_value_tag(value);
    if (tag != MST_INT && tag != MST_DOUBLE)
        return;
    struct mst__sums *sums = &figures->sums[group];
    if (sums->numbers == 0 || mst_value_compare_numbers(value, sums->least) < 0)
        memcpy(sums->least, value, sizeof sums->least);
    if (sums->numbers == 0 || mst_value_compare_numbers(value, sums->most) > 0)
        memcpy(sums->most, value, sizeof sums->most);
    sums->numbers++;
    add_to_sum(sums, value);
    if (figures->sampled) {
        const struct sample sample = {group, mst_value_double(value)};
        mst_buffer_append(&figures->samples, &sample, sizeof sample);
    }
}

int mst__figures_add(struct mst__figures *figures, uint32_t group, uint32_t row)
{
    if (make_room(figures, group) < 0)
        return MST_ENOMEM;
    const uint8_t *value = mst_row_value(figures->view, figures->column, &figures->path, row, &figures->scratch);
    if (value) {
        figures->sums[group].present++;
        if (mst_value_tag(value) == MST_ARRAY || mst_value_tag(value) == MST_FINALS) {
            const uint8_t *position = NULL, *element;
            while (mst_value_next(value, &position, &element))
                add_number(figures, group, element);
        } else {
            add_number(figures, group, value);
        }
    }
    const struct mst_row_scratch *scratch = &figures->scratch;
    return figures->samples.failed || scratch->document.failed || scratch->finals.failed ? MST_ENOMEM : 0;
}

/* Puts the samples of each group side by side (a counting sort). */
static int spread_samples(struct mst__figures *figures)
{
    size_t count = figures->samples.length / sizeof(struct sample);
    const char *samples = figures->samples.data;
    figures->starts = calloc((size_t)figures->groups + 2, sizeof *figures->starts);
    figures->sorted = malloc((count + 1) * sizeof *figures->sorted);
    if (!figures->starts || !figures->sorted)
        return MST_ENOMEM;
    struct sample sample;
    /* Two places ahead, so that filling moves each start to where it belongs. */
    for (size_t i = 0; i < count; i++) {
        memcpy(&sample, samples + i * sizeof sample, sizeof sample);
        figures->starts[sample.group + 2]++;
    }
    for (uint32_t i = 2; i <= figures->groups + 1; i++)
        figures->starts[i] += figures->starts[i - 1];
    for (size_t i = 0; i < count; i++) {
        memcpy(&sample, samples + i * sizeof sample, sizeof sample);
        figures->sorted[figures->starts[sample.group + 1]++] = sample.number;
    }
    return 0;
}

/* The number at `rank` (from 0) in ascending order; moves the numbers (Hoare's selection, the middle one as pivot). */
static double select_rank(double *numbers, size_t count, size_t rank)
{
    size_t low = 0, high = count - 1;
    while (low < high) {
        double pivot = numbers[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (numbers[i] < pivot)
                i++;
            while (numbers[j] > pivot)
                j--;
            if (i >= j)
                break;
            double swapped = numbers[i];
            numbers[i++] = numbers[j];
            numbers[j--] = swapped;
        }
        if (rank <= j)
            high = j;
        else
            low = j + 1;
    }
    return numbers[rank];
}

static void put_number(struct mst_buffer *out, double number, bool whole)
{
    if (whole && fabs(number) < 0x1p53)
        mst_json_put_int(out, (int64_t)number);
    else
        mst_json_put_double(out, number);
}

static int put_percentile(struct mst__figures *figures, uint32_t group, double percent, struct mst_buffer *out)
{
    if (!figures->starts && spread_samples(figures) < 0)
        return MST_ENOMEM;
    size_t start = figures->starts[group], count = figures->starts[group + 1] - start;
    size_t rank = (size_t)ceil(percent / 100 * (double)count);
    double number = select_rank(figures->sorted + start, count, rank ? rank - 1 : 0);
    put_number(out, number, !figures->sums[group].fraction);
    return 0;
}

static void put_sum(const struct mst__sums *sums, struct mst_buffer *out)
{
    if (!sums->fraction && !sums->broken)
        mst_json_put_int(out, sums->whole);
    else
        mst_json_put_double(out, sums->sum + sums->carry);
}

int mst__figures_put(struct mst__figures *figures, uint32_t group, enum mst__figure figure, double percent,
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
        mst_json_put_double(out, (sums->sum + sums->carry) / (double)sums->numbers);
    } else if (figure == MST__PERCENTILE) {
        return put_percentile(figures, group, percent, out);
    } else {
        mst_json_put_value(out, figure == MST__MIN ? sums->least : sums->most);
    }
    return 0;
}
