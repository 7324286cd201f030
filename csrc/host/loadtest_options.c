// SPDX-License-Identifier: Apache-2.0
#include "host/loadtest_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "model/value.h"

#define OPTIONS_MAX (1u << 20)
#define IN_FLIGHT 10000u
#define PRELOAD 1000u

static const uint8_t *get(const uint8_t *object, const char *key)
{
    const uint8_t *value = object ? mst_value_get(object, key, strlen(key)) : NULL;
    return value && mst_value_tag(value) != MST_NULL ? value : NULL;
}

static int wrong(struct mst_error *error, const char *key, const char *what)
{
    return mst_error_set(error, MST_EINVAL, "load test option \"%s\": expected %s", key, what);
}

/* Unlike strndup, no sanitizer wants the text to end with NUL. */
static char *copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* A copy of a text member, or of `otherwise` (may be NULL) where it is not there or empty. */
static int read_text(const uint8_t *object, const char *key, const char *otherwise, char **text,
                     struct mst_error *error)
{
    const uint8_t *value = get(object, key);
    size_t length = otherwise ? strlen(otherwise) : 0;
    const char *from = otherwise;
    if (value && mst_value_tag(value) != MST_STRING)
        return wrong(error, key, "a text");
    if (value) {
        size_t given;
        const char *bytes = mst_value_string(value, &given);
        if (memchr(bytes, '\0', given))
            return wrong(error, key, "a text without NUL");
        if (given)
            from = bytes, length = given;
    }
    *text = from ? copy_text(from, length) : NULL;
    return from && !*text ? mst_error_set(error, MST_ENOMEM, "no memory for the options") : 0;
}

static int read_number(const uint8_t *object, const char *key, double least, double most, double *number,
                       struct mst_error *error)
{
    const uint8_t *value = get(object, key);
    if (!value)
        return 0;
    enum mst_tag tag = mst_value_tag(value);
    if (tag != MST_INT && tag != MST_DOUBLE)
        return wrong(error, key, "a number");
    double given = mst_value_double(value);
    if (!(given >= least && given <= most))
        return mst_error_set(error, MST_ERANGE, "load test option \"%s\": %.10g is not within %.10g and %.10g", key,
                             given, least, most);
    *number = given;
    return 0;
}

static int read_count(const uint8_t *object, const char *key, uint64_t most, uint64_t *number, struct mst_error *error)
{
    double given = (double)*number;
    int code = read_number(object, key, 0, (double)most, &given, error);
    if (code == 0 && given != floor(given))
        return wrong(error, key, "a whole number");
    *number = (uint64_t)given;
    return code;
}

static int read_count32(const uint8_t *object, const char *key, uint64_t most, uint32_t *number,
                        struct mst_error *error)
{
    uint64_t given = *number;
    int code = read_count(object, key, most, &given, error);
    *number = (uint32_t)given;
    return code;
}

static bool is_true(const uint8_t *object, const char *key)
{
    const uint8_t *value = get(object, key);
    return value && mst_value_tag(value) == MST_TRUE;
}

/* One of `names` (ended by NULL); `*choice` stays where the member is not there or empty. */
static int read_choice(const uint8_t *object, const char *key, const char *const *names, unsigned *choice,
                       struct mst_error *error)
{
    char *text;
    int code = read_text(object, key, NULL, &text, error);
    if (code || !text)
        return code;
    unsigned i = 0;
    while (names[i] && strcmp(names[i], text) != 0)
        i++;
    free(text);
    if (names[i]) {
        *choice = i;
        return 0;
    }
    char list[64] = "";
    for (i = 0; names[i]; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "one of ", names[i]);
    return wrong(error, key, list);
}

