// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/clock.h"
#include "core/coordinator_internal.h"

#define TIMEOUT_DEFAULT (5 * MST_NS_PER_SECOND)
#define TIMEOUT_MAX (3600 * MST_NS_PER_SECOND)
#define RETRIES_DEFAULT 3u
#define RETRIES_MAX 10u
#define SAMPLE 10u /* ids a dry run shows */

enum {
    FILTER,
    PARAMS,
    ALL,
    PAYLOAD,
    PAYLOAD_BASE64,
    ACK,
    DELIVERY,
    TIMEOUT,
    RETRIES,
    EXPECT,
    MAX_TARGETS,
    DRY_RUN,
    REPORT,
    KEY,
    PRIORITY,
    POLICY,
    POLICY_PARAMS,
    RATE,
    KEYS
};

static const struct mst__key keys[KEYS] = {
    [FILTER] = {"filter", MST__T_STRING | MST__T(MST_OBJECT), 0},
    [PARAMS] = {"params", MST__T(MST_OBJECT), 0},
    [ALL] = {"all", MST__T_BOOL, 0},
    [PAYLOAD] = {"payload", MST__T_ANY, 0},
    [PAYLOAD_BASE64] = {"payload_base64", MST__T_STRING, 0},
    [ACK] = {"ack", MST__T_STRING, 0},
    [DELIVERY] = {"delivery", MST__T_STRING, 0},
    [TIMEOUT] = {"timeout", MST__T_NUMBER | MST__T_STRING, 0},
    [RETRIES] = {"retries", MST__T_NUMBER, 0},
    [EXPECT] = {"expect", MST__T_NUMBER | MST__T_STRING, 0},
    [MAX_TARGETS] = {"max_targets", MST__T_NUMBER, 0},
    [DRY_RUN] = {"dry_run", MST__T_BOOL, 0},
    [REPORT] = {"report", MST__T_STRING, 0},
    [KEY] = {"key", 0, MST__KEY_LATER},
    [PRIORITY] = {"priority", 0, MST__KEY_LATER},
    [POLICY] = {"policy", 0, MST__KEY_LATER},
    [POLICY_PARAMS] = {"policy_params", 0, MST__KEY_LATER},
    [RATE] = {"rate", 0, MST__KEY_LATER},
};

static const char *const acks[] = {"none", "received", "processed", NULL}; /* in the order of enum mst_ack */
static const char *const deliveries[] = {"at_most_once", "acknowledged", "at_least_once", "exactly_once", NULL};
static const char *const reports[] = {"summary", "failed", "all", NULL};
enum { REPORT_SUMMARY, REPORT_FAILED, REPORT_ALL };

/* A request that has been read. */
struct order {
    struct mst__query query;
    struct mst_buffer decoded; /* of payload_base64 */
    struct mst_span payload;
    unsigned ack, report;
    uint64_t timeout, retries, max_targets;
    bool has_expect, dry_run, all;
    uint64_t expect, tolerance; /* targets, and how many more or less will do */
};

/* A multicast under way: the state of its call. */
struct cast {
    struct mst_multicast *multicast;
    uint64_t revision;
    unsigned report, ack;
    struct mst_buffer warnings; /* a copy: the filter may leave the cache meanwhile */
};

static int read_payload(struct mst__call *call, const uint8_t *const *values, struct order *order)
{
    struct mst_error *error = &call->error;
    if (!values[PAYLOAD] == !values[PAYLOAD_BASE64]) {
        if (values[PAYLOAD])
            return mst_error_set(error, MST_EINVAL, "\"payload\" and \"payload_base64\" exclude each other");
        if (order->dry_run)
            return 0;
        return mst_error_set(error, MST_EINVAL, "key \"payload\" (or \"payload_base64\") is missing");
    }
    if (values[PAYLOAD_BASE64]) {
        struct mst_span text = mst__body_string(values[PAYLOAD_BASE64]);
        int code = mst_base64_decode(&order->decoded, text.data, text.length);
        if (code)
            return mst_error_set(error, code, "key \"payload_base64\": not valid base64");
        order->payload = (struct mst_span){order->decoded.data, order->decoded.length};
    } else if (mst_value_tag(values[PAYLOAD]) == MST_STRING) {
        order->payload = mst__body_string(values[PAYLOAD]);
    } else {
        mst_json_member(call->body.data, call->body.length, "payload", &order->payload);
    }
    struct mst_messaging *messaging = call->coordinator->messaging;
    size_t most = messaging->ops->max_payload(messaging);
    if (order->payload.length > most)
        return mst_error_set(error, MST_ETOOBIG, "the payload has %zu bytes, messaging carries at most %zu",
                             order->payload.length, most);
    return 0;
}

