// SPDX-License-Identifier: Apache-2.0
/* The load tester: its plan, its comparison of sent and received, and whole runs, embedded and with real servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/loadtest_internal.h"
#include "support/servers.h"

static struct test_server redis, nats;

/* ------------------------------------------------------------------------------------------------ helpers */

/* A member of a member of the report. */
static struct mst_span raw(const struct mst_buffer *report, const char *section, const char *key)
{
    struct mst_span object, value = {"", 0};
    assert_true(mst_json_member(report->data, report->length, section, &object));
    assert_true(mst_json_member(object.data, object.length, key, &value));
    return value;
}

static double number(const struct mst_buffer *report, const char *section, const char *key)
{
    struct mst_span text = raw(report, section, key);
    char copy[64];
    snprintf(copy, sizeof copy, "%.*s", (int)text.length, text.data);
    char *end;
    double value = strtod(copy, &end);
    assert_true(end != copy && *end == '\0');
    return value;
}

static bool is_null(const struct mst_buffer *report, const char *section, const char *key)
{
    struct mst_span text = raw(report, section, key);
    return text.length == 4 && memcmp(text.data, "null", 4) == 0;
}

struct outcome {
    int status, exit_code;
    char message[400];
    struct mst_buffer report;
};

static void run_here(const char *options, struct outcome *outcome)
{
    struct mst_error error = {0};
    memset(outcome, 0, sizeof *outcome);
    outcome->status = mst_loadtest_run(options, strlen(options), &outcome->report, &outcome->exit_code, &error);
    snprintf(outcome->message, sizeof outcome->message, "%s", error.message);
}

/* A run in a process of its own, which has no threads yet, as the load tester wants it; it writes what came of it to a
 * pipe. */
static pid_t start_child(const char *options, int *from)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct outcome outcome;
        close(ends[0]);
        run_here(options, &outcome);
        bool good = write(ends[1], &outcome, offsetof(struct outcome, report)) > 0;
        for (size_t at = 0; good && at < outcome.report.length;) {
            ssize_t count = write(ends[1], outcome.report.data + at, outcome.report.length - at);
            good = count > 0;
            at += good ? (size_t)count : 0;
        }
        _exit(good ? 0 : 1);
    }
    close(ends[1]);
    *from = ends[0];
    return pid;
}

