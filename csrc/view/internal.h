// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The parts a view is made of; for the files of this folder only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/map.h"
#include "view/view.h"

#define MST__SEGMENT_ROWS 65536u
#define MST__COLUMNS_MAX 1024u
#define MST__WHEEL_LEVELS 8u /* 64 slots each: 2^48 ms reach to the year 10889 */
#define MST__WHEEL_SLOTS 64u
#define MST__PLACE_NONE UINT16_MAX                                /* in no list of the wheel */
#define MST__PLACE_OVERDUE (MST__WHEEL_LEVELS * MST__WHEEL_SLOTS) /* deadlines at or before the wheel's time */
#define MST__FREE_LEVELS 4u

#define MST__METADATA_LIMIT ((1u << 24) - 1)

/* One row. Row slots lie in segments of 64 Ki rows, so that a head's address is computed and never changes. */
struct mst__head {
    char *blob; /* owned: id, metadata and owner one behind the other; NULL in a free row */
    int64_t registered_at;
    int64_t updated_at;
    int64_t expires_at;
    uint64_t revision;
    uint32_t lease_ms;
    uint32_t gateway; /* number in the gateway table; 0: none */
    uint32_t wheel_next;
    uint32_t wheel_previous;
    unsigned id_length : 8;
    unsigned metadata_length : 24;
    uint16_t owner_length;
    uint16_t wheel_place; /* level * 64 + slot, or MST__PLACE_* */
};
_Static_assert(sizeof(struct mst__head) == 64, "a head is one cache line");

/* Row slots: heads, which of them are alive, and which of them are free. */
struct mst__rows {
    struct mst__head **segments;
    uint32_t segment_count;
    uint64_t *live;                   /* one bit per row */
    uint64_t *free[MST__FREE_LEVELS]; /* level 0: free rows below `limit`; level n: words of level n-1 that are not 0 */
    uint32_t limit;
    uint32_t capacity; /* a multiple of 4096 */
    uint32_t count;
};

/* Capacity behind `capacity` when it is used up; 0 where there can be no more rows. */
uint32_t mst__rows_next_capacity(const struct mst__rows *rows);
int mst__rows_grow(struct mst__rows *rows, uint32_t capacity);
/* Makes sure that the next take cannot fail (capacity must be there); MST_ENOMEM. */
int mst__rows_prepare(struct mst__rows *rows);
bool mst__rows_full(const struct mst__rows *rows);
uint32_t mst__rows_take(struct mst__rows *rows); /* lowest free row first */
void mst__rows_give(struct mst__rows *rows, uint32_t row);
void mst__rows_deinit(struct mst__rows *rows);

static inline struct mst__head *mst__rows_head(const struct mst__rows *rows, uint32_t row)
{
    return &rows->segments[row / MST__SEGMENT_ROWS][row % MST__SEGMENT_ROWS];
}

static inline bool mst__rows_alive(const struct mst__rows *rows, uint32_t row)
{
    return row < rows->limit && (rows->live[row / 64] >> (row % 64) & 1);
}

/*
 * A lazy hierarchical timer wheel over Unix milliseconds. A row's deadline differs from the wheel's time first in
 * some group of six bits: that group is its level, the deadline's bits there its slot. So every slot of a level is due
 * before every slot of the next, and stays where it is while the time moves towards it. An entry may lie in a slot
 * before its deadline (a renewal does not move it); it is filed anew when that slot is due.
 */
struct mst__wheel {
    int64_t time;          /* all slots that begin at or before it are empty */
    int64_t overdue_first; /* no deadline in the overdue list is earlier */
    uint32_t overdue_count;
    uint64_t occupied[MST__WHEEL_LEVELS];
    uint32_t first[MST__WHEEL_LEVELS * MST__WHEEL_SLOTS + 1];
};

void mst__wheel_init(struct mst__wheel *wheel);
/* After a row's expires_at has changed, or it is new (place NONE). */
void mst__wheel_update(struct mst__wheel *wheel, const struct mst__rows *rows, uint32_t row);
void mst__wheel_unlink(struct mst__wheel *wheel, const struct mst__rows *rows, uint32_t row);
int64_t mst__wheel_next(const struct mst__wheel *wheel);
/* Takes out every row whose expires_at <= now and hands it to `end`, which may free that row and no other. */
uint32_t mst__wheel_advance(struct mst__wheel *wheel, const struct mst__rows *rows, int64_t now,
                            void (*end)(void *context, uint32_t row), void *context);

/* One dictionary entry of a column. */
struct mst__entry {
    uint8_t *value; /* owned; NULL: the code is free */
    uint32_t rows;
    uint32_t next_free;
};

struct mst_column {
    const struct mst_view *view;
    struct mst_path path;       /* names point into `names` */
    char *names;                /* owned */
    void *codes;                /* owned; room for rows.capacity codes */
    struct mst_map *index;      /* packed value to code */
    struct mst__entry *entries; /* by code; entry 0 is not used */
    uint32_t entry_capacity;
    uint32_t code_count; /* highest code ever used since the column was empty */
    uint32_t first_free;
    uint32_t present;   /* rows with a code other than 0 */
    uint32_t compounds; /* codes that stand for arrays or finals */
    unsigned width;
    uint64_t epoch;
    size_t value_bytes;
};

struct mst_column *mst__column_create(const struct mst_view *view, const struct mst_path *path, uint32_t capacity);
void mst__column_destroy(struct mst_column *column);
int mst__column_grow(struct mst_column *column, uint32_t from, uint32_t to);
/* The code of what the path denotes in `document`, with one more reference to it; 0: missing. MST_ENOMEM. */
int mst__column_extract(struct mst_column *column, const uint8_t *document, struct mst_buffer *scratch, uint32_t *code);
void mst__column_release(struct mst_column *column, uint32_t code);
/* Stores a code whose reference the caller owns, and releases the one before. */
void mst__column_set(struct mst_column *column, uint32_t row, uint32_t code);
size_t mst__column_bytes(const struct mst_column *column);

/* Interned gateway names. */
struct mst__gateway {
    char *name; /* owned; NULL: the number is free */
    uint32_t length;
    uint32_t references; /* in a free entry: the next free number */
};

struct mst__gateways {
    struct mst_map *index;
    struct mst__gateway *entries; /* entry 0 is not used */
    uint32_t count, capacity, first_free;
};

int mst__gateways_take(struct mst__gateways *gateways, struct mst_span name, uint32_t *number);
void mst__gateways_give(struct mst__gateways *gateways, uint32_t number);
void mst__gateways_deinit(struct mst__gateways *gateways);

struct mst_view {
    char *name;
    struct mst_json_parser *parser;
    struct mst__rows rows;
    struct mst__wheel wheel;
    struct mst__gateways gateways;
    struct mst_map *ids;         /* id to row */
    struct mst_map *paths;       /* path key to index in `columns` */
    struct mst_column **columns; /* MST__COLUMNS_MAX places */
    uint32_t *codes;             /* a put's new codes, one per column */
    uint32_t column_count;
    uint64_t revision;
    size_t blob_bytes;
    struct mst_buffer document, finals, key;
};
