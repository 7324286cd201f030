// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/nats_casts.h"

enum {
    MOST_QUEUED = 4096, /* casts */
    WINDOW = 512,
    WINDOWS = 64,
    MOST_WINDOW = 65536,
    MOST_WINDOWS = 4096,
    WAITING = 256 * 1024,  /* bytes that wait for the kernel at which we stop writing more */
    PIECE = 32 * 1024,     /* handed to the kernel at a time, so that the server begins early */
    REFUSAL = 1024,        /* what a refused message counts for in a turn, in bytes */
    TURN = 1024 * 1024,    /* bytes written in a turn of the loop; then others have theirs */
    MOST_TAIL = 64 * 1024, /* longest shared payload that is kept ready as text */
    IDLE_SECONDS = 5,      /* without a fence, before we ask whether the server is there */
    LATE_MS = 1000,        /* a fence that is out for as long is a sign of trouble */
};

/* ------------------------------------------------------------------------ windows */

static void tell(struct mst__nats_publisher *publisher, const struct mst__nats_segment *segment,
                 enum mst_cast_event_kind kind, const struct mst_error *error)
{
    struct mst_cast_event event = {.kind = kind, .first = segment->first, .end = segment->end, .error = error};
    mst__nats_casts_event(publisher->casts, segment->slot, segment->generation, &event);
}

/* Tells the outcome of `count` segments from the front of the ring. Callbacks may queue parts, but send nothing. */
static void settle_segments(struct mst__nats_publisher *publisher, uint32_t count, enum mst_cast_event_kind kind,
                            const struct mst_error *error)
{
    for (; count; count--) {
        struct mst__nats_segment segment = publisher->segments[publisher->segment_first];
        publisher->segment_first = (publisher->segment_first + 1) % publisher->segment_capacity;
        publisher->segment_count--;
        tell(publisher, &segment, kind, error);
    }
}

/* The fence of the first window has come back. */
static void settle_window(struct mst__nats_publisher *publisher)
{
    uint32_t segments = publisher->windows[publisher->window_first].segments;
    publisher->window_first = (publisher->window_first + 1) % publisher->window_limit;
    publisher->window_count--;
    publisher->fences += segments > 0;
    publisher->progress = mst_clock_monotonic();
    settle_segments(publisher, segments, MST_CAST_ROUTED, NULL);
}

/* The connection is gone: of what was written without a fence nobody knows. */
static void lose_windows(struct mst__nats_publisher *publisher, const struct mst_error *why)
{
    publisher->window_count = publisher->window_first = 0;
    publisher->open_messages = publisher->open_segments = 0;
    publisher->open_bytes = 0;
    publisher->congested = false;
    settle_segments(publisher, publisher->segment_count, MST_CAST_LOST, why);
}

/* When the oldest fence is overdue. One that comes back gives the others their time anew: the server is at work. */
static uint64_t fence_since(const struct mst__nats_publisher *publisher)
{
    uint64_t since = publisher->windows[publisher->window_first].sent_at;
    return since > publisher->progress ? since : publisher->progress;
}

static uint64_t next_look(const struct mst__nats_publisher *publisher)
{
    if (publisher->window_count == 0)
        return publisher->progress + IDLE_SECONDS * MST_NS_PER_SECOND;
    return fence_since(publisher) + publisher->fence_timeout;
}

static void set_watch(struct mst__nats_publisher *publisher)
{
    uint64_t at = next_look(publisher);
    if (publisher->watch.slot == 0 || publisher->watch.at > at)
        mst_timers_set(&publisher->loop->timers, &publisher->watch, at);
}

static void close_window(struct mst__nats_publisher *publisher)
{
    uint32_t at = (publisher->window_first + publisher->window_count) % publisher->window_limit;
    publisher->windows[at] =
        (struct mst__nats_window){.sent_at = mst_clock_monotonic(), .segments = publisher->open_segments};
    if (++publisher->window_count == publisher->window_limit)
        publisher->congested = true;
    publisher->open_messages = publisher->open_segments = 0;
    publisher->open_bytes = 0;
    mst_buffer_append_string(&publisher->link.out, "PING\r\n");
    set_watch(publisher);
}

