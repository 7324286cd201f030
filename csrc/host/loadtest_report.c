// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "host/loadtest_internal.h"

static const double percentiles[] = {50, 90, 95, 99, 99.9};

static double share(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void put_rule(FILE *out, const char *title)
{
    int used = title[0] ? fprintf(out, "== %s ", title) : 0;
    for (; used < 96; used++)
        fputc('=', out);
    fputc('\n', out);
}

static void put_head(const struct mst__load *load, FILE *out)
{
    char title[160], planned[32], ok[32], failed[32];
    uint64_t total = mst__load_planned(load), good = mst__load_sum(load, true), bad = mst__load_sum(load, false);
    double elapsed = mst__load_elapsed(load);
    if (strcmp(load->options.mode, "mixed") == 0)
        fputs("Mixed Workload Load Test Results\n", out);
    snprintf(title, sizeof title, "muster loadtest %.20s, run %s, %.1f s%s", load->options.mode, load->run, elapsed,
             load->signal ? ", interrupted" : "");
    put_rule(out, title);
    fprintf(out, "Operations       planned %s   ok %s (%.3f %%)   failed %s (%.3f %%)\n",
            mst__load_grouped(total, planned), mst__load_grouped(good, ok), share(good, total),
            mst__load_grouped(bad, failed), share(bad, total));
    fprintf(out, "Rate             %.2f/s carried out, %.6g/s planned, seed %llu\n",
            elapsed > 0 ? (double)good / elapsed : 0, load->options.rate, (unsigned long long)load->options.seed);
}

static void put_latency_row(FILE *out, const char *name, const struct mst_hdr *hdr)
{
    char count[32];
    if (mst_hdr_count(hdr) == 0)
        return;
    fprintf(out, "%-9s %10s %9.3f %9.3f", name, mst__load_grouped(mst_hdr_count(hdr), count), mst__load_ms(hdr, 0),
            mst_hdr_mean(hdr) * MST__LOAD_TICK / 1e6);
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        fprintf(out, " %9.3f", mst__load_ms(hdr, percentiles[i]));
    fprintf(out, " %9.3f\n", mst__load_ms(hdr, 100));
}

static void put_latencies(const struct mst__load *load, FILE *out, bool service)
{
    fputs(service ? "\nService time, ms, from the moment of sending (what a closed-loop tool would report)\n"
                  : "\nLatency, ms, from the planned start of each operation (coordinated omission corrected)\n",
          out);
    fprintf(out, "%-9s %10s %9s %9s %9s %9s %9s %9s %9s %9s\n", "", "n", "min", "mean", "p50", "p90", "p95", "p99",
            "p99.9", "max");
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++)
        put_latency_row(out, mst__load_kind_names[kind],
                        service ? load->numbers[kind].service : load->numbers[kind].latency);
    struct mst_hdr *all = mst__load_all(load, service);
    if (all)
        put_latency_row(out, "all", all);
    mst_hdr_destroy(all);
}

static void put_distribution(const struct mst__load *load, FILE *out)
{
    uint64_t total = mst__load_sum(load, true), most = 1;
    char count[32], band[32];
    fputs("\nDistribution (from the planned start)\n", out);
    for (int i = 0; i < MST__LOAD_BANDS; i++)
        most = load->spread[i] > most ? load->spread[i] : most;
    for (int i = 0; i < MST__LOAD_BANDS; i++) {
        if (load->spread[i] == 0)
            continue;
        if (i == 0)
            snprintf(band, sizeof band, "<= %g ms", mst__load_bands[0]);
        else if (isinf(mst__load_bands[i]))
            snprintf(band, sizeof band, "> %g", mst__load_bands[i - 1]);
        else
            snprintf(band, sizeof band, "%g - %g", mst__load_bands[i - 1], mst__load_bands[i]);
        fprintf(out, "%14s %10s %5.1f %%  ", band, mst__load_grouped(load->spread[i], count),
                share(load->spread[i], total));
        for (uint64_t mark = 0; mark < (load->spread[i] * 40 + most - 1) / most; mark++)
            fputs("█", out);
        fputc('\n', out);
    }
}

static void put_failures(const struct mst__load *load, FILE *out)
{
    uint64_t sums[MST__LOAD_CLASSES] = {0}, total = 0;
    fputs("\nFailures by class\n             timeout  connection  logic   total\n", out);
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++) {
        const struct mst__load_numbers *numbers = &load->numbers[kind];
        if (numbers->planned)
            fprintf(out, "%-10s %9llu %11llu %6llu %7llu\n", mst__load_kind_names[kind],
                    (unsigned long long)numbers->failures[MST__LOAD_TIMEOUT],
                    (unsigned long long)numbers->failures[MST__LOAD_CONNECTION],
                    (unsigned long long)numbers->failures[MST__LOAD_LOGIC], (unsigned long long)numbers->failed);
        for (int class_ = 0; class_ < MST__LOAD_CLASSES; class_++)
            sums[class_] += numbers->failures[class_];
        total += numbers->failed;
    }
    fprintf(out, "%-10s %9llu %11llu %6llu %7llu\n", "all", (unsigned long long)sums[MST__LOAD_TIMEOUT],
            (unsigned long long)sums[MST__LOAD_CONNECTION], (unsigned long long)sums[MST__LOAD_LOGIC],
            (unsigned long long)total);
    for (uint32_t i = 0; i < load->failure_count; i++) {
        const struct mst__load_failure *failure = &load->failures[i];
        fprintf(out, "  %-10s  %llu x %-9s  %s    first at %.1f s\n", mst__load_class_names[failure->class_],
                (unsigned long long)failure->count, mst__load_kind_names[failure->kind], failure->text, failure->first);
    }
    if (load->failures_left_out)
        fprintf(out, "  and %llu with other texts\n", (unsigned long long)load->failures_left_out);
}

