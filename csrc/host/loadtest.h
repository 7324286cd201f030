// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The load tester: an open-model generator with the coordinator in its own process and receivers that count in
 * processes of their own.
 */
#include "base/buffer.h"
#include "base/error.h"

/*
 * Runs a whole load test as `options` says (JSON text; its members are explained in lua/muster/cli/loadtest.lua),
 * prints progress on standard error and, without "json", the report on standard output, and appends the report object
 * to `report`. SIGINT and SIGTERM: the first ends the sending, the second leaves at once. Returns 0, or MST_E* where
 * the run did not begin. To be called before this process has other threads (it forks the receivers).
 *
 * `*exit_code`: 130 or 143 for a signal; else 99 where a threshold failed; else, unless a threshold for `error_rate`
 * was given, 4 where operations were cut off from Redis or NATS, 5 where some got no answer in time, 1 where all
 * failed; else 4, 5 or 1 where the namespace could not be removed from Redis; else 0. What went wrong is on standard
 * error. Redis itself removes the namespace of a run that was killed, ten minutes later.
 *
 * What is not in the options: identities `loadtest-user-N`; metadata {"status":"online","loadtest":true,"timestamp":S,
 * "worker_id":N%100}; without "payload" multicasts carry {"type":"loadtest","timestamp":S,"n":K}. Same seed: same
 * kinds, ids and metadata in the same order, but for S, the time in seconds. Without "ack" it is "none": a multicast is
 * answered when the server has routed it, and the receivers count what came; with "received" the answers of up to 3,000
 * receivers take longer than the messages.
 */
int mst_loadtest_run(const char *options, size_t length, struct mst_buffer *report, int *exit_code,
                     struct mst_error *error);

/*
 * Lists the namespaces that load tests have in Redis, running ones as well, and removes those that "remove" (an array
 * of names) of `options` lists; of its other members only "redis" is read. Appends to `answer`
 * {"namespaces":[{"namespace","identities","keys","ends_in_ms" (null: never)}],"removed_keys":N}. MST_E*.
 */
int mst_loadtest_clean(const char *options, size_t length, struct mst_buffer *answer, struct mst_error *error);
