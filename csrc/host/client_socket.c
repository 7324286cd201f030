// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/client_internal.h"
#include "host/door.h"
#include "host/frame.h"
#include "host/stream.h"

#define MOST_PENDING (64u << 20)
#define CONNECT_AGAIN (10 * MST_NS_PER_MS)
#define CONNECT_PATIENCE (5 * MST_NS_PER_SECOND)

struct socket_client {
    struct mst_client base;
    struct mst_stream stream;
    struct sockaddr_un address;
    struct mst_timer retry; /* while the server's queue of connections is full */
    uint64_t connect_until;
    bool connected; /* the stream was opened */
};

static struct socket_client *self(struct mst_client *client)
{
    return (struct socket_client *)client;
}

/* What goes out */

static int send_frame(struct socket_client *client, const struct mst_frame *frame, struct mst_error *error)
{
    struct mst_buffer *out = client->connected ? mst_stream_out(&client->stream) : NULL;
    if (!out)
        return mst_error_set(error, MST_ECLOSED, "not connected to %s", client->address.sun_path);
    if (mst_stream_pending(&client->stream) > MOST_PENDING)
        return mst_error_set(error, MST_EBUSY, "the coordinator does not read: %u MiB wait to be sent",
                             MOST_PENDING >> 20);
    return mst_frame_put(out, frame, error);
}

static int socket_call(struct mst__client_call *call, const char *verb, const char *namespace_, struct mst_span body,
                       struct mst_error *error)
{
    struct mst_frame frame = {.type = MST_FRAME_CALL,
                              .sequence = call->sequence,
                              .a = {verb, strlen(verb)},
                              .b = {namespace_, strlen(namespace_)},
                              .body = body};
    return send_frame(self(call->client), &frame, error);
}

static int socket_receive(struct mst_client_receiver *receiver, const char *namespace_, struct mst_span name,
                          bool gateway, struct mst__client_call *armed, struct mst_error *error)
{
    (void)armed; /* it has the receiver's sequence */
    const char *kind = gateway ? "via" : "to";
    struct mst_frame frame = {.type = MST_FRAME_RECEIVE,
                              .sequence = receiver->sequence,
                              .a = {kind, strlen(kind)},
                              .b = {namespace_, strlen(namespace_)},
                              .body = name};
    int code = send_frame(self(receiver->client), &frame, error);
    receiver->listening = code == 0;
    return code < 0 ? code : 1;
}

static int socket_acknowledge(struct mst_client *client, struct mst_span reply, struct mst_span text)
{
    struct mst_buffer body = {0};
    if (reply.length == 0 || memchr(reply.data, '\n', reply.length))
        return MST_EINVAL;
    mst_buffer_append(&body, reply.data, reply.length);
    mst_buffer_append_byte(&body, '\n');
    mst_buffer_append(&body, text.data, text.length);
    struct mst_frame frame = {.type = MST_FRAME_REPLY, .body = {body.data, body.length}};
    int code = body.failed ? MST_ENOMEM : send_frame(self(client), &frame, NULL);
    mst_buffer_deinit(&body);
    return code;
}

static void socket_free_call(struct mst__client_call *call)
{
    free(call);
}

/* What comes in */

static void lose(struct socket_client *client, const char *why)
{
    if (client->base.failure.code == 0)
        mst_error_set(&client->base.failure, MST_ECLOSED, "control socket %s: %s", client->address.sun_path, why);
    mst_stream_close(&client->stream);
    mst__client_lost(&client->base);
}

static void take_answer(struct socket_client *client, const struct mst_frame *frame)
{
    char name[MST__DOOR_WORD], text[300];
    if (frame->sequence == 0) {
        /* The last word before the server closes. */
        mst__door_status(client->base.parser, frame->body.data, frame->body.length, text, sizeof text);
        lose(client, text[0] ? text : "the coordinator refused the connection");
        return;
    }
    struct mst__client_call *call = mst__client_find(&client->base, frame->sequence);
    mst__door_word(name, frame->a);
    if (call) /* or it came too late */
        mst__client_end(call, strcmp(name, "OK") == 0 ? 0 : mst_error_code(name), frame->body.data, frame->body.length);
}

static bool take_message(struct socket_client *client, const struct mst_frame *frame)
{
    struct mst_span rest = frame->body, subject, reply;
    if (!mst_frame_line(&rest, &subject) || !mst_frame_line(&rest, &reply))
        return false;
    struct mst_message message = {subject.data, subject.length, rest.data, rest.length, reply.data, reply.length};
    struct mst_client_receiver *receiver = client->base.receivers;
    while (receiver && receiver->sequence != frame->sequence)
        receiver = receiver->next;
    if (receiver)
        receiver->message(receiver->context, &message);
    return true;
}

