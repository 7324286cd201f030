// SPDX-License-Identifier: Apache-2.0
#include "view/view.h"

#include <stdlib.h>
#include <string.h>

#include "model/value.h"
#include "view/internal.h"

struct mst_view *mst_view_create(const char *namespace_, struct mst_json_parser *parser)
{
    struct mst_view *view = calloc(1, sizeof *view);
    if (!view)
        return NULL;
    mst__wheel_init(&view->wheel);
    view->parser = parser;
    view->name = strdup(namespace_);
    view->ids = mst_map_create();
    view->paths = mst_map_create();
    view->gateways.index = mst_map_create();
    view->columns = calloc(MST__COLUMNS_MAX, sizeof(*view->columns));
    view->codes = calloc(MST__COLUMNS_MAX, sizeof *view->codes);
    if (!view->name || !view->ids || !view->paths || !view->gateways.index || !view->columns || !view->codes) {
        mst_view_destroy(view);
        return NULL;
    }
    return view;
}

void mst_view_destroy(struct mst_view *view)
{
    if (!view)
        return;
    for (uint32_t row = 0; row < view->rows.limit; row++)
        if (mst__rows_alive(&view->rows, row))
            free(mst__rows_head(&view->rows, row)->blob);
    for (uint32_t i = 0; view->columns && i < view->column_count; i++)
        mst__column_destroy(view->columns[i]);
    free(view->columns);
    free(view->codes);
    mst__rows_deinit(&view->rows);
    mst__gateways_deinit(&view->gateways);
    mst_map_destroy(view->ids);
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
    size_t bytes = sizeof *view + (size_t)rows->segment_count * MST__SEGMENT_ROWS * sizeof(struct mst__head);
    bytes += (size_t)rows->capacity / 4;                  /* bitsets */
    bytes += view->blob_bytes + (size_t)rows->count * 16; /* blobs, and what the heap adds to each */
    bytes += mst_map_count(view->ids) * 48;
    for (uint32_t i = 0; i < view->column_count; i++)
        bytes += mst__column_bytes(view->columns[i]);
    return bytes;
}

