// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "base/duration.h"
#include "match/internal.h"

#define MICROS_PER_SECOND 1000000
#define MILLISECONDS_FROM 1e11 /* numbers of this magnitude and more are milliseconds, smaller ones seconds */

const uint8_t *mst__operand_literal(const struct mst_bound *bound, const struct mst__operand *operand)
{
    if (operand->term_count > 0)
        return NULL;
    if (operand->kind == MST__PARAMETER)
        return bound->parameters[operand->index];
    return operand->kind == MST__CONSTANT ? bound->program->constants[operand->index].value : NULL;
}

/* Unix milliseconds of a built-in that is a time; false: missing. */
static bool builtin_time(const struct mst_identity *identity, unsigned which, int64_t *time)
{
    if (!identity)
        return false;
    *time = which == MST__REGISTERED_AT || which == MST__AGE ? identity->registered_at
            : which == MST__UPDATED_AT                       ? identity->updated_at
                                                             : identity->expires_at;
    return *time != 0;
}

static const uint8_t *builtin_finals(struct mst_bound *bound, unsigned which, const struct mst_identity *identity,
                                     struct mst_buffer *out)
{
    int64_t time;
    if (which == MST__ID) {
        if (!identity || identity->id.length == 0)
            return NULL;
        mst_value_put_string(out, identity->id.data, identity->id.length);
    } else if (which == MST__NAMESPACE) {
        if (!bound->namespace_)
            return NULL;
        mst_value_put_string(out, bound->namespace_, strlen(bound->namespace_));
    } else if (!builtin_time(identity, which, &time)) {
        return NULL;
    } else if (which == MST__TTL) {
        mst_value_put_double(out, ((double)time - (double)bound->now_ms) / 1000);
    } else if (which == MST__AGE) {
        mst_value_put_double(out, ((double)bound->now_ms - (double)time) / 1000);
    } else {
        mst_value_put_int(out, time);
    }
    return out->failed ? NULL : (const uint8_t *)out->data;
}

const uint8_t *mst__operand_finals(struct mst_bound *bound, const struct mst__operand *operand,
                                   const struct mst__scope *scope, unsigned place)
{
    if (operand->kind != MST__PATH)
        return NULL;
    const struct mst__source *source = &bound->program->sources[operand->index];
    struct mst_buffer *scratch = &bound->slots[scope->level * 3 + place].finals;
    mst_buffer_clear(scratch);
    const uint8_t *finals;
    if (source->builtin)
        finals = builtin_finals(bound, source->which, scope->identity, scratch);
    else if (scope->values)
        return scope->values[operand->index];
    else
        finals = scope->document ? mst_path_find(&source->path, scope->document, scratch) : NULL;
    bound->failed = bound->failed || scratch->failed;
    return finals;
}

static void put_int(struct mst__item *item, int64_t number)
{
    item->cell[0] = MST_INT;
    for (unsigned i = 0; i < 8; i++)
        item->cell[i + 1] = (uint8_t)((uint64_t)number >> (8 * i));
    item->value = item->cell;
}

static bool put_double(struct mst__item *item, double number)
{
    uint64_t bits;
    if (!isfinite(number))
        return false;
    memcpy(&bits, &number, sizeof bits);
    put_int(item, (int64_t)bits);
    item->cell[0] = MST_DOUBLE;
    return true;
}

static bool is_number(const uint8_t *value)
{
    return value && (mst_value_tag(value) == MST_INT || mst_value_tag(value) == MST_DOUBLE);
}

static const uint8_t *term_value(const struct mst_bound *bound, const struct mst__term *term)
{
    const uint8_t *value =
        term->kind == MST__PARAMETER ? bound->parameters[term->index] : bound->program->constants[term->index].value;
    return is_number(value) ? value : NULL;
}

/* Sums stay integers while they fit. */
static bool add_numbers(const struct mst_bound *bound, const struct mst__operand *operand, struct mst__item *item)
{
    if (operand->term_count == 0)
        return true;
    if (!is_number(item->value))
        return false;
    for (unsigned i = 0; i < operand->term_count; i++) {
        const uint8_t *term = term_value(bound, &operand->terms[i]);
        bool minus = operand->terms[i].minus;
        if (!term)
            return false;
        if (mst_value_tag(item->value) == MST_INT && mst_value_tag(term) == MST_INT) {
            int64_t a = mst_value_int(item->value), b = mst_value_int(term), sum;
            if (!(minus ? __builtin_sub_overflow(a, b, &sum) : __builtin_add_overflow(a, b, &sum))) {
                put_int(item, sum);
                continue;
            }
        }
        double a = mst_value_double(item->value), b = mst_value_double(term);
        if (!put_double(item, minus ? a - b : a + b))
            return false;
    }
    return true;
}

