// SPDX-License-Identifier: Apache-2.0
#include "io/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { USER_TIMEOUT_MS = 10000 };

struct mst__dial_socket {
    uv_poll_t poll;
    struct mst__dial *dial;
    int fd, events;
};

static void on_poll(uv_poll_t *poll, int status, int events);

/* ------------------------------------------------------------------------ the end */

static void maybe_closed(struct mst__dial *dial)
{
    if (dial->closing && dial->handles == 0)
        dial->closed(dial);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct mst__dial_socket *socket = handle->data;
    struct mst__dial *dial = socket->dial;
    close(socket->fd);
    free(socket);
    dial->handles--;
    maybe_closed(dial);
}

static void close_socket(struct mst__dial *dial)
{
    if (!dial->socket)
        return;
    uv_poll_stop(&dial->socket->poll);
    uv_close((uv_handle_t *)&dial->socket->poll, on_socket_closed);
    dial->socket = NULL;
}

void mst__dial_reset(struct mst__dial *dial)
{
    if (dial->resolving)
        uv_cancel((uv_req_t *)&dial->resolve);
    dial->phase = MST__DIAL_IDLE;
    close_socket(dial);
    uv_freeaddrinfo(dial->addresses);
    dial->addresses = dial->address = NULL;
}

bool mst__dial_close(struct mst__dial *dial)
{
    dial->closing = true;
    mst__dial_reset(dial);
    return dial->handles == 0;
}

/* ------------------------------------------------------------------------ one socket */

void mst__dial_want(struct mst__dial *dial, int events)
{
    struct mst__dial_socket *socket = dial->socket;
    if (socket && socket->events != events && uv_poll_start(&socket->poll, events, on_poll) == 0)
        socket->events = events;
}

static int open_socket(const struct sockaddr *address, socklen_t length, int family)
{
    int on = 1, fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    unsigned timeout = USER_TIMEOUT_MS;
    if (fd < 0)
        return -1;
    if (family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    }
    if (connect(fd, address, length) == 0 || errno == EINPROGRESS)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

/* Goes on with a socket that is being connected; -1: with what errno says. */
static void connect_on(struct mst__dial *dial, int fd)
{
    int reason = errno;
    struct mst__dial_socket *socket = fd < 0 ? NULL : calloc(1, sizeof *socket);
    if (!socket || uv_poll_init(dial->loop->uv, &socket->poll, fd) != 0) {
        free(socket);
        if (fd >= 0)
            close(fd);
        dial->failed(dial, "cannot connect: ", fd < 0 ? strerror(reason) : "out of memory");
        return;
    }
    socket->poll.data = socket;
    socket->dial = dial;
    socket->fd = dial->fd = fd;
    dial->socket = socket;
    dial->handles++;
    dial->phase = MST__DIAL_CONNECTING;
    mst__dial_want(dial, UV_WRITABLE);
}

/* The first address from the present one on that does not refuse at once. */
static void try_addresses(struct mst__dial *dial)
{
    const struct addrinfo *address = dial->address;
    int fd = open_socket(address->ai_addr, address->ai_addrlen, address->ai_family);
    while (fd < 0 && dial->address->ai_next) {
        address = dial->address = dial->address->ai_next;
        fd = open_socket(address->ai_addr, address->ai_addrlen, address->ai_family);
    }
    connect_on(dial, fd);
}

bool mst__dial_skip(struct mst__dial *dial)
{
    if (dial->phase != MST__DIAL_CONNECTING || !dial->address || !dial->address->ai_next)
        return false;
    close_socket(dial);
    dial->address = dial->address->ai_next;
    try_addresses(dial);
    return true;
}

static void finish_connect(struct mst__dial *dial)
{
    int reason = 0;
    socklen_t length = sizeof reason;
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &reason, &length) != 0)
        reason = errno;
    if (reason == 0) {
        dial->phase = MST__DIAL_OPEN;
        mst__dial_want(dial, UV_READABLE);
        dial->connected(dial);
    } else if (!mst__dial_skip(dial)) {
        dial->failed(dial, "cannot connect: ", strerror(reason));
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct mst__dial_socket *socket = poll->data;
    struct mst__dial *dial = socket->dial;
    if (dial->socket != socket)
        return;
    /* After a poll error libuv has stopped the handle. */
    if (status < 0) {
        socket->events = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (dial->phase == MST__DIAL_CONNECTING)
        finish_connect(dial);
    else
        dial->ready(dial, events, status);
}

/* ------------------------------------------------------------------------ names */

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct mst__dial *dial = request->data;
    bool wanted = dial->phase == MST__DIAL_RESOLVING;
    dial->handles--;
    dial->resolving = false;
    if (wanted && status == 0) {
        dial->addresses = dial->address = addresses;
        try_addresses(dial);
        return;
    }
    uv_freeaddrinfo(addresses);
    if (wanted)
        dial->failed(dial, "cannot resolve the name: ", uv_strerror(status));
    maybe_closed(dial);
}

bool mst__dial_open(struct mst__dial *dial, const char *host, const char *port)
{
    if (dial->resolving)
        return false;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    dial->phase = MST__DIAL_RESOLVING;
    dial->resolve.data = dial;
    int code = uv_getaddrinfo(dial->loop->uv, &dial->resolve, on_resolved, host, port, &hints);
    if (code == 0) {
        dial->resolving = true;
        dial->handles++;
    } else {
        dial->failed(dial, "cannot resolve the name: ", uv_strerror(code));
    }
    return true;
}

void mst__dial_open_unix(struct mst__dial *dial, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    connect_on(dial, open_socket((struct sockaddr *)&address, sizeof address, AF_UNIX));
}
