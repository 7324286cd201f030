// SPDX-License-Identifier: Apache-2.0
#include "model/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void ids_are_utf8_without_controls(void **state)
{
    (void)state;
    char text[256];
    memset(text, 'x', sizeof text);
    struct mst_error error;
    assert_int_equal(mst_id_check("a", 1, &error), 0);
    assert_int_equal(mst_id_check("node 7/\xC3\xA4 *.>", 13, &error), 0);
    assert_int_equal(mst_id_check("\xC2\x85", 2, &error), 0); /* C1 is allowed */
    assert_int_equal(mst_id_check(text, 255, &error), 0);
    assert_int_equal(mst_id_check(text, 256, &error), MST_EID);
    assert_string_equal(error.message, "id has 256 bytes; at most 255 are allowed");
    assert_int_equal(mst_id_check("", 0, &error), MST_EID);
    assert_string_equal(error.message, "id is empty");
    assert_int_equal(mst_id_check("a\nb", 3, &error), MST_EID);
    assert_string_equal(error.message, "id has a control character (0x0A) at byte 1");
    assert_int_equal(mst_id_check("a\0", 2, &error), MST_EID);
    assert_int_equal(mst_id_check("\x7F", 1, &error), MST_EID);
    assert_int_equal(mst_id_check("ab\xC3", 3, &error), MST_EID);
    assert_string_equal(error.message, "id is not valid UTF-8 at byte 2");
    assert_int_equal(mst_gateway_check("a\tb", 3, &error), MST_EINVAL);
    assert_string_equal(error.message, "gateway has a control character (0x09) at byte 1");
    assert_int_equal(mst_gateway_check("gw-1", 4, NULL), 0);
}

static void namespaces_are_plain(void **state)
{
    (void)state;
    char text[65];
    memset(text, 'n', sizeof text);
    struct mst_error error;
    assert_int_equal(mst_namespace_check("Default_1-x", 11, &error), 0);
    assert_int_equal(mst_namespace_check(text, 64, &error), 0);
    assert_int_equal(mst_namespace_check(text, 65, &error), MST_ENAMESPACE);
    assert_int_equal(mst_namespace_check("", 0, &error), MST_ENAMESPACE);
    static const char *const bad[] = {"a.b", "a b", "*", ">", "\xC3\xA4", "a:", "a\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(mst_namespace_check(bad[i], strlen(bad[i]), &error), MST_ENAMESPACE);
}

static void prefixes_are_tokens_and_dots(void **state)
{
    (void)state;
    struct mst_error error;
    assert_int_equal(mst_prefix_check("muster", 6, &error), 0);
    assert_int_equal(mst_prefix_check("a.b-c.d_e", 9, &error), 0);
    static const char *const bad[] = {"", ".", ".a", "a.", "a..b", "a.*", "a.>", "a b", "\xC3\xA4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(mst_prefix_check(bad[i], strlen(bad[i]), &error), MST_EINVAL);
}

static void subjects_escape_what_is_not_plain(void **state)
{
    (void)state;
    struct mst_buffer out = {0};
    mst_subject_encode(&out, "aZ0_-.* >=\xC3", 11);
    assert_int_equal(out.length, 23);
    assert_memory_equal(out.data, "aZ0_-=2E=2A=20=3E=3D=C3", 23);
    mst_buffer_deinit(&out);
}

static void every_name_comes_back(void **state)
{
    (void)state;
    char name[256];
    for (int i = 0; i < 256; i++)
        name[i] = (char)i;
    struct mst_buffer token = {0}, back = {0};
    mst_subject_encode(&token, name, sizeof name);
    for (size_t i = 0; i < token.length; i++)
        assert_true(strchr("=_-", token.data[i]) || (token.data[i] >= '0' && token.data[i] <= 'z'));
    assert_int_equal(mst_subject_decode(&back, token.data, token.length), 0);
    assert_int_equal(back.length, sizeof name);
    assert_memory_equal(back.data, name, sizeof name);
    mst_buffer_deinit(&token);
    mst_buffer_deinit(&back);
}

static void decode_takes_only_what_encode_writes(void **state)
{
    (void)state;
    static const char *const bad[] = {"=", "=2", "=2e", "=41", "=5F", "a.b", "=G0", "a =20", "=2E=", "\xC3\xA4"};
    struct mst_buffer out = {0};
    mst_buffer_append_string(&out, "x");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(mst_subject_decode(&out, bad[i], strlen(bad[i])), MST_EINVAL);
        assert_int_equal(out.length, 1);
    }
    mst_buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_utf8_without_controls), cmocka_unit_test(namespaces_are_plain),
        cmocka_unit_test(prefixes_are_tokens_and_dots),  cmocka_unit_test(subjects_escape_what_is_not_plain),
        cmocka_unit_test(every_name_comes_back),         cmocka_unit_test(decode_takes_only_what_encode_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
