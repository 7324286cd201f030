// SPDX-License-Identifier: Apache-2.0
#include "host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/messaging_memory.h"
#include "core/registry_memory.h"
#include "host/control_server.h"
#include "host/service.h"
#include "io/nats_messaging.h"
#include "io/redis_registry.h"
#include "model/identity.h"

#define DRAIN_GRACE (2 * MST_NS_PER_SECOND)

const char *mst_status_name(int status)
{
    return mst_error_name(status);
}

const char *mst_status_class(int status)
{
    return mst_error_class(status);
}

const char *mst_version(void)
{
    return MST_VERSION;
}

/* Ready: registry, then messaging, then the coordinator's snapshot; the first failure ends the chain. */

static void tell_ready(struct mst_timer *timer, void *owner)
{
    (void)timer;
    struct mst_host *host = owner;
    struct mst_buffer json = {0};
    if (host->ready_status)
        mst_json_put_error(&json, &host->ready_error);
    else
        mst_buffer_append_string(&json, "{}");
    if (host->ready)
        host->ready(host->ready_context, host->ready_status, json.data, json.length);
    mst_buffer_deinit(&json);
}

static void finish_ready(struct mst_host *host, int status, const struct mst_error *error)
{
    host->ready_status = status;
    if (error)
        host->ready_error = *error;
    host->ready_error.code = status;
    mst_timers_set(&host->loop.timers, &host->ready_timer, 0);
}

static void coordinator_ready(void *context, int status, const struct mst_error *error)
{
    finish_ready(context, status, error);
}

static void start_coordinator(struct mst_host *host)
{
    mst_coordinator_set_slots(host->coordinator, host->registry, host->messaging);
    mst_coordinator_start(host->coordinator, coordinator_ready, host);
}

static void nats_ready(void *context, int status, const struct mst_error *error)
{
    struct mst_host *host = context;
    if (status)
        finish_ready(host, status, error);
    else if (!host->closing)
        start_coordinator(host);
}

static void start_messaging(struct mst_host *host, const struct mst_nats_options *options)
{
    if (options->servers) {
        host->messaging = mst_nats_messaging_open(&host->loop, host->log, options, nats_ready, host);
        if (!host->messaging)
            finish_ready(host, MST_ENOMEM, NULL);
        return;
    }
    host->messaging = mst_messaging_memory_create(&host->loop.timers, 0);
    if (host->messaging)
        start_coordinator(host);
    else
        finish_ready(host, MST_ENOMEM, NULL);
}

/* What has to survive until Redis is there. */
struct pending_nats {
    struct mst_host *host;
    struct mst_nats_options options;
    char *strings;
};

static void free_pending(struct pending_nats *pending)
{
    free(pending->strings);
    free(pending);
}

static void redis_ready(void *context, int status, const struct mst_error *error)
{
    struct pending_nats *pending = context;
    struct mst_host *host = pending->host;
    if (status)
        finish_ready(host, status, error);
    else if (!host->closing)
        start_messaging(host, &pending->options);
    free_pending(pending);
}

static const char *copy_into(char **cursor, const char *text)
{
    if (!text)
        return NULL;
    char *at = *cursor;
    size_t length = strlen(text) + 1;
    memcpy(at, text, length);
    *cursor += length;
    return at;
}

static struct pending_nats *keep_nats_options(struct mst_host *host, const struct mst_host_options *given)
{
    const char *texts[] = {given->nats_servers,          given->nats_user,      given->nats_password, given->nats_token,
                           given->nats_credentials_file, given->nats_nkey_file, given->nats_ca_file};
    const char *copies[sizeof texts / sizeof *texts];
    size_t room = 1;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        room += texts[i] ? strlen(texts[i]) + 1 : 0;
    struct pending_nats *pending = calloc(1, sizeof *pending);
    if (!pending || !(pending->strings = malloc(room))) {
        free(pending);
        return NULL;
    }
    char *cursor = pending->strings;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        copies[i] = copy_into(&cursor, texts[i]);
    pending->host = host;
    pending->options = (struct mst_nats_options){.servers = copies[0],
                                                 .user = copies[1],
                                                 .password = copies[2],
                                                 .token = copies[3],
                                                 .credentials_file = copies[4],
                                                 .nkey_file = copies[5],
                                                 .ca_file = copies[6],
                                                 .name = "muster"};
    return pending;
}

