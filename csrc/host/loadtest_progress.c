// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "host/loadtest_internal.h"

/* Everything here goes to standard error; standard output is the report's. */

double mst__load_ms(const struct mst_hdr *hdr, double percentile)
{
    return (double)mst_hdr_percentile(hdr, percentile) * MST__LOAD_TICK / 1e6;
}

struct mst_hdr *mst__load_all(const struct mst__load *load, bool service)
{
    struct mst_hdr *all = mst_hdr_create();
    for (int kind = 0; all && kind < MST__LOAD_KINDS; kind++)
        mst_hdr_add(all, service ? load->numbers[kind].service : load->numbers[kind].latency);
    return all;
}

uint64_t mst__load_sum(const struct mst__load *load, bool ok)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++)
        sum += ok ? load->numbers[kind].ok : load->numbers[kind].failed;
    return sum;
}

uint64_t mst__load_planned(const struct mst__load *load)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++)
        sum += load->numbers[kind].planned;
    return sum;
}

double mst__load_elapsed(const struct mst__load *load)
{
    uint64_t planned = mst__load_schedule_at(&load->schedule, load->next);
    uint64_t elapsed = load->ended > load->start ? load->ended - load->start : 0;
    return (double)(elapsed > planned ? elapsed : planned) / 1e9;
}

const char *mst__load_grouped(uint64_t number, char text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

void mst__load_progress_clear(struct mst__load *load)
{
    if (load->line_open)
        fputs("\r\033[K", stderr);
    load->line_open = false;
}

void mst__load_say(const struct mst__load *load, const char *format, ...)
{
    va_list arguments;
    if (load->options.progress != MST__LOAD_TEXT)
        return;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static void say_plan(const struct mst__load *load)
{
    const struct mst__load_options *options = &load->options;
    char number[32];
    mst__load_say(
        load, "plan   %.6g/s for %.6g s = %s operations, %.4g %% register %.4g %% enumerate %.4g %% multicast",
        options->rate, options->duration, mst__load_grouped(load->schedule.total, number),
        options->mix[MST__LOAD_REGISTER], options->mix[MST__LOAD_ENUMERATE], options->mix[MST__LOAD_MULTICAST]);
}

void mst__load_progress_head(struct mst__load *load)
{
    const struct mst__load_options *options = &load->options;
    bool rough = load->jitter_p99 > 1e-3;
    mst__load_say(load, "run %s, seed %llu, namespace %s (removed at the end)", load->run,
                  (unsigned long long)options->seed, load->namespace_);
    if (options->embedded)
        mst__load_say(load, "target embedded: registry and messaging in this process, muster %s", mst_version());
    else
        mst__load_say(load, "target redis %s:%d db %d, nats %s, muster %s", options->redis_host, options->redis_port,
                      options->redis_db, options->nats_servers, mst_version());
    mst__load_say(load, "host   timer jitter over 0.2 s: p99 %.2f ms, max %.2f ms: %s", load->jitter_p99 * 1e3,
                  load->jitter_max * 1e3, rough ? "this machine is busy, the tail will show it" : "ok");
    say_plan(load);
}

void mst__load_progress_table(struct mst__load *load)
{
    static const char *const acks[] = {"none", "received", "processed"};
    char preloaded[32], subjects[32];
    const struct mst__load_receivers *receivers = &load->receivers;
    mst__load_grouped(load->identities, preloaded);
    mst__load_grouped(receivers->gateways ? receivers->gateways : receivers->identities, subjects);
    if (receivers->in_process)
        mst__load_say(load, "ready  %s identities preloaded, received in this process, ack %s\n", preloaded,
                      acks[load->options.ack]);
    else
        mst__load_say(load, "ready  %s identities preloaded, %u receiver process%s, %s subjects, ack %s\n", preloaded,
                      receivers->count, receivers->count == 1 ? "" : "es", subjects, acks[load->options.ack]);
    mst__load_say(load, "              ok  /s now   plan /s   p50 ms     p99     max   err  peak  late");
}

/* The kinds' windows together, which are then empty. */
static void close_window(struct mst__load *load, struct mst_hdr *all)
{
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++) {
        mst_hdr_add(all, load->numbers[kind].window);
        mst_hdr_reset(load->numbers[kind].window);
    }
    load->window_answers = 0;
    load->window_peak = load->in_flight;
}

static void say_kinds(struct mst__load *load)
{
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++) {
        const struct mst_hdr *window = load->numbers[kind].window;
        if (mst_hdr_count(window))
            mst__load_say(load, "         %-9s %8llu                    %8.2f %7.1f %7.1f", mst__load_kind_names[kind],
                          (unsigned long long)mst_hdr_count(window), mst__load_ms(window, 50), mst__load_ms(window, 99),
                          mst__load_ms(window, 100));
    }
}

void mst__load_progress_line(struct mst__load *load)
{
    if (load->options.progress == MST__LOAD_SILENT)
        return;
    uint64_t now = mst_clock_monotonic();
    double seconds = (double)(now - load->window_began) / 1e9, at = (double)(now - load->start) / 1e9;
    struct mst_hdr *window = mst_hdr_create();
    char ok[32], late[32], errors[32], rate[32], plan[32];
    if (!window || seconds <= 0) {
        mst_hdr_destroy(window);
        return;
    }
    mst__load_progress_clear(load);
    double answers = (double)load->window_answers / seconds;
    uint32_t peak = load->window_peak;
    if (load->options.verbose)
        say_kinds(load);
    close_window(load, window);
    load->window_began = now;
    mst__load_grouped(mst__load_sum(load, true), ok);
    mst__load_grouped(load->late, late);
    mst__load_grouped(mst__load_sum(load, false), errors);
    mst__load_grouped((uint64_t)(answers + 0.5), rate);
    mst__load_grouped((uint64_t)(load->options.rate + 0.5), plan);
    mst__load_say(load, "[%4.0fs] %9s %7s %9s %8.2f %7.1f %7.1f %5s %5u %5s", at, ok, rate, plan,
                  mst__load_ms(window, 50), mst__load_ms(window, 99), mst__load_ms(window, 100), errors, peak, late);
    if (load->options.progress == MST__LOAD_JSON)
        fprintf(stderr,
                "{\"t\":%.3f,\"ok\":%llu,\"failed\":%llu,\"rate\":%.3f,\"plan\":%.3f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,"
                "\"max_ms\":%.4f,\"peak\":%u,\"late\":%llu}\n",
                at, (unsigned long long)mst__load_sum(load, true), (unsigned long long)mst__load_sum(load, false),
                answers, load->options.rate, mst__load_ms(window, 50), mst__load_ms(window, 99),
                mst__load_ms(window, 100), peak, (unsigned long long)load->late);
    mst_hdr_destroy(window);
}

void mst__load_progress_status(struct mst__load *load)
{
    uint64_t now = mst_clock_monotonic();
    double at = now > load->start ? (double)(now - load->start) / 1e9 : 0, left = load->options.duration - at;
    fprintf(stderr, "\r\033[K%.0fs  %llu ok  %llu failed  in flight %u  ", at,
            (unsigned long long)mst__load_sum(load, true), (unsigned long long)mst__load_sum(load, false),
            load->in_flight);
    if (load->fired)
        fprintf(stderr, "draining");
    else
        fprintf(stderr, "%.0f s to go", left > 0 ? left : 0);
    fflush(stderr);
    load->line_open = true;
}
