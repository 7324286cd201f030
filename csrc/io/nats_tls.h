// SPDX-License-Identifier: Apache-2.0
#pragma once

/* TLS on bytes in memory (OpenSSL): the caller moves what is sealed to and from the socket. */
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

struct mst__nats_tls;

/*
 * A client that trusts the authorities in `ca_file` (NULL: the system's) and demands a certificate for `host`, a name
 * or an address. MST_ECONFIG for a file that cannot be used.
 */
int mst__nats_tls_create(struct mst__nats_tls **made, const char *ca_file, const char *host, struct mst_error *error);
void mst__nats_tls_destroy(struct mst__nats_tls *tls);

/* Goes on with the handshake; 1: done, 0: more bytes are needed. What is to be sent is appended to `sealed`. MST_ENATS.
 */
int mst__nats_tls_shake(struct mst__nats_tls *tls, struct mst_buffer *sealed, struct mst_error *error);

/* Bytes from the socket. MST_ENOMEM. */
int mst__nats_tls_feed(struct mst__nats_tls *tls, const void *bytes, size_t length);

/* Appends what has come in clear to `plain`. MST_ENATS: the other side has ended, or spoken wrongly. */
int mst__nats_tls_open(struct mst__nats_tls *tls, struct mst_buffer *plain, struct mst_buffer *sealed,
                       struct mst_error *error);

/* Appends what is to be sent for these bytes to `sealed`. */
int mst__nats_tls_seal(struct mst__nats_tls *tls, const void *bytes, size_t length, struct mst_buffer *sealed,
                       struct mst_error *error);
