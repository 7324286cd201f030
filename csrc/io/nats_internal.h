// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the files of the NATS slot share.
 *
 *   nats_messaging.c   the slot itself: dispatch of events, opening and closing
 *   nats_casts.c       the casts under way and what their callers are told
 *   nats_publisher.c   one publisher: queue of casts, slices, windows, fences
 *   nats_link.c        its connection; dial, nats_settings, nats_keys, nats_tls and nats_wire are what that is made of
 *   nats_control.c     the control thread: listeners and single messages, over nats.c
 *   nats_control_calls.c   what the loop thread asks of it
 *   nats_connection.c  for the control connection: options, connecting, error texts, subjects, gates
 *   nats_events.c      the queue that the control thread fills and the loop empties
 *
 * All but the control's thread and nats.c's own is on the loop thread. Locks are taken in this order: a gate, the
 * control's lock, the lock of the events.
 */
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include "io/nats_link.h"
#include "io/nats_messaging.h"

enum {
    MST__NATS_SUBJECT = 1500, /* longest subject; two of them fit into the server's control line of 4,096 bytes */
    MST__NATS_INBOX = 32,
    MST__NATS_SEGMENTS = 64,        /* most pieces of casts in one window */
    MST__NATS_WINDOW_BYTES = 98304, /* a window ends when it holds as much */
    MST__NATS_PUBLISHERS = 8,       /* most of them */
};

_Static_assert((int)MST__NATS_PUBLISHERS <= (int)MST_CAST_SHARDS, "each publisher has a shard of every cast");

/* ------------------------------------------------------------------------ events */

enum mst__nats_event_kind {
    MST__NATS_REFUSED,  /* slot, generation, first, end, code, piece 0: text */
    MST__NATS_LET_GO,   /* slot, generation: the cast's owner has released it */
    MST__NATS_DELIVERY, /* object: listener; pieces: subject, reply, payload */
    MST__NATS_GONE,     /* object: listener that the control thread refers to no more */
    MST__NATS_UP,       /* the control connection works, with all its listeners */
    MST__NATS_DOWN,     /* code, piece 0: text */
    MST__NATS_STOPPED,  /* the control thread is about to end */
};

enum { MST__NATS_PIECES = 3 };

struct mst__nats_event {
    uint8_t kind;
    int16_t code;
    uint32_t slot, generation, first, end;
    uint32_t lengths[MST__NATS_PIECES]; /* of the pieces, which lie one after the other */
    size_t offset;                      /* of the pieces in the batch's bytes */
    void *object;
};

struct mst__nats_batch {
    struct mst__nats_event *events;
    uint32_t count, capacity;
    struct mst_buffer bytes;
};

/* Filled by the control thread, emptied by the loop thread, which is woken once for what has gathered. */
struct mst__nats_events {
    pthread_mutex_t lock;
    uv_async_t wake;
    struct mst__nats_batch pending; /* under the lock */
    struct mst__nats_batch working; /* loop thread */
    uint32_t position;              /* in `working` */
};

int mst__nats_events_init(struct mst__nats_events *events, uv_loop_t *uv, uv_async_cb wake, void *owner);

/* After the closing of `wake`. */
void mst__nats_events_deinit(struct mst__nats_events *events);

/*
 * Appends an event with copies of its pieces. DELIVERY comes from outside and is left out (false) beyond a limit; the
 * others wait for memory rather than be lost.
 */
bool mst__nats_events_post(struct mst__nats_events *events, const struct mst__nats_event *event,
                           const struct mst_span *pieces, unsigned count);

/* The same from the loop thread, which sees itself to it that the events are looked at. */
bool mst__nats_events_put(struct mst__nats_events *events, const struct mst__nats_event *event,
                          const struct mst_span *pieces, unsigned count);

/* The next event, or NULL; it and its pieces stay until the next call. */
const struct mst__nats_event *mst__nats_events_next(struct mst__nats_events *events);

struct mst_span mst__nats_event_piece(const struct mst__nats_events *events, const struct mst__nats_event *event,
                                      unsigned index);

/* ------------------------------------------------------------------------ gates */

/*
 * What nats.c's threads are given as closure. They may call after the connection is destroyed, so the owner shuts the
 * gate, and whoever comes later finds nobody. Callbacks run with the gate's lock held. Counted: the owner, and every
 * final callback that is to come, have one reference each.
 */