static bool scale(double number, double factor, int64_t *out)
{
    number = round(number * factor);
    if (!(fabs(number) < 0x1p63))
        return false;
    *out = (int64_t)number;
    return true;
}

static bool seconds_to_micros(const uint8_t *seconds, int64_t *micros)
{
    if (mst_value_tag(seconds) == MST_INT)
        return !__builtin_mul_overflow(mst_value_int(seconds), (int64_t)MICROS_PER_SECOND, micros);
    return scale(mst_value_double(seconds), MICROS_PER_SECOND, micros);
}

static bool add_seconds(const struct mst_bound *bound, const struct mst__operand *operand, int64_t *time)
{
    for (unsigned i = 0; i < operand->term_count; i++) {
        const uint8_t *term = term_value(bound, &operand->terms[i]);
        int64_t micros;
        if (!term || !seconds_to_micros(term, &micros))
            return false;
        if (operand->terms[i].minus ? __builtin_sub_overflow(*time, micros, time)
                                    : __builtin_add_overflow(*time, micros, time))
            return false;
    }
    return true;
}

static bool value_to_time(const uint8_t *value, int64_t *time)
{
    if (mst_value_tag(value) == MST_STRING) {
        size_t length;
        const char *text = mst_value_string(value, &length);
        return mst_time_parse(text, length, time) == 0;
    }
    if (!is_number(value))
        return false;
    if (fabs(mst_value_double(value)) < MILLISECONDS_FROM)
        return seconds_to_micros(value, time);
    if (mst_value_tag(value) == MST_INT)
        return !__builtin_mul_overflow(mst_value_int(value), (int64_t)1000, time);
    return scale(mst_value_double(value), 1000, time);
}

static bool is_builtin_time(const struct mst_bound *bound, const struct mst__operand *operand)
{
    if (operand->kind != MST__PATH || operand->class != MST__TIME)
        return false;
    const struct mst__source *source = &bound->program->sources[operand->index];
    return source->builtin && source->which >= MST__REGISTERED_AT && source->which <= MST__EXPIRES_AT;
}

static bool convert_time(struct mst__cursor *cursor, const uint8_t *raw, struct mst__item *item)
{
    item->value = NULL;
    if (is_builtin_time(cursor->bound, cursor->operand)) {
        if (__builtin_mul_overflow(mst_value_int(raw), (int64_t)1000, &item->time))
            return false;
    } else if (!value_to_time(raw, &item->time)) {
        return false;
    }
    return add_seconds(cursor->bound, cursor->operand, &item->time);
}

static bool convert_version(const struct mst__cursor *cursor, const uint8_t *raw, struct mst__item *item)
{
    item->value = NULL;
    if (cursor->operand->term_count > 0 || mst_value_tag(raw) != MST_STRING)
        return false;
    size_t length;
    const char *text = mst_value_string(raw, &length);
    return mst__version_parse(&item->version, text, length);
}

static bool change_case(struct mst__cursor *cursor, const uint8_t *raw, struct mst__item *item)
{
    if (mst_value_tag(raw) != MST_STRING)
        return false;
    struct mst_buffer *out = &cursor->slot->text;
    size_t length;
    const char *text = mst_value_string(raw, &length);
    mst_buffer_clear(out);
    mst_value_put_string(out, text, length);
    if (out->failed) {
        cursor->bound->failed = true;
        return false;
    }
    char low = cursor->operand->function == MST__LOWER ? 'A' : 'a';
    for (char *at = out->data + out->length - length; at < out->data + out->length; at++)
        if (*at >= low && *at <= low + 25)
            *at ^= 0x20;
    item->value = (const uint8_t *)out->data;
    return true;
}

static bool measure(const uint8_t *raw, struct mst__item *item)
{
    if (mst_value_tag(raw) == MST_ARRAY || mst_value_tag(raw) == MST_OBJECT) {
        put_int(item, mst_value_count(raw));
        return true;
    }
    if (mst_value_tag(raw) != MST_STRING)
        return false;
    size_t length;
    int64_t points = 0;
    const char *text = mst_value_string(raw, &length);
    for (size_t i = 0; i < length; i++)
        points += ((unsigned char)text[i] & 0xc0) != 0x80;
    put_int(item, points);
    return true;
}