static int start_slots(struct mst_host *host, const struct mst_host_options *options)
{
    struct pending_nats *pending = keep_nats_options(host, options);
    if (!pending)
        return MST_ENOMEM;
    if (options->redis_host) {
        struct mst_redis_options redis = {.host = options->redis_host,
                                          .port = options->redis_port ? options->redis_port : 6379,
                                          .database = options->redis_database,
                                          .user = options->redis_user,
                                          .password = options->redis_password,
                                          .prefix = host->prefix};
        host->registry = mst_redis_registry_open(&host->loop, host->log, &redis, redis_ready, pending);
        if (host->registry)
            return 0;
        free_pending(pending);
        return MST_ENOMEM;
    }
    host->registry = mst_registry_memory_create(&host->loop.timers, mst_coordinator_view, host->coordinator);
    if (host->registry)
        start_messaging(host, &pending->options);
    free_pending(pending);
    return host->registry ? 0 : MST_ENOMEM;
}

static int init_parts(struct mst_host *host, const struct mst_host_options *options, enum mst_log_level level)
{
    struct mst_error error;
    host->log = mst_log_create(level, options->log_json);
    host->parser = mst_json_parser_create();
    if (!host->log || !host->parser || mst_script_compiler_create(&host->compiler, &error)) {
        if (host->log)
            mst_log_write(host->log, MST_LOG_ERROR, "host", "cannot start", "error", error.message, NULL);
        return MST_ENOMEM;
    }
    struct mst_coordinator_options coordinator = {.timers = &host->loop.timers,
                                                  .log = host->log,
                                                  .compiler = mst_script_compiler_slot(host->compiler),
                                                  .prefix = host->prefix,
                                                  .max_identities = options->max_identities};
    host->coordinator = mst_coordinator_create(&coordinator);
    return host->coordinator ? 0 : MST_ENOMEM;
}

int mst_host_load_filters(struct mst_host *host, const char *folder, char *why, size_t why_size)
{
    struct mst_error error = {0};
    int code = mst_script_compiler_load(host->compiler, folder, &error);
    if (code == 0)
        mst_coordinator_forget_filters(host->coordinator);
    if (why && why_size)
        snprintf(why, why_size, "%s%s%s", code ? error.message : "", error.hint[0] ? "; " : "", error.hint);
    return code;
}

/* Starts what the options ask for; a wrong file among the filters is told like a Redis that is not there. */
static int start_parts(struct mst_host *host, const struct mst_host_options *options)
{
    struct mst_error error = {0};
    if (!options->filters)
        return start_slots(host, options);
    int code = mst_script_compiler_load(host->compiler, options->filters, &error);
    if (code == 0)
        return start_slots(host, options);
    finish_ready(host, code, &error);
    return 0;
}

static void free_parts(struct mst_host *host)
{
    if (host->coordinator)
        mst_coordinator_destroy(host->coordinator);
    mst_script_compiler_destroy(host->compiler);
    if (host->parser)
        mst_json_parser_destroy(host->parser);
    if (host->log)
        mst_log_destroy(host->log);
    free(host->prefix);
}

static void free_host(struct mst_host *host)
{
    free_parts(host);
    mst_loop_deinit(&host->loop);
    free(host);
}

