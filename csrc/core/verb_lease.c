// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "core/coordinator_internal.h"

/* Heartbeat, unregister and drop: what ends a lease, or keeps it from ending. */

struct beat {
    struct mst_registry_renew renew;
    struct mst_span *ids;
    struct mst_renewed results[];
};

static void put_ids(const struct mst_span *ids, const struct mst_renewed *results, uint32_t count,
                    struct mst_buffer *out)
{
    bool first = true;
    for (uint32_t i = 0; i < count; i++) {
        if (results[i].renewed)
            continue;
        if (!first)
            mst_buffer_append_byte(out, ',');
        first = false;
        mst_json_put_string(out, ids[i].data, ids[i].length);
    }
}

static void finish_beat(struct mst__call *call, struct beat *beat)
{
    struct mst_registry_renew *renew = &beat->renew;
    struct mst_buffer *out = &call->answer;
    int status = renew->status;
    if (status < 0)
        call->error = renew->error;
    uint32_t renewed = 0;
    for (uint32_t i = 0; status == 0 && i < renew->count; i++) {
        const struct mst_renewed *result = &renew->results[i];
        if (!result->renewed)
            continue;
        renewed++;
        mst__space_touch(call->space, renew->ids[i], result->expires_at, result->lease_ms, result->revision);
    }
    MST__PUT(out, "{\"renewed\":");
    mst_buffer_append_u64(out, renewed);
    MST__PUT(out, ",\"unknown\":[");
    if (status == 0)
        put_ids(renew->ids, renew->results, renew->count, out);
    MST__PUT(out, "],\"revision\":");
    uint64_t revision = mst__space_revision(call->space);
    mst_buffer_append_u64(out, revision > renew->revision ? revision : renew->revision);
    mst_buffer_append_byte(out, '}');
    free(beat->ids);
    free(beat);
    mst__call_end(call, status);
}

static void on_renewed(struct mst_registry_renew *renew)
{
    finish_beat(renew->owner_context, (struct beat *)renew);
}

static int read_ids(const uint8_t *list, uint32_t count, struct mst_span *ids, struct mst_error *error)
{
    const uint8_t *position = NULL, *element = list;
    bool array = mst_value_tag(list) == MST_ARRAY;
    for (uint32_t i = 0; i < count; i++) {
        if (array)
            mst_value_next(list, &position, &element);
        if (mst_value_tag(element) != MST_STRING)
            return mst_error_set(error, MST_EINVAL, "key \"ids\": element %u is not a string", i + 1);
        ids[i] = mst__body_string(element);
        int code = mst_id_check(ids[i].data, ids[i].length, error);
        if (code)
            return code;
    }
    return 0;
}

static struct beat *create_beat(uint32_t count)
{
    struct beat *beat = calloc(1, sizeof *beat + count * sizeof beat->results[0]);
    if (!beat)
        return NULL;
    beat->ids = calloc(count ? count : 1, sizeof *beat->ids);
    if (beat->ids)
        return beat;
    free(beat);
    return NULL;
}

enum { BEAT_IDS, BEAT_ID, BEAT_TTL, BEAT_KEYS };

static const struct mst__key beat_keys[BEAT_KEYS] = {
    [BEAT_IDS] = {"ids", MST__T(MST_ARRAY), 0},
    [BEAT_ID] = {"id", MST__T_STRING, 0},
    [BEAT_TTL] = {"ttl", MST__T_NUMBER | MST__T_STRING | MST__T(MST_NULL), 0},
};

