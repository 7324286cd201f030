// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/coordinator_internal.h"

/*
 * News of one identity reach the view by two ways, the answer to an own write and the feed, in either order. A row's
 * revision sorts them while the row is there; a tombstone does so for a while after it is gone.
 */
#define TOMBSTONES_MAX 65536u
#define TOMBSTONE_NS (60 * MST_NS_PER_SECOND)

static struct mst__tombstone *find_tombstone(const struct mst__space *space, struct mst_span id)
{
    uint64_t value;
    if (!space->tombstones || !mst_map_get(space->tombstones, id.data, id.length, &value))
        return NULL;
    return (struct mst__tombstone *)(uintptr_t)value;
}

static void drop_oldest(struct mst__space *space)
{
    struct mst__tombstone *oldest = space->oldest;
    struct mst_span id = {oldest->id, oldest->id_length};
    /* A later removal of the same id has its own. */
    if (find_tombstone(space, id) == oldest)
        mst_map_remove(space->tombstones, oldest->id, oldest->id_length, NULL);
    space->oldest = oldest->next;
    if (!space->oldest)
        space->newest = NULL;
    free(oldest);
}

void mst__space_forget_tombstones(struct mst__space *space)
{
    while (space->oldest)
        drop_oldest(space);
}

/* Without memory there is no tombstone: then a late registration may show until the feed ends it. */
void mst__space_bury(struct mst__space *space, struct mst_span id, uint64_t revision)
{
    uint64_t now = mst_clock_monotonic();
    while (space->oldest &&
           (space->oldest->at + TOMBSTONE_NS < now || mst_map_count(space->tombstones) >= TOMBSTONES_MAX))
        drop_oldest(space);
    const struct mst__tombstone *old = find_tombstone(space, id);
    if ((old && old->revision >= revision) || id.length > MST_ID_MAX)
        return;
    if (!space->tombstones && !(space->tombstones = mst_map_create()))
        return;
    struct mst__tombstone *tombstone = malloc(sizeof *tombstone + id.length);
    if (!tombstone)
        return;
    tombstone->next = NULL;
    tombstone->revision = revision;
    tombstone->at = now;
    tombstone->id_length = (uint8_t)id.length;
    memcpy(tombstone->id, id.data, id.length);
    if (mst_map_set(space->tombstones, id.data, id.length, (uintptr_t)tombstone) < 0) {
        free(tombstone);
        return;
    }
    if (space->newest)
        space->newest->next = tombstone;
    else
        space->oldest = tombstone;
    space->newest = tombstone;
}

static bool same(struct mst_span a, struct mst_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

int mst__space_put(struct mst__space *space, const struct mst_identity *identity, const uint8_t *document)
{
    struct mst_identity old;
    uint32_t row = mst_view_find(space->view, identity->id.data, identity->id.length);
    mst__space_watch_lease(space, identity->expires_at);
    if (row != MST_ROW_NONE) {
        mst_view_identity(space->view, row, &old);
        if (old.revision >= identity->revision)
            return 0;
        if (old.updated_at == identity->updated_at && same(old.metadata, identity->metadata) &&
            same(old.gateway, identity->gateway) && same(old.owner, identity->owner)) {
            mst__space_touch(space, identity->id, identity->expires_at, identity->lease_ms, identity->revision);
            return 0;
        }
    } else {
        const struct mst__tombstone *tombstone = find_tombstone(space, identity->id);
        if (tombstone && tombstone->revision >= identity->revision)
            return 0;
    }
    return mst_view_put(space->view, identity, document, NULL);
}

void mst__space_touch(struct mst__space *space, struct mst_span id, int64_t expires_at, int64_t lease_ms,
                      uint64_t revision)
{
    struct mst_identity old;
    uint32_t row = mst_view_find(space->view, id.data, id.length);
    mst__space_watch_lease(space, expires_at);
    if (row == MST_ROW_NONE)
        return;
    mst_view_identity(space->view, row, &old);
    if (old.revision < revision)
        mst_view_touch(space->view, id.data, id.length, expires_at, lease_ms, revision);
}

void mst__space_remove(struct mst__space *space, struct mst_span id, uint64_t revision)
{
    mst__space_bury(space, id, revision);
    if (space->floor < revision)
        space->floor = revision;
    struct mst_identity old;
    uint32_t row = mst_view_find(space->view, id.data, id.length);
    if (row == MST_ROW_NONE)
        return;
    mst_view_identity(space->view, row, &old);
    if (old.revision <= revision)
        mst_view_remove(space->view, id.data, id.length, revision);
}

static void on_put(struct mst_registry_follow *follow, const struct mst_identity *identity)
{
    struct mst__space *space = follow->owner_context;
    int code = mst__space_put(space, identity, NULL);
    if (code)
        mst_log_write(space->coordinator->log, MST_LOG_ERROR, "coordinator", "a registration could not be applied",
                      "namespace", space->name, "error", mst_error_name(code), NULL);
}

static void on_touched(struct mst_registry_follow *follow, struct mst_span id, int64_t expires_at, int64_t lease_ms,
                       uint64_t revision)
{
    mst__space_touch(follow->owner_context, id, expires_at, lease_ms, revision);
}

static void on_removed(struct mst_registry_follow *follow, struct mst_span id, uint64_t revision)
{
    mst__space_remove(follow->owner_context, id, revision);
}

static void on_ready(struct mst_registry_follow *follow, int status, uint64_t revision, const struct mst_error *error)
{
    struct mst__space *space = follow->owner_context;
    struct mst_coordinator *coordinator = space->coordinator;
    if (status < 0) {
        space->stage = MST__SPACE_FAILED;
        space->retry_at = mst_clock_monotonic() + MST__RETRY_NS;
        if (error)
            space->error = *error;
        else
            mst_error_set(&space->error, status, "%s", mst_error_text(status));
        space->error.code = status;
    } else {
        space->stage = MST__SPACE_READY;
        if (space->floor < revision)
            space->floor = revision;
        if (!coordinator->drained)
            mst__space_expire(space);
    }
    if (space->counted)
        mst__start_space_ready(space);
    mst__calls_wake(coordinator);
}

void mst__space_follow(struct mst__space *space)
{
    struct mst_registry *registry = space->coordinator->registry;
    space->follow = (struct mst_registry_follow){
        .namespace_ = space->name,
        .put = on_put,
        .touched = on_touched,
        .removed = on_removed,
        .ready = on_ready,
        .owner_context = space,
    };
    registry->ops->follow(registry, &space->follow);
}