/* "delivery" says the same as "ack", more roughly. */
static int read_ack(const uint8_t *const *values, struct order *order, struct mst_error *error)
{
    unsigned delivery = 1;
    order->ack = MST_ACK_RECEIVED;
    int code = mst__body_choice(values[ACK], "ack", acks, &order->ack, error);
    if (code == 0)
        code = mst__body_choice(values[DELIVERY], "delivery", deliveries, &delivery, error);
    if (code || !values[DELIVERY])
        return code;
    if (delivery > 1)
        return mst_error_set(error, MST_EUNSUPPORTED, "key \"delivery\": %s is not supported", deliveries[delivery]);
    if (delivery == 0 && !values[ACK])
        order->ack = MST_ACK_NONE;
    if ((delivery == 0) != (order->ack == MST_ACK_NONE))
        return mst_error_set(error, MST_EINVAL, "key \"delivery\": %s contradicts \"ack\": \"%s\"",
                             deliveries[delivery], acks[order->ack]);
    return 0;
}

static size_t read_digits(struct mst_span text, size_t at, uint64_t *number)
{
    size_t start = at;
    *number = 0;
    for (; at < text.length && at - start < 10 && isdigit((unsigned char)text.data[at]); at++)
        *number = *number * 10 + (uint64_t)(text.data[at] - '0');
    return at;
}

/* A number, "N" or "N~P%". */
static int read_expect(const uint8_t *value, struct order *order, struct mst_error *error)
{
    order->has_expect = value != NULL;
    if (!value)
        return 0;
    if (mst_value_tag(value) != MST_STRING)
        return mst__body_integer(value, "expect", 0, UINT32_MAX, &order->expect, error);
    struct mst_span text = mst__body_string(value);
    uint64_t percent = 0;
    size_t at = read_digits(text, 0, &order->expect);
    bool good = at > 0;
    if (good && at < text.length) {
        size_t start = at + 1;
        good = text.data[at] == '~';
        at = read_digits(text, start, &percent);
        good = good && at > start && at + 1 == text.length && text.data[at] == '%' && percent <= 100;
    }
    if (!good)
        return mst_error_set(error, MST_EINVAL, "key \"expect\": expected a number, \"N\" or \"N~P%%\", got \"%.*s\"",
                             text.length > 40 ? 40 : (int)text.length, text.data);
    order->tolerance = order->expect * percent / 100;
    return 0;
}

static int read_order(struct mst__call *call, struct order *order)
{
    const uint8_t *values[KEYS];
    struct mst_error *error = &call->error;
    int code = mst__body_read(call, keys, KEYS, values);
    if (code)
        return code;
    order->dry_run = mst__body_bool(values[DRY_RUN], false);
    order->all = mst__body_bool(values[ALL], false);
    order->timeout = TIMEOUT_DEFAULT;
    order->retries = RETRIES_DEFAULT;
    order->max_targets = UINT32_MAX;
    code = read_payload(call, values, order);
    if (code == 0)
        code = read_ack(values, order, error);
    if (code == 0)
        code = mst__body_duration(values[TIMEOUT], "timeout", MST_NS_PER_MS, TIMEOUT_MAX, &order->timeout, error);
    if (code == 0)
        code = mst__body_integer(values[RETRIES], "retries", 0, RETRIES_MAX, &order->retries, error);
    if (code == 0)
        code = mst__body_integer(values[MAX_TARGETS], "max_targets", 0, UINT32_MAX, &order->max_targets, error);
    if (code == 0)
        code = read_expect(values[EXPECT], order, error);
    if (code == 0)
        code = mst__body_choice(values[REPORT], "report", reports, &order->report, error);
    return code ? code : mst__query_init(&order->query, call, values[FILTER], values[PARAMS]);
}

