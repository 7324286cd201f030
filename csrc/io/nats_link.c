// SPDX-License-Identifier: Apache-2.0
#include "io/nats_link.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"

enum {
    READ_PIECE = 65536,
    READS_PER_TURN = 8,
    DRAINED = 65536,         /* bytes waiting at or below which the owner may go on */
    KEPT_CAPACITY = 1 << 20, /* of a buffer that is empty */
    RESOLVER_PAUSE_MS = 50,  /* until a resolver that hangs is asked again */
    SETTLED_SECONDS = 2,     /* a connection that lived as long was a good one */
    MOST_WAITING = 16 << 20, /* bytes in front of a PONG */
};

/* ------------------------------------------------------------------------ the end of a connection */

void mst__nats_link_drop(struct mst__nats_link *link, const struct mst_error *why)
{
    if (link->broken)
        return;
    link->why = *why;
    link->broken = true;
    /* Nobody may come by to take it down, so the timer does. */
    mst_timers_set(&link->loop->timers, &link->timer, 0);
}

/* The reason stands behind the servers' names. */
static void break_link(struct mst__nats_link *link, int code, const char *what, const char *reason)
{
    struct mst_error why;
    mst_error_set(&why, code, "NATS at %s: %s%s", link->label, what, reason);
    mst__nats_link_drop(link, &why);
}

static void set_timer(struct mst__nats_link *link, uint64_t at)
{
    /* Fails only where the heap cannot grow; a link without its timer would hang. */
    if (mst_timers_set(&link->loop->timers, &link->timer, at) < 0)
        break_link(link, MST_ENOMEM, "", "out of memory");
}

/* ------------------------------------------------------------------------ sending */

size_t mst__nats_link_waiting(const struct mst__nats_link *link)
{
    return link->tls ? link->out.length + link->sealed.length - link->sent : link->out.length - link->sent;
}

static void tidy(struct mst_buffer *buffer)
{
    size_t limit = buffer->limit;
    mst_buffer_clear(buffer);
    if (buffer->capacity > KEPT_CAPACITY)
        mst_buffer_deinit(buffer);
    buffer->limit = limit;
}

/* What is to be sent next, sealed where TLS is on; NULL: the link has broken. */
static struct mst_buffer *sendable(struct mst__nats_link *link)
{
    struct mst_error error;
    if (link->out.failed) {
        break_link(link, MST_ENOMEM, "", "out of memory");
        return NULL;
    }
    if (!link->tls || link->state < MST__NATS_GREETING)
        return link->tls ? &link->sealed : &link->out;
    int code = mst__nats_tls_seal(link->tls, link->out.data, link->out.length, &link->sealed, &error);
    tidy(&link->out);
    if (code == 0)
        return &link->sealed;
    break_link(link, code, "", error.message);
    return NULL;
}

void mst__nats_link_flush(struct mst__nats_link *link)
{
    if (link->state < MST__NATS_HELLO || link->broken)
        return;
    struct mst_buffer *out = sendable(link);
    while (out && link->sent < out->length) {
        ssize_t count = send(link->dial.fd, out->data + link->sent, out->length - link->sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            mst__dial_want(&link->dial, UV_READABLE | UV_WRITABLE);
            link->wants_drained = true;
            if (link->sent >= KEPT_CAPACITY) {
                mst_buffer_consume(out, link->sent);
                link->sent = 0;
            }
            return;
        }
        if (count < 0) {
            break_link(link, MST_ENATS, "the connection was lost: ", strerror(errno));
            return;
        }
        link->sent += (size_t)count;
    }
    if (!out)
        return;
    tidy(out);
    link->sent = 0;
}

/* ------------------------------------------------------------------------ the greeting */

static void say_hello(struct mst__nats_link *link)
{
    struct mst_error error;
    const struct mst__nats_place *place = &link->settings->places[link->place];
    link->state = MST__NATS_GREETING;
    int code = mst__nats_put_connect(&link->out, link->settings, place, &link->server, link->tls != NULL, &error);
    if (code < 0) {
        break_link(link, code, "", error.message);
        return;
    }
    link->greet(link);
    mst_buffer_append_string(&link->out, "PING\r\n");
    mst__nats_link_flush(link);
}

static void shake(struct mst__nats_link *link)
{
    struct mst_error error;
    int code = mst__nats_tls_shake(link->tls, &link->sealed, &error);
    if (code < 0)
        break_link(link, code, "", error.message);
    else if (code > 0)
        say_hello(link);
    else
        mst__nats_link_flush(link);
}

