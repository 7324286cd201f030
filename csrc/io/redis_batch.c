// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdlib.h>
#include <string.h>

/* Flags of a put or removal, as redis_functions.lua knows them. */
enum { RETRY = 1, CREATE = 2, REPLACE = 4, CONDITION = 8 };

static const struct mst_registry_put *put_of(const struct mst__redis_part *part)
{
    return part->request->object;
}

/* ---- encoding ---- */

size_t mst__redis_part_bytes(const struct mst__redis_part *part)
{
    size_t bytes = 80;
    if (part->request->kind == 'P')
        return bytes + put_of(part)->id.length + put_of(part)->metadata.length + put_of(part)->gateway.length +
               put_of(part)->owner.length;
    if (part->request->kind == 'D')
        return bytes + ((const struct mst_registry_remove *)part->request->object)->id.length;
    for (uint32_t i = 0; i < part->count; i++)
        bytes += part->request->ids[part->first + i].length + 8;
    return bytes;
}

uint32_t mst__redis_part_arguments(const struct mst__redis_part *part)
{
    switch (part->request->kind) {
    case 'P':
        return 3;
    case 'D':
        return 2;
    default:
        return 1 + part->count;
    }
}

static void write_put(struct mst__redis_link *link, const struct mst__redis_part *part, struct mst_buffer *scratch)
{
    const struct mst_registry_put *put = put_of(part);
    unsigned flags = (part->retry ? RETRY : 0) | (put->mode == MST_PUT_CREATE ? CREATE : 0) |
                     (put->mode == MST_PUT_REPLACE ? REPLACE : 0) | (put->has_if_revision ? CONDITION : 0);
    struct mst_buffer *out = &link->out, digest = {0};
    uint64_t number;
    mst__redis_pack(scratch, 'P', 1);
    mst__redis_pack(scratch, flags, 1);
    mst__redis_pack(scratch, part->version, 8);
    mst__redis_pack(scratch, (uint64_t)put->lease_ms, 5);
    mst__redis_pack(scratch, put->if_revision, 7);
    mst__redis_pack(scratch, 0, 8);
    mst__redis_pack(scratch, mst__redis_digest(put->owner.data, put->owner.length), 8);
    mst__redis_arg(link, scratch->data, scratch->length);
    size_t place = out->length - 2 - 16;
    mst__redis_arg(link, put->id.data, put->id.length);
    mst__redis_arg_head(link, mst__redis_body_length(put));
    size_t body = out->length;
    mst__redis_body_write(out, put);
    mst_buffer_append(out, "\r\n", 2);
    /* The digest is of the body, which is written already, so it comes last. */
    if (out->failed || !mst__redis_body_digest(put, out->data + body, &number)) {
        out->failed = true;
        return;
    }
    digest = (struct mst_buffer){.data = out->data + place, .capacity = 8};
    mst__redis_pack(&digest, number, 8);
}

static void write_remove(struct mst__redis_link *link, const struct mst__redis_part *part, struct mst_buffer *scratch)
{
    const struct mst_registry_remove *remove = part->request->object;
    mst__redis_pack(scratch, 'D', 1);
    mst__redis_pack(scratch, part->retry ? RETRY : 0, 1);
    mst__redis_pack(scratch, part->version, 8);
    mst__redis_arg(link, scratch->data, scratch->length);
    mst__redis_arg(link, remove->id.data, remove->id.length);
}

static void write_ids(struct mst__redis_link *link, const struct mst__redis_part *part, struct mst_buffer *scratch)
{
    mst__redis_pack(scratch, (unsigned char)part->request->kind, 1);
    mst__redis_pack(scratch, part->count, 2);
    if (part->request->kind == 'T') {
        int64_t lease = ((const struct mst_registry_renew *)part->request->object)->lease_ms;
        mst__redis_pack(scratch, lease < 0, 1);
        mst__redis_pack(scratch, lease < 0 ? 0 : (uint64_t)lease, 5);
    }
    mst__redis_arg(link, scratch->data, scratch->length);
    for (uint32_t i = 0; i < part->count; i++) {
        const struct mst_span *id = &part->request->ids[part->first + i];
        mst__redis_arg(link, id->data, id->length);
    }
}

