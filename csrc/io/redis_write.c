// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCHES_MAX 2
#define EARLY_RECORDS 64u            /* enough to be sent though a batch is still under way */
#define OUT_BYTES (4u * 1024 * 1024) /* most that waits for the socket */
#define LEASE_MAX ((INT64_C(1) << 40) - 1)

struct batch {
    struct mst__redis_space *space;
    bool puts;
    uint32_t count;
    struct mst__redis_part *parts[MST__BATCH_RECORDS];
};

/* ---- lists ---- */

static void append(struct mst__redis_parts *list, struct mst__redis_part *part)
{
    part->list = list;
    part->next = NULL;
    part->previous = list->tail;
    if (list->tail != NULL)
        list->tail->next = part;
    else
        list->head = part;
    list->tail = part;
    part->request->space->waiting += part->count;
}

static void unlink_part(struct mst__redis_part *part)
{
    struct mst__redis_parts *list = part->list;
    /* The analyzer does not see that a list's members have neighbours or are its ends. */
    // NOLINTBEGIN(clang-analyzer-core.NullDereference)
    *(part->previous != NULL ? &part->previous->next : &list->head) = part->next;
    *(part->next != NULL ? &part->next->previous : &list->tail) = part->previous;
    // NOLINTEND(clang-analyzer-core.NullDereference)
    part->list = NULL;
    part->request->space->waiting -= part->count;
}

/* ---- requests ---- */

static void answer(char kind, void *object, int status, const struct mst_error *error)
{
    if (kind == 'P') {
        struct mst_registry_put *put = object;
        put->status = status;
        if (status != 0)
            put->error = *error;
        put->done(put);
    } else if (kind == 'T') {
        struct mst_registry_renew *renew = object;
        renew->status = status;
        if (status != 0)
            renew->error = *error;
        renew->done(renew);
    } else if (kind == 'D') {
        struct mst_registry_remove *remove = object;
        remove->status = status;
        if (status != 0)
            remove->error = *error;
        remove->done(remove);
    }
}

static void release(struct mst__redis_request *request)
{
    if (request->object == NULL && request->open == 0)
        free(request);
}

void mst__redis_request_finish(struct mst__redis_request *request, int status, const struct mst_error *error)
{
    struct mst__redis *registry = request->space->registry;
    void *object = request->object;
    if (object == NULL)
        return;
    request->object = NULL;
    mst_timers_cancel(&registry->loop->timers, &request->timer);
    registry->records -= request->records;
    registry->bytes -= request->bytes;
    *(request->previous != NULL ? &request->previous->next : &registry->requests) = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    /* Its parts have nothing to say any more; those in flight come back by themselves. */
    for (uint32_t i = 0; i < request->part_count; i++)
        if (request->parts[i].list != NULL) {
            unlink_part(&request->parts[i]);
            request->open--;
        }
    answer(request->kind, object, status, error);
    release(request);
}

void mst__redis_part_settle(struct mst__redis_part *part)
{
    struct mst__redis_request *request = part->request;
    /* The last part is given up only after the answer, so that the request outlives it. */
    if (request->open == 1 && request->object != NULL)
        mst__redis_request_finish(request, request->status, &request->error);
    request->open--;
    release(request);
}

void mst__redis_part_fail(struct mst__redis_part *part, int status, const struct mst_error *error)
{
    struct mst__redis_request *request = part->request;
    if (request->status == 0) {
        request->status = status;
        request->error = *error;
        if (part->retry)
            mst__redis_error_unsure(&request->error);
    }
    mst__redis_part_settle(part);
}

/* What is in flight, or was when a connection broke. What only waited in the queue was certainly not carried out. */
static bool was_sent(const struct mst__redis_request *request)
{
    bool sent = false;
    for (uint32_t i = 0; i < request->part_count; i++)
        sent |= request->parts[i].list == NULL || request->parts[i].retry;
    return sent;
}

/* Ends a request that has got no answer. */
static void finish_unanswered(struct mst__redis_request *request, const struct mst_error *why)
{
    struct mst_error error = *why;
    if (was_sent(request))
        mst__redis_error_unsure(&error);
    mst__redis_request_finish(request, error.code, &error);
}