static int guard(struct mst__call *call, struct order *order, uint32_t targets)
{
    struct mst_error *error = &call->error;
    if (!order->all && mst__query_is_open(&order->query)) {
        mst_error_set(error, MST_EGUARD, "without a filter the multicast goes to all %u identities", targets);
        mst_error_hint(error, "if that is meant, add \"all\": true");
        return MST_EGUARD;
    }
    uint64_t off = targets > order->expect ? targets - order->expect : order->expect - targets;
    if (order->has_expect && off > order->tolerance) {
        mst_error_set(error, MST_EGUARD, "%u identities match, expected %llu", targets,
                      (unsigned long long)order->expect);
        if (order->tolerance)
            mst_error_hint(error, "%llu to %llu would do", (unsigned long long)(order->expect - order->tolerance),
                           (unsigned long long)(order->expect + order->tolerance));
        return MST_EGUARD;
    }
    if (targets > order->max_targets)
        return mst_error_set(error, MST_EGUARD, "%u identities match, max_targets is %llu", targets,
                             (unsigned long long)order->max_targets);
    return 0;
}

static void put_digest(struct mst_buffer *out, uint64_t digest)
{
    mst_buffer_appendf(out, "\"%016llx\"", (unsigned long long)digest);
}

static void answer_dry_run(struct mst__call *call, const struct order *order, const struct mst_rowset *set)
{
    struct mst_buffer *out = &call->answer;
    struct mst_view *view = call->space->view;
    MST__PUT(out, "{\"dry_run\":true,\"targets\":");
    mst_buffer_append_u64(out, set->count);
    MST__PUT(out, ",\"digest\":");
    put_digest(out, mst_fanout_digest(view, set));
    MST__PUT(out, ",\"sample\":[");
    uint32_t row = mst_rowset_next(set, 0);
    for (uint32_t i = 0; i < SAMPLE && row != MST_ROW_NONE; i++, row = mst_rowset_next(set, row + 1)) {
        struct mst_identity identity;
        mst_view_identity(view, row, &identity);
        if (i)
            mst_buffer_append_byte(out, ',');
        mst_json_put_string(out, identity.id.data, identity.id.length);
    }
    mst_buffer_append_byte(out, ']');
    mst__put_tail(call, &order->query);
}

static void put_counts(const struct mst_multicast *multicast, struct mst_buffer *out)
{
    uint64_t timeout = 0, connection = 0, logic = 0;
    bool first = true;
    MST__PUT(out, ",\"states\":{");
    for (unsigned state = 0; state < MST_RECEIPT_STATES; state++) {
        uint32_t count = mst_multicast_count(multicast, (enum mst_receipt_state)state);
        const char *class_ = mst_receipt_class((enum mst_receipt_state)state);
        if (count == 0)
            continue;
        mst_buffer_appendf(out, "%s\"%s\":%u", first ? "" : ",", mst_receipt_name((enum mst_receipt_state)state),
                           count);
        first = false;
        if (class_)
            *(class_[0] == 't' ? &timeout : class_[0] == 'c' ? &connection : &logic) += count;
    }
    MST__PUT(out, "},\"failures\":{\"timeout\":");
    mst_buffer_append_u64(out, timeout);
    MST__PUT(out, ",\"connection\":");
    mst_buffer_append_u64(out, connection);
    MST__PUT(out, ",\"logic\":");
    mst_buffer_append_u64(out, logic);
    mst_buffer_append_byte(out, '}');
}

/* Whether a target was not reached; received is only half of the way where processed was asked for. */
static bool is_failure(enum mst_receipt_state state, unsigned ack)
{
    return mst_receipt_class(state) || (state == MST_RECEIPT_RECEIVED && ack == MST_ACK_PROCESSED);
}

