// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Messaging over NATS: publisher connections on the loop's own sockets (io/nats_link.h), and a control connection over
 * nats.c with a thread of its own.
 *
 * There can be several publishers because the server reads each connection on one core. Publisher i sends shard i of
 * every cast, so that a subject always goes the same way and its messages keep their order across casts; a cast without
 * shards goes through the first one. What is said here of a publisher holds for each by itself: when its connection
 * dies, only what it had sent is LOST.
 *
 * A publisher is fed by a bounded queue of casts (4,096; more are REFUSED with MST_EBUSY); casts take turns, a window
 * each. One connection is one epoch. Messages go out in windows of 512 (or 96 KiB), each closed by a PING; its PONG is
 * the fence that proves that the server has read and routed everything before it, and told of those that nobody
 * subscribes to. Many windows are in flight, none is waited for singly. A fence that does not come back in time, a
 * connection that closes, or a subject that is not permitted ends the epoch: what was not fenced is LOST (MST_ENATS,
 * MST_EPERMISSION), what was not sent waits for the next epoch until its deadline, and that epoch is opened with
 * back-off and jitter. Nothing is sent while the control connection is down.
 *
 * A message that is too large (MST_ETOOBIG) or has a subject that NATS must not see (MST_EINVAL) is REFUSED alone.
 *
 * The control connection serves listen and publish and comes back by itself, with its subscriptions. `listen` waits for
 * the server to confirm, at most a second (MST_ENATS); the loop waits for nothing else. `publish` is MST_ENATS while
 * the connection is down and MST_EBUSY when 16 MiB wait; what was taken then goes out, or is lost with the connection.
 *
 * nats.c's threads only put into a queue and wake the loop. The library's own threads stay until the program calls
 * nats_Close, which is left to whoever owns the process: another user of the library may be in it. Its subscriptions
 * share the library's one delivery thread.
 *
 * Healthy means: every connection works, and no fence has been out for a second.
 */
#include "base/log.h"
#include "core/messaging.h"
#include "io/loop.h"

struct mst_nats_options {
    const char *servers;                                    /* URLs, comma-separated; NULL: nats://localhost:4222 */
    const char *user, *password, *token, *credentials_file; /* NULL: none */
    const char *nkey_file;    /* seed and public key, a line each, as `nk -gen user -pubout` writes them; NULL: none */
    const char *ca_file;      /* also asks for TLS; NULL: none */
    const char *name;         /* shown by the server; "muster" */
    uint32_t publishers;      /* publisher connections, up to 8; 0: 1 */
    uint32_t window;          /* messages per fence; 0: 512 */
    uint32_t windows;         /* most fences outstanding per connection; 0: 64 */
    uint64_t fence_timeout;   /* ns without a fence coming back; 0: 5 s */
    uint64_t connect_timeout; /* ns; 0: 2 s */
};

/*
 * Connects, and calls `ready` once, unless closed before: status 0 when all connections work, or MST_ENATS with a line
 * that names the servers (without passwords) and the reason after the first attempt that failed, or MST_ECONFIG for
 * options that cannot be used. It is to be closed in each case; after MST_ENATS it goes on trying until then. The
 * options are read during the call only. Returns NULL for no memory.
 */
struct mst_messaging *mst_nats_messaging_open(struct mst_loop *loop, struct mst_log *log,
                                              const struct mst_nats_options *options,
                                              void (*ready)(void *context, int status, const struct mst_error *error),
                                              void *context);
