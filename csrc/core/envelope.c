// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/map.h"
#include "core/fanout_internal.h"
#include "model/identity.h"

#define DIRECT UINT32_MAX
#define RECENT 64u
#define ENVELOPE_END "]}\n"

/* The targets behind one gateway. */
struct group {
    uint32_t subject_offset;
    uint32_t count;
    uint32_t next; /* where in `order` the next of them goes; at the end, where they end */
    uint16_t subject_length;
    uint8_t shard;
};

/* What is needed only while a multicast is put together. */
struct build {
    struct mst_multicast *multicast;
    const struct mst_multicast_request *request;
    size_t max_payload;
    struct mst_map *gateways; /* gateway -> group */
    struct recent {
        struct mst_span gateway;
        uint32_t group;
    } recent[RECENT]; /* by address: a view keeps one copy of each gateway's name, and does not change meanwhile */
    struct group *groups;
    uint32_t group_count, group_capacity;
    uint32_t *group_of;                          /* of each target; DIRECT: no gateway */
    uint32_t direct, direct_of[MST_CAST_SHARDS]; /* how many: all, and by shard */
    uint32_t message_capacity;
    struct mst_buffer via, to; /* `<prefix>.<namespace>.via.` and `to.`: what subjects begin with */
};

static uint16_t put_subject(struct build *build, const struct mst_buffer *head, struct mst_span name)
{
    struct mst_buffer *text = &build->multicast->text;
    size_t start = text->length;
    mst_buffer_append(text, head->data, head->length);
    mst_subject_encode(text, name.data, name.length);
    return (uint16_t)(text->length - start);
}

/* Subjects begin alike within a namespace, so the hash of the name that is behind is as good as the subject's. */
static uint8_t shard_of(const struct build *build, uint64_t hash)
{
    return (uint8_t)(((hash >> 32) * build->multicast->shards) >> 32);
}

static int add_group(struct build *build, struct mst_span gateway)
{
    if (build->group_count == build->group_capacity) {
        uint32_t capacity = build->group_capacity ? build->group_capacity * 2 : 32;
        struct group *groups = realloc(build->groups, capacity * sizeof *groups);
        if (!groups)
            return MST_ENOMEM;
        build->groups = groups;
        build->group_capacity = capacity;
    }
    if (mst_map_set(build->gateways, gateway.data, gateway.length, build->group_count) < 0)
        return MST_ENOMEM;
    struct group *group = &build->groups[build->group_count++];
    *group = (struct group){.subject_offset = (uint32_t)build->multicast->text.length};
    group->subject_length = put_subject(build, &build->via, gateway);
    group->shard = shard_of(build, XXH3_64bits(gateway.data, gateway.length));
    return 0;
}

/* The group of a gateway, made if it is not there. */
static int find_group(struct build *build, struct mst_span gateway, uint32_t *group)
{
    struct recent *recent = &build->recent[((uintptr_t)gateway.data >> 4) % RECENT];
    if (recent->gateway.data != gateway.data || recent->gateway.length != gateway.length) {
        uint64_t found = build->group_count;
        if (!mst_map_get(build->gateways, gateway.data, gateway.length, &found) && add_group(build, gateway) < 0)
            return MST_ENOMEM;
        *recent = (struct recent){gateway, (uint32_t)found};
    }
    *group = recent->group;
    return 0;
}

static int add_target(struct build *build, const struct mst_identity *identity)
{
    struct mst_multicast *multicast = build->multicast;
    uint32_t index = multicast->target_count++, group = DIRECT;
    multicast->targets[index] = (struct mst__target){
        .id_offset = (uint32_t)multicast->ids.length,
        .id_length = (uint8_t)identity->id.length,
        .state = MST_RECEIPT_QUEUED,
    };
    uint64_t hash = XXH3_64bits(identity->id.data, identity->id.length);
    mst_buffer_append(&multicast->ids, identity->id.data, identity->id.length);
    multicast->digest += hash;
    multicast->targets[index].shard = shard_of(build, hash);
    if (identity->gateway.length == 0)
        build->direct++, build->direct_of[multicast->targets[index].shard]++;
    else if (find_group(build, identity->gateway, &group) < 0)
        return MST_ENOMEM;
    else
        build->groups[group].count++;
    build->group_of[index] = group;
    return 0;
}

static int collect_targets(struct build *build)
{
    const struct mst_multicast_request *request = build->request;
    struct mst_multicast *multicast = build->multicast;
    uint32_t most = request->targets->count;
    struct mst_row_walk walk;
    uint32_t row;
    mst_row_walk_init(&walk, request->view, request->targets, 0);
    while (multicast->target_count < most && (row = mst_row_walk_next(&walk)) != MST_ROW_NONE) {
        struct mst_identity identity;
        mst_view_identity(request->view, row, &identity);
        if (add_target(build, &identity) < 0)
            return MST_ENOMEM;
    }
    return multicast->ids.failed ? MST_ENOMEM : 0;
}