static void on_info(struct mst__nats_link *link, struct mst_span info)
{
    struct mst_error error;
    const struct mst__nats_place *place = &link->settings->places[link->place];
    int code = mst__nats_server_read(&link->server, info, &error);
    if (code < 0) {
        break_link(link, code, "", error.message);
        return;
    }
    if (link->state != MST__NATS_HELLO)
        return;
    if (!link->server.tls_required && !place->tls && !link->settings->ca_file) {
        say_hello(link);
        return;
    }
    if (!link->server.tls_required && !link->server.tls_available) {
        break_link(link, MST_ENATS, "", "TLS is asked for, and the server has none");
        return;
    }
    /* What came in clear behind INFO was not said by the server we are going to trust. */
    if (link->in.length > link->taken) {
        break_link(link, MST_ENATS, "", "bytes in clear before TLS");
        return;
    }
    code = mst__nats_tls_create(&link->tls, link->settings->ca_file, place->host, &error);
    if (code < 0) {
        break_link(link, code, "", error.message);
        return;
    }
    tidy(&link->out);
    link->sent = 0;
    link->state = MST__NATS_SECURING;
    shake(link);
}

static void on_greeted(struct mst__nats_link *link)
{
    link->state = MST__NATS_READY;
    link->tried = 0;
    link->up_since = mst_clock_monotonic();
    mst_timers_cancel(&link->loop->timers, &link->timer);
    link->up(link);
}

/* ------------------------------------------------------------------------ receiving */

static void on_error(struct mst__nats_link *link, struct mst_span text)
{
    struct mst_error why;
    bool permission = text.length >= 11 && strncasecmp(text.data, "permissions", 11) == 0;
    mst_error_set(&why, permission ? MST_EPERMISSION : MST_ENATS, "NATS at %s: %.*s", link->label,
                  (int)(text.length < 250 ? text.length : 250), text.data);
    mst__nats_link_drop(link, &why);
}

static void on_frame(struct mst__nats_link *link, const struct mst__nats_frame *frame)
{
    if (frame->operation == MST__NATS_SAYS_INFO) {
        on_info(link, frame->text);
    } else if (frame->operation == MST__NATS_SAYS_ERROR) {
        on_error(link, frame->text);
    } else if (frame->operation == MST__NATS_SAYS_PING) {
        if (mst__nats_link_waiting(link) < MOST_WAITING)
            mst_buffer_append_string(&link->out, "PONG\r\n"); /* else it does not read, and will not miss it */
        mst__nats_link_flush(link);
    } else if (link->state == MST__NATS_READY && frame->operation != MST__NATS_SAYS_OK) {
        link->frame(link, frame);
    } else if (link->state == MST__NATS_GREETING && frame->operation == MST__NATS_SAYS_PONG) {
        on_greeted(link);
    }
}

/* Whether the bytes at hand may be taken as the server's in clear. */
static bool can_take(const struct mst__nats_link *link)
{
    return !link->broken && !link->closing && link->state != MST__NATS_SECURING;
}

static void take_frames(struct mst__nats_link *link)
{
    struct mst__nats_frame frame;
    ptrdiff_t size = 1;
    while (can_take(link) &&
           (size = mst__nats_frame_take(link->in.data + link->taken, link->in.length - link->taken, &frame)) > 0) {
        link->taken += (size_t)size;
        on_frame(link, &frame);
    }
    if (size < 0)
        break_link(link, MST_ENATS, "", "it says what a NATS server does not say");
    if (link->closing)
        return;
    if (link->taken == link->in.length)
        tidy(&link->in);
    else
        mst_buffer_consume(&link->in, link->taken);
    link->taken = 0;
}

static void open_sealed(struct mst__nats_link *link, size_t count)
{
    struct mst_error error;
    int code = mst__nats_tls_feed(link->tls, link->raw.data, count);
    if (code < 0)
        mst_error_set(&error, code, "out of memory");
    else if (link->state == MST__NATS_SECURING)
        shake(link);
    if (code == 0 && can_take(link)) {
        code = mst__nats_tls_open(link->tls, &link->in, &link->sealed, &error);
        take_frames(link);
    }
    if (code < 0)
        break_link(link, code, "", error.message);
}

