// SPDX-License-Identifier: Apache-2.0
#include "host/loadtest.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/loadtest_internal.h"
#include "io/redis_registry.h"

#define DRAIN_TIMEOUT (20 * MST_NS_PER_SECOND) /* more than any request may take */
#define SILENCE (2 * MST_NS_PER_SECOND)        /* of receivers that still lack something */
#define GRACE (50 * MST_NS_PER_MS)             /* for messages too many */
#define LOOK (5 * MST_NS_PER_MS)
#define LEAD (10 * MST_NS_PER_MS) /* between here and operation 0 */
#define DROP_TIMEOUT (10 * MST_NS_PER_SECOND)
#define STATUS_INTERVAL (250 * MST_NS_PER_MS)
#define PROBES 200u

/* ------------------------------------------------------------------------------------------------ helpers */

static struct mst_timers *timers_of(struct mst__load *load)
{
    return &load->host->loop.timers;
}

static void set_flag(struct mst_timer *timer, void *owner)
{
    (void)timer;
    *(bool *)owner = true;
}

/* A run's name: eight of Crockford's base 32, from random bits. */
static int name_run(struct mst__load *load, struct mst_error *error)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    unsigned char bytes[8];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return mst_error_set(error, MST_EINTERNAL, "no random numbers for the name of the run");
    for (size_t i = 0; i < sizeof bytes; i++)
        load->run[i] = alphabet[bytes[i] % 32];
    snprintf(load->namespace_, sizeof load->namespace_, "lt-%s", load->run);
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

/* How late the system wakes us when nothing is to be done: what the host adds to every figure. */
static void probe_jitter(struct mst__load *load)
{
    double late[PROBES];
    uint64_t at = mst_clock_monotonic();
    for (uint32_t i = 0; i < PROBES; i++) {
        at += MST_NS_PER_MS;
        struct timespec until = {(time_t)(at / MST_NS_PER_SECOND), (long)(at % MST_NS_PER_SECOND)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        uint64_t now = mst_clock_monotonic();
        late[i] = now > at ? (double)(now - at) / 1e9 : 0;
    }
    qsort(late, PROBES, sizeof *late, compare_doubles);
    load->jitter_p99 = late[PROBES * 99 / 100 - 1];
    load->jitter_max = late[PROBES - 1];
}

/* ------------------------------------------------------------------------------------------------ signals */

static void on_signal(uv_signal_t *handle, int number)
{
    struct mst__load *load = handle->data;
    if (load->stopping) {
        mst__load_receivers_kill(&load->receivers);
        if (!load->options.embedded && load->identities)
            mst__load_say_left_behind(load, "the run was ended at once");
        _exit(128 + number);
    }
    load->stopping = true;
    load->signal = number;
    mst__load_progress_clear(load);
    mst__load_say(load, "%s: no more operations are sent; once more to leave at once",
                  number == SIGINT ? "SIGINT" : "SIGTERM");
    mst__load_end_sending(load);
}

static void watch_signals(struct mst__load *load)
{
    static const int numbers[2] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        if (uv_signal_init(load->host->loop.uv, &load->signals[i]))
            continue;
        load->signals[i].data = load;
        load->signals_open++;
        uv_signal_start(&load->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&load->signals[i]);
    }
}

static void unwatch_signals(struct mst__load *load)
{
    while (load->signals_open)
        uv_close((uv_handle_t *)&load->signals[--load->signals_open], NULL);
}

/* ------------------------------------------------------------------------------------------------ the host */

struct ready {
    bool done;
    int status;
    char text[300];
};

static void on_ready(void *context, int status, const char *json, size_t length)
{
    struct ready *ready = context;
    struct mst_span error, message;
    ready->done = true;
    ready->status = status;
    if (status && mst_json_member(json, length, "error", &error) &&
        mst_json_member(error.data, error.length, "message", &message) && message.length >= 2)
        snprintf(ready->text, sizeof ready->text, "%.*s", (int)message.length - 2, message.data + 1);
}

static int open_host(struct mst__load *load, struct mst_error *error)
{
    const struct mst__load_options *options = &load->options;
    struct ready ready = {0};
    struct mst_host_options host = {.log_level = options->verbose ? "info" : "error"};
    if (load->schedule.identities > 1000000)
        host.max_identities = (uint32_t)load->schedule.identities;
    if (!options->embedded) {
        host.redis_host = options->redis_host;
        host.redis_port = options->redis_port;
        host.redis_database = options->redis_db;
        host.redis_user = options->redis_user;
        host.redis_password = options->redis_password;
        host.nats_servers = options->nats_servers;
    }
    load->host = mst_host_open(&host, NULL, on_ready, &ready);
    if (!load->host)
        return mst_error_set(error, MST_ENOMEM, "cannot make a host");
    mst__host_run_until(load->host, &ready.done);
    if (!ready.done)
        return mst_error_set(error, MST_EINTERNAL, "the host did not come up");
    if (ready.status)
        return mst_error_set(error, ready.status, "%s", ready.text);
    if (!options->embedded)
        mst_redis_registry_expire(load->host->registry, load->namespace_, MST__LOAD_EXPIRE);
    return 0;
}

