// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Identities: the record, the rules for names, and how a name becomes a token of a NATS subject.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/json.h"

#define MST_ID_MAX 255u
#define MST_NAMESPACE_MAX 64u
#define MST_METADATA_MAX 16384u
#define MST_METADATA_DEPTH 16u
#define MST_METADATA_FIELDS 64u
#define MST_LEASE_MIN_MS INT64_C(1000)
#define MST_LEASE_MAX_MS (INT64_C(30) * 86400 * 1000)
#define MST_LEASE_DEFAULT_MS INT64_C(300000)

/* One registered identity; all pointers borrowed. Times are Unix milliseconds. */
struct mst_identity {
    struct mst_span id;
    struct mst_span metadata; /* the JSON object as it was registered */
    struct mst_span gateway;  /* empty: none */
    struct mst_span owner;    /* empty: none */
    int64_t registered_at;
    int64_t updated_at;
    int64_t expires_at; /* 0: the lease never ends */
    int64_t
        lease_ms; /* length of the lease as last given, what a heartbeat without a ttl renews it for; 0: never ends */
    uint64_t revision;
};

/* 1..255 bytes of valid UTF-8 without control characters (C0, DEL). MST_EID with a message that names the fault. */
int mst_id_check(const char *id, size_t length, struct mst_error *error);

/* The same rule for gateways; the message says "gateway". MST_EINVAL. */
int mst_gateway_check(const char *gateway, size_t length, struct mst_error *error);

/* 1..64 of [A-Za-z0-9_-]. MST_ENAMESPACE. */
int mst_namespace_check(const char *name, size_t length, struct mst_error *error);

/* A subject prefix: tokens of [A-Za-z0-9_-] joined by single dots, 1..64 bytes. MST_EINVAL. */
int mst_prefix_check(const char *prefix, size_t length, struct mst_error *error);

/*
 * Appends a name as one subject token: [A-Za-z0-9_-] as is, every other byte as "=HH" (upper-case hex). Injective; at
 * most three bytes for one.
 */
void mst_subject_encode(struct mst_buffer *out, const char *name, size_t length);

/* The reverse; MST_EINVAL for a token that encode would not have written. */
int mst_subject_decode(struct mst_buffer *out, const char *token, size_t length);
