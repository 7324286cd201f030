// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The registry slot: where registrations are kept. Two implementations: memory (core/registry_memory.h) and Redis
 * (io/redis_registry.h).
 *
 * Every operation is an object of the caller that stays untouched and alive until its `done` is called, exactly once,
 * on the loop thread, never from inside the call that started it. Input spans are borrowed until then. `status` is 0 or
 * a code, with text in `error`. Nothing is acknowledged before the back end has it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/identity.h"

enum mst_put_mode {
    MST_PUT_UPSERT, /* new; or renews what the same owner holds, and replaces its metadata and gateway where they differ
                     */
    MST_PUT_CREATE, /* MST_EEXISTS if the identity is alive */
    MST_PUT_REPLACE, /* takes the place of whatever is there, whoever owned it */
};

/* One registration. */
struct mst_registry_put {
    const char *namespace_;
    struct mst_span id, metadata, gateway, owner;
    int64_t lease_ms; /* 0: never ends */
    enum mst_put_mode mode;
    bool has_if_revision; /* MST_EREVISION unless the identity is alive and has `if_revision` (0: is not there) */
    uint64_t if_revision;
    uint64_t deadline; /* monotonic ns; MST_EDEADLINE after it */

    int status;
    struct mst_error error;
    bool created;          /* it was not there (or had expired) */
    bool metadata_changed; /* false: a renewal only */
    int64_t registered_at, updated_at, expires_at;
    uint64_t revision;

    void (*done)(struct mst_registry_put *put);
    void *owner_context;
    void *slot_state; /* the implementation's */
};

/* A batch of heartbeats. */
struct mst_registry_renew {
    const char *namespace_;
    const struct mst_span *ids;
    uint32_t count;
    int64_t lease_ms; /* -1: each as long as it was given before; 0: never ends */
    uint64_t deadline;

    int status;
    struct mst_error error;
    struct mst_renewed {
        bool renewed; /* false: not registered */
        int64_t expires_at, lease_ms;
        uint64_t revision;
    } * results; /* `count` of them, the caller's memory */
    uint64_t revision;

    void (*done)(struct mst_registry_renew *renew);
    void *owner_context;
    void *slot_state;
};

/* One removal. */
struct mst_registry_remove {
    const char *namespace_;
    struct mst_span id;
    uint64_t deadline;

    int status;
    struct mst_error error;
    bool removed; /* false: it was not there, which is no failure */
    uint64_t revision;

    void (*done)(struct mst_registry_remove *remove);
    void *owner_context;
    void *slot_state;
};

/* Reads a whole namespace, then keeps calling with what others change (the feed) until the registry is closed. */
struct mst_registry_follow {
    const char *namespace_;

    /* One identity of the snapshot or one changed since; spans borrowed for the call. */
    void (*put)(struct mst_registry_follow *follow, const struct mst_identity *identity);
    void (*touched)(struct mst_registry_follow *follow, struct mst_span id, int64_t expires_at, int64_t lease_ms,
                    uint64_t revision);
    void (*removed)(struct mst_registry_follow *follow, struct mst_span id, uint64_t revision);
    /* The snapshot is complete (status 0, the namespace is at `revision`) or failed; called once. */
    void (*ready)(struct mst_registry_follow *follow, int status, uint64_t revision, const struct mst_error *error);

    void *owner_context;
    void *slot_state;
};

/* Deletes everything of a namespace. */
struct mst_registry_drop {
    const char *namespace_;
    int status;
    struct mst_error error;
    void (*done)(struct mst_registry_drop *drop);
    void *owner_context;
    void *slot_state;
};

struct mst_registry;

struct mst_registry_ops {
    const char *name; /* "memory", "redis" */
    void (*put)(struct mst_registry *registry, struct mst_registry_put *put);
    void (*renew)(struct mst_registry *registry, struct mst_registry_renew *renew);
    void (*remove)(struct mst_registry *registry, struct mst_registry_remove *remove);
    /* Snapshot and feed. A write of this instance may or may not come back through the feed. */
    void (*follow)(struct mst_registry *registry, struct mst_registry_follow *follow);
    /* Names of the namespaces that hold anything; `each` may be called any number of times before `ready`. */
    void (*namespaces)(struct mst_registry *registry, void (*each)(void *context, const char *namespace_),
                       void (*ready)(void *context, int status, const struct mst_error *error), void *context);
    /* The view ended these leases by its clock: forget them where they are due by the registry's clock as well. */
    void (*reap)(struct mst_registry *registry, const char *namespace_, const struct mst_span *ids, uint32_t count);
    void (*drop)(struct mst_registry *registry, struct mst_registry_drop *drop);
    /* The registry's clock in Unix milliseconds: leases are judged by it. */
    int64_t (*now)(struct mst_registry *registry);
    /* True while operations can succeed; `why` (may be NULL) gets the reason where not. */
    bool (*healthy)(struct mst_registry *registry, struct mst_error *why);
    /* Completes what is outstanding (MST_ECLOSED), frees, then calls `closed` from the loop. */
    void (*close)(struct mst_registry *registry, void (*closed)(void *context), void *context);
};

struct mst_registry {
    const struct mst_registry_ops *ops;
};
