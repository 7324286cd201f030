// SPDX-License-Identifier: Apache-2.0
#include "base/duration.h"

#include <stdbool.h>
#include <string.h>

#include "base/error.h"

__extension__ typedef unsigned __int128 wide;

#define NANOSECONDS_MAX ((wide)INT64_MAX)

static bool digit(const char *text, size_t length, size_t at)
{
    return at < length && text[at] >= '0' && text[at] <= '9';
}

/* A decimal as whole / 10^digits. Whole saturates; digits beyond what a nanosecond in a week can show are dropped. */
struct decimal {
    wide whole;
    unsigned digits;
};

#define DIGITS_MAX 18u

static int read_decimal(const char *text, size_t length, size_t *at, struct decimal *number)
{
    *number = (struct decimal){0};
    if (!digit(text, length, *at))
        return MST_EINVAL;
    for (; digit(text, length, *at); ++*at) {
        number->whole = number->whole * 10 + (wide)(text[*at] - '0');
        if (number->whole > NANOSECONDS_MAX)
            number->whole = NANOSECONDS_MAX + 1;
    }
    if (*at >= length || text[*at] != '.')
        return 0;
    ++*at;
    if (!digit(text, length, *at))
        return MST_EINVAL;
    bool saturated = number->whole > NANOSECONDS_MAX;
    for (; digit(text, length, *at); ++*at) {
        if (number->digits == DIGITS_MAX || saturated)
            continue;
        number->whole = number->whole * 10 + (wide)(text[*at] - '0');
        number->digits++;
    }
    return 0;
}

/* Nanoseconds in the unit at `*at`; 0 if there is none. */
static uint64_t read_unit(const char *text, size_t length, size_t *at)
{
    static const struct {
        const char *name;
        uint64_t nanoseconds;
    } units[] = {
        {"ns", 1},
        {"us", 1000},
        {"ms", 1000000},
        {"s", UINT64_C(1000000000)},
        {"m", UINT64_C(60000000000)},
        {"h", UINT64_C(3600000000000)},
        {"d", UINT64_C(86400000000000)},
        {"w", UINT64_C(604800000000000)},
    };
    size_t start = *at;
    while (*at < length && text[*at] >= 'a' && text[*at] <= 'z')
        ++*at;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strlen(units[i].name) == *at - start && memcmp(text + start, units[i].name, *at - start) == 0)
            return units[i].nanoseconds;
    return 0;
}

static wide scale(const struct decimal *number, uint64_t unit)
{
    /* Below 2^123 times a unit below 2^50 would pass 128 bits, so the whole part and the rest go separately. */
    wide divisor = 1;
    for (unsigned i = 0; i < number->digits; i++)
        divisor *= 10;
    return number->whole / divisor * unit + number->whole % divisor * unit / divisor;
}

static int read_duration(const char *text, size_t length, uint64_t *nanoseconds)
{
    wide total = 0;
    size_t at = 0;
    do {
        struct decimal number;
        bool first = at == 0;
        if (read_decimal(text, length, &at, &number) < 0)
            return MST_EINVAL;
        bool bare = first && at == length;
        uint64_t unit = bare ? UINT64_C(1000000000) : read_unit(text, length, &at);
        if (unit == 0)
            return MST_EINVAL;
        total += scale(&number, unit);
        if (total > NANOSECONDS_MAX)
            total = NANOSECONDS_MAX + 1;
    } while (at < length);
    if (total > NANOSECONDS_MAX)
        return MST_ERANGE;
    *nanoseconds = (uint64_t)total;
    return 0;
}

int mst_duration_parse(const char *text, size_t length, uint64_t *nanoseconds)
{
    uint64_t parsed;
    bool negative = length > 0 && text[0] == '-';
    int status = read_duration(text + negative, length - negative, &parsed);
    if (status < 0)
        return status;
    if (negative)
        return MST_ERANGE;
    *nanoseconds = parsed;
    return 0;
}

/* `count` digits as a number from `low` to `high`; -1 if they are not. */
static int read_field(const char *text, size_t length, size_t *at, unsigned count, int low, int high)
{
    int number = 0;
    for (unsigned i = 0; i < count; i++, ++*at) {
        if (!digit(text, length, *at))
            return -1;
        number = number * 10 + (text[*at] - '0');
    }
    return number >= low && number <= high ? number : -1;
}

static bool read_byte(const char *text, size_t length, size_t *at, const char *any_of)
{
    if (*at >= length || text[*at] == '\0' || !strchr(any_of, text[*at]))
        return false;
    ++*at;
    return true;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar: years start in March, so that leap days come last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t shifted = month > 2 ? year : year - 1;
    int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400, in_era = shifted - era * 400;
    int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static int read_date(const char *text, size_t length, size_t *at, int64_t *days)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = read_field(text, length, at, 4, 0, 9999);
    if (year < 0 || !read_byte(text, length, at, "-"))
        return MST_EINVAL;
    int month = read_field(text, length, at, 2, 1, 12);
    if (month < 0 || !read_byte(text, length, at, "-"))
        return MST_EINVAL;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int day = read_field(text, length, at, 2, 1, month_days[month - 1] + (leap && month == 2));
    if (day < 0)
        return MST_EINVAL;
    *days = days_of(year, month, day);
    return 0;
}

static int read_fraction(const char *text, size_t length, size_t *at, int64_t *microseconds)
{
    *microseconds = 0;
    if (!read_byte(text, length, at, "."))
        return 0;
    if (!digit(text, length, *at))
        return MST_EINVAL;
    for (int64_t weight = 100000; digit(text, length, *at); ++*at, weight /= 10)
        *microseconds += weight * (text[*at] - '0');
    return 0;
}

/* Seconds east of Greenwich. */
static int read_offset(const char *text, size_t length, size_t *at, int64_t *seconds)
{
    *seconds = 0;
    if (read_byte(text, length, at, "Zz"))
        return 0;
    bool west = *at < length && text[*at] == '-';
    if (!read_byte(text, length, at, "+-"))
        return MST_EINVAL;
    int hours = read_field(text, length, at, 2, 0, 23);
    if (hours < 0 || !read_byte(text, length, at, ":"))
        return MST_EINVAL;
    int minutes = read_field(text, length, at, 2, 0, 59);
    if (minutes < 0)
        return MST_EINVAL;
    *seconds = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    *seconds = west ? -*seconds : *seconds;
    return 0;
}

int mst_time_parse(const char *text, size_t length, int64_t *microseconds)
{
    size_t at = 0;
    int64_t days, fraction, offset;
    if (read_date(text, length, &at, &days) < 0)
        return MST_EINVAL;
    if (at == length) {
        *microseconds = days * INT64_C(86400000000);
        return 0;
    }
    if (!read_byte(text, length, &at, "Tt"))
        return MST_EINVAL;
    int hour = read_field(text, length, &at, 2, 0, 23);
    if (hour < 0 || !read_byte(text, length, &at, ":"))
        return MST_EINVAL;
    int minute = read_field(text, length, &at, 2, 0, 59);
    if (minute < 0 || !read_byte(text, length, &at, ":"))
        return MST_EINVAL;
    int second = read_field(text, length, &at, 2, 0, 59);
    if (second < 0 || read_fraction(text, length, &at, &fraction) < 0 || read_offset(text, length, &at, &offset) < 0 ||
        at != length)
        return MST_EINVAL;
    int64_t seconds = days * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 + second - offset;
    *microseconds = seconds * 1000000 + fraction;
    return 0;
}
