// SPDX-License-Identifier: Apache-2.0
#include "io/nats_settings.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "io/nats_keys.h"
#include "model/value.h"

/* ------------------------------------------------------------------------ servers */

static bool copy_text(char *to, size_t room, const char *from, size_t length)
{
    if (length >= room || memchr(from, '\0', length))
        return false;
    memcpy(to, from, length);
    to[length] = '\0';
    return true;
}

static bool read_port(char port[8], const char *text, size_t length)
{
    unsigned number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || number > 65535)
            return false;
        number = number * 10 + (unsigned)(text[i] - '0');
    }
    return number > 0 && number <= 65535 && copy_text(port, 8, text, length);
}

static bool read_host(struct mst__nats_place *place, const char *text, size_t length)
{
    const char *bracket = length && text[0] == '[' ? memchr(text, ']', length) : NULL;
    const char *host = bracket ? text + 1 : text, *end = bracket ? bracket + 1 : text;
    const char *colon = memchr(end, ':', (size_t)(text + length - end));
    size_t host_length = bracket ? (size_t)(bracket - host) : colon ? (size_t)(colon - host) : length;
    if (host_length == 0 || !copy_text(place->host, sizeof place->host, host, host_length))
        return false;
    if (bracket && bracket + 1 != text + length && bracket[1] != ':')
        return false;
    for (size_t i = 0; i < host_length; i++)
        if ((unsigned char)host[i] <= ' ' || (!bracket && strchr("/?#[]@", host[i])))
            return false;
    return colon ? read_port(place->port, colon + 1, (size_t)(text + length - colon - 1))
                 : read_port(place->port, "4222", 4);
}

bool mst__nats_place_read(struct mst__nats_place *place, const char *url, size_t length)
{
    const char *scheme = memmem(url, length, "://", 3);
    memset(place, 0, sizeof *place);
    if (scheme) {
        size_t size = (size_t)(scheme - url);
        place->tls = size == 3 && strncasecmp(url, "tls", 3) == 0;
        if (!place->tls && (size != 4 || strncasecmp(url, "nats", 4) != 0))
            return false;
        length -= size + 3;
        url += size + 3;
    }
    /* The last @ ends the user part: a password may hold another. */
    const char *at = memrchr(url, '@', length);
    if (at) {
        const char *colon = memchr(url, ':', (size_t)(at - url)), *user_end = colon ? colon : at;
        if (!copy_text(place->user, sizeof place->user, url, (size_t)(user_end - url)) ||
            (colon && !copy_text(place->password, sizeof place->password, colon + 1, (size_t)(at - colon - 1))))
            return false;
        length -= (size_t)(at + 1 - url);
        url = at + 1;
    }
    while (length && url[length - 1] == '/')
        length--;
    return read_host(place, url, length);
}

static int read_servers(struct mst__nats_settings *settings, const char *servers, struct mst_error *error)
{
    settings->places = calloc(MST__NATS_PLACES, sizeof *settings->places);
    if (!settings->places)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    while (*servers) {
        size_t length = strcspn(servers, ",");
        const char *url = servers, *end = servers + length;
        servers = end + (*end == ',');
        while (url < end && isspace((unsigned char)*url))
            url++;
        while (end > url && isspace((unsigned char)end[-1]))
            end--;
        if (url == end)
            continue;
        if (settings->place_count == MST__NATS_PLACES)
            return mst_error_set(error, MST_ECONFIG, "NATS servers: more than %d", MST__NATS_PLACES);
        /* Not the text itself: it may hold a password. */
        if (!mst__nats_place_read(&settings->places[settings->place_count++], url, (size_t)(end - url)))
            return mst_error_set(error, MST_ECONFIG, "NATS servers: number %u is no URL like nats://host:4222",
                                 settings->place_count);
    }
    return settings->place_count ? 0 : mst_error_set(error, MST_ECONFIG, "NATS servers: none is given");
}

static bool keep(char **to, const char *text)
{
    *to = text && *text ? strdup(text) : NULL;
    return *to || !text || !*text;
}

int mst__nats_settings_init(struct mst__nats_settings *settings, const struct mst_nats_options *options,
                            struct mst_error *error)
{
    *settings = (struct mst__nats_settings){.connect_timeout = options->connect_timeout ? options->connect_timeout
                                                                                        : 2 * MST_NS_PER_SECOND};
    bool kept = keep(&settings->user, options->user) && keep(&settings->password, options->password) &&
                keep(&settings->token, options->token) &&
                keep(&settings->credentials_file, options->credentials_file) &&
                keep(&settings->nkey_file, options->nkey_file) && keep(&settings->ca_file, options->ca_file) &&
                keep(&settings->name, options->name ? options->name : "muster");
    if (!kept)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    return read_servers(settings, options->servers ? options->servers : "nats://localhost:4222", error);
}

