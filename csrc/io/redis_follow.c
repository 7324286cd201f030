// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A snapshot: note where the feed is, scan the states by pages and fetch the bodies of each page (a body is thus never
 * older than its state), then read the feed from the noted place. While one page's bodies are on their way the next
 * page of states is too, so two or three commands are in flight: more would make other clients wait.
 */
#define PAGE "500"
#define RETRY_PAUSE (100 * MST_NS_PER_MS)
#define BEHIND_MAX 3 /* looks, a second apart */

struct page {
    struct mst__redis_follow *follow;
    uint32_t round;
    uint32_t count;
    struct mst_buffer ids;
    struct entry {
        size_t at, length; /* in `ids` */
        struct mst__redis_state state;
    } entries[];
};

/* The context of an answer that may come when the follow has begun anew. */
struct step {
    struct mst__redis_follow *follow;
    uint32_t round;
};

static void catch_up(struct mst__redis_follow *follow);

static struct step *step_create(struct mst__redis_follow *follow)
{
    struct step *step = malloc(sizeof *step);
    if (step != NULL)
        *step = (struct step){follow, follow->round};
    return step;
}

/* The follow a step belongs to, if its answer still matters; frees the step. */
static struct mst__redis_follow *step_take(struct step *step)
{
    struct mst__redis_follow *follow = step->round == step->follow->round ? step->follow : NULL;
    free(step);
    return follow;
}

static void wait_and_retry(struct mst__redis_follow *follow)
{
    struct mst__redis *registry = follow->space->registry;
    mst_map_destroy(follow->fresh);
    follow->fresh = NULL;
    follow->round++;
    follow->state = MST__FOLLOW_WAIT;
    follow->retry_at = mst_clock_monotonic() + RETRY_PAUSE;
    mst_timers_set(&registry->loop->timers, &registry->nudge, follow->retry_at);
}

void mst__redis_follow_restart(struct mst__redis_follow *follow, const char *reason)
{
    struct mst__redis *registry = follow->space->registry;
    mst_log_write(registry->log, MST_LOG_WARN, "redis", "reading the namespace again", "namespace", follow->space->name,
                  "reason", reason, NULL);
    wait_and_retry(follow);
}

static void finish_ready(struct mst__redis_follow *follow, int status, const struct mst_error *error)
{
    if (follow->ready)
        return;
    follow->ready = true;
    follow->follow->ready(follow->follow, status, follow->revision, error);
}

/* Whether an answer can be used; else the follow has been set back, or given up. */
static bool usable(struct mst__redis_follow *follow, const redisReply *reply)
{
    struct mst_error error;
    if (reply != NULL && reply->type != REDIS_REPLY_ERROR)
        return true;
    if (reply == NULL || mst__redis_judge(follow->space, reply, &error) != MST__VERDICT_FAIL) {
        wait_and_retry(follow);
        return false;
    }
    mst_log_write(follow->space->registry->log, MST_LOG_ERROR, "redis", "cannot read a namespace", "namespace",
                  follow->space->name, "reason", error.message, NULL);
    wait_and_retry(follow);
    if (!follow->ready) {
        follow->state = MST__FOLLOW_DEAD;
        finish_ready(follow, error.code, &error);
    }
    return false;
}

/* ---- deliveries ---- */

static void deliver(struct mst__redis_follow *follow, struct mst_span id, const struct mst__redis_state *state,
                    const redisReply *body)
{
    struct mst_identity identity = {
        .id = id,
        .registered_at = state->registered,
        .updated_at = state->updated,
        .expires_at = state->deadline,
        .lease_ms = state->lease,
        .revision = state->revision,
    };
    uint64_t before;
    if (body->type != REDIS_REPLY_STRING || !mst__redis_body_read(body->str, body->len, &identity))
        return;
    /* A scan may show an entry twice. */
    if (mst_map_get(follow->fresh, id.data, id.length, &before) && before >= state->revision)
        return;
    if (mst_map_set(follow->fresh, id.data, id.length, state->revision) < 0)
        return;
    if (state->revision > follow->floor && mst_map_get(follow->known, id.data, id.length, &before) &&
        before == state->revision)
        return;
    /* Known at once: should this snapshot fail, the next one must be able to take it back. */
    if (mst_map_set(follow->known, id.data, id.length, state->revision) < 0)
        return;
    /* After a loss of history numbers may have been given again; followers must see them grow. */
    if (identity.revision <= follow->floor)
        identity.revision = follow->floor + 1;
    follow->follow->put(follow->follow, &identity);
}

