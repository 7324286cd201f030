// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What service.c (requests) and service_info.c (discovery and statistics) share. */
#include "host/host.h"
#include "host/service.h"

#define MST__SERVICE_ID 22u
#define MST__SERVICE_VERBS 16u
#define MST__SERVICE_DISCOVERY 9u /* PING, INFO, STATS: of all, of this name, of this instance */
#define MST__SERVICE_NAME "muster"
#define MST__SERVICE_QUEUE "q"

struct mst__service_endpoint {
    const char *verb;
    uint64_t requests, errors, processing; /* processing: ns */
    char last_error[200];
};

struct mst_service {
    struct mst_host *host;
    char id[MST__SERVICE_ID + 1];
    int64_t started; /* Unix ms */
    struct mst__service_endpoint endpoints[MST__SERVICE_VERBS];
    unsigned endpoint_count;
    struct mst_listener requests;
    struct mst_listener discovery[MST__SERVICE_DISCOVERY];
    unsigned discovery_count;
    size_t prefix_length;
    unsigned under_way;
    bool listening, destroyed;
};

/* Subscribes to what is asked on $SRV. */
int mst__service_discovery_start(struct mst_service *service, struct mst_error *error);
void mst__service_discovery_stop(struct mst_service *service);