static void on_watch(struct mst_timer *timer, void *owner)
{
    struct mst__nats_publisher *publisher = owner;
    uint64_t at = next_look(publisher);
    if (!publisher->up)
        return;
    if (at > timer->at) {
        mst_timers_set(&publisher->loop->timers, timer, at);
    } else if (publisher->window_count) {
        struct mst_error why;
        mst_error_set(&why, MST_ENATS, "NATS at %s: the server did not answer within the fence timeout",
                      publisher->label);
        mst__nats_link_drop(&publisher->link, &why);
    } else {
        close_window(publisher);
        mst__nats_link_flush(&publisher->link);
    }
}

/* ------------------------------------------------------------------------ the queue */

static void unlink_part(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    struct mst__nats_part **link = &publisher->head, *before = NULL;
    for (; *link != part; link = &(*link)->next)
        before = *link;
    *link = part->next;
    if (publisher->tail == part)
        publisher->tail = before;
    part->next = NULL;
    part->queued = false;
    publisher->queued--;
}

static void append_part(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    part->next = NULL;
    if (publisher->tail)
        publisher->tail->next = part;
    else
        publisher->head = part;
    publisher->tail = part;
    part->queued = true;
    publisher->queued++;
}

static void refuse(struct mst__nats_publisher *publisher, struct mst__nats_part *part, uint32_t end, int code,
                   const char *text)
{
    struct mst_error error;
    struct mst__nats_segment segment = {part->job->slot, part->job->generation, part->position, end};
    part->position = end;
    mst_error_set(&error, code, "%s", text);
    if (segment.first < end)
        tell(publisher, &segment, MST_CAST_REFUSED, &error);
}

/* ------------------------------------------------------------------------ slices */

struct slice {
    uint32_t end; /* messages up to here were written */
    size_t bytes;
    int refused; /* the message at `end` cannot be sent: code */
};

/* The part of the reply subject that all messages of a job share; its length. */
static size_t reply_prefix(const struct mst__nats_publisher *publisher, const struct mst__nats_job *job, char *prefix)
{
    char *to = prefix;
    memcpy(to, publisher->inbox, publisher->inbox_length);
    to += publisher->inbox_length;
    to += mst__nats_put_hex(to, job->slot);
    *to++ = '.';
    to += mst__nats_put_hex(to, job->generation);
    *to++ = '.';
    return (size_t)(to - prefix);
}

/* `length CRLF payload CRLF` of the shared payload. */
static struct mst_span shared_tail(struct mst__nats_publisher *publisher, struct mst_span payload)
{
    struct mst_buffer *text = &publisher->tail_text;
    mst_buffer_clear(text);
    mst_buffer_append_u64(text, payload.length);
    mst_buffer_append(text, "\r\n", 2);
    mst_buffer_append(text, payload.data, payload.length);
    mst_buffer_append(text, "\r\n", 2);
    return text->failed ? (struct mst_span){"", 0} : (struct mst_span){text->data, text->length};
}

static void put_body(struct mst_buffer *out, const struct mst_cast *cast, const struct mst_cast_message *message)
{
    struct mst_span body = message->body_length
                               ? (struct mst_span){cast->text.data + message->body_offset, message->body_length}
                               : cast->payload;
    mst_buffer_append_u64(out, body.length);
    mst_buffer_append(out, "\r\n", 2);
    mst_buffer_append(out, body.data, body.length);
    mst_buffer_append(out, "\r\n", 2);
}

/* Everything that a slice's messages have in common. */
struct envelope {
    const struct mst_cast *cast;
    char reply[MST__NATS_INBOX + 40];
    size_t reply_length; /* 0: no reply is wanted */
    struct mst_span tail;
    size_t max_payload;
};

/* `PUB subject [reply] length CRLF payload CRLF`. The subject is checked as it is copied. */
static int put_message(struct mst_buffer *out, const struct envelope *envelope, uint32_t index)
{
    const struct mst_cast *cast = envelope->cast;
    const struct mst_cast_message *message = &cast->messages[index];
    size_t before = out->length, body = message->body_length ? message->body_length : cast->payload.length;
    if (body > envelope->max_payload)
        return MST_ETOOBIG;
    if (message->subject_length > MST__NATS_SUBJECT)
        return MST_EINVAL;
    if (!mst_buffer_reserve(out, message->subject_length + envelope->reply_length + envelope->tail.length + 64))
        return MST_ENOMEM;
    char *to = out->data + out->length;
    // NOLINTNEXTLINE(bugprone-not-null-terminated-result): a piece of a line
    memcpy(to, "PUB ", 4);
    if (!mst__nats_subject_copy(to + 4, cast->text.data + message->subject_offset, message->subject_length, false))
        return MST_EINVAL;
    to += 4 + message->subject_length;
    *to++ = ' ';
    if (envelope->reply_length) {
        memcpy(to, envelope->reply, envelope->reply_length);
        to += envelope->reply_length;
        to += mst__nats_put_hex(to, index);
        *to++ = ' ';
    }
    out->length = (size_t)(to - out->data);
    if (message->body_length || !envelope->tail.length)
        put_body(out, cast, message);
    else
        mst_buffer_append(out, envelope->tail.data, envelope->tail.length);
    if (!out->failed)
        return 0;
    out->length = before;
    out->failed = false;
    return MST_ENOMEM;
}

