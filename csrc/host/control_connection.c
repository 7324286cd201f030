// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/control_internal.h"
#include "host/door.h"
#include "host/frame.h"
#include "host/stream.h"

#define MOST_PENDING (8u << 20)
#define MUCH_PENDING (1u << 20)
#define MOST_CALLS 512u /* half of what a namespace takes */
#define MOST_RECEIVERS 4096u
#define STALL (5 * MST_NS_PER_SECOND)
#define INBOX "_INBOX."

struct mst__control_connection {
    struct mst_stream stream;
    struct mst_control_server *server;
    struct mst__control_connection *next, **link;
    struct receiver *receivers;
    unsigned receiver_count;
    unsigned calls; /* under way; each keeps the memory */
    bool feeding;   /* frames are being read */
    bool finishing; /* to be closed when all is sent */
    bool gone;      /* the stream is closing */
    bool freed;     /* the stream is closed: the memory goes with the last call */
    struct mst_timer stall;
};

struct call {
    struct mst__control_connection *connection;
    uint64_t sequence;
};

struct receiver {
    struct receiver *next;
    struct mst__control_connection *connection;
    struct mst_receiver *handle;
    uint64_t sequence;
};

static void feed(struct mst__control_connection *connection);

/* The end of a connection */

static void free_if_over(struct mst__control_connection *connection)
{
    if (!connection->freed || connection->calls)
        return;
    mst__control_unref(connection->server);
    free(connection);
}

static void stop_receiving(struct mst__control_connection *connection)
{
    for (struct receiver *receiver; (receiver = connection->receivers);) {
        connection->receivers = receiver->next;
        mst_receiver_close(receiver->handle);
        free(receiver);
    }
    connection->receiver_count = 0;
}

static void disconnect(struct mst__control_connection *connection)
{
    struct mst_control_server *server = connection->server;
    if (connection->gone)
        return;
    connection->gone = true;
    *connection->link = connection->next;
    if (connection->next)
        connection->next->link = connection->link;
    server->count--;
    mst_timers_cancel(&server->host->loop.timers, &connection->stall);
    stop_receiving(connection);
    mst_stream_close(&connection->stream);
}

static void cut_off(struct mst__control_connection *connection)
{
    if (connection->gone)
        return;
    mst_log_write(connection->server->host->log, MST_LOG_WARN, "control", "client does not read, cut off", NULL);
    disconnect(connection);
}

static void on_stall(struct mst_timer *timer, void *owner)
{
    struct mst__control_connection *connection = owner;
    (void)timer;
    if (mst_stream_pending(&connection->stream) > MOST_PENDING)
        cut_off(connection);
}

/* Closes once what is under way is over and sent. */
static void finish(struct mst__control_connection *connection)
{
    connection->finishing = true;
    if (mst_stream_pending(&connection->stream) == 0)
        disconnect(connection);
}

/* What goes out */

static void watch_pending(struct mst__control_connection *connection)
{
    if (mst_stream_pending(&connection->stream) <= MOST_PENDING || connection->stall.slot)
        return;
    uint64_t until = mst_clock_monotonic() + STALL;
    if (mst_timers_set(&connection->server->host->loop.timers, &connection->stall, until) < 0)
        cut_off(connection);
}

static void answer(struct mst__control_connection *connection, uint64_t sequence, int status, const char *json,
                   size_t length)
{
    struct mst_buffer *out = mst_stream_out(&connection->stream);
    const char *name = status ? mst_error_name(status) : "OK";
    struct mst_frame frame = {
        .type = MST_FRAME_ANSWER, .sequence = sequence, .a = {name, strlen(name)}, .body = {json, length}};
    if (!out)
        return;
    if (mst_frame_put(out, &frame, NULL) == 0)
        watch_pending(connection);
    else
        disconnect(connection); /* only for want of memory; an answer that never comes would be worse */
}

static void answer_error(struct mst__control_connection *connection, uint64_t sequence, const struct mst_error *error)
{
    struct mst_buffer json = {0};
    mst_json_put_error(&json, error);
    answer(connection, sequence, error->code, json.data, json.length);
    mst_buffer_deinit(&json);
}

