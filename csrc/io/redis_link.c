// SPDX-License-Identifier: Apache-2.0
#include "io/redis_link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

#define BACKOFF_MIN (50 * MST_NS_PER_MS)
#define BACKOFF_MAX (2 * MST_NS_PER_SECOND)
#define OUT_MAX (64u << 20)
#define READ_PIECE 16384 /* the reader moves its rest after each reply, so it must never hold much */
#define READS_PER_TURN 16

void mst__redis_address(const struct mst_redis_options *options, char *text, size_t size)
{
    if (options->host[0] == '/')
        snprintf(text, size, "%s", options->host);
    else
        snprintf(text, size, strchr(options->host, ':') != NULL ? "[%s]:%d" : "%s:%d", options->host, options->port);
}

static void set_timer(struct mst__redis_link *link, uint64_t at)
{
    /* Fails only where the heap cannot grow; a link without its timer would hang, one taken down heals. */
    if (mst_timers_set(&link->loop->timers, &link->timer, at) < 0)
        mst__redis_link_drop(link, "out of memory");
}

__attribute__((format(printf, 2, 3))) static void break_link(struct mst__redis_link *link, const char *format, ...)
{
    if (link->broken)
        return;
    char address[160], reason[200];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    mst__redis_address(link->options, address, sizeof address);
    mst_error_set(&link->why, MST_EREDIS, "Redis at %s: %s", address, reason);
    link->broken = true;
    /* Nobody may come by to take it down, so the timer does. */
    mst_timers_set(&link->loop->timers, &link->timer, 0);
}

/* Silence is told apart from a refusal: what was sent may have been carried out. */
static void break_silent(struct mst__redis_link *link)
{
    if (link->broken)
        return;
    if (link->state < MST__LINK_GREETING)
        break_link(link, "no connection within %llu ms",
                   (unsigned long long)(link->options->connect_timeout / MST_NS_PER_MS));
    else
        break_link(link, "no answer in time");
    link->why.code = MST_EDEADLINE;
}

void mst__redis_link_drop(struct mst__redis_link *link, const char *reason)
{
    break_link(link, "%s", reason);
}

/* ---- commands ---- */

static bool reserve_pending(struct mst__redis_link *link)
{
    if (link->count < link->capacity)
        return true;
    uint32_t capacity = link->capacity != 0 ? link->capacity * 2 : 64;
    struct mst__redis_pending *ring = malloc(capacity * sizeof *ring);
    if (ring == NULL)
        return false;
    /* The old ring is full: as many are pending as it has places. */
    for (uint32_t i = 0; i < link->capacity; i++)
        ring[i] = link->pending[(link->first + i) % link->capacity];
    free(link->pending);
    link->pending = ring;
    link->first = 0;
    link->capacity = capacity;
    return true;
}

void mst__redis_begin(struct mst__redis_link *link, uint32_t count)
{
    link->mark = link->out.length;
    mst_buffer_append_byte(&link->out, '*');
    mst_buffer_append_u64(&link->out, count);
    mst_buffer_append(&link->out, "\r\n", 2);
}

/* Room for `length` bytes behind the head and CR LF is there on return, or `failed` is set. */
void mst__redis_arg_head(struct mst__redis_link *link, size_t length)
{
    struct mst_buffer *out = &link->out;
    if (!mst_buffer_reserve(out, length + MST_U64_ROOM + 5))
        return;
    char *at = out->data + out->length;
    *at++ = '$';
    at = mst_u64_write(at, length);
    *at++ = '\r';
    *at++ = '\n';
    out->length = (size_t)(at - out->data);
}

void mst__redis_arg(struct mst__redis_link *link, const void *bytes, size_t length)
{
    mst__redis_arg_head(link, length);
    mst_buffer_append(&link->out, bytes, length);
    mst_buffer_append(&link->out, "\r\n", 2);
}

void mst__redis_arg_u64(struct mst__redis_link *link, uint64_t number)
{
    char text[MST_U64_ROOM];
    mst__redis_arg(link, text, (size_t)(mst_u64_write(text, number) - text));
}

static bool end_command(struct mst__redis_link *link, bool allowed, mst__redis_reply_fn *done, void *context,
                        uint64_t timeout)
{
    if (!allowed || link->out.failed || !reserve_pending(link)) {
        link->out.length = link->mark;
        link->out.failed = false;
        return false;
    }
    uint64_t deadline = mst_clock_monotonic() + timeout;
    link->pending[(link->first + link->count++) % link->capacity] =
        (struct mst__redis_pending){.done = done, .context = context, .deadline = deadline};
    if (link->timer.slot == 0)
        set_timer(link, deadline);
    return true;
}