static void on_deadline(struct mst_timer *timer, void *owner)
{
    struct mst__redis_request *request = owner;
    struct mst__redis *registry = request->space->registry;
    struct mst_error error;
    (void)timer;
    if (registry->serving)
        mst_error_set(&error, MST_EDEADLINE, "Redis at %s: no answer in time", registry->address);
    else
        error = registry->why;
    finish_unanswered(request, &error);
}

/* Makes the next version: milliseconds (44 bits), a counter (8), the instance (12). It may run ahead of the clock. */
static uint64_t next_version(struct mst__redis *registry)
{
    uint64_t version = (uint64_t)mst__redis_now(registry) << 20, least = (registry->last_version | 4095) + 1;
    registry->last_version = (version > least ? version : least) | registry->instance;
    return registry->last_version;
}

static uint32_t parts_of(char kind, uint32_t records)
{
    return kind == 'T' || kind == 'E' ? (records + MST__BATCH_RECORDS - 1) / MST__BATCH_RECORDS : 1;
}

static void enqueue_parts(struct mst__redis_request *request, uint64_t version)
{
    for (uint32_t i = 0; i < request->part_count; i++) {
        struct mst__redis_part *part = &request->parts[i];
        uint32_t first = i * MST__BATCH_RECORDS, rest = request->records - first;
        *part = (struct mst__redis_part){.request = request, .first = first, .version = version};
        part->count = rest < MST__BATCH_RECORDS ? rest : MST__BATCH_RECORDS;
        append(&request->space->queue, part);
    }
}

/* Registers a request whose object, ids and parts are to be sent. `extra`: bytes behind the parts. */
static struct mst__redis_request *request_create(struct mst__redis_space *space, char kind, uint32_t records,
                                                 size_t extra)
{
    uint32_t parts = parts_of(kind, records);
    struct mst__redis_request *request = calloc(1, sizeof *request + parts * sizeof *request->parts + extra);
    if (request == NULL)
        return NULL;
    request->kind = kind;
    request->space = space;
    request->records = records;
    request->part_count = request->open = parts;
    request->timer.fire = on_deadline;
    request->timer.owner = request;
    return request;
}

static void request_submit(struct mst__redis_request *request, size_t bytes)
{
    struct mst__redis *registry = request->space->registry;
    request->bytes = bytes;
    registry->records += request->records;
    registry->bytes += bytes;
    request->next = registry->requests;
    if (request->next != NULL)
        request->next->previous = request;
    registry->requests = request;
    if (request->space->waiting == 0 && request->space->batches == 0)
        mst__redis_feed_writing(request->space);
    enqueue_parts(request, next_version(registry));
}

/* ---- admission ---- */

static int full(struct mst__redis *registry, struct mst_error *error)
{
    if (!registry->serving) {
        *error = registry->why;
        return error->code;
    }
    return mst_error_set(error, MST_EBUSY, "%llu changes wait for Redis at %s", (unsigned long long)registry->records,
                         registry->address);
}

/* What every operation passes first; the request, or NULL with `error` set. */
static struct mst__redis_request *admit(struct mst__redis *registry, char kind, const char *namespace_,
                                        uint32_t records, size_t bytes, uint64_t deadline, struct mst_error *error)
{
    struct mst__redis_space *space = NULL;
    struct mst__redis_request *request = NULL;
    if (registry->closing)
        mst_error_set(error, MST_ECLOSED, "the registry is closed");
    else if (deadline <= mst_clock_monotonic())
        mst_error_set(error, MST_EDEADLINE, "%s", mst_error_text(MST_EDEADLINE));
    else if (registry->records + records > registry->options.queue_records ||
             registry->bytes + bytes > registry->options.queue_bytes)
        full(registry, error);
    else if ((space = mst__redis_space_get(registry, namespace_)) == NULL ||
             (request = request_create(space, kind, records, 0)) == NULL ||
             (deadline != UINT64_MAX && mst_timers_set(&registry->loop->timers, &request->timer, deadline) < 0)) {
        mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
        free(request);
        request = NULL;
    }
    return request;
}

