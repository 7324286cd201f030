// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "view/internal.h"

#define LAST_TIME ((INT64_C(1) << (6 * MST__WHEEL_LEVELS)) - 1)
#define OVERDUE_SCAN 64u /* a longer list under a clock that was set back is worth filing everything anew */

void mst__wheel_init(struct mst__wheel *wheel)
{
    memset(wheel, 0, sizeof *wheel);
    memset(wheel->first, 0xff, sizeof wheel->first); /* MST_ROW_NONE */
    wheel->overdue_first = INT64_MAX;
}

static int64_t slot_start(const struct mst__wheel *wheel, unsigned level, unsigned slot)
{
    unsigned shift = 6 * level;
    return (wheel->time >> (shift + 6) << (shift + 6)) | (int64_t)slot << shift;
}

static void link_at(struct mst__wheel *wheel, const struct mst__rows *rows, uint32_t row, unsigned place)
{
    struct mst__head *head = mst__rows_head(rows, row);
    head->wheel_next = wheel->first[place];
    head->wheel_previous = MST_ROW_NONE;
    head->wheel_place = (uint16_t)place;
    if (head->wheel_next != MST_ROW_NONE)
        mst__rows_head(rows, head->wheel_next)->wheel_previous = row;
    wheel->first[place] = row;
}

static void file(struct mst__wheel *wheel, const struct mst__rows *rows, uint32_t row)
{
    int64_t deadline = mst__rows_head(rows, row)->expires_at;
    if (deadline > LAST_TIME)
        deadline = LAST_TIME;
    if (deadline <= wheel->time) {
        link_at(wheel, rows, row, MST__PLACE_OVERDUE);
        wheel->overdue_count++;
        if (deadline < wheel->overdue_first)
            wheel->overdue_first = deadline;
        return;
    }
    unsigned highest = 63u - (unsigned)__builtin_clzll((uint64_t)(deadline ^ wheel->time));
    unsigned level = highest / 6, slot = (unsigned)(deadline >> (6 * level)) % MST__WHEEL_SLOTS;
    link_at(wheel, rows, row, level * MST__WHEEL_SLOTS + slot);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void mst__wheel_unlink(struct mst__wheel *wheel, const struct mst__rows *rows, uint32_t row)
{
    struct mst__head *head = mst__rows_head(rows, row);
    unsigned place = head->wheel_place;
    if (place == MST__PLACE_NONE)
        return;
    if (head->wheel_next != MST_ROW_NONE)
        mst__rows_head(rows, head->wheel_next)->wheel_previous = head->wheel_previous;
    if (head->wheel_previous != MST_ROW_NONE)
        mst__rows_head(rows, head->wheel_previous)->wheel_next = head->wheel_next;
    else
        wheel->first[place] = head->wheel_next;
    head->wheel_place = MST__PLACE_NONE;
    if (place == MST__PLACE_OVERDUE) {
        if (--wheel->overdue_count == 0)
            wheel->overdue_first = INT64_MAX;
    } else if (wheel->first[place] == MST_ROW_NONE) {
        wheel->occupied[place / MST__WHEEL_SLOTS] &= ~(UINT64_C(1) << place % MST__WHEEL_SLOTS);
    }
}

void mst__wheel_update(struct mst__wheel *wheel, const struct mst__rows *rows, uint32_t row)
{
    const struct mst__head *head = mst__rows_head(rows, row);
    unsigned place = head->wheel_place;
    if (head->expires_at != 0 && place < MST__PLACE_OVERDUE &&
        head->expires_at >= slot_start(wheel, place / MST__WHEEL_SLOTS, place % MST__WHEEL_SLOTS))
        return;
    mst__wheel_unlink(wheel, rows, row);
    if (head->expires_at != 0)
        file(wheel, rows, row);
}

/* The level whose first slot is due before all others; MST__WHEEL_LEVELS: the wheel is empty. */
static unsigned first_level(const struct mst__wheel *wheel)
{
    unsigned level = 0;
    while (level < MST__WHEEL_LEVELS && !wheel->occupied[level])
        level++;
    return level;
}

static int64_t first_start(const struct mst__wheel *wheel)
{
    unsigned level = first_level(wheel);
    if (level == MST__WHEEL_LEVELS)
        return INT64_MAX;
    return slot_start(wheel, level, (unsigned)__builtin_ctzll(wheel->occupied[level]));
}

int64_t mst__wheel_next(const struct mst__wheel *wheel)
{
    int64_t start = first_start(wheel);
    return start < wheel->overdue_first ? start : wheel->overdue_first;
}

/* Takes the list at `place` whole; the caller files or ends each of its rows. */
static uint32_t detach(struct mst__wheel *wheel, unsigned place)
{
    uint32_t row = wheel->first[place];
    wheel->first[place] = MST_ROW_NONE;
    if (place == MST__PLACE_OVERDUE) {
        wheel->overdue_count = 0;
        wheel->overdue_first = INT64_MAX;
    } else {
        wheel->occupied[place / MST__WHEEL_SLOTS] &= ~(UINT64_C(1) << place % MST__WHEEL_SLOTS);
    }
    return row;
}

static uint32_t settle(struct mst__wheel *wheel, const struct mst__rows *rows, uint32_t row, int64_t now,
                       void (*end)(void *context, uint32_t row), void *context)
{
    uint32_t ended = 0;
    while (row != MST_ROW_NONE) {
        struct mst__head *head = mst__rows_head(rows, row);
        uint32_t next = head->wheel_next;
        head->wheel_place = MST__PLACE_NONE;
        if (head->expires_at <= now) {
            end(context, row);
            ended++;
        } else {
            file(wheel, rows, row);
        }
        row = next;
    }
    return ended;
}

/* The clock was set back by much: start again from the new time. */
static void refile_all(struct mst__wheel *wheel, const struct mst__rows *rows, int64_t now)
{
    mst__wheel_init(wheel);
    wheel->time = now > 0 ? now : 0;
    for (uint32_t row = 0; row < rows->limit; row++) {
        if (!mst__rows_alive(rows, row))
            continue;
        struct mst__head *head = mst__rows_head(rows, row);
        head->wheel_place = MST__PLACE_NONE;
        if (head->expires_at != 0)
            file(wheel, rows, row);
    }
}

uint32_t mst__wheel_advance(struct mst__wheel *wheel, const struct mst__rows *rows, int64_t now,
                            void (*end)(void *context, uint32_t row), void *context)
{
    uint32_t ended = 0;
    int64_t time = now < LAST_TIME ? now : LAST_TIME;
    if (time < wheel->time && wheel->overdue_count > OVERDUE_SCAN)
        refile_all(wheel, rows, now);
    for (int64_t start = first_start(wheel); start <= time; start = first_start(wheel)) {
        unsigned level = first_level(wheel);
        unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        wheel->time = start;
        ended += settle(wheel, rows, detach(wheel, level * MST__WHEEL_SLOTS + slot), now, end, context);
    }
    if (wheel->time < time)
        wheel->time = time;
    if (wheel->overdue_first <= now)
        ended += settle(wheel, rows, detach(wheel, MST__PLACE_OVERDUE), now, end, context);
    return ended;
}