bool mst__redis_end(struct mst__redis_link *link, mst__redis_reply_fn *done, void *context, uint64_t timeout)
{
    return end_command(link, mst__redis_link_ready(link), done, context, timeout);
}

static void append_strings(struct mst__redis_link *link, va_list args)
{
    const char *words[16];
    uint32_t count = 0;
    for (const char *word; (word = va_arg(args, const char *)) != NULL && count < 16;)
        words[count++] = word;
    mst__redis_begin(link, count);
    for (uint32_t i = 0; i < count; i++)
        mst__redis_arg(link, words[i], strlen(words[i]));
}

bool mst__redis_send(struct mst__redis_link *link, mst__redis_reply_fn *done, void *context, uint64_t timeout, ...)
{
    va_list args;
    va_start(args, timeout);
    append_strings(link, args);
    va_end(args);
    return mst__redis_end(link, done, context, timeout);
}

void mst__redis_link_flush(struct mst__redis_link *link)
{
    while (link->state >= MST__LINK_GREETING && !link->broken && link->sent < link->out.length) {
        ssize_t n = send(link->dial.fd, link->out.data + link->sent, link->out.length - link->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            mst__dial_want(&link->dial, UV_READABLE | UV_WRITABLE);
            break;
        }
        if (n < 0) {
            break_link(link, "connection lost (%s)", strerror(errno));
            return;
        }
        link->sent += (size_t)n;
    }
    /* Moving the rest costs as much as it is long, so it is done rarely. */
    if (link->sent == link->out.length || link->sent > OUT_MAX / 32) {
        mst_buffer_consume(&link->out, link->sent);
        link->sent = 0;
    }
}

/* ---- the greeting: authentication and database ---- */

static void on_greeting(redisReply *reply, void *context)
{
    struct mst__redis_link *link = context;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        break_link(link, "%.150s", reply->str);
    if (reply == NULL || link->broken || link->count > 0)
        return;
    link->state = MST__LINK_UP;
    link->failures = 0;
    link->up(link);
}

static void greet_with(struct mst__redis_link *link, ...)
{
    va_list args;
    va_start(args, link);
    append_strings(link, args);
    va_end(args);
    if (!end_command(link, true, on_greeting, link, link->options->connect_timeout))
        break_link(link, "out of memory");
}

static void greet(struct mst__redis_link *link)
{
    const struct mst_redis_options *options = link->options;
    char database[16];
    link->state = MST__LINK_GREETING;
    mst_timers_cancel(&link->loop->timers, &link->timer);
    if (options->password != NULL && options->user != NULL)
        greet_with(link, "AUTH", options->user, options->password, NULL);
    else if (options->password != NULL)
        greet_with(link, "AUTH", options->password, NULL);
    snprintf(database, sizeof database, "%d", options->database);
    greet_with(link, "SELECT", database, NULL);
    mst__redis_link_flush(link);
}

/* ---- replies ---- */

static void deliver(struct mst__redis_link *link, redisReply *reply)
{
    if (link->count == 0) {
        break_link(link, "an answer that nobody asked for");
    } else {
        struct mst__redis_pending pending = link->pending[link->first];
        link->first = (link->first + 1) % link->capacity;
        link->count--;
        if (pending.done != NULL)
            pending.done(reply, pending.context);
    }
    freeReplyObject(reply);
}

static void deliver_all(struct mst__redis_link *link)
{
    while (!link->broken && !link->closing) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK)
            break_link(link, "protocol error: %s", link->reader->errstr);
        else if (reply == NULL)
            break;
        else
            deliver(link, reply);
    }
}

static void read_socket(struct mst__redis_link *link)
{
    char piece[READ_PIECE];
    for (int i = 0; i < READS_PER_TURN && !link->broken && !link->closing; i++) {
        ssize_t n = recv(link->dial.fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            break_link(link, n == 0 ? "connection closed by the server" : "connection lost (%s)", strerror(errno));
            return;
        }
        if (redisReaderFeed(link->reader, piece, (size_t)n) != REDIS_OK)
            break_link(link, "out of memory");
        else
            deliver_all(link);
        if ((size_t)n < sizeof piece)
            return;
    }
}

/* ---- connecting ---- */

static void take_down(struct mst__redis_link *link);

static void on_connected(struct mst__dial *dial)
{
    greet(dial->owner);
}

static void on_failed(struct mst__dial *dial, const char *what, const char *reason)
{
    break_link(dial->owner, "%s%s", what, reason);
}

static void on_ready(struct mst__dial *dial, int events, int status)
{
    struct mst__redis_link *link = dial->owner;
    if (events & UV_READABLE)
        read_socket(link);
    if ((events & UV_WRITABLE) && !link->broken && !link->closing) {
        mst__dial_want(dial, UV_READABLE);
        mst__redis_link_flush(link);
    }
    if (status < 0 && !link->broken && !link->closing)
        break_link(link, "connection lost (%s)", uv_strerror(status));
    if (link->broken && !link->closing)
        take_down(link);
}

