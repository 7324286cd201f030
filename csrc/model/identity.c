// SPDX-License-Identifier: Apache-2.0
#include "model/identity.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

/* One rule for ids and gateways; `what` names the thing in the message. */
static int check_name(const char *name, size_t length, const char *what, int code, struct mst_error *error)
{
    if (length == 0)
        return mst_error_set(error, code, "%s is empty", what);
    if (length > MST_ID_MAX)
        return mst_error_set(error, code, "%s has %zu bytes; at most %u are allowed", what, length, MST_ID_MAX);
    for (size_t at = 0; at < length;) {
        uint32_t point;
        unsigned size = mst_utf8_decode(name + at, length - at, &point);
        if (size == 0)
            return mst_error_set(error, code, "%s is not valid UTF-8 at byte %zu", what, at);
        if (point < 0x20 || point == 0x7F)
            return mst_error_set(error, code, "%s has a control character (0x%02X) at byte %zu", what, (unsigned)point,
                                 at);
        at += size;
    }
    return 0;
}

int mst_id_check(const char *id, size_t length, struct mst_error *error)
{
    return check_name(id, length, "id", MST_EID, error);
}

int mst_gateway_check(const char *gateway, size_t length, struct mst_error *error)
{
    return check_name(gateway, length, "gateway", MST_EINVAL, error);
}

/* ctype.h would ask the locale. */
static bool plain(unsigned char byte)
{
    __extension__ static const bool bytes[256] = {
        ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['_'] = true, ['-'] = true,
    };
    return bytes[byte];
}

static int check_length(const char *what, size_t length, int code, struct mst_error *error)
{
    if (length == 0)
        return mst_error_set(error, code, "%s is empty", what);
    if (length > MST_NAMESPACE_MAX)
        return mst_error_set(error, code, "%s has %zu bytes; at most %u are allowed", what, length, MST_NAMESPACE_MAX);
    return 0;
}

int mst_namespace_check(const char *name, size_t length, struct mst_error *error)
{
    int status = check_length("namespace", length, MST_ENAMESPACE, error);
    if (status < 0)
        return status;
    for (size_t i = 0; i < length; i++)
        if (!plain((unsigned char)name[i]))
            return mst_error_set(error, MST_ENAMESPACE,
                                 "namespace has a byte other than letters, digits, \"_\" and \"-\" at %zu", i);
    return 0;
}

int mst_prefix_check(const char *prefix, size_t length, struct mst_error *error)
{
    int status = check_length("prefix", length, MST_EINVAL, error);
    if (status < 0)
        return status;
    for (size_t i = 0; i < length; i++) {
        if (prefix[i] != '.' && !plain((unsigned char)prefix[i]))
            return mst_error_set(error, MST_EINVAL,
                                 "prefix has a byte other than letters, digits, \"_\", \"-\" and \".\" at %zu", i);
        if (prefix[i] == '.' && (i == 0 || i + 1 == length || prefix[i - 1] == '.'))
            return mst_error_set(error, MST_EINVAL, "prefix has an empty token at byte %zu", i);
    }
    return 0;
}

void mst_subject_encode(struct mst_buffer *out, const char *name, size_t length)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t start = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (plain(byte))
            continue;
        const char escaped[3] = {'=', hex[byte >> 4], hex[byte & 15]};
        mst_buffer_append(out, name + start, i - start);
        mst_buffer_append(out, escaped, sizeof escaped);
        start = i + 1;
    }
    mst_buffer_append(out, name + start, length - start);
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

int mst_subject_decode(struct mst_buffer *out, const char *token, size_t length)
{
    size_t before = out->length;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)token[i];
        if (byte == '=') {
            int high = length - i > 2 ? hex_digit(token[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(token[i + 2]) : -1;
            if (low < 0 || plain((unsigned char)(high << 4 | low)))
                goto fail;
            byte = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (!plain(byte)) {
            goto fail;
        }
        mst_buffer_append_byte(out, (char)byte);
    }
    return 0;
fail:
    out->length = before;
    return MST_EINVAL;
}
