// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A bare NATS subscriber on one socket, for processes that do nothing but receive: the receivers of the load tester.
 *
 * It speaks the client protocol itself. Without threads it can be used in a forked child, and answers to all messages
 * of one read leave in one write; nats.c would cost several times as much per message, on the cores that are to be
 * measured. Blocking, one thread. User, password or token come from the URL; no TLS, no NKEY, no reconnecting.
 */
#include <stdint.h>

#include "base/error.h"
#include "model/json.h"

struct mst_nats_receiver;

/* A message; borrowed for the call. `number` is that of the subscription, `reply` is empty if no answer is wanted. */
struct mst_nats_received {
    uint64_t number;
    struct mst_span subject, reply, payload;
};

/*
 * Connects to the first of the comma-separated URLs that takes it, each within `timeout` ns. MST_ENATS with one line
 * that names the last server and the reason, MST_ENOMEM.
 */
int mst_nats_receiver_open(struct mst_nats_receiver **made, const char *servers, uint64_t timeout,
                           struct mst_error *error);
void mst_nats_receiver_close(struct mst_nats_receiver *receiver);

/* Subscribes soon; `subject` is NUL-terminated and valid, `number` at least 1. */
void mst_nats_receiver_subscribe(struct mst_nats_receiver *receiver, const char *subject, uint64_t number);

/* Waits until the server has taken in all subscriptions. What comes meanwhile is not delivered. MST_ENATS. */
int mst_nats_receiver_sync(struct mst_nats_receiver *receiver, uint64_t timeout, struct mst_error *error);

/* Answers a message; from within `message`. */
void mst_nats_receiver_answer(struct mst_nats_receiver *receiver, struct mst_span reply, struct mst_span text);

/*
 * Calls `message` for what comes until `stop` (a file descriptor) is readable or closed at its other end: then 0.
 * MST_ENATS when the connection ends.
 */
int mst_nats_receiver_run(struct mst_nats_receiver *receiver, int stop,
                          void (*message)(void *context, const struct mst_nats_received *message), void *context,
                          struct mst_error *error);
