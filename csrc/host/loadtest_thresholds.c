// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "host/loadtest_internal.h"

/* Seconds; NAN: nothing was measured, or there is no such metric. */
static double latency(const struct mst_hdr *hdr, const char *metric)
{
    double percentile;
    char rest;
    if (mst_hdr_count(hdr) == 0)
        return NAN;
    if (strcmp(metric, "mean") == 0)
        return mst_hdr_mean(hdr) * MST__LOAD_TICK / 1e9;
    if (strcmp(metric, "min") == 0)
        return mst__load_ms(hdr, 0) / 1e3;
    if (strcmp(metric, "max") == 0)
        return mst__load_ms(hdr, 100) / 1e3;
    if (sscanf(metric, "p%lf%c", &percentile, &rest) == 1 && percentile >= 0 && percentile <= 100)
        return mst__load_ms(hdr, percentile) / 1e3;
    return NAN;
}

static double error_rate(uint64_t ok, uint64_t failed)
{
    return ok + failed ? (double)failed / (double)(ok + failed) : NAN;
}

static double of_kind(const struct mst__load *load, int kind, const char *metric)
{
    const struct mst__load_numbers *numbers = &load->numbers[kind];
    if (strcmp(metric, "error_rate") == 0)
        return error_rate(numbers->ok, numbers->failed);
    return latency(numbers->latency, metric);
}

static double of_all(const struct mst__load *load, const char *metric)
{
    const struct mst__load_delivery *delivery = &load->delivery;
    bool counted = mst__load_receivers_any(&load->receivers);
    uint64_t ok = mst__load_sum(load, true);
    if (strcmp(metric, "error_rate") == 0)
        return error_rate(ok, mst__load_sum(load, false));
    if (strcmp(metric, "rate") == 0)
        return mst__load_elapsed(load) > 0 ? (double)ok / mst__load_elapsed(load) : NAN;
    if (strcmp(metric, "delivery") == 0)
        return delivery->targets ? (double)(counted ? delivery->received - delivery->duplicates : delivery->published) /
                                       (double)delivery->targets
                                 : NAN;
    struct mst_hdr *all = mst__load_all(load, false);
    double value = all ? latency(all, metric) : NAN;
    mst_hdr_destroy(all);
    return value;
}

static double actual(const struct mst__load *load, const char *metric)
{
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++) {
        size_t length = strlen(mst__load_kind_names[kind]);
        if (strncmp(metric, mst__load_kind_names[kind], length) == 0 && metric[length] == '.')
            return of_kind(load, kind, metric + length + 1);
    }
    return of_all(load, metric);
}

/* False for NAN: what was not measured has not passed. */
static bool holds(const struct mst__load_threshold *threshold)
{
    bool equal = threshold->operator_[1] == '=' && threshold->actual == threshold->value;
    return equal || (threshold->operator_[0] == '<' ? threshold->actual < threshold->value
                                                    : threshold->actual > threshold->value);
}

void mst__load_thresholds_judge(struct mst__load *load)
{
    for (uint32_t i = 0; i < load->options.threshold_count; i++) {
        struct mst__load_threshold *threshold = &load->options.thresholds[i];
        threshold->actual = actual(load, threshold->metric);
        threshold->passed = holds(threshold);
    }
}

uint32_t mst__load_thresholds_failed(const struct mst__load *load)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < load->options.threshold_count; i++)
        failed += !load->options.thresholds[i].passed;
    return failed;
}

bool mst__load_tolerates_errors(const struct mst__load *load)
{
    bool found = false;
    for (uint32_t i = 0; i < load->options.threshold_count; i++)
        found |= strcmp(load->options.thresholds[i].metric, "error_rate") == 0;
    return found;
}
