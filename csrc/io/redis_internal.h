// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the parts of the Redis registry share. One object per registry; one `space` per namespace, made on first use.
 *
 *   redis_link      a connection                      redis_write     requests, group commit, results
 *   redis_server    checks of the server, its clock   redis_replay    what was acknowledged lately
 *   redis_space     epochs, errors                    redis_follow    snapshots
 *   redis_codec     the binary formats                redis_feed      the feed
 *   redis_registry  the slot itself                   redis_drop      drop, namespaces
 */
#include "base/clock.h"
#include "base/map.h"
#include "io/redis_link.h"

#define MST__COMMAND_TIMEOUT (5 * MST_NS_PER_SECOND)
#define MST__BATCH_RECORDS 128u
#define MST__BATCH_BYTES (256u * 1024)
#define MST__STATE_SIZE 55u
#define MST__RESULT_SIZE 40u

struct mst__redis;
struct mst__redis_follow;
struct mst__redis_memo;

/* A position in the feed. */
struct mst__redis_position {
    uint64_t epoch, number;
};

/* One operation, or a part of one that is too long for one batch. */
struct mst__redis_part {
    struct mst__redis_request *request;
    struct mst__redis_part *next, *previous;
    struct mst__redis_parts *list; /* NULL: in flight */
    uint64_t version;
    uint32_t first, count; /* of the request's ids */
    bool retry;            /* it was sent before, so it may have been applied */
    bool ease;             /* only with others that are allowed when Redis is out of memory */
};

struct mst__redis_parts {
    struct mst__redis_part *head, *tail;
};

struct mst__redis_request {
    char kind;    /* 'P' put, 'T' renew, 'D' remove, 'E' reap */
    void *object; /* the caller's; NULL once it has been called back */
    struct mst__redis_space *space;
    struct mst__redis_request *next, *previous; /* all that are not called back */
    struct mst_timer timer;
    size_t bytes;
    uint32_t records;
    uint32_t part_count;
    uint32_t open;              /* parts not settled */
    const struct mst_span *ids; /* of renew (borrowed) and reap (behind the parts) */
    int status;                 /* first failure of a part */
    struct mst_error error;
    struct mst__redis_part parts[];
};

struct mst__redis_space {
    struct mst__redis *registry;
    struct mst__redis_space *next;
    char name[MST_NAMESPACE_MAX + 1];
    char *key[5];           /* h t s m d */
    struct mst_buffer keys; /* all of them as arguments of a command */
    enum { MST__SPACE_DETACHED, MST__SPACE_ATTACHING, MST__SPACE_ATTACHED } state;
    char epoch[24];
    bool listed;                   /* its name is in the set of namespaces, as far as this connection knows */
    bool wanted;                   /* attach even without anything to send */
    struct mst__redis_parts again; /* to be sent before those of `queue` */
    struct mst__redis_parts queue;
    uint32_t waiting;     /* records in both */
    uint32_t batches;     /* in flight */
    uint64_t pause_until; /* after an error that may go away */
    uint64_t seen;        /* the highest revision heard of */
    double entry_bytes;   /* mean size of a feed entry */
    bool tombstones;      /* there are some to be swept */
    struct mst__redis_memo *oldest, *newest;
    struct mst__redis_memo *fresh; /* the first of the batch whose results are being read */
    size_t memo_bytes;
    uint32_t memo_count;
    bool must_replay;
};

struct mst__redis {
    struct mst_registry base;
    struct mst_loop *loop;
    struct mst_log *log;
    struct mst_redis_options options;
    char *strings; /* of the options */
    char address[160];

    void (*ready)(void *context, int status, const struct mst_error *error);
    void *ready_context;
    void (*closed)(void *context);
    void *closed_context;
    bool closing;
    unsigned links_open, handles;
    uv_prepare_t prepare;
    uv_async_t wake;
    struct mst__redis_link write, feed, bulk;

    bool serving;     /* the server was checked on this connection and operations can be sent */
    bool bulk_failed; /* the bulk connection went down and is not back */
    bool loading;     /* FUNCTION LOAD is under way */
    char replid[48];
    struct mst_error why;                      /* while not serving */
    struct mst_timer check_timer, tick, nudge; /* nudge: only turns the loop */
    uint64_t ticks;
    uint32_t expire_s; /* 0: all namespaces stay */
    char expire_name[MST_NAMESPACE_MAX + 1];

    bool has_clock;
    int64_t clock_offset_us; /* Redis' Unix time less monotonic */
    uint64_t clock_rtt, clock_at;