/* Appends the parsed text to `out`. Whoever stored the text has checked its size against the limits of the day. */
static int parse_metadata(const struct mst_view *view, const char *text, size_t length, struct mst_buffer *out)
{
    struct mst_json_limits limits = {.bytes = length, .depth = 128};
    size_t start = out->length;
    int status = mst_json_parse(view->parser, text, length, &limits, out, NULL);
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

static struct mst_span head_metadata(const struct mst__head *head)
{
    return (struct mst_span){head->blob + head->id_length, head->metadata_length};
}

static void append(char **at, struct mst_span span)
{
    if (span.length)
        memcpy(*at, span.data, span.length);
    *at += span.length;
}

static char *make_blob(const struct mst_identity *identity)
{
    char *blob = malloc(identity->id.length + identity->metadata.length + identity->owner.length);
    char *at = blob;
    if (blob) {
        append(&at, identity->id);
        append(&at, identity->metadata);
        append(&at, identity->owner);
    }
    return blob;
}

static int grow_rows(struct mst_view *view)
{
    uint32_t before = view->rows.capacity, capacity = mst__rows_next_capacity(&view->rows);
    if (capacity == 0)
        return MST_ENOMEM;
    /* Columns that have grown while a later one fails are only larger than they need to be. */
    for (uint32_t i = 0; i < view->column_count; i++)
        if (mst__column_grow(view->columns[i], before, capacity) < 0)
            return MST_ENOMEM;
    return mst__rows_grow(&view->rows, capacity);
}

/* What a put has gathered before it changes the row; everything that can fail is done by then. */
struct draft {
    const struct mst_identity *identity;
    uint32_t row; /* MST_ROW_NONE: a new one */
    char *blob;
    uint32_t gateway;
    uint32_t codes;     /* how many of view->codes are filled */
    bool same_metadata; /* then the columns stay as they are */
};

static int extract_codes(struct mst_view *view, struct draft *draft, const uint8_t *document)
{
    for (uint32_t i = 0; i < view->column_count; i++) {
        int status = mst__column_extract(view->columns[i], document, &view->finals, &view->codes[i]);
        if (status < 0)
            return status;
        draft->codes++;
    }
    return 0;
}

static int prepare(struct mst_view *view, struct draft *draft, const uint8_t *document)
{
    const struct mst_identity *identity = draft->identity;
    int status;
    if (!document && !draft->same_metadata) {
        mst_buffer_clear(&view->document);
        status = parse_metadata(view, identity->metadata.data, identity->metadata.length, &view->document);
        if (status < 0)
            return status;
        document = (const uint8_t *)view->document.data;
    }
    if (draft->row == MST_ROW_NONE) {
        if ((mst__rows_full(&view->rows) && grow_rows(view) < 0) || mst__rows_prepare(&view->rows) < 0)
            return MST_ENOMEM;
    }
    if (!draft->same_metadata && (status = extract_codes(view, draft, document)) < 0)
        return status;
    status = mst__gateways_take(&view->gateways, identity->gateway, &draft->gateway);
    if (status < 0)
        return status;
    draft->blob = make_blob(identity);
    return draft->blob ? 0 : MST_ENOMEM;
}

static void discard(struct mst_view *view, struct draft *draft)
{
    for (uint32_t i = 0; i < draft->codes; i++)
        mst__column_release(view->columns[i], view->codes[i]);
    mst__gateways_give(&view->gateways, draft->gateway);
    free(draft->blob);
}

static void commit(struct mst_view *view, const struct draft *draft)
{
    const struct mst_identity *identity = draft->identity;
    struct mst__head *head = mst__rows_head(&view->rows, draft->row);
    if (head->blob)
        view->blob_bytes -= blob_length(head);
    free(head->blob);
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
    view->blob_bytes += blob_length(head);
    for (uint32_t i = 0; i < draft->codes; i++)
        mst__column_set(view->columns[i], draft->row, view->codes[i]);
    mst__wheel_update(&view->wheel, &view->rows, draft->row);
    if (identity->revision > view->revision)
        view->revision = identity->revision;
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

int mst_view_put(struct mst_view *view, const struct mst_identity *identity, const uint8_t *document, uint32_t *row)
{
    struct draft draft = {.identity = identity, .row = mst_view_find(view, identity->id.data, identity->id.length)};
    int status = check(identity);
    if (status < 0)
        return status;
    if (draft.row != MST_ROW_NONE) {
        const struct mst__head *head = mst__rows_head(&view->rows, draft.row);
        if (row)
            *row = draft.row;
        if (identity->revision <= head->revision)
            return 0;
        struct mst_span before = head_metadata(head);
        draft.same_metadata = before.length == identity->metadata.length &&
                              memcmp(before.data, identity->metadata.data, before.length) == 0;
    }
    status = prepare(view, &draft, document);
    if (status < 0)
        goto fail;
    if (draft.row == MST_ROW_NONE) {
        draft.row = mst__rows_take(&view->rows);
        status = mst_map_set(view->ids, identity->id.data, identity->id.length, draft.row);
        if (status < 0) {
            mst__rows_give(&view->rows, draft.row);
            goto fail;
        }
    }
    commit(view, &draft);
    if (row)
        *row = draft.row;
    return 0;
fail:
    discard(view, &draft);
    return status;
}

int mst_view_touch(struct mst_view *view, const char *id, size_t length, int64_t expires_at, int64_t lease_ms,
                   uint64_t revision)
{
    uint32_t row = mst_view_find(view, id, length);
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

static void drop(struct mst_view *view, uint32_t row)
{
    struct mst__head *head = mst__rows_head(&view->rows, row);
    for (uint32_t i = 0; i < view->column_count; i++)
        mst__column_set(view->columns[i], row, 0);
    mst__wheel_unlink(&view->wheel, &view->rows, row);
    mst__gateways_give(&view->gateways, head->gateway);
    mst_map_remove(view->ids, head->blob, head->id_length, NULL);
    view->blob_bytes -= blob_length(head);
    free(head->blob);
    mst__rows_give(&view->rows, row);
}

int mst_view_remove(struct mst_view *view, const char *id, size_t length, uint64_t revision)
{
    uint32_t row = mst_view_find(view, id, length);
    if (revision > view->revision)
        view->revision = revision;
    if (row == MST_ROW_NONE)
        return MST_ENOTFOUND;
    drop(view, row);
    return 0;
}

void mst_view_empty(struct mst_view *view, uint64_t revision)
{
    if (revision > view->revision)
        view->revision = revision;
    for (uint32_t row = 0; row < view->rows.limit; row++)
        if (mst__rows_alive(&view->rows, row))
            drop(view, row);
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
    drop(ending->view, row);
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
    uint64_t row;
    return mst_map_get(view->ids, id, length, &row) ? (uint32_t)row : MST_ROW_NONE;
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
        .metadata = head_metadata(head),
        .gateway = {gateway ? gateway->name : "", gateway ? gateway->length : 0},
        .owner = {head->blob + head->id_length + head->metadata_length, head->owner_length},
        .registered_at = head->registered_at,
        .updated_at = head->updated_at,
        .expires_at = head->expires_at,
        .lease_ms = head->lease_ms,
        .revision = head->revision,
    };
}

int mst_view_document(const struct mst_view *view, uint32_t row, struct mst_buffer *out)
{
    struct mst_span metadata = head_metadata(mst__rows_head(&view->rows, row));
    return parse_metadata(view, metadata.data, metadata.length, out);
}

const uint64_t *mst_view_live(const struct mst_view *view)
{
    return view->rows.live;
}

/* Paths are told apart by their steps; an index step is not the same as a name step of the same text. */
static int path_key(struct mst_buffer *key, const struct mst_path *path)
{
    mst_buffer_clear(key);
    for (uint32_t i = 0; i < path->count; i++) {
        const struct mst_path_step *step = &path->steps[i];
        mst_buffer_append(key, &step->index, sizeof step->index);
        mst_buffer_append(key, &step->length, sizeof step->length);
        if (step->index < 0)
            mst_buffer_append(key, step->name, step->length);
    }
    return key->failed ? MST_ENOMEM : 0;
}

/* Whether the text of a document cannot have the path; then it need not be parsed. */
static bool surely_missing(const struct mst_path *path, struct mst_span metadata)
{
    return path->count > 0 && path->steps[0].length > 0 && !memchr(metadata.data, '\\', metadata.length) &&
           !memmem(metadata.data, metadata.length, path->steps[0].name, path->steps[0].length);
}

static int back_fill(struct mst_view *view, struct mst_column *column)
{
    for (uint32_t row = 0; row < view->rows.limit; row++) {
        if (!mst__rows_alive(&view->rows, row))
            continue;
        if (surely_missing(&column->path, head_metadata(mst__rows_head(&view->rows, row))))
            continue;
        uint32_t code;
        mst_buffer_clear(&view->document);
        int status = mst_view_document(view, row, &view->document);
        if (status == 0)
            status = mst__column_extract(column, (const uint8_t *)view->document.data, &view->finals, &code);
        if (status < 0)
            return status;
        mst__column_set(column, row, code);
    }
    return 0;
}

struct mst_column *mst_view_column(struct mst_view *view, const struct mst_path *path)
{
    uint64_t known;
    if (path_key(&view->key, path) < 0)
        return NULL;
    /* The document itself has an empty key, which has no address of its own. */
    const void *key = view->key.length ? view->key.data : "";
    if (mst_map_get(view->paths, key, view->key.length, &known))
        return view->columns[known];
    if (view->column_count == MST__COLUMNS_MAX)
        return NULL;
    struct mst_column *column = mst__column_create(view, path, view->rows.capacity);
    if (!column)
        return NULL;
    if (back_fill(view, column) < 0 || mst_map_set(view->paths, key, view->key.length, view->column_count) < 0) {
        mst__column_destroy(column);
        return NULL;
    }
    view->columns[view->column_count++] = column;
    return column;
}
