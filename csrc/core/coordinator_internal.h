// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The parts the coordinator is made of; for coordinator.c, space.c, feed.c, start.c, body.c, filter_cache.c, query.c
 * and verb_*.c only.
 *
 * A call lives from mst_coordinator_call to its answer. It belongs to a space (what the coordinator keeps of a
 * namespace), or to the limbo: the empty space in which calls wait for the start, and in which reads of a namespace
 * that is not there are carried out.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/map.h"
#include "core/coordinator.h"
#include "match/match.h"
#include "match/sort.h"
#include "model/value.h"

#define MST__REQUEST_DEPTH 24u
#define MST__ANSWER_MAX (64u << 20)     /* bytes of one answer */
#define MST__REAP_BATCH 256u            /* ids of one call of the registry's reap */
#define MST__REGISTER_MAX 1000u         /* registrations of one request */
#define MST__HEARTBEAT_MAX 10000u       /* ids of one request */
#define MST__RETRY_NS MST_NS_PER_SECOND /* between two tries to load a namespace, or to look for new ones */

/* Appends a string literal. */
#define MST__PUT(out, literal) mst_buffer_append((out), "" literal, sizeof(literal) - 1)

struct mst__call;

struct mst__verb {
    const char *name;
    bool public_;
    bool creates; /* may bring a namespace into being */
    /*
     * Carries a call out, in a space that is ready and whose due leases have ended; ends it with mst__call_end now or
     * later. May be called again from the start after mst__call_need_space has returned false.
     */
    void (*run)(struct mst__call *call);
};

const struct mst__verb *mst__verb_find(const char *name);

/* coordinator.c: calls */

struct mst__call {
    struct mst_coordinator *coordinator;
    struct mst__space *space;
    const struct mst__verb *verb;
    struct mst__call *next, **link; /* in the list of calls waiting or ended, or of multicasts under way */
    mst_answer *done;
    void *context;
    uint64_t deadline; /* monotonic ns, of everything but multicast */
    int64_t now_ms;    /* the registry's clock when the call ran */
    char namespace_[MST_NAMESPACE_MAX + 1];
    struct mst_buffer body;   /* a copy of the request */
    struct mst_buffer packed; /* the request as one packed value */
    struct mst_buffer answer;
    int status;
    struct mst_error error;
    void *state; /* the verb's own, freed by the verb */
};

struct mst__list {
    struct mst__call *first, **last;
};

void mst__list_init(struct mst__list *list);
void mst__list_push(struct mst__list *list, struct mst__call *call);
void mst__list_remove(struct mst__list *list, struct mst__call *call);

enum { MST__CALL_WAITS = 1 };

/*
 * Ends a call with the answer built, or (status negative) with call->error. The answer is delivered on a later turn of
 * the loop. MST__CALL_WAITS: it does not end; the verb runs again from its beginning, soon.
 */
void mst__call_end(struct mst__call *call, int status);

/* For a verb that creates: true if the call's namespace is there and ready; false: the call waits or has ended. */
bool mst__call_need_space(struct mst__call *call);

/* Ends all waiting calls with an error. */
void mst__calls_refuse(struct mst_coordinator *coordinator, const struct mst_error *error);

/* Tries all waiting calls again, after a namespace has become ready or a search for namespaces has ended. */
void mst__calls_wake(struct mst_coordinator *coordinator);

/* space.c, feed.c: what the coordinator keeps of a namespace */

enum mst__space_stage {
    MST__SPACE_NEW,     /* not asked for yet */
    MST__SPACE_LOADING, /* its snapshot is under way */
    MST__SPACE_READY,
    MST__SPACE_FAILED, /* its snapshot failed: `error`; may be tried again at `retry_at` */
};

/* A removal seen, so that an older registration that comes late does not bring the identity back. */
struct mst__tombstone {
    struct mst__tombstone *next;
    uint64_t revision, at; /* at: monotonic ns */
    uint8_t id_length;
    char id[];
};

