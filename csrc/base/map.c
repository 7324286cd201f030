// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/error.h"

/*
 * Linear probing in a table of a power of two slots, at most three quarters full. Removal shifts entries back, so the
 * live table never holds tombstones. A resize makes a second table and drains the old one from its slot 0 upward, a few
 * slots per change. In the old table nothing is inserted; what is removed there leaves a tombstone. Slots below the
 * cursor are drained: probing jumps over them, which is right because whatever is still there sits at or above it.
 */
#define LEAST_CAPACITY 16u
#define DRAIN_STEP 16u

struct slot {
    char *key; /* owned; NULL: empty */
    uint64_t value;
    uint32_t tag; /* lower half of the hash; it gives the home slot too */
    uint32_t length;
};

struct table {
    struct slot *slots;
    size_t capacity; /* 0: no table */
    size_t count;
};

struct mst_map {
    struct table live, old;
    size_t cursor; /* slots of `old` below it are drained */
    uint64_t seed;
};

static char tombstone;

static uint64_t random_seed(const void *address)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        return seed;
    /* Only before the kernel's generator is ready, early at boot: a weak seed is better than none. */
    return mst_clock_monotonic() ^ (uint64_t)(uintptr_t)address * UINT64_C(0x9E3779B97F4A7C15);
}

struct mst_map *mst_map_create(void)
{
    struct mst_map *map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    map->live.slots = calloc(LEAST_CAPACITY, sizeof *map->live.slots);
    if (!map->live.slots) {
        free(map);
        return NULL;
    }
    map->live.capacity = LEAST_CAPACITY;
    map->seed = random_seed(map);
    return map;
}

static bool occupied(const struct slot *slot)
{
    return slot->key && slot->key != &tombstone;
}

static void free_table(struct table *table)
{
    for (size_t i = 0; i < table->capacity && table->count; i++) {
        if (occupied(&table->slots[i])) {
            free(table->slots[i].key);
            table->count--;
        }
    }
    free(table->slots);
    *table = (struct table){0};
}

void mst_map_destroy(struct mst_map *map)
{
    if (!map)
        return;
    free_table(&map->live);
    free_table(&map->old);
    free(map);
}

size_t mst_map_count(const struct mst_map *map)
{
    return map->live.count + map->old.count;
}

size_t mst_map_pending(const struct mst_map *map)
{
    return map->old.count;
}

static uint32_t tag_of(const struct mst_map *map, const void *key, size_t length)
{
    return (uint32_t)XXH3_64bits_withSeed(key, length, map->seed);
}

/* `first` is the lowest slot to look at: 0, or the cursor in the table that is being drained. */
static struct slot *find_in(const struct table *table, size_t first, uint32_t tag, const void *key, size_t length)
{
    if (table->count == 0)
        return NULL;
    size_t mask = table->capacity - 1, index = tag & mask;
    for (size_t probes = 0; probes < table->capacity; probes++, index = (index + 1) & mask) {
        if (index < first)
            index = first;
        struct slot *slot = &table->slots[index];
        if (!slot->key)
            return NULL;
        if (slot->tag == tag && slot->length == length && slot->key != &tombstone &&
            memcmp(slot->key, key, length) == 0)
            return slot;
    }
    return NULL;
}

/* There is always an empty slot: the table is never full. */
static void place(struct table *table, const struct slot *slot)
{
    size_t mask = table->capacity - 1, index = slot->tag & mask;
    while (table->slots[index].key)
        index = (index + 1) & mask;
    table->slots[index] = *slot;
    table->count++;
}

static void drain(struct mst_map *map)
{
    struct table *old = &map->old;
    size_t end = map->cursor + DRAIN_STEP;
    for (; map->cursor < end && map->cursor < old->capacity && old->count; map->cursor++) {
        struct slot *slot = &old->slots[map->cursor];
        if (!occupied(slot))
            continue;
        place(&map->live, slot);
        slot->key = NULL;
        old->count--;
    }
    if (old->count == 0 && old->capacity) {
        free(old->slots);
        *old = (struct table){0};
        map->cursor = 0;
    }
}