static void remove_vanished(struct mst__redis_follow *follow)
{
    size_t position = 0, length;
    const void *key;
    uint64_t revision;
    struct mst_map *old = follow->known;
    follow->known = follow->fresh;
    follow->fresh = NULL;
    while (mst_map_next(old, &position, &key, &length, &revision))
        if (!mst_map_get(follow->known, key, length, NULL))
            follow->follow->removed(follow->follow, (struct mst_span){key, length},
                                    revision > follow->revision ? revision : follow->revision);
    mst_map_destroy(old);
}

/* ---- the steps ---- */

static void on_second_look(redisReply *reply, void *context)
{
    struct mst__redis_follow *follow = step_take(context);
    if (follow == NULL || !usable(follow, reply))
        return;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        !mst__redis_position(reply->element[1]->str, reply->element[1]->len, &follow->target)) {
        wait_and_retry(follow);
        return;
    }
    remove_vanished(follow);
    follow->state = MST__FOLLOW_CATCH_UP;
    catch_up(follow);
}

static void scan_done(struct mst__redis_follow *follow)
{
    struct step *step = step_create(follow);
    struct mst__redis_space *space = follow->space;
    if (step == NULL || !mst__redis_send(&space->registry->bulk, on_second_look, step, MST__COMMAND_TIMEOUT, "FCALL_RO",
                                         "muster_v1_look", "2", space->key[2], space->key[3], NULL)) {
        free(step);
        wait_and_retry(follow);
    }
}

static void page_free(struct page *page)
{
    mst_buffer_deinit(&page->ids);
    free(page);
}

static void on_bodies(redisReply *reply, void *context)
{
    struct page *page = context;
    struct mst__redis_follow *follow = page->round == page->follow->round ? page->follow : NULL;
    if (follow != NULL && usable(follow, reply)) {
        follow->in_flight--;
        for (uint32_t i = 0; i < page->count && i < reply->elements; i++) {
            struct entry *entry = &page->entries[i];
            deliver(follow, (struct mst_span){page->ids.data + entry->at, entry->length}, &entry->state,
                    reply->element[i]);
        }
        if (follow->scanned && follow->in_flight == 0)
            scan_done(follow);
    }
    page_free(page);
}

static bool fetch_bodies(struct mst__redis_follow *follow, struct page *page)
{
    struct mst__redis_link *link = &follow->space->registry->bulk;
    mst__redis_begin(link, 2 + page->count);
    mst__redis_arg(link, "HMGET", 5);
    mst__redis_arg(link, follow->space->key[0], strlen(follow->space->key[0]));
    for (uint32_t i = 0; i < page->count; i++)
        mst__redis_arg(link, page->ids.data + page->entries[i].at, page->entries[i].length);
    return mst__redis_end(link, on_bodies, page, MST__COMMAND_TIMEOUT);
}

/* What is expired is not shown to anybody, so nobody else would think of reaping it. */
static void reap(struct mst__redis_follow *follow, const redisReply *id)
{
    struct mst_span span = {id->str, id->len};
    mst__redis_reap(&follow->space->registry->base, follow->space->name, &span, 1);
}

static struct page *read_page(struct mst__redis_follow *follow, const redisReply *states)
{
    size_t most = states->elements / 2;
    int64_t now = mst__redis_now(follow->space->registry);
    struct page *page = calloc(1, sizeof *page + most * sizeof *page->entries);
    if (page == NULL)
        return NULL;
    page->follow = follow;
    page->round = follow->round;
    for (size_t i = 0; i < most; i++) {
        const redisReply *id = states->element[2 * i], *blob = states->element[2 * i + 1];
        struct entry *entry = &page->entries[page->count];
        if (!mst__redis_state_read(blob->str, blob->len, &entry->state) || !(entry->state.flags & MST__FLAG_LIVE))
            continue;
        if (entry->state.deadline != 0 && entry->state.deadline <= now) {
            reap(follow, id);
            continue;
        }
        entry->at = page->ids.length;
        entry->length = id->len;
        mst_buffer_append(&page->ids, id->str, id->len);
        page->count++;
    }
    if (page->ids.failed) {
        page_free(page);
        return NULL;
    }
    return page;
}

