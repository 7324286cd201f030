// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One stream connection of a link: a name is resolved, its addresses are tried one after the other, and the socket is
 * polled by libuv. What is said over it, deadlines and the attempt after a failure are the owner's. Loop thread.
 */
#include <netdb.h>

#include "io/loop.h"

struct mst__dial_socket; /* one attempt's socket and poll handle */

struct mst__dial {
    /* The owner's, filled before use. */
    struct mst_loop *loop;
    void *owner;
    void (*connected)(struct mst__dial *dial);
    /* No address could be connected to; `what` and `reason` make a text. To be reset before the next attempt. */
    void (*failed)(struct mst__dial *dial, const char *what, const char *reason);
    /* Once connected: UV_READABLE, UV_WRITABLE. `status` < 0: a poll error, which reading or writing may explain. */
    void (*ready)(struct mst__dial *dial, int events, int status);
    void (*closed)(struct mst__dial *dial);

    int fd; /* of the present socket; meaningful while there is one */

    /* private */
    enum { MST__DIAL_IDLE, MST__DIAL_RESOLVING, MST__DIAL_CONNECTING, MST__DIAL_OPEN } phase;
    struct mst__dial_socket *socket; /* NULL: none */
    uv_getaddrinfo_t resolve;
    struct addrinfo *addresses, *address;
    bool resolving, closing;
    unsigned handles;
};

/* False: the resolver is still at the last attempt's name and cannot be stopped; to be tried again later. */
bool mst__dial_open(struct mst__dial *dial, const char *host, const char *port);

/* As mst__dial_open, to a socket in the file system. */
void mst__dial_open_unix(struct mst__dial *dial, const char *path);

/* The present address does not answer: goes on with the next. False: there is none, or it is not about addresses. */
bool mst__dial_skip(struct mst__dial *dial);

/* Which events `ready` is to be called for. Nothing happens without a socket. */
void mst__dial_want(struct mst__dial *dial, int events);

/* Ends the attempt or the connection. */
void mst__dial_reset(struct mst__dial *dial);

/* The same for good. True if nothing of it is left in the loop; else `closed` is called from the loop when that is so.
 */
bool mst__dial_close(struct mst__dial *dial);
