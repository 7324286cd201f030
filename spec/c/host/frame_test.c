// SPDX-License-Identifier: Apache-2.0
#include "host/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mst_span span(const char *text)
{
    return (struct mst_span){text, strlen(text)};
}

static bool same(struct mst_span a, struct mst_span b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

static int decode(const char *text, size_t length, struct mst_frame *frame, size_t *used)
{
    struct mst_error error = {0};
    /* A copy of the very length, so that a read behind it is found. */
    char *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    int code = mst_frame_decode(copy, length, frame, used, &error);
    assert_int_equal(error.code, code < 0 ? code : 0);
    assert_true(code >= 0 || error.message[0]);
    free(copy);
    return code;
}

static void a_frame_comes_back_as_it_was(void **state)
{
    (void)state;
    struct mst_buffer out = {0};
    struct mst_frame frame = {MST_FRAME_CALL, 42, span("count"), span("default"), span("{\"filter\":\"a\\n\"}\n")};
    struct mst_frame back;
    size_t used;
    assert_int_equal(mst_frame_put(&out, &frame, NULL), 0);
    assert_memory_equal(out.data, "call 42 count default 17\n", 25);
    assert_int_equal(mst_frame_decode(out.data, out.length, &back, &used, NULL), 1);
    assert_int_equal(used, out.length);
    assert_int_equal(back.type, MST_FRAME_CALL);
    assert_int_equal(back.sequence, 42);
    assert_true(same(back.a, frame.a) && same(back.b, frame.b) && same(back.body, frame.body));
    mst_buffer_deinit(&out);
}

static void empty_words_are_dashes(void **state)
{
    (void)state;
    struct mst_buffer out = {0};
    struct mst_frame frame = {.type = MST_FRAME_MESSAGE, .sequence = MST_FRAME_SEQUENCE_MAX - 1}, back;
    size_t used;
    assert_int_equal(mst_frame_put(&out, &frame, NULL), 0);
    assert_memory_equal(out.data, "message 9007199254740991 - - 0\n", out.length);
    assert_int_equal(mst_frame_decode(out.data, out.length, &back, &used, NULL), 1);
    assert_int_equal(back.sequence, MST_FRAME_SEQUENCE_MAX - 1);
    assert_int_equal(back.a.length + back.b.length + back.body.length, 0);
    mst_buffer_deinit(&out);
}

static void cut_anywhere_it_waits_for_more(void **state)
{
    (void)state;
    const char *text = "receive 7 via default 4\nedge";
    struct mst_frame frame;
    size_t used;
    for (size_t length = 0; length < strlen(text); length++)
        assert_int_equal(decode(text, length, &frame, &used), 0);
    assert_int_equal(decode(text, strlen(text), &frame, &used), 1);
    assert_int_equal(used, strlen(text));
}

static void what_breaks_the_rules_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "hello 1 a b 0\n",
        "CALL 1 a b 0\n",
        "call 1 a b\n",
        "call 1 a b 0 \n",
        "call 1 a b 0 c\n",
        "call  1 a b 0\n",
        " call 1 a b 0\n",
        "call -1 a b 0\n",
        "call 01 a b 0\n",
        "call 1 a b 00\n",
        "call 1 a b -1\n",
        "call 1 a b 1114113\n",
        "call x a b 0\n",
        "call 1x a b 0\n",
        "call 1 a b 0\r\n",
        "call 9007199254740992 a b 0\n",
        "call 1 a\tb c 0\n",
        "call 1 \xc3\xa4 b 0\n",
        "\n",
        "GET / HTTP/1.1\r\n",
        "call 99999999999999999999 a b 0\n",
        "call 1 a b 99999999999999999999\n",
        "\x16\x03\x01",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mst_frame frame;
        size_t used;
        if (decode(bad[i], strlen(bad[i]), &frame, &used) != MST_EINVAL)
            fail_msg("taken: %s", bad[i]);
    }
}

static void the_limits_hold_to_the_byte(void **state)
{
    (void)state;
    char header[600];
    struct mst_frame frame;
    size_t used;
    memset(header, 'a', sizeof header);
    memcpy(header, "call 1 ", 7);
    memcpy(header + 512 - 5, " b 0\n", 5);
    assert_int_equal(decode(header, 512, &frame, &used), 1);
    assert_int_equal(decode(header, 511, &frame, &used), 0);
    memset(header + 512 - 5, 'a', 5);
    assert_int_equal(decode(header, 511, &frame, &used), 0);
    assert_int_equal(decode(header, 512, &frame, &used), MST_EINVAL);
    /* Told by its header alone. */
    assert_int_equal(decode("call 1 a b 1114112\n", 19, &frame, &used), 0);
    assert_int_equal(decode("call 1 a b 1114113\n", 19, &frame, &used), MST_EINVAL);
}

