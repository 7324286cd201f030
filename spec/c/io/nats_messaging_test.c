// SPDX-License-Identifier: Apache-2.0
/* Messaging over a real nats-server: casts, fences, "nobody listens", replies, failures of the server, closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/nats_harness.h"

enum { MANY = 20000 };

static struct test_server server;

/* A cast of `count` messages to `<prefix>.<number>`. */
static void every_message_arrives_once_and_is_routed(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct counter counter;
    counter_open(&counter, &server, "t.>", MANY);
    struct probe *probe = probe_send(&harness, "t", MANY, "hello", false);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], MANY);
    counter_wait(&counter, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(probe->outcome[i], 1 + MST_CAST_ROUTED);
        assert_int_equal(atomic_load(&counter.seen[i]), 1);
    }
    struct mst_messaging_stats stats;
    harness.messaging->ops->stats(harness.messaging, &stats);
    assert_int_equal(stats.published, MANY);
    assert_int_equal(stats.routed, MANY);
    assert_in_range(stats.fences, MANY / 512, MANY / 512 + 4);
    assert_int_equal(stats.epochs, 1);
    probe_free(&harness, probe);
    counter_close(&counter);
    harness_close(&harness);
}

/* Only the even numbers are listened to. */
static void nobody_listening_is_told_before_routed(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct counter counter;
    counter_open_some(&counter, &server, "half", 1000, 2);
    struct probe *probe = probe_send(&harness, "half", 1000, "hello", true);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], 1000);
    assert_int_equal(probe->nobody, 500);
    assert_int_equal(probe->late_nobody, 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(probe->nobody_at[i], i % 2);
    counter_wait(&counter, 500);
    probe_free(&harness, probe);
    counter_close(&counter);
    harness_close(&harness);
}

static void replies_come_to_their_message(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct counter counter;
    counter_open(&counter, &server, "r.>", 5000);
    atomic_store(&counter.replies, 2);
    struct probe *probe = probe_send(&harness, "r", 5000, "hello", true),
                 *other = probe_send(&harness, "r", 500, "x", true);
    run_until(&harness, probe_answered_twice, probe, 20);
    run_until(&harness, probe_answered_twice, other, 20);
    /* Each answer is the subject of the message; the probe has compared it with its own. */
    assert_int_equal(probe->wrong_replies + other->wrong_replies, 0);
    assert_int_equal(probe->nobody, 0);
    assert_int_equal(probe->replies, 10000);
    assert_int_equal(other->replies, 1000);
    probe_free(&harness, probe);
    probe_free(&harness, other);
    counter_close(&counter);
    harness_close(&harness);
}

static void replies_after_release_are_strays(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct counter counter;
    counter_open(&counter, &server, "s.>", 10);
    atomic_store(&counter.delay_ms, 100);
    atomic_store(&counter.replies, 1);
    struct probe *probe = probe_send(&harness, "s", 3, "hello", true);
    run_until(&harness, probe_ended, probe, 20);
    probe_free(&harness, probe);
    struct mst_messaging_stats stats;
    run_for(&harness, 500);
    harness.messaging->ops->stats(harness.messaging, &stats);
    assert_int_equal(stats.stray_replies, 3);
    counter_close(&counter);
    harness_close(&harness);
}

static void a_short_cast_does_not_wait_for_a_long_one(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct probe *slow = probe_send(&harness, "long", 300000, "hello", false);
    struct probe *fast = probe_send(&harness, "short", 300, "hello", false);
    run_until(&harness, probe_ended, fast, 20);
    assert_int_equal(fast->ended[MST_CAST_ROUTED], 300);
    assert_true(slow->final < 300000);
    run_until(&harness, probe_ended, slow, 60);
    assert_int_equal(slow->ended[MST_CAST_ROUTED], 300000);
    probe_free(&harness, slow);
    probe_free(&harness, fast);
    harness_close(&harness);
}

static void the_smallest_windows_work(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_nats_options options = {.window = 1, .windows = 1};
    harness_open(&harness, &server, &options);
    struct probe *probe = probe_send(&harness, "tiny", 300, "hello", true);
    struct probe *other = probe_send(&harness, "tiny", 1, "hello", true);
    run_until(&harness, probe_ended, probe, 20);
    run_until(&harness, probe_ended, other, 20);
    struct mst_messaging_stats stats;
    harness.messaging->ops->stats(harness.messaging, &stats);
    assert_int_equal(stats.fences, 301);
    assert_int_equal(probe->late_nobody, 0);
    assert_int_equal(probe->nobody, 300);
    probe_free(&harness, probe);
    probe_free(&harness, other);
    harness_close(&harness);
}

