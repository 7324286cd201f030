// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connection to Redis that heals itself: hiredis' reply reader on a socket polled by libuv.
 *
 * hiredis 0.14 has no usable asynchronous context for this: it resolves names and is freed behind the caller's back,
 * has no timeouts, raises SIGPIPE, and loses callbacks when the connection breaks. So the link keeps its own queue of
 * callbacks: each is called exactly once, in the order of the commands, with a reply or, when the connection broke,
 * with NULL.
 *
 * Output is gathered and sent by mst__redis_link_flush, once per loop turn. Every command has a deadline; when the
 * oldest unanswered one passes it, the connection counts as dead. Broken connections are made again after a back-off
 * with jitter. Everything happens on the loop thread.
 */
#include <hiredis/hiredis.h>

#include "base/buffer.h"
#include "base/log.h"
#include "io/dial.h"
#include "io/redis_registry.h"

/* `reply` is borrowed for the call; NULL: the connection broke, and whether the command was carried out is not known.
 */
typedef void mst__redis_reply_fn(redisReply *reply, void *context);

struct mst__redis_pending {
    mst__redis_reply_fn *done;
    void *context;
    uint64_t deadline;
};

struct mst__redis_link {
    const char *name; /* for the log: "write", "feed", "bulk" */
    void (*up)(struct mst__redis_link *link);
    /*
     * The connection broke or could not be made; callbacks of its commands have been called. `error` is MST_EREDIS, or
     * MST_EDEADLINE where the server was silent for too long; it stays in `why`.
     */
    void (*down)(struct mst__redis_link *link, const struct mst_error *error);
    void *owner;

    /* private */
    struct mst_loop *loop;
    struct mst_log *log;
    const struct mst_redis_options *options; /* borrowed while open */
    enum { MST__LINK_IDLE, MST__LINK_DIALING, MST__LINK_GREETING, MST__LINK_UP } state;
    struct mst__dial dial;
    redisReader *reader;
    struct mst_buffer out;
    size_t sent, mark;
    struct mst__redis_pending *pending; /* a ring */
    uint32_t first, count, capacity;
    struct mst_timer timer; /* back-off, connecting, or the oldest command, by state */
    unsigned failures;
    bool closing, broken; /* broken: to be taken down as soon as no callback of it is on the stack */
    struct mst_error why; /* of the latest end */
    void (*closed)(struct mst__redis_link *link);
};

/* Begins to connect. The link's public members are filled by the caller. */
void mst__redis_link_open(struct mst__redis_link *link, struct mst_loop *loop, struct mst_log *log,
                          const struct mst_redis_options *options);

/*
 * Calls back what is pending with NULL. True if nothing of the link is left in the loop; else `closed` is called from
 * the loop when that is so.
 */
bool mst__redis_link_close(struct mst__redis_link *link, void (*closed)(struct mst__redis_link *link));

static inline bool mst__redis_link_ready(const struct mst__redis_link *link)
{
    return link->state == MST__LINK_UP && !link->broken && !link->closing;
}

/*
 * One command: begin, `count` times arg, end. End is false where it was not queued (no memory, or the link is not up),
 * and then the callback is not called. `done` may be NULL. `timeout` in nanoseconds.
 */
void mst__redis_begin(struct mst__redis_link *link, uint32_t count);
void mst__redis_arg(struct mst__redis_link *link, const void *bytes, size_t length);
void mst__redis_arg_u64(struct mst__redis_link *link, uint64_t number);
/* What comes before the bytes of an argument; the caller puts them, and CR LF, into `out`. */
void mst__redis_arg_head(struct mst__redis_link *link, size_t length);
bool mst__redis_end(struct mst__redis_link *link, mst__redis_reply_fn *done, void *context, uint64_t timeout);

/* One command of strings, ended by NULL. */
bool mst__redis_send(struct mst__redis_link *link, mst__redis_reply_fn *done, void *context, uint64_t timeout, ...)
    __attribute__((sentinel));

/* Sends what was queued; once per loop turn. */
void mst__redis_link_flush(struct mst__redis_link *link);

/* Gives the connection up, as if it had broken for this reason; takes effect soon, not inside the call. */
void mst__redis_link_drop(struct mst__redis_link *link, const char *reason);

/* The address as people write it, for messages. */
void mst__redis_address(const struct mst_redis_options *options, char *text, size_t size);
