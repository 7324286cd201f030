// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A view: an instance's in-memory, column-wise copy of one namespace.
 *
 * Identities live in row slots that never move while they are alive; a freed slot is reused, lowest first, and free
 * slots at the end are given up. Each row has a head (64 bytes: id, metadata blob, times, revision, gateway) and one
 * code per column. A column belongs to a field path and is created when a filter or a sort key first needs it; code 0
 * is "missing", every other code an entry of the column's dictionary, which holds what the path denotes (a value, or
 * finals). Leases are a timer wheel and a live bitset; a lease ends on the view's own clock reading and needs no event
 * from outside.
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
 * Renews a lease: updates expires_at, lease_ms and revision only. A revision older than the row's changes nothing.
 * MST_ENOTFOUND; MST_ERANGE as for put.
 */
int mst_view_touch(struct mst_view *view, const char *id, size_t length, int64_t expires_at, int64_t lease_ms,
                   uint64_t revision);

/*
 * Removes, whatever the row's revision; MST_ENOTFOUND if it is not there. The revision of the view grows to `revision`
 * either way.
 */
int mst_view_remove(struct mst_view *view, const char *id, size_t length, uint64_t revision);

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

/* The parsed metadata of a row, appended to `out`. */
int mst_view_document(const struct mst_view *view, uint32_t row, struct mst_buffer *out);

/* One bit per row, 64 rows a word, (row_limit + 63) / 64 words; dead rows are 0. */
const uint64_t *mst_view_live(const struct mst_view *view);

/*
 * The column of a path, created and filled from the stored metadata if need be. NULL: no memory, or too many columns
 * (1024). The column lives as long as the view.
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

/* Dictionary versions: grows whenever a code is given to a value it did not mean before. */
uint64_t mst_column_epoch(const struct mst_column *column);

/* The code of exactly these packed bytes; 0 if no row holds them. (1 and 1.0 are two values.) */
uint32_t mst_column_find(const struct mst_column *column, const uint8_t *value);

/* How many codes stand for an array or for finals, which equality looks into. */
uint32_t mst_column_compounds(const struct mst_column *column);