/* More casts in a window than it has room to remember. */
static void many_small_casts(void **state)
{
    (void)state;
    enum { CASTS = 2000 };
    struct harness harness;
    struct probe *probes[CASTS];
    harness_open(&harness, &server, NULL);
    for (unsigned i = 0; i < CASTS; i++)
        probes[i] = probe_send(&harness, "small", 1 + i % 3, "hello", i % 2);
    for (unsigned i = 0; i < CASTS; i++) {
        run_until(&harness, probe_ended, probes[i], 20);
        assert_int_equal(probes[i]->ended[MST_CAST_ROUTED], 1 + i % 3);
        assert_int_equal(probes[i]->nobody, i % 2 ? 1 + i % 3 : 0);
        assert_int_equal(probes[i]->late_nobody, 0);
        probe_free(&harness, probes[i]);
    }
    harness_close(&harness);
}

static void own_bodies_and_the_shared_payload(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct counter counter;
    counter_open(&counter, &server, "b.>", 8);
    struct probe *probe = probe_make(&harness, "b", 8, "shared", false);
    for (uint32_t i = 0; i < 8; i += 2)
        probe_body(probe, i, "own", 3);
    harness.messaging->ops->send(harness.messaging, &probe->cast);
    run_until(&harness, probe_ended, probe, 20);
    counter_wait(&counter, 8);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(counter.body_length[i], i % 2 ? 6 : 3);
    probe_free(&harness, probe);
    counter_close(&counter);
    harness_close(&harness);
}

static void what_is_too_large_is_refused_alone(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    size_t most = harness.messaging->ops->max_payload(harness.messaging);
    assert_int_equal(most, 1 << 20);
    char *large = calloc(1, most + 1);
    struct probe *probe = probe_make(&harness, "large", 6, "small", false);
    probe_body(probe, 2, large, most + 1);
    probe_body(probe, 3, large, most + 1);
    probe_body(probe, 5, large, most);
    harness.messaging->ops->send(harness.messaging, &probe->cast);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], 4);
    assert_int_equal(probe->ended[MST_CAST_REFUSED], 2);
    assert_int_equal(probe->outcome[2], 1 + MST_CAST_REFUSED);
    assert_int_equal(probe->outcome[3], 1 + MST_CAST_REFUSED);
    assert_int_equal(probe->code, MST_ETOOBIG);
    free(large);
    probe_free(&harness, probe);
    harness_close(&harness);
}

static void subjects_that_would_break_the_protocol_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "a b", "a\r\nPUB x 0\r\n", ".a", "a.", "a..b", "a\tb", "a.*", "a.>.b", ">", "*.a", "a\x01", "a\x7f"};
    struct harness harness;
    harness_open(&harness, &server, NULL);
    uint32_t count = sizeof bad / sizeof *bad;
    struct probe *probe = probe_make(&harness, "good", count + 1, "x", false);
    for (uint32_t i = 0; i < count; i++)
        probe_subject(probe, i, bad[i]);
    harness.messaging->ops->send(harness.messaging, &probe->cast);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->ended[MST_CAST_REFUSED], count);
    assert_int_equal(probe->code, MST_EINVAL);
    assert_int_equal(probe->outcome[count], 1 + MST_CAST_ROUTED);
    const struct mst_messaging_ops *ops = harness.messaging->ops;
    struct mst_span none = {"", 0}, reply = {"a b", 3};
    for (uint32_t i = 0; i < count; i++) {
        struct mst_listener listener = {0};
        struct mst_span subject = {bad[i], strlen(bad[i])};
        assert_int_equal(ops->publish(harness.messaging, subject, none, NULL, 0, none, NULL), MST_EINVAL);
        /* Wildcards in their places are for listeners. */
        if (strcmp(bad[i], "a.*") == 0 || strcmp(bad[i], ">") == 0 || strcmp(bad[i], "*.a") == 0)
            continue;
        assert_int_equal(ops->listen(harness.messaging, bad[i], NULL, &listener, NULL), MST_EINVAL);
    }
    assert_int_equal(ops->publish(harness.messaging, (struct mst_span){"a", 1}, reply, NULL, 0, none, NULL),
                     MST_EINVAL);
    probe_free(&harness, probe);
    harness_close(&harness);
}

