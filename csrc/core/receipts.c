// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "core/fanout_internal.h"
#include "model/value.h"

#define REPLY_BYTES (1024u * 1024u)
#define CODE_ROOM (64u * 1024u) /* for texts of failures, and 64 bytes for each target */
#define CODE_NAME_MAX 64u
#define CODE_LOST "ETOOBIG no room for the text of this failure"

static const struct {
    const char *name;
    bool final;
} STATES[] = {
#define MST_X(state, name, final) {name, final},
    MST_RECEIPTS(MST_X)
#undef MST_X
};

/* One answer for one target. */
struct answer {
    enum mst_receipt_state state;
    struct mst_span code; /* of failed */
};

const char *mst_receipt_name(enum mst_receipt_state state)
{
    return (unsigned)state < MST_RECEIPT_STATES ? STATES[state].name : "unknown";
}

const char *mst_receipt_class(enum mst_receipt_state state)
{
    switch (state) {
    case MST_RECEIPT_FAILED:
    case MST_RECEIPT_NO_RECEIVER:
        return "logic";
    case MST_RECEIPT_TIMEOUT:
    case MST_RECEIPT_EXPIRED:
        return "timeout";
    case MST_RECEIPT_UNREACHABLE:
        return "connection";
    default:
        return NULL;
    }
}

/* Received is final, but where processed is asked for there is more to wait for. */
static bool waited_for(const struct mst_multicast *multicast, enum mst_receipt_state state)
{
    return !STATES[state].final || (state == MST_RECEIPT_RECEIVED && multicast->ack == MST_ACK_PROCESSED);
}

void mst__target_set(struct mst_multicast *multicast, uint32_t target, enum mst_receipt_state state, uint32_t code)
{
    struct mst__target *row = &multicast->targets[target];
    multicast->counts[row->state]--;
    multicast->counts[state]++;
    if (!multicast->settled)
        multicast->open = multicast->open - waited_for(multicast, row->state) + waited_for(multicast, state);
    row->state = (uint8_t)state;
    row->code_offset = code;
}

void mst__message_set(struct mst_multicast *multicast, uint32_t message, enum mst_receipt_state state, uint32_t code)
{
    const struct mst__message *row = &multicast->messages[message];
    for (uint32_t i = row->first; i < row->first + row->count; i++) {
        uint32_t target = multicast->order[i];
        if (!STATES[multicast->targets[target].state].final)
            mst__target_set(multicast, target, state, code);
    }
}

bool mst__message_final(const struct mst_multicast *multicast, uint32_t message)
{
    const struct mst__message *row = &multicast->messages[message];
    for (uint32_t i = row->first; i < row->first + row->count; i++)
        if (!STATES[multicast->targets[multicast->order[i]].state].final)
            return false;
    return true;
}

void mst__multicast_settle(struct mst_multicast *multicast, enum mst_receipt_state queued, enum mst_receipt_state sent)
{
    for (uint32_t i = 0; i < multicast->target_count; i++) {
        enum mst_receipt_state state = multicast->targets[i].state;
        if (STATES[state].final)
            continue;
        if (state == MST_RECEIPT_QUEUED)
            state = queued;
        else
            state = state == MST_RECEIPT_SENT ? sent : MST_RECEIPT_UNREACHABLE;
        mst__target_set(multicast, i, state, 0);
    }
    multicast->open = 0;
    multicast->settled = true;
}

uint32_t mst__code_keep(struct mst_multicast *multicast, struct mst_span code)
{
    struct mst_buffer *codes = &multicast->codes;
    uint16_t length = (uint16_t)mst_utf8_cut(code.data, code.length, MST__CODE_MAX);
    if (multicast->last_code) {
        uint16_t last;
        memcpy(&last, codes->data + multicast->last_code, sizeof last);
        if (last == length && memcmp(codes->data + multicast->last_code + sizeof last, code.data, length) == 0)
            return multicast->last_code;
    }
    if (codes->length == 0) {
        size_t limit = CODE_ROOM + (size_t)multicast->target_count * 64;
        codes->limit = limit > UINT32_MAX ? UINT32_MAX : limit;
        mst_buffer_append_byte(codes, '\0'); /* so that offset 0 is free to mean none */
    }
    if (codes->failed || !mst_buffer_reserve(codes, sizeof length + length))
        return 0;
    multicast->last_code = (uint32_t)codes->length;
    mst_buffer_append(codes, &length, sizeof length);
    mst_buffer_append(codes, code.data, length);
    return multicast->last_code;
}

static struct mst_span code_of(const struct mst_multicast *multicast, const struct mst__target *row)
{
    if (row->state == MST_RECEIPT_SKIPPED)
        return (struct mst_span){"cancelled", sizeof "cancelled" - 1};
    if (row->state != MST_RECEIPT_FAILED)
        return (struct mst_span){"", 0};
    if (!row->code_offset)
        return (struct mst_span){CODE_LOST, sizeof CODE_LOST - 1};
    uint16_t length;
    const char *text = multicast->codes.data + row->code_offset;
    memcpy(&length, text, sizeof length);
    return (struct mst_span){text + sizeof length, length};
}

void mst_multicast_receipt(const struct mst_multicast *multicast, uint32_t index, struct mst_receipt *receipt)
{
    const struct mst__target *row = &multicast->targets[index];
    receipt->id = mst__target_id(multicast, index);
    receipt->state = (enum mst_receipt_state)row->state;
    receipt->code = code_of(multicast, row);
}

uint32_t mst_multicast_count(const struct mst_multicast *multicast, enum mst_receipt_state state)
{
    return (unsigned)state < MST_RECEIPT_STATES ? multicast->counts[state] : 0;
}