static void on_answer(void *context, int status, const char *json, size_t length)
{
    struct call *call = context;
    struct mst__control_connection *connection = call->connection;
    struct mst_error error;
    connection->calls--;
    if (!connection->gone && length > MST_FRAME_BODY_MAX) {
        mst__door_too_big(&error, length, MST_FRAME_BODY_MAX);
        answer_error(connection, call->sequence, &error);
    } else if (!connection->gone) {
        answer(connection, call->sequence, status, json, length);
    }
    free(call);
    if (!connection->gone)
        feed(connection);
    free_if_over(connection);
}

static void refuse_message(struct mst__control_connection *connection, const struct mst_message *message)
{
    static const char text[] = "-ETOOBIG larger than the control socket carries";
    struct mst_host *host = connection->server->host;
    mst_log_write(host->log, MST_LOG_WARN, "control", "message too large for the socket, dropped", NULL);
    if (message->reply_length)
        mst_host_acknowledge(host, message->reply, message->reply_length, text, sizeof text - 1);
}

static void on_message(void *context, const struct mst_message *message)
{
    struct receiver *receiver = context;
    struct mst__control_connection *connection = receiver->connection;
    struct mst_frame frame = {.type = MST_FRAME_MESSAGE, .sequence = receiver->sequence};
    struct mst_buffer *out = mst_stream_out(&connection->stream);
    if (!out)
        return;
    frame.body.length = message->subject_length + 1 + message->reply_length + 1 + message->payload_length;
    if (frame.body.length > MST_FRAME_BODY_MAX) {
        refuse_message(connection, message);
        return;
    }
    if (mst_stream_pending(&connection->stream) > MOST_PENDING || mst_frame_put_header(out, &frame, NULL) < 0) {
        cut_off(connection);
        return;
    }
    mst_buffer_append(out, message->subject, message->subject_length);
    mst_buffer_append_byte(out, '\n');
    mst_buffer_append(out, message->reply, message->reply_length);
    mst_buffer_append_byte(out, '\n');
    mst_buffer_append(out, message->payload, message->payload_length);
}

/* What comes in */