static void a_killed_server_leaves_nothing_open(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    for (int round = 0; round < 3; round++) {
        struct probe *probe = probe_send(&harness, "kill", 200000, "hello", true);
        run_until(&harness, probe_begun, probe, 20);
        test_server_kill(&server);
        /* What was not sent waits for the next epoch. */
        run_until(&harness, probe_lost_some, probe, 5);
        assert_false(harness.messaging->ops->healthy(harness.messaging, NULL));
        assert_true(test_server_restart(&server));
        run_until(&harness, probe_ended, probe, 60);
        assert_int_equal(probe->ended[MST_CAST_ROUTED] + probe->ended[MST_CAST_LOST], 200000);
        assert_true(probe->ended[MST_CAST_LOST] > 0);
        assert_int_equal(probe->twice, 0);
        assert_int_equal(probe->code, MST_ENATS);
        probe_free(&harness, probe);
        probe = probe_send(&harness, "kill", 1000, "again", false);
        run_until(&harness, probe_ended, probe, 20);
        assert_int_equal(probe->ended[MST_CAST_ROUTED], 1000);
        assert_true(harness.messaging->ops->healthy(harness.messaging, NULL));
        probe_free(&harness, probe);
    }
    harness_close(&harness);
}

/* The fake server knows what it has read, to the message: nothing else may be called routed. */
static void nothing_is_called_routed_that_was_not_read(void **state)
{
    (void)state;
    enum { MESSAGES = 20000, ROUNDS = 25 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct fake_nats fake;
        struct harness harness;
        assert_true(fake_nats_start(&fake, MESSAGES));
        atomic_store(&fake.die_after, 1 + (round * 7919u) % (MESSAGES - 1));
        harness_open_port(&harness, fake.port, NULL);
        struct probe *probe = probe_send(&harness, "f", MESSAGES, "hello", false);
        run_until(&harness, probe_ended, probe, 20);
        assert_int_equal(probe->ended[MST_CAST_ROUTED] + probe->ended[MST_CAST_LOST], MESSAGES);
        assert_true(probe->ended[MST_CAST_LOST] > 0);
        for (uint32_t i = 0; i < MESSAGES; i++) {
            assert_true(atomic_load(&fake.seen[i]) <= 1);
            if (probe->outcome[i] == 1 + MST_CAST_ROUTED)
                assert_int_equal(atomic_load(&fake.seen[i]), 1);
        }
        probe_free(&harness, probe);
        harness_close(&harness);
        fake_nats_stop(&fake);
    }
}

static void a_frozen_server_is_given_up(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_nats_options options = {.fence_timeout = 300 * MST_NS_PER_MS};
    harness_open(&harness, &server, &options);
    test_server_pause(&server);
    struct probe *probe = probe_send(&harness, "frozen", 500, "hello", false);
    uint64_t began = mst_clock_monotonic();
    run_until(&harness, probe_ended, probe, 5);
    uint64_t took = mst_clock_monotonic() - began;
    assert_int_equal(probe->ended[MST_CAST_LOST], 500);
    assert_in_range(took, 290 * MST_NS_PER_MS, 1500 * MST_NS_PER_MS);
    test_server_resume(&server);
    probe_free(&harness, probe);
    probe = probe_send(&harness, "thawed", 500, "hello", false);
    run_until(&harness, probe_ended, probe, 10);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], 500);
    probe_free(&harness, probe);
    harness_close(&harness);
}

/* More than the sockets hold: nothing can be written any more, and still everything ends. */
static void a_frozen_server_with_full_buffers(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_nats_options options = {.fence_timeout = 500 * MST_NS_PER_MS, .windows = 1024};
    harness_open(&harness, &server, &options);
    char *body = calloc(1, 60000);
    struct probe *probe = probe_make(&harness, "full", 1000, "", false);
    probe->cast.payload = (struct mst_span){body, 60000};
    probe->cast.deadline = mst_clock_monotonic() + 2 * MST_NS_PER_SECOND;
    test_server_pause(&server);
    harness.messaging->ops->send(harness.messaging, &probe->cast);
    run_until(&harness, probe_ended, probe, 10);
    assert_true(probe->ended[MST_CAST_LOST] > 0);
    assert_true(probe->ended[MST_CAST_REFUSED] > 0);
    assert_int_equal(probe->ended[MST_CAST_ROUTED] + probe->ended[MST_CAST_LOST] + probe->ended[MST_CAST_REFUSED],
                     1000);
    assert_in_range(mst_clock_monotonic(), 0, probe->cast.deadline + 200 * MST_NS_PER_MS);
    test_server_resume(&server);
    probe_free(&harness, probe);
    harness_close(&harness);
    free(body);
}

