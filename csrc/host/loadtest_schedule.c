// SPDX-License-Identifier: Apache-2.0
#include "host/loadtest_internal.h"

#include <math.h>
#include <string.h>

const char *const mst__load_kind_names[MST__LOAD_KINDS] = {"register", "enumerate", "multicast"};
const char *const mst__load_class_names[MST__LOAD_CLASSES] = {"timeout", "connection", "logic"};

#define OPERATIONS_MAX 1e9

uint64_t mst__load_mix(uint64_t number)
{
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

static uint64_t rotate(uint64_t number, unsigned by)
{
    return number << by | number >> (64 - by);
}

/* xoshiro256** 1.0 by Blackman and Vigna: its output is part of what a seed means. */
static uint64_t draw(uint64_t state[4])
{
    uint64_t result = rotate(state[1] * 5, 7) * 9, shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45);
    return result;
}

static void seed(struct mst__load_schedule *schedule, uint64_t number)
{
    for (int i = 0; i < 4; i++)
        schedule->random[i] = mst__load_mix(number + (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15));
}

enum mst__load_kind mst__load_schedule_next(struct mst__load_schedule *schedule)
{
    double number = (double)(draw(schedule->random) >> 11) * 0x1p-53;
    for (int kind = 0; kind < MST__LOAD_KINDS - 1; kind++)
        if (number < schedule->limits[kind])
            return (enum mst__load_kind)kind;
    return MST__LOAD_MULTICAST;
}

uint64_t mst__load_schedule_at(const struct mst__load_schedule *schedule, uint64_t operation)
{
    return (uint64_t)((double)operation * 1e9 / schedule->rate);
}

/* One pass over the whole plan: the receivers have to know the identities before the first is registered. */
static void count(struct mst__load_schedule *schedule, uint64_t preload)
{
    struct mst__load_schedule pass = *schedule;
    uint64_t identity = preload;
    schedule->digest = mst__load_mix(preload);
    for (uint64_t i = 0; i < schedule->total; i++) {
        enum mst__load_kind kind = mst__load_schedule_next(&pass);
        schedule->counts[kind]++;
        identity += kind == MST__LOAD_REGISTER;
        schedule->digest = mst__load_mix(schedule->digest ^ ((uint64_t)kind << 32 | identity));
    }
    schedule->identities = identity;
}

int mst__load_schedule_init(struct mst__load_schedule *schedule, const struct mst__load_options *options,
                            struct mst_error *error)
{
    memset(schedule, 0, sizeof *schedule);
    double total = floor(options->rate * options->duration + 1e-9), limit = 0;
    if (total < 1 || total > OPERATIONS_MAX)
        return mst_error_set(error, MST_ERANGE,
                             "%.6g operations a second for %.6g s are %.0f operations; 1 to %.0f will do",
                             options->rate, options->duration, total, OPERATIONS_MAX);
    schedule->rate = options->rate;
    schedule->total = (uint64_t)total;
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++)
        schedule->limits[kind] = limit += options->mix[kind] / 100;
    /* Kinds behind the last that is in the mix must not be drawn for a rounding error's sake. */
    for (int kind = MST__LOAD_KINDS - 1; kind >= 0 && options->mix[kind] <= 0; kind--)
        if (kind > 0)
            schedule->limits[kind - 1] = 1;
    seed(schedule, options->seed);
    count(schedule, options->preload);
    if (schedule->identities > MST__LOAD_IDENTITIES)
        return mst_error_set(error, MST_ERANGE, "this run would register %llu identities; the most is %d",
                             (unsigned long long)schedule->identities, MST__LOAD_IDENTITIES);
    return 0;
}