struct mst_host *mst_host_open(const struct mst_host_options *options, struct uv_loop_s *loop, mst_answer_cb *ready,
                               void *context)
{
    const char *prefix = options->prefix ? options->prefix : "muster";
    int level = mst_log_level_parse(options->log_level ? options->log_level : "warn");
    if (level < 0 || mst_prefix_check(prefix, strlen(prefix), NULL))
        return NULL;
    struct mst_host *host = calloc(1, sizeof *host);
    if (!host)
        return NULL;
    if (mst_loop_init(&host->loop, loop)) {
        free(host);
        return NULL;
    }
    host->ready = ready;
    host->ready_context = context;
    host->ready_timer = (struct mst_timer){.fire = tell_ready, .owner = host};
    host->prefix = strdup(prefix);
    if (!host->prefix || init_parts(host, options, (enum mst_log_level)level) || start_parts(host, options)) {
        free_host(host);
        return NULL;
    }
    mst_loop_sync(&host->loop);
    return host;
}

void mst_host_call(struct mst_host *host, const char *verb, const char *namespace_, const char *body, size_t length,
                   mst_answer_cb *done, void *context)
{
    mst_coordinator_call(host->coordinator, verb, namespace_, body, length, done, context);
    mst_loop_sync(&host->loop);
}

void mst_host_run(struct mst_host *host)
{
    host->stop = false;
    mst_loop_run(&host->loop, &host->stop);
}

void mst__host_run_until(struct mst_host *host, const bool *stop)
{
    mst_loop_run(&host->loop, stop);
}

static void step_over(struct mst_timer *timer, void *owner)
{
    (void)timer;
    *(bool *)owner = true;
}

void mst_host_step(struct mst_host *host, unsigned milliseconds)
{
    bool over = false;
    struct mst_timer timer = {.fire = step_over, .owner = &over};
    mst_timers_set(&host->loop.timers, &timer, mst_clock_monotonic() + milliseconds * MST_NS_PER_MS);
    mst_loop_turn(&host->loop);
    mst_timers_cancel(&host->loop.timers, &timer);
}

void mst_host_stop(struct mst_host *host)
{
    host->stop = true;
    uv_stop(host->loop.uv);
}

/* Closing */

static void loop_closed(struct mst_loop *loop)
{
    struct mst_host *host = (struct mst_host *)((char *)loop - offsetof(struct mst_host, loop));
    void (*closed)(void *context) = host->closed;
    void *context = host->closed_context;
    free(host);
    if (closed)
        closed(context);
}

static void tell_closed(struct mst_timer *timer, void *owner)
{
    (void)timer;
    struct mst_host *host = owner;
    host->finished = true;
    if (host->loop.owned)
        return; /* mst_host_free goes on from here, outside the loop */
    free_parts(host);
    mst_loop_close(&host->loop, loop_closed);
}

static void slot_closed(void *context)
{
    struct mst_host *host = context;
    if (--host->closing_slots == 0)
        mst_timers_set(&host->loop.timers, &host->closed_timer, 0);
}

static void close_slots(void *context)
{
    struct mst_host *host = context;
    if (host->service)
        mst_service_destroy(host->service);
    if (host->control)
        mst_control_server_destroy(host->control);
    while (host->receivers)
        mst_receiver_close(host->receivers);
    host->closing_slots = 1 + (host->registry != NULL) + (host->messaging != NULL);
    if (host->messaging)
        host->messaging->ops->close(host->messaging, slot_closed, host);
    if (host->registry)
        host->registry->ops->close(host->registry, slot_closed, host);
    slot_closed(host);
}

void mst_host_close(struct mst_host *host, void (*closed)(void *context), void *context)
{
    host->closing = true;
    host->closed = closed;
    host->closed_context = context;
    host->closed_timer = (struct mst_timer){.fire = tell_closed, .owner = host};
    mst_timers_cancel(&host->loop.timers, &host->ready_timer);
    if (host->control)
        mst_control_server_refuse(host->control);
    if (host->service)
        mst_service_refuse(host->service);
    mst_coordinator_drain(host->coordinator, DRAIN_GRACE, close_slots, host);
    mst_loop_sync(&host->loop);
}

void mst_host_free(struct mst_host *host)
{
    if (!host)
        return;
    mst_host_close(host, NULL, NULL);
    mst_loop_run(&host->loop, &host->finished);
    free_host(host);
}
