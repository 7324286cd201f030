// SPDX-License-Identifier: Apache-2.0
/*
 * Finding the identities that match. Eight kinds of filter over device records, against what the machine can do at
 * best (reading as many bytes, touching as many cache lines), against a C loop over an array of structs with the same
 * predicate written out by hand, and against SQLite in memory; with each set of vector instructions there is. Every
 * answer is checked against the loop's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "bench.h"
#include "match/kernel.h"
#include "match/match.h"
#include "script/compiler.h"
#include "sqlite.h"
#include "view/view.h"

#define NOW INT64_C(1760011200000)
#define MINUTE INT64_C(60000)
#define AHEAD 24u /* rows between asking for a head and reading it */

/* What a program written for this one purpose would keep. */
struct record {
    char id[24], region[8], device[12], firmware[12], site[12], serial[16];
    int64_t last_seen;
    double battery;
    int maintenance; /* -1: none */
};

static struct record *records;
static uint64_t *marks;
static uint8_t *lines; /* 64 bytes per identity, as the view's heads */
static uint8_t *bytes; /* three per identity */
static uint32_t count;
static struct mst_view *view;
static struct mst_rowset set;
static uint32_t *rows;
static struct mst_buffer out;
static struct bench_sqlite *rival;
static struct mst_compiler compiler;
static int64_t now = NOW;
static int64_t clock_step; /* between requests; more than a minute: nothing is asked for often */

struct query {
    const char *name, *filter, *sql;
    bool (*test)(const struct record *record);
    struct mst_program *program;
    uint32_t expected;
};

/* ------------------------------------------------------------------------------------------------ predicates */

static bool is_region(const struct record *r)
{
    return strcmp(r->region, "r3") == 0;
}

static bool is_three(const struct record *r)
{
    return strcmp(r->region, "r3") == 0 && strcmp(r->device, "sensor") == 0 && r->battery < 0.2;
}

static bool is_site(const struct record *r)
{
    return strncmp(r->site, "site-100", 8) == 0 || strncmp(r->site, "site-101", 8) == 0;
}

static bool is_firmware(const struct record *r)
{
    return strncmp(r->firmware, "1.3", 3) == 0;
}

static bool is_serial(const struct record *r)
{
    return strncmp(r->serial, "SN3", 3) == 0;
}

static bool is_either(const struct record *r)
{
    return (strcmp(r->region, "r1") == 0 || r->battery < 0.05) && strcmp(r->device, "sensor") != 0;
}

static bool has_maintenance(const struct record *r)
{
    return r->maintenance >= 0;
}

static bool is_low(const struct record *r)
{
    return r->battery < 0.1;
}

#define SITES                                                                              \
    "'site-1000','site-1001','site-1002','site-1003','site-1004','site-1005','site-1006'," \
    "'site-1007','site-1008','site-1009','site-1010','site-1011','site-1012','site-1013'," \
    "'site-1014','site-1015','site-1016','site-1017','site-1018','site-1019'"

static struct query queries[] = {
    {.name = "Q1 one equality", .filter = "region == \"r3\"", .sql = "region = 'r3'", .test = is_region},
    {.name = "Q2 three clauses",
     .filter = "region == \"r3\" and device_type == \"sensor\" and battery_level < 0.2",
     .sql = "region = 'r3' AND device_type = 'sensor' AND battery_level < 0.2",
     .test = is_three},
    {.name = "Q3 in a list of 20", .filter = "site in [" SITES "]", .sql = "site IN (" SITES ")", .test = is_site},
    {.name = "Q4 prefix",
     .filter = "firmware_version startswith \"1.3\"",
     .sql = "firmware_version GLOB '1.3*'",
     .test = is_firmware},
    {.name = "Q4b prefix, all values differ",
     .filter = "serial startswith \"SN3\"",
     .sql = "serial GLOB 'SN3*'",
     .test = is_serial},
    {.name = "Q5 or, not",
     .filter = "(region == \"r1\" or battery_level < 0.05) and not device_type == \"sensor\"",
     .sql = "(region = 'r1' OR battery_level < 0.05) AND NOT device_type = 'sensor'",
     .test = is_either},
    {.name = "Q6 exists", .filter = "exists(maintenance)", .sql = "maintenance IS NOT NULL", .test = has_maintenance},
    {.name = "Q7 number <", .filter = "battery_level < 0.1", .sql = "battery_level < 0.1", .test = is_low},
};
#define QUERIES (sizeof queries / sizeof *queries)

