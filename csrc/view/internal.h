// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The parts a view is made of; for the files of this folder only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buffer.h"
#include "base/map.h"
#include "view/view.h"

#define MST__SEGMENT_ROWS 65536u
#define MST__AUTOMATIC_COLUMNS 64u /* beside those asked for */
#define MST__COLUMNS_MAX (1024u + MST__AUTOMATIC_COLUMNS)
#define MST__WHEEL_LEVELS 8u /* 64 slots each: 2^48 ms reach to the year 10889 */
#define MST__WHEEL_SLOTS 64u
#define MST__PLACE_NONE UINT16_MAX                                /* in no list of the wheel */
#define MST__PLACE_OVERDUE (MST__WHEEL_LEVELS * MST__WHEEL_SLOTS) /* deadlines at or before the wheel's time */
#define MST__FREE_LEVELS 4u

#define MST__METADATA_LIMIT ((1u << 24) - 1)

/* One row. Row slots lie in segments of 64 Ki rows, so that a head's address is computed and never changes. */
struct mst__head {
    char *blob; /* in the arena: id, metadata and owner one behind the other; NULL in a free row */
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
    uint32_t touched;                 /* rows that have ever been in use: more is not memory yet */
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

/*
 * Memory in pieces, for what belongs to rows: blobs and values. Pieces of up to 2 KiB are cut from chunks and reused by
 * size (rounded up to 16 bytes); the chunks are freed when the last piece has come back.
 */
#define MST__ARENA_CLASSES 128u
#define MST__ARENA_LARGEST (MST__ARENA_CLASSES * 16u)

struct mst__arena {
    void *free[MST__ARENA_CLASSES];
    uint64_t filled[MST__ARENA_CLASSES / 64]; /* classes with a free piece */
    void *chunks, *big;
    char *at, *end; /* what is left of the newest chunk */
    char *touched;  /* how far it has been touched */
    size_t pieces;  /* given out */
    size_t bytes;   /* held */
};

void *mst__arena_take(struct mst__arena *arena, size_t size);              /* NULL: no memory */
void mst__arena_give(struct mst__arena *arena, void *memory, size_t size); /* the size it was taken with */
void mst__arena_deinit(struct mst__arena *arena);

/*
 * A zeroed block that grows from `from` to `to` bytes (0: none) without touching what is new, however large. On
 * MST_ENOMEM the block is as before.
 */
int mst__block_grow(void **block, size_t from, size_t to);
void mst__block_free(void *block, size_t size);
/* Has the whole pages of a range made ready to be written to. */
#define MST__TOUCH ((size_t)1 << 16) /* a good size for it */
void mst__memory_touch(const void *from, size_t size);

/*
 * A hash table of numbers whose keys lie elsewhere; `same` compares. Growth moves a bounded number of entries per
 * change and allocates in small segments.
 */
#define MST__NUMBER_NONE UINT32_MAX

typedef bool mst__table_same(const void *owner, uint32_t number, const void *key, size_t length);

struct mst__slot {
    uint32_t tag;  /* the hash */
    uint32_t mark; /* number + 1; 0: empty */
};

struct mst__half {
    struct mst__slot **segments;
    size_t capacity, count;
};

struct mst__table {
    struct mst__half live, old;
    size_t cursor; /* slots of `old` below it are drained */
    size_t bytes;
    uint64_t seed;
    mst__table_same *same;
    const void *owner;
};

int mst__table_init(struct mst__table *table, mst__table_same *same, const void *owner, uint64_t seed);
void mst__table_deinit(struct mst__table *table);
uint32_t mst__table_hash(const struct mst__table *table, const void *key, size_t length);
uint32_t mst__table_find(const struct mst__table *table, uint32_t hash, const void *key, size_t length);
int mst__table_prepare(struct mst__table *table, uint32_t hash); /* the next add of this hash cannot fail; MST_ENOMEM */
void mst__table_add(struct mst__table *table, uint32_t hash, uint32_t number); /* a key that is not there */
void mst__table_remove(struct mst__table *table, uint32_t hash, uint32_t number);
void mst__table_prefetch(const struct mst__table *table, uint32_t hash);
/* A number with this hash, if there is one nearby; not compared. */
uint32_t mst__table_guess(const struct mst__table *table, uint32_t hash);

#define MST__TABLE_SEGMENT 32768u /* slots */

/* What sits in the home slot of a hash, if it has that hash: the answer of most look-ups, still to be compared. */
static inline uint32_t mst__table_home(const struct mst__table *table, uint32_t hash)
{
    size_t index = hash & (table->live.capacity - 1);
    const struct mst__slot *segment = table->live.segments[index / MST__TABLE_SEGMENT];
    if (!segment || segment[index % MST__TABLE_SEGMENT].tag != hash)
        return MST__NUMBER_NONE;
    return segment[index % MST__TABLE_SEGMENT].mark - 1; /* NONE where it is empty */
}

static inline size_t mst__table_count(const struct mst__table *table)
{
    return table->live.count + table->old.count;
}

/* memcmp costs a call, which is most of the work for values and names as short as most are. */
static inline bool mst__same_bytes(const void *a, const void *b, size_t length)
{
    const char *left = a, *right = b;
    uint64_t words[4];
    uint32_t halves[4];
    if (length > 16)
        return memcmp(a, b, length) == 0;
    if (length >= 8) {
        memcpy(&words[0], left, 8);
        memcpy(&words[1], right, 8);
        memcpy(&words[2], left + length - 8, 8);
        memcpy(&words[3], right + length - 8, 8);
        return ((words[0] ^ words[1]) | (words[2] ^ words[3])) == 0;
    }
    if (length >= 4) {
        memcpy(&halves[0], left, 4);
        memcpy(&halves[1], right, 4);
        memcpy(&halves[2], left + length - 4, 4);
        memcpy(&halves[3], right + length - 4, 4);
        return ((halves[0] ^ halves[1]) | (halves[2] ^ halves[3])) == 0;
    }
    for (size_t i = 0; i < length; i++)
        if (left[i] != right[i])
            return false;
    return true;
}

/* One dictionary entry of a column. */
struct mst__entry {
    uint8_t *value; /* owned, in the arena; NULL: the code is free */
    uint32_t size;
    uint32_t hash;
    uint32_t rows;
    uint32_t next_free;
};

/* What a put is to store in a row, with the reference or the memory that belongs to it. */
struct mst__cell {
    uint64_t bits; /* SKETCH: of a number, or the address of a value in the arena */
    uint32_t code; /* 0: missing */
    bool real;     /* SKETCH: the number is a double */
};

struct mst__sketch;
struct mst__bitsets;

struct mst_column {
    struct mst_view *view;
    struct mst_path path; /* names point into `names` */
    char *names;          /* owned */
    void *codes;          /* owned block; room for `capacity` codes */
    uint32_t capacity;    /* that of the rows */
    unsigned width;
    uint32_t present;   /* rows with a code other than 0 */
    uint32_t compounds; /* codes (SKETCH: rows) that stand for arrays or finals */
    uint64_t epoch;
    bool plain;                 /* the path is one name of the document */
    bool filling;               /* not yet filled up to the end */
    bool unsettled;             /* mst__column_settle has something to do */
    uint32_t filled;            /* rows below it are filled; while `filling` */
    struct mst__table index;    /* packed value to code */
    struct mst__entry *entries; /* by code; entry 0 is not used */
    uint32_t entry_capacity;
    uint32_t code_count; /* highest code ever used since the column was empty */
    uint32_t first_free;
    uint32_t settle_at;           /* distinct values at which to look at the encoding again */
    struct mst__sketch *sketch;   /* owned; NULL: a dictionary */
    struct mst__bitsets *bitsets; /* owned; NULL: none asked for */
};

struct mst_column *mst__column_create(struct mst_view *view, const struct mst_path *path, uint32_t capacity);
void mst__column_destroy(struct mst_column *column); /* frees no values: they go with the arena */
int mst__column_grow(struct mst_column *column, uint32_t capacity);
/* The cell for what the path denotes in `document`. MST_ENOMEM. */
int mst__column_extract(struct mst_column *column, const uint8_t *document, struct mst_buffer *scratch,
                        struct mst__cell *cell);
/* The same for a value; NULL: missing. */
int mst__column_cell(struct mst_column *column, const uint8_t *value, struct mst__cell *cell);
/* Gives up a cell that is not stored after all. */
void mst__column_discard(struct mst_column *column, const struct mst__cell *cell);
/* Stores a cell, and gives up the one before. */
void mst__column_set(struct mst_column *column, uint32_t row, const struct mst__cell *cell);
/* Changes or evens out the encoding if need be; not between making a cell and storing it. */
void mst__column_settle(struct mst_column *column);
void mst__column_prefetch(const struct mst_column *column, uint32_t row);
/* Frees the dictionary with its values. */
void mst__column_give_dictionary(struct mst_column *column);
size_t mst__column_bytes(const struct mst_column *column);

static inline uint32_t mst__code_load(const void *codes, unsigned width, uint32_t row)
{
    if (width == 1)
        return ((const uint8_t *)codes)[row];
    return width == 2 ? ((const uint16_t *)codes)[row] : ((const uint32_t *)codes)[row];
}

static inline void mst__code_store(void *codes, unsigned width, uint32_t row, uint32_t code)
{
    if (width == 1)
        ((uint8_t *)codes)[row] = (uint8_t)code;
    else if (width == 2)
        ((uint16_t *)codes)[row] = (uint16_t)code;
    else
        ((uint32_t *)codes)[row] = code;
}

/* The order sketch of a column; its functions are called by column.c only. */
int mst__sketch_adopt(struct mst_column *column); /* dictionary to sketch; MST_ENOMEM: nothing has changed */
void mst__sketch_destroy(struct mst_column *column);
int mst__sketch_grow(struct mst_column *column, uint32_t capacity);
int mst__sketch_cell(struct mst_column *column, const uint8_t *value, struct mst__cell *cell);
void mst__sketch_discard(struct mst_column *column, const struct mst__cell *cell);
void mst__sketch_set(struct mst_column *column, uint32_t row, uint32_t before, const struct mst__cell *cell);
void mst__sketch_even(struct mst_column *column);
const uint8_t *mst__sketch_value(const struct mst_column *column, uint32_t row, uint8_t cell[16]);
uint32_t mst__sketch_codes(const struct mst_column *column);
uint32_t mst__sketch_rows(const struct mst_column *column, uint32_t code);
size_t mst__sketch_bytes(const struct mst_column *column);
void mst__sketch_prefetch(const struct mst_column *column, uint32_t row);

/* The sets of rows that a column keeps for codes in demand. */
void mst__bitsets_move(struct mst_column *column, uint32_t row, uint32_t before, uint32_t after);
void mst__bitsets_grow(struct mst_column *column, uint32_t capacity); /* sets that find no memory are given up */
void mst__bitsets_drop(struct mst_column *column);                    /* codes have changed their meaning */
void mst__bitsets_destroy(struct mst_column *column);
size_t mst__bitsets_bytes(const struct mst_column *column);

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

/* A top-level name seen in documents. */
struct mst__field {
    char *name; /* owned */
    uint32_t length;
    uint32_t column; /* MST__NUMBER_NONE: it has none */
};

#define MST__FIELDS_MAX 512u

struct mst_view {
    char *name;
    struct mst_json_parser *parser;
    struct mst__rows rows;
    struct mst__wheel wheel;
    struct mst__gateways gateways;
    struct mst__arena arena;
    struct mst__table ids;       /* id to row */
    struct mst_map *paths;       /* path key to index in `columns` */
    struct mst_column **columns; /* MST__COLUMNS_MAX places */
    struct mst__cell *cells;     /* a put's new cells, one per column */
    uint32_t column_count;
    uint32_t filling;          /* columns that are being filled */
    struct mst__field *fields; /* in ascending order */
    uint32_t field_count, field_capacity;
    uint32_t automatic; /* columns made without being asked for */
    bool watching;      /* every name of every document so far is in `fields` */
    bool unsettled;     /* so is some column */
    uint32_t bitset_count;
    uint64_t revision, serial;
    struct mst_buffer document, finals, key;
};

/* Fills view->cells from a document, whose new names may get columns. MST_ENOMEM; discard in any case of failure. */
int mst__fields_gather(struct mst_view *view, const uint8_t *document);
void mst__fields_deinit(struct mst_view *view);
/* Enters the name of a plain column; MST_ENOMEM. */
int mst__fields_enter(struct mst_view *view, const char *name, uint32_t length, uint32_t column);
/* Adds a column without filling it; NULL: no memory or too many. */
struct mst_column *mst__view_add_column(struct mst_view *view, const struct mst_path *path);
int mst__view_parse(const struct mst_view *view, struct mst_span metadata, struct mst_buffer *out);

static inline struct mst_span mst__head_metadata(const struct mst__head *head)
{
    return (struct mst_span){head->blob + head->id_length, head->metadata_length};
}