struct dropped {
    bool done;
};

static void on_dropped(void *context, int status, const char *json, size_t length)
{
    (void)json;
    (void)length;
    (void)status;
    struct dropped *dropped = context;
    dropped->done = true;
}

/*
 * Tells all who follow the namespace; whether it is gone is seen to when the host is. The answer may come after we have
 * stopped to wait, so `dropped` lives as long as the host.
 */
static void drop_namespace(struct mst__load *load, struct dropped *dropped)
{
    struct mst_timer timer = {.fire = set_flag, .owner = &dropped->done};
    *dropped = (struct dropped){0};
    mst_timers_set(timers_of(load), &timer, mst_clock_monotonic() + DROP_TIMEOUT);
    mst_host_call(load->host, "drop", load->namespace_, "{}", 2, on_dropped, dropped);
    mst__host_run_until(load->host, &dropped->done);
    mst_timers_cancel(timers_of(load), &timer);
}

/* ------------------------------------------------------------------------------------------------ the run */

static void on_progress(struct mst_timer *timer, void *owner)
{
    struct mst__load *load = owner;
    mst__load_progress_line(load);
    mst_timers_set(timers_of(load), timer, timer->at + (uint64_t)(load->options.interval * 1e9));
}

static void on_status(struct mst_timer *timer, void *owner)
{
    struct mst__load *load = owner;
    mst__load_progress_status(load);
    mst_timers_set(timers_of(load), timer, mst_clock_monotonic() + STATUS_INTERVAL);
}

static void on_drain_timeout(struct mst_timer *timer, void *owner)
{
    struct mst__load *load = owner;
    (void)timer;
    if (!load->drained)
        mst__load_abandon(load);
    load->drained = true;
}

static void send_all(struct mst__load *load)
{
    load->fire_timer = (struct mst_timer){.fire = mst__load_fire, .owner = load};
    load->progress_timer = (struct mst_timer){.fire = on_progress, .owner = load};
    load->status_timer = (struct mst_timer){.fire = on_status, .owner = load};
    load->wait_timer = (struct mst_timer){.fire = on_drain_timeout, .owner = load};
    load->cpu_started = mst_clock_cpu();
    load->start = load->ended = load->window_began = mst_clock_monotonic() + LEAD;
    if (load->stopping)
        load->fired = load->drained = true;
    else
        mst_timers_set(timers_of(load), &load->fire_timer, load->start);
    mst_timers_set(timers_of(load), &load->progress_timer, load->start + (uint64_t)(load->options.interval * 1e9));
    if (load->terminal)
        mst_timers_set(timers_of(load), &load->status_timer, load->start);
    mst__host_run_until(load->host, &load->fired);
    mst_timers_set(timers_of(load), &load->wait_timer, mst_clock_monotonic() + DRAIN_TIMEOUT);
    mst__host_run_until(load->host, &load->drained);
    load->cpu = mst_clock_cpu() - load->cpu_started;
    mst_timers_cancel(timers_of(load), &load->wait_timer);
    mst_timers_cancel(timers_of(load), &load->progress_timer);
    mst_timers_cancel(timers_of(load), &load->status_timer);
    if (load->window_answers)
        mst__load_progress_line(load);
    mst__load_progress_clear(load);
}

/* Until the receivers have what they ought to have, or hear nothing more; and a moment longer for what they ought not.
 */
static void wait_for_receivers(struct mst__load *load)
{
    uint64_t expected = mst__load_expected_least(load), seen = 0, since = mst_clock_monotonic();
    while (mst__load_receivers_any(&load->receivers)) {
        uint64_t now = mst_clock_monotonic(), count = mst__load_receivers_count(&load->receivers);
        if (count != seen)
            since = now;
        seen = count;
        if (now - since >= (count >= expected ? GRACE : SILENCE))
            break;
        bool looked = false;
        struct mst_timer timer = {.fire = set_flag, .owner = &looked};
        mst_timers_set(timers_of(load), &timer, now + LOOK);
        mst__host_run_until(load->host, &looked);
        mst_timers_cancel(timers_of(load), &timer);
    }
}

