// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/loadtest_internal.h"

static const char id_head[] = "loadtest-user-";

int mst__load_delivery_init(struct mst__load_delivery *delivery, uint64_t identities)
{
    delivery->identities = identities;
    delivery->expected = calloc(identities ? identities : 1, sizeof *delivery->expected);
    delivery->last_arrival = mst_hdr_create();
    return delivery->expected && delivery->last_arrival ? 0 : MST_ENOMEM;
}

void mst__load_delivery_deinit(struct mst__load_delivery *delivery)
{
    free(delivery->expected);
    mst_hdr_destroy(delivery->last_arrival);
}

/* The identity's number; 0 if it is none of ours. */
static uint64_t number_of(struct mst_span id)
{
    uint64_t number = 0;
    if (id.length < sizeof id_head || memcmp(id.data, id_head, sizeof id_head - 1) != 0)
        return 0;
    for (size_t i = sizeof id_head - 1; i < id.length; i++)
        number = number * 10 + (uint64_t)(id.data[i] - '0');
    return number;
}

static enum mst__load_class worst_class(const struct mst_multicast *multicast)
{
    static const struct {
        enum mst_receipt_state state;
        enum mst__load_class class_;
    } failures[] = {
        {MST_RECEIPT_UNREACHABLE, MST__LOAD_CONNECTION}, {MST_RECEIPT_TIMEOUT, MST__LOAD_TIMEOUT},
        {MST_RECEIPT_EXPIRED, MST__LOAD_TIMEOUT},        {MST_RECEIPT_FAILED, MST__LOAD_LOGIC},
        {MST_RECEIPT_NO_RECEIVER, MST__LOAD_LOGIC},
    };
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        if (mst_multicast_count(multicast, failures[i].state))
            return failures[i].class_;
    return MST__LOAD_CLASSES;
}

static void expect(struct mst__load_delivery *delivery, const struct mst_multicast *multicast, uint64_t sum)
{
    uint32_t count = mst_multicast_targets(multicast);
    for (uint32_t i = 0; i < count; i++) {
        struct mst_receipt receipt;
        mst_multicast_receipt(multicast, i, &receipt);
        uint64_t number = number_of(receipt.id);
        if (number == 0 || number > delivery->identities) {
            delivery->foreign++;
            continue;
        }
        struct mst__load_expected *expected = &delivery->expected[number - 1];
        if (receipt.state == MST_RECEIPT_PUBLISHED || receipt.state == MST_RECEIPT_RECEIVED ||
            receipt.state == MST_RECEIPT_PROCESSED) {
            expected->count++;
            expected->sum += sum;
        } else if (receipt.state != MST_RECEIPT_NO_RECEIVER) {
            expected->uncertain++;
        }
    }
}

void mst__load_observe(void *context, void *call, const struct mst_multicast *multicast)
{
    struct mst__load *load = context;
    struct mst__load_delivery *delivery = &load->delivery;
    struct mst__load_operation *operation = call;
    uint64_t targets = mst_multicast_targets(multicast);
    operation->class_ = (uint8_t)worst_class(multicast);
    delivery->least = delivery->multicasts == 0 || targets < delivery->least ? targets : delivery->least;
    delivery->most = targets > delivery->most ? targets : delivery->most;
    delivery->multicasts++;
    delivery->targets += targets;
    for (int state = 0; state < MST_RECEIPT_STATES; state++)
        delivery->states[state] += mst_multicast_count(multicast, (enum mst_receipt_state)state);
    /* Nobody counts where nobody subscribes. */
    if (mst__load_receivers_any(&load->receivers))
        expect(delivery, multicast, mst__load_mix(load->receivers.numbered ? operation->number : 0));
}

uint64_t mst__load_expected_least(const struct mst__load *load)
{
    const uint64_t *states = load->delivery.states;
    return states[MST_RECEIPT_PUBLISHED] + states[MST_RECEIPT_RECEIVED] + states[MST_RECEIPT_PROCESSED];
}

static void compare_identity(struct mst__load_delivery *delivery, const struct mst__load_expected *expected,
                             uint64_t count, uint64_t sum)
{
    uint64_t most = (uint64_t)expected->count + expected->uncertain;
    delivery->received += count;
    if (count < expected->count) {
        delivery->missing += expected->count - count;
        delivery->mismatch += expected->count - count;
    } else if (count > most) {
        /* Who was in no target set at all cannot have got a second copy. */
        *(most ? &delivery->duplicates : &delivery->foreign) += count - most;
        delivery->mismatch += count - most;
    } else if (expected->uncertain == 0 && sum != expected->sum) {
        delivery->mismatch++;
    }
}

static void record_arrivals(struct mst__load *load)
{
    for (uint32_t i = 0; i < load->multicasts; i++) {
        uint64_t at = atomic_load(&load->receivers.arrivals[i]);
        if (at > load->planned_of[i])
            mst_hdr_record(load->delivery.last_arrival, (at - load->planned_of[i]) / MST__LOAD_TICK);
    }
}

void mst__load_compare(struct mst__load *load)
{
    struct mst__load_delivery *delivery = &load->delivery;
    const uint64_t *states = delivery->states;
    delivery->published = mst__load_expected_least(load);
    delivery->no_receiver = states[MST_RECEIPT_NO_RECEIVER];
    delivery->timeout = states[MST_RECEIPT_TIMEOUT] + states[MST_RECEIPT_EXPIRED];
    delivery->failed = states[MST_RECEIPT_FAILED] + states[MST_RECEIPT_UNREACHABLE] + states[MST_RECEIPT_SKIPPED];
    if (!mst__load_receivers_any(&load->receivers))
        return;
    delivery->foreign += mst__load_receivers_foreign(&load->receivers);
    for (uint64_t i = 0; i < delivery->identities; i++) {
        const struct mst__load_tally *tally = &load->receivers.tallies[i];
        compare_identity(delivery, &delivery->expected[i], atomic_load(&tally->count), atomic_load(&tally->sum));
    }
    if (load->receivers.numbered)
        record_arrivals(load);
}
