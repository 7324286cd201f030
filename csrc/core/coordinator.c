// SPDX-License-Identifier: Apache-2.0
#include "core/coordinator.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/coordinator_internal.h"
#include "model/identity.h"

#define SPARE_CALLS 1024u
#define SPARE_BYTES 65536u /* a spare call keeps no buffer above this */

static const char no_memory[] = "{\"error\":{\"code\":\"ENOMEM\",\"message\":\"out of memory\"}}";

static const struct mst__verb verbs[] = {
    {"register", true, true, mst__verb_register},
    {"heartbeat", true, false, mst__verb_heartbeat},
    {"get", true, false, mst__verb_get},
    {"enumerate", true, false, mst__verb_enumerate},
    {"count", true, false, mst__verb_count},
    {"multicast", true, false, mst__verb_multicast},
    {"unregister", true, false, mst__verb_unregister},
    {"aggregate", true, false, mst__verb_aggregate},
    {"explain", true, false, mst__verb_explain},
    {"filters", true, false, mst__verb_filters},
    {"prepare", true, false, mst__verb_prepare},
    {"drop", false, false, mst__verb_drop}, /* last, so that it is never suggested */
};

#define VERBS (sizeof verbs / sizeof verbs[0])

const struct mst__verb *mst__verb_find(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

bool mst_coordinator_is_public(const char *verb)
{
    const struct mst__verb *found = mst__verb_find(verb);
    return found && found->public_;
}

void mst__list_init(struct mst__list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void mst__list_push(struct mst__list *list, struct mst__call *call)
{
    call->next = NULL;
    call->link = list->last;
    *list->last = call;
    list->last = &call->next;
}

void mst__list_remove(struct mst__list *list, struct mst__call *call)
{
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    else
        list->last = call->link;
}

static struct mst__call *take_call(struct mst_coordinator *coordinator)
{
    struct mst__call *call = coordinator->spare;
    if (!call) {
        call = calloc(1, sizeof *call);
        if (call)
            call->coordinator = coordinator;
        return call;
    }
    coordinator->spare = call->next;
    coordinator->spare_count--;
    return call;
}

static void free_call(struct mst__call *call)
{
    mst_buffer_deinit(&call->body);
    mst_buffer_deinit(&call->packed);
    mst_buffer_deinit(&call->answer);
    free(call);
}

static void recycle(struct mst_buffer *buffer)
{
    if (buffer->capacity > SPARE_BYTES)
        mst_buffer_deinit(buffer);
    else
        mst_buffer_clear(buffer);
}

static void give_call(struct mst__call *call)
{
    struct mst_coordinator *coordinator = call->coordinator;
    if (coordinator->spare_count == SPARE_CALLS) {
        free_call(call);
        return;
    }
    recycle(&call->body);
    recycle(&call->packed);
    recycle(&call->answer);
    call->space = NULL;
    call->next = coordinator->spare;
    coordinator->spare = call;
    coordinator->spare_count++;
}

static void wait_for(struct mst__call *call)
{
    struct mst_coordinator *coordinator = call->coordinator;
    if (!coordinator->waiting.first)
        mst_timers_set(coordinator->timers, &coordinator->wait_timer, call->deadline);
    mst__list_push(&coordinator->waiting, call);
}

void mst__call_end(struct mst__call *call, int status)
{
    struct mst_coordinator *coordinator = call->coordinator;
    if (status == MST__CALL_WAITS) {
        mst_buffer_clear(&call->answer);
        wait_for(call);
        return;
    }
    if (status < 0) {
        if (call->error.code != status)
            mst_error_set(&call->error, status, "%s", mst_error_text(status));
        mst_buffer_clear(&call->answer);
        mst_json_put_error(&call->answer, &call->error);
        coordinator->errors++;
    } else if (call->answer.failed) {
        status = MST_ENOMEM;
        coordinator->errors++;
    }
    call->status = status;
    if (!coordinator->ended.first)
        mst_timers_set(coordinator->timers, &coordinator->answer_timer, 0);
    mst__list_push(&coordinator->ended, call);
}

/* Moves a call into a space, if there is room; otherwise the call ends. */
static bool enter(struct mst__call *call, struct mst__space *space)
{
    struct mst_coordinator *coordinator = call->coordinator;
    if (call->space == space)
        return true;
    if (space->in_flight >= coordinator->max_in_flight) {
        mst_error_set(&call->error, MST_EBUSY, "%u requests of namespace %s are in flight already",
                      coordinator->max_in_flight, call->namespace_);
        mst__call_end(call, MST_EBUSY);
        return false;
    }
    if (call->space)
        call->space->in_flight--;
    space->in_flight++;
    call->space = space;
    return true;
}

/* True if the call may run in the space now; otherwise it waits or has ended. */
static bool settle(struct mst__call *call, struct mst__space *space)
{
    if (!enter(call, space))
        return false;
    if (space->stage == MST__SPACE_READY)
        return true;
    mst__space_load(space);
    if (space->stage == MST__SPACE_LOADING) {
        wait_for(call);
        return false;
    }
    call->error = space->error;
    mst__call_end(call, call->error.code);
    return false;
}

bool mst__call_need_space(struct mst__call *call)
{
    struct mst_coordinator *coordinator = call->coordinator;
    if (call->space != &coordinator->limbo)
        return true;
    struct mst__space *space = mst__space_make(coordinator, call->namespace_, &call->error);
    if (space)
        return settle(call, space);
    mst__call_end(call, call->error.code);
    return false;
}

static void route(struct mst__call *call)
{
    struct mst_coordinator *coordinator = call->coordinator;
    struct mst__space *space = coordinator->started ? mst__space_find(coordinator, call->namespace_) : NULL;
    if (!space) {
        space = &coordinator->limbo;
        int wait = !coordinator->started;
        if (!wait && !call->verb->creates)
            wait = mst__discover(coordinator, &call->error);
        if (wait < 0) {
            mst__call_end(call, wait);
            return;
        }
        if (wait) {
            if (enter(call, space))
                wait_for(call);
            return;
        }
    }
    if (!settle(call, space))
        return;
    call->now_ms = mst__space_expire(space);
    call->verb->run(call);
}

static int admit(struct mst__call *call, const char *verb, const char *namespace_, const char *body, size_t length)
{
    struct mst_coordinator *coordinator = call->coordinator;
    struct mst_error *error = &call->error;
    if (coordinator->closing)
        return mst_error_set(error, MST_ECLOSED, "the coordinator is shutting down");
    call->verb = mst__verb_find(verb);
    if (!call->verb) {
        mst_error_set(error, MST_EVERB, "unknown verb \"%.64s\"", verb);
        const char *near = mst__suggest(verb, strlen(verb), verbs, sizeof verbs[0], VERBS - 1);
        if (near)
            mst_error_hint(error, "did you mean \"%s\"?", near);
        return MST_EVERB;
    }
    int code = mst_namespace_check(namespace_, strlen(namespace_), error);
    if (code)
        return code;
    memcpy(call->namespace_, namespace_, strlen(namespace_) + 1);
    if (length > coordinator->max_request_bytes)
        return mst_error_set(error, MST_ETOOBIG, "the request has %zu bytes, at most %u are allowed", length,
                             coordinator->max_request_bytes);
    mst_buffer_append(&call->body, body, length);
    return call->body.failed ? mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM)) : 0;
}

