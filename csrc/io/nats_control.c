// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/nats_internal.h"

enum {
    KEPT_COMMANDS = 1 << 20,
    WRITE_DEADLINE_MS = 1000,
    PATIENCE_MS = 1000,
    ECHO_MS = 500,
};

/* ------------------------------------------------------------------------ nats.c's threads */

static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    struct mst__nats_gate *gate = closure;
    (void)connection;
    (void)subscription;
    pthread_mutex_lock(&gate->lock);
    struct mst__nats_control *control = gate->owner;
    if (control) {
        const char *subject = natsMsg_GetSubject(message), *reply = natsMsg_GetReply(message);
        struct mst_span pieces[MST__NATS_PIECES] = {
            {subject, strlen(subject)},
            {reply ? reply : "", reply ? strlen(reply) : 0},
            {natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)},
        };
        struct mst__nats_event event = {.kind = MST__NATS_DELIVERY, .object = gate->detail};
        if (!mst__nats_events_post(control->events, &event, pieces, MST__NATS_PIECES))
            mst_log_write(control->log, MST_LOG_WARN, "nats", "message dropped, the loop is behind", "subject", subject,
                          NULL);
    }
    pthread_mutex_unlock(&gate->lock);
    natsMsg_Destroy(message);
}

static void on_echo(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    struct mst__nats_gate *gate = closure;
    (void)connection;
    (void)subscription;
    pthread_mutex_lock(&gate->lock);
    struct mst__nats_control *control = gate->owner;
    const char *subject = natsMsg_GetSubject(message);
    if (control && strlen(subject) > control->inbox_length) {
        pthread_mutex_lock(&control->lock);
        control->echo_heard = strtoull(subject + control->inbox_length, NULL, 16);
        pthread_cond_signal(&control->changed);
        pthread_mutex_unlock(&control->lock);
    }
    pthread_mutex_unlock(&gate->lock);
    natsMsg_Destroy(message);
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct mst__nats_gate *gate = closure;
    (void)connection;
    pthread_mutex_lock(&gate->lock);
    struct mst__nats_control *control = gate->owner;
    if (control) {
        pthread_mutex_lock(&control->lock);
        control->broken = true;
        control->connected = false;
        pthread_cond_signal(&control->changed);
        pthread_mutex_unlock(&control->lock);
    }
    pthread_mutex_unlock(&gate->lock);
    mst__nats_gate_unref(gate);
}

/* ------------------------------------------------------------------------ listeners */

static int subscribe(struct mst__nats_control *control, struct mst__nats_listener *entry, struct mst_error *error)
{
    natsStatus status = entry->queue
                            ? natsConnection_QueueSubscribe(&entry->subscription, control->connection, entry->subject,
                                                            entry->queue, on_message, entry->gate)
                            : natsConnection_Subscribe(&entry->subscription, control->connection, entry->subject,
                                                       on_message, entry->gate);
    if (status != NATS_OK)
        return mst__nats_status(status, error, "NATS: cannot subscribe");
    mst__nats_gate_ref(entry->gate);
    status = natsSubscription_SetOnCompleteCB(entry->subscription, mst__nats_gate_unref, entry->gate);
    /* As for the inbox: where it has ended already its thread may still hold the gate, which is then never freed. */
    return status == NATS_OK ? 0 : mst__nats_status(status, error, "NATS: cannot subscribe");
}

/*
 * A message to ourselves, sent after the subscription, comes back when the server has read both. (The library's flush
 * would do, were it not for saying OK when it could write nothing.)
 */
static int echo(struct mst__nats_control *control, struct mst_error *error)
{
    char subject[sizeof control->inbox + 20];
    uint64_t until = mst_clock_monotonic() + ECHO_MS * MST_NS_PER_MS, number = ++control->echo_sent;
    memcpy(subject, control->inbox, control->inbox_length);
    subject[control->inbox_length + mst__nats_put_hex(subject + control->inbox_length, number)] = '\0';
    natsStatus status = natsConnection_Publish(control->connection, subject, NULL, 0);
    pthread_mutex_lock(&control->lock);
    while (status == NATS_OK && control->echo_heard < number && !control->broken && !control->stop &&
           mst_clock_monotonic() < until)
        mst__nats_wait(&control->changed, &control->lock, until);
    bool heard = control->echo_heard >= number;
    pthread_mutex_unlock(&control->lock);
    return heard ? 0 : mst_error_set(error, MST_ENATS, "NATS at %s does not answer", control->label);
}