    uint64_t last_version;
    uint32_t instance;

    struct mst_map *space_of;
    struct mst__redis_space *spaces;
    struct mst__redis_request *requests;
    uint64_t records, bytes; /* of requests not called back */
    void *spare_batch;

    struct mst_registry_put *refused_puts; /* status is set; linked by slot_state */
    struct mst_registry_renew *refused_renews;
    struct mst_registry_remove *refused_removes;
    struct mst_registry_follow *refused_follows;
    struct mst_registry_drop *refused_drops;

    struct mst__redis_follow *follows;
    struct mst_timer feed_timer;
    bool feed_busy;
    uint64_t feed_sent; /* when the latest read went out */
    uint64_t own_at;    /* when an answer last showed that nobody but us had written since the feed was read; or 0 */
    char feed_client[24];

    struct mst__redis_drop *drops;
    struct mst__redis_listing *listings;
};

/* redis_codec: big-endian numbers of 1 to 8 bytes; positions as Redis writes them. */
void mst__redis_pack(struct mst_buffer *out, uint64_t number, unsigned bytes);
uint64_t mst__redis_unpack(const char *from, unsigned bytes);
bool mst__redis_position(const char *text, size_t length, struct mst__redis_position *position);
int mst__redis_position_compare(struct mst__redis_position a, struct mst__redis_position b);
uint64_t mst__redis_digest(const void *bytes, size_t length);

/* The body of a registration, kept as one string: lengths of gateway and owner (2 bytes each), gateway, owner,
 * metadata. */
void mst__redis_body_write(struct mst_buffer *out, const struct mst_registry_put *put);
size_t mst__redis_body_length(const struct mst_registry_put *put);
/* Of what is compared to tell a renewal: the body (as written) but for the owner. False: no memory. */
bool mst__redis_body_digest(const struct mst_registry_put *put, const char *body, uint64_t *digest);
bool mst__redis_body_read(const char *bytes, size_t length, struct mst_identity *identity);

/* A state or a result, as redis_functions.lua lays them out. */
struct mst__redis_state {
    uint8_t status, flags; /* status: of a result only */
    uint64_t version;
    int64_t deadline, lease, registered, updated;
    uint64_t revision, digest, owner;
};
enum { MST__FLAG_LIVE = 1, MST__FLAG_CREATED = 2, MST__FLAG_CHANGED = 4 };
enum { MST__APPLIED, MST__EXISTS, MST__REVISION, MST__OWNER, MST__ABSENT, MST__UNSURE };
void mst__redis_state_write(struct mst_buffer *out, const struct mst__redis_state *state);
bool mst__redis_state_read(const char *bytes, size_t length, struct mst__redis_state *state);
void mst__redis_result_read(const char *bytes, struct mst__redis_state *result);

/* redis_server */
void mst__redis_check(struct mst__redis *registry);        /* of a new connection; sets `serving` and calls `ready` */
void mst__redis_load_library(struct mst__redis *registry); /* not serving until it is loaded */
void mst__redis_read_clock(struct mst__redis *registry);
int64_t mst__redis_now(struct mst__redis *registry);
void mst__redis_opened(struct mst__redis *registry, int status, const struct mst_error *error);

/* redis_space */
struct mst__redis_space *mst__redis_space_get(struct mst__redis *registry, const char *name);
void mst__redis_space_destroy(struct mst__redis_space *space);
void mst__redis_space_expire(struct mst__redis_space *space); /* all its keys at the same moment */
void mst__redis_space_attach(struct mst__redis_space *space);
void mst__redis_space_saw(struct mst__redis_space *space, uint64_t revision);

/* Adds that the operation may have been carried out all the same. */
void mst__redis_error_unsure(struct mst_error *error);

/* What an error reply asks for. Actions on the connection, the library and the epoch have been started on return. */
enum mst__redis_verdict {
    MST__VERDICT_FAIL,   /* `error` says why */
    MST__VERDICT_AGAIN,  /* nothing was applied; send it again when the space lets it */
    MST__VERDICT_MEMORY, /* refused for lack of memory; `error` is set */
};
enum mst__redis_verdict mst__redis_judge(struct mst__redis_space *space, const redisReply *reply,
                                         struct mst_error *error);

