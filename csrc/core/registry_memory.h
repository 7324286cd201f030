// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The memory registry: nothing outside the process, the same promises as Redis but for surviving it. It keeps no copy
 * of its own: the views of the coordinator are its store, found through `view_of`; nobody else changes them but by
 * expiry.
 *
 * Operations are carried out in the order of the calls, on the next turn of the loop, each right before its `done`:
 * until then nothing of them can be seen. The revision of a namespace grows by one with every change and goes on after
 * a drop. The snapshot of `follow` is empty (the view holds everything already) and its feed is silent.
 */
#include "base/timers.h"
#include "core/registry.h"
#include "view/view.h"

/* `view_of` gives the view of a namespace (created if need be; NULL: no memory). NULL: no memory. */
struct mst_registry *mst_registry_memory_create(struct mst_timers *timers,
                                                struct mst_view *(*view_of)(void *context, const char *namespace_),
                                                void *context);
