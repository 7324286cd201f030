// SPDX-License-Identifier: Apache-2.0
#include "host/door.h"

#include <string.h>

#include "base/utf8.h"
#include "model/identity.h"
#include "model/value.h"

void mst__door_word(char to[MST__DOOR_WORD], struct mst_span word)
{
    size_t length = word.length < MST__DOOR_WORD ? word.length : MST__DOOR_WORD - 1;
    memcpy(to, word.data, length);
    to[length] = '\0';
}

int mst__door_check_words(const char *verb, const char *namespace_, struct mst_error *error)
{
    size_t length = strlen(verb);
    if (length == 0 || length >= MST__DOOR_WORD || strspn(verb, "abcdefghijklmnopqrstuvwxyz_") != length)
        return mst__door_no_verb(error, verb);
    return mst_namespace_check(namespace_, strlen(namespace_), error);
}

int mst__door_no_verb(struct mst_error *error, const char *verb)
{
    return mst_error_set(error, MST_EVERB, "unknown verb \"%.64s\"", verb);
}

int mst__door_too_big(struct mst_error *error, size_t length, size_t limit)
{
    mst_error_set(error, MST_ETOOBIG, "the call was carried out, but its answer of %zu bytes is over the limit of %zu",
                  length, limit);
    mst_error_hint(error, "ask for less at a time: a lower \"limit\", fewer \"fields\", or \"report\": \"summary\"");
    return MST_ETOOBIG;
}

int mst__door_number(int status)
{
    switch (status) {
    case MST_EINVAL:
    case MST_EJSON:
    case MST_EFILTER:
    case MST_EID:
    case MST_ENAMESPACE:
    case MST_ERANGE:
    case MST_EPARAM:
        return 400;
    case MST_EPERMISSION:
        return 403;
    case MST_ENOTFOUND:
    case MST_EVERB:
        return 404;
    case MST_EEXISTS:
    case MST_EREVISION:
    case MST_EOWNER:
    case MST_EGUARD:
        return 409;
    case MST_ETOOBIG:
        return 413;
    case MST_EBUSY:
    case MST_EQUOTA:
        return 429;
    case MST_EUNSUPPORTED:
        return 501;
    case MST_EDEADLINE:
        return 504;
    default:
        return strcmp(mst_error_class(status), "connection") == 0 ? 503 : 500;
    }
}

int mst__door_subject(struct mst_buffer *subject, const char *prefix, const char *namespace_, const char *name,
                      size_t length, bool gateway, struct mst_error *error)
{
    int code = mst_namespace_check(namespace_, strlen(namespace_), error);
    if (code == 0)
        code = gateway ? mst_gateway_check(name, length, error) : mst_id_check(name, length, error);
    if (code)
        return code;
    mst_buffer_append_string(subject, prefix);
    mst_buffer_append_byte(subject, '.');
    mst_buffer_append_string(subject, namespace_);
    mst_buffer_append_string(subject, gateway ? ".via." : ".to.");
    mst_subject_encode(subject, name, length);
    mst_buffer_append_byte(subject, '\0');
    return subject->failed ? mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM)) : 0;
}

static int read_status(const uint8_t *object, char *message, size_t size)
{
    const uint8_t *code = mst_value_get(object, "code", 4), *text = mst_value_get(object, "message", 7);
    char name[32] = "";
    size_t length;
    if (code && mst_value_tag(code) == MST_STRING) {
        const char *word = mst_value_string(code, &length);
        if (length < sizeof name)
            memcpy(name, word, length);
    }
    if (message && text && mst_value_tag(text) == MST_STRING) {
        const char *words = mst_value_string(text, &length);
        length = mst_utf8_cut(words, length, size - 1);
        memcpy(message, words, length);
        message[length] = '\0';
    }
    return mst_error_code(name);
}

int mst__door_status(struct mst_json_parser *parser, const char *json, size_t length, char *message, size_t size)
{
    static const char start[] = "{\"error\":";
    const struct mst_json_limits limits = {.bytes = 65536, .depth = 24};
    if (message)
        message[0] = '\0';
    /* No verb answers with an object that begins so; it spares reading the answers that are none. */
    if (length < sizeof start - 1 || memcmp(json, start, sizeof start - 1) != 0)
        return 0;
    struct mst_buffer packed = {0};
    int status = MST_EINTERNAL;
    if (mst_json_parse(parser, json, length, &limits, &packed, NULL) == 0) {
        const uint8_t *object = mst_value_get((const uint8_t *)packed.data, "error", 5);
        if (object && mst_value_tag(object) == MST_OBJECT)
            status = read_status(object, message, size);
    }
    mst_buffer_deinit(&packed);
    return status;
}