struct mst__space {
    struct mst_coordinator *coordinator;
    struct mst_view *view;
    enum mst__space_stage stage;
    struct mst_error error;
    uint64_t retry_at;
    uint64_t generation; /* random; another one whenever the view's rows are numbered anew */
    uint64_t floor;      /* the namespace is at least at this revision, whatever the view says */
    uint32_t in_flight;  /* calls not answered yet */
    uint32_t creating;   /* registrations under way of ids that the view does not have */
    bool counted;        /* its snapshot belongs to the start */
    int64_t expiry;      /* when `timer` looks for ended leases; INT64_MAX: it is not set */
    struct mst_timer timer;
    struct mst_timer filling; /* goes on with columns that are being filled */
    struct mst_registry_follow follow;
    struct mst_map *tombstones; /* id to struct mst__tombstone; NULL until there is one */
    struct mst__tombstone *oldest, *newest;
    char name[MST_NAMESPACE_MAX + 1];
};

struct mst__space *mst__space_find(struct mst_coordinator *coordinator, const char *name);
/* Finds or creates; NULL with the error set. */
struct mst__space *mst__space_make(struct mst_coordinator *coordinator, const char *name, struct mst_error *error);
void mst__space_destroy(struct mst__space *space);
uint64_t mst__space_revision(const struct mst__space *space);
/* Starts to load it, if nobody has (or the last try failed and may be repeated). */
void mst__space_load(struct mst__space *space);
/* Ends what is due, by the registry's clock, which it returns. */
int64_t mst__space_expire(struct mst__space *space);
/* Makes sure that a lease that ends at `expires_at` is ended in time. */
void mst__space_watch_lease(struct mst__space *space, int64_t expires_at);
/* Goes on with columns that queries have asked for, in slices between the loop's other business, if there are any. */
void mst__space_fill(struct mst__space *space);
/* Forgets everything, after the registry has. */
void mst__space_clear(struct mst__space *space);

/*
 * Applies what the registry says if it is newer than what the view has. `document` as mst_view_put. MST_ENOMEM,
 * MST_EJSON.
 */
int mst__space_put(struct mst__space *space, const struct mst_identity *identity, const uint8_t *document);
void mst__space_touch(struct mst__space *space, struct mst_span id, int64_t expires_at, int64_t lease_ms,
                      uint64_t revision);
void mst__space_remove(struct mst__space *space, struct mst_span id, uint64_t revision);
void mst__space_bury(struct mst__space *space, struct mst_span id, uint64_t revision);
void mst__space_forget_tombstones(struct mst__space *space);
void mst__space_follow(struct mst__space *space); /* asks the registry; the stage is LOADING */

/* start.c: the start, and the search for namespaces that others have made */
void mst__start_space_ready(struct mst__space *space);
/*
 * For a read of an unknown namespace: 1: wait for a search, which is under way; 0: it is not there; or the search
 * failed.
 */
int mst__discover(struct mst_coordinator *coordinator, struct mst_error *error);

/* filter_cache.c: compiled filters by their text, least recently used out first */

struct mst__filter {
    struct mst_program *program;
    char *warnings; /* owned: a JSON array */
    size_t warnings_length;
    /* private */
    struct mst__filter *newer, *older;
    char *text;                /* owned */
    size_t length, cost, kept; /* bytes of the text, of all, and of what matches have left */
    bool json;
};

struct mst__filter_cache {
    struct mst_map *maps[2]; /* text, JSON */
    struct mst__filter *newest, *oldest;
    uint32_t count;
    size_t cost; /* of all, near enough in bytes */
    uint64_t hits, misses, evictions;
    struct mst_buffer program, warnings; /* what the compiler writes to */
};

int mst__filter_cache_init(struct mst__filter_cache *cache);
void mst__filter_cache_deinit(struct mst__filter_cache *cache);
/* Forgets all of them; the counters stay. */
void mst__filter_cache_clear(struct mst__filter_cache *cache);
/* The compiled filter, borrowed until the next call. MST_EFILTER, MST_ENOMEM. */
int mst__filter_get(struct mst__filter_cache *cache, const struct mst_compiler *compiler, struct mst_span source,
                    bool json, struct mst__filter **filter, struct mst_error *error);

/* query.c: filter and parameters of a request */

struct mst__query {
    struct mst__filter *filter; /* NULL: none, everything matches */
    struct mst_bound *bound;
    struct mst_span source;
    bool json;
};

/* `filter` and `params` are the values of those keys, or NULL. To be deinitialised in both cases. */
int mst__query_init(struct mst__query *query, struct mst__call *call, const uint8_t *filter, const uint8_t *params);
void mst__query_deinit(struct mst__query *query);
/* Only the filter: there are no parameters yet, and nothing to deinitialise. */
int mst__query_compile(struct mst__query *query, struct mst__call *call, const uint8_t *filter);
/*
 * Before a set is read through the column of a path: MST__CALL_WAITS where the column is being filled, and reading the
 * documents of the set instead would take about as long.
 */
