// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The client protocol of NATS, bytes only: what a server says is taken apart, what a client says is put together. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "model/json.h"

enum {
    MST__NATS_LINE = 8192,        /* longest line, but for INFO */
    MST__NATS_INFO = 256 * 1024,  /* longest INFO: a cluster's may be long */
    MST__NATS_MESSAGE = 64 << 20, /* largest message */
};

enum mst__nats_operation {
    MST__NATS_SAYS_INFO,    /* text: the JSON */
    MST__NATS_SAYS_MESSAGE, /* subject, subscription, reply, status, payload */
    MST__NATS_SAYS_PING,
    MST__NATS_SAYS_PONG,
    MST__NATS_SAYS_OK,
    MST__NATS_SAYS_ERROR, /* text, without quotes */
};

/* One operation of the server; the spans point into the bytes it was taken from. */
struct mst__nats_frame {
    enum mst__nats_operation operation;
    uint32_t status; /* of a message with headers: 503 "no responders"; 0: none */
    uint64_t subscription;
    struct mst_span text, subject, reply, payload;
};

/*
 * Takes the operation at the front of `bytes`. Returns how many bytes it has, 0 if they are not all there yet, or -1
 * for what no server says or what is over the limits.
 */
ptrdiff_t mst__nats_frame_take(const char *bytes, size_t length, struct mst__nats_frame *frame);

/* Appends `PUB subject [reply] length` with the payload. Subjects are valid; an empty reply is none. */
void mst__nats_put_publish(struct mst_buffer *out, struct mst_span subject, struct mst_span reply,
                           struct mst_span payload);

/* Appends `SUB subject number`. */
void mst__nats_put_subscribe(struct mst_buffer *out, struct mst_span subject, uint64_t number);
