// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "view/internal.h"

/*
 * Linear probing as in base/map.c, but the slots (8 bytes) hold no keys and lie in segments that are made when first
 * written to and freed one by one as the table they belong to is drained, so that no change stalls on a big block.
 */
#define LEAST_CAPACITY 64u
#define SEGMENT_SLOTS MST__TABLE_SEGMENT
#define DRAIN_STEP 8u
#define TOMBSTONE UINT32_MAX

static size_t segment_slots(const struct mst__half *half)
{
    return half->capacity < SEGMENT_SLOTS ? half->capacity : SEGMENT_SLOTS;
}

static size_t segment_count(const struct mst__half *half)
{
    return half->capacity ? half->capacity / segment_slots(half) : 0;
}

static struct mst__slot *slot_at(const struct mst__half *half, size_t index)
{
    struct mst__slot *segment = half->segments[index / SEGMENT_SLOTS];
    return segment ? &segment[index % SEGMENT_SLOTS] : NULL;
}

/* 0 too where there is no segment yet. */
static uint32_t mark_at(const struct mst__half *half, size_t index)
{
    const struct mst__slot *slot = slot_at(half, index);
    return slot ? slot->mark : 0;
}

static int half_init(struct mst__half *half, size_t capacity)
{
    size_t count = capacity > SEGMENT_SLOTS ? capacity / SEGMENT_SLOTS : 1;
    *half = (struct mst__half){.capacity = capacity};
    half->segments = calloc(count, sizeof(*half->segments));
    return half->segments ? 0 : MST_ENOMEM;
}

static void drop_segment(struct mst__table *table, struct mst__half *half, size_t number)
{
    if (!half->segments[number])
        return;
    size_t bytes = segment_slots(half) * sizeof(struct mst__slot);
    mst__block_free(half->segments[number], bytes);
    half->segments[number] = NULL;
    table->bytes -= bytes;
}

static void half_deinit(struct mst__table *table, struct mst__half *half)
{
    for (size_t i = 0; half->segments && i < segment_count(half); i++)
        drop_segment(table, half, i);
    free(half->segments);
    *half = (struct mst__half){0};
}

int mst__table_init(struct mst__table *table, mst__table_same *same, const void *owner, uint64_t seed)
{
    *table = (struct mst__table){.same = same, .owner = owner, .seed = seed};
    return half_init(&table->live, LEAST_CAPACITY);
}

void mst__table_deinit(struct mst__table *table)
{
    half_deinit(table, &table->live);
    half_deinit(table, &table->old);
}

uint32_t mst__table_hash(const struct mst__table *table, const void *key, size_t length)
{
    return (uint32_t)XXH3_64bits_withSeed(key, length, table->seed);
}

/* From the home slot on; slots of `half` below `first` are drained. */
static uint32_t find_in(const struct mst__table *table, const struct mst__half *half, size_t first, uint32_t hash,
                        const void *key, size_t length)
{
    size_t mask = half->capacity - 1, index = hash & mask;
    for (size_t probes = 0; probes < half->capacity; probes++, index = (index + 1) & mask) {
        if (index < first)
            index = first;
        const struct mst__slot *slot = slot_at(half, index);
        if (!slot || !slot->mark)
            break;
        if (slot->tag == hash && slot->mark != TOMBSTONE && table->same(table->owner, slot->mark - 1, key, length))
            return slot->mark - 1;
    }
    return MST__NUMBER_NONE;
}

uint32_t mst__table_find(const struct mst__table *table, uint32_t hash, const void *key, size_t length)
{
    uint32_t number = find_in(table, &table->live, 0, hash, key, length);
    if (number == MST__NUMBER_NONE && table->old.count)
        number = find_in(table, &table->old, table->cursor, hash, key, length);
    return number;
}

static void prefetch_in(const struct mst__half *half, uint32_t hash)
{
    const struct mst__slot *slot = slot_at(half, hash & (half->capacity - 1));
    if (slot)
        __builtin_prefetch(slot, 1);
}

void mst__table_prefetch(const struct mst__table *table, uint32_t hash)
{
    prefetch_in(&table->live, hash);
    if (table->old.count)
        prefetch_in(&table->old, hash);
}

static uint32_t guess_in(const struct mst__half *half, uint32_t hash)
{
    size_t mask = half->capacity - 1;
    for (size_t probe = 0; probe < 8; probe++) {
        const struct mst__slot *slot = slot_at(half, (hash + probe) & mask);
        if (!slot || !slot->mark)
            break;
        if (slot->tag == hash && slot->mark != TOMBSTONE)
            return slot->mark - 1;
    }
    return MST__NUMBER_NONE;
}

