// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/loadtest_internal.h"

#define LATE_NS MST_NS_PER_MS
#define BURST 128u /* operations fired in one turn of the loop; the rest follow in the next */
#define PUT(out, literal) mst_buffer_append((out), "" literal, sizeof(literal) - 1)

const double mst__load_bands[MST__LOAD_BANDS] = {0.1, 0.2, 0.5, 1,   2,    5,    10,      20,
                                                 50,  100, 200, 500, 1000, 5000, INFINITY};

/* The member `filter` of a request; a JSON text is a text of the filter language as well. */
static void put_filter(struct mst__load *load)
{
    const struct mst__load_options *options = &load->options;
    struct mst_buffer text = {0};
    PUT(&text, "status == ");
    mst_json_put_string(&text, options->status, strlen(options->status));
    PUT(&load->filter, "\"filter\":");
    if (options->filter)
        mst_json_put_string(&load->filter, options->filter, strlen(options->filter));
    else
        mst_json_put_string(&load->filter, text.data, text.length);
    load->filter.failed = load->filter.failed || text.failed;
    mst_buffer_deinit(&text);
}

int mst__load_operations_init(struct mst__load *load, struct mst_error *error)
{
    const struct mst__load_options *options = &load->options;
    uint32_t most = options->in_flight;
    if (most > load->schedule.total)
        most = (uint32_t)load->schedule.total;
    load->pool = calloc(most, sizeof *load->pool);
    load->planned_of = malloc((load->schedule.counts[MST__LOAD_MULTICAST] + 1) * sizeof *load->planned_of);
    bool good = load->pool && load->planned_of;
    for (uint32_t i = 0; good && i < most; i++) {
        load->pool[i].next = load->free;
        load->free = &load->pool[i];
    }
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++) {
        struct mst__load_numbers *numbers = &load->numbers[kind];
        good = good && (numbers->latency = mst_hdr_create()) && (numbers->service = mst_hdr_create()) &&
               (numbers->window = mst_hdr_create());
    }
    put_filter(load);
    return good && !load->filter.failed ? 0 : mst_error_set(error, MST_ENOMEM, "no memory for the operations");
}

void mst__load_operations_deinit(struct mst__load *load)
{
    for (int kind = 0; kind < MST__LOAD_KINDS; kind++) {
        mst_hdr_destroy(load->numbers[kind].latency);
        mst_hdr_destroy(load->numbers[kind].service);
        mst_hdr_destroy(load->numbers[kind].window);
    }
    mst_buffer_deinit(&load->body);
    mst_buffer_deinit(&load->filter);
    free(load->pool);
    free(load->planned_of);
}

/* ------------------------------------------------------------------------------------------------ requests */

static void put_registration(struct mst__load *load, uint32_t number)
{
    const struct mst__load_options *options = &load->options;
    struct mst_buffer *body = &load->body;
    PUT(body, "{\"id\":\"loadtest-user-");
    mst_buffer_append_u64(body, number);
    PUT(body, "\",\"metadata\":{\"status\":\"online\",\"loadtest\":true,\"timestamp\":");
    mst_buffer_append_u64(body, (uint64_t)mst_clock_wall() / 1000);
    PUT(body, ",\"worker_id\":");
    mst_buffer_append_u64(body, number % 100);
    PUT(body, "},\"ttl\":");
    if (options->ttl == floor(options->ttl))
        mst_buffer_append_u64(body, (uint64_t)options->ttl);
    else
        mst_buffer_appendf(body, "%.10g", options->ttl);
    if (options->gateways) {
        PUT(body, ",\"gateway\":\"loadtest-gateway-");
        mst_buffer_append_u64(body, number % options->gateways);
        mst_buffer_append_byte(body, '"');
    }
    mst_buffer_append_byte(body, '}');
}

static void put_multicast(struct mst__load *load, uint32_t number)
{
    static const char *const acks[] = {"none", "received", "processed"};
    const struct mst__load_options *options = &load->options;
    struct mst_buffer *body = &load->body;
    mst_buffer_append_byte(body, '{');
    mst_buffer_append(body, load->filter.data, load->filter.length);
    if (options->filter)
        PUT(body, ",\"all\":true"); /* a filter somebody wrote may well let everything through */
    PUT(body, ",\"ack\":\"");
    mst_buffer_append_string(body, acks[options->ack]);
    PUT(body, "\",\"payload\":");
    if (options->payload) {
        mst_json_put_string(body, options->payload, strlen(options->payload));
    } else {
        PUT(body, "{\"type\":\"loadtest\",\"timestamp\":");
        mst_buffer_append_u64(body, (uint64_t)mst_clock_wall() / 1000);
        PUT(body, ",\"n\":");
        mst_buffer_append_u64(body, number);
        mst_buffer_append_byte(body, '}');
    }
    mst_buffer_append_byte(body, '}');
}