/* ------------------------------------------------------------------------------------------------ data */

static uint64_t draw(void)
{
    static uint64_t state = 42;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state >> 33;
}

static void make_record(struct record *record, uint32_t number)
{
    static const char *const devices[] = {"sensor", "gateway", "camera"};
    snprintf(record->id, sizeof record->id, "device-%07u", number);
    snprintf(record->region, sizeof record->region, "r%u", (unsigned)(draw() % 10));
    snprintf(record->device, sizeof record->device, "%s", devices[draw() % 3]);
    snprintf(record->firmware, sizeof record->firmware, "1.%u.%u", (unsigned)(draw() % 10), (unsigned)(draw() % 5));
    snprintf(record->site, sizeof record->site, "site-%u", 1000 + (unsigned)(draw() % 1000));
    snprintf(record->serial, sizeof record->serial, "SN%07u", (unsigned)(number * UINT64_C(7919) % 10000000));
    record->battery = (double)(draw() % 1000000) / 1000000;
    record->last_seen = 1760000000 + (int64_t)(draw() % 100000);
    record->maintenance = draw() % 5 == 0 ? (int)(draw() % 2) : -1;
}

#define METADATA_MAX 320

static size_t put_metadata(const struct record *r, char metadata[METADATA_MAX])
{
    return (size_t)snprintf(metadata, METADATA_MAX,
                            "{\"region\":\"%s\",\"device_type\":\"%s\",\"firmware_version\":\"%s\",\"site\":\"%s\","
                            "\"battery_level\":%.6f,\"last_seen\":%lld,\"serial\":\"%s\"%s}",
                            r->region, r->device, r->firmware, r->site, r->battery, (long long)r->last_seen, r->serial,
                            r->maintenance < 0   ? ""
                            : r->maintenance > 0 ? ",\"maintenance\":true"
                                                 : ",\"maintenance\":false");
}

static void put_identity(const struct record *r, uint64_t revision)
{
    char metadata[METADATA_MAX];
    size_t length = put_metadata(r, metadata);
    struct mst_identity identity = {.id = {r->id, strlen(r->id)},
                                    .metadata = {metadata, length},
                                    .registered_at = NOW,
                                    .updated_at = NOW,
                                    .revision = revision};
    if (mst_view_put(view, &identity, NULL, NULL))
        bench_die("cannot fill the view");
}

static void fill(struct mst_json_parser *parser, uint32_t identities)
{
    count = identities;
    records = calloc(count, sizeof *records);
    marks = calloc(count / 64 + 1, sizeof *marks);
    lines = malloc((size_t)count * 64);
    bytes = malloc((size_t)count * 3 + 1);
    rows = malloc((count + 16) * sizeof *rows);
    view = mst_view_create("bench", parser);
    if (!records || !marks || !lines || !bytes || !rows || !view)
        bench_die("out of memory");
    memset(lines, 1, (size_t)count * 64);
    memset(bytes, 1, (size_t)count * 3);
    bytes[(size_t)count * 3] = 0;
    for (uint32_t i = 0; i < count; i++) {
        make_record(&records[i], i);
        put_identity(&records[i], i + 1);
    }
}

static void empty(void)
{
    mst_view_destroy(view);
    free(records);
    free(marks);
    free(lines);
    free(bytes);
    free(rows);
}

static struct mst_program *compile(const char *filter)
{
    struct mst_buffer program = {0}, warnings = {0};
    struct mst_program *loaded;
    struct mst_error error;
    if (compiler.compile(compiler.context, (struct mst_span){filter, strlen(filter)}, false, &program, &warnings,
                         &error) ||
        mst_program_load(&loaded, program.data, program.length, &error))
        bench_die("%s: %s", filter, error.message);
    mst_buffer_deinit(&program);
    mst_buffer_deinit(&warnings);
    return loaded;
}

/* ------------------------------------------------------------------------------------------------ muster */

static struct mst_bound *bind(const struct query *query)
{
    struct mst_bound *bound;
    struct mst_error error;
    now += clock_step;
    if (mst_bound_create(&bound, query->program, NULL, now, "bench", &error))
        bench_die("%s", error.message);
    return bound;
}

