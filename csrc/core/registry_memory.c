// SPDX-License-Identifier: Apache-2.0
#include "core/registry_memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"

/*
 * Operations wait in one list, for their order matters across kinds. Each is linked through its own slot_state, so that
 * queueing cannot fail; the low bits of a link say what kind of operation it points to.
 */
enum kind { KIND_PUT, KIND_RENEW, KIND_REMOVE, KIND_FOLLOW, KIND_DROP, KIND_LIST, KIND_MASK = 7 };

typedef uintptr_t link;

/* A call of `namespaces`, which has no object of the caller's. */
struct listing {
    void (*each)(void *context, const char *namespace_);
    void (*ready)(void *context, int status, const struct mst_error *error);
    void *context;
    void *slot_state;
};

/* A namespace that has been written to. Its revision outlives its view, which may be replaced when it is dropped. */
struct space {
    uint64_t revision;
    char name[MST_NAMESPACE_MAX + 1];
};

struct memory {
    struct mst_registry base;
    struct mst_timers *timers;
    struct mst_timer timer; /* set all the time (to "never" when idle), so that setting it cannot fail */
    struct mst_view *(*view_of)(void *context, const char *namespace_);
    void *context;
    struct mst_map *spaces; /* name to struct space */
    link first, last;
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
};

static void **slot_of(link operation)
{
    void *object = (void *)(operation & ~(link)KIND_MASK);
    switch ((enum kind)(operation & KIND_MASK)) {
    case KIND_PUT:
        return &((struct mst_registry_put *)object)->slot_state;
    case KIND_RENEW:
        return &((struct mst_registry_renew *)object)->slot_state;
    case KIND_REMOVE:
        return &((struct mst_registry_remove *)object)->slot_state;
    case KIND_FOLLOW:
        return &((struct mst_registry_follow *)object)->slot_state;
    case KIND_DROP:
        return &((struct mst_registry_drop *)object)->slot_state;
    default:
        return &((struct listing *)object)->slot_state;
    }
}

static void enqueue(struct mst_registry *registry, void *object, enum kind kind)
{
    struct memory *memory = (struct memory *)registry;
    link operation = (link)object | kind;
    *slot_of(operation) = NULL;
    if (memory->last)
        *slot_of(memory->last) = (void *)operation;
    else
        memory->first = operation;
    memory->last = operation;
    mst_timers_set(memory->timers, &memory->timer, 0);
}

static struct space *find_space(struct memory *memory, const char *name)
{
    uint64_t value;
    return mst_map_get(memory->spaces, name, strlen(name), &value) ? (struct space *)(uintptr_t)value : NULL;
}

static struct space *make_space(struct memory *memory, const char *name)
{
    struct space *space = find_space(memory, name);
    if (space || strlen(name) > MST_NAMESPACE_MAX)
        return space;
    space = calloc(1, sizeof *space);
    if (!space)
        return NULL;
    memcpy(space->name, name, strlen(name));
    if (mst_map_set(memory->spaces, name, strlen(name), (uintptr_t)space) == 0)
        return space;
    free(space);
    return NULL;
}

static void ignore_expired(void *context, const struct mst_identity *identity)
{
    (void)context;
    (void)identity;
}

/* The view of a namespace with nothing in it whose lease has ended; NULL: no memory. */
static struct mst_view *fresh_view(struct memory *memory, struct space *space, int64_t now)
{
    struct mst_view *view = memory->view_of(memory->context, space->name);
    if (view)
        mst_view_expire(view, now, ignore_expired, NULL);
    return view;
}