static void put_delivery_row(FILE *out, const char *name, uint64_t count, uint64_t targets)
{
    char text[32];
    fprintf(out, "%-15s %14s  %8.4f %%\n", name, mst__load_grouped(count, text), share(count, targets));
}

static void put_received(const struct mst__load *load, FILE *out)
{
    const struct mst__load_delivery *delivery = &load->delivery;
    char duplicates[32], foreign[32], missing[32], mismatch[32];
    put_delivery_row(out, "received", delivery->received, delivery->targets);
    fprintf(out, "duplicates %s   foreign %s   missing %s   mismatch %s (counts and sums of numbers, per identity)\n",
            mst__load_grouped(delivery->duplicates, duplicates), mst__load_grouped(delivery->foreign, foreign),
            mst__load_grouped(delivery->missing, missing), mst__load_grouped(delivery->mismatch, mismatch));
    if (mst__load_receivers_reconnects(&load->receivers))
        fprintf(out, "receivers lost their connection %llu times and made it again\n",
                (unsigned long long)mst__load_receivers_reconnects(&load->receivers));
    if (mst_hdr_count(delivery->last_arrival))
        fprintf(out, "last target reached, ms from the planned start: p50 %.3f  p99 %.3f  max %.3f\n",
                mst__load_ms(delivery->last_arrival, 50), mst__load_ms(delivery->last_arrival, 99),
                mst__load_ms(delivery->last_arrival, 100));
}

static void put_delivery(const struct mst__load *load, FILE *out)
{
    static const char *const meanings[] = {"none: the server has routed it", "received", "processed"};
    const struct mst__load_delivery *delivery = &load->delivery;
    char count[32];
    if (delivery->multicasts == 0)
        return;
    fprintf(out, "\nDelivery, %s (ack = %s)\n",
            load->receivers.in_process ? "received in this process"
            : load->receivers.count    ? "counted at the receiver"
                                       : "nobody subscribed",
            meanings[load->options.ack]);
    fprintf(out, "multicasts %s   targets per multicast: min %llu, mean %.1f, max %llu\n",
            mst__load_grouped(delivery->multicasts, count), (unsigned long long)delivery->least,
            (double)delivery->targets / (double)delivery->multicasts, (unsigned long long)delivery->most);
    put_delivery_row(out, "targets", delivery->targets, delivery->targets);
    put_delivery_row(out, "published", delivery->published, delivery->targets);
    if (mst__load_receivers_any(&load->receivers))
        put_received(load, out);
    if (delivery->no_receiver)
        put_delivery_row(out, "no receiver", delivery->no_receiver, delivery->targets);
    if (delivery->failed)
        put_delivery_row(out, "failed", delivery->failed, delivery->targets);
    if (delivery->timeout)
        put_delivery_row(out, "timeout", delivery->timeout, delivery->targets);
}

static void put_generator(const struct mst__load *load, FILE *out)
{
    double elapsed = mst__load_elapsed(load), cpu = (double)load->cpu / 1e9;
    char late[32], shed[32];
    fprintf(out, "\nGenerator and coordinator, one process\nCPU %.2f s, %.0f %% of one core", cpu,
            elapsed > 0 ? 100 * cpu / elapsed : 0);
    if (load->delivery.targets)
        fprintf(out, ", %.3f us per target", cpu * 1e6 / (double)load->delivery.targets);
    fprintf(out, "; peak memory %.1f MB", (double)load->resident / 1e6);
    if (load->receivers.count)
        fprintf(out, "; receivers CPU %.2f s", load->receivers.cpu_seconds);
    fprintf(out, "\n%s operations started more than 1 ms late (most %.3f ms), at most %u in flight, %s shed\n",
            mst__load_grouped(load->late, late), (double)load->latest / 1e6, load->peak,
            mst__load_grouped(load->shed, shed));
}

static void put_value(FILE *out, const struct mst__load_threshold *threshold)
{
    if (isnan(threshold->actual))
        fputs("nothing was measured", out);
    else if (strstr(threshold->metric, "error_rate") || strcmp(threshold->metric, "delivery") == 0)
        fprintf(out, "%.4f %%", threshold->actual * 100);
    else if (strcmp(threshold->metric, "rate") == 0)
        fprintf(out, "%.2f/s", threshold->actual);
    else
        fprintf(out, "%.3f ms", threshold->actual * 1e3);
}

static void put_thresholds(const struct mst__load *load, FILE *out)
{
    if (load->options.threshold_count == 0)
        return;
    fputs(load->options.quiet ? "Thresholds\n" : "\nThresholds\n", out);
    for (uint32_t i = 0; i < load->options.threshold_count; i++) {
        const struct mst__load_threshold *threshold = &load->options.thresholds[i];
        fprintf(out, "  %s  %-28s ", threshold->passed ? "pass" : "FAIL", threshold->text);
        put_value(out, threshold);
        fputc('\n', out);
    }
}

void mst__load_report_text(const struct mst__load *load, FILE *out)
{
    uint32_t failed = mst__load_thresholds_failed(load);
    if (!load->options.quiet) {
        put_head(load, out);
        put_latencies(load, out, false);
        put_latencies(load, out, true);
        put_distribution(load, out);
        put_failures(load, out);
        put_delivery(load, out);
        put_generator(load, out);
    }
    put_thresholds(load, out);
    if (!load->options.quiet)
        put_rule(out, "");
    if (failed)
        fprintf(out, "%u of %u thresholds failed (exit 99)\n", failed, load->options.threshold_count);
    fflush(out);
}
