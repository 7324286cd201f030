// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "core/coordinator_internal.h"

#define SUGGEST_MAX 24u /* longer names are not compared */

const uint8_t mst__empty_object[9] = {MST_OBJECT};

static const char *tag_text(enum mst_tag tag)
{
    static const char *const texts[] = {
        [MST_NULL] = "null",      [MST_FALSE] = "a boolean",  [MST_TRUE] = "a boolean",
        [MST_INT] = "a number",   [MST_DOUBLE] = "a number",  [MST_STRING] = "a string",
        [MST_ARRAY] = "an array", [MST_OBJECT] = "an object", [MST_FINALS] = "an array",
    };
    return texts[tag];
}

/* "a number, a string or null". */
static void describe_types(uint16_t types, char *text, size_t size)
{
    static const struct {
        uint16_t mask;
        const char *text;
    } parts[] = {
        {MST__T_NUMBER, "a number"},     {MST__T_STRING, "a string"},       {MST__T_BOOL, "a boolean"},
        {MST__T(MST_ARRAY), "an array"}, {MST__T(MST_OBJECT), "an object"}, {MST__T(MST_NULL), "null"},
    };
    const char *found[sizeof parts / sizeof parts[0]] = {NULL};
    size_t count = 0, length = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (types & parts[i].mask)
            found[count++] = parts[i].text;
    text[0] = '\0';
    for (size_t i = 0; i < count && length < size; i++) {
        const char *before = i == 0 ? "" : i + 1 == count ? " or " : ", ";
        length += (size_t)snprintf(text + length, size - length, "%s%s", before, found[i]);
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance with swaps of neighbours (optimal string alignment), both at most SUGGEST_MAX long. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[SUGGEST_MAX + 1][SUGGEST_MAX + 1];
    for (size_t i = 0; i <= a_length; i++)
        rows[i][0] = i;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            rows[i][j] = least(change, least(rows[i - 1][j], rows[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
        }
    }
    return rows[a_length][b_length];
}

const char *mst__suggest(const char *text, size_t length, const void *first, size_t stride, size_t count)
{
    const char *best = NULL;
    size_t best_distance = 3;
    if (length > SUGGEST_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const char *name;
        memcpy(&name, (const char *)first + i * stride, sizeof name);
        size_t name_length = strlen(name);
        if (name_length > SUGGEST_MAX)
            continue;
        size_t d = distance(text, length, name, name_length);
        /* A short word is near to everything: at least half of the letters must stay. */
        if (d < best_distance && 2 * d <= name_length) {
            best = name;
            best_distance = d;
        }
    }
    return best;
}

int mst__body_parse(struct mst__call *call)
{
    struct mst_coordinator *coordinator = call->coordinator;
    const struct mst_json_limits limits = {coordinator->max_request_bytes, MST__REQUEST_DEPTH, 0};
    /* A request without a body, which some transports make easy, stands for an empty object. */
    if (call->body.length == 0)
        MST__PUT(&call->body, "{}");
    mst_buffer_clear(&call->packed);
    return mst_json_parse(coordinator->parser, call->body.data, call->body.length, &limits, &call->packed,
                          &call->error);
}

int mst__body_read(struct mst__call *call, const struct mst__key *keys, uint32_t count, const uint8_t **values)
{
    int code = mst__body_parse(call);
    return code ? code : mst__body_keys((const uint8_t *)call->packed.data, keys, count, values, &call->error);
}

static int refuse_unknown(const char *key, size_t length, const struct mst__key *keys, uint32_t count,
                          struct mst_error *error)
{
    mst_error_set(error, MST_EINVAL, "unknown key \"%.*s\"", (int)least(length, 64), key);
    const char *near = mst__suggest(key, length, keys, sizeof *keys, count);
    if (near) {
        mst_error_hint(error, "did you mean \"%s\"?", near);
        return MST_EINVAL;
    }
    char known[160];
    size_t end = 0;
    for (uint32_t i = 0; i < count && end < sizeof known; i++)
        if (!(keys[i].flags & MST__KEY_LATER))
            end += (size_t)snprintf(known + end, sizeof known - end, "%s%s", end ? ", " : "", keys[i].name);
    if (end)
        mst_error_hint(error, "known keys: %s", known);
    return MST_EINVAL;
}

static int read_key(const struct mst__key *key, const uint8_t *value, const uint8_t **into, struct mst_error *error)
{
    enum mst_tag tag = mst_value_tag(value);
    if (key->flags & MST__KEY_LATER)
        return mst_error_set(error, MST_EUNSUPPORTED, "key \"%s\" is not supported", key->name);
    if (key->types & MST__T(tag)) {
        *into = value;
        return 0;
    }
    if (tag == MST_NULL)
        return 0;
    char expected[100];
    describe_types(key->types, expected, sizeof expected);
    return mst_error_set(error, MST_EINVAL, "key \"%s\": expected %s, got %s", key->name, expected, tag_text(tag));
}

int mst__body_keys(const uint8_t *object, const struct mst__key *keys, uint32_t count, const uint8_t **values,
                   struct mst_error *error)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = NULL;
    if (mst_value_tag(object) != MST_OBJECT)
        return mst_error_set(error, MST_EINVAL, "request: expected an object, got %s", tag_text(mst_value_tag(object)));
    const uint8_t *position = NULL, *value;
    const char *name;
    size_t length;
    while (mst_value_next_member(object, &position, &name, &length, &value)) {
        uint32_t i = 0;
        while (i < count && !(strlen(keys[i].name) == length && memcmp(keys[i].name, name, length) == 0))
            i++;
        int code =
            i < count ? read_key(&keys[i], value, &values[i], error) : refuse_unknown(name, length, keys, count, error);
        if (code)
            return code;
    }
    return 0;
}

struct mst_span mst__body_string(const uint8_t *value)
{
    struct mst_span span = {"", 0};
    if (value)
        span.data = mst_value_string(value, &span.length);
    return span;
}

int mst__body_id(struct mst__call *call, struct mst_span *id)
{
    static const struct mst__key keys[] = {{"id", MST__T_STRING, 0}};
    const uint8_t *value;
    int code = mst__body_read(call, keys, 1, &value);
    if (code)
        return code;
    if (!value)
        return mst_error_set(&call->error, MST_EINVAL, "key \"id\" is missing");
    *id = mst__body_string(value);
    return 0;
}

bool mst__body_bool(const uint8_t *value, bool otherwise)
{
    return value ? mst_value_tag(value) == MST_TRUE : otherwise;
}

int mst__body_integer(const uint8_t *value, const char *key, uint64_t min, uint64_t max, uint64_t *number,
                      struct mst_error *error)
{
    if (!value)
        return 0;
    bool is_int = mst_value_tag(value) == MST_INT;
    double given = mst_value_double(value);
    if (!is_int && given != floor(given))
        return mst_error_set(error, MST_EINVAL, "key \"%s\": expected an integer, got %.9g", key, given);
    uint64_t whole = 0;
    bool fits = given >= 0 && (is_int || given < 0x1p63);
    if (fits)
        whole = is_int ? (uint64_t)mst_value_int(value) : (uint64_t)given;
    if (!fits || whole < min || whole > max)
        return mst_error_set(error, MST_ERANGE, "key \"%s\": expected %llu to %llu, got %.17g", key,
                             (unsigned long long)min, (unsigned long long)max, given);
    *number = whole;
    return 0;
}

/* A duration of any size, rounded to nanoseconds; what is too long for the type becomes UINT64_MAX. */
static int read_duration(const uint8_t *value, const char *key, uint64_t *nanoseconds, struct mst_error *error)
{
    if (mst_value_tag(value) != MST_STRING) {
        double seconds = mst_value_double(value);
        if (seconds < 0)
            return mst_error_set(error, MST_ERANGE, "key \"%s\": %.9g is negative", key, seconds);
        *nanoseconds = seconds < 1e10 ? (uint64_t)llround(seconds * 1e9) : UINT64_MAX;
        return 0;
    }
    struct mst_span text = mst__body_string(value);
    int code = mst_duration_parse(text.data, text.length, nanoseconds);
    if (code == 0)
        return 0;
    mst_error_set(error, code, "key \"%s\": \"%.*s\" is %s", key, (int)least(text.length, 64), text.data,
                  code == MST_ERANGE ? "out of range" : "not a duration");
    mst_error_hint(error, "write seconds (1.5) or a duration (\"250ms\", \"5m\", \"1h30m\")");
    return code;
}

static void put_duration(uint64_t nanoseconds, char *text, size_t size)
{
    const double ns = (double)nanoseconds;
    if (nanoseconds >= 86400 * MST_NS_PER_SECOND)
        snprintf(text, size, "%.9gd", ns / 86400e9);
    else if (nanoseconds >= 3600 * MST_NS_PER_SECOND)
        snprintf(text, size, "%.9gh", ns / 3600e9);
    else if (nanoseconds >= MST_NS_PER_SECOND)
        snprintf(text, size, "%.9gs", ns / 1e9);
    else
        snprintf(text, size, "%.9gms", ns / 1e6);
}

int mst__body_duration(const uint8_t *value, const char *key, uint64_t min, uint64_t max, uint64_t *nanoseconds,
                       struct mst_error *error)
{
    if (!value)
        return 0;
    uint64_t read = 0;
    int code = read_duration(value, key, &read, error);
    if (code)
        return code;
    if (read < min || read > max) {
        char texts[3][32];
        put_duration(min, texts[0], sizeof texts[0]);
        put_duration(max, texts[1], sizeof texts[1]);
        put_duration(read, texts[2], sizeof texts[2]);
        return mst_error_set(error, MST_ERANGE, "key \"%s\": expected %s to %s, got %s", key, texts[0], texts[1],
                             texts[2]);
    }
    *nanoseconds = read;
    return 0;
}

int mst__body_lease(const uint8_t *value, int64_t *milliseconds, struct mst_error *error)
{
    if (!value)
        return 0;
    struct mst_span text = {"", 0};
    if (mst_value_tag(value) == MST_STRING)
        text = mst__body_string(value);
    if (mst_value_tag(value) == MST_NULL || (text.length == 5 && memcmp(text.data, "never", 5) == 0)) {
        *milliseconds = 0;
        return 0;
    }
    uint64_t nanoseconds = 0;
    int code = mst__body_duration(value, "ttl", (uint64_t)MST_LEASE_MIN_MS * MST_NS_PER_MS,
                                  (uint64_t)MST_LEASE_MAX_MS * MST_NS_PER_MS, &nanoseconds, error);
    if (code == MST_ERANGE && error)
        mst_error_hint(error, "a lease that does not end is \"ttl\": \"never\"");
    if (code == 0)
        *milliseconds = (int64_t)(nanoseconds / MST_NS_PER_MS);
    return code;
}

int mst__body_choice(const uint8_t *value, const char *key, const char *const *names, unsigned *choice,
                     struct mst_error *error)
{
    if (!value)
        return 0;
    struct mst_span text = mst__body_string(value);
    char expected[120];
    size_t end = 0;
    unsigned count = 0;
    for (; names[count]; count++) {
        if (strlen(names[count]) == text.length && memcmp(names[count], text.data, text.length) == 0) {
            *choice = count;
            return 0;
        }
        const char *before = count == 0 ? "" : names[count + 1] ? ", " : " or ";
        if (end < sizeof expected)
            end += (size_t)snprintf(expected + end, sizeof expected - end, "%s%s", before, names[count]);
    }
    mst_error_set(error, MST_EINVAL, "key \"%s\": expected %s, got \"%.*s\"", key, expected,
                  (int)least(text.length, 64), text.data);
    const char *near = mst__suggest(text.data, text.length, names, sizeof *names, count);
    if (near)
        mst_error_hint(error, "did you mean \"%s\"?", near);
    return MST_EINVAL;
}

/* The deepest nesting (a scalar has 0), with the members of all objects added to `fields`. */
static unsigned measure(const uint8_t *value, uint32_t *fields)
{
    const uint8_t *position = NULL, *element;
    const char *key;
    size_t length;
    unsigned deepest = 0;
    enum mst_tag tag = mst_value_tag(value);
    if (tag != MST_ARRAY && tag != MST_OBJECT)
        return 0;
    if (tag == MST_OBJECT)
        *fields += mst_value_count(value);
    while (tag == MST_OBJECT ? mst_value_next_member(value, &position, &key, &length, &element)
                             : mst_value_next(value, &position, &element)) {
        unsigned depth = measure(element, fields);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

int mst__metadata_check(struct mst_span raw, const uint8_t *document, struct mst_error *error)
{
    if (raw.length > MST_METADATA_MAX)
        return mst_error_set(error, MST_ETOOBIG, "metadata has %zu bytes, at most %u are allowed", raw.length,
                             MST_METADATA_MAX);
    uint32_t fields = 0;
    unsigned depth = measure(document, &fields);
    if (depth > MST_METADATA_DEPTH)
        return mst_error_set(error, MST_ETOOBIG, "metadata is nested %u deep, at most %u are allowed", depth,
                             MST_METADATA_DEPTH);
    if (fields > MST_METADATA_FIELDS)
        return mst_error_set(error, MST_ETOOBIG, "metadata has %u fields, at most %u are allowed", fields,
                             MST_METADATA_FIELDS);
    return 0;
}
