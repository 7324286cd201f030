// SPDX-License-Identifier: Apache-2.0

/*
 * The loader and verifier of filter programs. What loads is bound and run over a few records, one at a time and column
 * by column: both must answer, and answer the same.
 */
#include "fuzz.h"
#include "match/match.h"
#include "model/value.h"

#define NOW INT64_C(1760000000000)

static const char *const records[] = {
    "{}",
    "{\"a\":1,\"b\":\"x\",\"tags\":[\"x\",\"y\"],\"s\":\"it's\",\"status\":\"online\"}",
    "{\"a\":1.5,\"b\":null,\"tags\":[],\"s\":\"\",\"v\":\"1.10.0\",\"ip\":\"10.1.2.3\"}",
    "{\"a\":{\"b\":[1,{\"c\":2}]},\"tags\":[[\"x\"],1],\"t\":\"2025-10-09T12:00:00Z\",\"city\":\"Z\\u00fcrich\"}",
    "{\"a\":[{\"b\":1},{\"b\":\"x\"},3],\"loc\":{\"lat\":10,\"lon\":20.5},\"n\":9007199254740993}",
    "{\"a\":true,\"b\":false,\"sensors\":[{\"kind\":\"probe\",\"temp\":31},{\"kind\":\"fan\",\"temp\":20}]}",
    "{\"loc\":{\"type\":\"Point\",\"coordinates\":[20.5,10]},\"t\":1760000000,\"a\":-0.0,\"b\":1e300}",
    "{\"it\":1,\"x.y\":2,\"in\":3,\"0\":4,\"status\":\"offline\",\"tags\":[null,true,1,\"1\"]}",
};

/* Names that the filters of the corpus use. */
static const char parameters_text[] =
    "{\"1\":1,\"2\":\"x\",\"p\":\"x\",\"q\":[1,\"x\",null],\"s\":\"online\",\"w\":60,\"on\":true,\"l\":[\"x\",\"y\"],"
    "\"n\":5,"
    "\"net\":\"10.0.0.0/8\",\"r\":\"eu\",\"x\":null,\"list\":[],\"allowed\":[\"a\"],\"v\":\"1.2\",\"min\":1,\"max\":9}";

#define RECORDS (sizeof records / sizeof *records)

static struct mst_json_parser *parser;
static struct mst_buffer documents[RECORDS], parameters;
static struct mst_identity identities[RECORDS];
static const char *const ids[RECORDS] = {"x", "sensor-5", "a", "\xc3\xbc", "1", "true", "", "i7"};

static void parse(const char *text, struct mst_buffer *out)
{
    const struct mst_json_limits limits = {.bytes = 1u << 16, .depth = 64};
    REQUIRE(mst_json_parse(parser, text, strlen(text), &limits, out, NULL) == 0);
}

static void prepare(void)
{
    parser = mst_json_parser_create();
    REQUIRE(parser);
    parse(parameters_text, &parameters);
    for (size_t i = 0; i < RECORDS; i++) {
        parse(records[i], &documents[i]);
        identities[i] = (struct mst_identity){
            .id = {i == 6 ? "z" : ids[i], i == 6 ? 1 : strlen(ids[i])},
            .metadata = {records[i], strlen(records[i])},
            .registered_at = NOW - (int64_t)i * 20000,
            .updated_at = NOW - (int64_t)i * 10000,
            .expires_at = i % 2 ? NOW + (int64_t)i * 10000 : 0,
            .lease_ms = i % 2 ? 300000 : 0,
            .revision = i + 1,
        };
    }
}

static void check_verdicts(const struct mst_program *program, struct mst_bound *bound, size_t record)
{
    uint32_t count = mst_program_leaf_count(program);
    for (uint32_t i = 0; i < count && i < 64; i++) {
        struct mst_verdict verdict;
        mst_bound_verdict(bound, i, &identities[record], (const uint8_t *)documents[record].data, &verdict);
        REQUIRE(!verdict.value || mst_value_size(verdict.value) > 0);
        REQUIRE(verdict.text || !verdict.text_length);
    }
}

static void run(const struct mst_program *program, struct mst_bound *bound)
{
    struct mst_view *view = mst_view_create("ns", parser);
    struct mst_rowset set = {0};
    bool holds[RECORDS];
    uint32_t row[RECORDS], count = 0;
    REQUIRE(view);
    for (size_t i = 0; i < RECORDS; i++) {
        const uint8_t *document = (const uint8_t *)documents[i].data;
        holds[i] = mst_bound_match(bound, &identities[i], document);
        REQUIRE(mst_bound_match(bound, &identities[i], document) == holds[i]);
        count += holds[i];
        check_verdicts(program, bound, i);
        REQUIRE(mst_view_put(view, &identities[i], document, &row[i]) == 0);
    }
    REQUIRE(mst_match(view, bound, &set, NULL) == 0);
    for (size_t i = 0; i < RECORDS; i++)
        REQUIRE((mst_rowset_next(&set, row[i]) == row[i]) == holds[i]);
    REQUIRE(set.count == count);
    mst_rowset_deinit(&set);
    mst_view_destroy(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mst_program *program = NULL;
    struct mst_bound *bound = NULL;
    struct mst_error error = {0};
    if (!parser)
        prepare();
    int code = mst_program_load(&program, data, size, &error);
    REQUIRE((code == 0) == (program != NULL));
    REQUIRE(code == 0 || ((code == MST_EFILTER || code == MST_ETOOBIG) && error.message[0]));
    if (code)
        return 0;
    code = mst_bound_create(&bound, program, (const uint8_t *)parameters.data, NOW, "ns", &error);
    REQUIRE(code == 0 || code == MST_EPARAM || code == MST_EFILTER);
    if (code == 0) {
        run(program, bound);
        mst_bound_destroy(bound);
    }
    mst_program_destroy(program);
    return 0;
}
