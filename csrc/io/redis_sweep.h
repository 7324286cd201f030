// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Namespaces in Redis seen from outside of a registry: finds what somebody has left behind, and removes it. Every call
 * has a loop and a connection of its own and returns when it is done. Instances that follow a namespace notice within
 * two seconds that it is gone. Keys: as in redis_registry.h.
 */
#include "io/redis_registry.h"

struct mst_redis_found {
    char name[MST_NAMESPACE_MAX + 1];
    uint64_t identities, keys;
    int64_t ends_in_ms; /* until Redis removes it by itself; -1: never */
};

/*
 * Calls `each` for the namespaces whose names begin with `begin` (letters, digits, `_`, `-`), in no order. A name that
 * is only in the set of names is one with 0 keys. MST_EREDIS, MST_EDEADLINE, MST_EPERMISSION, MST_ENOMEM.
 */
int mst_redis_find(const struct mst_redis_options *options, const char *begin,
                   void (*each)(void *context, const struct mst_redis_found *found), void *context,
                   struct mst_error *error);

/*
 * Removes namespaces with all their keys; one that is not there is removed. `patience`: ns for which it is tried again
 * where Redis cannot be reached. Adds to `*keys` (may be NULL) how many keys there were. Errors as above.
 */
int mst_redis_remove(const struct mst_redis_options *options, const char *const *names, size_t count, uint64_t patience,
                     uint64_t *keys, struct mst_error *error);