/* A refused subscription is told by -ERR, before the echo; nats.c keeps the last such text. */
static int confirm(struct mst__nats_control *control, const struct mst__nats_listener *entry, struct mst_error *error)
{
    struct mst_error last;
    int code = echo(control, error);
    if (code < 0 || mst__nats_last_error(control->connection, &last) != MST_EPERMISSION ||
        !strstr(last.message, entry->subject))
        return code;
    *error = last;
    return MST_EPERMISSION;
}

static void unsubscribe(struct mst__nats_listener *entry)
{
    natsSubscription_Destroy(entry->subscription);
    entry->subscription = NULL;
}

static void let_go(struct mst__nats_control *control, struct mst__nats_listener *entry)
{
    struct mst__nats_event gone = {.kind = MST__NATS_GONE, .object = entry};
    unsubscribe(entry);
    mst__nats_gate_shut(entry->gate);
    mst__nats_events_post(control->events, &gone, NULL, 0);
}

/* With the lock, which it lets go meanwhile; so do the others of this kind. */
static void take_arrival(struct mst__nats_control *control)
{
    struct mst__nats_listener *entry = control->arrivals;
    struct mst_error error;
    control->arrivals = entry->next;
    entry->next = control->listeners;
    control->listeners = entry;
    pthread_mutex_unlock(&control->lock);
    int code = subscribe(control, entry, &error);
    if (code == 0)
        code = confirm(control, entry, &error);
    pthread_mutex_lock(&control->lock);
    entry->answer = code;
    if (code < 0) {
        entry->error = error;
        entry->condemned = true;
    }
    /* Or it was given up while it was on its way. */
    if (entry->condemned)
        control->sweep = true;
    entry->answered = true;
    pthread_cond_signal(&control->answered);
}

static void sweep(struct mst__nats_control *control)
{
    struct mst__nats_listener *condemned = NULL;
    control->sweep = false;
    for (struct mst__nats_listener **link = &control->listeners, *entry; (entry = *link) != NULL;) {
        if (!entry->condemned) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        entry->next = condemned;
        condemned = entry;
    }
    pthread_mutex_unlock(&control->lock);
    for (struct mst__nats_listener *entry; (entry = condemned) != NULL;) {
        condemned = entry->next;
        let_go(control, entry);
    }
    pthread_mutex_lock(&control->lock);
}

/* ------------------------------------------------------------------------ messages */

static natsStatus send_with_headers(struct mst__nats_control *control, const struct mst__nats_command *command,
                                    const char *subject, const char *reply, const char *headers, const char *payload)
{
    natsMsg *message = NULL;
    natsStatus status = natsMsg_Create(&message, subject, reply, payload, (int)command->payload);
    for (uint32_t i = 0; status == NATS_OK && i < command->header_count; i++) {
        const char *name = headers, *value = name + strlen(name) + 1;
        headers = value + strlen(value) + 1;
        status = natsMsgHeader_Add(message, name, value);
    }
    if (status == NATS_OK)
        status = natsConnection_PublishMsg(control->connection, message);
    natsMsg_Destroy(message);
    return status;
}

static natsStatus send_command(struct mst__nats_control *control, const struct mst__nats_command *command,
                               const char *bytes)
{
    const char *subject = bytes, *reply = command->reply ? subject + command->subject + 1 : NULL;
    const char *headers = subject + command->subject + 1 + command->reply + 1, *payload = headers + command->headers;
    if (command->header_count)
        return send_with_headers(control, command, subject, reply, headers, payload);
    if (reply)
        return natsConnection_PublishRequest(control->connection, subject, reply, payload, (int)command->payload);
    return natsConnection_Publish(control->connection, subject, payload, (int)command->payload);
}

