// SPDX-License-Identifier: Apache-2.0
/*
 * One multicast to n targets over a real nats-server: the whole way through the coordinator (JSON in, filter, fan-out,
 * fence or acknowledgements, JSON out), against a bare socket that writes the same PUB lines and waits for PING's PONG.
 * Values are ms until the multicast is answered. "nobody": no subscriber. "subscribed": a process subscribes to each
 * target on its own subject, for the reference, too, and every message is counted there. "by gateway": the targets sit
 * behind 16 gateways, so that 16 messages or so carry them all; the reference still writes one message for each target,
 * with nobody subscribed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"
#include "support/servers.h"
#include "wire.h"

#define GATEWAYS 16u
#define SIZES 5u

static struct test_server nats;
static struct mst_host *host;
static int bare;

struct fan {
    char namespace_[24];
    uint64_t targets;
    unsigned gateways;
    const char *ack;
    bool subscribed;
    uint64_t messages; /* of one multicast */
    struct wire_receiver receiver;
};

static double with_muster(void *context)
{
    struct fan *fan = context;
    char body[200];
    snprintf(body, sizeof body,
             "{\"filter\":\"status == \\\"online\\\"\",\"expect\":%llu,\"ack\":\"%s\",\"payload\":%s}",
             (unsigned long long)fan->targets, fan->ack, WIRE_PAYLOAD);
    uint64_t before = bench_now();
    bench_call(host, "multicast", fan->namespace_, body);
    uint64_t ns = bench_now() - before;
    if (fan->subscribed)
        wire_settle(&fan->receiver, fan->messages);
    return (double)ns / 1e6;
}

static double with_socket(void *context)
{
    struct fan *fan = context;
    uint64_t ns = wire_publish(bare, fan->namespace_, fan->targets);
    if (fan->subscribed && !fan->gateways)
        wire_settle(&fan->receiver, fan->targets);
    return (double)ns / 1e6;
}

/* Envelopes hold 1,000 ids at most. */
static uint64_t messages_of(const struct fan *fan)
{
    uint64_t messages = 0;
    for (unsigned i = 0; i < fan->gateways; i++) {
        uint64_t members = fan->targets / fan->gateways + (i < fan->targets % fan->gateways);
        messages += (members + 999) / 1000;
    }
    return fan->gateways ? messages : fan->targets;
}

static void prepare(struct fan *fan, const char *kind, uint64_t targets)
{
    snprintf(fan->namespace_, sizeof fan->namespace_, "%s-%llu", kind, (unsigned long long)targets);
    fan->targets = targets;
    fan->messages = messages_of(fan);
    if (fan->subscribed)
        wire_receive(&fan->receiver, nats.port, fan->namespace_, targets, fan->gateways);
}

int main(int argc, char **argv)
{
    static const uint64_t sizes[SIZES] = {10, 100, 1000, 3000, 10000};
    static const struct {
        const char *name, *kind, *ack;
        bool subscribed;
        unsigned gateways;
    } kinds[] = {
        {"nobody, fenced", "nobody", "none", false, 0},
        {"subscribed, fenced", "each", "none", true, 0},
        {"subscribed, acknowledged", "acked", "received", true, 0},
        {"by gateway, acknowledged", "gates", "received", true, GATEWAYS},
    };
    enum { KINDS = sizeof kinds / sizeof *kinds };
    static struct fan fans[KINDS][SIZES];
    unsigned count;
    bench_begin(argc, argv, "fanout", "multicasts, against a bare socket that writes the same PUB lines and PING");
    count = bench_quick ? 3 : SIZES;
    if (!test_nats_start(&nats, NULL))
        bench_die("cannot start nats-server");
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned i = 0; i < count; i++) {
            fans[k][i].ack = kinds[k].ack;
            fans[k][i].subscribed = kinds[k].subscribed;
            fans[k][i].gateways = kinds[k].gateways;
            prepare(&fans[k][i], kinds[k].kind, sizes[i]);
        }
    host = bench_host(0, nats.port);
    bare = wire_connect(nats.port);
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned i = 0; i < count; i++) {
            struct fan *fan = &fans[k][i];
            bench_register(host, fan->namespace_, fan->targets, fan->gateways);
            bench_run(&(struct bench_case){kinds[k].name, fan->targets, "ms", "bare socket", bench_quick ? 15 : 51,
                                           with_muster, with_socket, fan});
        }
    mst_host_free(host);
    close(bare);
    for (unsigned k = 0; k < KINDS; k++)
        for (unsigned i = 0; i < count; i++)
            wire_end(&fans[k][i].receiver);
    test_server_stop(&nats);
    return 0;
}