static void put_request(struct mst__load *load, const struct mst__load_operation *operation)
{
    mst_buffer_clear(&load->body);
    if (operation->kind == MST__LOAD_REGISTER) {
        put_registration(load, operation->number);
    } else if (operation->kind == MST__LOAD_MULTICAST) {
        put_multicast(load, operation->number);
    } else {
        mst_buffer_append_byte(&load->body, '{');
        mst_buffer_append(&load->body, load->filter.data, load->filter.length);
        mst_buffer_append_byte(&load->body, '}');
    }
}

/* ------------------------------------------------------------------------------------------------ failures */

static double seconds_since_start(const struct mst__load *load)
{
    uint64_t now = mst_clock_monotonic();
    return now > load->start ? (double)(now - load->start) / 1e9 : 0;
}

void mst__load_call_failed(struct mst__load *load, enum mst__load_kind kind, enum mst__load_class class_,
                           const char *text, size_t length)
{
    struct mst__load_numbers *numbers = &load->numbers[kind];
    struct mst__load_failure *failure = load->failures;
    numbers->failed++;
    numbers->failures[class_]++;
    if (length >= sizeof failure->text)
        length = sizeof failure->text - 1;
    for (uint32_t i = 0; i < load->failure_count; i++, failure++) {
        if (failure->kind == kind && failure->class_ == class_ && strlen(failure->text) == length &&
            memcmp(failure->text, text, length) == 0) {
            failure->count++;
            return;
        }
    }
    if (load->failure_count == MST__LOAD_FAILURES) {
        load->failures_left_out++;
        return;
    }
    load->failure_count++;
    *failure = (struct mst__load_failure){.kind = kind, .class_ = class_, .count = 1};
    failure->first = seconds_since_start(load);
    memcpy(failure->text, text, length);
}

void mst__load_error_text(int status, const char *json, size_t length, char *text, size_t size)
{
    struct mst_span error, message;
    if (mst_json_member(json, length, "error", &error) &&
        mst_json_member(error.data, error.length, "message", &message) && message.length >= 2)
        snprintf(text, size, "%s %.*s", mst_status_name(status), (int)message.length - 2, message.data + 1);
    else
        snprintf(text, size, "%s", mst_status_name(status));
}

static enum mst__load_class class_of(int status)
{
    const char *name = mst_status_class(status);
    return name[0] == 't' ? MST__LOAD_TIMEOUT : name[0] == 'c' ? MST__LOAD_CONNECTION : MST__LOAD_LOGIC;
}

/* ------------------------------------------------------------------------------------------------ answers */

static void check_drained(struct mst__load *load)
{
    if (load->fired && load->in_flight == 0)
        load->drained = true;
}

static void record(struct mst__load *load, const struct mst__load_operation *operation, uint64_t now)
{
    struct mst__load_numbers *numbers = &load->numbers[operation->kind];
    uint64_t latency = now > operation->planned ? (now - operation->planned) / MST__LOAD_TICK : 0;
    unsigned band = 0;
    while ((double)latency * MST__LOAD_TICK / 1e6 > mst__load_bands[band])
        band++;
    load->spread[band]++;
    numbers->ok++;
    mst_hdr_record(numbers->latency, latency);
    if (load->options.progress != MST__LOAD_SILENT)
        mst_hdr_record(numbers->window, latency);
    mst_hdr_record(numbers->service, (now - operation->started) / MST__LOAD_TICK);
}

static void on_answer(void *context, int status, const char *json, size_t length)
{
    struct mst__load_operation *operation = context;
    struct mst__load *load = operation->load;
    char text[256];
    if (load->over)
        return;
    load->ended = mst_clock_monotonic();
    load->window_answers++;
    load->unanswered += status == MST_EDEADLINE;
    if (status) {
        mst__load_error_text(status, json, length, text, sizeof text);
        mst__load_call_failed(load, operation->kind, class_of(status), text, strlen(text));
    } else if (operation->class_ != MST__LOAD_CLASSES) {
        snprintf(text, sizeof text, "some targets were not reached: %s", mst__load_class_names[operation->class_]);
        mst__load_call_failed(load, operation->kind, operation->class_, text, strlen(text));
    } else {
        record(load, operation, load->ended);
    }
    operation->next = load->free;
    load->free = operation;
    load->in_flight--;
    check_drained(load);
}

void mst__load_abandon(struct mst__load *load)
{
    static const char text[] = "no answer when the run was ended";
    load->over = true;
    for (uint32_t i = 0; load->in_flight && i < load->schedule.total && i < load->options.in_flight; i++) {
        struct mst__load_operation *operation = &load->pool[i];
        bool idle = false;
        for (struct mst__load_operation *free_ = load->free; free_ && !idle; free_ = free_->next)
            idle = free_ == operation;
        if (idle || !operation->load)
            continue;
        load->unanswered++;
        mst__load_call_failed(load, operation->kind, MST__LOAD_TIMEOUT, text, sizeof text - 1);
    }
}

