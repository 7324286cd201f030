// SPDX-License-Identifier: Apache-2.0
#include "view/view.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "model/value.h"
#include "view/internal.h"

static bool same_id(const void *owner, uint32_t row, const void *id, size_t length)
{
    const struct mst__head *head = mst__rows_head(&((const struct mst_view *)owner)->rows, row);
    return head->id_length == length && mst__same_bytes(head->blob, id, length);
}

static uint32_t find_hashed(const struct mst_view *view, uint32_t hash, const void *id, size_t length)
{
    uint32_t row = mst__table_home(&view->ids, hash);
    if (row != MST_ROW_NONE && same_id(view, row, id, length))
        return row;
    return mst__table_find(&view->ids, hash, id, length);
}

/* Ids come from outside: nobody shall be able to choose those that meet in one slot. */
static uint64_t random_seed(const void *address)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        return seed;
    return mst_clock_monotonic() ^ (uint64_t)(uintptr_t)address * UINT64_C(0x9E3779B97F4A7C15);
}

struct mst_view *mst_view_create(const char *namespace_, struct mst_json_parser *parser)
{
    struct mst_view *view = calloc(1, sizeof *view);
    if (!view)
        return NULL;
    mst__wheel_init(&view->wheel);
    view->parser = parser;
    view->serial = mst_clock_monotonic();
    view->watching = true;
    view->name = strdup(namespace_);
    view->paths = mst_map_create();
    view->gateways.index = mst_map_create();
    view->columns = calloc(MST__COLUMNS_MAX, sizeof(*view->columns));
    view->cells = calloc(MST__COLUMNS_MAX, sizeof *view->cells);
    if (mst__table_init(&view->ids, same_id, view, random_seed(view)) < 0 || !view->name || !view->paths ||
        !view->gateways.index || !view->columns || !view->cells) {
        mst_view_destroy(view);
        return NULL;
    }
    return view;
}

/* What belongs to rows goes with the arena. */
void mst_view_destroy(struct mst_view *view)
{
    if (!view)
        return;
    for (uint32_t i = 0; view->columns && i < view->column_count; i++)
        mst__column_destroy(view->columns[i]);
    free(view->columns);
    free(view->cells);
    mst__fields_deinit(view);
    mst__arena_deinit(&view->arena);
    mst__rows_deinit(&view->rows);
    mst__gateways_deinit(&view->gateways);
    mst__table_deinit(&view->ids);
    mst_map_destroy(view->paths);
    mst_buffer_deinit(&view->document);
    mst_buffer_deinit(&view->finals);
    mst_buffer_deinit(&view->key);
    free(view->name);
    free(view);
}

const char *mst_view_namespace(const struct mst_view *view)
{
    return view->name;
}

uint64_t mst_view_serial(const struct mst_view *view)
{
    return view->serial;
}

uint32_t mst_view_count(const struct mst_view *view)
{
    return view->rows.count;
}

uint32_t mst_view_row_limit(const struct mst_view *view)
{
    return view->rows.limit;
}

uint64_t mst_view_revision(const struct mst_view *view)
{
    return view->revision;
}

size_t mst_view_bytes(const struct mst_view *view)
{
    const struct mst__rows *rows = &view->rows;
    size_t bytes = sizeof *view + (size_t)rows->touched * sizeof(struct mst__head);
    bytes += (size_t)rows->capacity / 4; /* bitsets */
    bytes += view->arena.bytes + view->ids.bytes;
    bytes += MST__COLUMNS_MAX * (sizeof(*view->columns) + sizeof *view->cells);
    for (uint32_t i = 0; i < view->column_count; i++)
        bytes += mst__column_bytes(view->columns[i]);
    return bytes;
}

/* Appends the parsed text to `out`. Whoever stored the text has checked its size against the limits of the day. */
int mst__view_parse(const struct mst_view *view, struct mst_span metadata, struct mst_buffer *out)
{
    struct mst_json_limits limits = {.bytes = metadata.length, .depth = 128};
    size_t start = out->length;
    int status = mst_json_parse(view->parser, metadata.data, metadata.length, &limits, out, NULL);
    if (status < 0)
        return status;
    if (mst_value_tag((const uint8_t *)out->data + start) == MST_OBJECT)
        return 0;
    out->length = start;
    return MST_EJSON;
}

