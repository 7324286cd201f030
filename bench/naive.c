// SPDX-License-Identifier: Apache-2.0
/*
 * What fan-out is usually written like first, and what the prototype of this project did: for each target publish, then
 * flush. Against it a muster multicast to the same targets. Nobody subscribes. ms for one multicast.
 */
#include <nats/nats.h>
#include <stdio.h>

#include "bench.h"
#include "support/servers.h"
#include "wire.h"

static struct test_server nats;
static struct mst_host *host;
static natsConnection *connection;

struct fan {
    char namespace_[24];
    uint64_t targets;
};

static double with_flushes(void *context)
{
    struct fan *fan = context;
    char subject[128];
    uint64_t before = bench_now();
    for (uint64_t i = 1; i <= fan->targets; i++) {
        snprintf(subject, sizeof subject, "muster.%s.to.loadtest-user-%llu", fan->namespace_, (unsigned long long)i);
        natsStatus status = natsConnection_PublishString(connection, subject, WIRE_PAYLOAD);
        if (status == NATS_OK)
            status = natsConnection_Flush(connection);
        if (status != NATS_OK)
            bench_die("publish: %s", natsStatus_GetText(status));
    }
    return (double)(bench_now() - before) / 1e6;
}

static double with_muster(void *context)
{
    struct fan *fan = context;
    uint64_t before = bench_now();
    bench_call(host, "multicast", fan->namespace_,
               "{\"filter\":\"status == \\\"online\\\"\",\"ack\":\"none\",\"payload\":" WIRE_PAYLOAD "}");
    return (double)(bench_now() - before) / 1e6;
}

int main(int argc, char **argv)
{
    static const uint64_t sizes[] = {10, 100, 1000, 3000};
    char url[64];
    bench_begin(argc, argv, "naive",
                "publish and flush for each target, against a muster multicast to the same targets");
    if (!test_nats_start(&nats, NULL))
        bench_die("cannot start nats-server");
    snprintf(url, sizeof url, "nats://%s", nats.address);
    if (natsConnection_ConnectTo(&connection, url) != NATS_OK)
        bench_die("cannot connect to nats-server");
    host = bench_host(0, nats.port);
    for (unsigned i = 0; i < (bench_quick ? 3u : 4u); i++) {
        struct fan fan = {.targets = sizes[i]};
        snprintf(fan.namespace_, sizeof fan.namespace_, "naive-%llu", (unsigned long long)sizes[i]);
        bench_register(host, fan.namespace_, fan.targets, 0);
        bench_run(&(struct bench_case){"flush per target", fan.targets, "ms", "muster", bench_quick ? 7 : 21,
                                       with_flushes, with_muster, &fan});
    }
    mst_host_free(host);
    natsConnection_Destroy(connection);
    nats_Close();
    test_server_stop(&nats);
    return 0;
}
