// SPDX-License-Identifier: Apache-2.0
/*
 * Registrations through a whole coordinator into Redis, against SET of the same bytes on a bare connection, with as
 * many requests under way at a time. Each waits for its answer, as a client would. The redis-server is started here,
 * with append-only file (everysec) as in production.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "support/servers.h"

static struct test_server redis;
static struct mst_host *host;
static int bare;

struct round {
    unsigned in_flight, count, batch; /* batch: registrations of one request */
    uint64_t number;                  /* identities given out */
    /* of the round at hand */
    unsigned sent, answered;
};

static void put_request(struct round *round, struct mst_buffer *body)
{
    mst_buffer_clear(body);
    if (round->batch > 1)
        mst_buffer_append_byte(body, '[');
    for (unsigned i = 0; i < round->batch; i++) {
        if (i)
            mst_buffer_append_byte(body, ',');
        bench_put_registration(body, ++round->number, 0);
    }
    if (round->batch > 1)
        mst_buffer_append_byte(body, ']');
}

static void send_one(struct round *round);

static void on_answer(void *context, int status, const char *json, size_t length)
{
    struct round *round = context;
    if (status)
        bench_die("register: %.*s", (int)length, json);
    round->answered++;
    if (round->sent < round->count)
        send_one(round);
    else if (round->answered == round->count)
        mst_host_stop(host);
}

static void send_one(struct round *round)
{
    static struct mst_buffer body;
    put_request(round, &body);
    round->sent++;
    mst_host_call(host, "register", "bench", body.data, body.length, on_answer, round);
}

/* us for one registration */
static double with_muster(void *context)
{
    struct round *round = context;
    uint64_t before = bench_now();
    round->sent = round->answered = 0;
    while (round->sent < round->count && round->sent < round->in_flight)
        send_one(round);
    mst_host_run(host);
    return (double)(bench_now() - before) / 1e3 / round->count / round->batch;
}

static void put_set(struct round *round, struct mst_buffer *out)
{
    static struct mst_buffer body;
    char key[64];
    for (unsigned i = 0; i < round->batch; i++) {
        mst_buffer_clear(&body);
        int length = snprintf(key, sizeof key, "bare:loadtest-user-%llu", (unsigned long long)++round->number);
        bench_put_registration(&body, round->number, 0);
        mst_buffer_appendf(out, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n", length, key, body.length);
        mst_buffer_append(out, body.data, body.length);
        mst_buffer_append(out, "\r\n", 2);
    }
}

/* Reads "+OK\r\n" replies; how many came. */
static unsigned read_replies(void)
{
    static size_t rest;
    char bytes[65536];
    ssize_t count = read(bare, bytes, sizeof bytes);
    if (count <= 0 || bytes[0] == '-')
        bench_die("SET failed");
    rest += (size_t)count;
    unsigned whole = (unsigned)(rest / 5);
    rest %= 5;
    return whole;
}

static double with_set(void *context)
{
    static struct mst_buffer out;
    struct round *round = context;
    unsigned total = round->count * round->batch, window = round->in_flight * round->batch, sent = 0, answered = 0;
    uint64_t before = bench_now();
    while (answered < total) {
        mst_buffer_clear(&out);
        while (sent < total && sent - answered < window) {
            put_set(round, &out);
            sent += round->batch;
        }
        bench_write(bare, out.data, out.length);
        answered += read_replies();
    }
    return (double)(bench_now() - before) / 1e3 / total;
}

int main(int argc, char **argv)
{
    static const char *const options[] = {"--appendonly", "yes", NULL};
    bench_begin(argc, argv, "register", "registrations, against SET of the same bytes with as many requests under way");
    if (!test_redis_start(&redis, options))
        bench_die("cannot start redis-server");
    host = bench_host(redis.port, 0);
    bare = bench_connect(redis.port);
    struct {
        const char *name;
        struct round round;
    } cases[] = {
        {"1 at a time", {.in_flight = 1, .batch = 1, .count = bench_quick ? 200 : 1000}},
        {"16 under way", {.in_flight = 16, .batch = 1, .count = bench_quick ? 1000 : 5000}},
        {"256 under way", {.in_flight = 256, .batch = 1, .count = bench_quick ? 2000 : 10000}},
        {"batches of 1,000, 2 under way", {.in_flight = 2, .batch = 1000, .count = bench_quick ? 4 : 10}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct round *round = &cases[i].round;
        bench_run(&(struct bench_case){cases[i].name, (uint64_t)round->count * round->batch, "us", "SET",
                                       bench_quick ? 5 : 15, with_muster, with_set, round});
        bench_call(host, "drop", "bench", "{}");
    }
    mst_host_free(host);
    close(bare);
    test_server_stop(&redis);
    return 0;
}
