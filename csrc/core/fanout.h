// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Fan-out: one multicast from a set of rows to a receipt for every target.
 *
 * Targets are grouped by gateway: one envelope per gateway with at most 1,000 ids or 64 KiB of them (and never more
 * than messaging carries), one message on the identity's own subject where there is none. The target set and the ids
 * are fixed at the start; the view may change afterwards. Each target has one compact row (state, offset of its id,
 * offset of its failure code); every target is in a final state at the deadline at the latest, and the counts always
 * add up to the number of targets.
 *
 * Wire: subject `<prefix>.<namespace>.to.<id>` carries the payload as given; `<prefix>.<namespace>.via.<gateway>`
 * carries an envelope: `{"m":multicast id,"rev":revision,"to":[ids]}`, a newline, the payload. A reply is empty
 * (received), `+` (processed) or `-CODE text` (failed, for all it answers for; CODE is 1..64 of [A-Za-z0-9_.-]; of code
 * and text 256 bytes are kept). A gateway may answer with a JSON object, which names only the ids that differ ("" "+"
 * or "-CODE text" each): alone, the others are received; behind a `+`, processed.
 *
 * The first final state stays, with one exception: where processed is asked for, received is final but still waited
 * on, until it becomes processed or failed, or the deadline leaves it as it is.
 *
 * One thread (the loop's).
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/hdr.h"
#include "base/log.h"
#include "base/timers.h"
#include "core/messaging.h"
#include "match/match.h"

/* State, name, whether it is final. */
#define MST_RECEIPTS(X)                          \
    X(MST_RECEIPT_QUEUED, "queued", 0)           \
    X(MST_RECEIPT_SENT, "sent", 0)               \
    X(MST_RECEIPT_PUBLISHED, "published", 1)     \
    X(MST_RECEIPT_RECEIVED, "received", 1)       \
    X(MST_RECEIPT_PROCESSED, "processed", 1)     \
    X(MST_RECEIPT_FAILED, "failed", 1)           \
    X(MST_RECEIPT_NO_RECEIVER, "no_receiver", 1) \
    X(MST_RECEIPT_TIMEOUT, "timeout", 1)         \
    X(MST_RECEIPT_EXPIRED, "expired", 1)         \
    X(MST_RECEIPT_SKIPPED, "skipped", 1)         \
    X(MST_RECEIPT_STORED, "stored", 0)           \
    X(MST_RECEIPT_UNKNOWN, "unknown", 0)         \
    X(MST_RECEIPT_UNREACHABLE, "unreachable", 1)

enum mst_receipt_state {
#define MST_X(state, name, final) state,
    MST_RECEIPTS(MST_X)
#undef MST_X
        MST_RECEIPT_STATES
};

const char *mst_receipt_name(enum mst_receipt_state state);

/*
 * Failure class of a state that is a failure: "logic" for failed and no_receiver, "timeout" for timeout and expired,
 * "connection" for unreachable; NULL for the others.
 */
const char *mst_receipt_class(enum mst_receipt_state state);

enum mst_ack { MST_ACK_NONE, MST_ACK_RECEIVED, MST_ACK_PROCESSED };

struct mst_fanout;
struct mst_multicast;

struct mst_fanout_stats {
    uint64_t multicasts, targets, states[MST_RECEIPT_STATES];
    uint64_t foreign_acks;   /* a reply named an id that was not in its message */
    uint64_t duplicate_acks; /* an id was acknowledged again */
    uint64_t garbage_acks;   /* a reply that is none of the forms above */
};

/* `prefix`, `timers`, `messaging`, `log` and `parser` are borrowed. NULL: no memory. */
struct mst_fanout *mst_fanout_create(struct mst_messaging *messaging, struct mst_timers *timers, struct mst_log *log,
                                     struct mst_json_parser *parser, const char *prefix);

/* Only when no multicast is under way (mst_fanout_active() == 0); those that are done may outlive it. */
void mst_fanout_destroy(struct mst_fanout *fanout);

/* Multicasts that are not done yet, or whose casts messaging still holds. */
uint32_t mst_fanout_active(const struct mst_fanout *fanout);
const struct mst_fanout_stats *mst_fanout_stats(const struct mst_fanout *fanout);

struct mst_multicast_request {
    const char *namespace_;
    struct mst_view *view;
    const struct mst_rowset *targets; /* read during the call only */
    uint64_t revision;
    struct mst_span payload; /* copied */
    enum mst_ack ack;
    uint64_t timeout; /* nanoseconds from now */
    uint32_t retries; /* how often what was LOST is sent again; only with an acknowledgement asked for */
    void (*done)(struct mst_multicast *multicast, void *owner); /* once, from the loop, when all targets are final */
    void *owner;
};

/*
 * Starts a multicast. Rows of the set that are dead are left out. MST_ETOOBIG where payload or envelope exceed what
 * messaging carries, or all messages together 256 MiB (and 1 KiB per target); MST_EBUSY above 1,024 under
 * way, or where all under way would pass 2,000,000 targets (a single one may have more);
 * MST_ENOMEM; then nothing was sent. No targets: done follows with zeros.
 */
int mst_multicast_start(struct mst_fanout *fanout, const struct mst_multicast_request *request,
                        struct mst_multicast **result, struct mst_error *error);

/* Ends early: what is not final becomes skipped(cancelled), or unreachable if it was sent; done follows. */
void mst_multicast_cancel(struct mst_multicast *multicast);

/* To be called in or after `done`; frees it (at once or when messaging has let go). */
void mst_multicast_destroy(struct mst_multicast *multicast);

const char *mst_multicast_id(const struct mst_multicast *multicast); /* "m-" and 16 of [0-9a-z], unique */
uint32_t mst_multicast_targets(const struct mst_multicast *multicast);
uint64_t mst_multicast_digest(const struct mst_multicast *multicast);  /* sum of the XXH3 of each id: free of order */
uint64_t mst_multicast_elapsed(const struct mst_multicast *multicast); /* ns from start to done (or to now) */
uint32_t mst_multicast_count(const struct mst_multicast *multicast, enum mst_receipt_state state);

struct mst_receipt {
    struct mst_span id;
    enum mst_receipt_state state;
    struct mst_span code; /* of failed: CODE and text as the receiver gave it; of skipped: the reason; else empty */
};

/* The receipt of target `index` (0 .. targets-1, in row order). */
void mst_multicast_receipt(const struct mst_multicast *multicast, uint32_t index, struct mst_receipt *receipt);

/* The digest that a set would have, for guards and dry runs. */
uint64_t mst_fanout_digest(struct mst_view *view, const struct mst_rowset *targets);
