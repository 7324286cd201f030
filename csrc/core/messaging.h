// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The messaging slot: how messages leave and come back. Two implementations: memory (core/messaging_memory.h), in
 * process, and NATS (io/nats_messaging.h).
 *
 * Everything here is called on the loop thread, and every callback comes on the loop thread, never from inside the call
 * that caused it. What other threads the implementation has is its own affair.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/json.h"

/* One message of a cast. Offsets point into the cast's `text`. */
struct mst_cast_message {
    uint32_t subject_offset;
    uint32_t body_offset;
    uint32_t body_length; /* 0: the cast's shared payload */
    uint16_t subject_length;
};

enum { MST_CAST_SHARDS = 8 }; /* most shards of a cast */

enum mst_cast_event_kind {
    MST_CAST_ROUTED,      /* messages [first, end) have been read and routed by the server: the fence came back */
    MST_CAST_NO_RECEIVER, /* message `first`: nobody subscribes. Comes before ROUTED of its window */
    MST_CAST_REPLY,       /* message `first` was answered with `data`; any number of times */
    MST_CAST_LOST,    /* messages [first, end): the connection died before their fence; they may have arrived or not */
    MST_CAST_REFUSED, /* messages [first, end) were not sent: `error` says why */
};

struct mst_cast_event {
    enum mst_cast_event_kind kind;
    uint32_t first, end;
    struct mst_span data;          /* REPLY; borrowed for the call */
    const struct mst_error *error; /* LOST, REFUSED */
};

/*
 * A batch of messages to be published in order, or in several shards that go out side by side: order holds within a
 * shard only, so a subject must be in the same shard in every cast. The caller fills it and leaves it alone until
 * `released`. Each message ends in exactly one of ROUTED, LOST, REFUSED; replies may follow until the caller releases
 * the cast.
 */
struct mst_cast {
    struct mst_buffer text; /* subjects and own bodies */
    struct mst_cast_message *messages;
    uint32_t count;
    uint32_t shards;                /* as many as the implementation takes, or 0: all messages are in the first */
    uint32_t ends[MST_CAST_SHARDS]; /* shard s: messages [ends[s - 1], ends[s]); the last ends at `count` */
    struct mst_span payload;
    bool want_replies; /* false: no reply subject, so neither NO_RECEIVER nor REPLY */
    uint64_t deadline; /* monotonic ns; what is not sent by then is REFUSED with MST_EDEADLINE */
    void (*event)(struct mst_cast *cast, const struct mst_cast_event *event);
    void (*released)(struct mst_cast *cast);
    void *owner;
    uint64_t slot_state[4]; /* the implementation's */
};

/* A message that arrived for a listener; everything borrowed for the call. */
struct mst_delivery {
    struct mst_span subject;
    struct mst_span reply; /* empty: no answer wanted */
    struct mst_span payload;
};

/* A subscription of this process. */
struct mst_listener {
    void (*deliver)(struct mst_listener *listener, const struct mst_delivery *delivery);
    void *owner;
    void *slot_state;
};

/* A header of a published message (NATS only; memory ignores them). */
struct mst_header {
    const char *name, *value;
};

struct mst_messaging_stats {
    uint64_t published, routed, no_receiver, replies, lost, refused, fences, epochs, stray_replies;
};

struct mst_messaging;

struct mst_messaging_ops {
    const char *name; /* "memory", "nats" */
    /* Starts a cast; failures come as REFUSED. */
    void (*send)(struct mst_messaging *messaging, struct mst_cast *cast);
    /* No further events; `released` is called once nothing refers to the cast any more. */
    void (*release)(struct mst_messaging *messaging, struct mst_cast *cast);
    /* Subscribes; `subject` may have wildcards `*` and `>`; `queue` NULL: no queue group. In force when it returns 0.
     */
    int (*listen)(struct mst_messaging *messaging, const char *subject, const char *queue,
                  struct mst_listener *listener, struct mst_error *error);
    /* Ends a subscription; no delivery after it returns. */
    void (*unlisten)(struct mst_messaging *messaging, struct mst_listener *listener);
    /* Publishes one message soon, outside any cast: answers and acknowledgements. `headers` may be NULL. */
    int (*publish)(struct mst_messaging *messaging, struct mst_span subject, struct mst_span reply,
                   const struct mst_header *headers, uint32_t header_count, struct mst_span payload,
                   struct mst_error *error);
    size_t (*max_payload)(struct mst_messaging *messaging);
    /* Into how many shards a cast is best divided: 1 to MST_CAST_SHARDS, ever the same. NULL: 1. */
    uint32_t (*shards)(struct mst_messaging *messaging);
    bool (*healthy)(struct mst_messaging *messaging, struct mst_error *why);
    void (*stats)(struct mst_messaging *messaging, struct mst_messaging_stats *stats);
    /* Ends every cast (LOST or REFUSED, then released), frees, then calls `closed` from the loop. */
    void (*close)(struct mst_messaging *messaging, void (*closed)(void *context), void *context);
};

struct mst_messaging {
    const struct mst_messaging_ops *ops;
};
