// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Redis registry. Keys of a namespace share one hash tag, so that Redis Cluster can hold them:
 *
 *   <prefix>:namespaces            set of namespace names
 *   <prefix>:{<namespace>}:h       hash  id -> body (gateway, owner, metadata as registered)
 *   <prefix>:{<namespace>}:t       hash  id -> state (version, deadline, lease, revision, times, digests) or tombstone
 *   <prefix>:{<namespace>}:s       stream, the feed
 *   <prefix>:{<namespace>}:m       hash  epoch, replication id, revision, schema
 *   <prefix>:{<namespace>}:d       list  tombstones by age, forgotten after two minutes
 *
 * All writes go through Redis Functions of the library `muster_v1` (redis_functions.lua, embedded), which write the
 * feed entry first. Requests are gathered into batches (group commit) and pipelined on one connection; a second
 * connection follows feeds, a third reads snapshots; all have a watchdog and reconnect with back-off and jitter. What
 * was in flight when a connection broke is sent again with the same version, and so applied once, until its deadline.
 *
 * While Redis is away, operations wait in a bounded queue, each until its deadline. It then ends with MST_EDEADLINE
 * where Redis is silent (whether or not the connection was given up for that), and with MST_EREDIS where it refuses
 * connections or has broken them. Where the operation had been sent, the text says that it may have been carried out.
 *
 * When the server comes back with another history (restart, failover), what this instance had acknowledged in the last
 * 20 seconds (at most 16 MiB a namespace) is offered again, and harmless where nothing was lost. Followers notice a gap
 * in the feed or a lost past and read the namespace again: what vanished is `removed`, also after FLUSHALL. Revisions
 * then go on above all that were heard of, with a jump of 2^20.
 *
 * Followers are told of this instance's own writes from the answers, which also prove that nobody else has written in
 * between; so while a namespace, the only one that is followed, is written to again and again, its feed is not read.
 * What others change is seen at once by an instance that does not write, and otherwise with the next answer or after 10
 * ms.
 *
 * A create, a put with if_revision or a removal whose answer was lost, of an identity that somebody else has changed
 * since, ends with MST_EREDIS: whether it was carried out is not known.
 */
#include "base/log.h"
#include "core/registry.h"
#include "io/loop.h"

struct mst_redis_options {
    const char *host; /* or the path of a Unix socket, if it begins with '/' */
    int port;
    int database;
    const char *password;     /* NULL: none */
    const char *user;         /* NULL: default */
    const char *prefix;       /* "muster" */
    uint64_t connect_timeout; /* ns; 0: 2 s */
    uint64_t queue_records;   /* changes that may wait for Redis, then MST_EBUSY or MST_EREDIS; 0: 200,000 */
    uint64_t queue_bytes;     /* the same in bytes; 0: 64 MiB */
    uint64_t feed_bytes;      /* of each feed, about, before Redis forgets its oldest entries; 0: 64 MiB */
};

/*
 * Connects and checks the server (version, functions, eviction policy) before it calls `ready`, once: status 0 and the
 * registry may be used, or MST_EREDIS / MST_ECONFIG with a line that names the address and the reason. The registry is
 * to be closed in both cases. Returns NULL for no memory.
 */
struct mst_registry *mst_redis_registry_open(struct mst_loop *loop, struct mst_log *log,
                                             const struct mst_redis_options *options,
                                             void (*ready)(void *context, int status, const struct mst_error *error),
                                             void *context);

/*
 * From now on Redis removes this namespace by itself, so many seconds after the registry has stopped to renew that
 * (which it does each second, once it has written to it): for one that ends with the process, however that ends. The
 * other namespaces, which a registry may touch to end leases, stay as they are.
 */
void mst_redis_registry_expire(struct mst_registry *registry, const char *namespace_, uint32_t seconds);