static bool same(struct mst_span a, struct mst_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* The preconditions of a registration; `old` NULL: the identity is not there. */
static int admit(const struct mst_registry_put *put, const struct mst_identity *old, struct mst_error *error)
{
    if (put->has_if_revision && (old ? old->revision : 0) != put->if_revision)
        return mst_error_set(error, MST_EREVISION, "identity %.*s is at revision %llu, not %llu", (int)put->id.length,
                             put->id.data, old ? (unsigned long long)old->revision : 0ULL,
                             (unsigned long long)put->if_revision);
    if (put->mode == MST_PUT_CREATE && old)
        return mst_error_set(error, MST_EEXISTS, "identity %.*s already registered", (int)put->id.length, put->id.data);
    if (put->mode == MST_PUT_UPSERT && old && !same(old->owner, put->owner))
        return mst_error_set(error, MST_EOWNER, "identity %.*s belongs to another owner", (int)put->id.length,
                             put->id.data);
    return 0;
}

static int64_t deadline_of(int64_t now, int64_t lease_ms)
{
    return lease_ms ? now + lease_ms : 0;
}

static int put_into(struct mst_view *view, struct mst_registry_put *put, uint64_t revision, int64_t now)
{
    struct mst_identity old;
    uint32_t row = mst_view_find(view, put->id.data, put->id.length);
    bool alive = row != MST_ROW_NONE;
    if (alive)
        mst_view_identity(view, row, &old);
    int code = admit(put, alive ? &old : NULL, &put->error);
    if (code)
        return code;
    struct mst_identity identity = {
        .id = put->id,
        .metadata = put->metadata,
        .gateway = put->gateway,
        .owner = put->owner,
        .registered_at = alive ? old.registered_at : now,
        .updated_at = now,
        .expires_at = deadline_of(now, put->lease_ms),
        .lease_ms = put->lease_ms,
        .revision = revision,
    };
    bool renewal =
        alive && same(old.gateway, put->gateway) && same(old.owner, put->owner) && same(old.metadata, put->metadata);
    if (renewal) {
        identity.updated_at = old.updated_at;
        code = mst_view_touch(view, put->id.data, put->id.length, identity.expires_at, put->lease_ms, revision);
    } else {
        put->metadata_changed = !alive || !same(old.metadata, put->metadata) || !same(old.gateway, put->gateway);
        code = mst_view_put(view, &identity, NULL, NULL);
    }
    if (code)
        return mst_error_set(&put->error, code, "%s", mst_error_text(code));
    put->created = !alive;
    put->registered_at = identity.registered_at;
    put->updated_at = identity.updated_at;
    put->expires_at = identity.expires_at;
    put->revision = revision;
    return 0;
}

static int no_memory(struct mst_error *error)
{
    return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
}

/* What every operation checks first. */
static int admissible(struct memory *memory, uint64_t deadline, struct mst_error *error)
{
    if (memory->closing)
        return mst_error_set(error, MST_ECLOSED, "the registry is closed");
    if (deadline < mst_clock_monotonic())
        return mst_error_set(error, MST_EDEADLINE, "%s", mst_error_text(MST_EDEADLINE));
    return 0;
}

static void run_put(struct memory *memory, struct mst_registry_put *put)
{
    put->created = put->metadata_changed = false;
    put->status = admissible(memory, put->deadline, &put->error);
    if (put->status == 0) {
        int64_t now = mst_clock_wall();
        struct space *space = make_space(memory, put->namespace_);
        struct mst_view *view = space ? fresh_view(memory, space, now) : NULL;
        put->status = view ? put_into(view, put, space->revision + 1, now) : no_memory(&put->error);
        if (put->status == 0)
            space->revision++;
    }
    put->done(put);
}

static int renew_one(struct mst_view *view, struct mst_span id, int64_t lease_ms, int64_t now, uint64_t revision,
                     struct mst_renewed *result)
{
    uint32_t row = mst_view_find(view, id.data, id.length);
    if (row == MST_ROW_NONE)
        return MST_ENOTFOUND;
    struct mst_identity identity;
    mst_view_identity(view, row, &identity);
    result->lease_ms = lease_ms < 0 ? identity.lease_ms : lease_ms;
    result->expires_at = deadline_of(now, result->lease_ms);
    result->revision = revision;
    int code = mst_view_touch(view, id.data, id.length, result->expires_at, result->lease_ms, revision);
    result->renewed = code == 0;
    return code;
}

static void run_renew(struct memory *memory, struct mst_registry_renew *renew)
{
    renew->status = admissible(memory, renew->deadline, &renew->error);
    memset(renew->results, 0, renew->count * sizeof *renew->results);
    struct space *space = renew->status == 0 ? find_space(memory, renew->namespace_) : NULL;
    renew->revision = 0;
    if (space) {
        int64_t now = mst_clock_wall();
        struct mst_view *view = fresh_view(memory, space, now);
        if (!view)
            renew->status = no_memory(&renew->error);
        for (uint32_t i = 0; view && i < renew->count; i++)
            if (renew_one(view, renew->ids[i], renew->lease_ms, now, space->revision + 1, &renew->results[i]) == 0)
                space->revision++;
        renew->revision = space->revision;
    }
    renew->done(renew);
}

static void run_remove(struct memory *memory, struct mst_registry_remove *remove)
{
    remove->status = admissible(memory, remove->deadline, &remove->error);
    remove->removed = false;
    struct space *space = remove->status == 0 ? find_space(memory, remove->namespace_) : NULL;
    remove->revision = 0;
    if (space) {
        struct mst_view *view = fresh_view(memory, space, mst_clock_wall());
        if (!view)
            remove->status = no_memory(&remove->error);
        else if (mst_view_find(view, remove->id.data, remove->id.length) != MST_ROW_NONE)
            remove->removed = mst_view_remove(view, remove->id.data, remove->id.length, space->revision + 1) == 0;
        space->revision += remove->removed;
        remove->revision = space->revision;
    }
    remove->done(remove);
}

static void run_follow(struct memory *memory, struct mst_registry_follow *follow)
{
    struct mst_error error = {0};
    int status = admissible(memory, UINT64_MAX, &error);
    struct space *space = find_space(memory, follow->namespace_);
    follow->ready(follow, status, space ? space->revision : 0, status ? &error : NULL);
}

static void run_drop(struct memory *memory, struct mst_registry_drop *drop)
{
    drop->status = admissible(memory, UINT64_MAX, &drop->error);
    struct space *space = drop->status == 0 ? find_space(memory, drop->namespace_) : NULL;
    if (space) {
        struct mst_view *view = fresh_view(memory, space, mst_clock_wall());
        if (view)
            mst_view_empty(view, ++space->revision);
        else
            drop->status = no_memory(&drop->error);
    }
    drop->done(drop);
}

static bool holds_anything(struct memory *memory, struct space *space)
{
    struct mst_view *view = memory->view_of(memory->context, space->name);
    return view && mst_view_count(view) > 0;
}

static void run_listing(struct memory *memory, struct listing *listing)
{
    struct mst_error error = {0};
    int status = admissible(memory, UINT64_MAX, &error);
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    while (status == 0 && mst_map_next(memory->spaces, &position, &key, &length, &value)) {
        struct space *space = (struct space *)(uintptr_t)value;
        if (holds_anything(memory, space))
            listing->each(listing->context, space->name);
    }
    struct listing copy = *listing;
    free(listing);
    copy.ready(copy.context, status, status ? &error : NULL);
}

static void run(struct memory *memory, link operation)
{
    void *object = (void *)(operation & ~(link)KIND_MASK);
    switch ((enum kind)(operation & KIND_MASK)) {
    case KIND_PUT:
        run_put(memory, object);
        break;
    case KIND_RENEW:
        run_renew(memory, object);
        break;
    case KIND_REMOVE:
        run_remove(memory, object);
        break;
    case KIND_FOLLOW:
        run_follow(memory, object);
        break;
    case KIND_DROP:
        run_drop(memory, object);
        break;
    default:
        run_listing(memory, object);
        break;
    }
}

static void destroy(struct memory *memory)
{
    mst_timers_cancel(memory->timers, &memory->timer);
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    while (memory->spaces && mst_map_next(memory->spaces, &position, &key, &length, &value))
        free((void *)(uintptr_t)value);
    mst_map_destroy(memory->spaces);
    free(memory);
}

static void on_timer(struct mst_timer *timer, void *owner)
{
    struct memory *memory = owner;
    mst_timers_set(memory->timers, timer, UINT64_MAX);
    /* Detached, so that what the callbacks ask for waits for the next turn. */
    link next = memory->first;
    memory->first = memory->last = 0;
    while (next) {
        link operation = next;
        next = (link)*slot_of(operation);
        run(memory, operation);
    }
    if (!memory->closing || memory->first)
        return;
    void (*closed)(void *context) = memory->closed;
    void *context = memory->closed_context;
    destroy(memory);
    closed(context);
}

static void memory_put(struct mst_registry *registry, struct mst_registry_put *put)
{
    enqueue(registry, put, KIND_PUT);
}

static void memory_renew(struct mst_registry *registry, struct mst_registry_renew *renew)
{
    enqueue(registry, renew, KIND_RENEW);
}

static void memory_remove(struct mst_registry *registry, struct mst_registry_remove *remove)
{
    enqueue(registry, remove, KIND_REMOVE);
}

static void memory_follow(struct mst_registry *registry, struct mst_registry_follow *follow)
{
    enqueue(registry, follow, KIND_FOLLOW);
}

static void memory_drop(struct mst_registry *registry, struct mst_registry_drop *drop)
{
    enqueue(registry, drop, KIND_DROP);
}

static void memory_namespaces(struct mst_registry *registry, void (*each)(void *context, const char *namespace_),
                              void (*ready)(void *context, int status, const struct mst_error *error), void *context)
{
    struct listing *listing = malloc(sizeof *listing);
    if (!listing) {
        /* Late is not possible without memory; an answer from inside the call is better than none. */
        struct mst_error error = {0};
        ready(context, no_memory(&error), &error);
        return;
    }
    *listing = (struct listing){.each = each, .ready = ready, .context = context};
    enqueue(registry, listing, KIND_LIST);
}

/* Nothing to forget: the view that ended the leases is the store. */
static void memory_reap(struct mst_registry *registry, const char *namespace_, const struct mst_span *ids,
                        uint32_t count)
{
    (void)registry;
    (void)namespace_;
    (void)ids;
    (void)count;
}

static int64_t memory_now(struct mst_registry *registry)
{
    (void)registry;
    return mst_clock_wall();
}

static bool memory_healthy(struct mst_registry *registry, struct mst_error *why)
{
    struct memory *memory = (struct memory *)registry;
    return admissible(memory, UINT64_MAX, why) == 0;
}

static void memory_close(struct mst_registry *registry, void (*closed)(void *context), void *context)
{
    struct memory *memory = (struct memory *)registry;
    memory->closing = true;
    memory->closed = closed;
    memory->closed_context = context;
    mst_timers_set(memory->timers, &memory->timer, 0);
}

static const struct mst_registry_ops memory_ops = {
    .name = "memory",
    .put = memory_put,
    .renew = memory_renew,
    .remove = memory_remove,
    .follow = memory_follow,
    .namespaces = memory_namespaces,
    .reap = memory_reap,
    .drop = memory_drop,
    .now = memory_now,
    .healthy = memory_healthy,
    .close = memory_close,
};

struct mst_registry *mst_registry_memory_create(struct mst_timers *timers,
                                                struct mst_view *(*view_of)(void *context, const char *namespace_),
                                                void *context)
{
    struct memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return NULL;
    memory->base.ops = &memory_ops;
    memory->timers = timers;
    memory->view_of = view_of;
    memory->context = context;
    memory->timer = (struct mst_timer){.fire = on_timer, .owner = memory};
    memory->spaces = mst_map_create();
    if (memory->spaces && mst_timers_set(timers, &memory->timer, UINT64_MAX) == 0)
        return &memory->base;
    destroy(memory);
    return NULL;
}