static bool kernel_is_full(const struct mst__nats_publisher *publisher)
{
    return mst__nats_link_waiting(&publisher->link) >= WAITING;
}

/* Writes messages of the part up to the end of the window, or until enough waits for the kernel. */
static void put_messages(struct mst__nats_publisher *publisher, const struct mst__nats_part *part, struct slice *slice)
{
    struct mst_buffer *out = &publisher->link.out;
    struct envelope envelope = {.cast = part->job->cast, .max_payload = publisher->link.server.max_payload};
    uint32_t room = publisher->window_messages - publisher->open_messages;
    uint32_t last = part->end - part->position > room ? part->position + room : part->end;
    if (envelope.cast->want_replies)
        envelope.reply_length = reply_prefix(publisher, part->job, envelope.reply);
    if (envelope.cast->payload.length <= MOST_TAIL)
        envelope.tail = shared_tail(publisher, envelope.cast->payload);
    size_t unsent = 0;
    for (slice->end = part->position; slice->end < last && slice->refused == 0;) {
        size_t before = out->length;
        slice->refused = put_message(out, &envelope, slice->end);
        if (slice->refused)
            break;
        slice->end++;
        slice->bytes += out->length - before;
        unsent += out->length - before;
        if (unsent >= PIECE) {
            mst__nats_link_flush(&publisher->link);
            unsent = 0;
            if (kernel_is_full(publisher) || publisher->link.broken)
                break;
        }
        if (publisher->open_bytes + slice->bytes >= MST__NATS_WINDOW_BYTES)
            break;
    }
}

static void add_segment(struct mst__nats_publisher *publisher, struct mst__nats_part *part, uint32_t end)
{
    uint32_t at = (publisher->segment_first + publisher->segment_count) % publisher->segment_capacity;
    publisher->segments[at] = (struct mst__nats_segment){part->job->slot, part->job->generation, part->position, end};
    publisher->segment_count++;
    publisher->open_segments++;
    publisher->open_messages += end - part->position;
    publisher->published += end - part->position;
    part->position = end;
}

static const char *refusal(int code)
{
    return code == MST_ETOOBIG  ? "the message is larger than the NATS server takes"
           : code == MST_EINVAL ? "the subject is not one that NATS can carry"
                                : mst_error_text(code);
}

/* A window's worth of the first part; then it is the next one's turn, so that a long cast does not hold up a short. */
static size_t send_slice(struct mst__nats_publisher *publisher)
{
    struct mst__nats_part *part = publisher->head;
    struct slice slice = {0};
    put_messages(publisher, part, &slice);
    if (slice.end > part->position)
        add_segment(publisher, part, slice.end);
    publisher->open_bytes += slice.bytes;
    unlink_part(publisher, part);
    if (part->position + (slice.refused != 0) < part->end)
        append_part(publisher, part);
    if (publisher->open_messages >= publisher->window_messages || publisher->open_bytes >= MST__NATS_WINDOW_BYTES ||
        publisher->open_segments >= MST__NATS_SEGMENTS)
        close_window(publisher);
    if (slice.refused) /* last: the callback may release the cast */
        refuse(publisher, part, part->position + 1, slice.refused, refusal(slice.refused));
    /* A refusal is work, too: as much as its slice took to prepare. */
    return slice.bytes + (slice.refused ? REFUSAL + publisher->tail_text.length : 0);
}

static bool can_send(const struct mst__nats_publisher *publisher)
{
    return publisher->up && !publisher->held && publisher->head && !publisher->congested &&
           !kernel_is_full(publisher) && mst__nats_link_ready(&publisher->link);
}

static void send_more(struct mst__nats_publisher *publisher)
{
    if (publisher->up && publisher->head && publisher->work.slot == 0)
        mst_timers_set(&publisher->loop->timers, &publisher->work, 0);
}