static bool scan_from(struct mst__redis_follow *follow, const char *cursor);

static void on_states(redisReply *reply, void *context)
{
    struct mst__redis_follow *follow = step_take(context);
    if (follow == NULL || !usable(follow, reply))
        return;
    follow->in_flight--;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        wait_and_retry(follow);
        return;
    }
    const char *cursor = reply->element[0]->str;
    struct page *page = read_page(follow, reply->element[1]);
    follow->scanned = strcmp(cursor, "0") == 0;
    /* The next states are asked for first and at once, so that Redis works on while we unpack the bodies. */
    bool good = page != NULL && (follow->scanned || scan_from(follow, cursor));
    if (good && page->count > 0 && (good = fetch_bodies(follow, page))) {
        follow->in_flight++;
        page = NULL;
    }
    if (page != NULL)
        page_free(page);
    mst__redis_link_flush(&follow->space->registry->bulk);
    if (!good)
        wait_and_retry(follow);
    else if (follow->scanned && follow->in_flight == 0)
        scan_done(follow);
}

static bool scan_from(struct mst__redis_follow *follow, const char *cursor)
{
    struct step *step = step_create(follow);
    if (step == NULL || !mst__redis_send(&follow->space->registry->bulk, on_states, step, MST__COMMAND_TIMEOUT, "HSCAN",
                                         follow->space->key[1], cursor, "COUNT", PAGE, NULL)) {
        free(step);
        return false;
    }
    follow->in_flight++;
    return true;
}

static void on_first_look(redisReply *reply, void *context)
{
    struct mst__redis_follow *follow = step_take(context);
    if (follow == NULL || !usable(follow, reply))
        return;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        !mst__redis_position(reply->element[1]->str, reply->element[1]->len, &follow->position)) {
        wait_and_retry(follow);
        return;
    }
    follow->start_revision = strtoull(reply->element[2]->str, NULL, 10);
    struct mst__redis_space *space = follow->space;
    if (follow->start_revision < follow->seen && reply->element[0]->len > 0) {
        /* The numbers went back: raise them again, and what is there now above those that were delivered. */
        follow->floor = space->seen;
        space->state = space->state == MST__SPACE_ATTACHED ? MST__SPACE_DETACHED : space->state;
        space->wanted = true;
    }
    if (follow->revision < follow->start_revision)
        follow->revision = follow->start_revision;
    mst__redis_space_saw(space, follow->start_revision);
    follow->fresh = mst_map_create();
    follow->state = MST__FOLLOW_SCAN;
    follow->scanned = false;
    follow->in_flight = 0;
    if (follow->fresh == NULL || !scan_from(follow, "0"))
        wait_and_retry(follow);
}

static void look(struct mst__redis_follow *follow)
{
    struct step *step = step_create(follow);
    struct mst__redis_space *space = follow->space;
    follow->state = MST__FOLLOW_LOOK;
    follow->seen = space->seen;
    if (step == NULL || !mst__redis_send(&space->registry->bulk, on_first_look, step, MST__COMMAND_TIMEOUT, "FCALL_RO",
                                         "muster_v1_look", "2", space->key[2], space->key[3], NULL)) {
        free(step);
        wait_and_retry(follow);
    }
}

static void caught_up(struct mst__redis_follow *follow)
{
    follow->state = MST__FOLLOW_FEED;
    follow->behind = 0;
    mst__redis_feed_kick(follow->space->registry, true);
    finish_ready(follow, 0, NULL);
}

static void on_entries(redisReply *reply, void *context)
{
    struct mst__redis_follow *follow = step_take(context);
    if (follow == NULL || !usable(follow, reply))
        return;
    const redisReply *entries = NULL;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 && reply->element[0]->elements == 2)
        entries = reply->element[0]->element[1];
    if (entries == NULL) {
        mst__redis_follow_restart(follow, "the feed ends before its own last entry");
        return;
    }
    for (size_t i = 0; i < entries->elements; i++)
        if (!mst__redis_feed_apply(follow, entries->element[i])) {
            mst__redis_follow_restart(follow, "the feed was cut while the namespace was read");
            return;
        }
    catch_up(follow);
}

