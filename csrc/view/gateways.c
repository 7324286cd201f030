// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "view/internal.h"

static int vacant(struct mst__gateways *gateways, uint32_t *number)
{
    if (gateways->first_free) {
        *number = gateways->first_free;
        return 0;
    }
    if (gateways->count + 1 >= gateways->capacity) {
        uint32_t capacity = gateways->capacity ? gateways->capacity * 2 : 16;
        struct mst__gateway *entries = realloc(gateways->entries, capacity * sizeof *entries);
        if (!entries)
            return MST_ENOMEM;
        gateways->entries = entries;
        gateways->capacity = capacity;
    }
    *number = gateways->count + 1;
    return 0;
}

int mst__gateways_take(struct mst__gateways *gateways, struct mst_span name, uint32_t *number)
{
    uint64_t known;
    *number = 0;
    if (name.length == 0)
        return 0;
    if (mst_map_get(gateways->index, name.data, name.length, &known)) {
        *number = (uint32_t)known;
        gateways->entries[known].references++;
        return 0;
    }
    char *copy = vacant(gateways, number) < 0 ? NULL : malloc(name.length);
    if (!copy || mst_map_set(gateways->index, name.data, name.length, *number) < 0) {
        free(copy);
        *number = 0;
        return MST_ENOMEM;
    }
    memcpy(copy, name.data, name.length);
    if (*number == gateways->first_free)
        gateways->first_free = gateways->entries[*number].references;
    else
        gateways->count = *number;
    gateways->entries[*number] = (struct mst__gateway){copy, (uint32_t)name.length, 1};
    return 0;
}

void mst__gateways_give(struct mst__gateways *gateways, uint32_t number)
{
    if (number == 0 || --gateways->entries[number].references > 0)
        return;
    struct mst__gateway *gateway = &gateways->entries[number];
    mst_map_remove(gateways->index, gateway->name, gateway->length, NULL);
    free(gateway->name);
    *gateway = (struct mst__gateway){NULL, 0, gateways->first_free};
    gateways->first_free = number;
}

void mst__gateways_deinit(struct mst__gateways *gateways)
{
    for (uint32_t i = 1; i <= gateways->count; i++)
        free(gateways->entries[i].name);
    free(gateways->entries);
    if (gateways->index)
        mst_map_destroy(gateways->index);
}
