// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/nats_internal.h"

/*
 * Nothing here calls nats.c: its calls wait for the connection's lock, which is held through a write that blocks. The
 * loop puts messages into a buffer and subscriptions into a list.
 */
enum {
    MOST_COMMANDS = 16 << 20, /* bytes waiting to be published */
    MOST_QUEUE_NAME = 200,
};

/* ------------------------------------------------------------------------ listeners */

void mst__nats_listener_free(struct mst__nats_listener *entry)
{
    mst__nats_gate_shut(entry->gate);
    mst__nats_gate_unref(entry->gate);
    free(entry->queue);
    free(entry);
}

static struct mst__nats_listener *make_listener(struct mst__nats_control *control, const char *subject,
                                                const char *queue, struct mst_listener *listener)
{
    size_t length = strlen(subject);
    struct mst__nats_listener *entry = calloc(1, sizeof *entry + length + 1);
    if (!entry)
        return NULL;
    entry->listener = listener;
    memcpy(entry->subject, subject, length + 1);
    entry->gate = mst__nats_gate_create(control, entry);
    if (entry->gate && (!queue || (entry->queue = strdup(queue)) != NULL))
        return entry;
    mst__nats_gate_unref(entry->gate);
    free(entry);
    return NULL;
}

static int check_listen(const char *subject, const char *queue, struct mst_error *error)
{
    char copy[MST__NATS_SUBJECT + 1];
    if (!mst__nats_subject_copy(copy, subject, strlen(subject), true))
        return mst_error_set(error, MST_EINVAL, "not a subject that can be listened to");
    if (queue && (strlen(queue) > MOST_QUEUE_NAME || strchr(queue, '*') || strchr(queue, '>') ||
                  !mst__nats_subject_copy(copy, queue, strlen(queue), false)))
        return mst_error_set(error, MST_EINVAL, "not a name of a queue group");
    return 0;
}

int mst__nats_control_listen(struct mst__nats_control *control, const char *subject, const char *queue,
                             struct mst_listener *listener, struct mst_error *error)
{
    int code = check_listen(subject, queue, error);
    if (code < 0)
        return code;
    struct mst__nats_listener *entry = make_listener(control, subject, queue, listener);
    if (!entry)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    uint64_t until = mst_clock_monotonic() + control->patience;
    pthread_mutex_lock(&control->lock);
    if (!control->connected || control->stop) {
        pthread_mutex_unlock(&control->lock);
        mst__nats_listener_free(entry);
        return mst_error_set(error, MST_ENATS, "NATS at %s is not connected", control->label);
    }
    entry->next = control->arrivals;
    control->arrivals = entry;
    pthread_cond_signal(&control->changed);
    while (!entry->answered && mst_clock_monotonic() < until)
        mst__nats_wait(&control->answered, &control->lock, until);
    code = entry->answered ? entry->answer
                           : mst_error_set(&entry->error, MST_ENATS, "NATS at %s does not answer", control->label);
    if (code < 0) {
        if (error)
            *error = entry->error;
        entry->listener = NULL;
        entry->condemned = control->sweep = true;
        pthread_cond_signal(&control->changed);
    }
    pthread_mutex_unlock(&control->lock);
    listener->slot_state = code == 0 ? entry : NULL;
    return code;
}

void mst__nats_control_unlisten(struct mst__nats_control *control, struct mst_listener *listener)
{
    struct mst__nats_listener *entry = listener->slot_state;
    if (!entry)
        return;
    listener->slot_state = NULL;
    entry->listener = NULL;
    pthread_mutex_lock(&control->lock);
    entry->condemned = control->sweep = true;
    pthread_cond_signal(&control->changed);
    pthread_mutex_unlock(&control->lock);
}

/* ------------------------------------------------------------------------ messages */

/* NATS carries a header as `Name: value`, so neither may hold what ends a line, nor the name what ends a name. */
static bool good_header(const struct mst_header *header)
{
    const char *name = header->name, *value = header->value;
    for (; *name; name++)
        if ((unsigned char)*name <= ' ' || (unsigned char)*name >= 0x7f || *name == ':')
            return false;
    for (; *value; value++)
        if (*value == '\r' || *value == '\n')
            return false;
    return name != header->name;
}