/* Long before it is given up: what was not sent by a deadline then has a reason. */
static void a_silent_server_is_not_healthy(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_error why;
    struct mst_nats_options options = {.fence_timeout = 600 * MST_NS_PER_MS};
    harness_open(&harness, &server, &options);
    test_server_pause(&server);
    struct probe *probe = probe_send(&harness, "silent", 10, "hello", false);
    run_for(&harness, 100);
    assert_true(harness.messaging->ops->healthy(harness.messaging, &why));
    run_for(&harness, 300);
    assert_false(harness.messaging->ops->healthy(harness.messaging, &why));
    assert_int_equal(why.code, MST_ENATS);
    assert_false(probe_ended(probe));
    test_server_resume(&server);
    run_until(&harness, probe_ended, probe, 5);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], 10);
    assert_true(harness.messaging->ops->healthy(harness.messaging, &why));
    probe_free(&harness, probe);
    harness_close(&harness);
}

/* A name that has an address where nobody listens, often ::1, and one where somebody does. */
static void a_name_with_several_addresses_works(void **state)
{
    (void)state;
    char servers[64];
    struct harness harness;
    snprintf(servers, sizeof servers, "nats://localhost:%d", server.port);
    struct mst_nats_options options = {.servers = servers};
    harness_try(&harness, &options);
    if (harness.status < 0)
        fail_msg("%s", harness.error.message);
    harness_close(&harness);
}

static void servers_that_throw_us_out_are_left_in_peace(void **state)
{
    (void)state;
    char path[] = "/tmp/muster-nats-XXXXXX", servers[100];
    int fd = mkstemp(path);
    dprintf(
        fd,
        "authorization { users = [ { user: m, password: p, permissions: { publish: { deny: \"secret.>\" } } } ] }\n");
    close(fd);
    struct test_server guarded;
    const char *const arguments[] = {"-c", path, NULL};
    assert_true(test_nats_start(&guarded, arguments));
    snprintf(servers, sizeof servers, "nats://m:p@%s,nats://m:p@%s", guarded.address, guarded.address);
    struct harness harness;
    struct mst_nats_options options = {.servers = servers};
    harness_try(&harness, &options);
    assert_int_equal(harness.status, 0);
    for (int i = 0; i < 100; i++) {
        struct probe *probe = probe_make(&harness, "secret", 1, "hello", false);
        probe->cast.deadline = mst_clock_monotonic() + 10 * MST_NS_PER_MS;
        harness.messaging->ops->send(harness.messaging, &probe->cast);
        run_until(&harness, probe_ended, probe, 5);
        probe_free(&harness, probe);
    }
    struct mst_messaging_stats stats;
    harness.messaging->ops->stats(harness.messaging, &stats);
    assert_in_range(stats.epochs, 2, 15);
    harness_close(&harness);
    test_server_stop(&guarded);
    unlink(path);
}

static void nothing_is_told_after_release(void **state)
{
    enum { CASTS = 4200 };
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct probe **probes = calloc(CASTS, sizeof(struct probe *));
    for (int i = 0; i < CASTS; i++)
        probes[i] = probe_send(&harness, "gone", 1, "hello", false);
    for (int i = 0; i < CASTS; i++)
        harness.messaging->ops->release(harness.messaging, &probes[i]->cast);
    run_for(&harness, 200);
    for (int i = 0; i < CASTS; i++) {
        assert_int_equal(probes[i]->final, 0);
        assert_int_equal(probes[i]->released, 1);
        probe_destroy(probes[i]);
    }
    free(probes);
    harness_close(&harness);
}

static void ignore_delivery(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    (void)delivery;
    ++*(unsigned *)listener->owner;
}

/* A listener of this process is there again before anything is sent to it. */
static void after_a_restart_nobody_is_missed(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        unsigned heard = 0;
        struct harness harness;
        harness_open(&harness, &server, NULL);
        struct mst_listener listener = {.deliver = ignore_delivery, .owner = &heard};
        assert_int_equal(harness.messaging->ops->listen(harness.messaging, "back.>", NULL, &listener, NULL), 0);
        assert_true(test_server_restart(&server));
        struct probe *probe = probe_send(&harness, "back", 100, "hello", true);
        run_until(&harness, probe_ended, probe, 10);
        assert_int_equal(probe->nobody, 0);
        probe_free(&harness, probe);
        harness_close(&harness);
    }
}

