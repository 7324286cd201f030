// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who listens to which subject, in this process: the routing table of the memory messaging. Subjects without wildcards
 * are found through a hash map; those with wildcards are tried one by one. One thread.
 */
#include <stdbool.h>
#include <stdint.h>

#include "core/messaging.h"

struct mst__subscriptions;

struct mst__subscriptions *mst__subscriptions_create(void); /* NULL: no memory */

/* Ends what is left without touching the listeners; `subscriptions` may be NULL. Not from inside a delivery. */
void mst__subscriptions_destroy(struct mst__subscriptions *subscriptions);

/*
 * The rules of a NATS client: 1..2048 bytes, tokens joined by single dots, no white space, no NUL; `*` and `>` (last)
 * as whole tokens are wildcards, allowed only where `wildcards` is true. `*wild` (may be NULL): whether there is one.
 */
bool mst__subject_valid(struct mst_span subject, bool wildcards, bool *wild);

/* The contract of mst_messaging_ops.listen and .unlisten; both may be called from inside a delivery. */
int mst__subscriptions_add(struct mst__subscriptions *subscriptions, const char *subject, const char *queue,
                           struct mst_listener *listener, struct mst_error *error);
void mst__subscriptions_remove(struct mst__subscriptions *subscriptions, struct mst_listener *listener);

/*
 * Gives one message to every listener whose subject matches, of each queue group to one member in turn; those added
 * meanwhile do not get it, those ended meanwhile neither. Returns how many there were. Not from inside a delivery.
 */
uint32_t mst__subscriptions_deliver(struct mst__subscriptions *subscriptions, const struct mst_delivery *delivery);