static void send_messages(struct mst__nats_control *control)
{
    struct mst_buffer waiting = control->commands;
    control->commands = control->sending;
    control->sending = waiting;
    pthread_mutex_unlock(&control->lock);
    bool failed = false;
    for (size_t at = 0; at < waiting.length;) {
        struct mst__nats_command command;
        memcpy(&command, waiting.data + at, sizeof command);
        at += sizeof command;
        if (send_command(control, &command, waiting.data + at) != NATS_OK)
            failed = true;
        at += command.subject + 1 + command.reply + 1 + command.headers + command.payload;
    }
    if (waiting.capacity > KEPT_COMMANDS)
        mst_buffer_deinit(&control->sending);
    mst_buffer_clear(&control->sending);
    if (failed)
        mst_log_write(control->log, MST_LOG_WARN, "nats", "answers could not be published", NULL);
    pthread_mutex_lock(&control->lock);
}

/* ------------------------------------------------------------------------ the thread */

static void tell_down(struct mst__nats_control *control, const struct mst_error *error, const char *message)
{
    struct mst__nats_event down = {.kind = MST__NATS_DOWN, .code = (int16_t)error->code};
    struct mst_span text = {error->message, strlen(error->message)};
    mst_log_write(control->log, MST_LOG_WARN, "nats", message, "error", error->message, NULL);
    mst__nats_events_post(control->events, &down, &text, 1);
}

static void drop_connection(struct mst__nats_control *control)
{
    if (control->gate)
        mst__nats_gate_shut(control->gate);
    for (struct mst__nats_listener *entry = control->listeners; entry; entry = entry->next)
        unsubscribe(entry);
    natsSubscription_Destroy(control->echo);
    control->echo = NULL;
    natsConnection_Destroy(control->connection);
    control->connection = NULL;
    mst__nats_gate_unref(control->gate);
    control->gate = NULL;
}

static int subscribe_echo(struct mst__nats_control *control, struct mst_error *error)
{
    char subject[sizeof control->inbox + 2];
    memcpy(subject, control->inbox, control->inbox_length);
    memcpy(subject + control->inbox_length, ">", 2);
    natsStatus status = natsConnection_Subscribe(&control->echo, control->connection, subject, on_echo, control->gate);
    if (status == NATS_OK) {
        mst__nats_gate_ref(control->gate);
        status = natsSubscription_SetOnCompleteCB(control->echo, mst__nats_gate_unref, control->gate);
    }
    return status == NATS_OK ? 0 : mst__nats_status(status, error, "NATS: cannot subscribe");
}

static int open_connection(struct mst__nats_control *control, struct mst_error *error)
{
    control->gate = mst__nats_gate_create(control, NULL);
    if (!control->gate)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    int code =
        mst__nats_connect(&control->connection, control->options, control->label, on_closed, control->gate, error);
    if (code == 0)
        code = subscribe_echo(control, error);
    for (struct mst__nats_listener *entry = control->listeners; code == 0 && entry; entry = entry->next)
        code = subscribe(control, entry, error);
    return code < 0 ? code : echo(control, error);
}

static void connect_control(struct mst__nats_control *control)
{
    struct mst_error error;
    control->broken = false;
    pthread_mutex_unlock(&control->lock);
    int code = open_connection(control, &error);
    if (code < 0) {
        drop_connection(control);
        tell_down(control, &error, "control cannot connect");
        pthread_mutex_lock(&control->lock);
        return;
    }
    size_t max_payload = (size_t)natsConnection_GetMaxPayload(control->connection);
    mst_log_write(control->log, MST_LOG_INFO, "nats", "control connected", "servers", control->label, NULL);
    pthread_mutex_lock(&control->lock);
    control->max_payload = max_payload;
    control->connected = !control->broken;
    struct mst__nats_event up = {.kind = MST__NATS_UP};
    mst__nats_events_post(control->events, &up, NULL, 0);
}

static void lose_connection(struct mst__nats_control *control)
{
    struct mst_error error;
    pthread_mutex_unlock(&control->lock);
    if (mst__nats_last_error(control->connection, &error) == 0)
        mst_error_set(&error, MST_ENATS, "NATS: the connection was closed");
    tell_down(control, &error, "control connection lost");
    drop_connection(control);
    pthread_mutex_lock(&control->lock);
}

/* Nothing can be said to be in force now, nor published: old answers are worth nothing after a reconnect. */
static void refuse_arrivals(struct mst__nats_control *control)
{
    mst_buffer_clear(&control->commands);
    for (struct mst__nats_listener *entry; (entry = control->arrivals) != NULL;) {
        control->arrivals = entry->next;
        entry->next = control->listeners;
        control->listeners = entry;
        entry->condemned = control->sweep = entry->answered = true;
        entry->answer = mst_error_set(&entry->error, MST_ENATS, "NATS at %s is not connected", control->label);
        pthread_cond_signal(&control->answered);
    }
}