static void end_child(pid_t pid, int from, struct outcome *outcome)
{
    int status;
    ssize_t count;
    char bytes[4096];
    memset(outcome, 0, sizeof *outcome);
    assert_int_equal(read(from, outcome, offsetof(struct outcome, report)), offsetof(struct outcome, report));
    while ((count = read(from, bytes, sizeof bytes)) > 0)
        mst_buffer_append(&outcome->report, bytes, (size_t)count);
    close(from);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void run_child(const char *options, struct outcome *outcome)
{
    int from;
    pid_t pid = start_child(options, &from);
    end_child(pid, from, outcome);
}

/* Options with the servers of this test program. */
static const char *with_servers(char *text, size_t size, const char *options)
{
    snprintf(text, size,
             "{\"redis\":{\"host\":\"127.0.0.1\",\"port\":%d},\"nats_servers\":\"nats://127.0.0.1:%d\",\"json\":true,"
             "\"quiet\":true,%s}",
             redis.port, nats.port, options);
    return text;
}

static long long keys_in_redis(void)
{
    redisContext *context = redisConnect("127.0.0.1", redis.port);
    assert_non_null(context);
    redisReply *reply = redisCommand(context, "KEYS *{lt-*");
    assert_non_null(reply);
    long long count = (long long)reply->elements;
    freeReplyObject(reply);
    redisFree(context);
    return count;
}

static void adds_up(const struct mst_buffer *report)
{
    double failed = number(report, "failures", "timeout") + number(report, "failures", "connection") +
                    number(report, "failures", "logic");
    assert_true(number(report, "run", "planned") == number(report, "run", "ok") + number(report, "run", "failed"));
    assert_true(number(report, "run", "failed") == failed);
}

static void all_was_received(const struct mst_buffer *report)
{
    assert_true(number(report, "delivery", "targets") > 0);
    assert_true(number(report, "delivery", "published") == number(report, "delivery", "targets"));
    assert_true(number(report, "delivery", "received") == number(report, "delivery", "targets"));
    assert_true(number(report, "delivery", "mismatch") == 0);
    assert_true(number(report, "delivery", "duplicates") == 0);
    assert_true(number(report, "delivery", "foreign") == 0);
}

/* ------------------------------------------------------------------------------------------------ plan */

static void make_plan(struct mst__load_schedule *schedule, const char *options)
{
    struct mst__load_options read;
    struct mst_error error = {0};
    assert_int_equal(mst__load_options_read(&read, options, strlen(options), &error), 0);
    assert_int_equal(mst__load_schedule_init(schedule, &read, &error), 0);
    mst__load_options_deinit(&read);
}

static void the_same_seed_gives_the_same_plan(void **state)
{
    (void)state;
    struct mst__load_schedule one, two, other;
    make_plan(&one, "{\"mode\":\"mixed\",\"rate\":100,\"duration_s\":60,\"seed\":1}");
    make_plan(&two, "{\"mode\":\"mixed\",\"rate\":100,\"duration_s\":60,\"seed\":1}");
    make_plan(&other, "{\"mode\":\"mixed\",\"rate\":100,\"duration_s\":60,\"seed\":2}");
    assert_true(one.digest == two.digest && one.digest != other.digest);
    assert_int_equal(one.total, 6000);
    assert_int_equal(one.counts[0] + one.counts[1] + one.counts[2], 6000);
    assert_in_range(one.counts[MST__LOAD_REGISTER], 2850, 3150);
    assert_in_range(one.counts[MST__LOAD_MULTICAST], 1080, 1320);
    assert_int_equal(one.identities, one.counts[MST__LOAD_REGISTER]);
    for (uint64_t i = 0; i < one.total; i++)
        assert_int_equal(mst__load_schedule_next(&one), mst__load_schedule_next(&two));
}

static void what_is_not_in_the_mix_is_never_drawn(void **state)
{
    (void)state;
    struct mst__load_schedule plan;
    make_plan(&plan, "{\"mode\":\"mixed\",\"rate\":10000,\"duration_s\":20,\"seed\":3,"
                     "\"mix\":{\"register\":0.1,\"enumerate\":99.9,\"multicast\":0}}");
    assert_int_equal(plan.counts[MST__LOAD_MULTICAST], 0);
    make_plan(&plan, "{\"mode\":\"enumerate\",\"rate\":10000,\"duration_s\":20}");
    assert_int_equal(plan.counts[MST__LOAD_ENUMERATE], 200000);
    assert_int_equal(plan.identities, 1000); /* preloaded */
}

static void operations_are_spread_evenly(void **state)
{
    (void)state;
    struct mst__load_schedule plan;
    make_plan(&plan, "{\"mode\":\"register\",\"rate\":100,\"duration_s\":2}");
    assert_int_equal(mst__load_schedule_at(&plan, 0), 0);
    for (uint64_t i = 0; i < plan.total; i++)
        assert_int_equal(mst__load_schedule_at(&plan, i), i * 10000000);
}

static void options_out_of_order_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        int code;
    } cases[] = {
        {"[]", MST_EINVAL},
        {"{", MST_EJSON},
        {"{\"mode\":\"fast\"}", MST_EINVAL},
        {"{\"rate\":0}", MST_ERANGE},
        {"{\"rate\":\"100\"}", MST_EINVAL},
        {"{\"duration_s\":0}", MST_ERANGE},
        {"{\"receivers\":1000}", MST_ERANGE},
        {"{\"receivers\":1.5}", MST_EINVAL},
        {"{\"in_flight\":0}", MST_EINVAL},
        {"{\"mix\":{\"register\":50,\"enumerate\":30}}", MST_EINVAL},
        {"{\"ack\":\"perhaps\"}", MST_EINVAL},
        {"{\"thresholds\":[{\"metric\":\"p99\",\"operator\":\"=\",\"value\":1}]}", MST_EINVAL},
        {"{\"thresholds\":[1]}", MST_EINVAL},
        {"{\"rate\":1000000,\"duration_s\":100000}", MST_ERANGE},
        {"{\"mode\":\"register\",\"rate\":1000000,\"duration_s\":100}", MST_ERANGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome outcome;
        run_here(cases[i].options, &outcome);
        if (outcome.status != cases[i].code)
            fail_msg("%s: %d %s", cases[i].options, outcome.status, outcome.message);
        assert_true(outcome.message[0]);
        assert_int_equal(outcome.report.length, 0);
    }
}

/* ------------------------------------------------------------------------------------------------ comparison */

/* Two identities; the first was a target of multicast 1 and 2, the second of none. */
static struct mst__load *make_load(void)
{
    struct mst__load *load = calloc(1, sizeof *load);
    assert_non_null(load);
    assert_int_equal(mst__load_delivery_init(&load->delivery, 2), 0);
    load->receivers.in_process = true;
    load->receivers.tallies = calloc(2, sizeof *load->receivers.tallies);
    load->delivery.targets = load->delivery.states[MST_RECEIPT_PUBLISHED] = 2;
    load->delivery.expected[0] = (struct mst__load_expected){mst__load_mix(1) + mst__load_mix(2), 2, 0};
    return load;
}

