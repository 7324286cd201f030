// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "view/internal.h"

#define CHUNK_LEAST ((size_t)1 << 12)
#define CHUNK_MOST ((size_t)1 << 20)
#define GRAIN 16u

/* Sanitizers see what happens to a piece only if it comes from the heap. */
#ifdef __SANITIZE_ADDRESS__
#define LARGEST_CUT 0u
#else
#define LARGEST_CUT MST__ARENA_LARGEST
#endif

/* Small pieces are cut from chunks, in classes of 16 bytes; what is bigger comes from the heap. */
struct chunk {
    struct chunk *next;
    char padding[8]; /* keeps the pieces aligned */
};

/* In front of a piece from the heap. */
struct big {
    struct big *next, *previous;
};

struct piece {
    struct piece *next;
};

static unsigned class_of(size_t size)
{
    return size ? (unsigned)((size - 1) / GRAIN) : 0;
}

static void push(struct mst__arena *arena, unsigned class, void *memory)
{
    struct piece *piece = memory;
    piece->next = arena->free[class];
    arena->free[class] = piece;
    arena->filled[class / 64] |= UINT64_C(1) << (class % 64);
}

static void *pop(struct mst__arena *arena, unsigned class)
{
    struct piece *piece = arena->free[class];
    arena->free[class] = piece->next;
    if (!piece->next)
        arena->filled[class / 64] &= ~(UINT64_C(1) << (class % 64));
    return piece;
}

/* The smallest class from `least` on with a free piece; MST__ARENA_CLASSES: none. */
static unsigned filled_from(const struct mst__arena *arena, unsigned least)
{
    for (unsigned word = least / 64; word < MST__ARENA_CLASSES / 64; word++) {
        uint64_t bits = arena->filled[word];
        if (word == least / 64)
            bits &= ~UINT64_C(0) << (least % 64);
        if (bits)
            return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return MST__ARENA_CLASSES;
}

/* Gives the rest of the present chunk to the free lists. */
static void use_up(struct mst__arena *arena)
{
    size_t rest = (size_t)(arena->end - arena->at);
    while (rest >= GRAIN) {
        size_t size = rest < MST__ARENA_LARGEST ? rest : MST__ARENA_LARGEST;
        push(arena, class_of(size), arena->at);
        arena->at += size;
        rest -= size;
    }
}

/* A multiple of the grain, so that its rest is one, too. */
static size_t next_chunk(const struct mst__arena *arena)
{
    if (arena->bytes < CHUNK_LEAST)
        return CHUNK_LEAST;
    return arena->bytes < CHUNK_MOST ? arena->bytes / GRAIN * GRAIN : CHUNK_MOST;
}

/* Small views are left to take their pages one by one. */
static void touch(struct mst__arena *arena)
{
    size_t rest = (size_t)(arena->end - arena->touched), size = rest < MST__TOUCH ? rest : MST__TOUCH;
    if (arena->bytes > CHUNK_MOST)
        mst__memory_touch(arena->touched, size);
    arena->touched += size;
}

static void *take_new(struct mst__arena *arena, unsigned class)
{
    size_t size = (size_t)(class + 1) * GRAIN;
    if ((size_t)(arena->end - arena->at) < size) {
        unsigned bigger = filled_from(arena, class + 1);
        if (bigger < MST__ARENA_CLASSES) {
            char *memory = pop(arena, bigger);
            push(arena, bigger - class - 1, memory + size);
            return memory;
        }
        size_t bytes = next_chunk(arena);
        struct chunk *chunk = malloc(bytes);
        if (!chunk)
            return NULL;
        use_up(arena);
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->at = (char *)(chunk + 1);
        arena->end = (char *)chunk + bytes;
        arena->touched = arena->at;
        arena->bytes += bytes;
        if (arena->free[class])
            return pop(arena, class);
    }
    char *memory = arena->at;
    arena->at += size;
    if (arena->at > arena->touched)
        touch(arena);
    return memory;
}

static void *take_big(struct mst__arena *arena, size_t size)
{
    struct big *big = malloc(sizeof *big + size), *first = arena->big;
    if (!big)
        return NULL;
    *big = (struct big){.next = first};
    if (first)
        first->previous = big;
    arena->big = big;
    arena->bytes += sizeof *big + size;
    return big + 1;
}

static void give_big(struct mst__arena *arena, void *memory, size_t size)
{
    struct big *big = (struct big *)memory - 1;
    if (big->next)
        big->next->previous = big->previous;
    if (big->previous)
        big->previous->next = big->next;
    else
        arena->big = big->next;
    arena->bytes -= sizeof *big + size;
    free(big);
}

void *mst__arena_take(struct mst__arena *arena, size_t size)
{
    void *memory;
    if (size > LARGEST_CUT) {
        memory = take_big(arena, size);
    } else {
        unsigned class = class_of(size);
        memory = arena->free[class] ? pop(arena, class) : take_new(arena, class);
    }
    arena->pieces += memory != NULL;
    return memory;
}

void mst__arena_deinit(struct mst__arena *arena)
{
    for (struct chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    for (struct big *big = arena->big, *next; big; big = next) {
        next = big->next;
        free(big);
    }
    *arena = (struct mst__arena){0};
}

void mst__arena_give(struct mst__arena *arena, void *memory, size_t size)
{
    if (!memory)
        return;
    if (size > LARGEST_CUT)
        give_big(arena, memory, size);
    else
        push(arena, class_of(size), memory);
    if (--arena->pieces == 0)
        mst__arena_deinit(arena);
}