static void check(const struct query *query, uint32_t found)
{
    if (found != query->expected)
        bench_die("%s: %u identities match, the loop finds %u", query->name, found, query->expected);
}

static double us_since(uint64_t before)
{
    return (double)(bench_now() - before) / 1000;
}

static double with_count(void *context)
{
    struct query *query = context;
    uint32_t found;
    uint64_t before = bench_now();
    struct mst_bound *bound = bind(query);
    if (mst_match_count(view, bound, &found, NULL))
        bench_die("cannot count");
    mst_bound_destroy(bound);
    double us = us_since(before);
    check(query, found);
    return us;
}

static void match(struct query *query)
{
    struct mst_bound *bound = bind(query);
    if (mst_match(view, bound, &set, NULL))
        bench_die("cannot match");
    mst_bound_destroy(bound);
}

static double with_set(void *context)
{
    uint64_t before = bench_now();
    match(context);
    double us = us_since(before);
    check(context, set.count);
    return us;
}

static double with_set_per_identity(void *context)
{
    return with_set(context) * 1000 / count;
}

static double with_rows(void *context)
{
    uint64_t before = bench_now();
    match(context);
    uint32_t found = mst_rowset_list(&set, 0, rows, count);
    double us = us_since(before);
    check(context, found);
    return us;
}

/* Id and metadata of each, found but not copied. */
static double with_records(void *context)
{
    struct mst_identity identity;
    size_t length = 0;
    uint64_t before = bench_now();
    match(context);
    uint32_t found = mst_rowset_list(&set, 0, rows, count);
    for (uint32_t i = 0; i < found; i++) {
        if (i + AHEAD < found)
            mst_view_prefetch(view, rows[i + AHEAD]);
        mst_view_identity(view, rows[i], &identity);
        length += identity.id.length + identity.metadata.length;
    }
    double us = us_since(before);
    check(context, found);
    if (length < found)
        bench_die("unreachable");
    return us;
}

static double with_exists(void *context)
{
    struct query *query = context;
    bool exists;
    uint64_t before = bench_now();
    struct mst_bound *bound = bind(query);
    if (mst_match_exists(view, bound, &exists, NULL) || exists != (query->expected > 0))
        bench_die("%s: cannot tell", query->name);
    mst_bound_destroy(bound);
    return us_since(before);
}

/*
 * Ids as a JSON array, a few identities at a time: the bytes of their ids are on the way when they are copied.
 */
static double with_ids(void *context)
{
    enum { BATCH = 32 };
    struct mst_identity batch[BATCH];
    uint64_t before = bench_now();
    match(context);
    uint32_t found = mst_rowset_list(&set, 0, rows, count);
    mst_buffer_clear(&out);
    for (uint32_t i = 0; i < found; i += BATCH) {
        uint32_t size = found - i < BATCH ? found - i : BATCH;
        for (uint32_t j = 0; j < size; j++) {
            if (i + j + AHEAD < found)
                mst_view_prefetch(view, rows[i + j + AHEAD]);
            mst_view_identity(view, rows[i + j], &batch[j]);
            __builtin_prefetch(batch[j].id.data);
        }
        for (uint32_t j = 0; j < size; j++) {
            mst_buffer_append_byte(&out, '"');
            mst_buffer_append(&out, batch[j].id.data, batch[j].id.length);
            mst_buffer_append(&out, "\",", 2);
        }
    }
    double us = us_since(before);
    check(context, found);
    return us;
}

/* The time before a request sees its first row: all of a request over one identity. */
static double with_nothing(void *context)
{
    enum { REPEATS = 2000 };
    struct query *query = context;
    uint32_t found = 0;
    uint64_t before = bench_now();
    for (unsigned i = 0; i < REPEATS; i++) {
        match(query);
        found += set.count;
    }
    if (found != REPEATS * query->expected)
        bench_die("%s: wrong answer", query->name);
    return (double)(bench_now() - before) / REPEATS;
}

/* ------------------------------------------------------------------------------------------------ references */

static double with_loop(void *context)
{
    struct query *query = context;
    uint32_t found = 0;
    uint64_t before = bench_now();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t holds = query->test(&records[i]);
        marks[i / 64] = (marks[i / 64] & ~(UINT64_C(1) << i % 64)) | holds << i % 64;
        found += (uint32_t)holds;
    }
    query->expected = found;
    return us_since(before);
}

