// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "core/coordinator_internal.h"

enum { ID, METADATA, TTL, GATEWAY, MODE, OWNER, IF_REVISION, KEYS };

static const struct mst__key keys[KEYS] = {
    [ID] = {"id", MST__T_STRING, 0},
    [METADATA] = {"metadata", MST__T(MST_OBJECT), 0},
    [TTL] = {"ttl", MST__T_NUMBER | MST__T_STRING | MST__T(MST_NULL), 0},
    [GATEWAY] = {"gateway", MST__T_STRING, 0},
    [MODE] = {"mode", MST__T_STRING, 0},
    [OWNER] = {"owner", MST__T_STRING, 0},
    [IF_REVISION] = {"if_revision", MST__T_NUMBER, 0},
};

/* In the order of enum mst_put_mode. */
static const char *const modes[] = {"upsert", "create", "replace", NULL};

struct registration {
    struct mst_registry_put put;
    const uint8_t *document;
    bool creating; /* counted in the space's `creating` */
};

/* The registrations of one request. */
struct work {
    uint32_t count, outstanding;
    bool list;
    struct registration items[];
};

static int read_strings(const uint8_t *const *values, struct mst_registry_put *put)
{
    if (!values[ID])
        return mst_error_set(&put->error, MST_EINVAL, "key \"id\" is missing");
    put->id = mst__body_string(values[ID]);
    put->gateway = mst__body_string(values[GATEWAY]);
    put->owner = mst__body_string(values[OWNER]);
    int code = mst_id_check(put->id.data, put->id.length, &put->error);
    if (code == 0 && values[GATEWAY])
        code = mst_gateway_check(put->gateway.data, put->gateway.length, &put->error);
    if (code == 0 && put->owner.length > MST_ID_MAX)
        code = mst_error_set(&put->error, MST_EINVAL, "key \"owner\" has %zu bytes, at most %u are allowed",
                             put->owner.length, MST_ID_MAX);
    return code;
}

/* Fills a registration from one object of the request; `raw` is its text. */
static int read_item(const uint8_t *object, struct mst_span raw, struct registration *item)
{
    struct mst_registry_put *put = &item->put;
    const uint8_t *values[KEYS];
    int code = mst__body_keys(object, keys, KEYS, values, &put->error);
    if (code == 0)
        code = read_strings(values, put);
    if (code)
        return code;
    item->document = values[METADATA] ? values[METADATA] : mst__empty_object;
    put->metadata = (struct mst_span){"{}", 2};
    if (values[METADATA])
        mst_json_member(raw.data, raw.length, "metadata", &put->metadata);
    put->lease_ms = MST_LEASE_DEFAULT_MS;
    unsigned mode = MST_PUT_UPSERT;
    put->has_if_revision = values[IF_REVISION] != NULL;
    put->if_revision = 0;
    code = mst__metadata_check(put->metadata, item->document, &put->error);
    if (code == 0)
        code = mst__body_lease(values[TTL], &put->lease_ms, &put->error);
    if (code == 0)
        code = mst__body_choice(values[MODE], "mode", modes, &mode, &put->error);
    if (code == 0)
        code = mst__body_integer(values[IF_REVISION], "if_revision", 0, INT64_MAX, &put->if_revision, &put->error);
    put->mode = (enum mst_put_mode)mode;
    return code;
}

