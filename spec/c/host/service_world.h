// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A host that serves, on the memory slots or on a NATS server of the test program. */
#include <nats/nats.h>

#include "host/service.h"
#include "host_world.h"
#include "support/servers.h"

static struct mst_host *host;
static struct test_server server;
static char url[64];

static inline void serve(struct mst_host *at)
{
    struct mst_error error;
    if (mst_service_create(&at->service, at, &error))
        fail_msg("%s", error.message);
}

static inline int start_memory(void **state)
{
    (void)state;
    host = host_start(NULL);
    serve(host);
    return 0;
}

static inline int start_nats(void **state)
{
    (void)state;
    struct mst_host_options options = {.nats_servers = url};
    host = host_start(&options);
    serve(host);
    return 0;
}

static inline int stop(void **state)
{
    (void)state;
    host_end(host);
    host = NULL;
    return 0;
}

static inline int start_server(void **state)
{
    (void)state;
    if (!test_nats_start(&server, NULL))
        return 1;
    snprintf(url, sizeof url, "nats://%s", server.address);
    return 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    test_server_stop(&server);
    nats_Close();
    return 0;
}

#define MEMORY(name) cmocka_unit_test_setup_teardown(name, start_memory, stop)
#define NATS(name) cmocka_unit_test_setup_teardown(name, start_nats, stop)