void mst__redis_part_write(struct mst__redis_link *link, const struct mst__redis_part *part)
{
    char memory[64]; /* no head is longer */
    struct mst_buffer scratch = {.data = memory, .capacity = sizeof memory, .limit = sizeof memory};
    if (part->request->kind == 'P')
        write_put(link, part, &scratch);
    else if (part->request->kind == 'D')
        write_remove(link, part, &scratch);
    else
        write_ids(link, part, &scratch);
    link->out.failed |= scratch.failed;
}

/* ---- results ---- */

uint32_t mst__redis_part_results(const struct mst__redis_part *part)
{
    return part->request->kind == 'E' ? 0 : part->count;
}

static int put_failure(const struct mst_registry_put *put, const struct mst__redis_state *result,
                       struct mst_error *error)
{
    int length = (int)put->id.length;
    switch (result->status) {
    case MST__EXISTS:
        return mst_error_set(error, MST_EEXISTS, "identity %.*s already registered", length, put->id.data);
    case MST__REVISION:
        return mst_error_set(error, MST_EREVISION, "identity %.*s is at revision %llu, not %llu", length, put->id.data,
                             (unsigned long long)result->revision, (unsigned long long)put->if_revision);
    case MST__OWNER:
        return mst_error_set(error, MST_EOWNER, "identity %.*s belongs to another owner", length, put->id.data);
    default:
        return mst_error_set(error, MST_EREDIS,
                             "the connection to Redis broke and identity %.*s has changed since; "
                             "whether it was registered meanwhile is not known",
                             length, put->id.data);
    }
}

static void read_put(struct mst__redis_part *part, const struct mst__redis_state *result)
{
    struct mst__redis_request *request = part->request;
    struct mst_registry_put *put = request->object;
    if (result->status != MST__APPLIED) {
        struct mst_error error;
        mst__redis_request_finish(request, put_failure(put, result, &error), &error);
        return;
    }
    put->created = result->flags & MST__FLAG_CREATED;
    put->metadata_changed = result->flags & MST__FLAG_CHANGED;
    put->registered_at = result->registered;
    put->updated_at = result->updated;
    put->expires_at = result->deadline;
    put->revision = result->revision;
    mst__redis_remember(request->space, 'p', put->id, result, put);
    mst__redis_request_finish(request, 0, NULL);
}

static void read_remove(struct mst__redis_part *part, const struct mst__redis_state *result, uint64_t revision)
{
    struct mst__redis_request *request = part->request;
    struct mst_registry_remove *remove = request->object;
    remove->removed = result->status == MST__APPLIED;
    remove->revision = remove->removed ? result->revision : revision;
    if (remove->removed)
        mst__redis_remember(request->space, 'd', remove->id, result, NULL);
    if (result->status == MST__UNSURE) {
        struct mst_error error;
        mst_error_set(&error, MST_EREDIS,
                      "the connection to Redis broke and identity %.*s was registered again since; "
                      "whether it was removed meanwhile is not known",
                      (int)remove->id.length, remove->id.data);
        mst__redis_request_finish(request, MST_EREDIS, &error);
        return;
    }
    mst__redis_request_finish(request, 0, NULL);
}

static void read_renew(struct mst__redis_part *part, const char *results, uint64_t revision)
{
    struct mst__redis_request *request = part->request;
    struct mst_registry_renew *renew = request->object;
    for (uint32_t i = 0; i < part->count; i++) {
        struct mst__redis_state result;
        struct mst_renewed *renewed = &renew->results[part->first + i];
        mst__redis_result_read(results + (size_t)i * MST__RESULT_SIZE, &result);
        renewed->renewed = result.status == MST__APPLIED;
        if (!renewed->renewed)
            continue;
        renewed->expires_at = result.deadline;
        renewed->lease_ms = result.lease;
        renewed->revision = result.revision;
        mst__redis_remember(request->space, 't', renew->ids[part->first + i], &result, NULL);
    }
    if (renew->revision < revision)
        renew->revision = revision;
    mst__redis_part_settle(part);
}

void mst__redis_part_read(struct mst__redis_part *part, const char *results, uint64_t revision)
{
    struct mst__redis_request *request = part->request;
    struct mst__redis_state result;
    if (request->object == NULL) {
        mst__redis_part_settle(part);
        return;
    }
    if (request->kind == 'T') {
        read_renew(part, results, revision);
        return;
    }
    if (request->kind == 'P' || request->kind == 'D')
        mst__redis_result_read(results, &result);
    /* The request must outlive its callback. */
    if (request->kind == 'P')
        read_put(part, &result);
    else if (request->kind == 'D')
        read_remove(part, &result, revision);
    mst__redis_part_settle(part);
}