/* Puts the targets of each group side by side, in row order, those without a gateway last, by shard. */
static void order_targets(struct build *build)
{
    struct mst_multicast *multicast = build->multicast;
    uint32_t next = 0, direct[MST_CAST_SHARDS];
    for (uint32_t g = 0; g < build->group_count; g++) {
        build->groups[g].next = next;
        next += build->groups[g].count;
    }
    for (uint32_t s = 0; s < multicast->shards; s++) {
        direct[s] = next;
        next += build->direct_of[s];
    }
    for (uint32_t i = 0; i < multicast->target_count; i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): add_target has set it for every target
        uint32_t group = build->group_of[i];
        multicast->order[group == DIRECT ? direct[multicast->targets[i].shard]++ : build->groups[group].next++] = i;
    }
}

static struct mst_cast_message *add_message(struct build *build, uint32_t first)
{
    struct mst_multicast *multicast = build->multicast;
    if (multicast->message_count == build->message_capacity) {
        uint32_t capacity = build->message_capacity + build->message_capacity / 2 + 16;
        struct mst__message *messages = realloc(multicast->messages, capacity * sizeof *messages);
        if (messages)
            multicast->messages = messages;
        struct mst_cast_message *casts = realloc(multicast->cast_messages, capacity * sizeof *casts);
        if (casts)
            multicast->cast_messages = casts;
        if (!messages || !casts)
            return NULL;
        build->message_capacity = capacity;
    }
    struct mst_cast_message *cast = &multicast->cast_messages[multicast->message_count];
    multicast->messages[multicast->message_count++] = (struct mst__message){.first = first};
    *cast = (struct mst_cast_message){0};
    return cast;
}

static struct mst_cast_message *open_envelope(struct build *build, const struct group *group, uint32_t first)
{
    struct mst_multicast *multicast = build->multicast;
    struct mst_buffer *text = &multicast->text;
    struct mst_cast_message *cast = add_message(build, first);
    if (!cast)
        return NULL;
    cast->subject_offset = group->subject_offset;
    cast->subject_length = group->subject_length;
    cast->body_offset = (uint32_t)text->length;
    mst_buffer_append_string(text, "{\"m\":\"");
    mst_buffer_append_string(text, multicast->id);
    mst_buffer_append_string(text, "\",\"rev\":");
    mst_buffer_append_u64(text, build->request->revision);
    mst_buffer_append_string(text, ",\"to\":[");
    return cast;
}

static void close_envelope(struct build *build, struct mst_cast_message *cast, uint32_t count)
{
    struct mst_multicast *multicast = build->multicast;
    struct mst__message *message = &multicast->messages[multicast->message_count - 1];
    message->count = (uint16_t)count;
    message->enveloped = true;
    mst_buffer_append_string(&multicast->text, ENVELOPE_END);
    mst_buffer_append(&multicast->text, build->request->payload.data, build->request->payload.length);
    cast->body_length = (uint32_t)(multicast->text.length - cast->body_offset);
}

/* Writes ids from order[first] on until `end` or a limit; returns where it stopped, `first` if not even one fits. */
static uint32_t put_ids(struct build *build, const struct mst_cast_message *cast, uint32_t first, uint32_t end)
{
    struct mst_multicast *multicast = build->multicast;
    struct mst_buffer *text = &multicast->text;
    size_t start = text->length, tail = sizeof ENVELOPE_END - 1 + build->request->payload.length;
    uint32_t at = first;
    for (; at < end && at - first < MST__ENVELOPE_IDS; at++) {
        size_t before = text->length;
        struct mst_span id = mst__target_id(multicast, multicast->order[at]);
        if (at > first)
            mst_buffer_append_byte(text, ',');
        mst_json_put_string(text, id.data, id.length);
        if (text->length - start > MST__ENVELOPE_ID_BYTES ||
            text->length - cast->body_offset + tail > build->max_payload) {
            text->length = before;
            break;
        }
    }
    return at;
}

static int put_envelopes(struct build *build, const struct group *group, struct mst_error *error)
{
    uint32_t at = group->next - group->count;
    while (at < group->next && !build->multicast->text.failed) {
        struct mst_cast_message *cast = open_envelope(build, group, at);
        if (!cast)
            return mst_error_set(error, MST_ENOMEM, "no memory for the messages of a multicast");
        uint32_t end = put_ids(build, cast, at, group->next);
        if (end == at)
            return mst_error_set(error, MST_ETOOBIG, "payload of %zu bytes and envelope are over the limit of %zu",
                                 build->request->payload.length, build->max_payload);
        close_envelope(build, cast, end - at);
        at = end;
    }
    return 0;
}

static int put_direct(struct build *build, uint32_t first, uint32_t end, struct mst_error *error)
{
    struct mst_multicast *multicast = build->multicast;
    for (uint32_t at = first; at < end; at++) {
        struct mst_cast_message *cast = add_message(build, at);
        if (!cast)
            return mst_error_set(error, MST_ENOMEM, "no memory for the messages of a multicast");
        multicast->messages[multicast->message_count - 1].count = 1;
        cast->subject_offset = (uint32_t)multicast->text.length;
        cast->subject_length = put_subject(build, &build->to, mst__target_id(multicast, multicast->order[at]));
    }
    return 0;
}