static void on_work(struct mst_timer *timer, void *owner)
{
    struct mst__nats_publisher *publisher = owner;
    size_t bytes = 0;
    (void)timer;
    while (bytes < TURN && can_send(publisher))
        bytes += send_slice(publisher);
    if (publisher->open_messages && publisher->up)
        close_window(publisher);
    mst__nats_link_flush(&publisher->link);
    if (can_send(publisher))
        send_more(publisher);
}

/* ------------------------------------------------------------------------ what comes back */

static bool take_hex(struct mst_span *text, char end, uint32_t *number)
{
    uint64_t made = 0;
    size_t i = 0;
    for (; i < text->length && text->data[i] != end; i++) {
        char c = text->data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        made = made << 4 | (unsigned)(digit & 15);
        if (digit < 0 || made > UINT32_MAX)
            return false;
    }
    *number = (uint32_t)made;
    size_t used = i < text->length ? i + 1 : i;
    text->data += used;
    text->length -= used;
    return i > 0;
}

/* `<inbox><slot>.<generation>.<index>` */
static void on_answer(struct mst__nats_publisher *publisher, const struct mst__nats_frame *frame)
{
    uint32_t slot, generation;
    struct mst_cast_event event = {.kind = frame->status == 503 ? MST_CAST_NO_RECEIVER : MST_CAST_REPLY,
                                   .data = frame->payload};
    struct mst_span text = frame->subject;
    if (text.length <= publisher->inbox_length || memcmp(text.data, publisher->inbox, publisher->inbox_length) != 0)
        return;
    text.data += publisher->inbox_length;
    text.length -= publisher->inbox_length;
    if (!take_hex(&text, '.', &slot) || !take_hex(&text, '.', &generation) || !take_hex(&text, '.', &event.first) ||
        text.length || event.first == UINT32_MAX)
        return;
    event.end = event.first + 1;
    mst__nats_casts_event(publisher->casts, slot, generation, &event);
}

static void on_fence(struct mst__nats_publisher *publisher)
{
    if (publisher->window_count == 0) {
        struct mst_error why;
        mst_error_set(&why, MST_ENATS, "NATS at %s: an answer that nobody asked for", publisher->label);
        mst__nats_link_drop(&publisher->link, &why);
        return;
    }
    settle_window(publisher);
    if (publisher->congested && publisher->window_count <= publisher->window_limit / 2) {
        publisher->congested = false;
        send_more(publisher);
    }
}

static void on_frame(struct mst__nats_link *link, const struct mst__nats_frame *frame)
{
    struct mst__nats_publisher *publisher = link->owner;
    if (frame->operation == MST__NATS_SAYS_MESSAGE)
        on_answer(publisher, frame);
    else if (frame->operation == MST__NATS_SAYS_PONG)
        on_fence(publisher);
}

/* ------------------------------------------------------------------------ the connection */

static void on_greet(struct mst__nats_link *link)
{
    struct mst__nats_publisher *publisher = link->owner;
    char subject[MST__NATS_INBOX + 1];
    memcpy(subject, publisher->inbox, publisher->inbox_length);
    subject[publisher->inbox_length] = '>';
    mst__nats_put_subscribe(&link->out, (struct mst_span){subject, publisher->inbox_length + 1}, 1);
}

static void on_up(struct mst__nats_link *link)
{
    struct mst__nats_publisher *publisher = link->owner;
    publisher->up = true;
    publisher->epochs++;
    publisher->progress = mst_clock_monotonic();
    mst_log_write(publisher->log, MST_LOG_INFO, "nats", "publisher connected", "servers", publisher->label, NULL);
    if (!link->server.headers)
        mst_log_write(publisher->log, MST_LOG_WARN, "nats", "this server cannot tell that nobody listens", "servers",
                      publisher->label, NULL);
    set_watch(publisher);
    publisher->changed(publisher, true, NULL);
    send_more(publisher);
}

static void on_down(struct mst__nats_link *link, const struct mst_error *why)
{
    struct mst__nats_publisher *publisher = link->owner;
    mst_log_write(publisher->log, MST_LOG_WARN, "nats",
                  publisher->up ? "publisher connection lost" : "publisher cannot connect", "error", why->message,
                  NULL);
    publisher->up = false;
    mst_timers_cancel(&publisher->loop->timers, &publisher->watch);
    lose_windows(publisher, why);
    publisher->changed(publisher, false, why);
}

