// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct mst_buffer out = {0};
        mst_base64_encode(&out, pairs[i][0], strlen(pairs[i][0]));
        assert_int_equal(out.length, strlen(pairs[i][1]));
        if (out.length)
            assert_memory_equal(out.data, pairs[i][1], out.length);
        mst_buffer_clear(&out);
        assert_int_equal(mst_base64_decode(&out, pairs[i][1], strlen(pairs[i][1])), 0);
        assert_int_equal(out.length, strlen(pairs[i][0]));
        if (out.length)
            assert_memory_equal(out.data, pairs[i][0], out.length);
        mst_buffer_deinit(&out);
    }
}

static void all_bytes_come_back(void **state)
{
    (void)state;
    uint8_t bytes[256];
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = (uint8_t)(i * 167 + 13);
    for (size_t length = 0; length <= 256; length++) {
        struct mst_buffer text = {0}, back = {0};
        mst_base64_encode(&text, bytes, length);
        assert_int_equal(mst_base64_decode(&back, text.data, text.length), 0);
        assert_int_equal(back.length, length);
        if (length)
            assert_memory_equal(back.data, bytes, length);
        mst_buffer_deinit(&text);
        mst_buffer_deinit(&back);
    }
}

static void loose_texts_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",      "Zg",   "Zg=",  "Zg===", "Zh==", "Zm9=", "Zg==Zg==", "Z g=",
                                      "Zm9v\n", "Zm-v", "Zm_v", "=Zg=",  "====", "Z===", "Zg=g"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mst_buffer out = {0};
        mst_buffer_append_string(&out, "x");
        assert_int_equal(mst_base64_decode(&out, bad[i], strlen(bad[i])), MST_EINVAL);
        assert_int_equal(out.length, 1);
        mst_buffer_deinit(&out);
    }
}

static void the_limit_of_the_output_holds(void **state)
{
    (void)state;
    struct mst_buffer out = {.limit = 5};
    assert_int_equal(mst_base64_decode(&out, "Zm9vYmE=", 8), 0);
    mst_buffer_clear(&out);
    assert_int_equal(mst_base64_decode(&out, "Zm9vYmFy", 8), MST_ETOOBIG);
    mst_buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_4648),
        cmocka_unit_test(all_bytes_come_back),
        cmocka_unit_test(loose_texts_are_refused),
        cmocka_unit_test(the_limit_of_the_output_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