static int read_mode(struct mst__load_options *options, const uint8_t *object, struct mst_error *error)
{
    const uint8_t *mix = get(object, "mix");
    double sum = 0;
    int code = read_text(object, "mode", "mixed", &options->mode, error);
    if (code)
        return code;
    if (strcmp(options->mode, "mixed") != 0) {
        for (int kind = 0; kind < MST__LOAD_KINDS; kind++)
            sum += options->mix[kind] = strcmp(options->mode, mst__load_kind_names[kind]) == 0 ? 100 : 0;
        return sum > 0 ? 0 : wrong(error, "mode", "register, enumerate, multicast or mixed");
    }
    options->mix[MST__LOAD_REGISTER] = 50;
    options->mix[MST__LOAD_ENUMERATE] = 30;
    options->mix[MST__LOAD_MULTICAST] = 20;
    for (int kind = 0; code == 0 && kind < MST__LOAD_KINDS; kind++) {
        if (mix)
            options->mix[kind] = 0;
        code = read_number(mix, mst__load_kind_names[kind], 0, 100, &options->mix[kind], error);
        sum += options->mix[kind];
    }
    if (code == 0 && fabs(sum - 100) > 1e-6)
        return mst_error_set(error, MST_EINVAL, "percentages must add up to 100, got %.10g", sum);
    return code;
}

static int read_servers(struct mst__load_options *options, const uint8_t *object, struct mst_error *error)
{
    const uint8_t *redis = get(object, "redis");
    uint32_t port = 6379, db = 0;
    options->embedded = is_true(object, "embedded");
    int code = read_text(redis, "host", "localhost", &options->redis_host, error);
    if (code == 0)
        code = read_text(redis, "user", NULL, &options->redis_user, error);
    if (code == 0)
        code = read_text(redis, "password", NULL, &options->redis_password, error);
    if (code == 0)
        code = read_count32(redis, "port", 65535, &port, error);
    if (code == 0)
        code = read_count32(redis, "db", 65535, &db, error);
    if (code == 0)
        code = read_text(object, "nats_servers", "nats://localhost:4222", &options->nats_servers, error);
    options->redis_port = (int)port;
    options->redis_db = (int)db;
    return code;
}

static int read_threshold(struct mst__load_threshold *threshold, const uint8_t *object, struct mst_error *error)
{
    static const char *const operators[] = {"<", "<=", ">", ">=", NULL};
    unsigned operator_ = 4;
    threshold->value = NAN;
    int code = read_text(object, "metric", NULL, &threshold->metric, error);
    if (code == 0)
        code = read_choice(object, "operator", operators, &operator_, error);
    if (code == 0)
        code = read_number(object, "value", -1e300, 1e300, &threshold->value, error);
    if (code == 0 && (!threshold->metric || operator_ == 4 || isnan(threshold->value)))
        code = wrong(error, "thresholds", "objects with metric, operator and value");
    if (code)
        return code;
    snprintf(threshold->operator_, sizeof threshold->operator_, "%s", operators[operator_ % 4]);
    char text[160];
    snprintf(text, sizeof text, "%.100s %s %.6g", threshold->metric, threshold->operator_, threshold->value);
    return read_text(object, "text", text, &threshold->text, error);
}

static int read_thresholds(struct mst__load_options *options, const uint8_t *object, struct mst_error *error)
{
    const uint8_t *list = get(object, "thresholds"), *position = NULL, *element;
    int code = 0;
    if (!list || mst_value_count(list) == 0)
        return 0;
    if (mst_value_tag(list) != MST_ARRAY || mst_value_count(list) > MST__LOAD_THRESHOLDS)
        return wrong(error, "thresholds", "an array of at most 64 objects");
    while (code == 0 && mst_value_next(list, &position, &element)) {
        if (mst_value_tag(element) != MST_OBJECT)
            return wrong(error, "thresholds", "objects");
        code = read_threshold(&options->thresholds[options->threshold_count++], element, error);
    }
    return code;
}

static int read_seed(struct mst__load_options *options, const uint8_t *object, struct mst_error *error)
{
    uint32_t chosen = 0;
    if (get(object, "seed"))
        return read_count(object, "seed", UINT64_C(1) << 53, &options->seed, error);
    if (getrandom(&chosen, sizeof chosen, 0) != (ssize_t)sizeof chosen)
        return mst_error_set(error, MST_EINTERNAL, "no random numbers for the seed");
    options->seed = chosen;
    return 0;
}

static int read_argv(struct mst__load_options *options, const char *text, size_t length, struct mst_error *error)
{
    struct mst_span raw = {"[]", 2};
    mst_json_member(text, length, "argv", &raw);
    options->argv = copy_text(raw.data, raw.length);
    return options->argv ? 0 : mst_error_set(error, MST_ENOMEM, "no memory for the options");
}