uint32_t mst__table_guess(const struct mst__table *table, uint32_t hash)
{
    uint32_t number = guess_in(&table->live, hash);
    return number == MST__NUMBER_NONE && table->old.count ? guess_in(&table->old, hash) : number;
}

static size_t empty_slot(const struct mst__half *half, uint32_t hash)
{
    size_t mask = half->capacity - 1, index = hash & mask;
    while (mark_at(half, index))
        index = (index + 1) & mask;
    return index;
}

/* Makes sure that the slot has a segment. */
static int provide(struct mst__table *table, struct mst__half *half, size_t index)
{
    size_t number = index / SEGMENT_SLOTS;
    if (half->segments[number])
        return 0;
    size_t bytes = segment_slots(half) * sizeof(struct mst__slot);
    void *segment = NULL;
    if (mst__block_grow(&segment, 0, bytes) < 0) /* its pages are zeroed one by one, as they are written to */
        return MST_ENOMEM;
    half->segments[number] = segment;
    table->bytes += bytes;
    return 0;
}

static void drain(struct mst__table *table)
{
    struct mst__half *old = &table->old;
    size_t end = table->cursor + DRAIN_STEP;
    for (; table->cursor < end && table->cursor < old->capacity && old->count; table->cursor++) {
        if (table->cursor && table->cursor % SEGMENT_SLOTS == 0)
            drop_segment(table, old, table->cursor / SEGMENT_SLOTS - 1);
        struct mst__slot *slot = slot_at(old, table->cursor);
        if (!slot || !slot->mark || slot->mark == TOMBSTONE)
            continue;
        size_t index = empty_slot(&table->live, slot->tag);
        if (provide(table, &table->live, index) < 0)
            return; /* it waits for better times */
        *slot_at(&table->live, index) = *slot;
        table->live.count++;
        old->count--;
        slot->mark = 0;
    }
    if (old->count == 0 && old->capacity)
        half_deinit(table, old);
}

static bool resize(struct mst__table *table, size_t capacity)
{
    struct mst__half fresh;
    if (half_init(&fresh, capacity) < 0)
        return false;
    table->old = table->live;
    table->live = fresh;
    table->cursor = 0;
    return true;
}

int mst__table_prepare(struct mst__table *table, uint32_t hash)
{
    const struct mst__half *live = &table->live;
    size_t count = mst__table_count(table);
    if (table->old.capacity)
        drain(table);
    if (count >= live->capacity - live->capacity / 4 && !(!table->old.capacity && resize(table, live->capacity * 2)) &&
        count >= live->capacity - live->capacity / 8)
        return MST_ENOMEM;
    return provide(table, &table->live, empty_slot(live, hash));
}

void mst__table_add(struct mst__table *table, uint32_t hash, uint32_t number)
{
    *slot_at(&table->live, empty_slot(&table->live, hash)) = (struct mst__slot){hash, number + 1};
    table->live.count++;
}

static void shift_back(struct mst__half *half, size_t hole)
{
    size_t mask = half->capacity - 1;
    for (size_t index = (hole + 1) & mask; mark_at(half, index); index = (index + 1) & mask) {
        size_t home = slot_at(half, index)->tag & mask;
        if (((index - home) & mask) < ((index - hole) & mask))
            continue;
        *slot_at(half, hole) = *slot_at(half, index);
        hole = index;
    }
    slot_at(half, hole)->mark = 0;
}

/* The slot of a number, which is known to be in one of the halves. */
static bool locate(const struct mst__half *half, size_t first, uint32_t hash, uint32_t number, size_t *place)
{
    if (half->count == 0)
        return false;
    size_t mask = half->capacity - 1, index = hash & mask;
    for (size_t probes = 0; probes < half->capacity; probes++, index = (index + 1) & mask) {
        if (index < first)
            index = first;
        uint32_t mark = mark_at(half, index);
        if (mark == 0)
            return false;
        if (mark == number + 1) {
            *place = index;
            return true;
        }
    }
    return false;
}

void mst__table_remove(struct mst__table *table, uint32_t hash, uint32_t number)
{
    size_t index;
    if (table->old.capacity)
        drain(table);
    if (locate(&table->live, 0, hash, number, &index)) {
        shift_back(&table->live, index);
        table->live.count--;
    } else if (table->old.count && locate(&table->old, table->cursor, hash, number, &index)) {
        slot_at(&table->old, index)->mark = TOMBSTONE;
        table->old.count--;
    }
    /* A failed shrink costs nothing but memory. */
    if (!table->old.capacity && table->live.capacity > LEAST_CAPACITY && table->live.count < table->live.capacity / 8)
        resize(table, table->live.capacity / 2);
}
