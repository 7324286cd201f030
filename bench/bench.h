// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the benchmarks share: options, measuring two ways in turn, printing.
 *
 * Every figure stands beside a reference that was measured in the same process, round by round in turn with it, so that
 * what else the machine does falls on both. The figures are medians over the rounds; the ratio is theirs. Spread: 10th
 * to 90th percentile of the rounds.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "include/muster.h"
#include "model/json.h"

extern bool bench_quick; /* --quick: fewer rounds, smaller cases */

/* Reads --quick and --json; ends the program for anything else. `name` is that of the program. */
void bench_begin(int argc, char **argv, const char *name, const char *about);

/* One line on standard error, then the end. */
noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One case: `value` of a round is what `ours` and `theirs` return, in `unit`. */
struct bench_case {
    const char *name;
    uint64_t n;
    const char *unit;
    const char *reference; /* what the other way is */
    unsigned rounds;
    double (*ours)(void *context), (*theirs)(void *context); /* theirs NULL: no reference */
    void *context;
};
void bench_run(const struct bench_case *measured);

uint64_t bench_now(void); /* monotonic ns */

/* A host in this process, ready; ends the program where it cannot be. */
struct mst_host *bench_host(int redis_port, int nats_port);
/* Calls a verb and waits; ends the program if it fails. */
void bench_call(struct mst_host *host, const char *verb, const char *namespace_, const char *body);
/* Registers loadtest-user-1 .. count; `gateways` 0: none. */
void bench_register(struct mst_host *host, const char *namespace_, uint64_t count, unsigned gateways);

/* Appends the body of one registration. */
void bench_put_registration(struct mst_buffer *body, uint64_t number, unsigned gateways);

/* A blocking TCP connection to a port of this machine. */
int bench_connect(int port);
void bench_write(int socket, const char *bytes, size_t length);
