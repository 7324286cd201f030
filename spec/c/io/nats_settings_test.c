// SPDX-License-Identifier: Apache-2.0
/* Servers, credentials and the introduction of a NATS client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/nats_keys.h"
#include "io/nats_settings.h"

static bool read_place(struct mst__nats_place *place, const char *url)
{
    return mst__nats_place_read(place, url, strlen(url));
}

static void urls_are_read(void **state)
{
    (void)state;
    struct mst__nats_place place;
    assert_true(read_place(&place, "nats://one:4333"));
    assert_string_equal(place.host, "one");
    assert_string_equal(place.port, "4333");
    assert_false(place.tls);
    assert_true(read_place(&place, "two"));
    assert_string_equal(place.port, "4222");
    assert_true(read_place(&place, "tls://[::1]:99/"));
    assert_string_equal(place.host, "::1");
    assert_string_equal(place.port, "99");
    assert_true(place.tls);
    assert_true(read_place(&place, "nats://me:p:w@d@three"));
    assert_string_equal(place.user, "me");
    assert_string_equal(place.password, "p:w@d");
    assert_string_equal(place.host, "three");
    assert_true(read_place(&place, "token@four"));
    assert_string_equal(place.user, "token");
    assert_string_equal(place.password, "");
}

static void what_is_no_url_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "nats://",      "nats://:4222", "http://a",  "a:0",
                                      "a:65536", "a:4x",         "[::1",         "[::1]4222", "a b",
                                      "a:",      "nats://a?x=1", "a\tb:1",       "user@:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mst__nats_place place;
        if (read_place(&place, bad[i]))
            fail_msg("%s was taken for a server", bad[i]);
    }
}

static void servers_come_in_a_list(void **state)
{
    (void)state;
    struct mst__nats_settings settings;
    struct mst_error error;
    struct mst_nats_options options = {.servers = " a:1, nats://b:2 ,,c"};
    assert_int_equal(mst__nats_settings_init(&settings, &options, &error), 0);
    assert_int_equal(settings.place_count, 3);
    assert_string_equal(settings.places[1].host, "b");
    assert_string_equal(settings.places[2].port, "4222");
    mst__nats_settings_deinit(&settings);
    options.servers = "a,nats://me:secret@";
    assert_int_equal(mst__nats_settings_init(&settings, &options, &error), MST_ECONFIG);
    assert_non_null(strstr(error.message, "number 2"));
    assert_null(strstr(error.message, "secret"));
    mst__nats_settings_deinit(&settings);
    options.servers = " , ";
    assert_int_equal(mst__nats_settings_init(&settings, &options, &error), MST_ECONFIG);
    mst__nats_settings_deinit(&settings);
}

static void a_greeting_is_read(void **state)
{
    (void)state;
    static const char info[] = "{\"max_payload\":4096,\"headers\":true,\"tls_required\":true,\"nonce\":\"abc\"}";
    struct mst__nats_server server;
    struct mst_error error;
    assert_int_equal(mst__nats_server_read(&server, (struct mst_span){info, sizeof info - 1}, &error), 0);
    assert_int_equal(server.max_payload, 4096);
    assert_true(server.headers && server.tls_required && !server.tls_available);
    assert_string_equal(server.nonce, "abc");
    assert_int_equal(mst__nats_server_read(&server, (struct mst_span){"[]", 2}, &error), MST_ENATS);
    assert_int_equal(mst__nats_server_read(&server, (struct mst_span){"{", 1}, &error), MST_ENATS);
    assert_int_equal(mst__nats_server_read(&server, (struct mst_span){"{}", 2}, &error), 0);
    assert_int_equal(server.max_payload, 1 << 20);
}

/* The introduction for these options and this URL. */
static char *introduction(struct mst_nats_options *options, const char *servers)
{
    struct mst__nats_settings settings;
    struct mst__nats_server server = {.headers = true};
    struct mst_buffer out = {0};
    options->servers = servers;
    assert_int_equal(mst__nats_settings_init(&settings, options, NULL), 0);
    assert_int_equal(mst__nats_put_connect(&out, &settings, settings.places, &server, false, NULL), 0);
    mst_buffer_append_byte(&out, '\0');
    mst__nats_settings_deinit(&settings);
    return mst_buffer_take(&out, NULL);
}

