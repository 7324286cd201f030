// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The coordinator: the verbs. One entry takes a verb, a namespace and a JSON body and answers with JSON, the same on
 * every way in (socket, NATS, Lua, C). It owns the namespaces and their views, the filter cache and the fan-out;
 * registry, messaging and compiler are slots given to it. One thread (the loop's).
 *
 * Verbs here: register heartbeat get enumerate count multicast unregister explain, and drop (deletes a namespace;
 * only for callers in the process). Bodies and answers are those of csrc/README.md, section "Verbs".
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/timers.h"
#include "core/compiler.h"
#include "core/fanout.h"
#include "core/messaging.h"
#include "core/registry.h"
#include "view/view.h"

struct mst_coordinator;

struct mst_coordinator_options {
    struct mst_timers *timers;
    struct mst_log *log;
    struct mst_compiler compiler;
    const char *prefix;         /* of subjects; "muster" */
    uint32_t max_identities;    /* per namespace; 0: 1,000,000 */
    uint32_t max_in_flight;     /* requests per namespace; 0: 1,000 */
    uint32_t max_request_bytes; /* 0: 1 MiB */
    uint32_t max_namespaces;    /* 0: 10,000 */
    uint64_t request_timeout;   /* of everything but multicast, ns; 0: 5 s */
};

/*
 * NULL: no memory. The slots come after it, because the memory registry needs mst_coordinator_view; both belong to the
 * caller, who closes them after the coordinator has drained.
 */
struct mst_coordinator *mst_coordinator_create(const struct mst_coordinator_options *options);
void mst_coordinator_set_slots(struct mst_coordinator *coordinator, struct mst_registry *registry,
                               struct mst_messaging *messaging);

/*
 * Loads every namespace the registry knows; `ready` once, from the loop. Calls are queued until then (at most
 * max_in_flight, each until request_timeout). If the names cannot be had, the start may be tried again; if some
 * namespace cannot be loaded, `ready` gets the first such error, the others serve, and that one is tried again when it
 * is asked for, once a second at most. A namespace that another instance makes later is found when it is asked for
 * here.
 */
void mst_coordinator_start(struct mst_coordinator *coordinator,
                           void (*ready)(void *context, int status, const struct mst_error *error), void *context);

/*
 * One call. `body` is borrowed for the call only. `done` is called once, from the loop, never from inside this call:
 * status 0 and the answer's JSON, or a code and the JSON of an error object; `json` is borrowed for the callback.
 */
typedef void mst_answer(void *context, int status, const char *json, size_t length);
void mst_coordinator_call(struct mst_coordinator *coordinator, const char *verb, const char *namespace_,
                          const char *body, size_t length, mst_answer *done, void *context);

/* True for a verb that callers outside the process may use. */
bool mst_coordinator_is_public(const char *verb);

/* Refuses new calls (MST_ECLOSED) and calls `drained` once none is under way; multicasts get at most `grace` ns. */
void mst_coordinator_drain(struct mst_coordinator *coordinator, uint64_t grace, void (*drained)(void *context),
                           void *context);

/* Drained, and registry and messaging closed: until then they may call in here. */
void mst_coordinator_destroy(struct mst_coordinator *coordinator);

/* The view of a namespace, created if it is not there; NULL: no memory. For the memory registry. */
struct mst_view *mst_coordinator_view(void *coordinator, const char *namespace_);

/* Forgets every compiled filter, after the compiler has come to give others for the same text. */
void mst_coordinator_forget_filters(struct mst_coordinator *coordinator);

struct mst_coordinator_stats {
    uint64_t calls, errors;
    uint64_t filter_hits, filter_misses, filter_evictions; /* of compiled filters, by their text */
    uint64_t filter_bytes;                                 /* that they take, near enough */
    uint32_t filters;                                      /* how many are kept */
    uint32_t in_flight, namespaces, identities;
};
void mst_coordinator_stats(const struct mst_coordinator *coordinator, struct mst_coordinator_stats *stats);
const struct mst_fanout_stats *mst_coordinator_fanout_stats(const struct mst_coordinator *coordinator);

/*
 * Shows every multicast when it is done, just before its call is answered; receipts and counts may be read during the
 * call of `observe` (NULL: no more). `call` is the context that mst_coordinator_call was given. For the load tester,
 * which has to know every single target.
 */
void mst_coordinator_observe(struct mst_coordinator *coordinator,
                             void (*observe)(void *context, void *call, const struct mst_multicast *multicast),
                             void *context);
