// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the tests of NATS messaging share: a loop with a messaging object (harness), a cast that keeps account of what
 * it is told (probe), and a subscriber of its own that counts what arrives (counter).
 */
#include <nats/nats.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/nats_messaging.h"
#include "support/fake_nats.h"
#include "support/servers.h"

struct harness {
    struct mst_loop loop;
    struct mst_messaging *messaging;
    bool ready, closed, stop;
    int status;
    struct mst_error error;
};

/* Opens and waits for `ready`, whatever it says. `options` may be NULL; those for a server fill its address in. */
void harness_try(struct harness *harness, const struct mst_nats_options *options);
void harness_try_port(struct harness *harness, int port, const struct mst_nats_options *options);

/* Likewise, and it must be good. */
void harness_open(struct harness *harness, const struct test_server *server, const struct mst_nats_options *options);
void harness_open_port(struct harness *harness, int port, const struct mst_nats_options *options);
void harness_close(struct harness *harness);

/* Runs the loop until the condition holds; fails after `seconds`. */
void run_until(struct harness *harness, bool (*condition)(void *context), void *context, unsigned seconds);
void run_for(struct harness *harness, unsigned milliseconds);
void run_for_us(struct harness *harness, unsigned microseconds);

struct probe {
    struct mst_cast cast;
    char *prefix, *payload;
    uint8_t *outcome; /* by message: 0 or 1 + the final event */
    uint8_t *nobody_at;
    uint32_t ended[MST_CAST_REFUSED + 1], final, twice; /* `twice`: messages that ended again */
    uint32_t nobody, late_nobody, replies, wrong_replies;
    uint32_t released;
    int code; /* of the last failure */
};

/* A cast of `count` messages to `<prefix>.<number>` with one payload; one that is sent has equal shards. */
struct probe *probe_make(struct harness *harness, const char *prefix, uint32_t count, const char *payload,
                         bool replies);
struct probe *probe_send(struct harness *harness, const char *prefix, uint32_t count, const char *payload,
                         bool replies);
void probe_body(struct probe *probe, uint32_t index, const char *body, size_t length);
void probe_subject(struct probe *probe, uint32_t index, const char *subject);

/* Releases, waits for that, and frees. */
void probe_free(struct harness *harness, struct probe *probe);
void probe_destroy(struct probe *probe);

/* Conditions. */
bool probe_ended(void *probe);
bool probe_begun(void *probe);
bool probe_lost_some(void *probe);
bool probe_answered_twice(void *probe);

struct counter {
    natsConnection *connection;
    natsSubscription **subscriptions;
    uint32_t subscription_count, limit;
    atomic_uint total, replies, delay_ms; /* `replies`: how often it answers each message */
    atomic_uchar *seen;
    atomic_int *body_length;
    char reply[128]; /* reply subject of the last message; to be read when it has come */
};

void counter_open(struct counter *counter, const struct test_server *server, const char *subject, uint32_t limit);

/* One subscription for each `step`th number of `<prefix>.<number>`. */
void counter_open_some(struct counter *counter, const struct test_server *server, const char *prefix, uint32_t limit,
                       uint32_t step);
void counter_wait(struct counter *counter, uint32_t total);
void counter_close(struct counter *counter);