static bool resize(struct mst_map *map, size_t capacity)
{
    struct slot *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return false;
    map->old = map->live;
    map->cursor = 0;
    map->live = (struct table){.slots = slots, .capacity = capacity};
    return true;
}

static bool make_room(struct mst_map *map)
{
    const struct table *live = &map->live;
    if (mst_map_count(map) < live->capacity - live->capacity / 4)
        return true;
    if (!map->old.capacity && resize(map, live->capacity * 2))
        return true;
    /* No memory for a bigger table: fill this one further before giving up. */
    return mst_map_count(map) < live->capacity - live->capacity / 8;
}

bool mst_map_get(const struct mst_map *map, const void *key, size_t length, uint64_t *value)
{
    uint32_t tag = tag_of(map, key, length);
    const struct slot *slot = find_in(&map->live, 0, tag, key, length);
    if (!slot)
        slot = find_in(&map->old, map->cursor, tag, key, length);
    if (slot && value)
        *value = slot->value;
    return slot != NULL;
}

int mst_map_set(struct mst_map *map, const void *key, size_t length, uint64_t value)
{
    uint32_t tag = tag_of(map, key, length);
    drain(map);
    struct slot *slot = find_in(&map->live, 0, tag, key, length);
    if (!slot)
        slot = find_in(&map->old, map->cursor, tag, key, length);
    if (slot) {
        slot->value = value;
        return 0;
    }
    if (length > UINT32_MAX || !make_room(map))
        return MST_ENOMEM;
    char *copy = malloc(length ? length : 1);
    if (!copy)
        return MST_ENOMEM;
    if (length)
        memcpy(copy, key, length);
    struct slot fresh = {.key = copy, .value = value, .tag = tag, .length = (uint32_t)length};
    place(&map->live, &fresh);
    return 0;
}

/* Closes the gap at `hole` by moving back each later entry of the run that may sit there. */
static void shift_back(struct table *table, size_t hole)
{
    size_t mask = table->capacity - 1;
    for (size_t index = (hole + 1) & mask; table->slots[index].key; index = (index + 1) & mask) {
        size_t home = table->slots[index].tag & mask;
        if (((index - home) & mask) < ((index - hole) & mask))
            continue;
        table->slots[hole] = table->slots[index];
        hole = index;
    }
    table->slots[hole] = (struct slot){0};
}

bool mst_map_remove(struct mst_map *map, const void *key, size_t length, uint64_t *value)
{
    uint32_t tag = tag_of(map, key, length);
    drain(map);
    struct table *table = &map->live;
    struct slot *slot = find_in(table, 0, tag, key, length);
    if (!slot) {
        table = &map->old;
        slot = find_in(table, map->cursor, tag, key, length);
    }
    if (!slot)
        return false;
    if (value)
        *value = slot->value;
    free(slot->key);
    table->count--;
    if (table == &map->old)
        slot->key = &tombstone;
    else
        shift_back(table, (size_t)(slot - table->slots));
    /* A failed shrink costs nothing but memory. */
    if (!map->old.capacity && map->live.capacity > LEAST_CAPACITY && map->live.count < map->live.capacity / 8)
        resize(map, map->live.capacity / 2);
    return true;
}

bool mst_map_next(const struct mst_map *map, size_t *position, const void **key, size_t *length, uint64_t *value)
{
    size_t total = map->live.capacity + map->old.capacity;
    for (size_t at = *position; at < total; at++) {
        bool live = at < map->live.capacity;
        size_t index = live ? at : at - map->live.capacity;
        const struct slot *slot = live ? &map->live.slots[index] : &map->old.slots[index];
        if (!occupied(slot))
            continue;
        *position = at + 1;
        if (key)
            *key = slot->key;
        if (length)
            *length = slot->length;
        if (value)
            *value = slot->value;
        return true;
    }
    *position = total;
    return false;
}
