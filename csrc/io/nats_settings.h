// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a connection to NATS needs to know: servers and credentials, and how a client introduces itself. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "io/nats_messaging.h"
#include "model/json.h"

enum { MST__NATS_NAME = 256, MST__NATS_PLACES = 32 };

/* A server as its URL names it: [nats://|tls://][user[:password]@]host[:port]; a user without a password is a token. */
struct mst__nats_place {
    char host[MST__NATS_NAME], port[8], user[MST__NATS_NAME], password[MST__NATS_NAME];
    bool tls;
};

/* False: not such a URL. */
bool mst__nats_place_read(struct mst__nats_place *place, const char *url, size_t length);

/* A copy of the options that outlives the call. Empty strings: none. */
struct mst__nats_settings {
    struct mst__nats_place *places; /* owned */
    uint32_t place_count;
    char *user, *password, *token, *credentials_file, *nkey_file, *ca_file, *name; /* owned; NULL: none */
    uint64_t connect_timeout;
};

/* MST_ECONFIG, MST_ENOMEM. In each case to be deinitialised. */
int mst__nats_settings_init(struct mst__nats_settings *settings, const struct mst_nats_options *options,
                            struct mst_error *error);
void mst__nats_settings_deinit(struct mst__nats_settings *settings);

/* What a server says of itself in INFO. */
struct mst__nats_server {
    size_t max_payload;
    bool headers, tls_required, tls_available;
    char nonce[128];
};

/* MST_ENATS for what no server says. */
int mst__nats_server_read(struct mst__nats_server *server, struct mst_span info, struct mst_error *error);

/*
 * Appends CONNECT. Reads the files with keys anew each time, so that they can be exchanged. MST_ECONFIG where one
 * cannot be used.
 */
int mst__nats_put_connect(struct mst_buffer *out, const struct mst__nats_settings *settings,
                          const struct mst__nats_place *place, const struct mst__nats_server *server, bool tls,
                          struct mst_error *error);
