// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Followers get this long to read the last entry of a feed before it goes; later ones notice that it is gone. */
#define GRACE (50 * MST_NS_PER_MS)

struct mst__redis_drop {
    struct mst__redis *registry;
    struct mst__redis_space *space;
    struct mst_registry_drop *drop;
    struct mst__redis_drop *next;
    struct mst_timer timer;
    int status;
    struct mst_error error;
    bool started, finished;
};

struct mst__redis_listing {
    struct mst__redis *registry;
    struct mst__redis_listing *next;
    void (*each)(void *context, const char *namespace_);
    void (*ready)(void *context, int status, const struct mst_error *error);
    void *context;
    uint32_t in_flight;
    bool started, scanned;
    int status;
    struct mst_error error;
};

struct probe {
    struct mst__redis_listing *listing;
    char name[MST_NAMESPACE_MAX + 1];
};

static int broken(const struct mst__redis *registry, struct mst_error *error)
{
    if (!registry->serving && registry->why.code != 0) {
        *error = registry->why;
        return error->code;
    }
    if (!mst__redis_link_ready(&registry->bulk) && registry->bulk.why.code != 0) {
        *error = registry->bulk.why;
        return error->code;
    }
    return mst_error_set(error, MST_EREDIS, "the connection to Redis at %s broke", registry->address);
}

static int reply_error(const struct mst__redis *registry, const redisReply *reply, struct mst_error *error)
{
    if (reply == NULL)
        return broken(registry, error);
    if (reply->type == REDIS_REPLY_ERROR)
        return mst_error_set(error, MST_EREDIS, "Redis at %s: %s", registry->address, reply->str);
    return 0;
}

/* ---- drop ---- */

/* The answer comes from the wake-up, so never from inside a call. */
static void drop_finish(struct mst__redis_drop *drop)
{
    drop->finished = true;
    uv_async_send(&drop->registry->wake);
}

static int drop_answer(struct mst__redis_drop *drop, const redisReply *reply)
{
    int code = reply_error(drop->registry, reply, &drop->error);
    if (reply == NULL)
        mst__redis_error_unsure(&drop->error);
    return code;
}

static void on_freed(redisReply *reply, void *context)
{
    struct mst__redis_drop *drop = context;
    drop->status = drop_answer(drop, reply);
    drop_finish(drop);
}

static void on_grace_over(struct mst_timer *timer, void *owner)
{
    struct mst__redis_drop *drop = owner;
    struct mst__redis_space *space = drop->space;
    struct mst__redis_link *link = &drop->registry->bulk;
    char names[MST_NAMESPACE_MAX + 32];
    (void)timer;
    snprintf(names, sizeof names, "%s:namespaces", drop->registry->options.prefix);
    if (space->state == MST__SPACE_ATTACHED)
        space->state = MST__SPACE_DETACHED;
    space->listed = false;
    if (mst__redis_send(link, NULL, NULL, MST__COMMAND_TIMEOUT, "SREM", names, space->name, NULL) &&
        mst__redis_send(link, on_freed, drop, MST__COMMAND_TIMEOUT, "UNLINK", space->key[2], space->key[3], NULL))
        return;
    drop->status = broken(drop->registry, &drop->error);
    drop_finish(drop);
}

static void on_dropped(redisReply *reply, void *context)
{
    struct mst__redis_drop *drop = context;
    drop->status = drop_answer(drop, reply);
    mst__redis_forget(drop->space, true);
    drop->timer.fire = on_grace_over;
    drop->timer.owner = drop;
    if (drop->status == 0) {
        if (reply->type == REDIS_REPLY_STRING)
            mst__redis_space_saw(drop->space, strtoull(reply->str, NULL, 10));
        if (mst_timers_set(&drop->registry->loop->timers, &drop->timer, mst_clock_monotonic() + GRACE) == 0)
            return;
        drop->status = mst_error_set(&drop->error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    }
    drop_finish(drop);
}

static void drop_start(struct mst__redis_drop *drop)
{
    struct mst__redis *registry = drop->registry;
    struct mst__redis_space *space = drop->space;
    drop->started = true;
    if (registry->serving &&
        mst__redis_send(&registry->bulk, on_dropped, drop, MST__COMMAND_TIMEOUT, "FCALL", "muster_v1_drop", "5",
                        space->key[0], space->key[1], space->key[2], space->key[3], space->key[4], NULL))
        return;
    drop->status = broken(registry, &drop->error);
    drop_finish(drop);
}

void mst__redis_drop(struct mst_registry *base, struct mst_registry_drop *pub)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    struct mst__redis_space *space = registry->closing ? NULL : mst__redis_space_get(registry, pub->namespace_);
    struct mst__redis_drop *drop = space != NULL ? calloc(1, sizeof *drop) : NULL;
    uv_async_send(&registry->wake);
    if (drop == NULL) {
        pub->status = registry->closing ? mst_error_set(&pub->error, MST_ECLOSED, "the registry is closed")
                                        : mst_error_set(&pub->error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
        pub->slot_state = registry->refused_drops;
        registry->refused_drops = pub;
        return;
    }
    *drop = (struct mst__redis_drop){.registry = registry, .space = space, .drop = pub, .next = registry->drops};
    registry->drops = drop;
}

/* ---- namespaces ---- */

static void listing_fail(struct mst__redis_listing *listing, const redisReply *reply)
{
    if (listing->status == 0)
        listing->status = reply_error(listing->registry, reply, &listing->error);
    listing->scanned = true;
}

static void listing_step(struct mst__redis_listing *listing)
{
    if (listing->scanned && listing->in_flight == 0)
        uv_async_send(&listing->registry->wake);
}

static void on_exists(redisReply *reply, void *context)
{
    struct probe *probe = context;
    struct mst__redis_listing *listing = probe->listing;
    listing->in_flight--;
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER)
        listing_fail(listing, reply);
    else if (reply->integer > 0 && !listing->registry->closing)
        listing->each(listing->context, probe->name);
    free(probe);
    listing_step(listing);
}