void mst__redis_put(struct mst_registry *base, struct mst_registry_put *put)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    struct mst__redis_request *request = NULL;
    size_t bytes = put->id.length + put->metadata.length + put->gateway.length + put->owner.length + 200;
    put->created = put->metadata_changed = false;
    if (put->lease_ms < 0 || put->lease_ms > LEASE_MAX || put->owner.length > 65535 || put->gateway.length > 65535)
        mst_error_set(&put->error, MST_ERANGE, "lease, owner or gateway out of range");
    else
        request = admit(registry, 'P', put->namespace_, 1, bytes, put->deadline, &put->error);
    if (request == NULL) {
        put->status = put->error.code;
        put->slot_state = registry->refused_puts;
        registry->refused_puts = put;
        uv_async_send(&registry->wake);
        return;
    }
    request->object = put;
    request_submit(request, bytes);
}

void mst__redis_renew(struct mst_registry *base, struct mst_registry_renew *renew)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    struct mst__redis_request *request = NULL;
    size_t bytes = 200;
    for (uint32_t i = 0; i < renew->count; i++)
        bytes += renew->ids[i].length + 16;
    memset(renew->results, 0, renew->count * sizeof *renew->results);
    renew->revision = 0;
    renew->error = (struct mst_error){0};
    if (renew->lease_ms > LEASE_MAX)
        mst_error_set(&renew->error, MST_ERANGE, "lease out of range");
    else if (renew->count > 0)
        request = admit(registry, 'T', renew->namespace_, renew->count, bytes, renew->deadline, &renew->error);
    if (request == NULL) {
        renew->status = renew->error.code;
        renew->slot_state = registry->refused_renews;
        registry->refused_renews = renew;
        uv_async_send(&registry->wake);
        return;
    }
    request->object = renew;
    request->ids = renew->ids;
    request_submit(request, bytes);
}

void mst__redis_remove(struct mst_registry *base, struct mst_registry_remove *remove)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    size_t bytes = remove->id.length + 200;
    struct mst__redis_request *request =
        admit(registry, 'D', remove->namespace_, 1, bytes, remove->deadline, &remove->error);
    remove->removed = false;
    if (request == NULL) {
        remove->status = remove->error.code;
        remove->slot_state = registry->refused_removes;
        registry->refused_removes = remove;
        uv_async_send(&registry->wake);
        return;
    }
    request->object = remove;
    request_submit(request, bytes);
}

static void copy_ids(struct mst__redis_request *request, const struct mst_span *ids, uint32_t count)
{
    struct mst_span *copies = (struct mst_span *)&request->parts[request->part_count];
    char *text = (char *)(copies + count);
    request->ids = copies;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(text, ids[i].data, ids[i].length);
        copies[i] = (struct mst_span){text, ids[i].length};
        text += ids[i].length;
    }
}

void mst__redis_reap(struct mst_registry *base, const char *namespace_, const struct mst_span *ids, uint32_t count)
{
    struct mst__redis *registry = (struct mst__redis *)base;
    size_t bytes = 200 + count * sizeof *ids;
    for (uint32_t i = 0; i < count; i++)
        bytes += ids[i].length;
    /* Nobody waits for it, and other instances reap as well; so where it does not fit, it is left to them. */
    if (registry->closing || registry->records + count > registry->options.queue_records / 2 ||
        registry->bytes + bytes > registry->options.queue_bytes / 2)
        return;
    struct mst__redis_space *space = mst__redis_space_get(registry, namespace_);
    struct mst__redis_request *request = space != NULL ? request_create(space, 'E', count, bytes) : NULL;
    if (request == NULL)
        return;
    copy_ids(request, ids, count);
    request->object = request;
    if (request->part_count == 0) {
        free(request);
        return;
    }
    request_submit(request, bytes);
}

/* ---- batches ---- */

