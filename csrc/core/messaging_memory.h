// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * In-process messaging: the semantics of the NATS slot (subjects, wildcards, queue groups, replies, "nobody
 * subscribes") without a server. Deliveries happen on the next turn of the loop, in the order in which the messages
 * were sent, in slices of 512 messages so that a big cast does not hold the loop; each slice is one window (ROUTED).
 *
 * Subjects to publish to must be those a NATS client would take, and without wildcards: others are MST_EINVAL. close
 * refuses what is still queued (MST_ECLOSED), ends all subscriptions and delivers nothing more.
 */
#include "base/timers.h"
#include "core/messaging.h"

/* `max_payload` 0: 1 MiB. NULL: no memory. */
struct mst_messaging *mst_messaging_memory_create(struct mst_timers *timers, size_t max_payload);
