// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "core/coordinator_internal.h"

#define ENTRIES_MAX 4096u
#define COST_MAX (64u << 20) /* of all entries, roughly in bytes */
#define ENTRY_COST 1024u

int mst__filter_cache_init(struct mst__filter_cache *cache)
{
    cache->maps[0] = mst_map_create();
    cache->maps[1] = mst_map_create();
    return cache->maps[0] && cache->maps[1] ? 0 : MST_ENOMEM;
}

static void destroy_filter(struct mst__filter *filter)
{
    if (!filter)
        return;
    if (filter->program)
        mst_program_destroy(filter->program);
    free(filter->warnings);
    free(filter->text);
    free(filter);
}

static void link_newest(struct mst__filter_cache *cache, struct mst__filter *filter)
{
    filter->newer = NULL;
    filter->older = cache->newest;
    if (cache->newest)
        cache->newest->newer = filter;
    else
        cache->oldest = filter;
    cache->newest = filter;
}

static void unlink_filter(struct mst__filter_cache *cache, struct mst__filter *filter)
{
    if (filter->newer)
        filter->newer->older = filter->older;
    else
        cache->newest = filter->older;
    if (filter->older)
        filter->older->newer = filter->newer;
    else
        cache->oldest = filter->newer;
}

static void evict(struct mst__filter_cache *cache)
{
    struct mst__filter *filter = cache->oldest;
    mst_map_remove(cache->maps[filter->json], filter->text, filter->length, NULL);
    cache->oldest = filter->newer;
    if (cache->oldest)
        cache->oldest->older = NULL;
    else
        cache->newest = NULL;
    cache->count--;
    cache->cost -= filter->cost;
    destroy_filter(filter);
}

void mst__filter_cache_clear(struct mst__filter_cache *cache)
{
    while (cache->oldest)
        evict(cache);
}

void mst__filter_cache_deinit(struct mst__filter_cache *cache)
{
    mst__filter_cache_clear(cache);
    mst_map_destroy(cache->maps[0]);
    mst_map_destroy(cache->maps[1]);
    mst_buffer_deinit(&cache->program);
    mst_buffer_deinit(&cache->warnings);
}

static char *copy(const char *bytes, size_t length)
{
    char *copied = malloc(length + 1);
    if (copied && length)
        memcpy(copied, bytes, length);
    return copied;
}

static int compile(struct mst__filter_cache *cache, const struct mst_compiler *compiler, struct mst_span source,
                   bool json, struct mst__filter **compiled, struct mst_error *error)
{
    mst_buffer_clear(&cache->program);
    mst_buffer_clear(&cache->warnings);
    int code = compiler->compile(compiler->context, source, json, &cache->program, &cache->warnings, error);
    if (code)
        return code;
    if (cache->warnings.length == 0)
        MST__PUT(&cache->warnings, "[]");
    struct mst__filter *filter = calloc(1, sizeof *filter);
    if (!filter || cache->program.failed || cache->warnings.failed)
        goto no_memory;
    filter->json = json;
    filter->length = source.length;
    filter->text = copy(source.data, source.length);
    filter->warnings_length = cache->warnings.length;
    filter->warnings = copy(cache->warnings.data, cache->warnings.length);
    filter->cost = ENTRY_COST + 2 * source.length + cache->warnings.length + 4 * cache->program.length;
    if (!filter->text || !filter->warnings)
        goto no_memory;
    code = mst_program_load(&filter->program, cache->program.data, cache->program.length, error);
    if (code == 0)
        *compiled = filter;
    else
        destroy_filter(filter);
    return code;
no_memory:
    destroy_filter(filter);
    return mst_error_set(error, MST_ENOMEM, "no memory for a filter");
}

/* What matches have left with the program since it was asked for last. */
static void weigh(struct mst__filter_cache *cache, struct mst__filter *filter)
{
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): nobody weighs nothing
    size_t kept = mst_program_kept(filter->program);
    cache->cost += kept - filter->kept;
    filter->cost += kept - filter->kept;
    filter->kept = kept;
    while (cache->oldest != filter && cache->cost > COST_MAX) {
        evict(cache);
        cache->evictions++;
    }
}

int mst__filter_get(struct mst__filter_cache *cache, const struct mst_compiler *compiler, struct mst_span source,
                    bool json, struct mst__filter **filter, struct mst_error *error)
{
    uint64_t value;
    /* The last one has been used since, perhaps for the only time. */
    if (cache->newest)
        weigh(cache, cache->newest);
    if (mst_map_get(cache->maps[json], source.data, source.length, &value)) {
        cache->hits++;
        *filter = (struct mst__filter *)(uintptr_t)value;
        if (*filter != cache->newest) {
            unlink_filter(cache, *filter);
            link_newest(cache, *filter);
        }
        weigh(cache, *filter);
        return 0;
    }
    cache->misses++;
    struct mst__filter *made = NULL;
    int code = compile(cache, compiler, source, json, &made, error);
    if (code || !made)
        return code;
    while (cache->oldest && (cache->count >= ENTRIES_MAX || cache->cost + made->cost > COST_MAX)) {
        evict(cache);
        cache->evictions++;
    }
    if (mst_map_set(cache->maps[json], made->text, made->length, (uintptr_t)made) < 0) {
        destroy_filter(made);
        return mst_error_set(error, MST_ENOMEM, "no memory for a filter");
    }
    link_newest(cache, made);
    cache->count++;
    cache->cost += made->cost;
    *filter = made;
    return 0;
}