/* redis_write */
void mst__redis_put(struct mst_registry *base, struct mst_registry_put *put);
void mst__redis_renew(struct mst_registry *base, struct mst_registry_renew *renew);
void mst__redis_remove(struct mst_registry *base, struct mst_registry_remove *remove);
void mst__redis_reap(struct mst_registry *base, const char *namespace_, const struct mst_span *ids, uint32_t count);
void mst__redis_write_flush(struct mst__redis *registry); /* sends what is due */
void mst__redis_write_refused(struct mst__redis *registry);
void mst__redis_write_close(struct mst__redis *registry);
void mst__redis_fcall(struct mst__redis_space *space, const char *function, uint32_t more);

/* redis_batch: encoding and answers */
size_t mst__redis_part_bytes(const struct mst__redis_part *part);
uint32_t mst__redis_part_arguments(const struct mst__redis_part *part);
void mst__redis_part_write(struct mst__redis_link *link, const struct mst__redis_part *part);
uint32_t mst__redis_part_results(const struct mst__redis_part *part);
void mst__redis_part_read(struct mst__redis_part *part, const char *results, uint64_t revision);
void mst__redis_part_fail(struct mst__redis_part *part, int status, const struct mst_error *error);
void mst__redis_part_settle(struct mst__redis_part *part);
void mst__redis_request_finish(struct mst__redis_request *request, int status, const struct mst_error *error);

/* redis_replay */
void mst__redis_remember(struct mst__redis_space *space, char kind, struct mst_span id,
                         const struct mst__redis_state *result, const struct mst_registry_put *put);
void mst__redis_replay(struct mst__redis_space *space);
void mst__redis_forget(struct mst__redis_space *space, bool all);
/* One thing remembered, as a follower is told of it; spans into the memo. */
struct mst__redis_recalled {
    char kind; /* 'p' put, 't' renewed, 'd' removed */
    struct mst_span id, body;
    struct mst__redis_state state;
};
void mst__redis_recall(const struct mst__redis_memo *memo, struct mst__redis_recalled *change);
const struct mst__redis_memo *mst__redis_memo_next(const struct mst__redis_memo *memo);

/* redis_follow and redis_feed */
struct mst__redis_follow {
    struct mst_registry_follow *follow;
    struct mst__redis_space *space;
    struct mst__redis_follow *next;
    enum {
        MST__FOLLOW_WAIT,
        MST__FOLLOW_LOOK,
        MST__FOLLOW_SCAN,
        MST__FOLLOW_CATCH_UP,
        MST__FOLLOW_FEED,
        MST__FOLLOW_DEAD
    } state;
    struct mst__redis_position position, target;
    struct mst_map *known; /* id to revision, as delivered */
    struct mst_map *fresh; /* the same while a snapshot is read */
    uint32_t in_flight;
    uint32_t round; /* of snapshots: an answer to an older one is ignored */
    bool scanned;
    uint64_t seen; /* of the namespace when the snapshot began */
    uint64_t start_revision, revision;
    uint64_t floor;  /* revisions up to here may have been given twice */
    uint32_t behind; /* looks in a row that found the feed further than we are */
    uint64_t retry_at;
    bool ready;
};
void mst__redis_follow(struct mst_registry *base, struct mst_registry_follow *pub);
void mst__redis_follow_kick(struct mst__redis *registry);
void mst__redis_follow_restart(struct mst__redis_follow *follow, const char *reason);
void mst__redis_follow_look(struct mst__redis *registry);
void mst__redis_follow_close(struct mst__redis *registry);
/* Applies one entry of the feed; false where it does not follow the one before. */
bool mst__redis_feed_apply(struct mst__redis_follow *follow, const redisReply *entry);
void mst__redis_feed_kick(struct mst__redis *registry, bool interrupt);
/*
 * A change is about to be sent; and a batch was answered with the namespace's revision, `sure` if nothing of it had
 * been sent before. Where the changes are ours alone, followers are given them from memory (`fresh`) and the feed need
 * not be read for them. Without the certainty it is read soon.
 */
void mst__redis_feed_writing(const struct mst__redis_space *space);
void mst__redis_feed_own(struct mst__redis_space *space, uint64_t revision, bool sure);
void mst__redis_feed_up(struct mst__redis *registry);
void mst__redis_feed_timer(struct mst_timer *timer, void *owner);

/* redis_drop */
void mst__redis_drop(struct mst_registry *base, struct mst_registry_drop *pub);
void mst__redis_namespaces(struct mst_registry *base, void (*each)(void *context, const char *namespace_),
                           void (*ready)(void *context, int status, const struct mst_error *error), void *context);
void mst__redis_drop_run(struct mst__redis *registry); /* from the wake-up */
void mst__redis_drop_close(struct mst__redis *registry);

/* The embedded library. */
extern const char mst__redis_functions[];
extern const size_t mst__redis_functions_size;
