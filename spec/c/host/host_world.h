// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A host with a loop of its own for tests, and answers that are waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "host/client.h"
#include "host/host.h"

/* Not strndup, which sanitizers want to see the end of the text of. */
static inline char *copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

struct reply {
    unsigned count;
    int status;
    char *json;
};

static inline void on_reply(void *context, int status, const char *json, size_t length)
{
    struct reply *reply = context;
    reply->count++;
    reply->status = status;
    free(reply->json);
    reply->json = copy_text(json, length);
}

static inline void reply_clear(struct reply *reply)
{
    free(reply->json);
    *reply = (struct reply){0};
}

static inline void end_step(struct mst_timer *timer, void *over)
{
    (void)timer;
    *(bool *)over = true;
}

/* Runs the loop for so long. */
static inline void step_for(struct mst_host *host, unsigned milliseconds)
{
    bool over = false;
    struct mst_timer timer = {.fire = end_step, .owner = &over};
    mst_timers_set(&host->loop.timers, &timer, mst_clock_monotonic() + milliseconds * MST_NS_PER_MS);
    mst__host_run_until(host, &over);
}

static inline struct mst_host *host_start(const struct mst_host_options *given)
{
    struct mst_host_options options = given ? *given : (struct mst_host_options){0};
    struct reply ready = {0};
    if (!options.log_level)
        options.log_level = "off";
    struct mst_host *host = mst_host_open(&options, NULL, on_reply, &ready);
    assert_non_null(host);
    for (int i = 0; i < 10000 && !ready.count; i++)
        step_for(host, 1);
    if (ready.status || !ready.count)
        fail_msg("host: %s", ready.json ? ready.json : "not ready");
    reply_clear(&ready);
    return host;
}

/* Runs the loop until `*flag`; fails after ten seconds. */
static inline void wait_flag(struct mst_host *host, const bool *flag)
{
    uint64_t until = mst_clock_monotonic() + 10 * MST_NS_PER_SECOND;
    while (!*flag && mst_clock_monotonic() < until)
        step_for(host, 1);
    assert_true(*flag);
}

static inline void wait_count(struct mst_host *host, const unsigned *count, unsigned wanted)
{
    uint64_t until = mst_clock_monotonic() + 10 * MST_NS_PER_SECOND;
    while (*count < wanted && mst_clock_monotonic() < until)
        step_for(host, 1);
    assert_int_equal(*count, wanted);
}

static inline void host_do(struct mst_host *host, const char *verb, const char *body)
{
    struct reply reply = {0};
    mst_host_call(host, verb, "default", body, strlen(body), on_reply, &reply);
    wait_count(host, &reply.count, 1);
    if (reply.status)
        fail_msg("%s: %s", verb, reply.json);
    reply_clear(&reply);
}

/* Identities of nearly 16 KiB each, so that 60 fit into a message of 1 MiB and 80 do not. */
static inline void put_long_identities(struct mst_host *host, unsigned count)
{
    char *body = malloc(16100);
    for (unsigned i = 0; i < count; i++) {
        int length = snprintf(body, 100, "{\"id\":\"long-%u\",\"metadata\":{\"text\":\"", i);
        memset(body + length, 'x', 15900);
        strcpy(body + length + 15900, "\"}}");
        host_do(host, "register", body);
    }
    free(body);
}

/* Calls through a client whose loop is the host's, and waits. */
static inline int client_do(struct mst_host *host, struct mst_client *client, const char *verb, const char *body,
                            struct reply *reply)
{
    reply_clear(reply);
    mst_client_call(client, verb, "default", body, strlen(body), on_reply, reply);
    assert_int_equal(reply->count, 0);
    wait_count(host, &reply->count, 1);
    return reply->status;
}

static inline void set_flag(void *flag)
{
    *(bool *)flag = true;
}

/* Clients on the loop of a host, which has no end before they are closed. */
static unsigned clients_open;

static inline struct mst_client *client_started(struct mst_client *client)
{
    assert_non_null(client);
    clients_open++;
    return client;
}

static inline void client_stop(struct mst_host *host, struct mst_client *client)
{
    bool closed = false;
    mst_client_close(client, set_flag, &closed);
    assert_false(closed);
    wait_flag(host, &closed);
    clients_open--;
}

/* For teardown. A test that failed with a client open is not worth waiting for; its host is let lie. */
static inline void host_end(struct mst_host *host)
{
    if (!clients_open)
        mst_host_free(host);
    clients_open = 0;
}

/* What a receiver got; acknowledges each message with `text`. */
struct inbox {
    struct mst_client *client;
    struct mst_host *host; /* where `client` is NULL */
    const char *text;      /* NULL: does not acknowledge */
    unsigned count, armed;
    int armed_status;
    char *armed_json;
    char payload[300], subject[300];
};

static inline void on_inbox(void *context, const struct mst_message *message)
{
    struct inbox *inbox = context;
    inbox->count++;
    snprintf(inbox->payload, sizeof inbox->payload, "%.*s", (int)message->payload_length, message->payload);
    snprintf(inbox->subject, sizeof inbox->subject, "%.*s", (int)message->subject_length, message->subject);
    if (!inbox->text || !message->reply_length)
        return;
    struct mst_span reply = {message->reply, message->reply_length}, text = {inbox->text, strlen(inbox->text)};
    if (inbox->client)
        assert_int_equal(mst_client_acknowledge(inbox->client, reply, text), 0);
    else
        assert_int_equal(mst_host_acknowledge(inbox->host, reply.data, reply.length, text.data, text.length), 0);
}

static inline void on_armed(void *context, int status, const char *json, size_t length)
{
    struct inbox *inbox = context;
    inbox->armed++;
    inbox->armed_status = status;
    free(inbox->armed_json);
    inbox->armed_json = copy_text(json, length);
}
