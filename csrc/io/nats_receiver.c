// SPDX-License-Identifier: Apache-2.0
#include "io/nats_receiver.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/nats_settings.h"
#include "io/nats_wire.h"

enum {
    READ_SIZE = 256 * 1024,
    OUTPUT_MAX = 64 * 1024 * 1024,
    ADDRESS = 300,
};

struct mst_nats_receiver {
    int socket;
    struct mst_buffer in, out;
    size_t taken; /* of `in` */
    size_t sent;  /* of `out` */
    uint64_t pongs_due;
    bool greeted, eof;
    char address[ADDRESS]; /* for messages */
    void (*message)(void *context, const struct mst_nats_received *message);
    void *context;
};

static int refuse(const struct mst_nats_receiver *receiver, struct mst_error *error, const char *reason)
{
    return mst_error_set(error, MST_ENATS, "receiver: NATS at %s: %s", receiver->address, reason);
}

/* ------------------------------------------------------------------------------------------------ bytes */

/* Waits for the socket (and `stop`, unless -1). What is ready of the socket; -1: stop is. */
static int wait_for(const struct mst_nats_receiver *receiver, int stop, uint64_t until)
{
    struct pollfd polls[2] = {
        {.fd = receiver->socket, .events = POLLIN},
        {.fd = stop, .events = POLLIN},
    };
    if (receiver->out.length > receiver->sent)
        polls[0].events |= POLLOUT;
    uint64_t now = mst_clock_monotonic();
    int timeout = -1;
    if (until != UINT64_MAX)
        timeout = until <= now ? 0 : (int)((until - now) / MST_NS_PER_MS) + 1;
    if (poll(polls, 2, timeout) < 0)
        return 0;
    return polls[1].revents ? -1 : polls[0].revents;
}

static bool send_output(struct mst_nats_receiver *receiver)
{
    while (receiver->sent < receiver->out.length) {
        ssize_t count = send(receiver->socket, receiver->out.data + receiver->sent,
                             receiver->out.length - receiver->sent, MSG_NOSIGNAL);
        if (count < 0)
            return errno == EAGAIN || errno == EINTR;
        receiver->sent += (size_t)count;
    }
    mst_buffer_clear(&receiver->out);
    receiver->sent = 0;
    return true;
}

