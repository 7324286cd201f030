// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The tail: XREAD over all namespaces that are followed. It blocks while nothing happens, so that the first change is
 * seen at once; after a hit the next read goes out a little after the last one did, so that Redis does not wake us for
 * every single change of many.
 *
 * Our own writes need no read: each change of a namespace takes the next revision, so an answer whose revision is ours
 * plus the number of our changes says that nobody has written in between, and that the feed is longer by one entry,
 * which we know. While such answers come in, a read that would wake for each of our writes waits. An answer that does
 * not fit lets it go out.
 */
#define SPACING MST_NS_PER_MS
#define OWN_PAUSE (10 * MST_NS_PER_MS) /* the longest that a change of others may stay unseen for it */
#define ENTRIES "200"
#define BLOCK_MS "1000"
#define READ_TIMEOUT (6 * MST_NS_PER_SECOND)

/* ---- entries ---- */

struct cursor {
    const char *at, *end;
    bool failed;
};

static uint64_t number(struct cursor *cursor, unsigned bytes)
{
    if ((size_t)(cursor->end - cursor->at) < bytes) {
        cursor->failed = true;
        return 0;
    }
    cursor->at += bytes;
    return mst__redis_unpack(cursor->at - bytes, bytes);
}

static struct mst_span span(struct cursor *cursor, size_t length)
{
    if ((size_t)(cursor->end - cursor->at) < length) {
        cursor->failed = true;
        return (struct mst_span){0};
    }
    cursor->at += length;
    return (struct mst_span){cursor->at - length, length};
}

/* Whether a change is news; a snapshot may have shown it, or a later one, already. */
static bool news(struct mst__redis_follow *follow, struct mst_span id, uint64_t revision, bool *known)
{
    uint64_t before;
    /* Also where it is none: the revision is that of the position, or answers would be taken for the next entry. */
    if (follow->revision < revision)
        follow->revision = revision;
    *known = mst_map_get(follow->known, id.data, id.length, &before);
    return !*known || before < revision;
}

static void give_put(struct mst__redis_follow *follow, const struct mst_identity *identity)
{
    const struct mst_span *id = &identity->id;
    bool known;
    if (!news(follow, *id, identity->revision, &known) ||
        mst_map_set(follow->known, id->data, id->length, identity->revision) < 0)
        return;
    follow->follow->put(follow->follow, identity);
}

static void give_touch(struct mst__redis_follow *follow, struct mst_span id, int64_t expires_at, int64_t lease_ms,
                       uint64_t revision)
{
    bool known;
    if (!news(follow, id, revision, &known) || !known || mst_map_set(follow->known, id.data, id.length, revision) < 0)
        return;
    follow->follow->touched(follow->follow, id, expires_at, lease_ms, revision);
}

static void give_remove(struct mst__redis_follow *follow, struct mst_span id, uint64_t revision)
{
    bool known;
    if (!news(follow, id, revision, &known) || !known)
        return;
    mst_map_remove(follow->known, id.data, id.length, NULL);
    follow->follow->removed(follow->follow, id, revision);
}

static void on_put(struct mst__redis_follow *follow, struct cursor *cursor, struct mst_span id)
{
    struct mst_identity identity = {.id = id};
    identity.expires_at = (int64_t)number(cursor, 6);
    identity.lease_ms = (int64_t)number(cursor, 5);
    identity.revision = number(cursor, 7);
    identity.registered_at = (int64_t)number(cursor, 6);
    identity.updated_at = (int64_t)number(cursor, 6);
    struct mst_span body = span(cursor, number(cursor, 4));
    cursor->failed |= !mst__redis_body_read(body.data, body.length, &identity);
    if (!cursor->failed)
        give_put(follow, &identity);
}

static void on_touch(struct mst__redis_follow *follow, struct cursor *cursor, struct mst_span id)
{
    int64_t expires_at = (int64_t)number(cursor, 6), lease_ms = (int64_t)number(cursor, 5);
    uint64_t revision = number(cursor, 7);
    if (!cursor->failed)
        give_touch(follow, id, expires_at, lease_ms, revision);
}

static void on_remove(struct mst__redis_follow *follow, struct cursor *cursor, struct mst_span id)
{
    uint64_t revision = number(cursor, 7);
    if (!cursor->failed)
        give_remove(follow, id, revision);
}

static void apply_changes(struct mst__redis_follow *follow, const char *bytes, size_t length)
{
    struct cursor cursor = {bytes, bytes + length, false};
    while (cursor.at < cursor.end && !cursor.failed) {
        char kind = (char)number(&cursor, 1);
        struct mst_span id = span(&cursor, number(&cursor, 1));
        if (kind == 'P')
            on_put(follow, &cursor, id);
        else if (kind == 'T')
            on_touch(follow, &cursor, id);
        else if (kind == 'R')
            on_remove(follow, &cursor, id);
        else
            cursor.failed = true;
    }
    if (cursor.failed)
        mst_log_write(follow->space->registry->log, MST_LOG_ERROR, "redis", "an entry of the feed is damaged",
                      "namespace", follow->space->name, NULL);
}