struct mst__nats_gate {
    pthread_mutex_t lock;
    atomic_uint references;
    void *owner; /* under the lock; NULL: shut */
    void *detail;
};

struct mst__nats_gate *mst__nats_gate_create(void *owner, void *detail);
void mst__nats_gate_ref(struct mst__nats_gate *gate);
void mst__nats_gate_unref(void *closure); /* a gate; also the completion callback of a subscription */
void mst__nats_gate_shut(struct mst__nats_gate *gate);

/* ------------------------------------------------------------------------ connections */

/*
 * Options for connections of one kind: never reconnecting, with a write deadline, quiet. MST_ECONFIG or MST_ENOMEM.
 * `write_deadline` in nanoseconds.
 */
int mst__nats_options_create(natsOptions **made, const struct mst_nats_options *options, uint64_t write_deadline,
                             struct mst_error *error);

/* The servers without user and password, for messages; NULL: no memory. */
char *mst__nats_label(const char *servers);

/*
 * Connects (blocking). `closed` is called with the gate when it ends, unless connecting failed. MST_ENATS, or
 * MST_ECONFIG for an address or options that can never work.
 */
int mst__nats_connect(natsConnection **connection, natsOptions *options, const char *label,
                      natsConnectionHandler closed, struct mst__nats_gate *gate, struct mst_error *error);

/* The connection's last error as a code and text, or 0. */
int mst__nats_last_error(natsConnection *connection, struct mst_error *error);

/* Code and text of a status that a function of nats.c has just returned on this thread. */
int mst__nats_status(natsStatus status, struct mst_error *error, const char *what);

/*
 * Copies a subject with NUL to `to` (room for MST__NATS_SUBJECT + 1). False for one that NATS must not see: empty, with
 * an empty token, a space, a control byte, too long; or with wildcards where there may be none (or misplaced).
 */
bool mst__nats_subject_copy(char *to, const char *from, size_t length, bool wildcards);

/* An inbox of our own, 80 random bits, that ends with '.', no NUL. */
int mst__nats_inbox(char inbox[MST__NATS_INBOX], size_t *length);

/* Appends a number in hexadecimal, without NUL; returns its length. */
size_t mst__nats_put_hex(char *to, uint64_t number);

int mst__nats_thread_start(pthread_t *thread, void *(*run)(void *owner), void *owner);
int mst__nats_condition_init(pthread_cond_t *condition); /* on the monotonic clock */

/* Waits until signalled or `until` (monotonic ns; UINT64_MAX: for ever). */
void mst__nats_wait(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until);

/* ------------------------------------------------------------------------ publisher */

struct mst__nats_casts;

/* The messages of a cast that one publisher sends. */
struct mst__nats_part {
    struct mst__nats_job *job;
    uint32_t position; /* the first message that was neither written nor refused */
    uint32_t end;
    struct mst__nats_part *next;
    bool queued;
};

/* A cast from `send` to `released`. */
struct mst__nats_job {
    struct mst_cast *cast;
    uint32_t slot, generation;
    struct mst_timer deadline;
    bool let_go;                   /* the caller has released it, nothing more is told */
    struct mst__nats_part parts[]; /* by publisher */
};

/* Messages of one cast in one window. */
struct mst__nats_segment {
    uint32_t slot, generation, first, end;
};

/* A window whose fence, a PONG, has not come back. One without segments only asks whether the server is there. */
struct mst__nats_window {
    uint64_t sent_at;
    uint32_t segments;
};

struct mst__nats_publisher {
    /* The owner's, filled before the start. */
    struct mst_loop *loop;
    struct mst_log *log;
    struct mst__nats_casts *casts;
    const struct mst__nats_settings *settings;
    const char *label;
    void *owner;
    void (*changed)(struct mst__nats_publisher *publisher, bool up, const struct mst_error *why);

    struct mst__nats_link link;
    bool up, held; /* held: nothing is to be sent for now */
    uint64_t published, fences, epochs;