static void catch_up(struct mst__redis_follow *follow)
{
    if (mst__redis_position_compare(follow->position, follow->target) >= 0) {
        caught_up(follow);
        return;
    }
    char from[48];
    struct step *step = step_create(follow);
    snprintf(from, sizeof from, "%llu-%llu", (unsigned long long)follow->position.epoch,
             (unsigned long long)follow->position.number);
    if (step == NULL || !mst__redis_send(&follow->space->registry->bulk, on_entries, step, MST__COMMAND_TIMEOUT,
                                         "XREAD", "COUNT", "100", "STREAMS", follow->space->key[2], from, NULL)) {
        free(step);
        wait_and_retry(follow);
    }
}

/* ---- from outside ---- */

void mst__redis_follow_kick(struct mst__redis *registry)
{
    if (!registry->serving || !mst__redis_link_ready(&registry->bulk))
        return;
    for (struct mst__redis_follow *follow = registry->follows; follow != NULL; follow = follow->next)
        if (follow->state == MST__FOLLOW_WAIT && follow->retry_at <= mst_clock_monotonic())
            look(follow);
}

struct check {
    struct mst__redis_follow *follow;
    uint32_t round;
    struct mst__redis_position position;
};

static void on_check(redisReply *reply, void *context)
{
    struct check check = *(struct check *)context;
    struct mst__redis_follow *follow = check.follow;
    struct mst__redis_position last;
    free(context);
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 || check.round != follow->round ||
        follow->state != MST__FOLLOW_FEED ||
        !mst__redis_position(reply->element[1]->str, reply->element[1]->len, &last))
        return;
    int order = mst__redis_position_compare(last, check.position);
    bool stuck = order > 0 && mst__redis_position_compare(follow->position, check.position) == 0;
    follow->behind = stuck ? follow->behind + 1 : 0;
    if (order < 0)
        mst__redis_follow_restart(follow, "Redis has lost entries of the feed that were read already");
    else if (follow->behind >= BEHIND_MAX)
        mst__redis_follow_restart(follow, "the feed goes on, but nothing arrives");
}

void mst__redis_follow_look(struct mst__redis *registry)
{
    for (struct mst__redis_follow *follow = registry->follows; follow != NULL; follow = follow->next) {
        struct check *check = follow->state == MST__FOLLOW_FEED ? malloc(sizeof *check) : NULL;
        if (check == NULL)
            continue;
        *check = (struct check){follow, follow->round, follow->position};
        if (!mst__redis_send(&registry->write, on_check, check, MST__COMMAND_TIMEOUT, "FCALL_RO", "muster_v1_look", "2",
                             follow->space->key[2], follow->space->key[3], NULL))
            free(check);
    }
}

void mst__redis_follow(struct mst_registry *base, struct mst_registry_follow *pub)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    struct mst__redis_space *space = registry->closing ? NULL : mst__redis_space_get(registry, pub->namespace_);
    struct mst__redis_follow *follow = space != NULL ? calloc(1, sizeof *follow) : NULL;
    if (follow == NULL || (follow->known = mst_map_create()) == NULL) {
        free(follow);
        pub->slot_state = registry->refused_follows;
        registry->refused_follows = pub;
        uv_async_send(&registry->wake);
        return;
    }
    follow->follow = pub;
    follow->space = space;
    follow->next = registry->follows;
    registry->follows = follow;
    pub->slot_state = follow;
    uv_async_send(&registry->wake);
}

void mst__redis_follow_close(struct mst__redis *registry)
{
    struct mst_error error;
    mst_error_set(&error, MST_ECLOSED, "the registry is closed");
    for (struct mst__redis_follow *follow = registry->follows; follow != NULL; follow = follow->next) {
        follow->round++;
        follow->state = MST__FOLLOW_DEAD;
        finish_ready(follow, MST_ECLOSED, &error);
    }
}