static struct work *create_work(struct mst__call *call)
{
    const uint8_t *body = (const uint8_t *)call->packed.data;
    bool list = mst_value_tag(body) == MST_ARRAY;
    uint32_t count = list ? mst_value_count(body) : 1;
    if (count > MST__REGISTER_MAX) {
        mst_error_set(&call->error, MST_ETOOBIG, "%u registrations in one request, at most %u are allowed", count,
                      MST__REGISTER_MAX);
        return NULL;
    }
    /* Not zeroed: an error record of each is large and seldom read. */
    struct work *work = malloc(sizeof *work + count * sizeof work->items[0]);
    if (!work) {
        mst_error_set(&call->error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
        return NULL;
    }
    work->count = count;
    work->outstanding = 0;
    work->list = list;
    return work;
}

/* Returns how many are in order; the others have a status. */
static uint32_t read_items(struct mst__call *call, struct work *work)
{
    const uint8_t *body = (const uint8_t *)call->packed.data, *position = NULL, *object = body;
    struct mst_span raw = {call->body.data, call->body.length};
    size_t raw_position = 0;
    uint32_t valid = 0;
    for (uint32_t i = 0; i < work->count; i++) {
        struct registration *item = &work->items[i];
        if (work->list) {
            mst_value_next(body, &position, &object);
            mst_json_element(call->body.data, call->body.length, &raw_position, &raw);
        }
        item->creating = false;
        item->put.status = read_item(object, raw, item);
        valid += item->put.status == 0;
    }
    return valid;
}

static void put_item(const struct registration *item, struct mst_buffer *out)
{
    const struct mst_registry_put *put = &item->put;
    if (put->status < 0) {
        mst_json_put_error(out, &put->error);
        return;
    }
    MST__PUT(out, "{\"id\":");
    mst_json_put_string(out, put->id.data, put->id.length);
    MST__PUT(out, ",\"revision\":");
    mst_buffer_append_u64(out, put->revision);
    if (put->created)
        MST__PUT(out, ",\"created\":true,\"registered_at\":");
    else
        MST__PUT(out, ",\"created\":false,\"registered_at\":");
    mst__put_time(out, put->registered_at);
    MST__PUT(out, ",\"expires_at\":");
    mst__put_time(out, put->expires_at);
    mst_buffer_append_byte(out, '}');
}

static void finish(struct mst__call *call)
{
    struct work *work = call->state;
    struct mst_buffer *out = &call->answer;
    int status = 0;
    if (!work->list) {
        status = work->items[0].put.status;
        if (status < 0)
            call->error = work->items[0].put.error;
        else
            put_item(&work->items[0], out);
    } else {
        mst_buffer_append_byte(out, '[');
        for (uint32_t i = 0; i < work->count; i++) {
            if (i)
                mst_buffer_append_byte(out, ',');
            put_item(&work->items[i], out);
        }
        mst_buffer_append_byte(out, ']');
    }
    free(work);
    call->state = NULL;
    mst__call_end(call, status);
}

/* What the registry has accepted, for the view. */
static int apply(struct mst__call *call, const struct registration *item)
{
    const struct mst_registry_put *put = &item->put;
    const struct mst_identity identity = {
        .id = put->id,
        .metadata = put->metadata,
        .gateway = put->gateway,
        .owner = put->owner,
        .registered_at = put->registered_at,
        .updated_at = put->updated_at,
        .expires_at = put->expires_at,
        .lease_ms = put->lease_ms,
        .revision = put->revision,
    };
    return mst__space_put(call->space, &identity, item->document);
}

static void on_put(struct mst_registry_put *put)
{
    struct registration *item = (struct registration *)put;
    struct mst__call *call = put->owner_context;
    struct work *work = call->state;
    call->space->creating -= item->creating;
    if (put->status == 0) {
        int code = apply(call, item);
        if (code)
            put->status = mst_error_set(&put->error, code, "registered, but not shown here: %s", mst_error_text(code));
    }
    if (--work->outstanding == 0)
        finish(call);
}

static int admit(struct mst__call *call, struct registration *item)
{
    struct mst__space *space = call->space;
    uint32_t most = call->coordinator->max_identities;
    if (mst_view_find(space->view, item->put.id.data, item->put.id.length) != MST_ROW_NONE)
        return 0;
    if (mst_view_count(space->view) + space->creating >= most)
        return mst_error_set(&item->put.error, MST_EQUOTA, "max identities limit reached (%u)", most);
    item->creating = true;
    return 0;
}

static void send(struct mst__call *call, struct registration *item)
{
    struct mst_registry *registry = call->coordinator->registry;
    struct mst_registry_put *put = &item->put;
    put->namespace_ = call->namespace_;
    put->deadline = call->deadline;
    put->done = on_put;
    put->owner_context = call;
    put->slot_state = NULL;
    put->created = put->metadata_changed = false;
    put->error.code = 0;
    call->space->creating += item->creating;
    registry->ops->put(registry, put);
}

void mst__verb_register(struct mst__call *call)
{
    int code = mst__body_parse(call);
    struct work *work = code ? NULL : create_work(call);
    if (!work) {
        mst__call_end(call, code ? code : call->error.code);
        return;
    }
    uint32_t valid = read_items(call, work);
    if (valid && !mst__call_need_space(call)) {
        free(work);
        return;
    }
    call->state = work;
    /* One more than there are, so that no answer finds the count at 0 while some are still to be sent. */
    work->outstanding = valid + 1;
    for (uint32_t i = 0; i < work->count; i++) {
        struct registration *item = &work->items[i];
        if (item->put.status == 0) {
            item->put.status = admit(call, item);
            if (item->put.status == 0)
                send(call, item);
            else
                work->outstanding--;
        }
    }
    if (--work->outstanding == 0)
        finish(call);
}
