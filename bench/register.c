// SPDX-License-Identifier: Apache-2.0
/*
 * Registrations through a whole coordinator into Redis, against SET of the same bytes on a bare connection, with as
 * many requests under way at a time. Each waits for its answer, as a client would. The redis-server is started here,
 * with append-only file (everysec) as in production.
 *
 * Then what of it is the view's, by itself: a million identities of five fields and 96 bytes of metadata, on one
 * thread; heartbeats and removals in random order. Beside them the same SETs, 256 under way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "support/servers.h"
#include "view/view.h"

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

/* -------------------------------------------------------------------------------------------- the view alone */

#define POOL 65536u /* documents; the identities take them in turn */
#define METADATA 96u
#define GROUP 64u

struct alone {
    struct mst_json_parser *parser;
    struct mst_view *view;
    uint32_t count;
    bool full;       /* all identities are registered; else none */
    uint32_t *order; /* the numbers of all identities, shuffled */
    char (*metadata)[METADATA + 1];
    struct mst_buffer documents;
    size_t *document; /* where each begins */
    uint32_t shift;   /* which document an identity takes */
    uint64_t revision, seed;
    struct round *set;
};

static uint32_t dice(struct alone *alone, uint32_t sides)
{
    alone->seed = alone->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(alone->seed >> 33) % sides;
}

static void make_pool(struct alone *alone)
{
    struct mst_json_limits limits = {.bytes = METADATA, .depth = 2};
    alone->metadata = calloc(POOL, sizeof *alone->metadata);
    alone->document = calloc(POOL, sizeof *alone->document);
    alone->order = calloc(alone->count, sizeof *alone->order);
    if (!alone->parser || !alone->metadata || !alone->document || !alone->order)
        bench_die("out of memory");
    for (uint32_t i = 0; i < POOL; i++) {
        snprintf(alone->metadata[i], sizeof *alone->metadata,
                 "{\"region\":\"%u\",\"device_type\":\"%u\",\"firmware_version\":\"%u\",\"battery_level\":%u.%u,"
                 "\"last_seen\":%u}",
                 dice(alone, 10), dice(alone, 3), 10 + dice(alone, 50), 10 + dice(alone, 90), dice(alone, 10),
                 100000 + dice(alone, 900000));
        alone->document[i] = alone->documents.length;
        if (mst_json_parse(alone->parser, alone->metadata[i], METADATA, &limits, &alone->documents, NULL))
            bench_die("bad metadata");
    }
    for (uint32_t i = 0; i < alone->count; i++) {
        uint32_t other = dice(alone, i + 1);
        alone->order[i] = alone->order[other];
        alone->order[other] = i;
    }
}

static void begin_empty(struct alone *alone)
{
    if (alone->view)
        mst_view_destroy(alone->view);
    alone->view = mst_view_create("bench", alone->parser);
    alone->full = false;
    alone->shift++;
}

static struct mst_span id_of(char *text, uint32_t number)
{
    memcpy(text, "device-", 7);
    for (unsigned i = 14; i-- > 7; number /= 10)
        text[i] = (char)('0' + number % 10);
    return (struct mst_span){text, 14};
}

static uint32_t fill_group(struct alone *alone, uint32_t from, bool shuffled, struct mst_identity *identities,
                           const uint8_t **documents, char (*ids)[16])
{
    uint32_t count = alone->count - from < GROUP ? alone->count - from : GROUP;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = shuffled ? alone->order[from + i] : from + i, text = (from + i + alone->shift) % POOL;
        identities[i] = (struct mst_identity){.id = id_of(ids[i], number),
                                              .metadata = {alone->metadata[text], METADATA},
                                              .expires_at = INT64_C(1800000000000) + from / 8,
                                              .lease_ms = 300000,
                                              .revision = ++alone->revision};
        documents[i] = (const uint8_t *)alone->documents.data + alone->document[text];
    }
    return count;
}

/* us for each of all identities; the texts are parsed here where `text` */
static double put_all(struct alone *alone, bool text, bool shuffled)
{
    struct mst_identity identities[GROUP];
    const uint8_t *documents[GROUP];
    char ids[GROUP][16];
    uint64_t spent = 0;
    for (uint32_t i = 0; i < alone->count; i += GROUP) {
        uint32_t count = fill_group(alone, i, shuffled, identities, documents, ids);
        uint64_t before = bench_now();
        if (mst_view_put_many(alone->view, identities, text ? NULL : documents, count, NULL))
            bench_die("put failed");
        spent += bench_now() - before;
    }
    alone->full = true;
    return (double)spent / 1e3 / alone->count;
}