static size_t blob_length(const struct mst__head *head)
{
    return (size_t)head->id_length + head->metadata_length + head->owner_length;
}

static void append(char **at, struct mst_span span)
{
    if (span.length)
        memcpy(*at, span.data, span.length);
    *at += span.length;
}

static char *make_blob(struct mst_view *view, const struct mst_identity *identity)
{
    size_t length = identity->id.length + identity->metadata.length + identity->owner.length;
    char *blob = mst__arena_take(&view->arena, length), *at = blob;
    if (blob) {
        append(&at, identity->id);
        append(&at, identity->metadata);
        append(&at, identity->owner);
    }
    return blob;
}

static int grow_rows(struct mst_view *view)
{
    uint32_t capacity = mst__rows_next_capacity(&view->rows);
    if (capacity == 0)
        return MST_ENOMEM;
    /* Columns that have grown while a later one fails are only larger than they need to be. */
    for (uint32_t i = 0; i < view->column_count; i++)
        if (mst__column_grow(view->columns[i], capacity) < 0)
            return MST_ENOMEM;
    return mst__rows_grow(&view->rows, capacity);
}

/* What a put has gathered before it changes the row; everything that can fail is done by then. */
struct draft {
    const struct mst_identity *identity;
    uint32_t row; /* MST_ROW_NONE: a new one */
    uint32_t hash;
    char *blob;
    uint32_t gateway;
    bool gathered;      /* view->cells are filled */
    bool same_metadata; /* then the columns stay as they are */
};

static int gather(struct mst_view *view, struct draft *draft, const uint8_t *document)
{
    if (!document) {
        mst_buffer_clear(&view->document);
        int status = mst__view_parse(view, draft->identity->metadata, &view->document);
        if (status < 0)
            return status;
        document = (const uint8_t *)view->document.data;
    }
    draft->gathered = true;
    return mst__fields_gather(view, document);
}

static int prepare(struct mst_view *view, struct draft *draft, const uint8_t *document)
{
    const struct mst_identity *identity = draft->identity;
    if (draft->row == MST_ROW_NONE) {
        if ((mst__rows_full(&view->rows) && grow_rows(view) < 0) || mst__rows_prepare(&view->rows) < 0 ||
            mst__table_prepare(&view->ids, draft->hash) < 0)
            return MST_ENOMEM;
    }
    int status = draft->same_metadata ? 0 : gather(view, draft, document);
    if (status < 0)
        return status;
    status = mst__gateways_take(&view->gateways, identity->gateway, &draft->gateway);
    if (status < 0)
        return status;
    draft->blob = make_blob(view, identity);
    return draft->blob ? 0 : MST_ENOMEM;
}

static void discard(struct mst_view *view, struct draft *draft)
{
    for (uint32_t i = 0; draft->gathered && i < view->column_count; i++)
        mst__column_discard(view->columns[i], &view->cells[i]);
    mst__gateways_give(&view->gateways, draft->gateway);
}

static void settle(struct mst_view *view)
{
    view->unsettled = false;
    for (uint32_t i = 0; i < view->column_count; i++)
        if (view->columns[i]->unsettled)
            mst__column_settle(view->columns[i]);
}

static void commit(struct mst_view *view, const struct draft *draft)
{
    const struct mst_identity *identity = draft->identity;
    struct mst__head *head = mst__rows_head(&view->rows, draft->row);
    mst__arena_give(&view->arena, head->blob, blob_length(head));
    mst__gateways_give(&view->gateways, head->gateway);
    head->blob = draft->blob;
    head->id_length = (uint8_t)identity->id.length;
    head->metadata_length = identity->metadata.length & MST__METADATA_LIMIT;
    head->owner_length = (uint16_t)identity->owner.length;
    head->gateway = draft->gateway;
    head->registered_at = identity->registered_at;
    head->updated_at = identity->updated_at;
    head->expires_at = identity->expires_at;
    head->lease_ms = (uint32_t)identity->lease_ms;
    head->revision = identity->revision;
    for (uint32_t i = 0; draft->gathered && i < view->column_count; i++)
        mst__column_set(view->columns[i], draft->row, &view->cells[i]);
    mst__wheel_update(&view->wheel, &view->rows, draft->row);
    if (identity->revision > view->revision)
        view->revision = identity->revision;
    if (view->unsettled)
        settle(view);
}

