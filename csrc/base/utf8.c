// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <string.h>

static bool continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the sequence that `lead` opens, and the bounds its second byte keeps (Unicode 15, table 3-7). */
static unsigned sequence(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

unsigned mst_utf8_decode(const char *text, size_t length, uint32_t *code_point)
{
    const unsigned char *bytes = (const unsigned char *)text;
    if (length == 0)
        return 0;
    if (bytes[0] < 0x80) {
        *code_point = bytes[0];
        return 1;
    }
    unsigned char low, high;
    unsigned size = sequence(bytes[0], &low, &high);
    if (size == 0 || length < size || bytes[1] < low || bytes[1] > high)
        return 0;
    uint32_t point = bytes[0] & (0x7Fu >> size);
    for (unsigned i = 1; i < size; i++) {
        if (!continuation(bytes[i]))
            return 0;
        point = point << 6 | (bytes[i] & 0x3Fu);
    }
    *code_point = point;
    return size;
}

size_t mst_utf8_span(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint64_t word;
        if (length - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof word;
                continue;
            }
        }
        uint32_t point;
        unsigned size = mst_utf8_decode(text + at, length - at, &point);
        if (size == 0)
            break;
        at += size;
    }
    return at;
}

bool mst_utf8_valid(const char *text, size_t length)
{
    return mst_utf8_span(text, length) == length;
}

size_t mst_utf8_cut(const char *text, size_t length, size_t most)
{
    if (length <= most)
        return length;
    while (most > 0 && continuation((unsigned char)text[most]))
        most--;
    return most;
}