void mst_coordinator_call(struct mst_coordinator *coordinator, const char *verb, const char *namespace_,
                          const char *body, size_t length, mst_answer *done, void *context)
{
    coordinator->calls++;
    struct mst__call *call = take_call(coordinator);
    if (!call) {
        /* There is nothing to keep the call in until later; an answer too early is better than none. */
        coordinator->errors++;
        done(context, MST_ENOMEM, no_memory, sizeof no_memory - 1);
        return;
    }
    coordinator->in_flight++;
    call->done = done;
    call->context = context;
    call->error.code = 0;
    call->deadline = mst_clock_monotonic() + coordinator->request_timeout;
    int code = admit(call, verb, namespace_, body, length);
    if (code)
        mst__call_end(call, code);
    else
        route(call);
}

static void reset_wait_timer(struct mst_coordinator *coordinator)
{
    const struct mst__call *first = coordinator->waiting.first;
    mst_timers_set(coordinator->timers, &coordinator->wait_timer, first ? first->deadline : UINT64_MAX);
}

void mst__calls_refuse(struct mst_coordinator *coordinator, const struct mst_error *error)
{
    struct mst__call *call = coordinator->waiting.first;
    mst__list_init(&coordinator->waiting);
    while (call) {
        struct mst__call *next = call->next;
        call->error = *error;
        mst__call_end(call, error->code);
        call = next;
    }
    reset_wait_timer(coordinator);
}

void mst__calls_wake(struct mst_coordinator *coordinator)
{
    struct mst__call *call = coordinator->waiting.first;
    mst__list_init(&coordinator->waiting);
    while (call) {
        struct mst__call *next = call->next;
        route(call);
        call = next;
    }
    reset_wait_timer(coordinator);
}