/* The messages of one shard; those without a gateway begin at `direct`. */
static int put_shard(struct build *build, uint32_t shard, uint32_t direct, struct mst_error *error)
{
    for (uint32_t g = 0; g < build->group_count; g++) {
        int code = build->groups[g].shard == shard ? put_envelopes(build, &build->groups[g], error) : 0;
        if (code < 0)
            return code;
    }
    return put_direct(build, direct, direct + build->direct_of[shard], error);
}

static int put_messages(struct build *build, struct mst_error *error)
{
    struct mst_multicast *multicast = build->multicast;
    struct mst_buffer *text = &multicast->text;
    uint32_t direct = multicast->target_count - build->direct;
    for (uint32_t s = 0; s < multicast->shards; s++) {
        int code = put_shard(build, s, direct, error);
        if (code < 0)
            return code;
        direct += build->direct_of[s];
        multicast->ends[s] = multicast->message_count;
    }
    if (!text->failed)
        return 0;
    /* The buffer does not say why it failed; the longest append is the payload or a subject. */
    if (text->limit - text->length <= build->request->payload.length + 4096)
        return mst_error_set(error, MST_ETOOBIG, "the messages of the multicast are over %zu bytes", text->limit);
    return mst_error_set(error, MST_ENOMEM, "no memory for the messages of a multicast");
}

/* One allocation per array, sized by the number of targets. */
static bool allocate(struct build *build)
{
    struct mst_multicast *multicast = build->multicast;
    size_t most = build->request->targets->count ? build->request->targets->count : 1;
    size_t limit = MST__FANOUT_TEXT + most * 1024;
    multicast->text.limit = limit > UINT32_MAX ? UINT32_MAX : limit;
    multicast->ids.limit = UINT32_MAX;
    multicast->targets = malloc(most * sizeof *multicast->targets);
    multicast->order = malloc(most * sizeof *multicast->order);
    build->group_of = malloc(most * sizeof *build->group_of);
    build->gateways = mst_map_create();
    return multicast->targets && multicast->order && build->group_of && build->gateways &&
           mst_buffer_reserve(&multicast->ids, most * 24) &&
           mst_buffer_reserve(&multicast->text, build->request->payload.length + most * 32);
}

static bool allocate_messages(struct build *build)
{
    struct mst_multicast *multicast = build->multicast;
    build->message_capacity = build->direct + build->group_count + multicast->target_count / MST__ENVELOPE_IDS + 1;
    multicast->messages = malloc(build->message_capacity * sizeof *multicast->messages);
    multicast->cast_messages = malloc(build->message_capacity * sizeof *multicast->cast_messages);
    return multicast->messages && multicast->cast_messages;
}

static int run(struct build *build, struct mst_error *error)
{
    struct mst_multicast *multicast = build->multicast;
    const struct mst_multicast_request *request = build->request;
    if (request->payload.length > build->max_payload)
        return mst_error_set(error, MST_ETOOBIG, "payload of %zu bytes is over the limit of %zu",
                             request->payload.length, build->max_payload);
    mst_buffer_appendf(&build->via, "%s.%s.via.", multicast->fanout->prefix, request->namespace_);
    mst_buffer_appendf(&build->to, "%s.%s.to.", multicast->fanout->prefix, request->namespace_);
    if (build->via.failed || build->to.failed || !allocate(build))
        goto fail;
    mst_buffer_append(&multicast->text, request->payload.data, request->payload.length);
    multicast->payload_length = request->payload.length;
    if (collect_targets(build) < 0 || !allocate_messages(build))
        goto fail;
    order_targets(build);
    return put_messages(build, error);
fail:
    return mst_error_set(error, MST_ENOMEM, "no memory for a multicast");
}

int mst__multicast_build(struct mst_multicast *multicast, const struct mst_multicast_request *request,
                         struct mst_error *error)
{
    struct mst_messaging *messaging = multicast->fanout->messaging;
    struct build build = {
        .multicast = multicast,
        .request = request,
        .max_payload = messaging->ops->max_payload(messaging),
    };
    multicast->shards = messaging->ops->shards ? messaging->ops->shards(messaging) : 1;
    int code = run(&build, error);
    mst_map_destroy(build.gateways);
    mst_buffer_deinit(&build.via);
    mst_buffer_deinit(&build.to);
    free(build.groups);
    free(build.group_of);
    return code;
}

uint64_t mst_fanout_digest(struct mst_view *view, const struct mst_rowset *targets)
{
    uint64_t digest = 0;
    struct mst_row_walk walk;
    uint32_t row;
    mst_row_walk_init(&walk, view, targets, 0);
    while ((row = mst_row_walk_next(&walk)) != MST_ROW_NONE) {
        struct mst_identity identity;
        mst_view_identity(view, row, &identity);
        digest += XXH3_64bits(identity.id.data, identity.id.length);
    }
    return digest;
}