static bool take_frame(struct socket_client *client, const struct mst_frame *frame)
{
    if (frame->type == MST_FRAME_ANSWER)
        take_answer(client, frame);
    else if (frame->type != MST_FRAME_MESSAGE)
        return false;
    else
        return take_message(client, frame);
    return true;
}

static void on_readable(struct mst_stream *stream)
{
    struct socket_client *client = stream->owner;
    struct mst_frame frame;
    struct mst_error error;
    size_t at = 0, used = 0;
    int code = 0;
    while (!client->base.closing && client->base.failure.code == 0) {
        code = mst_frame_decode(stream->in.data + at, stream->in.length - at, &frame, &used, &error);
        if (code <= 0)
            break;
        at += used;
        if (!take_frame(client, &frame))
            code = mst_error_set(&error, MST_EINVAL, "not a frame that a server sends");
        if (code < 0)
            break;
    }
    mst_buffer_consume(&stream->in, at);
    if (client->base.closing || client->base.failure.code)
        return;
    if (code < 0)
        lose(client, error.message);
    else if (stream->eof)
        lose(client, "the coordinator closed the connection");
}

static void on_flushed(struct mst_stream *stream)
{
    (void)stream;
}

static void on_broken(struct mst_stream *stream)
{
    lose(stream->owner, "the connection broke");
}

static void on_closed(struct mst_stream *stream)
{
    struct socket_client *client = stream->owner;
    client->connected = false;
    if (client->base.transport_closing)
        mst__client_closed(&client->base);
}

/* Life */

static void socket_close(struct mst_client *base)
{
    struct socket_client *client = self(base);
    mst_timers_cancel(&base->loop->timers, &client->retry);
    if (client->connected)
        mst_stream_close(&client->stream);
    else
        mst__client_closed(base);
}

static void socket_free(struct mst_client *client)
{
    free(self(client));
}

static void refuse(struct socket_client *client, int reason)
{
    const char *path = client->address.sun_path;
    bool nobody = reason == ENOENT || reason == ECONNREFUSED;
    mst_error_set(&client->base.failure, MST_ECONNECT, "cannot connect to %s: %s", path, strerror(reason));
    if (nobody)
        mst_error_hint(&client->base.failure, "is \"muster serve\" running, with this --socket?");
    else if (reason == EACCES)
        mst_error_hint(&client->base.failure, "the socket belongs to the user who runs \"muster serve\"");
    mst__client_opened(&client->base);
}

static void adopt(struct socket_client *client, int fd)
{
    client->stream = (struct mst_stream){
        .readable = on_readable, .flushed = on_flushed, .broken = on_broken, .closed = on_closed, .owner = client};
    if (mst_stream_open(&client->stream, client->base.loop->uv, fd) < 0) {
        refuse(client, EMFILE);
        return;
    }
    client->connected = true;
    mst__client_opened(&client->base);
}

static void try_connect(struct mst_timer *timer, void *owner)
{
    struct socket_client *client = owner;
    (void)timer;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        refuse(client, errno);
        return;
    }
    if (connect(fd, (const struct sockaddr *)&client->address, sizeof client->address) == 0) {
        adopt(client, fd);
        return;
    }
    int reason = errno;
    close(fd);
    /* A Unix socket is connected at once or not at all; this says that too many wait to be accepted. */
    uint64_t now = mst_clock_monotonic();
    if (reason == EAGAIN && now < client->connect_until &&
        mst_timers_set(&client->base.loop->timers, &client->retry, now + CONNECT_AGAIN) == 0)
        return;
    refuse(client, reason);
}

struct mst_client *mst_client_open_socket(struct mst_loop *loop, const char *path, uint64_t timeout,
                                          mst_answer_cb *ready, void *context)
{
    static const struct mst__client_transport transport = {
        .call_size = sizeof(struct mst__client_call),
        .call = socket_call,
        .receive = socket_receive,
        .acknowledge = socket_acknowledge,
        .free_call = socket_free_call,
        .close = socket_close,
        .free = socket_free,
    };
    struct socket_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    if (mst__client_init(&client->base, &transport, loop, timeout, ready, context) < 0) {
        free(client);
        return NULL;
    }
    size_t length = strlen(path);
    client->retry = (struct mst_timer){.fire = try_connect, .owner = client};
    client->connect_until = mst_clock_monotonic() + CONNECT_PATIENCE;
    client->address.sun_family = AF_UNIX;
    memcpy(client->address.sun_path, path,
           length < sizeof client->address.sun_path ? length : sizeof client->address.sun_path - 1);
    if (length == 0 || length >= sizeof client->address.sun_path)
        refuse(client, length ? ENAMETOOLONG : ENOENT);
    else
        try_connect(NULL, client);
    return &client->base;
}