static void receive(struct mst__load *load, int identity, uint64_t multicast)
{
    atomic_fetch_add(&load->receivers.tallies[identity].count, 1);
    atomic_fetch_add(&load->receivers.tallies[identity].sum, mst__load_mix(multicast));
}

static void free_load(struct mst__load *load)
{
    free(load->receivers.tallies);
    mst__load_delivery_deinit(&load->delivery);
    free(load);
}

static void the_comparison_sees_every_fault(void **state)
{
    (void)state;
    static const struct {
        uint32_t count;
        struct {
            int identity, multicast;
        } came[4];
        uint32_t received, missing, duplicates, foreign, mismatch, uncertain;
    } cases[] = {
        {2, {{0, 1}, {0, 2}}, 2, 0, 0, 0, 0, 0},
        {2, {{0, 2}, {0, 1}}, 2, 0, 0, 0, 0, 0},
        {1, {{0, 1}}, 1, 1, 0, 0, 1, 0},
        {3, {{0, 1}, {0, 2}, {0, 2}}, 3, 0, 1, 0, 1, 0},
        {2, {{0, 1}, {0, 1}}, 2, 0, 0, 0, 1, 0}, /* one twice, the other never: the sum tells */
        {3, {{0, 1}, {0, 2}, {1, 2}}, 3, 0, 0, 1, 1, 0},
        {3, {{0, 1}, {0, 2}, {0, 3}}, 3, 0, 0, 0, 0, 1}, /* sent, nothing heard: it may have come */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mst__load *load = make_load();
        load->delivery.expected[0].uncertain = cases[i].uncertain;
        for (uint32_t j = 0; j < cases[i].count; j++)
            receive(load, cases[i].came[j].identity, (uint64_t)cases[i].came[j].multicast);
        mst__load_compare(load);
        assert_int_equal(load->delivery.received, cases[i].received);
        assert_int_equal(load->delivery.missing, cases[i].missing);
        assert_int_equal(load->delivery.duplicates, cases[i].duplicates);
        assert_int_equal(load->delivery.foreign, cases[i].foreign);
        assert_int_equal(load->delivery.mismatch, cases[i].mismatch);
        free_load(load);
    }
}

/* ------------------------------------------------------------------------------------------------ embedded runs */

static void an_embedded_run_carries_out_its_plan(void **state)
{
    (void)state;
    struct outcome outcome;
    uint64_t before = mst_clock_monotonic();
    run_here(
        "{\"mode\":\"mixed\",\"rate\":50,\"duration_s\":2,\"embedded\":true,\"seed\":11,\"json\":true,\"quiet\":true}",
        &outcome);
    double seconds = (double)(mst_clock_monotonic() - before) / 1e9;
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.exit_code, 0);
    assert_true(seconds >= 1.9 && seconds < 10);
    adds_up(&outcome.report);
    all_was_received(&outcome.report);
    assert_true(number(&outcome.report, "run", "planned") == 100);
    assert_true(number(&outcome.report, "run", "ok") == 100);
    assert_true(number(&outcome.report, "run", "seed") == 11);
    assert_true(number(&outcome.report, "run", "rate_actual") > 40 &&
                number(&outcome.report, "run", "rate_actual") < 51);
    mst_buffer_deinit(&outcome.report);
}

static void without_receivers_nothing_counts_as_received(void **state)
{
    (void)state;
    struct outcome outcome;
    run_here("{\"mode\":\"multicast\",\"rate\":50,\"duration_s\":0.5,\"embedded\":true,\"receivers\":0,\"preload\":20,"
             "\"json\":true,\"quiet\":true}",
             &outcome);
    assert_int_equal(outcome.status, 0);
    assert_true(is_null(&outcome.report, "delivery", "received"));
    assert_true(is_null(&outcome.report, "delivery", "mismatch"));
    assert_true(number(&outcome.report, "delivery", "targets") == 25 * 20);
    assert_true(number(&outcome.report, "delivery", "published") == 25 * 20);
    assert_true(number(&outcome.report, "delivery", "receiver_count") == 0);
    mst_buffer_deinit(&outcome.report);
}