static bool lease_fits(int64_t lease_ms)
{
    return lease_ms >= 0 && lease_ms <= UINT32_MAX;
}

static int check(const struct mst_identity *identity)
{
    if (identity->id.length == 0 || identity->id.length > MST_ID_MAX)
        return MST_EID;
    if (identity->owner.length > UINT16_MAX || identity->metadata.length > MST__METADATA_LIMIT ||
        identity->gateway.length > UINT32_MAX)
        return MST_ETOOBIG;
    return lease_fits(identity->lease_ms) ? 0 : MST_ERANGE;
}

/* `hash` and `row` are those of the id. */
static int put(struct mst_view *view, const struct mst_identity *identity, const uint8_t *document, uint32_t hash,
               uint32_t *row)
{
    struct draft draft = {.identity = identity, .row = *row, .hash = hash};
    int status = check(identity);
    if (status < 0)
        return status;
    if (draft.row != MST_ROW_NONE) {
        const struct mst__head *head = mst__rows_head(&view->rows, draft.row);
        if (identity->revision <= head->revision)
            return 0;
        struct mst_span before = mst__head_metadata(head);
        draft.same_metadata = before.length == identity->metadata.length &&
                              (before.length == 0 || memcmp(before.data, identity->metadata.data, before.length) == 0);
    }
    status = prepare(view, &draft, document);
    if (status < 0) {
        discard(view, &draft);
        return status;
    }
    if (draft.row == MST_ROW_NONE) {
        draft.row = *row = mst__rows_take(&view->rows);
        mst__table_add(&view->ids, hash, draft.row);
    }
    commit(view, &draft);
    return 0;
}

int mst_view_put(struct mst_view *view, const struct mst_identity *identity, const uint8_t *document, uint32_t *row)
{
    uint32_t hash = mst__table_hash(&view->ids, identity->id.data, identity->id.length);
    uint32_t found = find_hashed(view, hash, identity->id.data, identity->id.length);
    int status = put(view, identity, document, hash, &found);
    if (row && found != MST_ROW_NONE)
        *row = found;
    return status;
}

#define GROUP 32u

/* What the operations at hand will find; ids are looked up again when their turn comes. */
struct group {
    uint32_t count;
    uint32_t hashes[GROUP];
    uint32_t rows[GROUP];
};

static void group_add(struct group *group, const struct mst_view *view, const struct mst_span *id)
{
    uint32_t hash = mst__table_hash(&view->ids, id->data, id->length);
    mst__table_prefetch(&view->ids, hash);
    group->hashes[group->count++] = hash;
}

static void prefetch_row(const struct mst_view *view, uint32_t row)
{
    if (row != MST_ROW_NONE)
        __builtin_prefetch(mst__rows_head(&view->rows, row), 1);
}

/* Asks for the memory that a group will need, in steps, so that the waits overlap. */
static void prefetch_heads(const struct mst_view *view, struct group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        group->rows[i] = mst__table_guess(&view->ids, group->hashes[i]);
        prefetch_row(view, group->rows[i]);
    }
    for (uint32_t i = 0; i < group->count; i++)
        if (group->rows[i] != MST_ROW_NONE)
            __builtin_prefetch(mst__rows_head(&view->rows, group->rows[i])->blob, 1);
}

static void prefetch_cells(const struct mst_view *view, const struct group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        if (group->rows[i] == MST_ROW_NONE)
            continue;
        const struct mst__head *head = mst__rows_head(&view->rows, group->rows[i]);
        __builtin_prefetch(head->blob + 64);
        for (uint32_t k = 0; k < view->column_count; k++)
            mst__column_prefetch(view->columns[k], group->rows[i]);
    }
}

