// SPDX-License-Identifier: Apache-2.0
/* The client protocol of NATS: frames in one piece, in pieces of every length, and such as no server sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/nats_wire.h"

/* A copy without a byte to spare, so that a sanitizer sees what is read beyond. */
static ptrdiff_t take(const char *text, size_t length, struct mst__nats_frame *frame, char **copy)
{
    *copy = malloc(length ? length : 1);
    memcpy(*copy, text, length);
    *frame = (struct mst__nats_frame){0};
    return mst__nats_frame_take(*copy, length, frame);
}

static void assert_span(struct mst_span span, const char *text)
{
    assert_int_equal(span.length, strlen(text));
    assert_memory_equal(span.data, text, span.length);
}

static void frames_are_taken_apart(void **state)
{
    (void)state;
    struct mst__nats_frame frame;
    char *copy;
    assert_int_equal(take("PONG\r\nPING\r\n", 12, &frame, &copy), 6);
    assert_int_equal(frame.operation, MST__NATS_SAYS_PONG);
    free(copy);
    assert_int_equal(take("-ERR 'Permissions Violation for Publish to \"a\"'\r\n", 49, &frame, &copy), 49);
    assert_int_equal(frame.operation, MST__NATS_SAYS_ERROR);
    assert_span(frame.text, "Permissions Violation for Publish to \"a\"");
    free(copy);
    assert_int_equal(take("INFO {\"a\":1} \r\n", 15, &frame, &copy), 15);
    assert_span(frame.text, "{\"a\":1}");
    free(copy);
    assert_int_equal(take("MSG a.b 7 5\r\nhe\r\no\r\n", 20, &frame, &copy), 20);
    assert_int_equal(frame.operation, MST__NATS_SAYS_MESSAGE);
    assert_int_equal(frame.subscription, 7);
    assert_int_equal(frame.status, 0);
    assert_span(frame.subject, "a.b");
    assert_span(frame.reply, "");
    assert_span(frame.payload, "he\r\no");
    free(copy);
    assert_int_equal(take("MSG a  7 r.1 0\r\n\r\n", 18, &frame, &copy), 18);
    assert_span(frame.reply, "r.1");
    assert_span(frame.payload, "");
    free(copy);
}

static void the_status_of_a_message_is_read(void **state)
{
    (void)state;
    static const char nobody[] = "HMSG a 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n";
    static const char other[] = "HMSG a 1 r 18 20\r\nNATS/1.0\r\nX: 503\r\nhi\r\n";
    struct mst__nats_frame frame;
    char *copy;
    assert_int_equal(take(nobody, sizeof nobody - 1, &frame, &copy), sizeof nobody - 1);
    assert_int_equal(frame.status, 503);
    assert_span(frame.payload, "");
    free(copy);
    assert_int_equal(take(other, sizeof other - 1, &frame, &copy), sizeof other - 1);
    assert_int_equal(frame.status, 0);
    assert_span(frame.reply, "r");
    assert_span(frame.payload, "hi");
    free(copy);
}

static void a_frame_that_is_not_all_there_is_waited_for(void **state)
{
    (void)state;
    static const char *const whole[] = {"INFO {}\r\n", "MSG a.b 7 r 5\r\nhello\r\n",
                                        "HMSG a 1 16 18\r\nNATS/1.0 503\r\n\r\nhi\r\n", "PONG\r\n"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        for (size_t length = 0; length < strlen(whole[i]); length++) {
            struct mst__nats_frame frame;
            char *copy;
            assert_int_equal(take(whole[i], length, &frame, &copy), 0);
            free(copy);
        }
}

static void what_no_server_says_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "HELLO\r\n",
        "\r\n",
        "MSG a\r\n",
        "MSG a 1\r\n",
        "MSG a 1 2 3 4\r\n",
        "MSG a x 2\r\nhi\r\n",
        "MSG a 1 -2\r\nhi\r\n",
        "MSG a 1 99999999999999999999\r\n",
        "MSG a 1 67108865\r\n",
        "MSG a 18446744073709551616 2\r\nhi\r\n",
        "MSG a 1 2\r\nhi!!",
        "HMSG a 1 2\r\nhi\r\n",
        "HMSG a 1 5 2\r\nhi\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mst__nats_frame frame;
        char *copy;
        ptrdiff_t taken = take(bad[i], strlen(bad[i]), &frame, &copy);
        if (taken != -1)
            fail_msg("%td for %s", taken, bad[i]);
        free(copy);
    }
}

static void a_line_without_end_is_refused(void **state)
{
    (void)state;
    char *text = malloc(MST__NATS_INFO);
    struct mst__nats_frame frame;
    memset(text, 'M', MST__NATS_INFO);
    assert_int_equal(mst__nats_frame_take(text, MST__NATS_LINE - 1, &frame), 0);
    assert_int_equal(mst__nats_frame_take(text, MST__NATS_LINE, &frame), -1);
    memset(text, 'I', MST__NATS_INFO);
    assert_int_equal(mst__nats_frame_take(text, MST__NATS_INFO - 1, &frame), 0);
    assert_int_equal(mst__nats_frame_take(text, MST__NATS_INFO, &frame), -1);
    free(text);
}

static void messages_are_put_together(void **state)
{
    (void)state;
    struct mst_buffer out = {0};
    struct mst_span subject = {"a.b", 3}, reply = {"r", 1}, none = {"", 0}, payload = {"x\r\ny", 4};
    mst__nats_put_publish(&out, subject, none, payload);
    mst__nats_put_publish(&out, subject, reply, none);
    mst__nats_put_subscribe(&out, subject, 12);
    assert_span((struct mst_span){out.data, out.length}, "PUB a.b 4\r\nx\r\ny\r\nPUB a.b r 0\r\n\r\nSUB a.b 12\r\n");
    mst_buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_taken_apart),
        cmocka_unit_test(the_status_of_a_message_is_read),
        cmocka_unit_test(a_frame_that_is_not_all_there_is_waited_for),
        cmocka_unit_test(what_no_server_says_is_refused),
        cmocka_unit_test(a_line_without_end_is_refused),
        cmocka_unit_test(messages_are_put_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