static double with_loop_per_identity(void *context)
{
    return with_loop(context) * 1000 / count;
}

/* memchr is what libc has to read bytes as fast as they come. */
static double read_bytes(size_t length)
{
    uint64_t before = bench_now();
    if (memchr(bytes, 2, length))
        bench_die("unreachable");
    return us_since(before);
}

static double read_one(void *context)
{
    (void)context;
    return read_bytes(count);
}

static double read_three(void *context)
{
    (void)context;
    return read_bytes((size_t)count * 3);
}

/* One byte of the line of each identity in the set, with the rows known. */
static double touch_lines(void *context)
{
    (void)context;
    uint32_t found = mst_rowset_list(&set, 0, rows, count);
    uint32_t sum = 0;
    uint64_t before = bench_now();
    for (uint32_t i = 0; i < found; i++)
        sum += lines[(size_t)rows[i] * 64];
    double us = us_since(before);
    if (sum != found)
        bench_die("unreachable");
    return us;
}

struct pass {
    struct mst_column *column;
    struct mst__test test;
    const struct query *query;
    const struct mst__kernels *kernels;
};

/* The pass alone over the codes, where muster would answer from its counts. */
static double with_count_pass(void *context)
{
    const struct pass *pass = context;
    uint64_t before = bench_now();
    uint64_t found = mst__test_count(pass->kernels, &pass->test, 0, mst_column_data(pass->column), NULL, count / 64);
    double us = us_since(before);
    if (count % 64 == 0 && found != pass->query->expected)
        bench_die("the pass counts %llu, the loop %u", (unsigned long long)found, pass->query->expected);
    return us;
}

static double with_sqlite(const struct query *query, enum bench_sqlite_what what)
{
    uint32_t found;
    double ns = bench_sqlite_run(rival, query->sql, what, &found);
    check(query, found);
    return ns / 1000;
}

static double with_sqlite_count(void *context)
{
    return with_sqlite(context, BENCH_SQLITE_COUNT);
}

static double with_sqlite_ids(void *context)
{
    return with_sqlite(context, BENCH_SQLITE_IDS);
}

static double with_sqlite_records(void *context)
{
    return with_sqlite(context, BENCH_SQLITE_RECORDS);
}

/* ------------------------------------------------------------------------------------------------ the tables */

static const char *name_of(const char *instructions, const char *what)
{
    static char name[80];
    snprintf(name, sizeof name, "%s: %s", instructions, what);
    return name;
}

static void open_queries(void)
{
    for (size_t i = 0; i < QUERIES; i++) {
        queries[i].program = compile(queries[i].filter);
        with_loop(&queries[i]); /* sets what is expected */
    }
}

static void close_queries(void)
{
    for (size_t i = 0; i < QUERIES; i++)
        mst_program_destroy(queries[i].program);
}

static void run(const char *name, const char *unit, double (*ours)(void *), const char *reference,
                double (*theirs)(void *), struct query *query, unsigned rounds)
{
    bench_run(
        &(struct bench_case){name, count, unit, reference, bench_quick ? rounds / 3 + 1 : rounds, ours, theirs, query});
}

static void run_goals(const char *instructions)
{
    const struct mst_path region = {.count = 1, .steps = {{"region", 6, -1}}};
    struct pass pass = {.column = mst_view_column(view, &region), .query = &queries[0]};
    const uint8_t *value = NULL;
    uint32_t code = 0;
    while (!value || memcmp(value + 5, "r3", 2) != 0)
        value = mst_column_value(pass.column, ++code);
    pass.test = (struct mst__test){.kind = MST__TEST_EQUAL, .width = mst_column_width(pass.column), .low = code};
    pass.kernels = mst__kernels_choose();
    bench_run(&(struct bench_case){name_of(instructions, "pass, count of a code"), count, "us", "read 1 B each", 41,
                                   with_count_pass, read_one, &pass});
    run(name_of(instructions, "count, one equality"), "us", with_count, "read 1 B each", read_one, &queries[0], 41);
    run(name_of(instructions, "count, three clauses"), "us", with_count, "read 3 B each", read_three, &queries[1], 41);
    run(name_of(instructions, "exists, three clauses"), "us", with_exists, NULL, NULL, &queries[1], 41);
    run(name_of(instructions, "rows, a tenth"), "us", with_rows, "loop", with_loop, &queries[0], 15);
    clock_step = 0;
    run(name_of(instructions, "rows, a tenth, asked often"), "us", with_rows, "loop", with_loop, &queries[0], 15);
    clock_step = 2 * MINUTE;
    run(name_of(instructions, "ids, a tenth"), "us", with_ids, "touch 1 line each", touch_lines, &queries[0], 41);
}