static bool apply_function(struct mst__cursor *cursor, const uint8_t *raw, struct mst__item *item)
{
    double metres;
    switch (cursor->operand->function) {
    case MST__LOWER:
    case MST__UPPER:
        return change_case(cursor, raw, item);
    case MST__LEN:
        return measure(raw, item);
    case MST__DISTANCE:
        return mst__distance(raw, cursor->operand->latitude, cursor->operand->longitude, &metres) &&
               put_double(item, metres);
    default:
        item->value = raw;
        return true;
    }
}

bool mst__cursor_convert(struct mst__cursor *cursor, enum mst__class class, const uint8_t *raw, struct mst__item *item)
{
    if (!apply_function(cursor, raw, item))
        return false;
    if (class == MST__TIME)
        return convert_time(cursor, item->value, item);
    if (class == MST__VERSION)
        return convert_version(cursor, item->value, item);
    return class == MST__PLAIN && add_numbers(cursor->bound, cursor->operand, item);
}

void mst__cursor_init(struct mst__cursor *cursor, struct mst_bound *bound, const struct mst__operand *operand,
                      const struct mst__scope *scope, unsigned place, enum mst__class class, enum mst__mode mode)
{
    *cursor = (struct mst__cursor){.bound = bound, .operand = operand, .class = class, .mode = mode};
    cursor->slot = &bound->slots[scope->level * 3 + place];
    if (operand->kind == MST__PATH)
        cursor->finals = mst__operand_finals(bound, operand, scope, place);
    else if (operand->kind == MST__PARAMETER)
        cursor->finals = bound->parameters[operand->index];
    else if (operand->kind == MST__CONSTANT)
        cursor->finals = bound->program->constants[operand->index].value;
}

void mst__cursor_rewind(struct mst__cursor *cursor)
{
    cursor->started = false;
    cursor->final_at = cursor->final = cursor->element_at = NULL;
}

bool mst__cursor_next_final(struct mst__cursor *cursor, const uint8_t **final)
{
    if (!cursor->finals)
        return false;
    if (mst_value_tag(cursor->finals) == MST_FINALS)
        return mst_value_next(cursor->finals, &cursor->final_at, final);
    if (cursor->started)
        return false;
    cursor->started = true;
    *final = cursor->finals;
    return true;
}

/* The one candidate of a typed constant or now(). */
static bool typed_item(struct mst__cursor *cursor, struct mst__item *item)
{
    const struct mst__operand *operand = cursor->operand;
    if (cursor->started || operand->class != cursor->class || cursor->mode == MST__MEMBERS)
        return false;
    cursor->started = true;
    item->value = NULL;
    if (operand->class == MST__VERSION) {
        item->version = cursor->bound->program->constants[operand->index].version;
        return operand->term_count == 0;
    }
    if (operand->kind == MST__CONSTANT)
        item->time = cursor->bound->program->constants[operand->index].time;
    else if (__builtin_mul_overflow(cursor->bound->now_ms, (int64_t)1000, &item->time))
        return false;
    return add_seconds(cursor->bound, operand, &item->time);
}

/* Whether the elements of an array final count along: not for the length of the array, nor for a literal list. */
static bool looks_inside(const struct mst__cursor *cursor)
{
    if (cursor->mode == MST__MEMBERS)
        return true;
    return cursor->operand->kind == MST__PATH && cursor->operand->function != MST__LEN;
}

bool mst__cursor_next(struct mst__cursor *cursor, struct mst__item *item)
{
    const uint8_t *raw;
    if (!cursor->finals && cursor->operand->kind != MST__PATH)
        return typed_item(cursor, item);
    for (;;) {
        if (cursor->final && mst_value_next(cursor->final, &cursor->element_at, &raw)) {
            if (mst__cursor_convert(cursor, cursor->class, raw, item))
                return true;
            continue;
        }
        cursor->final = cursor->element_at = NULL;
        if (!mst__cursor_next_final(cursor, &raw))
            return false;
        if (mst_value_tag(raw) == MST_ARRAY && looks_inside(cursor))
            cursor->final = raw;
        if (cursor->mode == MST__CANDIDATES && mst__cursor_convert(cursor, cursor->class, raw, item))
            return true;
    }
}