/* A code's name: [A-Za-z0-9_.-], up to the first space or the end. */
static bool code_valid(struct mst_span code)
{
    const char *space = memchr(code.data, ' ', code.length);
    size_t name = space ? (size_t)(space - code.data) : code.length;
    if (name == 0 || name > CODE_NAME_MAX)
        return false;
    for (size_t i = 0; i < name; i++) {
        char byte = code.data[i], lower = (char)(byte | 0x20);
        if (!(byte >= '0' && byte <= '9') && !(lower >= 'a' && lower <= 'z') && byte != '_' && byte != '.' &&
            byte != '-')
            return false;
    }
    return mst_utf8_valid(code.data, code.length);
}

/* The three plain forms of an answer. */
static bool read_answer(struct mst_span data, struct answer *answer)
{
    *answer = (struct answer){.state = MST_RECEIPT_RECEIVED};
    if (data.length == 0)
        return true;
    answer->state = MST_RECEIPT_PROCESSED;
    if (data.data[0] == '+')
        return data.length == 1;
    answer->state = MST_RECEIPT_FAILED;
    answer->code = (struct mst_span){data.data + 1, data.length - 1};
    return data.data[0] == '-' && code_valid(answer->code);
}

static bool answered(enum mst_receipt_state state)
{
    return state == MST_RECEIPT_RECEIVED || state == MST_RECEIPT_PROCESSED || state == MST_RECEIPT_FAILED;
}

/* What was final before the answer came (no receiver, timeout) stays so. */
static void apply(struct mst_multicast *multicast, uint32_t target, const struct answer *answer)
{
    enum mst_receipt_state state = multicast->targets[target].state;
    bool more =
        state == MST_RECEIPT_RECEIVED && answer->state != MST_RECEIPT_RECEIVED && multicast->ack == MST_ACK_PROCESSED;
    if (!STATES[state].final || more) {
        uint32_t code = answer->state == MST_RECEIPT_FAILED ? mst__code_keep(multicast, answer->code) : 0;
        mst__target_set(multicast, target, answer->state, code);
    } else if (answered(state)) {
        multicast->fanout->stats.duplicate_acks++;
    }
}

static int compare_ids(struct mst_span a, struct mst_span b)
{
    int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int compare_targets(const void *a, const void *b, void *context)
{
    const struct mst_multicast *multicast = context;
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
    return compare_ids(mst__target_id(multicast, first), mst__target_id(multicast, second));
}

/* Sorted only when a reply names ids: most never do, and the order within a message means nothing else. */
static void sort_message(struct mst_multicast *multicast, struct mst__message *message)
{
    if (message->sorted)
        return;
    qsort_r(multicast->order + message->first, message->count, sizeof *multicast->order, compare_targets, multicast);
    message->sorted = true;
}

/* The place of an id within its message; its count if it is not there. */
static uint32_t find(const struct mst_multicast *multicast, const struct mst__message *message, struct mst_span id)
{
    uint32_t low = 0, high = message->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_ids(mst__target_id(multicast, multicast->order[message->first + middle]), id);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return message->count;
}

/* The answers for single ids in a reply's object; marks the places of those it names. */
static void apply_named(struct mst_multicast *multicast, struct mst__message *message, const uint8_t *object,
                        bool *named)
{
    const uint8_t *position = NULL, *value;
    struct mst_span id;
    if (mst_value_count(object))
        sort_message(multicast, message);
    while (mst_value_next_member(object, &position, &id.data, &id.length, &value)) {
        struct mst_span text = {0};
        struct answer answer;
        uint32_t place = find(multicast, message, id);
        if (place == message->count) {
            multicast->fanout->stats.foreign_acks++;
            continue;
        }
        named[place] = true;
        if (mst_value_tag(value) == MST_STRING)
            text.data = mst_value_string(value, &text.length);
        if (text.data && read_answer(text, &answer))
            apply(multicast, multicast->order[message->first + place], &answer);
        else
            multicast->fanout->stats.garbage_acks++;
    }
}

static bool reply_object(struct mst_multicast *multicast, struct mst__message *message, struct mst_span data,
                         const struct answer *others)
{
    const struct mst_json_limits limits = {REPLY_BYTES, 1, MST__REPLY_MEMBERS};
    struct mst_fanout *fanout = multicast->fanout;
    bool named[MST__ENVELOPE_IDS] = {false};
    mst_buffer_clear(&fanout->scratch);
    if (mst_json_parse(fanout->parser, data.data, data.length, &limits, &fanout->scratch, NULL) < 0)
        return false;
    apply_named(multicast, message, (const uint8_t *)fanout->scratch.data, named);
    for (uint32_t i = 0; i < message->count; i++)
        if (!named[i])
            apply(multicast, multicast->order[message->first + i], others);
    return true;
}

void mst__message_reply(struct mst_multicast *multicast, uint32_t index, struct mst_span data)
{
    struct mst__message *message = &multicast->messages[index];
    struct answer answer;
    bool understood = false;
    if (read_answer(data, &answer)) {
        for (uint32_t i = 0; i < message->count; i++)
            apply(multicast, multicast->order[message->first + i], &answer);
        return;
    }
    answer = (struct answer){.state = data.data[0] == '+' ? MST_RECEIPT_PROCESSED : MST_RECEIPT_RECEIVED};
    if (answer.state == MST_RECEIPT_PROCESSED)
        data = (struct mst_span){data.data + 1, data.length - 1};
    if (message->enveloped && data.data[0] == '{')
        understood = reply_object(multicast, message, data, &answer);
    if (understood)
        return;
    multicast->fanout->stats.garbage_acks++;
    mst_log_write(multicast->fanout->log, MST_LOG_WARN, "fanout", "a reply is none of the known forms", "multicast",
                  multicast->id, NULL);
}
