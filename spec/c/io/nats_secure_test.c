// SPDX-License-Identifier: Apache-2.0
/* Messaging over a nats-server that wants TLS, or a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "support/nats_harness.h"

struct certificate {
    char folder[40], certificate[60], key[60];
};

static void extend(X509 *certificate, int what, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, what, value);
    assert_non_null(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* A certificate that signs itself, for these names ("IP:127.0.0.1"). */
static void certify(struct certificate *made, const char *names)
{
    strcpy(made->folder, "/tmp/muster-tls-XXXXXX");
    assert_non_null(mkdtemp(made->folder));
    snprintf(made->certificate, sizeof made->certificate, "%s/cert.pem", made->folder);
    snprintf(made->key, sizeof made->key, "%s/key.pem", made->folder);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"muster test", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    extend(certificate, NID_basic_constraints, "critical,CA:TRUE");
    extend(certificate, NID_subject_alt_name, names);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    FILE *file = fopen(made->certificate, "we");
    PEM_write_X509(file, certificate);
    fclose(file);
    file = fopen(made->key, "we");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void forget(const struct certificate *made)
{
    unlink(made->certificate);
    unlink(made->key);
    rmdir(made->folder);
}

static void start_tls(struct test_server *server, const struct certificate *made)
{
    const char *const arguments[] = {"--tls", "--tlscert", made->certificate, "--tlskey", made->key, NULL};
    assert_true(test_nats_start(server, arguments));
}

/* Large enough for many records of TLS, both ways. */
static void messages_go_over_tls(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct certificate made;
    struct test_server server;
    certify(&made, "IP:127.0.0.1,DNS:localhost");
    start_tls(&server, &made);
    struct harness harness;
    struct mst_nats_options options = {.ca_file = made.certificate};
    harness_open(&harness, &server, &options);
    struct probe *probe = probe_send(&harness, "nobody", COUNT, "a message that takes some room in its record", true);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], COUNT);
    assert_int_equal(probe->nobody, COUNT);
    assert_int_equal(probe->late_nobody, 0);
    probe_free(&harness, probe);
    assert_true(test_server_restart(&server));
    probe = probe_send(&harness, "again", 10, "hello", true);
    run_until(&harness, probe_ended, probe, 20);
    probe_free(&harness, probe);
    harness_close(&harness);
    test_server_stop(&server);
    forget(&made);
}

static void a_certificate_for_another_host_is_refused(void **state)
{
    (void)state;
    struct certificate made, other;
    struct test_server server;
    certify(&made, "IP:127.0.0.2,DNS:example.org");
    certify(&other, "IP:127.0.0.1");
    start_tls(&server, &made);
    struct harness harness;
    /* Its control connection may well work; a publisher wants to know whom it talks to. */
    struct mst_nats_options options = {.ca_file = made.certificate};
    harness_try_port(&harness, server.port, &options);
    assert_int_equal(harness.status, MST_ENATS);
    assert_non_null(strstr(harness.error.message, "IP address mismatch"));
    harness_close(&harness);
    options.ca_file = other.certificate;
    harness_try_port(&harness, server.port, &options);
    assert_int_equal(harness.status, MST_ENATS);
    harness_close(&harness);
    test_server_stop(&server);
    forget(&made);
    forget(&other);
}

static void a_server_without_tls_is_not_talked_to_in_clear(void **state)
{
    (void)state;
    struct certificate made;
    struct test_server server;
    certify(&made, "IP:127.0.0.1");
    assert_true(test_nats_start(&server, NULL));
    struct harness harness;
    struct mst_nats_options options = {.ca_file = made.certificate, .password = "secret", .user = "me"};
    harness_try_port(&harness, server.port, &options);
    assert_int_equal(harness.status, MST_ENATS);
    harness_close(&harness);
    test_server_stop(&server);
    forget(&made);
}

static void a_key_opens_the_door(void **state)
{
    (void)state;
    static const char key[] = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    char configuration[] = "/tmp/muster-nats-XXXXXX", seed[] = "/tmp/muster-seed-XXXXXX";
    int fd = mkstemp(configuration);
    dprintf(fd, "authorization { users = [ { nkey: %s } ] }\n", key);
    close(fd);
    fd = mkstemp(seed);
    dprintf(fd, "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n%s\n", key);
    close(fd);
    struct test_server server;
    const char *const arguments[] = {"-c", configuration, NULL};
    assert_true(test_nats_start(&server, arguments));
    struct harness harness;
    struct mst_nats_options options = {.nkey_file = seed};
    harness_open(&harness, &server, &options);
    struct probe *probe = probe_send(&harness, "t", 10, "hello", false);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->ended[MST_CAST_ROUTED], 10);
    probe_free(&harness, probe);
    harness_close(&harness);
    harness_try_port(&harness, server.port, NULL);
    assert_int_equal(harness.status, MST_ENATS);
    harness_close(&harness);
    test_server_stop(&server);
    unlink(configuration);
    unlink(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_over_tls),
        cmocka_unit_test(a_certificate_for_another_host_is_refused),
        cmocka_unit_test(a_server_without_tls_is_not_talked_to_in_clear),
        cmocka_unit_test(a_key_opens_the_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
