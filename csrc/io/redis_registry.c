// SPDX-License-Identifier: Apache-2.0
#include "io/redis_registry.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io/redis_internal.h"

#define TICK MST_NS_PER_SECOND
#define CLOCK_TICKS 2
#define SWEEP_TICKS 15

static void close_now(struct mst__redis *registry);

/* ---- links ---- */

void mst__redis_opened(struct mst__redis *registry, int status, const struct mst_error *error)
{
    void (*ready)(void *, int, const struct mst_error *) = registry->ready;
    registry->ready = NULL;
    if (ready != NULL)
        ready(registry->ready_context, status, error);
}

static void on_write_up(struct mst__redis_link *link)
{
    struct mst__redis *registry = link->owner;
    /* The server may be another one, or the same with less in it. */
    for (struct mst__redis_space *space = registry->spaces; space != NULL; space = space->next) {
        space->state = MST__SPACE_DETACHED;
        space->listed = false;
        space->pause_until = 0;
        space->wanted |= space->epoch[0] != '\0' && space->memo_count > 0;
    }
    mst__redis_check(registry);
}

static void on_write_down(struct mst__redis_link *link, const struct mst_error *error)
{
    struct mst__redis *registry = link->owner;
    registry->serving = registry->loading = false;
    registry->own_at = 0;
    registry->why = *error;
    mst_timers_cancel(&registry->loop->timers, &registry->check_timer);
    for (struct mst__redis_space *space = registry->spaces; space != NULL; space = space->next)
        space->state = MST__SPACE_DETACHED;
    /* Whoever starts wants to know that there is no Redis; in which way is in the text. */
    struct mst_error unreachable = *error;
    unreachable.code = MST_EREDIS;
    mst__redis_opened(registry, MST_EREDIS, &unreachable);
    uv_async_send(&registry->wake);
}

static void on_feed_up(struct mst__redis_link *link)
{
    mst__redis_feed_up(link->owner);
}

static void on_feed_down(struct mst__redis_link *link, const struct mst_error *error)
{
    struct mst__redis *registry = link->owner;
    (void)error;
    registry->feed_busy = false;
    registry->feed_client[0] = '\0';
}

static void on_bulk_up(struct mst__redis_link *link)
{
    struct mst__redis *registry = link->owner;
    registry->bulk_failed = false;
    mst__redis_follow_kick(registry);
    uv_async_send(&registry->wake);
}

static void on_bulk_down(struct mst__redis_link *link, const struct mst_error *error)
{
    struct mst__redis *registry = link->owner;
    (void)error;
    registry->bulk_failed = true;
    uv_async_send(&registry->wake);
}

/* ---- timers and handles ---- */

static void on_check(struct mst_timer *timer, void *owner)
{
    (void)timer;
    mst__redis_check(owner);
}

static void on_nudge(struct mst_timer *timer, void *owner)
{
    (void)timer;
    (void)owner;
}

static void sweep(struct mst__redis *registry)
{
    for (struct mst__redis_space *space = registry->spaces; space != NULL; space = space->next)
        if (space->tombstones && space->state == MST__SPACE_ATTACHED) {
            struct mst_span none = {"", 0};
            mst__redis_reap(&registry->base, space->name, &none, 1);
        }
}

static void on_tick(struct mst_timer *timer, void *owner)
{
    struct mst__redis *registry = owner;
    mst_timers_set(&registry->loop->timers, timer, mst_clock_monotonic() + TICK);
    registry->ticks++;
    if (!registry->serving) {
        /* A check that could not go on (for want of memory, say) begins again. */
        if (mst__redis_link_ready(&registry->write) && registry->write.count == 0 && registry->check_timer.slot == 0)
            mst__redis_check(registry);
        return;
    }
    if (registry->ticks % CLOCK_TICKS == 0)
        mst__redis_read_clock(registry);
    mst__redis_follow_look(registry);
    for (struct mst__redis_space *space = registry->spaces; registry->expire_s != 0 && space != NULL;
         space = space->next)
        if (space->state == MST__SPACE_ATTACHED && strcmp(space->name, registry->expire_name) == 0)
            mst__redis_space_expire(space);
    if (!registry->feed_busy && registry->feed_timer.slot == 0)
        mst__redis_feed_kick(registry, false);
    if (registry->ticks % SWEEP_TICKS == 0)
        sweep(registry);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct mst__redis *registry = handle->data;
    mst__redis_follow_kick(registry);
    mst__redis_write_flush(registry);
    mst__redis_link_flush(&registry->write);
    mst__redis_link_flush(&registry->feed);
    mst__redis_link_flush(&registry->bulk);
}