static int read_beat(struct mst__call *call, struct beat **read)
{
    const uint8_t *values[BEAT_KEYS];
    int64_t lease = -1;
    int code = mst__body_read(call, beat_keys, BEAT_KEYS, values);
    if (code == 0)
        code = mst__body_lease(values[BEAT_TTL], &lease, &call->error);
    if (code)
        return code;
    if (!values[BEAT_IDS] == !values[BEAT_ID])
        return mst_error_set(&call->error, MST_EINVAL, "expected either \"ids\" or \"id\"");
    const uint8_t *list = values[BEAT_IDS] ? values[BEAT_IDS] : values[BEAT_ID];
    uint32_t count = values[BEAT_IDS] ? mst_value_count(list) : 1;
    if (count > MST__HEARTBEAT_MAX)
        return mst_error_set(&call->error, MST_ETOOBIG, "%u ids in one request, at most %u are allowed", count,
                             MST__HEARTBEAT_MAX);
    struct beat *beat = create_beat(count);
    if (!beat)
        return MST_ENOMEM;
    beat->renew.namespace_ = call->namespace_;
    beat->renew.ids = beat->ids;
    beat->renew.count = count;
    beat->renew.lease_ms = lease;
    beat->renew.deadline = call->deadline;
    beat->renew.results = beat->results;
    beat->renew.done = on_renewed;
    beat->renew.owner_context = call;
    *read = beat;
    code = read_ids(list, count, beat->ids, &call->error);
    if (code == 0)
        return 0;
    free(beat->ids);
    free(beat);
    return code;
}

void mst__verb_heartbeat(struct mst__call *call)
{
    struct beat *beat = NULL;
    int code = read_beat(call, &beat);
    if (code || !beat)
        mst__call_end(call, code);
    else if (call->space == &call->coordinator->limbo || beat->renew.count == 0)
        finish_beat(call, beat);
    else
        call->coordinator->registry->ops->renew(call->coordinator->registry, &beat->renew);
}

static void put_removed(struct mst__call *call, bool removed, uint64_t revision)
{
    struct mst_buffer *out = &call->answer;
    if (removed)
        MST__PUT(out, "{\"removed\":true,\"revision\":");
    else
        MST__PUT(out, "{\"removed\":false,\"revision\":");
    mst_buffer_append_u64(out, revision);
    mst_buffer_append_byte(out, '}');
}

static void on_removed(struct mst_registry_remove *remove)
{
    struct mst__call *call = remove->owner_context;
    int status = remove->status;
    if (status < 0) {
        call->error = remove->error;
    } else {
        if (remove->removed)
            mst__space_remove(call->space, remove->id, remove->revision);
        uint64_t revision = mst__space_revision(call->space);
        put_removed(call, remove->removed, revision > remove->revision ? revision : remove->revision);
    }
    free(remove);
    mst__call_end(call, status);
}

static int read_removal(struct mst__call *call, struct mst_span *id)
{
    int code = mst__body_id(call, id);
    return code ? code : mst_id_check(id->data, id->length, &call->error);
}

void mst__verb_unregister(struct mst__call *call)
{
    struct mst_registry *registry = call->coordinator->registry;
    struct mst_span id;
    int code = read_removal(call, &id);
    bool limbo = call->space == &call->coordinator->limbo;
    if (code || limbo) {
        put_removed(call, false, 0);
        mst__call_end(call, code);
        return;
    }
    struct mst_registry_remove *remove = calloc(1, sizeof *remove);
    if (!remove) {
        mst__call_end(call, MST_ENOMEM);
        return;
    }
    remove->namespace_ = call->namespace_;
    remove->id = id;
    remove->deadline = call->deadline;
    remove->done = on_removed;
    remove->owner_context = call;
    registry->ops->remove(registry, remove);
}

static void on_dropped(struct mst_registry_drop *drop)
{
    struct mst__call *call = drop->owner_context;
    int status = drop->status;
    if (status < 0) {
        call->error = drop->error;
    } else {
        mst__space_clear(call->space);
        put_removed(call, true, mst__space_revision(call->space));
    }
    free(drop);
    mst__call_end(call, status);
}

void mst__verb_drop(struct mst__call *call)
{
    struct mst_registry *registry = call->coordinator->registry;
    int code = mst__body_read(call, NULL, 0, NULL);
    bool limbo = call->space == &call->coordinator->limbo;
    if (code || limbo) {
        put_removed(call, false, 0);
        mst__call_end(call, code);
        return;
    }
    struct mst_registry_drop *drop = calloc(1, sizeof *drop);
    if (!drop) {
        mst__call_end(call, MST_ENOMEM);
        return;
    }
    drop->namespace_ = call->namespace_;
    drop->done = on_dropped;
    drop->owner_context = call;
    registry->ops->drop(registry, drop);
}