static void on_dial_closed(struct mst__dial *dial)
{
    struct mst__redis_link *link = dial->owner;
    link->closed(link);
}

static void start_attempt(struct mst__redis_link *link)
{
    const struct mst_redis_options *options = link->options;
    char port[16];
    snprintf(port, sizeof port, "%d", options->port);
    link->state = MST__LINK_DIALING;
    set_timer(link, mst_clock_monotonic() + options->connect_timeout);
    if (options->host[0] == '/') {
        mst__dial_open_unix(&link->dial, options->host);
    } else if (!mst__dial_open(&link->dial, options->host, port)) {
        link->state = MST__LINK_IDLE;
        set_timer(link, mst_clock_monotonic() + BACKOFF_MIN);
    }
}

/* ---- the end of a connection, and the next ---- */

static void fail_pending(struct mst__redis_link *link)
{
    /* Callbacks may try to send; the state refuses that, so the ring only shrinks. */
    while (link->count > 0) {
        struct mst__redis_pending pending = link->pending[link->first];
        link->first = (link->first + 1) % link->capacity;
        link->count--;
        if (pending.done != NULL)
            pending.done(NULL, pending.context);
    }
}

static void reset(struct mst__redis_link *link)
{
    mst_timers_cancel(&link->loop->timers, &link->timer);
    mst__dial_reset(&link->dial);
    if (link->reader != NULL)
        redisReaderFree(link->reader);
    link->reader = NULL;
    mst_buffer_clear(&link->out);
    link->sent = 0;
}

static uint64_t backoff(struct mst__redis_link *link)
{
    uint64_t wait = link->failures < 6 ? BACKOFF_MIN << link->failures : BACKOFF_MAX;
    link->failures++;
    if (wait > BACKOFF_MAX)
        wait = BACKOFF_MAX;
    /* Jitter, so that many instances do not come back at once: 50 % to 150 %. */
    return wait / 2 + mst_clock_monotonic() / 1000 * UINT64_C(2654435761) % wait;
}

static void take_down(struct mst__redis_link *link)
{
    bool report = link->state == MST__LINK_UP || link->failures == 0;
    link->state = MST__LINK_IDLE;
    reset(link);
    fail_pending(link);
    if (report)
        mst_log_write(link->log, MST_LOG_WARN, "redis", "connection lost", "link", link->name, "reason",
                      link->why.message, NULL);
    link->down(link, &link->why);
    link->broken = false;
    if (!link->closing)
        set_timer(link, mst_clock_monotonic() + backoff(link));
}

static void on_timer(struct mst_timer *timer, void *owner)
{
    struct mst__redis_link *link = owner;
    uint64_t now = mst_clock_monotonic();
    (void)timer;
    if (link->broken) {
        take_down(link);
    } else if (link->state == MST__LINK_IDLE) {
        if (link->reader == NULL)
            link->reader = redisReaderCreate();
        if (link->reader == NULL)
            break_link(link, "out of memory");
        else
            start_attempt(link);
    } else if (link->state == MST__LINK_DIALING && mst__dial_skip(&link->dial)) {
        if (!link->broken)
            set_timer(link, now + link->options->connect_timeout);
    } else if (link->state < MST__LINK_GREETING || (link->count > 0 && link->pending[link->first].deadline <= now)) {
        break_silent(link);
    } else if (link->count > 0) {
        set_timer(link, link->pending[link->first].deadline);
    }
}

void mst__redis_link_open(struct mst__redis_link *link, struct mst_loop *loop, struct mst_log *log,
                          const struct mst_redis_options *options)
{
    link->loop = loop;
    link->log = log;
    link->options = options;
    link->out.limit = OUT_MAX;
    link->timer.fire = on_timer;
    link->timer.owner = link;
    link->dial = (struct mst__dial){.loop = loop,
                                    .owner = link,
                                    .connected = on_connected,
                                    .failed = on_failed,
                                    .ready = on_ready,
                                    .closed = on_dial_closed};
    link->state = MST__LINK_IDLE;
    set_timer(link, 0);
}

bool mst__redis_link_close(struct mst__redis_link *link, void (*closed)(struct mst__redis_link *link))
{
    link->closing = true;
    link->closed = closed;
    link->state = MST__LINK_IDLE;
    reset(link);
    fail_pending(link);
    mst_buffer_deinit(&link->out);
    free(link->pending);
    link->pending = NULL;
    link->capacity = 0;
    return mst__dial_close(&link->dial);
}