static void an_unreachable_server_is_told_at_once(void **state)
{
    (void)state;
    struct harness harness;
    uint64_t began = mst_clock_monotonic();
    harness_try_port(&harness, test_free_port(), NULL);
    assert_int_equal(harness.status, MST_ENATS);
    assert_non_null(strstr(harness.error.message, "127.0.0.1"));
    assert_in_range(mst_clock_monotonic() - began, 0, MST_NS_PER_SECOND);
    struct mst_error why;
    assert_false(harness.messaging->ops->healthy(harness.messaging, &why));
    assert_int_equal(why.code, MST_ENATS);
    /* A cast waits for a connection until its deadline, no longer. */
    struct probe *probe = probe_make(&harness, "nowhere", 10, "hello", false);
    probe->cast.deadline = mst_clock_monotonic() + 200 * MST_NS_PER_MS;
    harness.messaging->ops->send(harness.messaging, &probe->cast);
    run_until(&harness, probe_ended, probe, 5);
    assert_int_equal(probe->ended[MST_CAST_REFUSED], 10);
    assert_int_equal(probe->code, MST_EDEADLINE);
    assert_in_range(mst_clock_monotonic() - probe->cast.deadline, 0, 100 * MST_NS_PER_MS);
    struct mst_listener listener = {0};
    struct mst_span subject = {"a", 1}, none = {"", 0};
    assert_int_equal(harness.messaging->ops->listen(harness.messaging, "a", NULL, &listener, NULL), MST_ENATS);
    assert_int_equal(harness.messaging->ops->publish(harness.messaging, subject, none, NULL, 0, none, NULL), MST_ENATS);
    probe_free(&harness, probe);
    harness_close(&harness);
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_nats_options options = {.servers = "nats://127.0.0.1:1", .ca_file = "/nonexistent/ca.pem"};
    harness_try(&harness, &options);
    assert_int_equal(harness.status, MST_ECONFIG);
    struct probe *probe = probe_send(&harness, "nowhere", 10, "hello", false);
    run_until(&harness, probe_ended, probe, 5);
    assert_int_equal(probe->ended[MST_CAST_REFUSED], 10);
    assert_int_equal(probe->code, MST_ECONFIG);
    probe_free(&harness, probe);
    harness_close(&harness);
}

static void a_wrong_password_is_told_without_showing_it(void **state)
{
    (void)state;
    struct test_server guarded;
    const char *const arguments[] = {"--user", "muster", "--pass", "right", NULL};
    assert_true(test_nats_start(&guarded, arguments));
    char servers[100];
    snprintf(servers, sizeof servers, "nats://muster:wr@ng@%s", guarded.address);
    struct harness harness;
    struct mst_nats_options options = {.servers = servers};
    harness_try(&harness, &options);
    assert_int_equal(harness.status, MST_ENATS);
    assert_null(strstr(harness.error.message, "wr@ng"));
    assert_non_null(strstr(harness.error.message, guarded.address));
    harness_close(&harness);
    options = (struct mst_nats_options){.user = "muster", .password = "right"};
    harness_open(&harness, &guarded, &options);
    harness_close(&harness);
    test_server_stop(&guarded);
}

static void a_subject_that_is_not_permitted_ends_the_epoch(void **state)
{
    (void)state;
    char path[] = "/tmp/muster-nats-XXXXXX";
    int fd = mkstemp(path);
    dprintf(fd, "authorization { users = [ { user: m, password: p, permissions: {"
                " publish: { deny: \"secret.>\" }, subscribe: { deny: \"closed.>\" } } } ] }\n");
    close(fd);
    struct test_server guarded;
    const char *const arguments[] = {"-c", path, NULL};
    assert_true(test_nats_start(&guarded, arguments));
    struct harness harness;
    struct mst_nats_options options = {.user = "m", .password = "p"};
    harness_open(&harness, &guarded, &options);
    struct probe *probe = probe_send(&harness, "secret", 10, "hello", false);
    run_until(&harness, probe_ended, probe, 5);
    assert_int_equal(probe->ended[MST_CAST_LOST], 10);
    assert_int_equal(probe->code, MST_EPERMISSION);
    probe_free(&harness, probe);
    probe = probe_send(&harness, "open", 10, "hello", false);
    run_until(&harness, probe_ended, probe, 5);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], 10);
    probe_free(&harness, probe);
    struct mst_listener listener = {0};
    struct mst_error error;
    assert_int_equal(harness.messaging->ops->listen(harness.messaging, "closed.a", NULL, &listener, &error),
                     MST_EPERMISSION);
    assert_int_equal(harness.messaging->ops->listen(harness.messaging, "open.a", NULL, &listener, &error), 0);
    harness_close(&harness);
    test_server_stop(&guarded);
    unlink(path);
}

