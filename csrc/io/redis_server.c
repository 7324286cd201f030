// SPDX-License-Identifier: Apache-2.0
#include "io/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOADING_PAUSE (100 * MST_NS_PER_MS)
#define REFUSED_PAUSE MST_NS_PER_SECOND
#define CLOCK_TRUST (30 * MST_NS_PER_SECOND)

static void not_serving(struct mst__redis *registry, int code, const char *reason)
{
    registry->serving = false;
    mst_error_set(&registry->why, code, "Redis at %s: %s", registry->address, reason);
}

/* The server cannot be used as it is; somebody may put that right, so it is asked again now and then. */
static void refuse(struct mst__redis *registry, int code, const char *reason)
{
    not_serving(registry, code, reason);
    mst_log_write(registry->log, MST_LOG_ERROR, "redis", "the server cannot be used", "reason", registry->why.message,
                  NULL);
    mst_timers_set(&registry->loop->timers, &registry->check_timer, mst_clock_monotonic() + REFUSED_PAUSE);
    mst__redis_opened(registry, code, &registry->why);
}

/* ---- clock ---- */

static void on_time(redisReply *reply, void *context)
{
    struct mst__redis *registry = context;
    uint64_t now = mst_clock_monotonic(), rtt = now - registry->clock_at;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
        return;
    int64_t redis_us = strtoll(reply->element[0]->str, NULL, 10) * 1000000 + strtoll(reply->element[1]->str, NULL, 10);
    /* The shorter the way, the better the estimate; an old one is given up for drift. */
    registry->clock_rtt += CLOCK_TRUST / 1000;
    if (!registry->has_clock || rtt <= registry->clock_rtt) {
        registry->clock_offset_us = redis_us - (int64_t)((now - rtt / 2) / 1000);
        registry->clock_rtt = rtt;
        registry->has_clock = true;
    }
}

void mst__redis_read_clock(struct mst__redis *registry)
{
    registry->clock_at = mst_clock_monotonic();
    mst__redis_send(&registry->write, on_time, registry, MST__COMMAND_TIMEOUT, "TIME", NULL);
}

int64_t mst__redis_now(struct mst__redis *registry)
{
    if (!registry->has_clock)
        return mst_clock_wall();
    return (registry->clock_offset_us + (int64_t)(mst_clock_monotonic() / 1000)) / 1000;
}

/* ---- the library ---- */

static void serve(struct mst__redis *registry)
{
    registry->serving = true;
    mst__redis_opened(registry, 0, NULL);
    mst__redis_follow_kick(registry);
}

static void on_first_time(redisReply *reply, void *context)
{
    struct mst__redis *registry = context;
    on_time(reply, context);
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR)
        refuse(registry, MST_EREDIS, reply->str);
    else
        serve(registry);
}

static void on_loaded(redisReply *reply, void *context)
{
    struct mst__redis *registry = context;
    registry->loading = false;
    if (reply == NULL)
        return;
    /* Another instance may have been quicker. */
    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "already exists") == NULL) {
        refuse(registry, MST_EREDIS, reply->str);
        return;
    }
    registry->clock_at = mst_clock_monotonic();
    mst__redis_send(&registry->write, on_first_time, registry, MST__COMMAND_TIMEOUT, "TIME", NULL);
}

void mst__redis_load_library(struct mst__redis *registry)
{
    if (registry->loading)
        return;
    not_serving(registry, MST_EREDIS, "the function library is being loaded");
    struct mst__redis_link *link = &registry->write;
    mst__redis_begin(link, 3);
    mst__redis_arg(link, "FUNCTION", 8);
    mst__redis_arg(link, "LOAD", 4);
    mst__redis_arg(link, mst__redis_functions, mst__redis_functions_size);
    registry->loading = mst__redis_end(link, on_loaded, registry, MST__COMMAND_TIMEOUT);
}

static void on_library(redisReply *reply, void *context)
{
    struct mst__redis *registry = context;
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR)
        refuse(registry, MST_EREDIS, reply->str);
    else if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
        registry->clock_at = mst_clock_monotonic();
        mst__redis_send(&registry->write, on_first_time, registry, MST__COMMAND_TIMEOUT, "TIME", NULL);
    } else
        mst__redis_load_library(registry);
}

/* ---- what INFO says ---- */

/* The value of `name:` at the start of a line; empty if there is none. */
static void field(const char *info, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    value[0] = '\0';
    for (const char *line = info; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) != 0 || line[length] != ':')
            continue;
        size_t end = strcspn(line + length + 1, "\r\n");
        snprintf(value, size, "%.*s", (int)end, line + length + 1);
        return;
    }
}

static bool acceptable(struct mst__redis *registry, const char *info)
{
    char version[32], policy[40], cluster[8], reason[240];
    field(info, "redis_version", version, sizeof version);
    field(info, "maxmemory_policy", policy, sizeof policy);
    field(info, "cluster_enabled", cluster, sizeof cluster);
    reason[0] = '\0';
    if (atoi(version) < 7)
        snprintf(reason, sizeof reason, "version %s is too old; functions need Redis 7.0 or newer", version);
    else if (policy[0] != '\0' && strcmp(policy, "noeviction") != 0)
        snprintf(reason, sizeof reason,
                 "maxmemory-policy is %s, which throws registrations away when memory runs out; set it to noeviction",
                 policy);
    else if (cluster[0] == '1')
        snprintf(reason, sizeof reason, "Redis Cluster is not supported yet");
    if (reason[0] == '\0')
        return true;
    refuse(registry, MST_ECONFIG, reason);
    return false;
}

static void on_info(redisReply *reply, void *context)
{
    struct mst__redis *registry = context;
    char loading[8], role[16];
    if (reply == NULL)
        return;
    if (reply->type != REDIS_REPLY_STRING) {
        refuse(registry, MST_EREDIS, reply->type == REDIS_REPLY_ERROR ? reply->str : "INFO gave no text");
        return;
    }
    field(reply->str, "loading", loading, sizeof loading);
    field(reply->str, "role", role, sizeof role);
    field(reply->str, "master_replid", registry->replid, sizeof registry->replid);
    if (loading[0] == '1') {
        not_serving(registry, MST_EREDIS, "the server is loading its data");
        mst_timers_set(&registry->loop->timers, &registry->check_timer, mst_clock_monotonic() + LOADING_PAUSE);
    } else if (strcmp(role, "slave") == 0) {
        mst__redis_link_drop(&registry->write, "the server is a replica, not the master");
    } else if (acceptable(registry, reply->str)) {
        mst__redis_send(&registry->write, on_library, registry, MST__COMMAND_TIMEOUT, "FUNCTION", "LIST", "LIBRARYNAME",
                        "muster_v1", NULL);
    }
}

void mst__redis_check(struct mst__redis *registry)
{
    not_serving(registry, MST_EREDIS, "the server is being checked");
    mst__redis_send(&registry->write, on_info, registry, MST__COMMAND_TIMEOUT, "INFO", NULL);
}