static void what_a_header_cannot_carry_is_not_written(void **state)
{
    (void)state;
    static const char *const bad[] = {"a b", "a\n", "-", "\xc3\xa4", "a\tb"};
    struct mst_buffer out = {0};
    struct mst_error error;
    mst_buffer_append_string(&out, "before");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mst_frame frame = {.a = span(bad[i])}, other = {.b = span(bad[i])};
        assert_int_equal(mst_frame_put(&out, &frame, &error), MST_EINVAL);
        assert_int_equal(mst_frame_put(&out, &other, &error), MST_EINVAL);
    }
    char word[600];
    memset(word, 'a', sizeof word);
    struct mst_frame wide = {.a = {word, sizeof word}};
    assert_int_equal(mst_frame_put(&out, &wide, &error), MST_EINVAL);
    struct mst_frame long_ = {.body = {word, MST_FRAME_BODY_MAX + 1u}};
    assert_int_equal(mst_frame_put_header(&out, &long_, &error), MST_ETOOBIG);
    struct mst_frame late = {.sequence = MST_FRAME_SEQUENCE_MAX};
    assert_int_equal(mst_frame_put(&out, &late, &error), MST_EINVAL);
    assert_int_equal(out.length, 6);
    out.limit = 64;
    struct mst_frame big = {.body = {word, 200}};
    assert_int_equal(mst_frame_put(&out, &big, &error), MST_ENOMEM);
    assert_int_equal(out.length, 6);
    assert_false(out.failed);
    mst_buffer_deinit(&out);
}

/* Any bytes: no read outside (the copy of decode), and never both a frame and nothing used. */
static void garbage_does_no_harm(void **state)
{
    (void)state;
    static const char alphabet[] = "call receive -0159\n aZ\x01\xff";
    srand(7);
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t length = (size_t)rand() % sizeof text, used = 0;
        struct mst_frame frame;
        size_t start = round % 2 ? (size_t)snprintf(text, sizeof text, "call %d ", rand() % 100) : 0;
        for (size_t i = start; i < sizeof text; i++)
            text[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        if (decode(text, length, &frame, &used) == 1)
            assert_in_range(used, 1, length);
    }
}

enum { FRAMES = 200 };

static void put_random(struct mst_buffer *out, struct mst_frame *frame, char *body, unsigned number)
{
    static const char *const words[] = {"", "count", "default", "via", "--", "a-b_C9"};
    for (size_t i = 0; i < 300; i++)
        body[i] = (char)rand();
    *frame = (struct mst_frame){(enum mst_frame_type)(rand() % 5),
                                number,
                                span(words[rand() % 6]),
                                span(words[rand() % 6]),
                                {body, (size_t)rand() % 300}};
    assert_int_equal(mst_frame_put(out, frame, NULL), 0);
}

/* As a connection reads: pieces of any size arrive, whole frames are taken from the front. */
static void split_anywhere_the_frames_are_the_same(void **state)
{
    (void)state;
    static char bodies[FRAMES][300];
    struct mst_frame frames[FRAMES];
    for (unsigned seed = 1; seed <= 50; seed++) {
        struct mst_buffer all = {0}, in = {0};
        unsigned taken = 0;
        srand(seed);
        for (unsigned i = 0; i < FRAMES; i++)
            put_random(&all, &frames[i], bodies[i], i);
        for (size_t at = 0; at < all.length;) {
            size_t piece = 1 + (size_t)rand() % (seed % 2 ? 10 : 2000), used;
            piece = piece < all.length - at ? piece : all.length - at;
            mst_buffer_append(&in, all.data + at, piece);
            at += piece;
            struct mst_frame frame;
            while (mst_frame_decode(in.data, in.length, &frame, &used, NULL) == 1) {
                const struct mst_frame *sent = &frames[taken];
                assert_int_equal(frame.type, sent->type);
                assert_int_equal(frame.sequence, taken++);
                assert_true(same(frame.a, sent->a) && same(frame.b, sent->b) && same(frame.body, sent->body));
                mst_buffer_consume(&in, used);
            }
        }
        assert_int_equal(taken, FRAMES);
        assert_int_equal(in.length, 0);
        mst_buffer_deinit(&all);
        mst_buffer_deinit(&in);
    }
}

static void lines_come_off_the_front(void **state)
{
    (void)state;
    struct mst_span rest = span("one\n\nthree\nfour"), line;
    assert_true(mst_frame_line(&rest, &line) && same(line, span("one")));
    assert_true(mst_frame_line(&rest, &line) && same(line, span("")));
    assert_true(mst_frame_line(&rest, &line) && same(line, span("three")));
    assert_false(mst_frame_line(&rest, &line));
    assert_true(same(rest, span("four")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back_as_it_was),   cmocka_unit_test(empty_words_are_dashes),
        cmocka_unit_test(cut_anywhere_it_waits_for_more), cmocka_unit_test(what_breaks_the_rules_is_refused),
        cmocka_unit_test(the_limits_hold_to_the_byte),    cmocka_unit_test(what_a_header_cannot_carry_is_not_written),
        cmocka_unit_test(garbage_does_no_harm),           cmocka_unit_test(split_anywhere_the_frames_are_the_same),
        cmocka_unit_test(lines_come_off_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