static void on_drained(struct mst__nats_link *link)
{
    send_more(link->owner);
}

bool mst__nats_publisher_healthy(const struct mst__nats_publisher *publisher)
{
    uint64_t late = LATE_MS * MST_NS_PER_MS;
    if (late > publisher->fence_timeout / 2)
        late = publisher->fence_timeout / 2;
    return publisher->up && (publisher->window_count == 0 || mst_clock_monotonic() - fence_since(publisher) < late);
}

/* ------------------------------------------------------------------------ from the casts */

int mst__nats_publisher_put(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    if (publisher->link.closing)
        return MST_ECLOSED;
    if (publisher->queued >= MOST_QUEUED)
        return MST_EBUSY;
    append_part(publisher, part);
    send_more(publisher);
    return 0;
}

void mst__nats_publisher_drop(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    if (part->queued)
        unlink_part(publisher, part);
}

void mst__nats_publisher_expire(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    if (!part->queued)
        return;
    unlink_part(publisher, part);
    refuse(publisher, part, part->end, MST_EDEADLINE, mst_error_text(MST_EDEADLINE));
}

void mst__nats_publisher_hold(struct mst__nats_publisher *publisher, bool hold)
{
    publisher->held = hold;
    if (!hold)
        send_more(publisher);
}

/* ------------------------------------------------------------------------ beginning and end */

static uint32_t bounded(uint32_t wanted, uint32_t normal, uint32_t most)
{
    return wanted == 0 ? normal : wanted < most ? wanted : most;
}

int mst__nats_publisher_start(struct mst__nats_publisher *publisher, const struct mst_nats_options *options)
{
    publisher->window_messages = bounded(options->window, WINDOW, MOST_WINDOW);
    publisher->window_limit = bounded(options->windows, WINDOWS, MOST_WINDOWS);
    publisher->fence_timeout = options->fence_timeout ? options->fence_timeout : 5 * MST_NS_PER_SECOND;
    publisher->segment_capacity = (publisher->window_limit + 1) * MST__NATS_SEGMENTS;
    publisher->segments = calloc(publisher->segment_capacity, sizeof *publisher->segments);
    publisher->windows = calloc(publisher->window_limit, sizeof *publisher->windows);
    int code = publisher->segments && publisher->windows ? mst__nats_inbox(publisher->inbox, &publisher->inbox_length)
                                                         : MST_ENOMEM;
    if (code < 0) {
        mst__nats_publisher_finish(publisher);
        return code;
    }
    publisher->work = (struct mst_timer){.fire = on_work, .owner = publisher};
    publisher->watch = (struct mst_timer){.fire = on_watch, .owner = publisher};
    publisher->link.server.max_payload = 1 << 20; /* until a server says otherwise */
    publisher->link.loop = publisher->loop;
    publisher->link.settings = publisher->settings;
    publisher->link.label = publisher->label;
    publisher->link.owner = publisher;
    publisher->link.greet = on_greet;
    publisher->link.up = on_up;
    publisher->link.down = on_down;
    publisher->link.frame = on_frame;
    publisher->link.drained = on_drained;
    mst__nats_link_open(&publisher->link);
    return 0;
}

static void on_link_closed(struct mst__nats_link *link)
{
    struct mst__nats_publisher *publisher = link->owner;
    publisher->stopped(publisher);
}

bool mst__nats_publisher_stop(struct mst__nats_publisher *publisher,
                              void (*stopped)(struct mst__nats_publisher *publisher))
{
    struct mst_error closing;
    publisher->stopped = stopped;
    mst_error_set(&closing, MST_ECLOSED, "messaging was closed");
    bool over = mst__nats_link_close(&publisher->link, on_link_closed);
    mst_timers_cancel(&publisher->loop->timers, &publisher->work);
    mst_timers_cancel(&publisher->loop->timers, &publisher->watch);
    publisher->up = false;
    lose_windows(publisher, &closing);
    for (struct mst__nats_part *part; (part = publisher->head) != NULL;) {
        unlink_part(publisher, part);
        refuse(publisher, part, part->end, MST_ECLOSED, closing.message);
    }
    return over;
}

void mst__nats_publisher_finish(struct mst__nats_publisher *publisher)
{
    free(publisher->segments);
    free(publisher->windows);
    mst_buffer_deinit(&publisher->tail_text);
}
