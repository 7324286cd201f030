// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <stdint.h>

#include "base/error.h"

void mst_base64_encode(struct mst_buffer *out, const void *bytes, size_t length)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *from = bytes;
    if (length > SIZE_MAX / 2 || !mst_buffer_reserve(out, (length + 2) / 3 * 4)) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t bits = (uint32_t)from[i] << 16;
        bits |= left > 1 ? (uint32_t)from[i + 1] << 8 : 0;
        bits |= left > 2 ? from[i + 2] : 0;
        out->data[out->length++] = alphabet[bits >> 18];
        out->data[out->length++] = alphabet[bits >> 12 & 63];
        out->data[out->length++] = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        out->data[out->length++] = left > 2 ? alphabet[bits & 63] : '=';
    }
}

static int sextet(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

/* Writes the bytes of one group of four; how many, or -1. Only the last group may be padded. */
static int decode_group(const char *group, bool last, uint8_t bytes[3])
{
    int padding = 0;
    if (last && group[3] == '=')
        padding = group[2] == '=' ? 2 : 1;
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++) {
        int value = i >= 4 - padding ? 0 : sextet(group[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
    }
    /* Bits that no byte takes must be zero, or two texts would mean the same bytes. */
    if (bits & ((UINT32_C(1) << (8 * padding)) - 1))
        return -1;
    bytes[0] = (uint8_t)(bits >> 16);
    bytes[1] = (uint8_t)(bits >> 8);
    bytes[2] = (uint8_t)bits;
    return 3 - padding;
}

int mst_base64_decode(struct mst_buffer *out, const char *text, size_t length)
{
    size_t before = out->length;
    if (length % 4 != 0)
        return MST_EINVAL;
    for (size_t i = 0; i < length; i += 4) {
        uint8_t bytes[3];
        int size = decode_group(text + i, i + 4 == length, bytes);
        if (size < 0) {
            out->length = before;
            return MST_EINVAL;
        }
        mst_buffer_append(out, bytes, (size_t)size);
    }
    if (!out->failed)
        return 0;
    out->length = before;
    return MST_ETOOBIG;
}