static void a_forged_fence_is_not_believed(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_nats_options slow = {.publishers = 1, .fence_timeout = 700 * MST_NS_PER_MS};
    harness_open(&harness, &server, &slow);
    struct counter counter;
    counter_open(&counter, &server, "forge.>", 10);
    struct probe *probe = probe_send(&harness, "forge", 1, "hello", true);
    run_until(&harness, probe_ended, probe, 5);
    counter_wait(&counter, 1);
    /* The receiver knows the inbox and tries all it can. */
    test_server_pause(&server);
    struct probe *next = probe_send(&harness, "forge", 5, "hello", true);
    test_server_resume(&server);
    char inbox[64];
    size_t length = strcspn(counter.reply, ".") + 1;
    length += strcspn(counter.reply + length, ".") + 1;
    memcpy(inbox, counter.reply, length);
    for (unsigned i = 0; i < 40; i++) {
        char subject[128];
        snprintf(subject, sizeof subject, "%.*sf.1.%x", (int)length, inbox, i);
        natsConnection_Publish(counter.connection, subject, NULL, 0);
        snprintf(subject, sizeof subject, "%.*sf.1.ffffffffffffffff", (int)length, inbox);
        natsConnection_Publish(counter.connection, subject, NULL, 0);
        snprintf(subject, sizeof subject, "%.*sr.ffffffff.1.%u", (int)length, inbox, i);
        natsConnection_Publish(counter.connection, subject, NULL, 0);
        snprintf(subject, sizeof subject, "%.*sr.0.1.fffffffff", (int)length, inbox);
        natsConnection_Publish(counter.connection, subject, NULL, 0);
    }
    natsConnection_Flush(counter.connection);
    run_until(&harness, probe_ended, next, 5);
    struct mst_messaging_stats stats;
    run_for(&harness, 100);
    harness.messaging->ops->stats(harness.messaging, &stats);
    assert_int_equal(stats.fences, 2);
    assert_int_equal(stats.routed, 6);
    assert_int_equal(stats.stray_replies, 40);
    probe_free(&harness, probe);
    probe_free(&harness, next);
    counter_close(&counter);
    harness_close(&harness);
}

static void closing_ends_every_cast(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    struct probe *probes[20];
    for (unsigned i = 0; i < 20; i++)
        probes[i] = probe_send(&harness, "closing", 50000, "hello", i % 2);
    run_until(&harness, probe_begun, probes[0], 20);
    harness_close(&harness);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(probes[i]->final, 50000);
        assert_int_equal(probes[i]->twice, 0);
        assert_int_equal(probes[i]->released, 1);
        if (probes[i]->code)
            assert_int_equal(probes[i]->code, MST_ECLOSED);
        probe_destroy(probes[i]);
    }
}

/* The caller may let a cast go at any moment, also while it is being read; nothing is told of it afterwards. */
static void a_cast_can_be_released_in_flight(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    for (unsigned round = 0; round < 200; round++) {
        struct probe *probe = probe_send(&harness, "rel", 2000, "hello", true);
        if (round % 4)
            run_for_us(&harness, round * 3);
        probe_free(&harness, probe);
    }
    struct probe *probe = probe_send(&harness, "rel", 2000, "hello", false);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], 2000);
    probe_free(&harness, probe);
    harness_close(&harness);
}

static void too_many_casts_are_refused(void **state)
{
    (void)state;
    enum { CASTS = 5000 };
    struct harness harness;
    harness_try_port(&harness, test_free_port(), NULL);
    struct probe **probes = calloc(CASTS, sizeof *probes);
    uint32_t busy = 0;
    for (unsigned i = 0; i < CASTS; i++)
        probes[i] = probe_send(&harness, "busy", 1, "hello", false);
    run_until(&harness, probe_ended, probes[CASTS - 1], 20);
    for (unsigned i = 0; i < CASTS; i++)
        busy += probes[i]->code == MST_EBUSY;
    assert_int_equal(busy, CASTS - 4096);
    harness_close(&harness);
    for (unsigned i = 0; i < CASTS; i++) {
        assert_int_equal(probes[i]->final, 1);
        assert_int_equal(probes[i]->released, 1);
        probe_destroy(probes[i]);
    }
    free(probes);
}