/* ------------------------------------------------------------------------------------------------ firing */

static void note_lateness(struct mst__load *load, uint64_t planned, uint64_t now)
{
    uint64_t late = now > planned ? now - planned : 0;
    if (late > LATE_NS)
        load->late++;
    if (late > load->latest)
        load->latest = late;
}

static void fire_one(struct mst__load *load, uint64_t planned, uint64_t now)
{
    static const char shed[] = "shed: as many operations as may be are in flight";
    enum mst__load_kind kind = mst__load_schedule_next(&load->schedule);
    struct mst__load_operation *operation = load->free;
    uint32_t number = 0;
    load->next++;
    load->numbers[kind].planned++;
    /* Numbers are given out even to what is shed, so that they depend on nothing but the seed. */
    if (kind == MST__LOAD_REGISTER)
        number = ++load->identities;
    else if (kind == MST__LOAD_MULTICAST)
        number = load->multicasts++;
    if (kind == MST__LOAD_MULTICAST)
        load->planned_of[number] = planned;
    note_lateness(load, planned, now);
    if (!operation) {
        load->shed++;
        mst__load_call_failed(load, kind, MST__LOAD_TIMEOUT, shed, sizeof shed - 1);
        return;
    }
    load->free = operation->next;
    *operation =
        (struct mst__load_operation){.load = load, .planned = planned, .number = number, .kind = (uint8_t)kind};
    operation->class_ = MST__LOAD_CLASSES;
    operation->started = mst_clock_monotonic();
    load->in_flight++;
    if (load->in_flight > load->peak)
        load->peak = load->in_flight;
    if (load->in_flight > load->window_peak)
        load->window_peak = load->in_flight;
    put_request(load, operation);
    mst_host_call(load->host, mst__load_kind_names[kind], load->namespace_, load->body.data, load->body.length,
                  on_answer, operation);
}

void mst__load_fire(struct mst_timer *timer, void *owner)
{
    struct mst__load *load = owner;
    uint64_t now = mst_clock_monotonic();
    for (uint32_t fired = 0; load->next < load->schedule.total && fired < BURST; fired++) {
        uint64_t planned = load->start + mst__load_schedule_at(&load->schedule, load->next);
        if (planned > now)
            break;
        fire_one(load, planned, now);
    }
    if (load->next < load->schedule.total) {
        mst_timers_set(&load->host->loop.timers, timer,
                       load->start + mst__load_schedule_at(&load->schedule, load->next));
        return;
    }
    load->fired = true;
    check_drained(load);
}

void mst__load_end_sending(struct mst__load *load)
{
    mst_timers_cancel(&load->host->loop.timers, &load->fire_timer);
    load->fired = true;
    check_drained(load);
}

/* ------------------------------------------------------------------------------------------------ preload */

struct preload {
    bool done;
    int status;
    char text[256];
};

static int code_of(struct mst_span error)
{
    struct mst_span code;
    char name[32] = "";
    if (mst_json_member(error.data, error.length, "code", &code) && code.length > 2 && code.length - 2 < sizeof name)
        memcpy(name, code.data + 1, code.length - 2);
    return mst_error_code(name);
}

static void on_preloaded(void *context, int status, const char *json, size_t length)
{
    struct preload *preload = context;
    preload->done = true;
    preload->status = status;
    struct mst_span error;
    size_t position = 0;
    /* Of a batch each element may be an error of its own. */
    for (struct mst_span element; status == 0 && mst_json_element(json, length, &position, &element);)
        if (mst_json_member(element.data, element.length, "error", &error)) {
            preload->status = code_of(error);
            mst__load_error_text(preload->status, element.data, element.length, preload->text, sizeof preload->text);
        }
    if (status)
        mst__load_error_text(status, json, length, preload->text, sizeof preload->text);
}

static int preload_batch(struct mst__load *load, uint64_t count, struct mst_error *error)
{
    struct preload preload = {0};
    mst_buffer_clear(&load->body);
    mst_buffer_append_byte(&load->body, '[');
    for (uint64_t i = 0; i < count; i++) {
        if (i)
            mst_buffer_append_byte(&load->body, ',');
        put_registration(load, ++load->identities);
    }
    mst_buffer_append_byte(&load->body, ']');
    mst_host_call(load->host, "register", load->namespace_, load->body.data, load->body.length, on_preloaded, &preload);
    mst__host_run_until(load->host, &preload.done);
    return preload.status ? mst_error_set(error, preload.status, "cannot preload: %s", preload.text) : 0;
}

int mst__load_preload(struct mst__load *load, struct mst_error *error)
{
    int code = 0;
    while (code == 0 && !load->stopping && load->identities < load->options.preload) {
        uint64_t left = load->options.preload - load->identities;
        code = preload_batch(load, left < 1000 ? left : 1000, error);
    }
    return code;
}
