// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "view/internal.h"

/* From this size on a block is a mapping of its own: the kernel moves it without copying, and zeroes when touched. */
#ifdef __SANITIZE_ADDRESS__
#define MAPPED_FROM SIZE_MAX
#else
#define MAPPED_FROM ((size_t)1 << 18)
#endif

#define PAGE 4096u

static int grow_heap(void **block, size_t from, size_t to)
{
    char *grown = realloc(*block, to);
    if (!grown)
        return MST_ENOMEM;
    memset(grown + from, 0, to - from);
    *block = grown;
    return 0;
}

int mst__block_grow(void **block, size_t from, size_t to)
{
    if (to < MAPPED_FROM)
        return grow_heap(block, from, to);
    void *grown;
    if (from >= MAPPED_FROM)
        grown = mremap(*block, from, to, MREMAP_MAYMOVE);
    else
        // cppcheck-suppress invalidFunctionArg ; -1 is how an anonymous mapping is asked for
        grown = mmap(NULL, to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (grown == MAP_FAILED)
        return MST_ENOMEM;
    if (from < MAPPED_FROM) {
        if (from)
            memcpy(grown, *block, from);
        free(*block);
    }
    *block = grown;
    return 0;
}

void mst__block_free(void *block, size_t size)
{
    if (size >= MAPPED_FROM)
        munmap(block, size);
    else
        free(block);
}

/* One call for a few pages costs far less than a fault for each, and a huge page at once would be a stall. */
void mst__memory_touch(const void *from, size_t size)
{
#ifdef MADV_POPULATE_WRITE
    char *first = (char *)(((uintptr_t)from + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    char *last = (char *)(((uintptr_t)from + size) & ~(uintptr_t)(PAGE - 1));
    if (first < last)
        madvise(first, (size_t)(last - first), MADV_POPULATE_WRITE); /* where it fails, pages come one by one */
#else
    (void)from, (void)size;
#endif
}