enum { ORDERED = 60, CASTS_IN_ORDER = 400, POOL = 3 };

struct ordered {
    atomic_uint total, wrong;
    unsigned last[ORDERED]; /* number of the cast whose message came last, of each subject */
};

static void on_ordered(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    (void)connection;
    (void)subscription;
    struct ordered *ordered = closure;
    unsigned subject = (unsigned)strtoul(strchr(natsMsg_GetSubject(message), '.') + 1, NULL, 10);
    unsigned number = (unsigned)strtoul(natsMsg_GetData(message), NULL, 10);
    if (subject >= ORDERED || number <= ordered->last[subject])
        atomic_fetch_add(&ordered->wrong, 1);
    else
        ordered->last[subject] = number;
    atomic_fetch_add(&ordered->total, 1);
    natsMsg_Destroy(message);
}

/* Some of the subjects, always in the shard that is the subject's number modulo the shards. */
static struct probe *send_ordered(struct harness *harness, unsigned number, uint32_t *sent)
{
    char body[16];
    snprintf(body, sizeof body, "%u", number);
    struct probe *probe = probe_make(harness, "order", ORDERED, body, false);
    struct mst_cast *cast = &probe->cast;
    struct mst_cast_message all[ORDERED];
    memcpy(all, cast->messages, sizeof all);
    cast->count = 0;
    cast->shards = harness->messaging->ops->shards(harness->messaging);
    for (uint32_t s = 0; s < cast->shards; s++) {
        for (uint32_t i = s; i < ORDERED; i += cast->shards)
            if ((i * 7 + number) % 5)
                cast->messages[cast->count++] = all[i];
        cast->ends[s] = cast->count;
    }
    *sent += cast->count;
    harness->messaging->ops->send(harness->messaging, cast);
    return probe;
}

static void a_pool_keeps_the_order_of_each_subject(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_nats_options options = {.publishers = POOL, .window = 16};
    harness_open(&harness, &server, &options);
    assert_int_equal(harness.messaging->ops->shards(harness.messaging), POOL);
    struct ordered ordered = {0};
    natsConnection *connection;
    natsSubscription *subscription;
    assert_int_equal(natsConnection_ConnectTo(&connection, server.address), NATS_OK);
    assert_int_equal(natsConnection_Subscribe(&subscription, connection, "order.>", on_ordered, &ordered), NATS_OK);
    assert_int_equal(natsConnection_Flush(connection), NATS_OK);
    struct probe *probes[CASTS_IN_ORDER];
    uint32_t sent = 0;
    for (unsigned i = 0; i < CASTS_IN_ORDER; i++)
        probes[i] = send_ordered(&harness, i + 1, &sent);
    for (unsigned i = 0; i < CASTS_IN_ORDER; i++) {
        uint32_t count = probes[i]->cast.count;
        while (probes[i]->final < count)
            run_for(&harness, 1);
        assert_int_equal(probes[i]->ended[MST_CAST_ROUTED], count);
        probe_free(&harness, probes[i]);
    }
    for (unsigned i = 0; i < 500 && atomic_load(&ordered.total) < sent; i++)
        run_for(&harness, 10);
    assert_int_equal(atomic_load(&ordered.total), sent);
    assert_int_equal(atomic_load(&ordered.wrong), 0);
    struct mst_messaging_stats stats;
    harness.messaging->ops->stats(harness.messaging, &stats);
    assert_int_equal(stats.epochs, POOL);
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
    harness_close(&harness);
}