int mst__query_fill(struct mst__call *call, const struct mst_path *path, const struct mst_rowset *set);
/*
 * These three may return MST__CALL_WAITS, which the verb hands on to mst__call_end: columns of a large namespace are
 * being filled, and the call is run again from its beginning when they are.
 */
int mst__query_count(struct mst__query *query, struct mst__call *call, uint32_t *count);
int mst__query_exists(struct mst__query *query, struct mst__call *call, bool *exists);
/* Matches into the coordinator's row set, which is good until the next match. */
int mst__query_match(struct mst__query *query, struct mst__call *call, struct mst_rowset **set);
/* Never waits: what is not in columns yet is read from the documents. */
int mst__query_match_now(struct mst__query *query, struct mst__call *call, struct mst_rowset **set);
/* MST_EREVISION if this instance has not seen `revision` yet. */
int mst__need_revision(struct mst__call *call, uint64_t wanted);
/* Whether it lets everything through without looking. */
bool mst__query_is_open(struct mst__query *query);
void mst__query_put_warnings(const struct mst__query *query, struct mst_buffer *out);

/* body.c: reading requests */

#define MST__T(tag) (1u << (tag))
#define MST__T_BOOL (MST__T(MST_FALSE) | MST__T(MST_TRUE))
#define MST__T_NUMBER (MST__T(MST_INT) | MST__T(MST_DOUBLE))
#define MST__T_STRING MST__T(MST_STRING)
#define MST__T_ANY (MST__T(MST_FINALS) - 1)
#define MST__KEY_LATER 1u /* known, but nothing here can do it yet */

struct mst__key {
    const char *name;
    uint16_t types; /* MST__T of what it may be; null stands for "not given" unless it is among them */
    uint16_t flags;
};

extern const uint8_t mst__empty_object[9];

/* Parses call->body into call->packed. MST_EJSON, MST_ETOOBIG. */
int mst__body_parse(struct mst__call *call);
/* Parses it and reads its keys; `values` has a place per key. */
int mst__body_read(struct mst__call *call, const struct mst__key *keys, uint32_t count, const uint8_t **values);
/* Parses it where "id" is the one key it may have, and must; the id is not checked further. */
int mst__body_id(struct mst__call *call, struct mst_span *id);
/*
 * Checks one object against the keys it may have and puts the value of each (NULL: not given) into `values`.
 * MST_EINVAL.
 */
int mst__body_keys(const uint8_t *object, const struct mst__key *keys, uint32_t count, const uint8_t **values,
                   struct mst_error *error);
struct mst_span mst__body_string(const uint8_t *value); /* empty where it is NULL */
bool mst__body_bool(const uint8_t *value, bool otherwise);
/* An integer in min .. max; left alone where the value is NULL. MST_EINVAL, MST_ERANGE. */
int mst__body_integer(const uint8_t *value, const char *key, uint64_t min, uint64_t max, uint64_t *number,
                      struct mst_error *error);
/* Seconds or a duration text, as nanoseconds; left alone where the value is NULL. MST_EINVAL, MST_ERANGE. */
int mst__body_duration(const uint8_t *value, const char *key, uint64_t min, uint64_t max, uint64_t *nanoseconds,
                       struct mst_error *error);
/* "ttl": seconds, duration, "never" or null, as milliseconds (0: never); left alone where the value is NULL. */
int mst__body_lease(const uint8_t *value, int64_t *milliseconds, struct mst_error *error);
/* One of `names` (ended by NULL); left alone where the value is NULL. MST_EINVAL. */
int mst__body_choice(const uint8_t *value, const char *key, const char *const *names, unsigned *choice,
                     struct mst_error *error);
/*
 * The one of `count` names that is near to `text`; NULL: none. Each entry is `stride` bytes and begins with its `const
 * char *` name.
 */
const char *mst__suggest(const char *text, size_t length, const void *first, size_t stride, size_t count);
/* The limits of metadata: an object with its depth and number of fields. MST_EINVAL, MST_ETOOBIG. */
int mst__metadata_check(struct mst_span raw, const uint8_t *document, struct mst_error *error);