static void nobody_there_is_no_success(void **state)
{
    (void)state;
    struct outcome outcome;
    run_here("{\"mode\":\"multicast\",\"rate\":20,\"duration_s\":0.5,\"embedded\":true,\"receivers\":0,\"preload\":3,"
             "\"ack\":\"received\",\"json\":true,\"quiet\":true}",
             &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.exit_code, 1); /* nothing came of it at all */
    assert_true(number(&outcome.report, "run", "ok") == 0);
    assert_true(number(&outcome.report, "run", "exit_code") == 1);
    assert_true(number(&outcome.report, "failures", "logic") == 10);
    assert_true(number(&outcome.report, "delivery", "no_receiver") == 30);
    assert_true(number(&outcome.report, "delivery", "published") == 0);
    mst_buffer_deinit(&outcome.report);
}

static void what_passes_the_cap_is_shed_and_counted(void **state)
{
    (void)state;
    struct outcome outcome;
    run_here(
        "{\"mode\":\"enumerate\",\"rate\":100000,\"duration_s\":0.3,\"embedded\":true,\"in_flight\":2,\"preload\":500,"
        "\"json\":true,\"quiet\":true}",
        &outcome);
    assert_int_equal(outcome.status, 0);
    adds_up(&outcome.report);
    assert_int_equal(outcome.exit_code, 0); /* a result, for thresholds to judge */
    assert_true(number(&outcome.report, "run", "planned") == 30000);
    assert_true(number(&outcome.report, "run", "ok") > 0);
    assert_true(number(&outcome.report, "generator", "shed") > 0);
    assert_true(number(&outcome.report, "generator", "shed") == number(&outcome.report, "failures", "timeout"));
    assert_true(number(&outcome.report, "generator", "peak_in_flight") == 2);
    mst_buffer_deinit(&outcome.report);
}

static void thresholds_decide_the_exit_code(void **state)
{
    (void)state;
    struct outcome outcome;
    run_here("{\"mode\":\"register\",\"rate\":100,\"duration_s\":0.2,\"embedded\":true,\"json\":true,\"quiet\":true,"
             "\"thresholds\":["
             "{\"metric\":\"register.p99\",\"operator\":\"<\",\"value\":60},"
             "{\"metric\":\"error_rate\",\"operator\":\"<=\",\"value\":0},"
             "{\"metric\":\"rate\",\"operator\":\">\",\"value\":1}]}",
             &outcome);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(outcome.exit_code, 0);
    mst_buffer_deinit(&outcome.report);
    /* The second was not measured at all, which is no pass. */
    run_here("{\"mode\":\"register\",\"rate\":100,\"duration_s\":0.2,\"embedded\":true,\"json\":true,\"quiet\":true,"
             "\"thresholds\":["
             "{\"metric\":\"max\",\"operator\":\"<\",\"value\":0.0000001},"
             "{\"metric\":\"multicast.p99\",\"operator\":\"<\",\"value\":60}]}",
             &outcome);
    assert_int_equal(outcome.exit_code, 99);
    assert_null(memmem(outcome.report.data, outcome.report.length, "\"passed\":true", 13));
    mst_buffer_deinit(&outcome.report);
}

/* ------------------------------------------------------------------------------------------------ real servers */

static void all_that_is_sent_is_received(void **state)
{
    (void)state;
    static const char *const acks[] = {"none", "received", "processed"};
    for (size_t i = 0; i < 3; i++) {
        struct outcome outcome;
        char options[600], text[300];
        snprintf(text, sizeof text, "\"mode\":\"mixed\",\"rate\":100,\"duration_s\":2,\"seed\":5,\"ack\":\"%s\"",
                 acks[i]);
        run_child(with_servers(options, sizeof options, text), &outcome);
        assert_int_equal(outcome.status, 0);
        assert_int_equal(outcome.exit_code, 0);
        adds_up(&outcome.report);
        all_was_received(&outcome.report);
        assert_true(number(&outcome.report, "run", "ok") == 200);
        assert_true(number(&outcome.report, "delivery", "receiver_count") == 1);
        mst_buffer_deinit(&outcome.report);
    }
    assert_int_equal(keys_in_redis(), 0);
}

static void several_receivers_share_gateways(void **state)
{
    (void)state;
    struct outcome outcome;
    char options[600];
    run_child(with_servers(
                  options, sizeof options,
                  "\"mode\":\"multicast\",\"rate\":20,\"duration_s\":1,\"receivers\":3,\"gateways\":7,\"preload\":2500,"
                  "\"ack\":\"received\""),
              &outcome);
    assert_int_equal(outcome.status, 0);
    adds_up(&outcome.report);
    all_was_received(&outcome.report);
    assert_true(number(&outcome.report, "delivery", "targets") == 20 * 2500);
    assert_true(number(&outcome.report, "delivery", "receiver_count") == 3);
    mst_buffer_deinit(&outcome.report);
}