/* Reads once. False: the connection has ended. */
static bool fill_input(struct mst_nats_receiver *receiver)
{
    struct mst_buffer *in = &receiver->in;
    if (receiver->taken) {
        mst_buffer_consume(in, receiver->taken);
        receiver->taken = 0;
    }
    if (!mst_buffer_reserve(in, READ_SIZE))
        return false;
    ssize_t count = recv(receiver->socket, in->data + in->length, in->capacity - in->length, 0);
    if (count > 0)
        in->length += (size_t)count;
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

/* ------------------------------------------------------------------------------------------------ the protocol */

static void take_message(struct mst_nats_receiver *receiver, const struct mst__nats_frame *frame)
{
    struct mst_nats_received message = {
        .number = frame->subscription, .subject = frame->subject, .reply = frame->reply, .payload = frame->payload};
    if (receiver->message)
        receiver->message(receiver->context, &message);
}

static int take_frame(struct mst_nats_receiver *receiver, const struct mst__nats_frame *frame, struct mst_error *error)
{
    char text[160];
    switch (frame->operation) {
    case MST__NATS_SAYS_MESSAGE:
        take_message(receiver, frame);
        break;
    case MST__NATS_SAYS_PING:
        mst_buffer_append_string(&receiver->out, "PONG\r\n");
        break;
    case MST__NATS_SAYS_PONG:
        receiver->pongs_due -= receiver->pongs_due > 0;
        break;
    case MST__NATS_SAYS_INFO:
        receiver->greeted = true;
        if (memmem(frame->text.data, frame->text.length, "\"tls_required\":true", 19))
            return refuse(receiver, error, "it wants TLS, which receivers cannot do (run without receivers)");
        break;
    case MST__NATS_SAYS_ERROR:
        snprintf(text, sizeof text, "%.*s", (int)(frame->text.length < 150 ? frame->text.length : 150),
                 frame->text.data);
        return refuse(receiver, error, text);
    case MST__NATS_SAYS_OK:
        break;
    }
    return 0;
}

/* Carries out what has come in whole. */
static int take_input(struct mst_nats_receiver *receiver, struct mst_error *error)
{
    struct mst__nats_frame frame;
    ptrdiff_t size;
    while ((size = mst__nats_frame_take(receiver->in.data + receiver->taken, receiver->in.length - receiver->taken,
                                        &frame)) > 0) {
        receiver->taken += (size_t)size;
        int code = take_frame(receiver, &frame, error);
        if (code < 0)
            return code;
    }
    return size < 0 ? refuse(receiver, error, "it says what a NATS server does not say") : 0;
}

/* One turn: waits, writes, reads. 1: `stop` spoke. */
static int turn(struct mst_nats_receiver *receiver, int stop, uint64_t until, struct mst_error *error)
{
    int ready = wait_for(receiver, stop, until);
    if (ready < 0)
        return 1;
    if (ready & POLLOUT && !send_output(receiver))
        return refuse(receiver, error, strerror(errno));
    if (!(ready & (POLLIN | POLLHUP | POLLERR)))
        return 0;
    bool open = fill_input(receiver);
    int code = take_input(receiver, error);
    if (code < 0)
        return code;
    if (!open)
        return refuse(receiver, error, "the connection was closed");
    if (receiver->out.failed || receiver->out.length > OUTPUT_MAX)
        return refuse(receiver, error, "it does not take our answers");
    return send_output(receiver) ? 0 : refuse(receiver, error, strerror(errno));
}

static int turn_until(struct mst_nats_receiver *receiver, bool (*met)(const struct mst_nats_receiver *receiver),
                      uint64_t until, struct mst_error *error)
{
    while (!met(receiver)) {
        if (mst_clock_monotonic() >= until)
            return refuse(receiver, error, "no answer");
        int code = turn(receiver, -1, until, error);
        if (code < 0)
            return code;
    }
    return 0;
}

static bool is_greeted(const struct mst_nats_receiver *receiver)
{
    return receiver->greeted;
}

static bool is_synced(const struct mst_nats_receiver *receiver)
{
    return receiver->pongs_due == 0;
}

/* ------------------------------------------------------------------------------------------------ opening */

static int open_socket(struct mst_nats_receiver *receiver, const struct addrinfo *address, uint64_t timeout)
{
    int one = 1, reason = 0;
    socklen_t size = sizeof reason;
    receiver->socket = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (receiver->socket < 0)
        return errno;
    struct pollfd poll_ = {.fd = receiver->socket, .events = POLLOUT};
    if (connect(receiver->socket, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
        reason = errno;
    else if (poll(&poll_, 1, (int)(timeout / MST_NS_PER_MS)) <= 0)
        reason = ETIMEDOUT;
    else
        getsockopt(receiver->socket, SOL_SOCKET, SO_ERROR, &reason, &size);
    if (reason) {
        close(receiver->socket);
        receiver->socket = -1;
        return reason;
    }
    setsockopt(receiver->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return 0;
}

static int connect_place(struct mst_nats_receiver *receiver, const struct mst__nats_place *place, uint64_t timeout,
                         struct mst_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int code = getaddrinfo(place->host, place->port, &hints, &found);
    if (code)
        return refuse(receiver, error, gai_strerror(code));
    code = ECONNREFUSED;
    for (struct addrinfo *address = found; address && receiver->socket < 0; address = address->ai_next)
        code = open_socket(receiver, address, timeout);
    freeaddrinfo(found);
    return receiver->socket < 0 ? refuse(receiver, error, strerror(code)) : 0;
}

static void put_member(struct mst_buffer *out, const char *key, const char *value)
{
    mst_buffer_appendf(out, ",\"%s\":", key);
    mst_json_put_string(out, value, strlen(value));
}

static void put_connect(struct mst_nats_receiver *receiver, const struct mst__nats_place *place)
{
    struct mst_buffer *out = &receiver->out;
    mst_buffer_append_string(out,
                             "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"" MST_VERSION
                             "\",\"name\":\"muster receiver\",\"headers\":false");
    if (place->user[0] && place->password[0]) {
        put_member(out, "user", place->user);
        put_member(out, "pass", place->password);
    } else if (place->user[0]) {
        put_member(out, "auth_token", place->user);
    }
    mst_buffer_append_string(out, "}\r\n");
}

static void reset(struct mst_nats_receiver *receiver)
{
    if (receiver->socket >= 0)
        close(receiver->socket);
    receiver->socket = -1;
    receiver->greeted = false;
    receiver->pongs_due = 0;
    receiver->taken = receiver->sent = 0;
    mst_buffer_clear(&receiver->in);
    mst_buffer_clear(&receiver->out);
}

static int try_server(struct mst_nats_receiver *receiver, const char *url, size_t length, uint64_t timeout,
                      struct mst_error *error)
{
    struct mst__nats_place place;
    uint64_t until = mst_clock_monotonic() + timeout;
    reset(receiver);
    snprintf(receiver->address, sizeof receiver->address, "(not a URL)");
    if (!mst__nats_place_read(&place, url, length) || place.tls)
        return refuse(receiver, error, "not a server that a receiver can use");
    snprintf(receiver->address, sizeof receiver->address, "%s:%s", place.host, place.port);
    int code = connect_place(receiver, &place, timeout, error);
    if (code == 0)
        code = turn_until(receiver, is_greeted, until, error);
    if (code)
        return code;
    put_connect(receiver, &place);
    return mst_nats_receiver_sync(receiver, timeout, error);
}

int mst_nats_receiver_open(struct mst_nats_receiver **made, const char *servers, uint64_t timeout,
                           struct mst_error *error)
{
    struct mst_nats_receiver *receiver = calloc(1, sizeof *receiver);
    if (!receiver)
        return mst_error_set(error, MST_ENOMEM, "no memory for a receiver");
    receiver->socket = -1;
    receiver->in.limit = MST__NATS_MESSAGE + 2 * READ_SIZE;
    int code = mst_error_set(error, MST_ENATS, "receiver: no NATS server was given");
    while (*servers && code) {
        size_t length = strcspn(servers, ",");
        code = try_server(receiver, servers, length, timeout, error);
        servers += length + (servers[length] == ',');
    }
    if (code) {
        mst_nats_receiver_close(receiver);
        return code;
    }
    *made = receiver;
    return 0;
}

void mst_nats_receiver_close(struct mst_nats_receiver *receiver)
{
    reset(receiver);
    mst_buffer_deinit(&receiver->in);
    mst_buffer_deinit(&receiver->out);
    free(receiver);
}

void mst_nats_receiver_subscribe(struct mst_nats_receiver *receiver, const char *subject, uint64_t number)
{
    mst__nats_put_subscribe(&receiver->out, (struct mst_span){subject, strlen(subject)}, number);
}

int mst_nats_receiver_sync(struct mst_nats_receiver *receiver, uint64_t timeout, struct mst_error *error)
{
    mst_buffer_append_string(&receiver->out, "PING\r\n");
    receiver->pongs_due++;
    return turn_until(receiver, is_synced, mst_clock_monotonic() + timeout, error);
}

void mst_nats_receiver_answer(struct mst_nats_receiver *receiver, struct mst_span reply, struct mst_span text)
{
    mst__nats_put_publish(&receiver->out, reply, (struct mst_span){"", 0}, text);
}

int mst_nats_receiver_run(struct mst_nats_receiver *receiver, int stop,
                          void (*message)(void *context, const struct mst_nats_received *message), void *context,
                          struct mst_error *error)
{
    receiver->message = message;
    receiver->context = context;
    int code = take_input(receiver, error);
    while (code == 0)
        code = turn(receiver, stop, UINT64_MAX, error);
    receiver->message = NULL;
    return code > 0 ? 0 : code;
}
