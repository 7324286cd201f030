// SPDX-License-Identifier: Apache-2.0
#include "host/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

#define CHUNK 65536u
#define READS_PER_TURN 4
#define KEPT_OUT 65536u

static void on_poll(uv_poll_t *poll, int status, int events);

static void follow_interest(struct mst_stream *stream)
{
    int events = (stream->paused || stream->eof ? 0 : UV_READABLE) | (stream->blocked ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(&stream->poll, events, on_poll);
    else
        uv_poll_stop(&stream->poll);
}

static void forget_sent(struct mst_stream *stream)
{
    struct mst_buffer *out = &stream->out;
    if (stream->sent == out->length) {
        if (out->capacity > KEPT_OUT)
            mst_buffer_deinit(out);
        mst_buffer_clear(out);
        stream->sent = 0;
    } else if (stream->sent > out->length / 2) {
        mst_buffer_consume(out, stream->sent);
        stream->sent = 0;
    }
}

/* False: the connection is broken. */
static bool send_out(struct mst_stream *stream)
{
    stream->blocked = false;
    while (stream->sent < stream->out.length) {
        ssize_t count = send(stream->fd, stream->out.data + stream->sent, stream->out.length - stream->sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return false;
        if (count < 0) {
            stream->blocked = true;
            break;
        }
        stream->sent += (size_t)count;
    }
    forget_sent(stream);
    return true;
}

/* Again while callbacks write more: from a prepare handle, one started anew runs only after the loop has waited. */
static void flush(struct mst_stream *stream)
{
    do {
        if (!send_out(stream)) {
            stream->broken(stream);
            return;
        }
        follow_interest(stream);
        if (stream->out.length == 0)
            stream->flushed(stream);
    } while (stream->out.length && !stream->blocked && !stream->closing);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct mst_stream *stream = prepare->data;
    uv_prepare_stop(prepare);
    if (!stream->blocked)
        flush(stream);
}

/* 1: there may be more to read; 0: not now; -1: broken. */
static int receive_some(struct mst_stream *stream)
{
    if (!mst_buffer_reserve(&stream->in, CHUNK))
        return -1;
    ssize_t count = recv(stream->fd, stream->in.data + stream->in.length, CHUNK, MSG_DONTWAIT);
    if (count < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    stream->in.length += (size_t)count;
    stream->eof = count == 0;
    return count == CHUNK;
}

static void receive(struct mst_stream *stream)
{
    int more = 1;
    for (int i = 0; i < READS_PER_TURN && more == 1; i++)
        more = receive_some(stream);
    if (more < 0) {
        stream->broken(stream);
        return;
    }
    if (stream->eof)
        follow_interest(stream);
    stream->readable(stream);
    if (stream->in.length == 0)
        mst_buffer_deinit(&stream->in);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct mst_stream *stream = poll->data;
    if (status < 0) {
        stream->broken(stream);
        return;
    }
    if (events & UV_WRITABLE)
        flush(stream);
    if ((events & UV_READABLE) && !stream->closing && !stream->paused)
        receive(stream);
}

int mst_stream_open(struct mst_stream *stream, uv_loop_t *uv, int fd)
{
    stream->fd = fd;
    if (uv_poll_init(uv, &stream->poll, fd) != 0) {
        close(fd);
        return MST_EINTERNAL;
    }
    uv_prepare_init(uv, &stream->prepare);
    stream->poll.data = stream->prepare.data = stream;
    stream->handles = 2;
    follow_interest(stream);
    return 0;
}

struct mst_buffer *mst_stream_out(struct mst_stream *stream)
{
    if (stream->closing)
        return NULL;
    uv_prepare_start(&stream->prepare, on_prepare);
    return &stream->out;
}

size_t mst_stream_pending(const struct mst_stream *stream)
{
    return stream->out.length - stream->sent;
}

void mst_stream_pause(struct mst_stream *stream, bool paused)
{
    if (stream->paused == paused || stream->closing)
        return;
    stream->paused = paused;
    follow_interest(stream);
}

static void on_closed(uv_handle_t *handle)
{
    struct mst_stream *stream = handle->data;
    if (--stream->handles)
        return;
    mst_buffer_deinit(&stream->in);
    mst_buffer_deinit(&stream->out);
    stream->closed(stream);
}

void mst_stream_close(struct mst_stream *stream)
{
    if (stream->closing)
        return;
    stream->closing = true;
    send_out(stream);
    uv_close((uv_handle_t *)&stream->poll, on_closed);
    uv_close((uv_handle_t *)&stream->prepare, on_closed);
    close(stream->fd);
}