static void assert_says(char *text, const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("no %s in %s", wanted, text);
    free(text);
}

static void credentials_come_from_url_or_options(void **state)
{
    (void)state;
    struct mst_nats_options options = {.user = "o", .password = "q\"r"};
    assert_says(introduction(&options, "a"), "\"user\":\"o\",\"pass\":\"q\\\"r\"");
    assert_says(introduction(&options, "u:p@a"), "\"user\":\"u\",\"pass\":\"p\"");
    assert_says(introduction(&options, "t@a"), "\"auth_token\":\"t\"");
    options = (struct mst_nats_options){.token = "k", .name = "n"};
    assert_says(introduction(&options, "a"), "\"auth_token\":\"k\"");
    assert_says(introduction(&options, "a"), "\"name\":\"n\"");
    assert_says(introduction(&options, "a"), "\"no_responders\":true");
}

static void write_file(char *path, const char *text)
{
    strcpy(path, "/tmp/muster-keys-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* The pair that the NATS documentation uses as its example. */
#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC_KEY "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static void a_key_signs(void **state)
{
    (void)state;
    char path[40];
    struct mst__nats_keys keys = {0};
    write_file(path, SEED "\n" PUBLIC_KEY "\n");
    assert_int_equal(mst__nats_keys_read(&keys, path, false, NULL), 0);
    assert_int_equal(mst__nats_keys_sign(&keys, "nonce", NULL), 0);
    assert_string_equal(keys.public_key, PUBLIC_KEY);
    assert_int_equal(strlen(keys.signature), 86);
    assert_int_equal(strspn(keys.signature, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 86);
    assert_int_equal(mst__nats_keys_sign(&keys, "", NULL), MST_ECONFIG);
    mst__nats_keys_deinit(&keys);
    assert_int_equal(mst__nats_keys_read(&keys, path, true, NULL), MST_ECONFIG);
    mst__nats_keys_deinit(&keys);
    unlink(path);
}

static void credentials_hold_jwt_and_seed(void **state)
{
    (void)state;
    char path[40];
    struct mst__nats_keys keys = {0};
    write_file(path, "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n------END NATS USER JWT------\n\n"
                     "-----BEGIN USER NKEY SEED-----\n" SEED "\n------END USER NKEY SEED------\n");
    assert_int_equal(mst__nats_keys_read(&keys, path, true, NULL), 0);
    assert_string_equal(keys.jwt, "eyJ0.eyJq.c2ln");
    assert_int_equal(mst__nats_keys_sign(&keys, "nonce", NULL), 0);
    assert_string_equal(keys.public_key, PUBLIC_KEY);
    mst__nats_keys_deinit(&keys);
    unlink(path);
}

static void a_damaged_key_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "SU\n", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VX\n",
                                      "SAACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n", PUBLIC_KEY "\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[40];
        struct mst__nats_keys keys = {0};
        struct mst_error error;
        write_file(path, bad[i]);
        assert_int_equal(mst__nats_keys_read(&keys, path, false, &error), MST_ECONFIG);
        assert_non_null(strstr(error.message, path));
        mst__nats_keys_deinit(&keys);
        unlink(path);
    }
    struct mst__nats_keys keys = {0};
    assert_int_equal(mst__nats_keys_read(&keys, "/nonexistent/key", false, NULL), MST_ECONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_read),
        cmocka_unit_test(what_is_no_url_is_refused),
        cmocka_unit_test(servers_come_in_a_list),
        cmocka_unit_test(a_greeting_is_read),
        cmocka_unit_test(credentials_come_from_url_or_options),
        cmocka_unit_test(a_key_signs),
        cmocka_unit_test(credentials_hold_jwt_and_seed),
        cmocka_unit_test(a_damaged_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