static void run_queries(const char *instructions)
{
    for (size_t i = 0; i < QUERIES; i++)
        run(name_of(instructions, queries[i].name), "ns", with_set_per_identity, "loop", with_loop_per_identity,
            &queries[i], count > 100000 ? 11 : 31);
}

static void run_fixed(const char *instructions, struct mst_json_parser *parser)
{
    fill(parser, 1);
    for (size_t i = 0; i < 2; i++) {
        queries[i].program = compile(queries[i].filter);
        with_loop(&queries[i]);
        run(name_of(instructions, i == 0 ? "fixed cost, one clause" : "fixed cost, three clauses"), "ns", with_nothing,
            NULL, NULL, &queries[i], 31);
        mst_program_destroy(queries[i].program);
    }
    empty();
}

static void run_rival(void)
{
    char name[80], metadata[METADATA_MAX];
    if (!bench_sqlite_present()) {
        fprintf(stderr, "enumerate: built without SQLite (Debian: libsqlite3-dev): no comparison with it\n");
        return;
    }
    rival = bench_sqlite_open();
    for (uint32_t i = 0; i < count; i++) {
        const struct record *r = &records[i];
        put_metadata(r, metadata);
        bench_sqlite_add(rival, &(struct sqlite_record){r->id, r->region, r->device, r->firmware, r->site, r->serial,
                                                        metadata, r->battery, r->last_seen, r->maintenance});
    }
    bench_sqlite_index(rival);
    for (size_t i = 0; i < QUERIES; i++) {
        snprintf(name, sizeof name, "%.40s, count", queries[i].name);
        run(name, "us", with_count, "sqlite", with_sqlite_count, &queries[i], 7);
        snprintf(name, sizeof name, "%.40s, ids", queries[i].name);
        run(name, "us", with_ids, "sqlite", with_sqlite_ids, &queries[i], 7);
        snprintf(name, sizeof name, "%.40s, records", queries[i].name);
        run(name, "us", with_records, "sqlite", with_sqlite_records, &queries[i], 7);
    }
    bench_sqlite_close(rival);
}

/* With the best instructions all sizes, with the others the largest. */
static void run_instructions(const char *instructions, struct mst_json_parser *parser, bool best)
{
    uint32_t largest = bench_quick ? 100000 : 1000000;
    run_fixed(instructions, parser);
    for (uint32_t size = best ? 1000 : largest; size <= largest; size *= 10) {
        fill(parser, size);
        open_queries();
        if (size == largest)
            run_goals(instructions);
        run_queries(instructions);
        if (size == largest && best)
            run_rival();
        close_queries();
        empty();
    }
}

int main(int argc, char **argv)
{
    static const char *const instructions[] = {"avx512", "avx2", "sse2", "scalar"};
    struct mst_script_compiler *script;
    struct mst_error error;
    bool best = true;
    bench_begin(argc, argv, "enumerate", "filters over a namespace, against reading, a C loop and SQLite");
    struct mst_json_parser *parser = mst_json_parser_create();
    if (!parser || mst_script_compiler_create(&script, &error))
        bench_die("cannot start the compiler");
    compiler = mst_script_compiler_slot(script);
    clock_step = 2 * MINUTE;
    for (size_t i = 0; i < sizeof instructions / sizeof *instructions; i++) {
        setenv("MUSTER_KERNELS", instructions[i], 1);
        if (strcmp(mst_match_instructions(), instructions[i]) != 0) {
            fprintf(stderr, "enumerate: this processor has no %s\n", instructions[i]);
            continue;
        }
        run_instructions(instructions[i], parser, best);
        best = false;
    }
    mst_buffer_deinit(&out);
    mst_rowset_deinit(&set);
    mst_script_compiler_destroy(script);
    mst_json_parser_destroy(parser);
    return 0;
}