static void prefetch_neighbours(const struct mst_view *view, const struct group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        if (group->rows[i] == MST_ROW_NONE)
            continue;
        const struct mst__head *head = mst__rows_head(&view->rows, group->rows[i]);
        if (head->wheel_place == MST__PLACE_NONE)
            continue;
        prefetch_row(view, head->wheel_next);
        prefetch_row(view, head->wheel_previous);
    }
}

int mst_view_put_many(struct mst_view *view, const struct mst_identity *identities, const uint8_t *const *documents,
                      uint32_t count, int *results)
{
    int first = 0;
    struct group group;
    for (uint32_t i = 0; i < count; i++) {
        if (i % GROUP == 0) {
            group.count = 0;
            for (uint32_t k = i; k < count && k < i + GROUP; k++)
                group_add(&group, view, &identities[k].id);
            prefetch_heads(view, &group);
            prefetch_cells(view, &group);
        }
        const struct mst_span *id = &identities[i].id;
        uint32_t hash = group.hashes[i % GROUP], row = find_hashed(view, hash, id->data, id->length);
        int status = put(view, &identities[i], documents ? documents[i] : NULL, hash, &row);
        if (results)
            results[i] = status;
        first = first ? first : status;
    }
    return first;
}

static int touch(struct mst_view *view, uint32_t row, int64_t expires_at, int64_t lease_ms, uint64_t revision)
{
    if (row == MST_ROW_NONE)
        return MST_ENOTFOUND;
    if (!lease_fits(lease_ms))
        return MST_ERANGE;
    struct mst__head *head = mst__rows_head(&view->rows, row);
    if (revision < head->revision)
        return 0;
    head->expires_at = expires_at;
    head->lease_ms = (uint32_t)lease_ms;
    head->revision = revision;
    mst__wheel_update(&view->wheel, &view->rows, row);
    if (revision > view->revision)
        view->revision = revision;
    return 0;
}

int mst_view_touch(struct mst_view *view, const char *id, size_t length, int64_t expires_at, int64_t lease_ms,
                   uint64_t revision)
{
    return touch(view, mst_view_find(view, id, length), expires_at, lease_ms, revision);
}

int mst_view_touch_many(struct mst_view *view, const struct mst_view_touch *touches, uint32_t count, int *results)
{
    int first = 0;
    struct group group;
    for (uint32_t i = 0; i < count; i++) {
        if (i % GROUP == 0) {
            group.count = 0;
            for (uint32_t k = i; k < count && k < i + GROUP; k++)
                group_add(&group, view, &touches[k].id);
            prefetch_heads(view, &group);
        }
        const struct mst_view_touch *one = &touches[i];
        uint32_t row = find_hashed(view, group.hashes[i % GROUP], one->id.data, one->id.length);
        int status = touch(view, row, one->expires_at, one->lease_ms, one->revision);
        if (results)
            results[i] = status;
        first = first ? first : status;
    }
    return first;
}

static void drop(struct mst_view *view, uint32_t row, uint32_t hash)
{
    static const struct mst__cell missing;
    struct mst__head *head = mst__rows_head(&view->rows, row);
    for (uint32_t i = 0; i < view->column_count; i++)
        mst__column_set(view->columns[i], row, &missing);
    mst__wheel_unlink(&view->wheel, &view->rows, row);
    mst__gateways_give(&view->gateways, head->gateway);
    mst__table_remove(&view->ids, hash, row);
    mst__arena_give(&view->arena, head->blob, blob_length(head));
    mst__rows_give(&view->rows, row);
}

static uint32_t hash_of(const struct mst_view *view, uint32_t row)
{
    const struct mst__head *head = mst__rows_head(&view->rows, row);
    return mst__table_hash(&view->ids, head->blob, head->id_length);
}