static double register_parsed(void *context)
{
    begin_empty(context);
    return put_all(context, false, false);
}

static double register_text(void *context)
{
    begin_empty(context);
    return put_all(context, true, false);
}

static void make_full(struct alone *alone)
{
    if (!alone->full)
        register_parsed(alone);
}

static double register_anew(void *context)
{
    struct alone *alone = context;
    make_full(alone);
    alone->shift++;
    return put_all(alone, false, true);
}

static double heartbeats(void *context)
{
    struct alone *alone = context;
    struct mst_view_touch touches[GROUP];
    char ids[GROUP][16];
    uint64_t spent = 0;
    make_full(alone);
    for (uint32_t i = 0; i < alone->count; i += GROUP) {
        uint32_t count = alone->count - i < GROUP ? alone->count - i : GROUP;
        for (uint32_t k = 0; k < count; k++)
            touches[k] = (struct mst_view_touch){id_of(ids[k], alone->order[i + k]), INT64_C(1800000300000) + i / 8,
                                                 300000, ++alone->revision};
        uint64_t before = bench_now();
        if (mst_view_touch_many(alone->view, touches, count, NULL))
            bench_die("touch failed");
        spent += bench_now() - before;
    }
    return (double)spent / 1e3 / alone->count;
}

static double removals(void *context)
{
    struct alone *alone = context;
    struct mst_span spans[GROUP];
    char ids[GROUP][16];
    uint64_t spent = 0;
    make_full(alone);
    for (uint32_t i = 0; i < alone->count; i += GROUP) {
        uint32_t count = alone->count - i < GROUP ? alone->count - i : GROUP;
        for (uint32_t k = 0; k < count; k++)
            spans[k] = id_of(ids[k], alone->order[i + k]);
        uint64_t before = bench_now();
        if (mst_view_remove_many(alone->view, spans, count, ++alone->revision, NULL))
            bench_die("remove failed");
        spent += bench_now() - before;
    }
    alone->full = false;
    return (double)spent / 1e3 / alone->count;
}

/* us for the longest of all puts, one by one into an empty view */
static double longest(void *context)
{
    struct alone *alone = context;
    struct mst_identity identities[GROUP];
    const uint8_t *documents[GROUP];
    char ids[GROUP][16];
    uint64_t most = 0;
    begin_empty(alone);
    for (uint32_t i = 0; i < alone->count; i += GROUP) {
        uint32_t count = fill_group(alone, i, false, identities, documents, ids);
        for (uint32_t k = 0; k < count; k++) {
            uint64_t before = bench_now();
            if (mst_view_put(alone->view, &identities[k], documents[k], NULL))
                bench_die("put failed");
            uint64_t spent = bench_now() - before;
            most = spent > most ? spent : most;
        }
    }
    alone->full = true;
    return (double)most / 1e3;
}

static double bytes_each(void *context)
{
    struct alone *alone = context;
    make_full(alone);
    return (double)mst_view_bytes(alone->view) / alone->count;
}

static double set_alone(void *context)
{
    return with_set(((struct alone *)context)->set);
}

static void run_alone(struct round *set)
{
    struct alone alone = {.count = bench_quick ? 100000 : 1000000, .seed = 1, .set = set};
    static const struct {
        const char *name, *unit;
        double (*ours)(void *context);
        bool beside;
    } cases[] = {
        {"view: registered, parsed", "us", register_parsed, true},
        {"view: registered from text", "us", register_text, true},
        {"view: registered anew, parsed", "us", register_anew, true},
        {"view: heartbeats", "us", heartbeats, true},
        {"view: removed", "us", removals, true},
        {"view: longest registration", "us", longest, false},
        {"view: memory per identity", "bytes", bytes_each, false},
    };
    alone.parser = mst_json_parser_create();
    make_pool(&alone);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        bench_run(&(struct bench_case){cases[i].name, alone.count, cases[i].unit, "SET", 5, cases[i].ours,
                                       cases[i].beside ? set_alone : NULL, &alone});
    mst_view_destroy(alone.view);
    mst_json_parser_destroy(alone.parser);
    mst_buffer_deinit(&alone.documents);
    free(alone.metadata);
    free(alone.document);
    free(alone.order);
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
    run_alone(&cases[2].round);
    mst_host_free(host);
    close(bare);
    test_server_stop(&redis);
    return 0;
}