/* The fake server resets one connection in the middle of a cast that all three carry. */
static void one_connection_of_a_pool_dies_alone(void **state)
{
    (void)state;
    enum { MESSAGES = 15000, ROUNDS = 10 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct fake_nats fake;
        struct harness harness;
        struct mst_nats_options options = {.publishers = POOL};
        assert_true(fake_nats_start(&fake, MESSAGES));
        atomic_store(&fake.die_after, 1 + (round * 1009u) % (MESSAGES / 2));
        harness_open_port(&harness, fake.port, &options);
        struct probe *probe = probe_send(&harness, "f", MESSAGES, "hello", false);
        run_until(&harness, probe_ended, probe, 20);
        uint32_t lost[POOL] = {0}, struck = 0, other = 0;
        for (uint32_t i = 0; i < MESSAGES; i++) {
            bool routed = probe->outcome[i] == 1 + MST_CAST_ROUTED;
            lost[i / (MESSAGES / POOL)] += probe->outcome[i] == 1 + MST_CAST_LOST;
            assert_true(routed ? atomic_load(&fake.seen[i]) == 1 : atomic_load(&fake.seen[i]) <= 1);
        }
        for (unsigned s = 0; s < POOL; s++)
            if (lost[s])
                struck++, other = lost[s];
        assert_int_equal(struck, 1);
        assert_int_equal(probe->ended[MST_CAST_LOST], other);
        assert_int_equal(probe->ended[MST_CAST_ROUTED], MESSAGES - other);
        assert_int_equal(probe->twice, 0);
        struct mst_messaging_stats stats;
        harness.messaging->ops->stats(harness.messaging, &stats);
        assert_in_range(stats.epochs, POOL, POOL + 1);
        probe_free(&harness, probe);
        harness_close(&harness);
        fake_nats_stop(&fake);
    }
}

static void two_in_one_process(void **state)
{
    (void)state;
    struct harness one, two;
    harness_open(&one, &server, NULL);
    harness_open(&two, &server, NULL);
    struct counter counter;
    counter_open(&counter, &server, "both.>", 3000);
    struct probe *first = probe_send(&one, "both", 3000, "one", true),
                 *second = probe_send(&two, "both", 3000, "two", true);
    run_until(&one, probe_ended, first, 20);
    probe_free(&one, first);
    harness_close(&one);
    run_until(&two, probe_ended, second, 20);
    assert_int_equal(second->ended[MST_CAST_ROUTED], 3000);
    probe_free(&two, second);
    second = probe_send(&two, "both", 3000, "two", true);
    run_until(&two, probe_ended, second, 20);
    assert_int_equal(second->ended[MST_CAST_ROUTED], 3000);
    counter_wait(&counter, 9000);
    probe_free(&two, second);
    counter_close(&counter);
    harness_close(&two);
}

static int set_up(void **state)
{
    (void)state;
    return test_nats_start(&server, NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    nats_CloseAndWait(5000);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_arrives_once_and_is_routed),
        cmocka_unit_test(nobody_listening_is_told_before_routed),
        cmocka_unit_test(replies_come_to_their_message),
        cmocka_unit_test(replies_after_release_are_strays),
        cmocka_unit_test(a_short_cast_does_not_wait_for_a_long_one),
        cmocka_unit_test(the_smallest_windows_work),
        cmocka_unit_test(many_small_casts),
        cmocka_unit_test(own_bodies_and_the_shared_payload),
        cmocka_unit_test(what_is_too_large_is_refused_alone),
        cmocka_unit_test(subjects_that_would_break_the_protocol_are_refused),
        cmocka_unit_test(a_killed_server_leaves_nothing_open),
        cmocka_unit_test(nothing_is_called_routed_that_was_not_read),
        cmocka_unit_test(a_frozen_server_is_given_up),
        cmocka_unit_test(a_frozen_server_with_full_buffers),
        cmocka_unit_test(a_silent_server_is_not_healthy),
        cmocka_unit_test(a_name_with_several_addresses_works),
        cmocka_unit_test(servers_that_throw_us_out_are_left_in_peace),
        cmocka_unit_test(nothing_is_told_after_release),
        cmocka_unit_test(after_a_restart_nobody_is_missed),
        cmocka_unit_test(an_unreachable_server_is_told_at_once),
        cmocka_unit_test(wrong_options_are_told),
        cmocka_unit_test(a_wrong_password_is_told_without_showing_it),
        cmocka_unit_test(a_subject_that_is_not_permitted_ends_the_epoch),
        cmocka_unit_test(a_forged_fence_is_not_believed),
        cmocka_unit_test(closing_ends_every_cast),
        cmocka_unit_test(a_cast_can_be_released_in_flight),
        cmocka_unit_test(too_many_casts_are_refused),
        cmocka_unit_test(a_pool_keeps_the_order_of_each_subject),
        cmocka_unit_test(one_connection_of_a_pool_dies_alone),
        cmocka_unit_test(two_in_one_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
