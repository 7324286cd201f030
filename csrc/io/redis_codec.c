// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <endian.h>
#include <string.h>

#include <xxhash.h>

void mst__redis_pack(struct mst_buffer *out, uint64_t number, unsigned bytes)
{
    uint64_t text = htobe64(number << (64 - 8 * bytes));
    mst_buffer_append(out, &text, bytes);
}

/* Inline for the many places where `bytes` is a constant. */
static inline uint64_t unpack(const char *from, unsigned bytes)
{
    uint64_t text = 0;
    memcpy((char *)&text + 8 - bytes, from, bytes);
    return be64toh(text);
}

uint64_t mst__redis_unpack(const char *from, unsigned bytes)
{
    return unpack(from, bytes);
}

static bool read_number(const char **at, const char *end, uint64_t *number)
{
    const char *start = *at;
    *number = 0;
    for (; *at < end && **at >= '0' && **at <= '9' && *number < UINT64_MAX / 10 - 1; ++*at)
        *number = *number * 10 + (uint64_t)(**at - '0');
    return *at > start;
}

bool mst__redis_position(const char *text, size_t length, struct mst__redis_position *position)
{
    const char *at = text, *end = text + length;
    if (!read_number(&at, end, &position->epoch) || at == end || *at++ != '-')
        return false;
    return read_number(&at, end, &position->number) && at == end;
}

int mst__redis_position_compare(struct mst__redis_position a, struct mst__redis_position b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return (a.number > b.number) - (a.number < b.number);
}

uint64_t mst__redis_digest(const void *bytes, size_t length)
{
    return XXH3_64bits_withSeed(bytes, length, UINT64_C(0x6d7573746572));
}

void mst__redis_body_write(struct mst_buffer *out, const struct mst_registry_put *put)
{
    mst__redis_pack(out, put->gateway.length, 2);
    mst__redis_pack(out, put->owner.length, 2);
    mst_buffer_append(out, put->gateway.data, put->gateway.length);
    mst_buffer_append(out, put->owner.data, put->owner.length);
    mst_buffer_append(out, put->metadata.data, put->metadata.length);
}

size_t mst__redis_body_length(const struct mst_registry_put *put)
{
    return 4 + put->gateway.length + put->owner.length + put->metadata.length;
}

bool mst__redis_body_digest(const struct mst_registry_put *put, const char *body, uint64_t *digest)
{
    struct mst_buffer without = {0};
    if (put->owner.length == 0) {
        *digest = mst__redis_digest(body, mst__redis_body_length(put));
        return true;
    }
    struct mst_registry_put no_owner = *put;
    no_owner.owner = (struct mst_span){0};
    mst__redis_body_write(&without, &no_owner);
    bool good = !without.failed;
    if (good)
        *digest = mst__redis_digest(without.data, without.length);
    mst_buffer_deinit(&without);
    return good;
}

bool mst__redis_body_read(const char *bytes, size_t length, struct mst_identity *identity)
{
    if (length < 4)
        return false;
    size_t gateway = mst__redis_unpack(bytes, 2), owner = mst__redis_unpack(bytes + 2, 2);
    if (length < 4 + gateway + owner)
        return false;
    identity->gateway = (struct mst_span){bytes + 4, gateway};
    identity->owner = (struct mst_span){bytes + 4 + gateway, owner};
    identity->metadata = (struct mst_span){bytes + 4 + gateway + owner, length - 4 - gateway - owner};
    return true;
}

void mst__redis_state_write(struct mst_buffer *out, const struct mst__redis_state *state)
{
    mst__redis_pack(out, state->version, 8);
    mst__redis_pack(out, (uint64_t)state->deadline, 6);
    mst__redis_pack(out, (uint64_t)state->lease, 5);
    mst__redis_pack(out, state->revision, 7);
    mst__redis_pack(out, (uint64_t)state->registered, 6);
    mst__redis_pack(out, (uint64_t)state->updated, 6);
    mst__redis_pack(out, state->flags, 1);
    mst__redis_pack(out, state->digest, 8);
    mst__redis_pack(out, state->owner, 8);
}

bool mst__redis_state_read(const char *bytes, size_t length, struct mst__redis_state *state)
{
    if (length != MST__STATE_SIZE)
        return false;
    *state = (struct mst__redis_state){
        .version = unpack(bytes, 8),
        .deadline = (int64_t)unpack(bytes + 8, 6),
        .lease = (int64_t)unpack(bytes + 14, 5),
        .revision = unpack(bytes + 19, 7),
        .registered = (int64_t)unpack(bytes + 26, 6),
        .updated = (int64_t)unpack(bytes + 32, 6),
        .flags = (uint8_t)unpack(bytes + 38, 1),
        .digest = unpack(bytes + 39, 8),
        .owner = unpack(bytes + 47, 8),
    };
    return true;
}

void mst__redis_result_read(const char *bytes, struct mst__redis_state *result)
{
    *result = (struct mst__redis_state){
        .status = (uint8_t)bytes[0],
        .flags = (uint8_t)bytes[1],
        .version = unpack(bytes + 2, 8),
        .deadline = (int64_t)unpack(bytes + 10, 6),
        .lease = (int64_t)unpack(bytes + 16, 5),
        .revision = unpack(bytes + 21, 7),
        .registered = (int64_t)unpack(bytes + 28, 6),
        .updated = (int64_t)unpack(bytes + 34, 6),
    };
}