/* The set of names may know some that have become empty. */
static bool probe_name(struct mst__redis_listing *listing, const redisReply *name)
{
    char key[2 * MST_NAMESPACE_MAX + 16];
    if (name->type != REDIS_REPLY_STRING || (size_t)name->len > MST_NAMESPACE_MAX)
        return true;
    struct probe *probe = malloc(sizeof *probe);
    if (probe == NULL)
        return false;
    probe->listing = listing;
    snprintf(probe->name, sizeof probe->name, "%s", name->str);
    snprintf(key, sizeof key, "%s:{%s}:h", listing->registry->options.prefix, probe->name);
    if (!mst__redis_send(&listing->registry->bulk, on_exists, probe, MST__COMMAND_TIMEOUT, "EXISTS", key, NULL)) {
        free(probe);
        return false;
    }
    listing->in_flight++;
    return true;
}

static void scan_names(struct mst__redis_listing *listing, const char *cursor);

static void on_names(redisReply *reply, void *context)
{
    struct mst__redis_listing *listing = context;
    listing->in_flight--;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        listing_fail(listing, reply);
    } else {
        for (size_t i = 0; i < reply->element[1]->elements && !listing->scanned; i++)
            if (!probe_name(listing, reply->element[1]->element[i]))
                listing_fail(listing, NULL);
        if (strcmp(reply->element[0]->str, "0") == 0)
            listing->scanned = true;
        else if (!listing->scanned)
            scan_names(listing, reply->element[0]->str);
    }
    listing_step(listing);
}

static void scan_names(struct mst__redis_listing *listing, const char *cursor)
{
    struct mst__redis *registry = listing->registry;
    char names[MST_NAMESPACE_MAX + 32];
    snprintf(names, sizeof names, "%s:namespaces", registry->options.prefix);
    listing->started = true;
    if (registry->serving && mst__redis_send(&registry->bulk, on_names, listing, MST__COMMAND_TIMEOUT, "SSCAN", names,
                                             cursor, "COUNT", "500", NULL))
        listing->in_flight++;
    else
        listing_fail(listing, NULL);
    listing_step(listing);
}

void mst__redis_namespaces(struct mst_registry *base, void (*each)(void *context, const char *namespace_),
                           void (*ready)(void *context, int status, const struct mst_error *error), void *context)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    struct mst__redis_listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        /* Late is not possible without memory; an answer from inside the call is better than none. */
        struct mst_error error;
        ready(context, mst_error_set(&error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM)), &error);
        return;
    }
    *listing = (struct mst__redis_listing){
        .registry = registry, .next = registry->listings, .each = each, .ready = ready, .context = context};
    registry->listings = listing;
    uv_async_send(&registry->wake);
}

/* ---- the wake-up ---- */

static void answer_drop(struct mst__redis_drop *drop)
{
    struct mst_registry_drop *pub = drop->drop;
    pub->status = drop->status;
    if (drop->status != 0)
        pub->error = drop->error;
    mst_timers_cancel(&drop->registry->loop->timers, &drop->timer);
    free(drop);
    pub->done(pub);
}

static void answer_listing(struct mst__redis_listing *listing)
{
    struct mst__redis_listing copy = *listing;
    free(listing);
    copy.ready(copy.context, copy.status, copy.status != 0 ? &copy.error : NULL);
}

void mst__redis_drop_run(struct mst__redis *registry)
{
    struct mst_registry_drop *refused;
    while ((refused = registry->refused_drops) != NULL) {
        registry->refused_drops = refused->slot_state;
        refused->done(refused);
    }
    /* Callbacks may add to the lists, at their heads; what is behind the link stays. */
    /* The registry may serve before its bulk connection is up for the first time: that is waited for. */
    bool may_start = mst__redis_link_ready(&registry->bulk) || registry->bulk_failed || !registry->serving;
    for (struct mst__redis_drop *drop = registry->drops; drop != NULL; drop = drop->next)
        if (!drop->started && may_start)
            drop_start(drop);
    for (struct mst__redis_drop **link = &registry->drops; *link != NULL;) {
        struct mst__redis_drop *drop = *link;
        if (!drop->finished) {
            link = &drop->next;
            continue;
        }
        *link = drop->next;
        answer_drop(drop);
        link = &registry->drops;
    }
    for (struct mst__redis_listing *listing = registry->listings; listing != NULL; listing = listing->next)
        if (!listing->started && may_start)
            scan_names(listing, "0");
    for (struct mst__redis_listing **link = &registry->listings; *link != NULL;) {
        struct mst__redis_listing *listing = *link;
        if (!listing->started || !listing->scanned || listing->in_flight > 0) {
            link = &listing->next;
            continue;
        }
        *link = listing->next;
        answer_listing(listing);
        link = &registry->listings;
    }
}

/* After the links were closed: nothing is in flight any more. */
void mst__redis_drop_close(struct mst__redis *registry)
{
    for (struct mst__redis_drop *drop = registry->drops; drop != NULL; drop = drop->next) {
        drop->started = drop->finished = true;
        drop->status = mst_error_set(&drop->error, MST_ECLOSED, "the registry is closed");
    }
    for (struct mst__redis_listing *listing = registry->listings; listing != NULL; listing = listing->next) {
        listing->started = listing->scanned = true;
        listing->status = mst_error_set(&listing->error, MST_ECLOSED, "the registry is closed");
    }
    mst__redis_drop_run(registry);
}
