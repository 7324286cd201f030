// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What fanout and naive share: PUB lines on a bare socket, and processes that subscribe. */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_PAYLOAD "{\"type\":\"loadtest\",\"timestamp\":1760011200}"

/* Writes one PUB line and payload for each target, then PING, and waits for PONG: what no client can beat. ns. */
uint64_t wire_publish(int socket, const char *namespace_, uint64_t targets);

/* A connection that has said CONNECT. */
int wire_connect(int nats_port);

/* A process that subscribes to each identity (or gateway) of a namespace on its own subject and counts. */
struct wire_receiver {
    pid_t pid;
    int stop;
    _Atomic uint64_t *received; /* messages */
};

/* To be started before this process has threads. */
void wire_receive(struct wire_receiver *receiver, int nats_port, const char *namespace_, uint64_t targets,
                  unsigned gateways);
/* Waits until as many messages have come since the last call; ends the program where they do not. */
void wire_settle(struct wire_receiver *receiver, uint64_t more);
void wire_end(struct wire_receiver *receiver);