/* Why a call has waited in vain: the registry is not reachable, or it takes its time. */
static int waited_in_vain(struct mst__call *call)
{
    struct mst_registry *registry = call->coordinator->registry; /* NULL while it is being opened */
    struct mst_error why = {0};
    if (registry && !registry->ops->healthy(registry, &why) && why.code) {
        call->error = why;
        return why.code;
    }
    bool ready = call->space != &call->coordinator->limbo && call->space->stage == MST__SPACE_READY;
    return mst_error_set(&call->error, MST_EDEADLINE,
                         ready ? "the columns of namespace %s are still being filled"
                               : "namespace %s is still being loaded",
                         call->namespace_);
}

static void on_wait_timer(struct mst_timer *timer, void *owner)
{
    struct mst_coordinator *coordinator = owner;
    mst_timers_set(coordinator->timers, timer, UINT64_MAX);
    uint64_t now = mst_clock_monotonic();
    for (struct mst__call *call; (call = coordinator->waiting.first) && call->deadline <= now;) {
        mst__list_remove(&coordinator->waiting, call);
        mst__call_end(call, waited_in_vain(call));
    }
    reset_wait_timer(coordinator);
}

static void deliver(struct mst__call *call)
{
    struct mst_coordinator *coordinator = call->coordinator;
    coordinator->in_flight--;
    if (call->space)
        call->space->in_flight--;
    if (call->answer.failed)
        call->done(call->context, call->status, no_memory, sizeof no_memory - 1);
    else
        call->done(call->context, call->status, call->answer.data, call->answer.length);
    give_call(call);
}

static void stop_timers(struct mst_coordinator *coordinator)
{
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    while (mst_map_next(coordinator->spaces, &position, &key, &length, &value)) {
        struct mst__space *space = (struct mst__space *)(uintptr_t)value;
        mst_timers_cancel(coordinator->timers, &space->timer);
    }
    mst_timers_set(coordinator->timers, &coordinator->grace_timer, UINT64_MAX);
}

static void on_answer_timer(struct mst_timer *timer, void *owner)
{
    struct mst_coordinator *coordinator = owner;
    mst_timers_set(coordinator->timers, timer, UINT64_MAX);
    struct mst__call *call = coordinator->ended.first;
    mst__list_init(&coordinator->ended);
    while (call) {
        struct mst__call *next = call->next;
        deliver(call);
        call = next;
    }
    if (!coordinator->closing || coordinator->drained || coordinator->in_flight)
        return;
    coordinator->drained = true;
    stop_timers(coordinator);
    coordinator->on_drained(coordinator->drained_context);
}

static void on_grace_timer(struct mst_timer *timer, void *owner)
{
    struct mst_coordinator *coordinator = owner;
    mst_timers_set(coordinator->timers, timer, UINT64_MAX);
    mst__multicasts_cancel(coordinator);
}

void mst_coordinator_drain(struct mst_coordinator *coordinator, uint64_t grace, void (*drained)(void *context),
                           void *context)
{
    coordinator->closing = true;
    coordinator->on_drained = drained;
    coordinator->drained_context = context;
    struct mst_error error;
    mst_error_set(&error, MST_ECLOSED, "the coordinator is shutting down");
    mst__calls_refuse(coordinator, &error);
    mst_timers_set(coordinator->timers, &coordinator->grace_timer, mst_clock_monotonic() + grace);
    mst_timers_set(coordinator->timers, &coordinator->answer_timer, 0);
}

static int create_parts(struct mst_coordinator *coordinator)
{
    struct mst_timers *timers = coordinator->timers;
    coordinator->parser = mst_json_parser_create();
    coordinator->spaces = mst_map_create();
    if (!coordinator->prefix || !coordinator->parser || !coordinator->spaces ||
        mst__filter_cache_init(&coordinator->filters) < 0)
        return MST_ENOMEM;
    struct mst__space *limbo = &coordinator->limbo;
    limbo->coordinator = coordinator;
    limbo->stage = MST__SPACE_READY;
    limbo->view = mst_view_create("limbo", coordinator->parser);
    if (!limbo->view)
        return MST_ENOMEM;
    coordinator->answer_timer = (struct mst_timer){.fire = on_answer_timer, .owner = coordinator};
    coordinator->wait_timer = (struct mst_timer){.fire = on_wait_timer, .owner = coordinator};
    coordinator->grace_timer = (struct mst_timer){.fire = on_grace_timer, .owner = coordinator};
    if (mst_timers_set(timers, &coordinator->answer_timer, UINT64_MAX) < 0 ||
        mst_timers_set(timers, &coordinator->wait_timer, UINT64_MAX) < 0)
        return MST_ENOMEM;
    return mst_timers_set(timers, &coordinator->grace_timer, UINT64_MAX);
}