static void start_call(struct mst__control_connection *connection, const struct mst_frame *frame)
{
    char verb[MST__DOOR_WORD], namespace_[MST__DOOR_WORD];
    struct mst_error error;
    mst__door_word(verb, frame->a);
    mst__door_word(namespace_, frame->b);
    struct call *call = NULL;
    if (connection->server->refusing)
        mst_error_set(&error, MST_ECLOSED, "the coordinator is shutting down");
    else if (!mst_coordinator_is_public(verb))
        mst__door_no_verb(&error, verb);
    else if (!(call = malloc(sizeof *call)))
        mst_error_set(&error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    if (!call) {
        answer_error(connection, frame->sequence, &error);
        return;
    }
    *call = (struct call){connection, frame->sequence};
    connection->calls++;
    mst_host_call(connection->server->host, verb, namespace_, frame->body.data, frame->body.length, on_answer, call);
}

static int open_receiver(struct mst__control_connection *connection, const struct mst_frame *frame, bool gateway,
                         struct mst_error *error)
{
    char namespace_[MST__DOOR_WORD], why[400];
    if (connection->server->refusing)
        return mst_error_set(error, MST_ECLOSED, "the coordinator is shutting down");
    if (connection->receiver_count >= MOST_RECEIVERS)
        return mst_error_set(error, MST_EQUOTA, "one connection has at most %u receivers", MOST_RECEIVERS);
    struct receiver *receiver = malloc(sizeof *receiver);
    if (!receiver)
        return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    mst__door_word(namespace_, frame->b);
    *receiver = (struct receiver){connection->receivers, connection, NULL, frame->sequence};
    receiver->handle = mst_host_receive(connection->server->host, namespace_, frame->body.data, frame->body.length,
                                        gateway, on_message, receiver, why, sizeof why);
    if (!receiver->handle) {
        free(receiver);
        return mst_error_set(error, MST_EINVAL, "%s", why);
    }
    connection->receivers = receiver;
    connection->receiver_count++;
    return 0;
}

static void start_receiver(struct mst__control_connection *connection, const struct mst_frame *frame)
{
    struct mst_error error;
    if (open_receiver(connection, frame, frame->a.length == 3, &error) == 0)
        answer(connection, frame->sequence, 0, "{}", 2);
    else
        answer_error(connection, frame->sequence, &error);
}

static void pass_reply(struct mst__control_connection *connection, struct mst_span subject, struct mst_span text)
{
    struct mst_host *host = connection->server->host;
    bool inbox = subject.length > sizeof INBOX - 1 && memcmp(subject.data, INBOX, sizeof INBOX - 1) == 0;
    int code = inbox ? mst_host_acknowledge(host, subject.data, subject.length, text.data, text.length) : MST_EINVAL;
    if (code)
        mst_log_write(host->log, MST_LOG_WARN, "control", "acknowledgement not passed on", "error",
                      mst_error_name(code), NULL);
}

static bool is(struct mst_span word, const char *text)
{
    return word.length == strlen(text) && memcmp(word.data, text, word.length) == 0;
}

/* False: the frame breaks the rules. */
static bool handle(struct mst__control_connection *connection, const struct mst_frame *frame, struct mst_error *error)
{
    struct mst_span rest = frame->body, subject;
    if (frame->type == MST_FRAME_CALL) {
        start_call(connection, frame);
        return true;
    }
    if (frame->type == MST_FRAME_RECEIVE && (is(frame->a, "to") || is(frame->a, "via"))) {
        start_receiver(connection, frame);
        return true;
    }
    if (frame->type == MST_FRAME_REPLY && mst_frame_line(&rest, &subject)) {
        pass_reply(connection, subject, rest);
        return true;
    }
    mst_error_set(error, MST_EINVAL, "not a frame that a client sends");
    return false;
}

static bool busy(const struct mst__control_connection *connection)
{
    return connection->calls >= MOST_CALLS || mst_stream_pending(&connection->stream) > MUCH_PENDING;
}

static void break_rules(struct mst__control_connection *connection, const struct mst_error *error)
{
    mst_log_write(connection->server->host->log, MST_LOG_WARN, "control", "client broke the protocol", "error",
                  error->message, NULL);
    answer_error(connection, 0, error);
    disconnect(connection);
}

/* Reads frames until there is no whole one left or enough is under way. */
static void read_frames(struct mst__control_connection *connection)
{
    struct mst_stream *stream = &connection->stream;
    size_t at = 0;
    while (!busy(connection) && !connection->gone) {
        struct mst_frame frame;
        struct mst_error error;
        size_t used = 0;
        int code = mst_frame_decode(stream->in.data + at, stream->in.length - at, &frame, &used, &error);
        if (code == 0)
            break;
        if (code < 0 || !handle(connection, &frame, &error)) {
            break_rules(connection, &error);
            return;
        }
        at += used;
    }
    mst_buffer_consume(&stream->in, at);
}

static void feed(struct mst__control_connection *connection)
{
    /* A call may be answered at once for want of memory, and lead back here. */
    if (connection->feeding || connection->finishing)
        return;
    connection->feeding = true;
    if (connection->stream.in.length)
        read_frames(connection);
    connection->feeding = false;
    if (connection->gone)
        return;
    bool full = busy(connection);
    mst_stream_pause(&connection->stream, full);
    if (!connection->stream.eof || full)
        return;
    stop_receiving(connection);
    if (connection->calls == 0)
        finish(connection);
}

/* The stream */

static void on_readable(struct mst_stream *stream)
{
    feed(stream->owner);
}

static void on_flushed(struct mst_stream *stream)
{
    struct mst__control_connection *connection = stream->owner;
    mst_timers_cancel(&connection->server->host->loop.timers, &connection->stall);
    if (connection->finishing)
        disconnect(connection);
    else
        feed(connection);
}

static void on_broken(struct mst_stream *stream)
{
    disconnect(stream->owner);
}

static void on_closed(struct mst_stream *stream)
{
    struct mst__control_connection *connection = stream->owner;
    connection->freed = true;
    free_if_over(connection);
}

bool mst__control_connect(struct mst_control_server *server, int fd)
{
    struct mst__control_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        close(fd);
        return false;
    }
    connection->server = server;
    connection->stall = (struct mst_timer){.fire = on_stall, .owner = connection};
    connection->stream.owner = connection;
    connection->stream.readable = on_readable;
    connection->stream.flushed = on_flushed;
    connection->stream.broken = on_broken;
    connection->stream.closed = on_closed;
    if (mst_stream_open(&connection->stream, server->host->loop.uv, fd) < 0) {
        free(connection);
        return false;
    }
    connection->next = server->connections;
    connection->link = &server->connections;
    if (connection->next)
        connection->next->link = &connection->next;
    server->connections = connection;
    server->count++;
    server->references++;
    return true;
}

void mst__control_disconnect(struct mst_control_server *server)
{
    while (server->connections)
        disconnect(server->connections);
}
