// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A view: an instance's in-memory, column-wise copy of one namespace.
 *
 * Identities live in row slots that never move while they are alive; a freed slot is reused, lowest first, and free
 * slots at the end are given up. Each row has a head (64 bytes: id, metadata blob, times, revision, gateway) and one
 * code per column. A column belongs to a field path. The first 64 top-level names that come with scalars get one at
 * once; any other path when a filter or a sort key first needs it. Code 0 is "missing", every other code an entry of
 * the column's dictionary, which holds what the path denotes (a value, or finals), or a bucket of its sketch. Leases
 * are a timer wheel and a live bitset; a lease ends on the view's own clock reading and needs no event from outside.
 *
 * One thread. Nothing here calls out except the callbacks named below.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/identity.h"
#include "model/json.h"
#include "model/path.h"

#define MST_ROW_NONE UINT32_MAX

struct mst_view;
struct mst_column;

/* `parser` is borrowed for the life of the view. NULL: no memory. */
struct mst_view *mst_view_create(const char *namespace_, struct mst_json_parser *parser);
void mst_view_destroy(struct mst_view *view);

const char *mst_view_namespace(const struct mst_view *view);

/* Tells a view from an earlier one that lay at the same address; for what is kept about a view outside of it. */
uint64_t mst_view_serial(const struct mst_view *view);

uint32_t mst_view_count(const struct mst_view *view);     /* identities alive */
uint32_t mst_view_row_limit(const struct mst_view *view); /* rows are 0 .. this-1; some of them free */
uint64_t mst_view_revision(const struct mst_view *view);  /* the highest revision applied */
size_t mst_view_bytes(const struct mst_view *view);       /* memory held, near enough for a report */

/*
 * Inserts or replaces the identity with this id, if its revision is newer than the row's (else 0, and nothing changes).
 * `document` is its parsed metadata, or NULL to have it parsed here. `*row` (may be NULL) gets the row. MST_EID and
 * MST_ETOOBIG (lengths no row can hold: metadata of 16 MiB), MST_ERANGE (a lease of more than 49 days), MST_EJSON (no
 * JSON object), MST_ENOMEM; on failure nothing has changed.
 */
int mst_view_put(struct mst_view *view, const struct mst_identity *identity, const uint8_t *document, uint32_t *row);

/*
 * Puts `count` identities in order, as mst_view_put does one by one, but faster where the view is large. `documents`
 * (may be NULL, and so may each of them) and `results` (what each put returned; may be NULL) have `count` places.
 * Returns 0, or the first of the results that is not. Identities and documents must not point into the view.
 */
int mst_view_put_many(struct mst_view *view, const struct mst_identity *identities, const uint8_t *const *documents,
                      uint32_t count, int *results);

/*
 * Renews a lease: updates expires_at, lease_ms and revision only. A revision older than the row's changes nothing.
 * MST_ENOTFOUND; MST_ERANGE as for put.
 */
int mst_view_touch(struct mst_view *view, const char *id, size_t length, int64_t expires_at, int64_t lease_ms,
                   uint64_t revision);

/* Many at once, in order, as the puts above; `results` may be NULL. Ids must not point into the view. */
struct mst_view_touch {
    struct mst_span id;
    int64_t expires_at, lease_ms;
    uint64_t revision;
};
int mst_view_touch_many(struct mst_view *view, const struct mst_view_touch *touches, uint32_t count, int *results);

/*
 * Removes, whatever the row's revision; MST_ENOTFOUND if it is not there. The revision of the view grows to `revision`
 * either way.
 */
int mst_view_remove(struct mst_view *view, const char *id, size_t length, uint64_t revision);

/* Many at once, in order; `results` may be NULL. Ids must not point into the view. */
int mst_view_remove_many(struct mst_view *view, const struct mst_span *ids, uint32_t count, uint64_t revision,
                         int *results);

/* Removes every row. The revision of the view grows to `revision`. */
void mst_view_empty(struct mst_view *view, uint64_t revision);

/* Called for each identity whose lease has ended, before its row is freed. Must not change the view. */
typedef void mst_view_expired(void *context, const struct mst_identity *identity);

/*
 * Ends every lease with expires_at <= now_ms, exact to the millisecond, also when the clock jumps either way. Call
 * before each read; cheap when nothing is due. `expired` may be NULL. Returns how many.
 */
uint32_t mst_view_expire(struct mst_view *view, int64_t now_ms, mst_view_expired *expired, void *context);

/* When the next lease can end: Unix milliseconds, never later than the truth; INT64_MAX: none. */
int64_t mst_view_next_expiry(const struct mst_view *view);