static void remove_all(struct mst__redis_follow *follow, uint64_t revision)
{
    struct mst_map *empty = mst_map_create(), *old = follow->known;
    size_t position = 0, length;
    const void *key;
    uint64_t before;
    if (empty == NULL)
        return;
    follow->known = empty;
    follow->revision = revision;
    while (mst_map_next(old, &position, &key, &length, &before))
        follow->follow->removed(follow->follow, (struct mst_span){key, length}, revision);
    mst_map_destroy(old);
}

/* An id follows if it is the next of its epoch, or begins a new one that names our position as its past. */
static bool contiguous(const struct mst__redis_follow *follow, struct mst__redis_position id, char kind,
                       const redisReply *value)
{
    struct mst__redis_position past;
    if (id.epoch == follow->position.epoch)
        return id.number == follow->position.number + 1;
    return id.number == 0 && kind == 'p' && mst__redis_position(value->str, value->len, &past) &&
           mst__redis_position_compare(past, follow->position) == 0;
}

bool mst__redis_feed_apply(struct mst__redis_follow *follow, const redisReply *entry)
{
    struct mst__redis_position id;
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 || entry->element[1]->elements < 2 ||
        !mst__redis_position(entry->element[0]->str, entry->element[0]->len, &id))
        return false;
    const redisReply *name = entry->element[1]->element[0], *value = entry->element[1]->element[1];
    if (mst__redis_position_compare(id, follow->position) <= 0)
        return true;
    if (!contiguous(follow, id, name->str[0], value))
        return false;
    follow->position = id;
    if (name->str[0] == 'd')
        apply_changes(follow, value->str, value->len);
    else if (name->str[0] == 'x')
        remove_all(follow, strtoull(value->str, NULL, 10));
    mst__redis_space_saw(follow->space, follow->revision);
    return true;
}

/* ---- own writes ---- */

static void give_own(struct mst__redis_follow *follow, const struct mst__redis_memo *memo)
{
    struct mst__redis_recalled change;
    mst__redis_recall(memo, &change);
    const struct mst__redis_state *state = &change.state;
    struct mst_identity identity = {
        .id = change.id,
        .registered_at = state->registered,
        .updated_at = state->updated,
        .expires_at = state->deadline,
        .lease_ms = state->lease,
        .revision = state->revision,
    };
    if (change.kind == 'd')
        give_remove(follow, change.id, state->revision);
    else if (change.kind == 't')
        give_touch(follow, change.id, state->deadline, state->lease, state->revision);
    else if (mst__redis_body_read(change.body.data, change.body.length, &identity))
        give_put(follow, &identity);
}

/* Brings a follower up to the answer of a batch; false if there is more in the feed than what the batch has changed. */
static bool advance(struct mst__redis_follow *follow, uint64_t revision, uint64_t changes)
{
    const struct mst__redis_space *space = follow->space;
    if (follow->position.epoch != strtoull(space->epoch, NULL, 10))
        return false;
    if (changes == 0 || follow->revision + changes != revision)
        return follow->revision == revision;
    for (const struct mst__redis_memo *memo = space->fresh; memo != NULL; memo = mst__redis_memo_next(memo))
        give_own(follow, memo);
    follow->position.number++;
    follow->revision = revision;
    return true;
}

/* Whether the feed is read for this namespace only, so that its answers can stand for the feed. */
static bool sole(const struct mst__redis_space *space)
{
    const struct mst__redis_follow *follow = space->registry->follows;
    return follow != NULL && follow->next == NULL && follow->space == space && follow->state == MST__FOLLOW_FEED;
}

static void read_at(struct mst__redis *registry, uint64_t at)
{
    if (!registry->feed_busy && registry->feed_timer.slot != 0)
        mst_timers_set(&registry->loop->timers, &registry->feed_timer, at);
}

void mst__redis_feed_writing(const struct mst__redis_space *space)
{
    if (space->registry->own_at != 0 && sole(space))
        read_at(space->registry, mst_clock_monotonic() + OWN_PAUSE);
}

void mst__redis_feed_own(struct mst__redis_space *space, uint64_t revision, bool sure)
{
    struct mst__redis *registry = space->registry;
    bool followed = false, alone = true;
    uint64_t changes = 0;
    for (const struct mst__redis_memo *memo = space->fresh; memo != NULL; memo = mst__redis_memo_next(memo))
        changes++;
    for (struct mst__redis_follow *follow = registry->follows; follow != NULL; follow = follow->next) {
        if (follow->space != space || follow->state != MST__FOLLOW_FEED)
            continue;
        followed = true;
        alone &= sure && advance(follow, revision, changes);
    }
    if (!followed)
        return;
    registry->own_at = alone ? mst_clock_monotonic() : 0;
    if (!alone)
        read_at(registry, registry->feed_sent + SPACING);
    else if (sole(space))
        read_at(registry, registry->own_at + OWN_PAUSE);
}

