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
    if (space->fresh == memo)
        space->fresh = memo->next;
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

/* A buffer over memory that is there, and never more. */
static struct mst_buffer over(char *memory, size_t size)
{
    return (struct mst_buffer){.data = memory, .capacity = size, .limit = size};
}

void mst__redis_remember(struct mst__redis_space *space, char kind, struct mst_span id,
                         const struct mst__redis_state *result, const struct mst_registry_put *put)
{
    size_t body = put != NULL ? mst__redis_body_length(put) : 0;
    struct mst__redis_memo *memo = malloc(sizeof *memo + id.length + body);
    if (memo == NULL)
        return;
    struct mst__redis_state kept = *result;
    struct mst_buffer bytes = over(memo->bytes, id.length + body), state = over(memo->state, sizeof memo->state);
    mst_buffer_append(&bytes, id.data, id.length);
    if (put != NULL) {
        mst__redis_body_write(&bytes, put);
        if (!mst__redis_body_digest(put, memo->bytes + id.length, &kept.digest)) {
            free(memo);
            return;
        }
        kept.owner = mst__redis_digest(put->owner.data, put->owner.length);
        kept.lease = put->lease_ms;
    }
    if (kind != 'd')
        kept.flags |= MST__FLAG_LIVE;
    mst__redis_state_write(&state, &kept);
    memo->next = NULL;
    memo->at = mst_clock_monotonic();
    memo->id_length = (uint8_t)id.length;
    memo->body_length = (uint32_t)body;
    memo->kind = kind;
    *(space->newest != NULL ? &space->newest->next : &space->oldest) = memo;
    space->newest = memo;
    if (space->fresh == NULL)
        space->fresh = memo;
    space->memo_bytes += size_of(memo);
    space->memo_count++;
    mst__redis_forget(space, false);
}

void mst__redis_recall(const struct mst__redis_memo *memo, struct mst__redis_recalled *change)
{
    change->kind = memo->kind;
    change->id = (struct mst_span){memo->bytes, memo->id_length};
    change->body = (struct mst_span){memo->bytes + memo->id_length, memo->body_length};
    mst__redis_state_read(memo->state, MST__STATE_SIZE, &change->state);
}

const struct mst__redis_memo *mst__redis_memo_next(const struct mst__redis_memo *memo)
{
    return memo->next;
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