/* The row of an id; MST_ROW_NONE if it is not registered. */
uint32_t mst_view_find(const struct mst_view *view, const char *id, size_t length);

bool mst_view_alive(const struct mst_view *view, uint32_t row);

/* The identity in a row that is alive; spans are borrowed until the next change of the view. */
void mst_view_identity(const struct mst_view *view, uint32_t row, struct mst_identity *identity);

/*
 * For walks over many rows: asks for the memory that mst_view_identity reads, and, once that has had time to come, for
 * what its spans point to.
 */
void mst_view_prefetch(const struct mst_view *view, uint32_t row);
void mst_view_prefetch_text(const struct mst_view *view, uint32_t row);

/* The parsed metadata of a row, appended to `out`. */
int mst_view_document(const struct mst_view *view, uint32_t row, struct mst_buffer *out);

/* One bit per row, 64 rows a word, (row_limit + 63) / 64 words; dead rows are 0. */
const uint64_t *mst_view_live(const struct mst_view *view);

/*
 * The column of a path, created if need be, and filled from the stored metadata: at once in a view of fewer than 50,000
 * identities, else by mst_view_fill in slices. NULL: no memory, or too many columns asked for (1024). The column lives
 * as long as the view.
 */
struct mst_column *mst_view_column(struct mst_view *view, const struct mst_path *path);

uint32_t mst_column_codes(const struct mst_column *column); /* codes in use are 1 .. this; dictionary size */
unsigned mst_column_width(const struct mst_column *column); /* bytes per code: 1, 2 or 4 */

/*
 * row_limit codes of that width, 0 in dead rows; readable up to the next multiple of 64 rows. Moves when the view
 * changes.
 */
const void *mst_column_data(const struct mst_column *column);

uint32_t mst_column_code(const struct mst_column *column, uint32_t row);

/* The packed value of a code; NULL for 0 and for codes that are free. */
const uint8_t *mst_column_value(const struct mst_column *column, uint32_t code);

/* How many live rows hold a code. */
uint32_t mst_column_rows(const struct mst_column *column, uint32_t code);

/*
 * Dictionary versions: grows whenever a code comes to mean another value than before, or a bucket of a sketch has other
 * bounds. A code that is new (mst_column_codes tells) does not count.
 */
uint64_t mst_column_epoch(const struct mst_column *column);

/* The code of exactly these packed bytes; 0 if no row holds them. (1 and 1.0 are two values.) */
uint32_t mst_column_find(const struct mst_column *column, const uint8_t *value);

/* How many codes (in a sketch: rows) stand for an array or for finals, which equality looks into. */
uint32_t mst_column_compounds(const struct mst_column *column);

enum mst_encoding {
    MST_ENCODING_DICTIONARY, /* codes 1 .. mst_column_codes are dictionary entries */
    MST_ENCODING_SKETCH,     /* too many values: codes are buckets 1 .. 255 (width 1) of an order sketch; 0 missing */
};

/*
 * How the codes are to be read. It may change from DICTIONARY to SKETCH at any change of the view; the epoch grows
 * then. In a sketch mst_column_value and mst_column_find answer NULL and 0.
 */
enum mst_encoding mst_column_encoding(const struct mst_column *column);

/*
 * SKETCH only. Bucket b (1 .. mst_column_codes) holds rows whose values v, in the order of mst_value_compare, lie in
 * low <= v <= high (packed values, borrowed until the next change of the view). low == high by comparison: all rows of
 * the bucket have an equal value. Both NULL: the bucket is empty, or, if mst_column_rows says otherwise, it holds any
 * values (arrays and finals): its rows are to be tested one by one.
 */
void mst_column_bucket(const struct mst_column *column, uint32_t bucket, const uint8_t **low, const uint8_t **high);

/*
 * The packed value of a row that is alive, in either encoding; NULL: missing. `cell` may hold it. Borrowed until the
 * next change of the view.
 */
const uint8_t *mst_column_row_value(const struct mst_column *column, uint32_t row, uint8_t cell[16]);

/*
 * A set of the rows that hold `code` (not 0), one bit per row as mst_view_live, kept up to date by writers; NULL: not
 * kept (yet). Each call counts as a use; from the third use within a minute the view keeps one, under a budget; those
 * not used for long make room. Borrowed until the next change of the view or the next call.
 */
const uint64_t *mst_column_bitset(struct mst_column *column, uint32_t code, int64_t now_ms);

/* Whether the column is still being back-filled; its codes are then not to be used (evaluate on documents). */
bool mst_column_filling(const struct mst_column *column);

/* Goes on with back-filling for at most `rows` rows over all columns; true: there is more to do. */
bool mst_view_fill(struct mst_view *view, uint32_t rows);