/* One is kept, so that a batch of one record does not cost an allocation of the size of a full one. */
static struct batch *batch_take(struct mst__redis *registry)
{
    struct batch *batch = registry->spare_batch;
    registry->spare_batch = NULL;
    return batch != NULL ? batch : malloc(sizeof *batch);
}

static void batch_give(struct mst__redis *registry, struct batch *batch)
{
    free(registry->spare_batch);
    registry->spare_batch = batch;
}

static bool fits(const struct batch *batch, const struct mst__redis_part *part, uint32_t records, size_t bytes)
{
    if (batch->count == 0)
        return true;
    if (records + part->count > MST__BATCH_RECORDS || bytes + mst__redis_part_bytes(part) > MST__BATCH_BYTES)
        return false;
    return !(batch->parts[0]->ease && part->request->kind == 'P');
}

static size_t gather(struct batch *batch)
{
    struct mst__redis_space *space = batch->space;
    uint32_t records = 0;
    size_t bytes = 0;
    while (batch->count < MST__BATCH_RECORDS) {
        struct mst__redis_part *part = space->again.head != NULL ? space->again.head : space->queue.head;
        if (part == NULL || !fits(batch, part, records, bytes))
            break;
        unlink_part(part);
        batch->parts[batch->count++] = part;
        batch->puts |= part->request->kind == 'P';
        records += part->count;
        bytes += mst__redis_part_bytes(part);
    }
    return bytes;
}

/* Back to the front of the queue, in their order. */
static void put_back(struct batch *batch, bool sent)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        struct mst__redis_part *part = batch->parts[i];
        part->retry |= sent;
        if (part->request->object == NULL)
            mst__redis_part_settle(part);
        else
            append(&batch->space->again, part);
    }
}

static void fail_all(struct batch *batch, const struct mst_error *error)
{
    for (uint32_t i = 0; i < batch->count; i++)
        mst__redis_part_fail(batch->parts[i], error->code, error);
}

/* Registrations are refused; what frees memory or keeps leases goes again, by itself. */
static void out_of_memory(struct batch *batch, const struct mst_error *error)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct mst__redis_part *part = batch->parts[i];
        if (part->request->kind == 'P' || !batch->puts) {
            mst__redis_part_fail(part, error->code, error);
        } else {
            part->ease = true;
            batch->parts[kept++] = part;
        }
    }
    batch->count = kept;
    put_back(batch, false);
}

static void on_error(struct batch *batch, const redisReply *reply)
{
    struct mst_error error;
    batch->space->registry->own_at = 0;
    switch (mst__redis_judge(batch->space, reply, &error)) {
    case MST__VERDICT_AGAIN:
        put_back(batch, false);
        break;
    case MST__VERDICT_MEMORY:
        out_of_memory(batch, &error);
        break;
    default:
        fail_all(batch, &error);
    }
}

static void on_results(struct batch *batch, const redisReply *reply)
{
    size_t results = 0;
    for (uint32_t i = 0; i < batch->count; i++)
        results += mst__redis_part_results(batch->parts[i]);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING || (size_t)reply->element[1]->len != results * MST__RESULT_SIZE) {
        struct mst_error error;
        mst_error_set(&error, MST_EREDIS, "Redis at %s answered nonsense", batch->space->registry->address);
        fail_all(batch, &error);
        return;
    }
    uint64_t revision = strtoull(reply->element[0]->str, NULL, 10);
    const char *at = reply->element[1]->str;
    mst__redis_space_saw(batch->space, revision);
    batch->space->tombstones = reply->element[2]->integer > 0;
    batch->space->fresh = NULL;
    bool sure = true;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct mst__redis_part *part = batch->parts[i];
        const char *own = at;
        at += (size_t)mst__redis_part_results(part) * MST__RESULT_SIZE;
        sure &= !part->retry;
        mst__redis_part_read(part, own, revision);
    }
    mst__redis_feed_own(batch->space, revision, sure);
}

static void on_batch(redisReply *reply, void *context)
{
    struct batch *batch = context;
    batch->space->batches--;
    if (reply == NULL)
        put_back(batch, true);
    else if (reply->type == REDIS_REPLY_ERROR)
        on_error(batch, reply);
    else
        on_results(batch, reply);
    batch_give(batch->space->registry, batch);
}

