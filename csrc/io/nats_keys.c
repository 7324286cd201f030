// SPDX-License-Identifier: Apache-2.0
#include "io/nats_keys.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

enum { PREFIX_SEED = 18 << 3, PREFIX_USER = 20 << 3, RAW_SEED = 36, RAW_KEY = 35, MOST_FILE = 65536 };

/* CRC-16/XMODEM */
static uint16_t crc16(const unsigned char *bytes, size_t length)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < length; i++) {
        crc ^= (uint16_t)(bytes[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

/* Base32 without padding, as NKeys are written. Returns how many bytes, or 0. */
static size_t base32_decode(unsigned char *to, size_t room, const char *text, size_t length)
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t made = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        int digit = c >= 'A' && c <= 'Z' ? c - 'A' : c >= '2' && c <= '7' ? c - '2' + 26 : -1;
        if (digit < 0)
            return 0;
        bits = bits << 5 | (uint32_t)digit;
        count += 5;
        if (count < 8)
            continue;
        if (made == room)
            return 0;
        count -= 8;
        to[made++] = (unsigned char)(bits >> count);
    }
    return made;
}

static void base32_encode(char *to, const unsigned char *bytes, size_t length)
{
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 5; count -= 5)
            *to++ = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[bits >> (count - 5) & 31];
    }
    if (count)
        *to++ = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[bits << (5 - count) & 31];
    *to = '\0';
}

static bool take_seed(struct mst__nats_keys *keys, const char *text, size_t length)
{
    unsigned char raw[RAW_SEED];
    bool good = base32_decode(raw, sizeof raw, text, length) == RAW_SEED && (raw[0] & 0xf8) == PREFIX_SEED &&
                ((raw[0] & 7) << 5 | raw[1] >> 3) == PREFIX_USER &&
                crc16(raw, RAW_SEED - 2) == (raw[RAW_SEED - 2] | raw[RAW_SEED - 1] << 8);
    if (good)
        memcpy(keys->seed, raw + 2, sizeof keys->seed);
    explicit_bzero(raw, sizeof raw);
    return good;
}

static size_t word_length(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
}

static bool find_seed(struct mst__nats_keys *keys, const char *text)
{
    for (const char *at = strstr(text, "SU"); at; at = strstr(at + 1, "SU"))
        if ((at == text || at[-1] == '\n' || at[-1] == ' ') && take_seed(keys, at, word_length(at)))
            return true;
    return false;
}

/* The line behind `-----BEGIN NATS USER JWT-----`. */
static bool find_jwt(struct mst__nats_keys *keys, const char *text)
{
    const char *at = strstr(text, "BEGIN NATS USER JWT");
    at = at ? strchr(at, '\n') : NULL;
    if (!at)
        return false;
    at += strspn(at, "\r\n ");
    keys->jwt = strndup(at, strcspn(at, "\r\n "));
    return keys->jwt && keys->jwt[0];
}

static char *read_file(const char *path, int *reason)
{
    FILE *file = fopen(path, "re");
    char *text = file ? calloc(1, MOST_FILE) : NULL;
    *reason = file ? ENOMEM : errno;
    if (text && fread(text, 1, MOST_FILE - 1, file) == 0)
        *reason = ferror(file) ? errno : 0;
    if (file)
        fclose(file);
    return text;
}

int mst__nats_keys_read(struct mst__nats_keys *keys, const char *path, bool credentials, struct mst_error *error)
{
    int reason;
    char *text = read_file(path, &reason);
    if (!text)
        return mst_error_set(error, MST_ECONFIG, "NATS key file %s: %s", path, strerror(reason));
    bool good = find_seed(keys, text) && (!credentials || find_jwt(keys, text));
    explicit_bzero(text, MOST_FILE);
    free(text);
    if (good)
        return 0;
    return mst_error_set(error, MST_ECONFIG,
                         credentials ? "NATS credentials file %s: it needs a user's JWT and seed"
                                     : "NATS nkey file %s: there is no user's seed (SU...) in it",
                         path);
}

static void put_public_key(struct mst__nats_keys *keys, const unsigned char *key)
{
    unsigned char raw[RAW_KEY] = {PREFIX_USER};
    memcpy(raw + 1, key, 32);
    uint16_t crc = crc16(raw, RAW_KEY - 2);
    raw[RAW_KEY - 2] = (unsigned char)crc;
    raw[RAW_KEY - 1] = (unsigned char)(crc >> 8);
    base32_encode(keys->public_key, raw, sizeof raw);
}

/* Base64 for URLs, without padding. */
static bool put_signature(struct mst__nats_keys *keys, const unsigned char *signature, size_t length)
{
    struct mst_buffer text = {0};
    mst_base64_encode(&text, signature, length);
    bool good = !text.failed && text.length < sizeof keys->signature;
    size_t made = 0;
    for (size_t i = 0; good && i < text.length && text.data[i] != '='; i++)
        keys->signature[made++] = text.data[i] == '+' ? '-' : text.data[i] == '/' ? '_' : text.data[i];
    keys->signature[made] = '\0';
    mst_buffer_deinit(&text);
    return good;
}

int mst__nats_keys_sign(struct mst__nats_keys *keys, const char *nonce, struct mst_error *error)
{
    if (!*nonce)
        return mst_error_set(error, MST_ECONFIG, "the NATS server asks for no key");
    unsigned char signature[64], key[32];
    size_t length = sizeof signature, key_length = sizeof key;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, keys->seed, sizeof keys->seed);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = pair && context && EVP_PKEY_get_raw_public_key(pair, key, &key_length) == 1 &&
                EVP_DigestSignInit(context, NULL, NULL, NULL, pair) == 1 &&
                EVP_DigestSign(context, signature, &length, (const unsigned char *)nonce, strlen(nonce)) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pair);
    if (!good || !put_signature(keys, signature, length))
        return mst_error_set(error, MST_EINTERNAL, "cannot sign with the NATS key");
    put_public_key(keys, key);
    return 0;
}

void mst__nats_keys_deinit(struct mst__nats_keys *keys)
{
    free(keys->jwt);
    explicit_bzero(keys, sizeof *keys);
}
