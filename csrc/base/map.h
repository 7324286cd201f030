// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A hash map from byte strings to 64-bit numbers (indices, or pointers cast by the caller).
 *
 * Keys are copied. Hashing is XXH3 with a secret seed per map, because keys come from outside. Open addressing; growth
 * moves a bounded number of entries per operation, so that no single insert stalls.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_map;

struct mst_map *mst_map_create(void);
void mst_map_destroy(struct mst_map *map);

size_t mst_map_count(const struct mst_map *map);

/* Entries that a growth has still to move; each change moves a bounded number. For tests. */
size_t mst_map_pending(const struct mst_map *map);

/* Finds a key; true and `*value` (may be NULL) if it is there. */
bool mst_map_get(const struct mst_map *map, const void *key, size_t length, uint64_t *value);

/* Inserts or replaces; MST_ENOMEM or 0. */
int mst_map_set(struct mst_map *map, const void *key, size_t length, uint64_t value);

/* Removes a key; true and its former value if it was there. */
bool mst_map_remove(struct mst_map *map, const void *key, size_t length, uint64_t *value);

/* Walks all entries in no order; start with `*position` = 0, ends with false. No change to the map meanwhile. */
bool mst_map_next(const struct mst_map *map, size_t *position, const void **key, size_t *length, uint64_t *value);
