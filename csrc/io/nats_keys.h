// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Keys with which a client of NATS proves who it is: NKeys (Ed25519 in base32) and credentials files (JWT and seed). */
#include <stdbool.h>

#include "base/error.h"

struct mst__nats_keys {
    char *jwt;           /* owned; NULL: none */
    char public_key[64]; /* of a user: U... */
    char signature[96];  /* base64url */
    unsigned char seed[32];
};

/* Reads a seed, and of a credentials file the JWT, too. MST_ECONFIG: no such file, or nothing of the kind in it. */
int mst__nats_keys_read(struct mst__nats_keys *keys, const char *path, bool credentials, struct mst_error *error);

/* Signs the server's nonce. MST_ECONFIG: it has sent none. */
int mst__nats_keys_sign(struct mst__nats_keys *keys, const char *nonce, struct mst_error *error);

/* Wipes. */
void mst__nats_keys_deinit(struct mst__nats_keys *keys);