static int read_numbers(struct mst__load_options *options, const uint8_t *object, struct mst_error *error)
{
    bool preloads = options->mix[MST__LOAD_REGISTER] <= 0;
    options->rate = 100;
    options->duration = 60;
    options->interval = 5;
    options->ttl = 300;
    options->receivers = 1;
    options->in_flight = IN_FLIGHT;
    options->preload = preloads ? PRELOAD : 0;
    int code = read_number(object, "rate", 1e-3, 1e7, &options->rate, error);
    if (code == 0)
        code = read_number(object, "duration_s", 1e-3, 1e7, &options->duration, error);
    if (code == 0)
        code = read_number(object, "report_interval_s", 0.01, 1e7, &options->interval, error);
    if (code == 0)
        code = read_number(object, "ttl_s", 1, 30 * 86400, &options->ttl, error);
    if (code == 0)
        code = read_count32(object, "receivers", MST__LOAD_RECEIVERS, &options->receivers, error);
    if (code == 0)
        code = read_count32(object, "gateways", 100000, &options->gateways, error);
    if (code == 0)
        code = read_count32(object, "in_flight", 1000000, &options->in_flight, error);
    if (code == 0 && options->in_flight == 0)
        code = wrong(error, "in_flight", "at least 1");
    return code ? code : read_count(object, "preload", MST__LOAD_IDENTITIES, &options->preload, error);
}

static int read_all(struct mst__load_options *options, const uint8_t *object, struct mst_error *error)
{
    static const char *const acks[] = {"none", "received", "processed", NULL}; /* in the order of enum mst_ack */
    static const char *const progresses[] = {"text", "json", "none", NULL};
    unsigned ack = MST_ACK_NONE, progress = MST__LOAD_TEXT;
    options->json = is_true(object, "json");
    options->quiet = is_true(object, "quiet");
    options->verbose = is_true(object, "verbose");
    int code = read_mode(options, object, error);
    if (code == 0)
        code = read_servers(options, object, error);
    if (code == 0)
        code = read_numbers(options, object, error);
    if (code == 0)
        code = read_text(object, "filter", NULL, &options->filter, error);
    if (code == 0)
        code = read_text(object, "status", "online", &options->status, error);
    if (code == 0)
        code = read_text(object, "payload", NULL, &options->payload, error);
    if (code == 0)
        code = read_choice(object, "ack", acks, &ack, error);
    if (code == 0)
        code = read_choice(object, "progress", progresses, &progress, error);
    if (code == 0)
        code = read_seed(options, object, error);
    options->ack = (enum mst_ack)ack;
    options->progress = options->quiet ? MST__LOAD_SILENT : progress;
    return code ? code : read_thresholds(options, object, error);
}

int mst__load_options_read(struct mst__load_options *options, const char *text, size_t length, struct mst_error *error)
{
    const struct mst_json_limits limits = {OPTIONS_MAX, 16, 0};
    struct mst_buffer packed = {0};
    memset(options, 0, sizeof *options);
    struct mst_json_parser *parser = mst_json_parser_create();
    if (!parser)
        return mst_error_set(error, MST_ENOMEM, "no memory for the options");
    int code = mst_json_parse(parser, text, length, &limits, &packed, error);
    mst_json_parser_destroy(parser);
    if (code == 0 && mst_value_tag((const uint8_t *)packed.data) != MST_OBJECT)
        code = mst_error_set(error, MST_EINVAL, "the options of a load test are an object");
    if (code == 0)
        code = read_all(options, (const uint8_t *)packed.data, error);
    if (code == 0)
        code = read_argv(options, text, length, error);
    mst_buffer_deinit(&packed);
    return code;
}

void mst__load_options_deinit(struct mst__load_options *options)
{
    char *texts[] = {options->mode,           options->redis_host,   options->redis_user,
                     options->redis_password, options->filter,       options->status,
                     options->payload,        options->nats_servers, options->argv};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    for (uint32_t i = 0; i < options->threshold_count; i++) {
        free(options->thresholds[i].metric);
        free(options->thresholds[i].text);
    }
}