static void wait_disconnected(struct mst__nats_control *control)
{
    uint64_t until = mst_clock_monotonic() + mst__nats_backoff_next(&control->backoff);
    while (!control->stop && mst_clock_monotonic() < until) {
        refuse_arrivals(control);
        if (control->sweep)
            sweep(control);
        else
            mst__nats_wait(&control->changed, &control->lock, until);
    }
}

static void step(struct mst__nats_control *control)
{
    if (control->broken)
        lose_connection(control);
    else if (control->sweep)
        sweep(control);
    else if (control->arrivals)
        take_arrival(control);
    else if (control->commands.length)
        send_messages(control);
    else
        mst__nats_wait(&control->changed, &control->lock, UINT64_MAX);
}

static void *run(void *owner)
{
    enum { SETTLED_SECONDS = 2 };
    struct mst__nats_control *control = owner;
    struct mst__nats_event stopped = {.kind = MST__NATS_STOPPED};
    uint64_t since = 0;
    pthread_mutex_lock(&control->lock);
    while (!control->stop) {
        if (control->connection) {
            step(control);
            continue;
        }
        if (since && mst_clock_monotonic() - since > SETTLED_SECONDS * MST_NS_PER_SECOND)
            mst__nats_backoff_reset(&control->backoff);
        if (since)
            wait_disconnected(control);
        if (!control->stop)
            connect_control(control);
        since = mst_clock_monotonic();
    }
    /* What was accepted before the closing still goes out. */
    if (control->connection && !control->broken && control->commands.length)
        send_messages(control);
    control->connected = false;
    refuse_arrivals(control);
    for (struct mst__nats_listener *entry = control->listeners; entry; entry = entry->next)
        entry->condemned = true;
    pthread_mutex_unlock(&control->lock);
    drop_connection(control);
    pthread_mutex_lock(&control->lock);
    sweep(control);
    pthread_mutex_unlock(&control->lock);
    nats_ReleaseThreadMemory();
    mst__nats_events_post(control->events, &stopped, NULL, 0);
    return NULL;
}

/* ------------------------------------------------------------------------ beginning and end */

int mst__nats_control_start(struct mst__nats_control *control)
{
    int code = mst__nats_inbox(control->inbox, &control->inbox_length);
    if (code < 0)
        goto fail;
    code = MST_ENOMEM;
    control->patience = PATIENCE_MS * MST_NS_PER_MS;
    mst__nats_backoff_init(&control->backoff);
    /* Each message goes out at once, without the library's millisecond; one delivery thread for all listeners. */
    if (natsOptions_SetSendAsap(control->options, true) != NATS_OK ||
        natsOptions_UseGlobalMessageDelivery(control->options, true) != NATS_OK ||
        natsOptions_SetWriteDeadline(control->options, WRITE_DEADLINE_MS) != NATS_OK)
        goto fail;
    if (pthread_mutex_init(&control->lock, NULL) != 0)
        goto fail;
    if ((code = mst__nats_condition_init(&control->changed)) < 0)
        goto fail_lock;
    if ((code = mst__nats_condition_init(&control->answered)) < 0)
        goto fail_changed;
    if ((code = mst__nats_thread_start(&control->thread, run, control)) == 0)
        return 0;
    pthread_cond_destroy(&control->answered);
fail_changed:
    pthread_cond_destroy(&control->changed);
fail_lock:
    pthread_mutex_destroy(&control->lock);
fail:
    natsOptions_Destroy(control->options);
    return code;
}

void mst__nats_control_stop(struct mst__nats_control *control)
{
    pthread_mutex_lock(&control->lock);
    control->stop = true;
    pthread_cond_signal(&control->changed);
    pthread_mutex_unlock(&control->lock);
}

void mst__nats_control_finish(struct mst__nats_control *control)
{
    pthread_join(control->thread, NULL);
    pthread_cond_destroy(&control->answered);
    pthread_cond_destroy(&control->changed);
    pthread_mutex_destroy(&control->lock);
    mst_buffer_deinit(&control->commands);
    mst_buffer_deinit(&control->sending);
    natsOptions_Destroy(control->options);
}