static int remove_id(struct mst_view *view, const struct mst_span *id, uint32_t hash, uint64_t revision)
{
    uint32_t row = find_hashed(view, hash, id->data, id->length);
    if (revision > view->revision)
        view->revision = revision;
    if (row == MST_ROW_NONE)
        return MST_ENOTFOUND;
    drop(view, row, hash);
    return 0;
}

int mst_view_remove(struct mst_view *view, const char *id, size_t length, uint64_t revision)
{
    struct mst_span span = {id, length};
    return remove_id(view, &span, mst__table_hash(&view->ids, id, length), revision);
}

int mst_view_remove_many(struct mst_view *view, const struct mst_span *ids, uint32_t count, uint64_t revision,
                         int *results)
{
    int first = 0;
    struct group group;
    for (uint32_t i = 0; i < count; i++) {
        if (i % GROUP == 0) {
            group.count = 0;
            for (uint32_t k = i; k < count && k < i + GROUP; k++)
                group_add(&group, view, &ids[k]);
            prefetch_heads(view, &group);
            prefetch_neighbours(view, &group);
            prefetch_cells(view, &group);
        }
        int status = remove_id(view, &ids[i], group.hashes[i % GROUP], revision);
        if (results)
            results[i] = status;
        first = first ? first : status;
    }
    return first;
}

void mst_view_empty(struct mst_view *view, uint64_t revision)
{
    if (revision > view->revision)
        view->revision = revision;
    for (uint32_t row = 0; row < view->rows.limit; row++)
        if (mst__rows_alive(&view->rows, row))
            drop(view, row, hash_of(view, row));
}

struct ending {
    struct mst_view *view;
    mst_view_expired *expired;
    void *context;
};

static void end_lease(void *context, uint32_t row)
{
    struct ending *ending = context;
    if (ending->expired) {
        struct mst_identity identity;
        mst_view_identity(ending->view, row, &identity);
        ending->expired(ending->context, &identity);
    }
    drop(ending->view, row, hash_of(ending->view, row));
}

uint32_t mst_view_expire(struct mst_view *view, int64_t now_ms, mst_view_expired *expired, void *context)
{
    struct ending ending = {view, expired, context};
    return mst__wheel_advance(&view->wheel, &view->rows, now_ms, end_lease, &ending);
}

int64_t mst_view_next_expiry(const struct mst_view *view)
{
    return mst__wheel_next(&view->wheel);
}

uint32_t mst_view_find(const struct mst_view *view, const char *id, size_t length)
{
    return find_hashed(view, mst__table_hash(&view->ids, id, length), id, length);
}

bool mst_view_alive(const struct mst_view *view, uint32_t row)
{
    return mst__rows_alive(&view->rows, row);
}

void mst_view_identity(const struct mst_view *view, uint32_t row, struct mst_identity *identity)
{
    const struct mst__head *head = mst__rows_head(&view->rows, row);
    const struct mst__gateway *gateway = head->gateway ? &view->gateways.entries[head->gateway] : NULL;
    *identity = (struct mst_identity){
        .id = {head->blob, head->id_length},
        .metadata = mst__head_metadata(head),
        .gateway = {gateway ? gateway->name : "", gateway ? gateway->length : 0},
        .owner = {head->blob + head->id_length + head->metadata_length, head->owner_length},
        .registered_at = head->registered_at,
        .updated_at = head->updated_at,
        .expires_at = head->expires_at,
        .lease_ms = head->lease_ms,
        .revision = head->revision,
    };
}

void mst_view_prefetch(const struct mst_view *view, uint32_t row)
{
    __builtin_prefetch(mst__rows_head(&view->rows, row));
}

void mst_view_prefetch_text(const struct mst_view *view, uint32_t row)
{
    __builtin_prefetch(mst__rows_head(&view->rows, row)->blob);
}

int mst_view_document(const struct mst_view *view, uint32_t row, struct mst_buffer *out)
{
    return mst__view_parse(view, mst__head_metadata(mst__rows_head(&view->rows, row)), out);
}

const uint64_t *mst_view_live(const struct mst_view *view)
{
    return view->rows.live;
}