static void forget(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

void mst__nats_settings_deinit(struct mst__nats_settings *settings)
{
    if (settings->places)
        explicit_bzero(settings->places, MST__NATS_PLACES * sizeof *settings->places);
    free(settings->places);
    forget(settings->password);
    forget(settings->token);
    free(settings->user);
    free(settings->credentials_file);
    free(settings->nkey_file);
    free(settings->ca_file);
    free(settings->name);
    *settings = (struct mst__nats_settings){0};
}

/* ------------------------------------------------------------------------ greetings */

static bool is_true(const uint8_t *info, const char *key)
{
    const uint8_t *value = mst_value_get(info, key, strlen(key));
    return value && mst_value_tag(value) == MST_TRUE;
}

static void read_info(struct mst__nats_server *server, const uint8_t *info)
{
    const uint8_t *payload = mst_value_get(info, "max_payload", 11), *nonce = mst_value_get(info, "nonce", 5);
    *server = (struct mst__nats_server){.max_payload = 1 << 20,
                                        .headers = is_true(info, "headers"),
                                        .tls_required = is_true(info, "tls_required"),
                                        .tls_available = is_true(info, "tls_available")};
    if (payload && mst_value_tag(payload) == MST_INT && mst_value_int(payload) > 0)
        server->max_payload = (size_t)mst_value_int(payload);
    if (nonce && mst_value_tag(nonce) == MST_STRING) {
        size_t length;
        const char *text = mst_value_string(nonce, &length);
        copy_text(server->nonce, sizeof server->nonce, text, length);
    }
}

int mst__nats_server_read(struct mst__nats_server *server, struct mst_span info, struct mst_error *error)
{
    static const struct mst_json_limits limits = {.bytes = 256 * 1024, .depth = 16};
    struct mst_buffer value = {0};
    struct mst_json_parser *parser = mst_json_parser_create();
    int code = parser ? mst_json_parse(parser, info.data, info.length, &limits, &value, NULL) : MST_ENOMEM;
    if (code == 0 && mst_value_tag((const uint8_t *)value.data) != MST_OBJECT)
        code = MST_EJSON;
    if (code == 0)
        read_info(server, (const uint8_t *)value.data);
    mst_buffer_deinit(&value);
    mst_json_parser_destroy(parser);
    if (code == MST_ENOMEM)
        return mst_error_set(error, code, "out of memory");
    return code < 0 ? mst_error_set(error, MST_ENATS, "its greeting is not that of a NATS server") : 0;
}

static void put_member(struct mst_buffer *out, const char *key, const char *value)
{
    mst_buffer_appendf(out, ",\"%s\":", key);
    mst_json_put_string(out, value, strlen(value));
}

/* What the URL says goes before the options. */
static void put_password(struct mst_buffer *out, const struct mst__nats_settings *settings,
                         const struct mst__nats_place *place)
{
    if (place->user[0] && place->password[0]) {
        put_member(out, "user", place->user);
        put_member(out, "pass", place->password);
    } else if (place->user[0]) {
        put_member(out, "auth_token", place->user);
    } else if (settings->user) {
        put_member(out, "user", settings->user);
        put_member(out, "pass", settings->password ? settings->password : "");
    } else if (settings->token) {
        put_member(out, "auth_token", settings->token);
    }
}

static int put_keys(struct mst_buffer *out, const struct mst__nats_settings *settings, const char *nonce,
                    struct mst_error *error)
{
    const char *path = settings->credentials_file ? settings->credentials_file : settings->nkey_file;
    if (!path)
        return 0;
    struct mst__nats_keys keys = {0};
    int code = mst__nats_keys_read(&keys, path, settings->credentials_file != NULL, error);
    if (code == 0)
        code = mst__nats_keys_sign(&keys, nonce, error);
    if (code == 0) {
        put_member(out, keys.jwt ? "jwt" : "nkey", keys.jwt ? keys.jwt : keys.public_key);
        put_member(out, "sig", keys.signature);
    }
    mst__nats_keys_deinit(&keys);
    return code;
}

int mst__nats_put_connect(struct mst_buffer *out, const struct mst__nats_settings *settings,
                          const struct mst__nats_place *place, const struct mst__nats_server *server, bool tls,
                          struct mst_error *error)
{
    const char *headers = server->headers ? "true" : "false";
    mst_buffer_appendf(out,
                       "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"" MST_VERSION
                       "\",\"protocol\":1,\"headers\":%s,\"no_responders\":%s,\"tls_required\":%s",
                       headers, headers, tls ? "true" : "false");
    put_member(out, "name", settings->name);
    put_password(out, settings, place);
    int code = put_keys(out, settings, server->nonce, error);
    mst_buffer_append_string(out, "}\r\n");
    return code;
}
