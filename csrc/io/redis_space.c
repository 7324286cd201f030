// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE (100 * MST_NS_PER_MS)

static struct mst__redis_space *create(struct mst__redis *registry, const char *name)
{
    static const char suffixes[] = "htsmd";
    struct mst__redis_space *space = calloc(1, sizeof *space);
    if (space == NULL)
        return NULL;
    space->registry = registry;
    snprintf(space->name, sizeof space->name, "%s", name);
    for (int i = 0; i < 5; i++)
        if (asprintf(&space->key[i], "%s:{%s}:%c", registry->options.prefix, name, suffixes[i]) < 0) {
            space->key[i] = NULL;
            goto fail;
        }
    for (int i = 0; i < 5; i++)
        mst_buffer_appendf(&space->keys, "$%zu\r\n%s\r\n", strlen(space->key[i]), space->key[i]);
    if (space->keys.failed)
        goto fail;
    if (mst_map_set(registry->space_of, name, strlen(name), (uint64_t)(uintptr_t)space) < 0)
        goto fail;
    space->next = registry->spaces;
    registry->spaces = space;
    return space;
fail:
    mst__redis_space_destroy(space);
    return NULL;
}

struct mst__redis_space *mst__redis_space_get(struct mst__redis *registry, const char *name)
{
    uint64_t found;
    if (mst_map_get(registry->space_of, name, strlen(name), &found))
        return (struct mst__redis_space *)(uintptr_t)found;
    return strlen(name) > MST_NAMESPACE_MAX ? NULL : create(registry, name);
}

void mst__redis_space_destroy(struct mst__redis_space *space)
{
    mst__redis_forget(space, true);
    for (int i = 0; i < 5; i++)
        free(space->key[i]);
    mst_buffer_deinit(&space->keys);
    free(space);
}

void mst__redis_space_saw(struct mst__redis_space *space, uint64_t revision)
{
    if (space->seen < revision)
        space->seen = revision;
}

void mst__redis_space_expire(struct mst__redis_space *space)
{
    struct mst__redis *registry = space->registry;
    char at[24];
    long long until = mst__redis_now(registry) + registry->expire_s * INT64_C(1000);
    snprintf(at, sizeof at, "%lld", until);
    for (int i = 0; i < 5; i++)
        mst__redis_send(&registry->write, NULL, NULL, MST__COMMAND_TIMEOUT, "PEXPIREAT", space->key[i], at, NULL);
}

void mst__redis_fcall(struct mst__redis_space *space, const char *function, uint32_t more)
{
    struct mst__redis_link *link = &space->registry->write;
    mst__redis_begin(link, 8 + more);
    mst__redis_arg(link, "FCALL", 5);
    mst__redis_arg(link, function, strlen(function));
    mst__redis_arg(link, "5", 1);
    mst_buffer_append(&link->out, space->keys.data, space->keys.length);
}

static void hold_back(struct mst__redis_space *space)
{
    space->pause_until = mst_clock_monotonic() + PAUSE;
    mst_timers_set(&space->registry->loop->timers, &space->registry->nudge, space->pause_until);
}

/* ---- attach ---- */

static void on_attached(redisReply *reply, void *context)
{
    struct mst__redis_space *space = context;
    if (space->state != MST__SPACE_ATTACHING)
        return;
    space->state = MST__SPACE_DETACHED;
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        struct mst_error error;
        /* What waits goes on waiting; its deadlines end it. */
        if (mst__redis_judge(space, reply, &error) == MST__VERDICT_FAIL)
            mst_log_write(space->registry->log, MST_LOG_ERROR, "redis", "cannot attach to a namespace", "namespace",
                          space->name, "reason", error.message, NULL);
        hold_back(space);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        mst__redis_link_drop(&space->registry->write, "attach was answered with nonsense");
        return;
    }
    space->must_replay |= space->epoch[0] != '\0' && strcmp(space->epoch, reply->element[0]->str) != 0;
    snprintf(space->epoch, sizeof space->epoch, "%s", reply->element[0]->str);
    mst__redis_space_saw(space, strtoull(reply->element[2]->str, NULL, 10));
    space->state = MST__SPACE_ATTACHED;
    space->wanted = false;
    if (space->must_replay)
        mst__redis_replay(space);
}

void mst__redis_space_attach(struct mst__redis_space *space)
{
    struct mst__redis *registry = space->registry;
    char seen[24];
    snprintf(seen, sizeof seen, "%llu", (unsigned long long)space->seen);
    space->state = MST__SPACE_ATTACHING;
    if (!mst__redis_send(&registry->write, on_attached, space, MST__COMMAND_TIMEOUT, "FCALL", "muster_v1_attach", "2",
                         space->key[2], space->key[3], registry->replid, seen, NULL))
        space->state = MST__SPACE_DETACHED;
}

/* ---- errors ---- */

void mst__redis_error_unsure(struct mst_error *error)
{
    struct mst_error copy = *error;
    mst_error_set(error, copy.code, "%.350s; it may have been carried out", copy.message);
}

static bool begins(const redisReply *reply, const char *word)
{
    return strncmp(reply->str, word, strlen(word)) == 0;
}

static bool begins_any(const redisReply *reply, const char *const *words)
{
    for (; *words != NULL; words++)
        if (begins(reply, *words))
            return true;
    return false;
}

enum mst__redis_verdict mst__redis_judge(struct mst__redis_space *space, const redisReply *reply,
                                         struct mst_error *error)
{
    static const char *const passing[] = {"LOADING", "BUSY", "NOREPLICAS", "TRYAGAIN", "CLUSTERDOWN", NULL};
    static const char *const elsewhere[] = {"READONLY", "UNBLOCKED", "MASTERDOWN", NULL};
    struct mst__redis *registry = space->registry;
    mst_error_set(error, MST_EREDIS, "Redis at %s: %s", registry->address, reply->str);
    if (begins(reply, "EPOCH")) {
        if (space->state == MST__SPACE_ATTACHED)
            space->state = MST__SPACE_DETACHED;
        return MST__VERDICT_AGAIN;
    }
    if (begins(reply, "ERR Function not found")) {
        mst__redis_load_library(registry);
        return MST__VERDICT_AGAIN;
    }
    if (begins_any(reply, passing)) {
        hold_back(space);
        mst_log_write(registry->log, MST_LOG_WARN, "redis", "the server is not ready", "reason", error->message, NULL);
        return MST__VERDICT_AGAIN;
    }
    if (begins_any(reply, elsewhere)) {
        mst__redis_link_drop(&registry->write, reply->str);
        return MST__VERDICT_AGAIN;
    }
    if (begins(reply, "OOM") || begins(reply, "MISCONF"))
        return MST__VERDICT_MEMORY;
    if (begins(reply, "NOPERM"))
        error->code = MST_EPERMISSION;
    return MST__VERDICT_FAIL;
}
