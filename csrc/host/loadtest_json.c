// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "host/loadtest_internal.h"

#define U(number) ((unsigned long long)(number))

static void put_text(struct mst_buffer *out, const char *key, const char *text)
{
    mst_buffer_appendf(out, "\"%s\":", key);
    if (text)
        mst_json_put_string(out, text, strlen(text));
    else
        mst_buffer_append_string(out, "null");
}

static void put_run(const struct mst__load *load, struct mst_buffer *out)
{
    static const char *const acks[] = {"none", "received", "processed"};
    const struct mst__load_options *options = &load->options;
    uint64_t ok = mst__load_sum(load, true), failed = mst__load_sum(load, false);
    double elapsed = mst__load_elapsed(load);
    mst_buffer_append_string(out, "\"run\":{");
    put_text(out, "id", load->run);
    mst_buffer_append_byte(out, ',');
    put_text(out, "namespace", load->namespace_);
    mst_buffer_appendf(out, ",\"left_behind\":%s,\"exit_code\":%d,", load->left_behind ? "true" : "false",
                       load->exit_code);
    put_text(out, "mode", options->mode);
    mst_buffer_append_byte(out, ',');
    put_text(out, "version", mst_version());
    mst_buffer_appendf(out, ",\"seed\":%llu,\"plan_digest\":\"%016llx\",\"duration_s\":%.10g,\"elapsed_s\":%.6f",
                       U(options->seed), U(load->schedule.digest), options->duration, elapsed);
    mst_buffer_appendf(out, ",\"planned\":%llu,\"ok\":%llu,\"failed\":%llu,\"rate_planned\":%.10g,\"rate_actual\":%.4f",
                       U(mst__load_planned(load)), U(ok), U(failed), options->rate,
                       elapsed > 0 ? (double)ok / elapsed : 0);
    mst_buffer_appendf(
        out, ",\"interrupted\":%s,\"embedded\":%s,\"ack\":\"%s\",\"gateways\":%u,\"preload\":%llu,\"argv\":%s}",
        load->signal ? "true" : "false", options->embedded ? "true" : "false", acks[options->ack], options->gateways,
        U(options->preload), options->argv);
}

/* Milliseconds; {} with n 0 where nothing was measured. */
static void put_latency(struct mst_buffer *out, const char *key, const struct mst_hdr *hdr)
{
    static const struct {
        const char *key;
        double percentile;
    } points[] = {{"min", 0},  {"p50", 50},    {"p90", 90},      {"p95", 95},
                  {"p99", 99}, {"p999", 99.9}, {"p9999", 99.99}, {"max", 100}};
    mst_buffer_appendf(out, "\"%s\":{\"n\":%llu,\"mean\":%.4f", key, U(mst_hdr_count(hdr)),
                       mst_hdr_mean(hdr) * MST__LOAD_TICK / 1e6);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        mst_buffer_appendf(out, ",\"%s\":%.4f", points[i].key, mst__load_ms(hdr, points[i].percentile));
    mst_buffer_append_byte(out, '}');
}

static void put_numbers(struct mst_buffer *out, const char *key, uint64_t planned, uint64_t ok, uint64_t failed,
                        const struct mst_hdr *latency, const struct mst_hdr *service)
{
    mst_buffer_appendf(out, "\"%s\":{\"count\":%llu,\"ok\":%llu,\"failed\":%llu,", key, U(planned), U(ok), U(failed));
    put_latency(out, "latency_ms", latency);
    mst_buffer_append_byte(out, ',');
    put_latency(out, "service_ms", service);
    mst_buffer_append_byte(out, '}');
}

static void put_operations(const struct mst__load *load, struct mst_buffer *out)
{
    struct mst_hdr *latency = mst__load_all(load, false), *service = mst__load_all(load, true);
    mst_buffer_append_string(out, ",\"operations\":{");
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++) {
        const struct mst__load_numbers *numbers = &load->numbers[kind];
        put_numbers(out, mst__load_kind_names[kind], numbers->planned, numbers->ok, numbers->failed, numbers->latency,
                    numbers->service);
        mst_buffer_append_byte(out, ',');
    }
    if (latency && service)
        put_numbers(out, "all", mst__load_planned(load), mst__load_sum(load, true), mst__load_sum(load, false), latency,
                    service);
    else
        out->failed = true;
    mst_buffer_append_byte(out, '}');
    mst_hdr_destroy(latency);
    mst_hdr_destroy(service);
}

static void put_distribution(const struct mst__load *load, struct mst_buffer *out)
{
    mst_buffer_append_string(out, ",\"distribution\":[");
    for (int i = 0; i < MST__LOAD_BANDS; i++) {
        mst_buffer_append_string(out, i ? ",[" : "[");
        if (isinf(mst__load_bands[i]))
            mst_buffer_append_string(out, "null");
        else
            mst_buffer_appendf(out, "%.10g", mst__load_bands[i]);
        mst_buffer_appendf(out, ",%llu]", U(load->spread[i]));
    }
    mst_buffer_append_byte(out, ']');
}