static void an_unreachable_server_is_told_at_once(void **state)
{
    (void)state;
    struct outcome outcome;
    char options[300];
    uint64_t before = mst_clock_monotonic();
    snprintf(options, sizeof options,
             "{\"redis\":{\"host\":\"127.0.0.1\",\"port\":%d},\"nats_servers\":\"nats://127.0.0.1:%d\"}",
             test_free_port(), nats.port);
    run_child(options, &outcome);
    assert_int_equal(outcome.status, MST_EREDIS);
    assert_true(outcome.message[0] && !strchr(outcome.message, '\n'));
    snprintf(
        options, sizeof options,
        "{\"receivers\":1,\"redis\":{\"host\":\"127.0.0.1\",\"port\":%d},\"nats_servers\":\"nats://127.0.0.1:%d\"}",
        redis.port, test_free_port());
    run_child(options, &outcome);
    assert_int_equal(outcome.status, MST_ENATS);
    assert_true(outcome.message[0] && !strchr(outcome.message, '\n'));
    assert_true(mst_clock_monotonic() - before < 8 * MST_NS_PER_SECOND);
    assert_int_equal(outcome.report.length, 0);
}

static void an_interrupted_run_still_reports(void **state)
{
    (void)state;
    struct outcome outcome;
    char options[600];
    int from;
    pid_t pid =
        start_child(with_servers(options, sizeof options, "\"mode\":\"mixed\",\"rate\":100,\"duration_s\":60"), &from);
    usleep(1500000);
    assert_int_equal(kill(pid, SIGINT), 0);
    uint64_t before = mst_clock_monotonic();
    end_child(pid, from, &outcome);
    assert_true(mst_clock_monotonic() - before < 5 * MST_NS_PER_SECOND);
    assert_int_equal(outcome.exit_code, 130);
    adds_up(&outcome.report);
    all_was_received(&outcome.report);
    assert_true(number(&outcome.report, "run", "planned") > 10 && number(&outcome.report, "run", "planned") < 1000);
    assert_int_equal(keys_in_redis(), 0);
    mst_buffer_deinit(&outcome.report);
}

static void counts_add_up_when_nats_goes_away(void **state)
{
    (void)state;
    struct outcome outcome;
    char options[600];
    int from;
    pid_t pid = start_child(
        with_servers(options, sizeof options,
                     "\"mode\":\"mixed\",\"rate\":100,\"duration_s\":3,\"ack\":\"received\",\"receivers\":2"),
        &from);
    usleep(1300000);
    test_server_kill(&nats);
    usleep(500000);
    assert_true(test_server_restart(&nats));
    end_child(pid, from, &outcome);
    assert_int_equal(outcome.status, 0);
    adds_up(&outcome.report);
    assert_true(number(&outcome.report, "run", "planned") == 300);
    assert_true(number(&outcome.report, "delivery", "reconnects") >= 2);
    double ended = number(&outcome.report, "delivery", "published") +
                   number(&outcome.report, "delivery", "no_receiver") + number(&outcome.report, "delivery", "failed") +
                   number(&outcome.report, "delivery", "timeout");
    assert_true(ended == number(&outcome.report, "delivery", "targets"));
    assert_true(number(&outcome.report, "delivery", "missing") == 0); /* acknowledged, so it was there */
    mst_buffer_deinit(&outcome.report);
}

static int start_servers(void **state)
{
    (void)state;
    return test_redis_start(&redis, NULL) && test_nats_start(&nats, NULL) ? 0 : -1;
}

static int stop_servers(void **state)
{
    (void)state;
    test_server_stop(&redis);
    test_server_stop(&nats);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_plan),
        cmocka_unit_test(what_is_not_in_the_mix_is_never_drawn),
        cmocka_unit_test(operations_are_spread_evenly),
        cmocka_unit_test(options_out_of_order_are_refused),
        cmocka_unit_test(the_comparison_sees_every_fault),
        cmocka_unit_test(an_embedded_run_carries_out_its_plan),
        cmocka_unit_test(without_receivers_nothing_counts_as_received),
        cmocka_unit_test(nobody_there_is_no_success),
        cmocka_unit_test(what_passes_the_cap_is_shed_and_counted),
        cmocka_unit_test(thresholds_decide_the_exit_code),
        cmocka_unit_test(all_that_is_sent_is_received),
        cmocka_unit_test(several_receivers_share_gateways),
        cmocka_unit_test(an_unreachable_server_is_told_at_once),
        cmocka_unit_test(an_interrupted_run_still_reports),
        cmocka_unit_test(counts_add_up_when_nats_goes_away),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