/*
 * The identity in a row as get and enumerate answer it; `metadata` false: without; `fields`: only these (NULL: as
 * stored).
 */
struct mst__projection {
    bool metadata;
    uint32_t count;
    struct mst_path *paths;
    struct mst_span *names;
};
int mst__put_row(struct mst__call *call, uint32_t row, const struct mst__projection *projection,
                 struct mst_buffer *out);
void mst__put_time(struct mst_buffer *out, int64_t ms);                     /* null where 0 */
void mst__put_tail(struct mst__call *call, const struct mst__query *query); /* ,"revision":N,"warnings":[..]} */

/* verb_enumerate.c: a path of a request, whose key an error names; `skipped` bytes of `text` are not part of it. */
int mst__path_read(const char *key, struct mst_span text, size_t skipped, struct mst_path *path,
                   struct mst_error *error);

/* cursor.c: where a sorted list goes on */
#define MST__SORT_KEYS_MAX 8u

struct mst__cursor {
    bool given;
    struct mst_sort_place place;
    const uint8_t *values[MST__SORT_KEYS_MAX];
    struct mst_buffer packed;
};

/* A mark of what a cursor belongs to, with the order worked in. */
uint64_t mst__sort_mark(const struct mst_sort_key *keys, uint32_t count, uint64_t mark);
/* MST_EINVAL. To be deinitialised in both cases. */
int mst__cursor_read(struct mst__cursor *cursor, struct mst_span text, uint32_t key_count, uint64_t mark,
                     struct mst_error *error);
void mst__cursor_deinit(struct mst__cursor *cursor);
/* Appends ,"next_cursor":".." for the list that ends with `row`. MST_ENOMEM. */
int mst__cursor_put(struct mst__call *call, const struct mst_sort_key *keys, uint32_t key_count, uint64_t mark,
                    uint32_t row);

/* verb_*.c */
void mst__verb_register(struct mst__call *call);
void mst__verb_heartbeat(struct mst__call *call);
void mst__verb_unregister(struct mst__call *call);
void mst__verb_drop(struct mst__call *call);
void mst__verb_get(struct mst__call *call);
void mst__verb_enumerate(struct mst__call *call);
void mst__verb_count(struct mst__call *call);
void mst__verb_multicast(struct mst__call *call);
void mst__multicasts_cancel(struct mst_coordinator *coordinator); /* all that are under way */
void mst__verb_explain(struct mst__call *call);
void mst__verb_filters(struct mst__call *call);
void mst__verb_prepare(struct mst__call *call);
void mst__verb_aggregate(struct mst__call *call);
/* Reads call->body as the request of aggregate, and answers it. `query` is the caller's to deinitialise. */
int mst__aggregate(struct mst__call *call, struct mst__query *query);

struct mst_coordinator {
    struct mst_timers *timers;
    struct mst_log *log;
    struct mst_compiler compiler;
    char *prefix;
    uint32_t max_identities, max_in_flight, max_request_bytes, max_namespaces;
    uint64_t request_timeout;

    struct mst_registry *registry;
    struct mst_messaging *messaging;
    struct mst_fanout *fanout;
    struct mst_json_parser *parser;

    struct mst_map *spaces; /* name to struct mst__space */
    struct mst__space limbo;
    struct mst__filter_cache filters;
    struct mst_rowset matched;          /* of the query at hand */
    struct mst_buffer document, finals; /* of the row at hand */
    struct mst_span reap_ids[MST__REAP_BATCH];
    char reap_text[MST__REAP_BATCH * MST_ID_MAX];
    uint32_t reap_count;

    struct mst__call *spare; /* calls to be used again */
    uint32_t spare_count, in_flight;
    struct mst__list waiting, ended, multicasts;
    /* Set all the time ("never" when idle), so that setting them cannot fail. */
    struct mst_timer answer_timer, wait_timer, grace_timer;

    bool starting, started, searching;
    uint64_t searched_at;
    struct mst_error search_error;
    uint32_t loading; /* snapshots that the start waits for */
    int start_status;
    struct mst_error start_error;
    void (*ready)(void *context, int status, const struct mst_error *error);
    void *ready_context;

    bool closing, drained;
    void (*on_drained)(void *context);
    void *drained_context;

    uint64_t calls, errors;

    void (*observe)(void *context, void *call, const struct mst_multicast *multicast);
    void *observe_context;
};
