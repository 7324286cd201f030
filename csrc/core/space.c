// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "core/coordinator_internal.h"

#define EXPIRY_STEP_MS 5 /* the least time between two looks for ended leases without a reader */
#define FILL_ROWS 4096u  /* of columns, a slice: about two milliseconds */
#define FILL_PAUSE_MS 1  /* between slices */

struct mst__space *mst__space_find(struct mst_coordinator *coordinator, const char *name)
{
    uint64_t value;
    if (!mst_map_get(coordinator->spaces, name, strlen(name), &value))
        return NULL;
    return (struct mst__space *)(uintptr_t)value;
}

static void on_expiry(struct mst_timer *timer, void *owner)
{
    (void)timer;
    struct mst__space *space = owner;
    space->expiry = INT64_MAX;
    mst__space_expire(space);
}

void mst__space_fill(struct mst__space *space)
{
    if (space->filling.slot == 0 && mst_view_fill(space->view, 0))
        mst_timers_set(space->coordinator->timers, &space->filling,
                       mst_clock_monotonic() + FILL_PAUSE_MS * MST_NS_PER_MS);
}

static void on_filling(struct mst_timer *timer, void *owner)
{
    struct mst__space *space = owner;
    (void)timer;
    /* A timer would outlive what is closing. */
    if (space->coordinator->drained)
        return;
    if (mst_view_fill(space->view, FILL_ROWS))
        mst__space_fill(space);
    else
        mst__calls_wake(space->coordinator);
}

static uint64_t make_generation(void)
{
    uint64_t generation;
    if (getrandom(&generation, sizeof generation, GRND_NONBLOCK) != (ssize_t)sizeof generation)
        generation = mst_clock_monotonic();
    return generation;
}

static struct mst__space *create(struct mst_coordinator *coordinator, const char *name)
{
    struct mst__space *space = calloc(1, sizeof *space);
    if (!space)
        return NULL;
    memcpy(space->name, name, strlen(name) + 1);
    space->coordinator = coordinator;
    space->generation = make_generation();
    space->expiry = INT64_MAX;
    space->timer = (struct mst_timer){.fire = on_expiry, .owner = space};
    space->filling = (struct mst_timer){.fire = on_filling, .owner = space};
    space->view = mst_view_create(name, coordinator->parser);
    if (space->view && mst_map_set(coordinator->spaces, name, strlen(name), (uintptr_t)space) == 0)
        return space;
    mst__space_destroy(space);
    return NULL;
}

struct mst__space *mst__space_make(struct mst_coordinator *coordinator, const char *name, struct mst_error *error)
{
    struct mst__space *space = mst__space_find(coordinator, name);
    if (space)
        return space;
    if (mst_namespace_check(name, strlen(name), error) < 0)
        return NULL;
    if (mst_map_count(coordinator->spaces) >= coordinator->max_namespaces) {
        mst_error_set(error, MST_EQUOTA, "max namespaces limit reached (%u)", coordinator->max_namespaces);
        return NULL;
    }
    space = create(coordinator, name);
    if (!space)
        mst_error_set(error, MST_ENOMEM, "no memory for namespace %s", name);
    return space;
}

void mst__space_destroy(struct mst__space *space)
{
    mst_timers_cancel(space->coordinator->timers, &space->timer);
    mst_timers_cancel(space->coordinator->timers, &space->filling);
    mst__space_forget_tombstones(space);
    mst_map_destroy(space->tombstones);
    if (space->view)
        mst_view_destroy(space->view);
    free(space);
}

uint64_t mst__space_revision(const struct mst__space *space)
{
    uint64_t revision = mst_view_revision(space->view);
    return revision > space->floor ? revision : space->floor;
}

void mst__space_load(struct mst__space *space)
{
    bool may = space->stage == MST__SPACE_NEW ||
               (space->stage == MST__SPACE_FAILED && mst_clock_monotonic() >= space->retry_at);
    if (!may)
        return;
    /* What a snapshot that failed has left may be gone meanwhile. */
    if (space->stage == MST__SPACE_FAILED)
        mst__space_clear(space);
    space->stage = MST__SPACE_LOADING;
    mst__space_follow(space);
}

static void reap(struct mst__space *space)
{
    struct mst_coordinator *coordinator = space->coordinator;
    uint32_t count = coordinator->reap_count;
    coordinator->reap_count = 0;
    if (count)
        coordinator->registry->ops->reap(coordinator->registry, space->name, coordinator->reap_ids, count);
}

static void on_expired(void *context, const struct mst_identity *identity)
{
    struct mst__space *space = context;
    struct mst_coordinator *coordinator = space->coordinator;
    char *copy = coordinator->reap_text + coordinator->reap_count * MST_ID_MAX;
    memcpy(copy, identity->id.data, identity->id.length);
    coordinator->reap_ids[coordinator->reap_count++] = (struct mst_span){copy, identity->id.length};
    if (coordinator->reap_count == MST__REAP_BATCH)
        reap(space);
}

/* The view's answer may be early, so a look may find nothing; the step keeps such looks apart. */
static void set_timer(struct mst__space *space, int64_t now, int64_t expiry)
{
    if (expiry == INT64_MAX)
        return;
    int64_t wait = expiry <= now ? EXPIRY_STEP_MS : expiry - now;
    if (wait > MST_LEASE_MAX_MS)
        wait = MST_LEASE_MAX_MS;
    /* Without memory for the timer leases end when somebody reads. */
    if (mst_timers_set(space->coordinator->timers, &space->timer,
                       mst_clock_monotonic() + (uint64_t)wait * MST_NS_PER_MS) == 0)
        space->expiry = now + wait;
}

int64_t mst__space_expire(struct mst__space *space)
{
    struct mst_coordinator *coordinator = space->coordinator;
    int64_t now = coordinator->registry->ops->now(coordinator->registry);
    if (space == &coordinator->limbo)
        return now;
    mst_view_expire(space->view, now, on_expired, space);
    reap(space);
    if (space->expiry == INT64_MAX)
        set_timer(space, now, mst_view_next_expiry(space->view));
    return now;
}

void mst__space_watch_lease(struct mst__space *space, int64_t expires_at)
{
    struct mst_registry *registry = space->coordinator->registry;
    if (expires_at == 0 || expires_at >= space->expiry || space->stage != MST__SPACE_READY)
        return;
    /* The feed may go on until the registry is closed, but a timer would outlive that. */
    if (space->coordinator->drained)
        return;
    set_timer(space, registry->ops->now(registry), expires_at);
}

void mst__space_clear(struct mst__space *space)
{
    space->floor = mst__space_revision(space);
    space->generation = make_generation();
    /* A new view gives back the memory of columns and dictionaries as well. */
    struct mst_view *fresh = mst_view_create(space->name, space->coordinator->parser);
    if (fresh) {
        mst_view_destroy(space->view);
        space->view = fresh;
    } else {
        mst_view_empty(space->view, space->floor);
    }
    mst__space_forget_tombstones(space);
}
