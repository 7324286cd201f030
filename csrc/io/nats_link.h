// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connection to a NATS server on the loop's own socket, for the publishers. It never blocks and never buffers
 * behind the caller's back: what the kernel has not taken yet is in `out`, and PONG comes in the order of the PINGs, so
 * that it proves what the server has read. nats.c can promise neither: its Flush may report success for a PING that was
 * not written, and its publishing blocks.
 *
 * A link that was opened connects, and after a loss connects again with back-off and jitter, going through the servers
 * in turn. Each connection begins empty. Everything happens on the loop thread.
 */
#include "base/log.h"
#include "io/dial.h"
#include "io/nats_backoff.h"
#include "io/nats_settings.h"
#include "io/nats_tls.h"
#include "io/nats_wire.h"

struct mst__nats_link {
    /* The owner's, filled before opening; borrowed while open. */
    struct mst_loop *loop;
    const struct mst__nats_settings *settings;
    const char *label; /* of the servers, for messages */
    void *owner;
    /* Appends what every connection begins with (subscriptions); `up` follows when the server has taken it. */
    void (*greet)(struct mst__nats_link *link);
    void (*up)(struct mst__nats_link *link);
    /* The connection broke, or none could be made to any server; it goes on trying. */
    void (*down)(struct mst__nats_link *link, const struct mst_error *why);
    /* A message or PONG, once up; spans are borrowed for the call. */
    void (*frame)(struct mst__nats_link *link, const struct mst__nats_frame *frame);
    /* The kernel has taken most of what waited. */
    void (*drained)(struct mst__nats_link *link);

    struct mst__nats_server server; /* of the present connection */
    struct mst_buffer out;          /* to be sent by the next flush; the caller appends */

    /* private */
    enum {
        MST__NATS_IDLE,
        MST__NATS_DIALING,
        MST__NATS_HELLO,
        MST__NATS_SECURING,
        MST__NATS_GREETING,
        MST__NATS_READY
    } state;
    struct mst__dial dial;
    struct mst__nats_tls *tls;
    struct mst_buffer in, raw, sealed; /* `raw`: read from the socket, with TLS; `sealed`: to be sent, with TLS */
    size_t taken, sent;                /* of `in`; of `out`, or of `sealed` with TLS */
    uint32_t place, tried;             /* the server in use; how many were tried since the last success */
    struct mst_timer timer;            /* back-off or connecting, by state */
    struct mst__nats_backoff backoff;
    uint64_t up_since;
    bool closing, broken, wants_drained;
    struct mst_error why;
    void (*closed)(struct mst__nats_link *link);
};

/* Begins to connect. */
void mst__nats_link_open(struct mst__nats_link *link);

/* True if nothing of the link is left in the loop; else `closed` is called from the loop when that is so. */
bool mst__nats_link_close(struct mst__nats_link *link, void (*closed)(struct mst__nats_link *link));

static inline bool mst__nats_link_ready(const struct mst__nats_link *link)
{
    return link->state == MST__NATS_READY && !link->broken && !link->closing;
}

/* Bytes that the kernel has not taken yet. */
size_t mst__nats_link_waiting(const struct mst__nats_link *link);

/* Sends what the kernel takes. */
void mst__nats_link_flush(struct mst__nats_link *link);

/* Gives the connection up for this reason; takes effect soon, not inside the call. */
void mst__nats_link_drop(struct mst__nats_link *link, const struct mst_error *why);
