// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * A server that comes back may have lost its last moments, though it had acknowledged them. So what was acknowledged
 * lately is kept, and offered again when a new epoch begins; versions and deadlines make that harmless where nothing
 * was lost.
 */
#define KEEP (20 * MST_NS_PER_SECOND)
#define KEEP_BYTES (16u << 20)
#define CALL_RECORDS 64u
#define CALL_BYTES (256u * 1024)

struct mst__redis_memo {
    struct mst__redis_memo *next;
    uint64_t at;
    uint32_t body_length;
    uint8_t id_length;
    char kind;
    char state[MST__STATE_SIZE];
    char bytes[]; /* id, body */
};

static size_t size_of(const struct mst__redis_memo *memo)
{
    return sizeof *memo + memo->id_length + memo->body_length;
}

static void forget_oldest(struct mst__redis_space *space)
{
    struct mst__redis_memo *memo = space->oldest;
    space->oldest = memo->next;
    if (space->oldest == NULL)
        space->newest = NULL;
    space->memo_bytes -= size_of(memo);
    space->memo_count--;
    free(memo);
}

void mst__redis_forget(struct mst__redis_space *space, bool all)
{
    uint64_t now = mst_clock_monotonic();
    while (space->oldest != NULL && (all || space->memo_bytes > KEEP_BYTES || space->oldest->at + KEEP < now))
        forget_oldest(space);
}

static void owner_and_digest(struct mst__redis_state *state, const struct mst_registry_put *put)
{
    struct mst_registry_put no_owner = *put;
    struct mst_buffer body = {0};
    no_owner.owner = (struct mst_span){0};
    mst__redis_body_write(&body, &no_owner);
    state->digest = mst__redis_digest(body.data, body.length);
    state->owner = mst__redis_digest(put->owner.data, put->owner.length);
    mst_buffer_deinit(&body);
}

void mst__redis_remember(struct mst__redis_space *space, char kind, struct mst_span id,
                         const struct mst__redis_state *result, const struct mst_registry_put *put)
{
    struct mst_buffer bytes = {0}, state = {0};
    struct mst__redis_state kept = *result;
    if (kind == 'p') {
        owner_and_digest(&kept, put);
        kept.flags |= MST__FLAG_LIVE;
        kept.lease = put->lease_ms;
    } else if (kind == 't') {
        kept.flags |= MST__FLAG_LIVE;
    }
    mst_buffer_append(&bytes, id.data, id.length);
    if (put != NULL)
        mst__redis_body_write(&bytes, put);
    mst__redis_state_write(&state, &kept);
    struct mst__redis_memo *memo = malloc(sizeof *memo + bytes.length);
    if (memo != NULL && !bytes.failed && !state.failed) {
        memo->next = NULL;
        memo->at = mst_clock_monotonic();
        memo->id_length = (uint8_t)id.length;
        memo->body_length = (uint32_t)(bytes.length - id.length);
        memo->kind = kind;
        memcpy(memo->state, state.data, MST__STATE_SIZE);
        // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): an id has at least one byte
        memcpy(memo->bytes, bytes.data, bytes.length);
        *(space->newest != NULL ? &space->newest->next : &space->oldest) = memo;
        space->newest = memo;
        space->memo_bytes += size_of(memo);
        space->memo_count++;
    } else {
        free(memo);
    }
    mst_buffer_deinit(&bytes);
    mst_buffer_deinit(&state);
    mst__redis_forget(space, false);
}

/* Until every call is answered the space has to replay again on the next connection. */
static void on_replayed(redisReply *reply, void *context)
{
    struct mst__redis_space *space = context;
    struct mst_error error;
    if (reply == NULL ||
        (reply->type == REDIS_REPLY_ERROR && mst__redis_judge(space, reply, &error) == MST__VERDICT_AGAIN))
        space->must_replay = true;
}

static struct mst__redis_memo *replay_some(struct mst__redis_space *space, struct mst__redis_memo *from)
{
    struct mst__redis_link *link = &space->registry->write;
    uint32_t count = 0;
    size_t bytes = 0;
    struct mst__redis_memo *end = from;
    for (; end != NULL && count < CALL_RECORDS && bytes < CALL_BYTES; end = end->next) {
        count++;
        bytes += size_of(end);
    }
    mst__redis_fcall(space, "muster_v1_ease", 2 + count * 4);
    mst__redis_arg(link, space->epoch, strlen(space->epoch));
    mst__redis_arg(link, "1000000", 7);
    for (; from != end; from = from->next) {
        char head[2] = {'A', from->kind};
        mst__redis_arg(link, head, 2);
        mst__redis_arg(link, from->bytes, from->id_length);
        mst__redis_arg(link, from->state, MST__STATE_SIZE);
        mst__redis_arg(link, from->bytes + from->id_length, from->body_length);
    }
    if (!mst__redis_end(link, on_replayed, space, MST__COMMAND_TIMEOUT)) {
        space->must_replay = true;
        return NULL;
    }
    return end;
}

void mst__redis_replay(struct mst__redis_space *space)
{
    mst__redis_forget(space, false);
    space->must_replay = false;
    if (space->oldest != NULL)
        mst_log_write(space->registry->log, MST_LOG_INFO, "redis",
                      "the server came back with a new history; offering what it had acknowledged lately", "namespace",
                      space->name, NULL);
    for (struct mst__redis_memo *memo = space->oldest; memo != NULL;)
        memo = replay_some(space, memo);
}
