// SPDX-License-Identifier: Apache-2.0

/* The public interface as an embedding program sees it: own and lent loops, several hosts, orderly ends. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "include/muster.h"

struct answer {
    int calls, status;
    char json[2048];
    struct mst_host *stops;
};

static void note(void *context, int status, const char *json, size_t length)
{
    struct answer *answer = context;
    answer->calls++;
    answer->status = status;
    snprintf(answer->json, sizeof answer->json, "%.*s", (int)length, json);
    if (answer->stops)
        mst_host_stop(answer->stops);
}

static void call(struct mst_host *host, const char *verb, const char *body, struct answer *answer)
{
    mst_host_call(host, verb, "default", body, strlen(body), note, answer);
}

static void run_for(struct mst_host *host, struct answer *last)
{
    last->stops = host;
    mst_host_run(host);
    assert_int_equal(last->calls, 1);
}

static struct mst_host *open_own(void)
{
    struct mst_host_options options = {0};
    struct answer ready = {0};
    struct mst_host *host = mst_host_open(&options, NULL, note, &ready);
    assert_non_null(host);
    ready.stops = host;
    mst_host_run(host);
    assert_int_equal(ready.status, 0);
    return host;
}

static void two_hosts_in_one_process_know_nothing_of_each_other(void **state)
{
    (void)state;
    struct mst_host *a = open_own(), *b = open_own();
    struct answer put = {0}, in_a = {0}, in_b = {0};
    call(a, "register", "{\"id\":\"x\"}", &put);
    run_for(a, &put);
    call(a, "count", "{}", &in_a);
    run_for(a, &in_a);
    call(b, "count", "{}", &in_b);
    run_for(b, &in_b);
    assert_non_null(strstr(in_a.json, "\"count\":1"));
    assert_non_null(strstr(in_b.json, "\"count\":0"));
    mst_host_free(a);
    call(b, "register", "{\"id\":\"y\"}", &(struct answer){0});
    mst_host_free(b);
}

static void stepping_runs_what_is_due(void **state)
{
    (void)state;
    struct mst_host *host = open_own();
    struct answer answer = {0};
    call(host, "register", "{\"id\":\"x\",\"ttl\":60}", &answer);
    for (int i = 0; i < 100 && answer.calls == 0; i++)
        mst_host_step(host, 10);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.status, 0);
    mst_host_free(host);
}

static void a_lease_ends_while_nobody_asks(void **state)
{
    (void)state;
    struct mst_host *host = open_own();
    struct answer put = {0}, count = {0};
    call(host, "register", "{\"id\":\"x\",\"ttl\":1}", &put);
    run_for(host, &put);
    uint64_t until = uv_hrtime() + UINT64_C(1200000000);
    while (uv_hrtime() < until)
        mst_host_step(host, 50);
    call(host, "count", "{}", &count);
    run_for(host, &count);
    assert_non_null(strstr(count.json, "\"count\":0"));
    mst_host_free(host);
}

static void set_flag(void *context)
{
    *(int *)context = 1;
}

static void a_lent_loop_stays_its_owners(void **state)
{
    (void)state;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct mst_host_options options = {0};
    struct answer ready = {0}, put = {0}, late = {0};
    struct mst_host *host = mst_host_open(&options, &loop, note, &ready);
    assert_non_null(host);
    call(host, "register", "{\"id\":\"x\"}", &put);
    while (!put.calls)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(ready.calls, 1);
    assert_int_equal(put.status, 0);
    int closed = 0;
    mst_host_close(host, set_flag, &closed);
    call(host, "count", "{}", &late);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(late.calls, 1);
    assert_string_equal(mst_status_name(late.status), "ECLOSED");
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void on_message(void *context, const struct mst_message *message)
{
    (void)message;
    ++*(int *)context;
}

static void receivers_end_with_their_host(void **state)
{
    (void)state;
    struct mst_host *host = open_own();
    int messages = 0;
    char why[200] = "";
    struct mst_receiver *first = mst_host_receive(host, "default", "x", 1, 0, on_message, &messages, why, sizeof why);
    struct mst_receiver *second = mst_host_receive(host, "default", "y", 1, 0, on_message, &messages, why, sizeof why);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(mst_host_receive(host, "no/name", "x", 1, 0, on_message, &messages, why, sizeof why));
    assert_true(strlen(why) > 0);
    mst_receiver_close(first);
    struct answer put = {0}, sent = {0};
    call(host, "register", "[{\"id\":\"x\"},{\"id\":\"y\"}]", &put);
    run_for(host, &put);
    call(host, "multicast", "{\"all\":true,\"payload\":\"p\",\"timeout\":0.05}", &sent);
    run_for(host, &sent);
    assert_int_equal(messages, 1);
    assert_non_null(strstr(sent.json, "\"no_receiver\":1"));
    mst_host_free(host);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    struct mst_host_options prefix = {.prefix = "a b"}, level = {.log_level = "loud"};
    assert_null(mst_host_open(&prefix, NULL, NULL, NULL));
    assert_null(mst_host_open(&level, NULL, NULL, NULL));
}

static void a_back_end_that_is_not_there_is_told(void **state)
{
    (void)state;
    struct mst_host_options options = {.redis_host = "127.0.0.1", .redis_port = 1, .log_level = "off"};
    struct answer ready = {0};
    struct mst_host *host = mst_host_open(&options, NULL, note, &ready);
    assert_non_null(host);
    ready.stops = host;
    mst_host_run(host);
    assert_string_equal(mst_status_name(ready.status), "EREDIS");
    assert_non_null(strstr(ready.json, "127.0.0.1:1"));
    mst_host_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_hosts_in_one_process_know_nothing_of_each_other),
        cmocka_unit_test(stepping_runs_what_is_due),
        cmocka_unit_test(a_lease_ends_while_nobody_asks),
        cmocka_unit_test(a_lent_loop_stays_its_owners),
        cmocka_unit_test(receivers_end_with_their_host),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(a_back_end_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