/* ---- reading ---- */

static void apply_stream(struct mst__redis *registry, const redisReply *stream)
{
    if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2)
        return;
    for (struct mst__redis_follow *follow = registry->follows; follow != NULL; follow = follow->next) {
        if (follow->state != MST__FOLLOW_FEED || strcmp(follow->space->key[2], stream->element[0]->str) != 0)
            continue;
        const redisReply *entries = stream->element[1];
        for (size_t i = 0; i < entries->elements && follow->state == MST__FOLLOW_FEED; i++)
            if (!mst__redis_feed_apply(follow, entries->element[i]))
                mst__redis_follow_restart(follow, "there is a gap in the feed, or its history has changed");
    }
}

static void on_read(redisReply *reply, void *context)
{
    struct mst__redis *registry = context;
    registry->feed_busy = false;
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        /* Most of them (a demoted master, a namespace deleted meanwhile) pass; a fresh connection tells. */
        mst__redis_link_drop(&registry->feed, reply->str);
        return;
    }
    if (reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i < reply->elements; i++)
            apply_stream(registry, reply->element[i]);
    uint64_t now = mst_clock_monotonic(), next = registry->feed_sent + SPACING;
    if (registry->own_at != 0 && now - registry->own_at < 2 * OWN_PAUSE)
        next = now + OWN_PAUSE;
    mst_timers_set(&registry->loop->timers, &registry->feed_timer, next);
}

/* A namespace that is followed twice is read once, from where the slower one is. */
static bool reads(const struct mst__redis *registry, const struct mst__redis_space *space,
                  struct mst__redis_position *from)
{
    bool found = false;
    for (struct mst__redis_follow *follow = registry->follows; follow != NULL; follow = follow->next)
        if (follow->space == space && follow->state == MST__FOLLOW_FEED) {
            if (!found || mst__redis_position_compare(follow->position, *from) < 0)
                *from = follow->position;
            found = true;
        }
    return found;
}

static void read_feeds(struct mst__redis *registry)
{
    struct mst__redis_link *link = &registry->feed;
    struct mst__redis_position from;
    uint32_t count = 0;
    for (struct mst__redis_space *space = registry->spaces; space != NULL; space = space->next)
        count += reads(registry, space, &from);
    if (count == 0)
        return;
    mst__redis_begin(link, 6 + 2 * count);
    static const char *const words[] = {"XREAD", "COUNT", ENTRIES, "BLOCK", BLOCK_MS, "STREAMS"};
    for (int i = 0; i < 6; i++)
        mst__redis_arg(link, words[i], strlen(words[i]));
    for (struct mst__redis_space *space = registry->spaces; space != NULL; space = space->next)
        if (reads(registry, space, &from))
            mst__redis_arg(link, space->key[2], strlen(space->key[2]));
    for (struct mst__redis_space *space = registry->spaces; space != NULL; space = space->next)
        if (reads(registry, space, &from)) {
            char id[48];
            int length =
                snprintf(id, sizeof id, "%llu-%llu", (unsigned long long)from.epoch, (unsigned long long)from.number);
            mst__redis_arg(link, id, (size_t)length);
        }
    registry->feed_sent = mst_clock_monotonic();
    registry->feed_busy = mst__redis_end(link, on_read, registry, READ_TIMEOUT);
}

void mst__redis_feed_timer(struct mst_timer *timer, void *owner)
{
    struct mst__redis *registry = owner;
    (void)timer;
    if (!registry->closing && !registry->feed_busy && mst__redis_link_ready(&registry->feed))
        read_feeds(registry);
}

void mst__redis_feed_kick(struct mst__redis *registry, bool interrupt)
{
    if (!registry->feed_busy)
        mst_timers_set(&registry->loop->timers, &registry->feed_timer, 0);
    else if (interrupt && registry->feed_client[0] != '\0')
        mst__redis_send(&registry->write, NULL, NULL, MST__COMMAND_TIMEOUT, "CLIENT", "UNBLOCK", registry->feed_client,
                        NULL);
}

static void on_client_id(redisReply *reply, void *context)
{
    struct mst__redis *registry = context;
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        snprintf(registry->feed_client, sizeof registry->feed_client, "%lld", reply->integer);
}

void mst__redis_feed_up(struct mst__redis *registry)
{
    registry->feed_busy = false;
    registry->feed_client[0] = '\0';
    mst__redis_send(&registry->feed, on_client_id, registry, MST__COMMAND_TIMEOUT, "CLIENT", "ID", NULL);
    mst__redis_feed_kick(registry, false);
}