static void put_failures(const struct mst__load *load, struct mst_buffer *out)
{
    mst_buffer_append_string(out, ",\"failures\":{");
    for (int class_ = 0; class_ < MST__LOAD_CLASSES; class_++) {
        uint64_t sum = 0;
        for (int kind = 0; kind < MST__LOAD_KINDS; kind++)
            sum += load->numbers[kind].failures[class_];
        mst_buffer_appendf(out, "%s\"%s\":%llu", class_ ? "," : "", mst__load_class_names[class_], U(sum));
    }
    mst_buffer_append_string(out, "},\"samples\":[");
    for (uint32_t i = 0; i < load->failure_count; i++) {
        const struct mst__load_failure *failure = &load->failures[i];
        mst_buffer_appendf(out, "%s{\"class\":\"%s\",\"operation\":\"%s\",\"count\":%llu,\"first_s\":%.3f,",
                           i ? "," : "", mst__load_class_names[failure->class_], mst__load_kind_names[failure->kind],
                           U(failure->count), failure->first);
        put_text(out, "message", failure->text);
        mst_buffer_append_byte(out, '}');
    }
    mst_buffer_append_byte(out, ']');
}

static void put_counted(struct mst_buffer *out, bool counted, const char *key, uint64_t number)
{
    if (counted)
        mst_buffer_appendf(out, ",\"%s\":%llu", key, U(number));
    else
        mst_buffer_appendf(out, ",\"%s\":null", key);
}

static void put_delivery(const struct mst__load *load, struct mst_buffer *out)
{
    const struct mst__load_delivery *delivery = &load->delivery;
    bool counted = mst__load_receivers_any(&load->receivers);
    mst_buffer_appendf(out, ",\"delivery\":{\"targets\":%llu,\"published\":%llu", U(delivery->targets),
                       U(delivery->published));
    put_counted(out, counted, "received", delivery->received);
    mst_buffer_appendf(out, ",\"no_receiver\":%llu,\"failed\":%llu,\"timeout\":%llu", U(delivery->no_receiver),
                       U(delivery->failed), U(delivery->timeout));
    put_counted(out, counted, "duplicates", delivery->duplicates);
    put_counted(out, counted, "foreign", delivery->foreign);
    put_counted(out, counted, "missing", delivery->missing);
    put_counted(out, counted, "mismatch", delivery->mismatch);
    put_counted(out, counted, "reconnects", mst__load_receivers_reconnects(&load->receivers));
    mst_buffer_appendf(
        out,
        ",\"receiver_count\":%u,\"multicasts\":%llu,\"targets_min\":%llu,\"targets_mean\":%.3f,\"targets_max\":%llu,",
        load->receivers.in_process ? 1 : load->receivers.count, U(delivery->multicasts), U(delivery->least),
        delivery->multicasts ? (double)delivery->targets / (double)delivery->multicasts : 0, U(delivery->most));
    put_latency(out, "last_arrival_ms", delivery->last_arrival);
    mst_buffer_append_byte(out, '}');
}

static void put_generator(const struct mst__load *load, struct mst_buffer *out)
{
    double cpu = (double)load->cpu / 1e9;
    mst_buffer_appendf(out, ",\"generator\":{\"cpu_s\":%.6f,\"cpu_us_per_target\":", cpu);
    if (load->delivery.targets)
        mst_buffer_appendf(out, "%.6f", cpu * 1e6 / (double)load->delivery.targets);
    else
        mst_buffer_append_string(out, "null");
    mst_buffer_appendf(
        out, ",\"receivers_cpu_s\":%.6f,\"peak_rss_bytes\":%llu,\"late_starts\":%llu,\"latest_start_ms\":%.4f",
        load->receivers.cpu_seconds, U(load->resident), U(load->late), (double)load->latest / 1e6);
    mst_buffer_appendf(
        out,
        ",\"peak_in_flight\":%u,\"shed\":%llu,\"jitter_p99_ms\":%.4f,\"jitter_max_ms\":%.4f,\"histogram_unit_ns\":%d}",
        load->peak, U(load->shed), load->jitter_p99 * 1e3, load->jitter_max * 1e3, MST__LOAD_TICK);
}

static void put_thresholds(const struct mst__load *load, struct mst_buffer *out)
{
    mst_buffer_append_string(out, ",\"thresholds\":[");
    for (uint32_t i = 0; i < load->options.threshold_count; i++) {
        const struct mst__load_threshold *threshold = &load->options.thresholds[i];
        mst_buffer_append_string(out, i ? ",{" : "{");
        put_text(out, "metric", threshold->metric);
        mst_buffer_appendf(out, ",\"operator\":\"%s\",\"value\":%.10g,\"actual\":", threshold->operator_,
                           threshold->value);
        if (isnan(threshold->actual))
            mst_buffer_append_string(out, "null");
        else
            mst_buffer_appendf(out, "%.10g", threshold->actual);
        mst_buffer_append_byte(out, ',');
        put_text(out, "text", threshold->text);
        mst_buffer_appendf(out, ",\"passed\":%s}", threshold->passed ? "true" : "false");
    }
    mst_buffer_append_byte(out, ']');
}

void mst__load_report_json(const struct mst__load *load, struct mst_buffer *out)
{
    mst_buffer_append_byte(out, '{');
    put_run(load, out);
    put_operations(load, out);
    put_distribution(load, out);
    put_failures(load, out);
    put_delivery(load, out);
    put_generator(load, out);
    put_thresholds(load, out);
    mst_buffer_append_byte(out, '}');
}