static int check_publish(struct mst_span subject, struct mst_span reply, const struct mst_header *headers,
                         uint32_t header_count, size_t *header_bytes, struct mst_error *error)
{
    char copy[MST__NATS_SUBJECT + 1];
    if (!mst__nats_subject_copy(copy, subject.data, subject.length, false))
        return mst_error_set(error, MST_EINVAL, "not a subject that can be published to");
    if (reply.length && !mst__nats_subject_copy(copy, reply.data, reply.length, false))
        return mst_error_set(error, MST_EINVAL, "not a subject that can be replied to");
    *header_bytes = 0;
    for (uint32_t i = 0; i < header_count; i++) {
        if (!good_header(&headers[i]))
            return mst_error_set(error, MST_EINVAL, "not a header that NATS can carry");
        *header_bytes += strlen(headers[i].name) + strlen(headers[i].value) + 2;
    }
    return 0;
}

static void put_command(struct mst_buffer *out, const struct mst__nats_command *command, struct mst_span subject,
                        struct mst_span reply, const struct mst_header *headers, struct mst_span payload)
{
    mst_buffer_append(out, command, sizeof *command);
    mst_buffer_append(out, subject.data, subject.length);
    mst_buffer_append_byte(out, '\0');
    mst_buffer_append(out, reply.data, reply.length);
    mst_buffer_append_byte(out, '\0');
    for (uint32_t i = 0; i < command->header_count; i++) {
        mst_buffer_append(out, headers[i].name, strlen(headers[i].name) + 1);
        mst_buffer_append(out, headers[i].value, strlen(headers[i].value) + 1);
    }
    mst_buffer_append(out, payload.data, payload.length);
}

/* With the lock. */
static int put_message(struct mst__nats_control *control, const struct mst__nats_command *command,
                       struct mst_span subject, struct mst_span reply, const struct mst_header *headers,
                       struct mst_span payload, struct mst_error *error)
{
    enum { HEADER_OVERHEAD = 16, HEADER_EACH = 2 };
    size_t needed = sizeof *command + subject.length + reply.length + 2 + command->headers + payload.length;
    size_t on_wire =
        payload.length +
        (command->header_count ? command->headers + HEADER_OVERHEAD + (size_t)command->header_count * HEADER_EACH : 0);
    if (!control->connected || control->stop)
        return mst_error_set(error, MST_ENATS, "NATS at %s is not connected", control->label);
    if (on_wire > control->max_payload)
        return mst_error_set(error, MST_ETOOBIG, "%zu bytes are more than the NATS server takes (%zu)", on_wire,
                             control->max_payload);
    if (needed > MOST_COMMANDS - control->commands.length)
        return mst_error_set(error, MST_EBUSY, "too much waits to be published");
    if (!mst_buffer_reserve(&control->commands, needed)) {
        control->commands.failed = false;
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    }
    if (control->commands.length == 0)
        pthread_cond_signal(&control->changed);
    put_command(&control->commands, command, subject, reply, headers, payload);
    return 0;
}

int mst__nats_control_publish(struct mst__nats_control *control, struct mst_span subject, struct mst_span reply,
                              const struct mst_header *headers, uint32_t header_count, struct mst_span payload,
                              struct mst_error *error)
{
    size_t header_bytes = 0;
    if (!headers)
        header_count = 0;
    int code = check_publish(subject, reply, headers, header_count, &header_bytes, error);
    if (code < 0)
        return code;
    if (header_bytes > MOST_COMMANDS || payload.length > MOST_COMMANDS)
        return mst_error_set(error, MST_ETOOBIG, "larger than the NATS server takes");
    struct mst__nats_command command = {.subject = (uint32_t)subject.length,
                                        .reply = (uint32_t)reply.length,
                                        .headers = (uint32_t)header_bytes,
                                        .payload = (uint32_t)payload.length,
                                        .header_count = header_count};
    pthread_mutex_lock(&control->lock);
    code = put_message(control, &command, subject, reply, headers, payload, error);
    pthread_mutex_unlock(&control->lock);
    return code;
}