static uint64_t feed_length(struct mst__redis_space *space, size_t bytes)
{
    double mean = space->entry_bytes;
    space->entry_bytes = mean == 0 ? (double)bytes + 64 : mean + ((double)bytes + 64 - mean) / 64;
    double length = (double)space->registry->options.feed_bytes / space->entry_bytes;
    return length < 16 ? 16 : length > 1e7 ? 10000000 : (uint64_t)length;
}

static void encode(struct batch *batch, size_t bytes)
{
    struct mst__redis_space *space = batch->space;
    struct mst__redis_link *link = &space->registry->write;
    uint32_t arguments = 2;
    for (uint32_t i = 0; i < batch->count; i++)
        arguments += mst__redis_part_arguments(batch->parts[i]);
    mst__redis_fcall(space, batch->puts ? "muster_v1_write" : "muster_v1_ease", arguments);
    mst__redis_arg(link, space->epoch, strlen(space->epoch));
    mst__redis_arg_u64(link, feed_length(space, bytes));
    for (uint32_t i = 0; i < batch->count; i++)
        mst__redis_part_write(link, batch->parts[i]);
}

static bool list_name(struct mst__redis_space *space)
{
    struct mst__redis *registry = space->registry;
    char key[MST_NAMESPACE_MAX + 32];
    if (space->listed)
        return true;
    snprintf(key, sizeof key, "%s:namespaces", registry->options.prefix);
    space->listed = mst__redis_send(&registry->write, NULL, NULL, MST__COMMAND_TIMEOUT, "SADD", key, space->name, NULL);
    return space->listed;
}

static bool send_batch(struct mst__redis_space *space)
{
    struct batch *batch = list_name(space) ? batch_take(space->registry) : NULL;
    if (batch == NULL)
        return false;
    batch->space = space;
    batch->puts = false;
    batch->count = 0;
    size_t bytes = gather(batch);
    encode(batch, bytes);
    if (mst__redis_end(&space->registry->write, on_batch, batch, MST__COMMAND_TIMEOUT)) {
        space->batches++;
        return true;
    }
    put_back(batch, false);
    batch_give(space->registry, batch);
    return false;
}

static bool due(const struct mst__redis_space *space)
{
    if (space->state != MST__SPACE_ATTACHED || space->batches >= BATCHES_MAX || space->waiting == 0)
        return false;
    return space->batches == 0 || space->waiting >= EARLY_RECORDS;
}

void mst__redis_write_flush(struct mst__redis *registry)
{
    const struct mst__redis_link *link = &registry->write;
    for (struct mst__redis_space *space = registry->spaces; space != NULL; space = space->next) {
        if (space->waiting == 0 && !space->wanted)
            continue;
        if (!registry->serving || !mst__redis_link_ready(link) || space->pause_until > mst_clock_monotonic())
            continue;
        if (space->state == MST__SPACE_DETACHED)
            mst__redis_space_attach(space);
        while (due(space) && link->out.length - link->sent < OUT_BYTES)
            if (!send_batch(space))
                break;
    }
}

/* ---- the rest ---- */

void mst__redis_write_refused(struct mst__redis *registry)
{
    struct mst_registry_put *put;
    struct mst_registry_renew *renew;
    struct mst_registry_remove *remove;
    while ((put = registry->refused_puts) != NULL) {
        registry->refused_puts = put->slot_state;
        put->done(put);
    }
    while ((renew = registry->refused_renews) != NULL) {
        registry->refused_renews = renew->slot_state;
        renew->done(renew);
    }
    while ((remove = registry->refused_removes) != NULL) {
        registry->refused_removes = remove->slot_state;
        remove->done(remove);
    }
}

void mst__redis_write_close(struct mst__redis *registry)
{
    struct mst_error error;
    mst_error_set(&error, MST_ECLOSED, "the registry is closed");
    while (registry->requests != NULL)
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): finishing takes the request out of the list before it is freed
        finish_unanswered(registry->requests, &error);
}
