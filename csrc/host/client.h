// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A client of a coordinator elsewhere: through its control socket, or through the NATS service. Same calls, same
 * callbacks. All on the loop thread; callbacks come from the loop.
 */
#include "base/log.h"
#include "include/muster.h"
#include "io/loop.h"
#include "io/nats_messaging.h"
#include "model/json.h"

struct mst_client;
struct mst_client_receiver;

/*
 * Connects; `ready` once. MST_ECONNECT with the path and what to do ("is muster serve running?"), or MST_ENATS. NULL:
 * no memory. `timeout` (ns) is the longest a call waits for its answer beyond its own "timeout"; 0: 30 s.
 */
struct mst_client *mst_client_open_socket(struct mst_loop *loop, const char *path, uint64_t timeout,
                                          mst_answer_cb *ready, void *context);
struct mst_client *mst_client_open_nats(struct mst_loop *loop, struct mst_log *log,
                                        const struct mst_nats_options *options, const char *prefix, uint64_t timeout,
                                        mst_answer_cb *ready, void *context);

/*
 * As mst_host_call. MST_ECLOSED when the connection goes (the call may have been carried out or not), MST_EDEADLINE
 * (of register, heartbeat, unregister and multicast the text says that they may have been carried out), MST_ECONNECT
 * when no coordinator listens on NATS, MST_ETOOBIG for a request that the socket or NATS does not carry.
 */
void mst_client_call(struct mst_client *client, const char *verb, const char *namespace_, const char *body,
                     size_t length, mst_answer_cb *done, void *context);

/*
 * `armed` (may be NULL) is called once when the subscription is in force or refused. NULL: no memory. Over NATS it
 * waits up to a second for the server. The receiver ends with the client, which frees it.
 */
struct mst_client_receiver *mst_client_receive(struct mst_client *client, const char *namespace_, const char *name,
                                               size_t name_length, bool as_gateway, mst_message_cb *message,
                                               mst_answer_cb *armed, void *context);

/* As mst_host_acknowledge; ECLOSED or ENATS without a connection. */
int mst_client_acknowledge(struct mst_client *client, struct mst_span reply, struct mst_span text);

/*
 * Called once when the connection is lost after it was ready; receivers get nothing more, calls fail. Not over NATS,
 * where the connection comes back by itself and receivers with it.
 */
void mst_client_on_lost(struct mst_client *client, void (*lost)(void *context), void *context);

/* Fails what is outstanding with MST_ECLOSED, frees, then calls `closed`. */
void mst_client_close(struct mst_client *client, void (*closed)(void *context), void *context);
