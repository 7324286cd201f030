// SPDX-License-Identifier: Apache-2.0
#include "io/nats_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

enum { PIECE = 16384, MOST_PIECE = 1 << 30 };

struct mst__nats_tls {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out; /* the SSL object's */
};

static int fail(struct mst_error *error, int code, const struct mst__nats_tls *tls, const char *what)
{
    char text[160] = "no reason given";
    long verdict = tls && tls->ssl ? SSL_get_verify_result(tls->ssl) : X509_V_OK;
    unsigned long number = ERR_get_error();
    if (verdict != X509_V_OK)
        return mst_error_set(error, code, "%s: %s", what, X509_verify_cert_error_string(verdict));
    if (number) {
        const char *reason = ERR_reason_error_string(number);
        snprintf(text, sizeof text, "%s", reason ? reason : "unknown reason");
    }
    ERR_clear_error();
    return mst_error_set(error, code, "%s: %s", what, text);
}

static bool expect_host(struct mst__nats_tls *tls, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    X509_VERIFY_PARAM *parameters = SSL_get0_param(tls->ssl);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(parameters, host) == 1;
    return SSL_set1_host(tls->ssl, host) == 1 && SSL_set_tlsext_host_name(tls->ssl, host) == 1;
}

int mst__nats_tls_create(struct mst__nats_tls **made, const char *ca_file, const char *host, struct mst_error *error)
{
    struct mst__nats_tls *tls = calloc(1, sizeof *tls);
    ERR_clear_error();
    if (!tls)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    tls->context = SSL_CTX_new(TLS_client_method());
    if (!tls->context || SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION) != 1)
        goto fail;
    if (!(ca_file ? SSL_CTX_load_verify_locations(tls->context, ca_file, NULL)
                  : SSL_CTX_set_default_verify_paths(tls->context))) {
        int code = fail(error, MST_ECONFIG, NULL, ca_file ? "NATS CA file" : "the system's certificate authorities");
        mst__nats_tls_destroy(tls);
        return code;
    }
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
    tls->ssl = SSL_new(tls->context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        goto fail;
    }
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    if (!expect_host(tls, host))
        goto fail;
    *made = tls;
    return 0;
fail:
    mst__nats_tls_destroy(tls);
    return mst_error_set(error, MST_ENOMEM, "TLS cannot be started");
}

void mst__nats_tls_destroy(struct mst__nats_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->context);
    free(tls);
}

/* Moves what OpenSSL wants to send. */
static int drain(struct mst__nats_tls *tls, struct mst_buffer *sealed, struct mst_error *error)
{
    int count;
    while (mst_buffer_reserve(sealed, PIECE) && (count = BIO_read(tls->out, sealed->data + sealed->length, PIECE)) > 0)
        sealed->length += (size_t)count;
    return sealed->failed ? mst_error_set(error, MST_ENOMEM, "out of memory") : 0;
}

int mst__nats_tls_shake(struct mst__nats_tls *tls, struct mst_buffer *sealed, struct mst_error *error)
{
    ERR_clear_error();
    int done = SSL_do_handshake(tls->ssl);
    int wants = SSL_get_error(tls->ssl, done);
    int code = drain(tls, sealed, error);
    if (code < 0 || done == 1)
        return code < 0 ? code : 1;
    return wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE ? 0 : fail(error, MST_ENATS, tls, "TLS");
}

int mst__nats_tls_feed(struct mst__nats_tls *tls, const void *bytes, size_t length)
{
    return BIO_write(tls->in, bytes, (int)length) == (int)length ? 0 : MST_ENOMEM;
}

int mst__nats_tls_open(struct mst__nats_tls *tls, struct mst_buffer *plain, struct mst_buffer *sealed,
                       struct mst_error *error)
{
    int count = 0;
    ERR_clear_error();
    while (mst_buffer_reserve(plain, PIECE) && (count = SSL_read(tls->ssl, plain->data + plain->length, PIECE)) > 0)
        plain->length += (size_t)count;
    if (plain->failed)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    int wants = SSL_get_error(tls->ssl, count), code = drain(tls, sealed, error);
    if (code < 0 || wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE)
        return code;
    if (wants == SSL_ERROR_ZERO_RETURN)
        return mst_error_set(error, MST_ENATS, "the connection was closed");
    return fail(error, MST_ENATS, tls, "TLS");
}

int mst__nats_tls_seal(struct mst__nats_tls *tls, const void *bytes, size_t length, struct mst_buffer *sealed,
                       struct mst_error *error)
{
    const char *at = bytes;
    ERR_clear_error();
    while (length) {
        int piece = length > MOST_PIECE ? MOST_PIECE : (int)length;
        int count = SSL_write(tls->ssl, at, piece);
        if (count <= 0)
            return fail(error, MST_ENATS, tls, "TLS");
        at += count;
        length -= (size_t)count;
    }
    return drain(tls, sealed, error);
}
