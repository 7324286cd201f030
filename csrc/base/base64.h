// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Base64 of RFC 4648 with padding; decoding is strict (alphabet, padding, trailing bits). */
#include <stddef.h>

#include "base/buffer.h"

void mst_base64_encode(struct mst_buffer *out, const void *bytes, size_t length);

/* MST_EINVAL, MST_ETOOBIG (limit of `out`) or 0. */
int mst_base64_decode(struct mst_buffer *out, const char *text, size_t length);
