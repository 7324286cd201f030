// SPDX-License-Identifier: Apache-2.0
/*
 * Finding the identities that match: the view and the compiled filter, against a C loop over one array of structs with
 * the same predicate written out by hand, which marks the matches in the same kind of bitset. Values are ns for one
 * identity.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "match/match.h"
#include "script/compiler.h"
#include "view/view.h"

/* What a program written for this one purpose would keep. */
struct record {
    char id[24], status[12], region[12];
    int64_t load;
    double battery;
    bool beta;
};

static struct record *records;
static uint64_t *marks;
static uint32_t count;
static struct mst_view *view;
static struct mst_rowset set;

static const char *const regions[] = {"eu-west-1", "eu-north-1", "us-east-1", "us-west-2", "ap-south-1"};

struct query {
    const char *name, *filter;
    bool (*test)(const struct record *record);
    struct mst_program *program;
    uint32_t expected;
};

static bool is_online(const struct record *record)
{
    return strcmp(record->status, "online") == 0;
}

static bool is_rare(const struct record *record)
{
    return record->load == 77777;
}

static bool is_loaded(const struct record *record)
{
    return record->load > 90000;
}

static bool is_all_three(const struct record *record)
{
    return strcmp(record->status, "online") == 0 && strncmp(record->region, "eu-", 3) == 0 && record->battery < 0.2;
}

static bool is_either(const struct record *record)
{
    return record->beta || record->load < 1000;
}

static double with_muster(void *context)
{
    struct query *query = context;
    struct mst_bound *bound;
    struct mst_error error;
    uint64_t before = bench_now();
    if (mst_bound_create(&bound, query->program, NULL, 1760011200000, "bench", &error) ||
        mst_match(view, bound, &set, &error))
        bench_die("%s", error.message);
    mst_bound_destroy(bound);
    double ns = (double)(bench_now() - before) / count;
    if (set.count != query->expected)
        bench_die("%s: %u identities match, the loop finds %u", query->name, set.count, query->expected);
    return ns;
}

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
    return (double)(bench_now() - before) / count;
}

static uint64_t draw(void)
{
    static uint64_t state = 42;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return state >> 33;
}

static void make_record(struct record *record, uint32_t number)
{
    snprintf(record->id, sizeof record->id, "sensor-%u", number);
    snprintf(record->status, sizeof record->status, "%s", draw() % 2 ? "online" : "offline");
    snprintf(record->region, sizeof record->region, "%s", regions[draw() % 5]);
    record->load = (int64_t)(draw() % 100000);
    record->battery = (double)(draw() % 1000) / 1000;
    record->beta = draw() % 10 == 0;
}

static void put_identity(const struct record *record, uint64_t revision)
{
    char metadata[256];
    int length = snprintf(
        metadata, sizeof metadata, "{\"status\":\"%s\",\"region\":\"%s\",\"load\":%lld,\"battery\":%.3f,\"beta\":%s}",
        record->status, record->region, (long long)record->load, record->battery, record->beta ? "true" : "false");
    struct mst_identity identity = {.id = {record->id, strlen(record->id)},
                                    .metadata = {metadata, (size_t)length},
                                    .registered_at = 1760011200000,
                                    .updated_at = 1760011200000,
                                    .revision = revision};
    if (mst_view_put(view, &identity, NULL, NULL))
        bench_die("cannot fill the view");
}

static void fill(struct mst_json_parser *parser, uint32_t identities)
{
    count = identities;
    records = calloc(count, sizeof *records);
    marks = calloc(count / 64 + 1, sizeof *marks);
    view = mst_view_create("bench", parser);
    if (!records || !marks || !view)
        bench_die("out of memory");
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
}

static void compile(const struct mst_compiler *compiler, struct query *query)
{
    struct mst_buffer program = {0}, warnings = {0};
    struct mst_error error;
    if (compiler->compile(compiler->context, (struct mst_span){query->filter, strlen(query->filter)}, false, &program,
                          &warnings, &error) ||
        mst_program_load(&query->program, program.data, program.length, &error))
        bench_die("%s: %s", query->filter, error.message);
    mst_buffer_deinit(&program);
    mst_buffer_deinit(&warnings);
}

int main(int argc, char **argv)
{
    struct query queries[] = {
        {.name = "text ==, half match", .filter = "status == \"online\"", .test = is_online},
        {.name = "number ==, rare", .filter = "load == 77777", .test = is_rare},
        {.name = "number >, a tenth", .filter = "load > 90000", .test = is_loaded},
        {.name = "text, prefix and number",
         .filter = "status == \"online\" and region startswith \"eu-\" and battery < 0.2",
         .test = is_all_three},
        {.name = "flag or number", .filter = "beta == true or load < 1000", .test = is_either},
    };
    struct mst_script_compiler *script;
    struct mst_error error;
    bench_begin(argc, argv, "enumerate", "filters over a namespace, against a C loop over an array of structs");
    struct mst_json_parser *parser = mst_json_parser_create();
    if (!parser || mst_script_compiler_create(&script, &error))
        bench_die("cannot start the compiler");
    struct mst_compiler compiler = mst_script_compiler_slot(script);
    for (uint32_t size = bench_quick ? 10000 : 100000; size <= (bench_quick ? 100000 : 1000000); size *= 10) {
        fill(parser, size);
        for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
            compile(&compiler, &queries[i]);
            with_loop(&queries[i]); /* sets what is expected */
            bench_run(&(struct bench_case){queries[i].name, size, "ns", "loop", bench_quick ? 11 : 31, with_muster,
                                           with_loop, &queries[i]});
            mst_program_destroy(queries[i].program);
        }
        empty();
    }
    mst_rowset_deinit(&set);
    mst_script_compiler_destroy(script);
    mst_json_parser_destroy(parser);
    return 0;
}