    /* private */
    uint32_t window_messages, window_limit, segment_capacity;
    uint64_t fence_timeout;
    char inbox[MST__NATS_INBOX];
    size_t inbox_length;
    struct mst__nats_part *head, *tail;
    uint32_t queued;
    struct mst__nats_segment *segments; /* ring; those of the outstanding windows, then those of the open one */
    uint32_t segment_first, segment_count;
    struct mst__nats_window *windows; /* ring of `window_limit` */
    uint32_t window_first, window_count;
    bool congested;    /* all windows were out; until half of them are back */
    uint64_t progress; /* when a fence last came back */
    uint32_t open_messages, open_segments;
    size_t open_bytes;
    struct mst_timer work, watch; /* sends; looks after the fences */
    struct mst_buffer tail_text;  /* working memory of a slice: length and shared payload as every message has them */
    void (*stopped)(struct mst__nats_publisher *publisher);
};

/* MST_ENOMEM, MST_EINTERNAL; then there is nothing to stop. */
int mst__nats_publisher_start(struct mst__nats_publisher *publisher, const struct mst_nats_options *options);

/*
 * Ends: what was sent becomes LOST, what waits REFUSED. True if it is over at once; else `stopped` is called from the
 * loop.
 */
bool mst__nats_publisher_stop(struct mst__nats_publisher *publisher,
                              void (*stopped)(struct mst__nats_publisher *publisher));

/* After that: frees. */
void mst__nats_publisher_finish(struct mst__nats_publisher *publisher);

/* MST_EBUSY: too many are queued. */
int mst__nats_publisher_put(struct mst__nats_publisher *publisher, struct mst__nats_part *part);

/* Takes a part out; nothing more is said of it. */
void mst__nats_publisher_drop(struct mst__nats_publisher *publisher, struct mst__nats_part *part);

/* The deadline has passed: what is not sent becomes REFUSED. */
void mst__nats_publisher_expire(struct mst__nats_publisher *publisher, struct mst__nats_part *part);

/* Whether anything is to be sent; what is under way goes on. */
void mst__nats_publisher_hold(struct mst__nats_publisher *publisher, bool hold);

/* Whether the server answers: false with a reason while there is no connection or a fence is late. */
bool mst__nats_publisher_healthy(const struct mst__nats_publisher *publisher);

/* ------------------------------------------------------------------------ control */

struct mst__nats_listener {
    struct mst_listener *listener; /* loop thread; NULL: ended */
    struct mst__nats_gate *gate;
    char *queue; /* NULL: none */
    /* under the control's lock */
    struct mst__nats_listener *next;
    bool condemned, answered;
    int answer;
    struct mst_error error;
    /* the thread's own */
    natsSubscription *subscription;
    char subject[];
};

struct mst__nats_control {
    struct mst__nats_events *events;
    struct mst_log *log;
    const char *label;
    natsOptions *options;
    uint64_t patience; /* how long the loop thread waits for a listener to be in force */
    char inbox[MST__NATS_INBOX];
    size_t inbox_length;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t changed, answered;
    /* under the lock */
    bool stop, connected, broken, sweep;
    struct mst__nats_listener *arrivals;
    struct mst_buffer commands; /* messages to be published */
    size_t max_payload;
    uint64_t echo_heard; /* number of the last message to ourselves that came back */

    /* the thread's own */
    natsConnection *connection;
    natsSubscription *echo;
    uint64_t echo_sent;
    struct mst__nats_gate *gate;
    struct mst__nats_backoff backoff;
    struct mst__nats_listener *listeners;
    struct mst_buffer sending;
};

/* What precedes the bytes of a message: subject, reply, pairs of name and value, all with NUL; payload. */
struct mst__nats_command {
    uint32_t subject, reply, headers, payload; /* lengths; the first two without NUL */
    uint32_t header_count;
};

int mst__nats_control_start(struct mst__nats_control *control);
void mst__nats_control_stop(struct mst__nats_control *control);
void mst__nats_control_finish(struct mst__nats_control *control);

int mst__nats_control_listen(struct mst__nats_control *control, const char *subject, const char *queue,
                             struct mst_listener *listener, struct mst_error *error);
void mst__nats_control_unlisten(struct mst__nats_control *control, struct mst_listener *listener);
void mst__nats_listener_free(struct mst__nats_listener *entry);
int mst__nats_control_publish(struct mst__nats_control *control, struct mst_span subject, struct mst_span reply,
                              const struct mst_header *headers, uint32_t header_count, struct mst_span payload,
                              struct mst_error *error);
