// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "match/plan.h"

static void mark_inverted(const struct mst_program *program, struct mst__cache *cache, uint32_t node, bool inverted)
{
    const struct mst__node *here = &program->nodes[node];
    cache->inverted[node] = inverted;
    if (here->kind == MST__LEAF)
        return;
    for (uint32_t child = node + 1; child < here->end; child = program->nodes[child].end)
        mark_inverted(program, cache, child, inverted != (here->kind == MST__NOT));
}

struct mst__cache *mst__cache_create(const struct mst_program *program)
{
    struct mst__cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->kernels = mst__kernels_choose();
    cache->values = calloc(program->source_count + 1u, sizeof(*cache->values));
    cache->inverted = calloc(program->node_count + 1u, 1);
    cache->path_texts = calloc(program->source_count + 1u, sizeof(*cache->path_texts));
    cache->path_count = program->source_count;
    if (!cache->values || !cache->inverted || !cache->path_texts) {
        mst__cache_destroy(cache);
        return NULL;
    }
    if (program->node_count > 0)
        mark_inverted(program, cache, 0, false);
    return cache;
}

static void destroy_prepared(struct mst__prepared *prepared)
{
    if (!prepared)
        return;
    for (unsigned i = 0; prepared->plans && i < prepared->leaf_count; i++)
        mst__plan_deinit(&prepared->plans[i]);
    free(prepared->plans);
    free(prepared->first);
    free(prepared->next);
    free(prepared);
}

void mst__cache_destroy(struct mst__cache *cache)
{
    if (!cache)
        return;
    for (unsigned i = 0; i < MST__VIEWS_KEPT; i++)
        destroy_prepared(cache->prepared[i]);
    for (unsigned i = 0; cache->path_texts && i < cache->path_count; i++)
        free(cache->path_texts[i]);
    if (cache->spare)
        mst__bound_free(cache->spare);
    mst_buffer_deinit(&cache->document);
    free(cache->path_texts);
    free(cache->inverted);
    free(cache->values);
    free(cache);
}

static struct mst__prepared *create_prepared(const struct mst_view *view, const struct mst_program *program)
{
    struct mst__prepared *prepared = calloc(1, sizeof *prepared);
    if (!prepared)
        return NULL;
    prepared->view = view;
    prepared->serial = mst_view_serial(view);
    prepared->leaf_count = program->leaf_count;
    prepared->plans = calloc(program->leaf_count + 1u, sizeof *prepared->plans);
    prepared->first = calloc(program->node_count + 1u, sizeof *prepared->first);
    prepared->next = calloc(program->node_count + 1u, sizeof *prepared->next);
    prepared->bytes = sizeof *prepared + program->leaf_count * sizeof *prepared->plans +
                      program->node_count * 2 * sizeof *prepared->first;
    if (prepared->plans && prepared->first && prepared->next)
        return prepared;
    destroy_prepared(prepared);
    return NULL;
}

/* The plans for this view, put in front of all others. */
static struct mst__prepared *find_prepared(struct mst__cache *cache, const struct mst_view *view,
                                           const struct mst_program *program)
{
    uint64_t serial = mst_view_serial(view);
    unsigned place = 0;
    while (place < MST__VIEWS_KEPT - 1 && cache->prepared[place] &&
           (cache->prepared[place]->view != view || cache->prepared[place]->serial != serial))
        place++;
    struct mst__prepared *found = cache->prepared[place];
    if (found && (found->view != view || found->serial != serial)) {
        cache->kept -= found->bytes;
        cache->prepared[place] = NULL;
        destroy_prepared(found);
        found = NULL;
    }
    if (!found) {
        found = create_prepared(view, program);
        if (!found)
            return NULL;
        cache->kept += found->bytes;
    }
    if (place > 0)
        memmove(cache->prepared + 1, cache->prepared, place * sizeof(*cache->prepared));
    cache->prepared[0] = found;
    return found;
}

int mst__prepare(struct mst__prepared **out, struct mst_view *view, struct mst_bound *bound)
{
    const struct mst_program *program = bound->program;
    struct mst__cache *cache = program->cache;
    struct mst__prepared *prepared = find_prepared(cache, view, program);
    uint32_t live = mst_view_count(view);
    bool changed = false;
    if (!prepared)
        return MST_ENOMEM;
    for (unsigned i = 0; i < program->top_count; i++) {
        struct mst__plan *plan = &prepared->plans[program->top[i]];
        bool other = false;
        size_t before = mst__plan_bytes(plan);
        int status = mst__plan_update(plan, view, bound, &program->leaves[program->top[i]], &other);
        size_t grown = mst__plan_bytes(plan) - before;
        prepared->bytes += grown;
        cache->kept += grown;
        changed = changed || other;
        if (status < 0) {
            mst__prepared_forget(prepared, program);
            return status;
        }
    }
    uint32_t drift = live > prepared->live ? live - prepared->live : prepared->live - live;
    if (changed || !prepared->ordered || drift > prepared->live / 8) {
        mst__order(prepared, program);
        prepared->live = live;
        prepared->ordered = true;
    }
    *out = prepared;
    return 0;
}

void mst__prepared_forget(struct mst__prepared *prepared, const struct mst_program *program)
{
    for (unsigned i = 0; i < program->leaf_count; i++)
        prepared->plans[i].answer = MST__UNPLANNED, prepared->plans[i].probed = false;
    prepared->ordered = false;
}