static int set_up(struct mst__load *load, struct mst_error *error)
{
    int code = mst__load_schedule_init(&load->schedule, &load->options, error);
    if (code == 0)
        code = name_run(load, error);
    if (code == 0)
        code = mst__load_operations_init(load, error);
    if (code == 0 && mst__load_delivery_init(&load->delivery, load->schedule.identities))
        code = mst_error_set(error, MST_ENOMEM, "no memory for what is to be delivered");
    if (code == 0)
        code = mst__load_receivers_start(&load->receivers, &load->options, &load->schedule, load->namespace_, error);
    if (code)
        return code;
    probe_jitter(load);
    code = mst__load_receivers_wait(&load->receivers, error);
    if (code == 0)
        code = open_host(load, error);
    if (code == 0)
        code = mst__load_receivers_listen(&load->receivers, load->host->messaging, error);
    return code;
}

static int carry_out(struct mst__load *load, struct mst_error *error)
{
    struct dropped dropped = {0};
    int code = set_up(load, error);
    if (code == 0) {
        watch_signals(load);
        mst_coordinator_observe(load->host->coordinator, mst__load_observe, load);
        mst__load_progress_head(load);
        code = mst__load_preload(load, error);
    }
    if (code == 0) {
        mst__load_progress_table(load);
        send_all(load);
        wait_for_receivers(load);
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        load->resident = (uint64_t)usage.ru_maxrss * 1024;
        mst_coordinator_observe(load->host->coordinator, NULL, NULL);
    }
    load->over = true;
    if (load->host && load->namespace_[0] && load->identities)
        drop_namespace(load, &dropped);
    mst__load_receivers_stop(&load->receivers);
    if (load->host) {
        unwatch_signals(load);
        mst_host_free(load->host);
    }
    load->host = NULL;
    mst__load_clean_up(load);
    return code;
}

static void tear_down(struct mst__load *load)
{
    mst__load_receivers_deinit(&load->receivers);
    mst__load_delivery_deinit(&load->delivery);
    mst__load_operations_deinit(load);
    mst__load_options_deinit(&load->options);
    free(load);
}

/* As the program's other commands end, for the same reasons. */
static int exit_code_of(int status)
{
    const char *class_ = mst_error_class(status);
    return class_[0] == 'c' || status == MST_EPERMISSION ? 4 : class_[0] == 't' ? 5 : 1;
}

static uint64_t cut_off(const struct mst__load *load)
{
    uint64_t sum = 0;
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++)
        sum += load->numbers[kind].failures[MST__LOAD_CONNECTION];
    return sum;
}

static const char *first_failure(const struct mst__load *load, enum mst__load_class class_)
{
    for (uint32_t i = 0; i < load->failure_count; i++)
        if (load->failures[i].class_ == class_)
            return load->failures[i].text;
    return "";
}

/* 0 where the run was carried out as planned; what is slow or shed is a result, and for thresholds to judge. */
static int completeness(const struct mst__load *load)
{
    uint64_t lost = cut_off(load), failed = mst__load_sum(load, false);
    int code = lost ? 4 : load->unanswered ? 5 : failed && mst__load_sum(load, true) == 0 ? 1 : 0;
    enum mst__load_class class_ = lost ? MST__LOAD_CONNECTION : load->unanswered ? MST__LOAD_TIMEOUT : MST__LOAD_LOGIC;
    const char *what = lost               ? "were cut off from Redis or NATS"
                       : load->unanswered ? "got no answer in time"
                                          : "failed, which is all of them";
    uint64_t count = lost ? lost : load->unanswered ? load->unanswered : failed;
    if (code)
        fprintf(stderr, "muster: the run was not completed as planned: %llu of %llu operations %s (%s)\n",
                (unsigned long long)count, (unsigned long long)mst__load_planned(load), what,
                first_failure(load, class_));
    return code;
}

static int judge(const struct mst__load *load)
{
    int code = mst__load_tolerates_errors(load) ? 0 : completeness(load);
    if (load->signal)
        return 128 + load->signal;
    if (mst__load_thresholds_failed(load))
        return 99;
    return code ? code : load->left_behind ? exit_code_of(load->left_behind) : 0;
}

static void verdict(struct mst__load *load, struct mst_buffer *report)
{
    mst__load_compare(load);
    mst__load_thresholds_judge(load);
    if (!load->options.json)
        mst__load_report_text(load, stdout);
    load->exit_code = judge(load);
    mst__load_report_json(load, report);
}

int mst_loadtest_run(const char *options, size_t length, struct mst_buffer *report, int *exit_code,
                     struct mst_error *error)
{
    struct mst__load *load = calloc(1, sizeof *load);
    if (!load)
        return mst_error_set(error, MST_ENOMEM, "no memory for a load test");
    int code = mst__load_options_read(&load->options, options, length, error);
    load->terminal = load->options.progress == MST__LOAD_TEXT && isatty(STDERR_FILENO);
    if (code == 0)
        code = carry_out(load, error);
    if (code == 0)
        verdict(load, report);
    *exit_code = load->exit_code;
    if (code == 0 && report->failed)
        code = mst_error_set(error, MST_ENOMEM, "no memory for the report");
    tear_down(load);
    return code;
}
