// SPDX-License-Identifier: Apache-2.0

/* The JSON reader: what it takes must survive writing and reading again, and its pieces must be JSON themselves. */
#include "fuzz.h"
#include "model/path.h"
#include "model/value.h"

static struct mst_json_parser *parser;

static const struct mst_json_limits whole = {.bytes = 1u << 22, .depth = 128};

static int parse(struct mst_span text, const struct mst_json_limits *limits, struct mst_buffer *out)
{
    struct mst_error error = {0};
    size_t before = out->length;
    int code = mst_json_parse(parser, text.data, text.length, limits, out, &error);
    REQUIRE(code == 0 || code == MST_EJSON || code == MST_ETOOBIG);
    REQUIRE(code == 0 || (out->length == before && error.message[0]));
    return code;
}

static const uint8_t *value_of(const struct mst_buffer *packed)
{
    return (const uint8_t *)packed->data;
}

/* Text, value, text, value: the two values are the same bytes. */
static void round_trip(const struct mst_buffer *packed)
{
    struct mst_buffer text = {0}, again = {0};
    mst_json_put_value(&text, value_of(packed));
    REQUIRE(!text.failed);
    REQUIRE(parse((struct mst_span){text.data, text.length}, &whole, &again) == 0);
    REQUIRE(again.length == packed->length && memcmp(again.data, packed->data, again.length) == 0);
    REQUIRE(mst_value_equal(value_of(&again), value_of(packed)));
    REQUIRE(mst_value_compare(value_of(&again), value_of(packed)) == 0);
    mst_buffer_deinit(&text);
    mst_buffer_deinit(&again);
}

/* The raw text of a part says the same as the part of the whole. */
static void check_raw(struct mst_span raw, const uint8_t *value, const struct mst_json_limits *limits)
{
    struct mst_buffer packed = {0};
    REQUIRE(parse(raw, limits, &packed) == 0);
    REQUIRE(packed.length == mst_value_size(value) && memcmp(packed.data, value, packed.length) == 0);
    mst_buffer_deinit(&packed);
}

static void check_members(struct mst_span text, const uint8_t *object, const struct mst_json_limits *limits)
{
    const uint8_t *position = NULL, *element;
    const char *key;
    size_t length;
    while (mst_value_next_member(object, &position, &key, &length, &element)) {
        struct mst_span raw;
        REQUIRE(mst_value_get(object, key, length) == element);
        if (memchr(key, '\0', length) || length > 100)
            continue;
        char name[101];
        memcpy(name, key, length);
        name[length] = '\0';
        REQUIRE(mst_json_member(text.data, text.length, name, &raw));
        check_raw(raw, element, limits);
    }
}

static void check_elements(struct mst_span text, const uint8_t *array, const struct mst_json_limits *limits)
{
    size_t at = 0;
    uint32_t count = 0;
    struct mst_span raw;
    while (mst_json_element(text.data, text.length, &at, &raw))
        check_raw(raw, mst_value_at(array, count++), limits);
    REQUIRE(count == mst_value_count(array));
}

static void check_path(const uint8_t *document)
{
    static const char *const texts[] = {"a", "a.b", "a[0]", "tags[1].k", "`x.y`", "`0`"};
    struct mst_buffer scratch = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct mst_path path = {0};
        REQUIRE(mst_path_parse(&path, texts[i], strlen(texts[i]), NULL) == 0);
        const uint8_t *found = mst_path_find(&path, document, &scratch);
        REQUIRE(!found || mst_value_size(found) > 0);
        mst_buffer_clear(&scratch);
    }
    mst_buffer_deinit(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const struct mst_json_limits limits = {
        .bytes = 1u << 20, .depth = take_byte(&input) % 129u, .fields = take_byte(&input)};
    struct mst_span given = {(const char *)input.data, input.size};
    char *copy = tight_copy(given);
    struct mst_span text = {copy, given.length};
    struct mst_buffer packed = {0};
    if (!parser)
        parser = mst_json_parser_create();
    REQUIRE(parser);
    if (parse(text, &limits, &packed) == 0) {
        const uint8_t *value = value_of(&packed);
        REQUIRE(mst_value_verify(value, packed.length, 128));
        round_trip(&packed);
        check_path(value);
        if (mst_value_tag(value) == MST_OBJECT)
            check_members(text, value, &limits);
        if (mst_value_tag(value) == MST_ARRAY)
            check_elements(text, value, &limits);
    }
    struct mst_path path = {0};
    mst_path_parse(&path, text.data, text.length, NULL);
    mst_buffer_deinit(&packed);
    free(copy);
    return 0;
}
