// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The inside of a host: who owns what. Public functions are in include/muster.h; these are for the rest of this layer.
 *
 * Shutdown, in order: refuse calls and drain the coordinator, close the doors (socket server, service), close messaging
 * and registry, run the loop until their handles are gone, then free the coordinator, the compiler, the loop.
 */
#include "base/log.h"
#include "core/coordinator.h"
#include "include/muster.h"
#include "io/loop.h"
#include "script/compiler.h"

struct mst_control_server;
struct mst_service;

struct mst_host {
    struct mst_loop loop;
    struct mst_log *log;
    struct mst_json_parser *parser;
    struct mst_script_compiler *compiler;
    struct mst_coordinator *coordinator;
    struct mst_registry *registry;
    struct mst_messaging *messaging;
    struct mst_control_server *control; /* NULL: no socket */
    struct mst_service *service;        /* NULL: no NATS service */
    struct mst_receiver *receivers;     /* open ones; closed with the host */
    char *prefix;
    bool stop;

    mst_answer_cb *ready;
    void *ready_context;
    struct mst_timer ready_timer;
    int ready_status;
    struct mst_error ready_error;

    void (*closed)(void *context);
    void *closed_context;
    bool closing;
    bool finished;          /* everything but the loop is closed */
    unsigned closing_slots; /* slots whose closing is awaited */
    struct mst_timer closed_timer;
};

/*
 * Appends the subject of an identity (`kind` "to") or a gateway ("via"), NUL-terminated. MST_EID, MST_ENAMESPACE,
 * MST_EINVAL.
 */
int mst__host_subject(const struct mst_host *host, struct mst_buffer *subject, const char *namespace_, const char *name,
                      size_t length, bool gateway, struct mst_error *error);

/* Runs the host's loop until `*stop`. */
void mst__host_run_until(struct mst_host *host, const bool *stop);
