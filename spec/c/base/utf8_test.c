// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Straight from the definition, to compare with. */
static unsigned encode(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xC0 | point >> 6);
        out[1] = (char)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xE0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 63));
        out[2] = (char)(0x80 | (point & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 63));
    out[2] = (char)(0x80 | (point >> 6 & 63));
    out[3] = (char)(0x80 | (point & 63));
    return 4;
}

static void every_code_point_decodes_but_surrogates(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x120000; point++) {
        char text[4];
        uint32_t read = UINT32_MAX;
        unsigned size = encode(point, text), decoded = mst_utf8_decode(text, size, &read);
        if ((point >= 0xD800 && point < 0xE000) || point > 0x10FFFF) {
            assert_int_equal(decoded, 0);
        } else {
            assert_int_equal(decoded, size);
            assert_int_equal(read, point);
            assert_int_equal(mst_utf8_decode(text, size - 1, &read), 0);
        }
    }
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\xF5\x80\x80\x80",
        "\xFF", "\xC3",     "\xE2\x82", "\xE2\x28\xA1", "abcdefgh\xC3",     "abcdefghijk\xED\xA0\x80xyz"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(mst_utf8_valid(bad[i], strlen(bad[i])));
    assert_true(mst_utf8_valid("", 0));
    assert_true(mst_utf8_valid("abcdefgh\xC3\xA4ijklmnopq\xF0\x9F\x98\x80", 23));
}

static void a_cut_keeps_code_points_whole(void **state)
{
    (void)state;
    const char text[] = "a\xE2\x82\xAC"
                        "b";
    static const size_t kept[] = {0, 1, 1, 1, 4, 5, 5};
    for (size_t most = 0; most < sizeof kept / sizeof kept[0]; most++)
        assert_int_equal(mst_utf8_cut(text, 5, most), kept[most]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_decodes_but_surrogates),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(a_cut_keeps_code_points_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