/* The messages are out, so an answer that would be too large is cut and says so. */
static void put_receipts(const struct mst_multicast *multicast, const struct cast *cast, struct mst_buffer *out)
{
    uint32_t count = mst_multicast_targets(multicast);
    bool first = true, cut = false;
    MST__PUT(out, ",\"receipts\":[");
    for (uint32_t i = 0; i < count && !cut; i++) {
        struct mst_receipt receipt;
        mst_multicast_receipt(multicast, i, &receipt);
        if (cast->report == REPORT_FAILED && !is_failure(receipt.state, cast->ack))
            continue;
        if (!first)
            mst_buffer_append_byte(out, ',');
        first = false;
        MST__PUT(out, "{\"id\":");
        mst_json_put_string(out, receipt.id.data, receipt.id.length);
        MST__PUT(out, ",\"state\":\"");
        mst_buffer_append_string(out, mst_receipt_name(receipt.state));
        MST__PUT(out, "\",\"code\":");
        if (receipt.code.length)
            mst_json_put_string(out, receipt.code.data, receipt.code.length);
        else
            MST__PUT(out, "null");
        mst_buffer_append_byte(out, '}');
        cut = out->length > MST__ANSWER_MAX;
    }
    mst_buffer_append_byte(out, ']');
    if (cut)
        MST__PUT(out, ",\"receipts_cut\":true");
}

static void on_done(struct mst_multicast *multicast, void *owner)
{
    struct mst__call *call = owner;
    struct cast *cast = call->state;
    struct mst_buffer *out = &call->answer;
    MST__PUT(out, "{\"multicast\":\"");
    mst_buffer_append_string(out, mst_multicast_id(multicast));
    MST__PUT(out, "\",\"revision\":");
    mst_buffer_append_u64(out, cast->revision);
    MST__PUT(out, ",\"targets\":");
    mst_buffer_append_u64(out, mst_multicast_targets(multicast));
    MST__PUT(out, ",\"digest\":");
    put_digest(out, mst_multicast_digest(multicast));
    put_counts(multicast, out);
    if (cast->report != REPORT_SUMMARY)
        put_receipts(multicast, cast, out);
    mst_buffer_appendf(out, ",\"elapsed_ms\":%.3f,\"warnings\":", (double)mst_multicast_elapsed(multicast) / 1e6);
    mst_buffer_append(out, cast->warnings.data, cast->warnings.length);
    mst_buffer_append_byte(out, '}');
    if (call->coordinator->observe)
        call->coordinator->observe(call->coordinator->observe_context, call->context, multicast);
    mst_multicast_destroy(multicast);
    mst_buffer_deinit(&cast->warnings);
    free(cast);
    call->state = NULL;
    mst__list_remove(&call->coordinator->multicasts, call);
    mst__call_end(call, 0);
}

static int start(struct mst__call *call, const struct order *order, const struct mst_rowset *set)
{
    struct mst_coordinator *coordinator = call->coordinator;
    struct cast *cast = calloc(1, sizeof *cast);
    if (!cast || !coordinator->fanout) {
        free(cast);
        return mst_error_set(&call->error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    }
    cast->revision = mst__space_revision(call->space);
    cast->report = order->report;
    cast->ack = order->ack;
    mst__query_put_warnings(&order->query, &cast->warnings);
    const struct mst_multicast_request request = {
        .namespace_ = call->namespace_,
        .view = call->space->view,
        .targets = set,
        .revision = cast->revision,
        .payload = order->payload,
        .ack = (enum mst_ack)order->ack,
        .timeout = order->timeout,
        .retries = order->ack == MST_ACK_NONE ? 0 : (uint32_t)order->retries,
        .done = on_done,
        .owner = call,
    };
    call->state = cast;
    int code = mst_multicast_start(coordinator->fanout, &request, &cast->multicast, &call->error);
    if (code) {
        mst_buffer_deinit(&cast->warnings);
        free(cast);
        call->state = NULL;
        return code;
    }
    mst__list_push(&coordinator->multicasts, call);
    return 0;
}

void mst__verb_multicast(struct mst__call *call)
{
    struct order order = {0};
    struct mst_rowset *set;
    bool sent = false;
    int code = read_order(call, &order);
    if (code == 0)
        code = mst__query_match(&order.query, call, &set);
    if (code == 0)
        code = guard(call, &order, set->count);
    if (code == 0 && order.dry_run)
        answer_dry_run(call, &order, set);
    else if (code == 0)
        sent = (code = start(call, &order, set)) == 0;
    mst__query_deinit(&order.query);
    mst_buffer_deinit(&order.decoded);
    if (!sent)
        mst__call_end(call, code);
}

void mst__multicasts_cancel(struct mst_coordinator *coordinator)
{
    for (struct mst__call *call = coordinator->multicasts.first, *next; call; call = next) {
        next = call->next;
        mst_multicast_cancel(((struct cast *)call->state)->multicast);
    }
}