struct mst_coordinator *mst_coordinator_create(const struct mst_coordinator_options *options)
{
    struct mst_coordinator *coordinator = calloc(1, sizeof *coordinator);
    if (!coordinator)
        return NULL;
    coordinator->timers = options->timers;
    coordinator->log = options->log;
    coordinator->compiler = options->compiler;
    coordinator->prefix = strdup(options->prefix ? options->prefix : "muster");
    coordinator->max_identities = options->max_identities ? options->max_identities : 1000000;
    coordinator->max_in_flight = options->max_in_flight ? options->max_in_flight : 1000;
    coordinator->max_request_bytes = options->max_request_bytes ? options->max_request_bytes : 1u << 20;
    coordinator->max_namespaces = options->max_namespaces ? options->max_namespaces : 10000;
    coordinator->request_timeout = options->request_timeout ? options->request_timeout : 5 * MST_NS_PER_SECOND;
    mst__list_init(&coordinator->waiting);
    mst__list_init(&coordinator->ended);
    mst__list_init(&coordinator->multicasts);
    if (create_parts(coordinator) == 0)
        return coordinator;
    mst_coordinator_destroy(coordinator);
    return NULL;
}

void mst_coordinator_set_slots(struct mst_coordinator *coordinator, struct mst_registry *registry,
                               struct mst_messaging *messaging)
{
    coordinator->registry = registry;
    coordinator->messaging = messaging;
    /* Without memory there is no fan-out, and every multicast says so. */
    coordinator->fanout =
        mst_fanout_create(messaging, coordinator->timers, coordinator->log, coordinator->parser, coordinator->prefix);
}

static void destroy_spaces(struct mst_coordinator *coordinator)
{
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    while (coordinator->spaces && mst_map_next(coordinator->spaces, &position, &key, &length, &value))
        mst__space_destroy((struct mst__space *)(uintptr_t)value);
    mst_map_destroy(coordinator->spaces);
    if (coordinator->limbo.view)
        mst_view_destroy(coordinator->limbo.view);
}

static void free_calls(struct mst__call *call)
{
    while (call) {
        struct mst__call *next = call->next;
        free_call(call);
        call = next;
    }
}

void mst_coordinator_destroy(struct mst_coordinator *coordinator)
{
    if (!coordinator)
        return;
    if (coordinator->fanout)
        mst_fanout_destroy(coordinator->fanout);
    mst_timers_cancel(coordinator->timers, &coordinator->answer_timer);
    mst_timers_cancel(coordinator->timers, &coordinator->wait_timer);
    mst_timers_cancel(coordinator->timers, &coordinator->grace_timer);
    destroy_spaces(coordinator);
    mst__filter_cache_deinit(&coordinator->filters);
    if (coordinator->parser)
        mst_json_parser_destroy(coordinator->parser);
    mst_rowset_deinit(&coordinator->matched);
    mst_buffer_deinit(&coordinator->document);
    mst_buffer_deinit(&coordinator->finals);
    free_calls(coordinator->spare);
    free_calls(coordinator->ended.first);
    free(coordinator->prefix);
    free(coordinator);
}

struct mst_view *mst_coordinator_view(void *coordinator, const char *namespace_)
{
    struct mst__space *space = mst__space_make(coordinator, namespace_, NULL);
    return space ? space->view : NULL;
}

void mst_coordinator_forget_filters(struct mst_coordinator *coordinator)
{
    mst__filter_cache_clear(&coordinator->filters);
}

void mst_coordinator_stats(const struct mst_coordinator *coordinator, struct mst_coordinator_stats *stats)
{
    *stats = (struct mst_coordinator_stats){
        .calls = coordinator->calls,
        .errors = coordinator->errors,
        .filter_hits = coordinator->filters.hits,
        .filter_misses = coordinator->filters.misses,
        .filter_evictions = coordinator->filters.evictions,
        .filter_bytes = coordinator->filters.cost,
        .filters = coordinator->filters.count,
        .in_flight = coordinator->in_flight,
        .namespaces = (uint32_t)mst_map_count(coordinator->spaces),
    };
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    while (mst_map_next(coordinator->spaces, &position, &key, &length, &value))
        stats->identities += mst_view_count(((const struct mst__space *)(uintptr_t)value)->view);
}

const struct mst_fanout_stats *mst_coordinator_fanout_stats(const struct mst_coordinator *coordinator)
{
    static const struct mst_fanout_stats none;
    return coordinator->fanout ? mst_fanout_stats(coordinator->fanout) : &none;
}

void mst_coordinator_observe(struct mst_coordinator *coordinator,
                             void (*observe)(void *context, void *call, const struct mst_multicast *multicast),
                             void *context)
{
    coordinator->observe = observe;
    coordinator->observe_context = context;
}