static void read_socket(struct mst__nats_link *link)
{
    for (int i = 0; i < READS_PER_TURN && !link->broken && !link->closing; i++) {
        struct mst_buffer *to = link->tls ? &link->raw : &link->in;
        if (!mst_buffer_reserve(to, READ_PIECE)) {
            break_link(link, MST_ENOMEM, "", "out of memory");
            return;
        }
        ssize_t count = recv(link->dial.fd, to->data + to->length, READ_PIECE, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (count <= 0) {
            break_link(link, MST_ENATS, "the connection was ", count == 0 ? "closed" : strerror(errno));
            return;
        }
        if (link->tls) {
            open_sealed(link, (size_t)count);
        } else {
            to->length += (size_t)count;
            take_frames(link);
        }
        if (count < READ_PIECE)
            return;
    }
}

/* ------------------------------------------------------------------------ connecting */

static void take_down(struct mst__nats_link *link);

static void on_connected(struct mst__dial *dial)
{
    struct mst__nats_link *link = dial->owner;
    link->state = MST__NATS_HELLO;
}

static void on_failed(struct mst__dial *dial, const char *what, const char *reason)
{
    break_link(dial->owner, MST_ENATS, what, reason);
}

static void write_socket(struct mst__nats_link *link)
{
    mst__dial_want(&link->dial, UV_READABLE);
    mst__nats_link_flush(link);
    if (link->wants_drained && mst__nats_link_ready(link) && mst__nats_link_waiting(link) <= DRAINED) {
        link->wants_drained = false;
        link->drained(link);
    }
}

static void on_ready(struct mst__dial *dial, int events, int status)
{
    struct mst__nats_link *link = dial->owner;
    if (events & UV_READABLE)
        read_socket(link);
    if ((events & UV_WRITABLE) && !link->broken && !link->closing)
        write_socket(link);
    if (status < 0 && !link->broken && !link->closing)
        break_link(link, MST_ENATS, "the connection was lost: ", uv_strerror(status));
    if (link->broken && !link->closing)
        take_down(link);
}

static void on_dial_closed(struct mst__dial *dial)
{
    struct mst__nats_link *link = dial->owner;
    link->closed(link);
}

static void begin_attempt(struct mst__nats_link *link)
{
    const struct mst__nats_place *place = &link->settings->places[link->place];
    link->state = MST__NATS_DIALING;
    set_timer(link, mst_clock_monotonic() + link->settings->connect_timeout);
    if (mst__dial_open(&link->dial, place->host, place->port))
        return;
    link->state = MST__NATS_IDLE;
    set_timer(link, mst_clock_monotonic() + RESOLVER_PAUSE_MS * MST_NS_PER_MS);
}

/* ------------------------------------------------------------------------ from one connection to the next */

static void reset(struct mst__nats_link *link)
{
    mst_timers_cancel(&link->loop->timers, &link->timer);
    mst__dial_reset(&link->dial);
    mst__nats_tls_destroy(link->tls);
    link->tls = NULL;
    tidy(&link->in);
    tidy(&link->out);
    tidy(&link->raw);
    tidy(&link->sealed);
    link->taken = link->sent = 0;
    link->wants_drained = false;
    link->state = MST__NATS_IDLE;
}

static void take_down(struct mst__nats_link *link)
{
    bool was_up = link->state == MST__NATS_READY;
    bool settled = was_up && mst_clock_monotonic() - link->up_since > SETTLED_SECONDS * MST_NS_PER_SECOND;
    reset(link);
    if (settled)
        mst__nats_backoff_reset(&link->backoff);
    struct mst_error why = link->why;
    link->broken = false;
    link->place = (link->place + 1) % link->settings->place_count;
    /* The next server is tried at once, until all have had their turn. */
    bool round = ++link->tried % link->settings->place_count == 0;
    if (was_up || round)
        link->down(link, &why);
    /* Nor is one that lets us in only to throw us out again a reason to hurry. */
    bool pause = round || (was_up && !settled);
    if (!link->closing)
        set_timer(link, pause ? mst_clock_monotonic() + mst__nats_backoff_next(&link->backoff) : 0);
}

static void on_timer(struct mst_timer *timer, void *owner)
{
    struct mst__nats_link *link = owner;
    (void)timer;
    bool next = !link->broken && link->state == MST__NATS_DIALING && mst__dial_skip(&link->dial);
    if (next && !link->broken)
        set_timer(link, mst_clock_monotonic() + link->settings->connect_timeout);
    else if (!link->broken && link->state == MST__NATS_IDLE)
        begin_attempt(link);
    else if (!link->broken)
        break_link(link, MST_ENATS, "", "no answer in time");
    if (link->broken)
        take_down(link);
}

void mst__nats_link_open(struct mst__nats_link *link)
{
    link->timer = (struct mst_timer){.fire = on_timer, .owner = link};
    link->dial = (struct mst__dial){.loop = link->loop,
                                    .owner = link,
                                    .connected = on_connected,
                                    .failed = on_failed,
                                    .ready = on_ready,
                                    .closed = on_dial_closed};
    link->in.limit = MST__NATS_MESSAGE + MST__NATS_LINE + 2 * READ_PIECE;
    link->place = 0;
    mst__nats_backoff_init(&link->backoff);
    set_timer(link, 0);
}

bool mst__nats_link_close(struct mst__nats_link *link, void (*closed)(struct mst__nats_link *link))
{
    link->closing = true;
    link->closed = closed;
    reset(link);
    mst_buffer_deinit(&link->in);
    mst_buffer_deinit(&link->out);
    mst_buffer_deinit(&link->raw);
    mst_buffer_deinit(&link->sealed);
    return mst__dial_close(&link->dial);
}