static void refuse_follows(struct mst__redis *registry)
{
    struct mst_registry_follow *follow;
    struct mst_error error;
    int code = registry->closing ? MST_ECLOSED : MST_ENOMEM;
    mst_error_set(&error, code, "%s", mst_error_text(code));
    while ((follow = registry->refused_follows) != NULL) {
        registry->refused_follows = follow->slot_state;
        follow->ready(follow, code, 0, &error);
    }
}

static void on_wake(uv_async_t *handle)
{
    struct mst__redis *registry = handle->data;
    mst__redis_write_refused(registry);
    refuse_follows(registry);
    mst__redis_drop_run(registry);
    if (registry->closing)
        close_now(registry);
}

/* ---- close ---- */

static void destroy(struct mst__redis *registry)
{
    for (struct mst__redis_follow *follow = registry->follows, *next; follow != NULL; follow = next) {
        next = follow->next;
        mst_map_destroy(follow->known);
        mst_map_destroy(follow->fresh);
        free(follow);
    }
    for (struct mst__redis_space *space = registry->spaces, *next; space != NULL; space = next) {
        next = space->next;
        mst__redis_space_destroy(space);
    }
    mst_map_destroy(registry->space_of);
    free(registry->spare_batch);
    free(registry->strings);
    free(registry);
}

static void maybe_destroy(struct mst__redis *registry)
{
    if (registry->links_open > 0 || registry->handles > 0)
        return;
    /* What was asked for after the end had begun. */
    mst__redis_write_refused(registry);
    refuse_follows(registry);
    mst__redis_drop_close(registry);
    void (*closed)(void *) = registry->closed;
    void *context = registry->closed_context;
    destroy(registry);
    closed(context);
}

static void on_link_closed(struct mst__redis_link *link)
{
    struct mst__redis *registry = link->owner;
    registry->links_open--;
    maybe_destroy(registry);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct mst__redis *registry = handle->data;
    registry->handles--;
    maybe_destroy(registry);
}

static void close_now(struct mst__redis *registry)
{
    struct mst_timers *timers = &registry->loop->timers;
    struct mst__redis_link *links[] = {&registry->write, &registry->feed, &registry->bulk};
    mst_timers_cancel(timers, &registry->tick);
    mst_timers_cancel(timers, &registry->check_timer);
    mst_timers_cancel(timers, &registry->nudge);
    mst_timers_cancel(timers, &registry->feed_timer);
    /* First the owners of what is in flight, then the links: their callbacks find nobody to answer. */
    mst__redis_write_close(registry);
    mst__redis_follow_close(registry);
    for (int i = 0; i < 3; i++)
        registry->links_open -= mst__redis_link_close(links[i], on_link_closed);
    mst__redis_write_close(registry);
    mst__redis_write_refused(registry);
    refuse_follows(registry);
    mst__redis_drop_close(registry);
    struct mst_error error;
    mst_error_set(&error, MST_ECLOSED, "the registry is closed");
    mst__redis_opened(registry, MST_ECLOSED, &error);
    mst_timers_cancel(timers, &registry->nudge);
    mst_timers_cancel(timers, &registry->feed_timer);
    uv_close((uv_handle_t *)&registry->wake, on_handle_closed);
    uv_close((uv_handle_t *)&registry->prepare, on_handle_closed);
}

static void redis_close(struct mst_registry *base, void (*closed)(void *context), void *context)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    if (registry->closing)
        return;
    registry->closing = true;
    registry->serving = false;
    registry->closed = closed;
    registry->closed_context = context;
    uv_async_send(&registry->wake);
}

/* ---- the slot ---- */

static int64_t redis_now(struct mst_registry *base)
{
    return mst__redis_now((struct mst__redis *)base);
}

static bool redis_healthy(struct mst_registry *base, struct mst_error *why)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    if (registry->serving)
        return true;
    if (why != NULL)
        *why = registry->why;
    return false;
}

static const struct mst_registry_ops ops = {
    .name = "redis",
    .put = mst__redis_put,
    .renew = mst__redis_renew,
    .remove = mst__redis_remove,
    .follow = mst__redis_follow,
    .namespaces = mst__redis_namespaces,
    .reap = mst__redis_reap,
    .drop = mst__redis_drop,
    .now = redis_now,
    .healthy = redis_healthy,
    .close = redis_close,
};

/* ---- open ---- */

static char *keep(char **at, const char *text)
{
    if (text == NULL)
        return NULL;
    char *copy = *at;
    *at = stpcpy(copy, text) + 1;
    return copy;
}

static size_t length_of(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static bool copy_options(struct mst__redis *registry, const struct mst_redis_options *options)
{
    struct mst_redis_options *own = &registry->options;
    *own = *options;
    if (own->host == NULL)
        own->host = "127.0.0.1";
    if (own->prefix == NULL)
        own->prefix = "muster";
    registry->strings =
        malloc(length_of(own->host) + length_of(own->password) + length_of(own->user) + length_of(own->prefix));
    if (registry->strings == NULL)
        return false;
    char *at = registry->strings;
    own->host = keep(&at, own->host);
    own->password = keep(&at, own->password);
    own->user = keep(&at, own->user);
    own->prefix = keep(&at, own->prefix);
    own->port = own->port != 0 ? own->port : 6379;
    own->connect_timeout = own->connect_timeout != 0 ? own->connect_timeout : 2 * MST_NS_PER_SECOND;
    own->queue_records = own->queue_records != 0 ? own->queue_records : 200000;
    own->queue_bytes = own->queue_bytes != 0 ? own->queue_bytes : UINT64_C(64) << 20;
    own->feed_bytes = own->feed_bytes != 0 ? own->feed_bytes : UINT64_C(64) << 20;
    mst__redis_address(own, registry->address, sizeof registry->address);
    return true;
}

static void set_up_timer(struct mst_timer *timer, void (*fire)(struct mst_timer *, void *), struct mst__redis *registry)
{
    timer->fire = fire;
    timer->owner = registry;
}

static void open_link(struct mst__redis *registry, struct mst__redis_link *link, const char *name,
                      void (*up)(struct mst__redis_link *),
                      void (*down)(struct mst__redis_link *, const struct mst_error *))
{
    link->name = name;
    link->up = up;
    link->down = down;
    link->owner = registry;
    registry->links_open++;
    mst__redis_link_open(link, registry->loop, registry->log, &registry->options);
}

static void start(struct mst__redis *registry)
{
    set_up_timer(&registry->check_timer, on_check, registry);
    set_up_timer(&registry->tick, on_tick, registry);
    set_up_timer(&registry->nudge, on_nudge, registry);
    set_up_timer(&registry->feed_timer, mst__redis_feed_timer, registry);
    uv_prepare_init(registry->loop->uv, &registry->prepare);
    registry->prepare.data = registry->wake.data = registry;
    registry->handles = 2;
    uv_prepare_start(&registry->prepare, on_prepare);
    mst_timers_set(&registry->loop->timers, &registry->tick, mst_clock_monotonic() + TICK);
    open_link(registry, &registry->write, "write", on_write_up, on_write_down);
    open_link(registry, &registry->feed, "feed", on_feed_up, on_feed_down);
    open_link(registry, &registry->bulk, "bulk", on_bulk_up, on_bulk_down);
}

struct mst_registry *mst_redis_registry_open(struct mst_loop *loop, struct mst_log *log,
                                             const struct mst_redis_options *options,
                                             void (*ready)(void *context, int status, const struct mst_error *error),
                                             void *context)
{
    struct mst__redis *registry = calloc(1, sizeof *registry);
    if (registry == NULL)
        return NULL;
    registry->base.ops = &ops;
    registry->loop = loop;
    registry->log = log;
    registry->ready = ready;
    registry->ready_context = context;
    if (!copy_options(registry, options) || (registry->space_of = mst_map_create()) == NULL ||
        uv_async_init(loop->uv, &registry->wake, on_wake) != 0)
        goto fail;
    if (getrandom(&registry->instance, sizeof registry->instance, 0) != (ssize_t)sizeof registry->instance)
        registry->instance = (uint32_t)mst_clock_monotonic();
    registry->instance &= 4095;
    mst_error_set(&registry->why, MST_EREDIS, "Redis at %s: not connected yet", registry->address);
    start(registry);
    return &registry->base;
fail:
    mst_map_destroy(registry->space_of);
    free(registry->strings);
    free(registry);
    return NULL;
}

void mst_redis_registry_expire(struct mst_registry *registry, const char *namespace_, uint32_t seconds)
{
    struct mst__redis *redis = (struct mst__redis *)registry;
    snprintf(redis->expire_name, sizeof redis->expire_name, "%s", namespace_);
    redis->expire_s = seconds;
}
