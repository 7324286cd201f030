// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "io/nats_internal.h"

enum { MOST_SERVERS = 32, IO_BUFFER = 65536, PING_INTERVAL_MS = 5000, PINGS_OUT = 2 };

/* ------------------------------------------------------------------------ gates */

struct mst__nats_gate *mst__nats_gate_create(void *owner, void *detail)
{
    struct mst__nats_gate *gate = calloc(1, sizeof *gate);
    if (!gate)
        return NULL;
    if (pthread_mutex_init(&gate->lock, NULL) != 0) {
        free(gate);
        return NULL;
    }
    atomic_init(&gate->references, 1);
    gate->owner = owner;
    gate->detail = detail;
    return gate;
}

void mst__nats_gate_ref(struct mst__nats_gate *gate)
{
    atomic_fetch_add(&gate->references, 1);
}

void mst__nats_gate_unref(void *closure)
{
    struct mst__nats_gate *gate = closure;
    if (!gate || atomic_fetch_sub(&gate->references, 1) != 1)
        return;
    pthread_mutex_destroy(&gate->lock);
    free(gate);
}

void mst__nats_gate_shut(struct mst__nats_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->owner = NULL;
    pthread_mutex_unlock(&gate->lock);
}

/* ------------------------------------------------------------------------ errors */

/* What stands behind the place in its sources, as in "(conn.c:2088): No server", that nats.c begins its texts with. */
static const char *without_source(const char *text)
{
    for (int end = 0; sscanf(text, "(%*[A-Za-z0-9_/].c:%*u)%n", &end) == 0 && end > 0; end = 0)
        text += end + (int)strspn(text + end, ": ");
    return text;
}

int mst__nats_status(natsStatus status, struct mst_error *error, const char *what)
{
    natsStatus last = NATS_OK;
    const char *detail = nats_GetLastError(&last);
    if (!detail || last != status || !*detail)
        detail = natsStatus_GetText(status);
    int code = status == NATS_NO_MEMORY       ? MST_ENOMEM
               : status == NATS_NOT_PERMITTED ? MST_EPERMISSION
               : status == NATS_MAX_PAYLOAD   ? MST_ETOOBIG
                                              : MST_ENATS;
    return mst_error_set(error, code, "%s: %s", what, without_source(detail));
}

int mst__nats_last_error(natsConnection *connection, struct mst_error *error)
{
    const char *text = "";
    natsStatus status = natsConnection_GetLastError(connection, &text);
    if (status == NATS_OK)
        return 0;
    int code = status == NATS_NOT_PERMITTED ? MST_EPERMISSION : MST_ENATS;
    return mst_error_set(error, code, "NATS: %s", without_source(text));
}

/* ------------------------------------------------------------------------ options */

char *mst__nats_label(const char *servers)
{
    char *label = calloc(1, strlen(servers) + 1), *to = label;
    if (!label)
        return NULL;
    for (const char *from = servers; *from;) {
        size_t length = strcspn(from, ","), scheme = 0;
        const char *rest = strstr(from, "://");
        if (rest && rest < from + length)
            scheme = (size_t)(rest - from) + 3;
        memcpy(to, from, scheme);
        to += scheme;
        /* The last @ ends the user part: a password may hold another. */
        const char *at = memrchr(from + scheme, '@', length - scheme);
        const char *host = at ? at + 1 : from + scheme;
        size_t host_length = length - (size_t)(host - from);
        memcpy(to, host, host_length);
        to += host_length;
        from += length;
        if (*from == ',')
            *to++ = *from++;
    }
    return label;
}

static natsStatus set_servers(natsOptions *options, const char *servers)
{
    char *copy = strdup(servers), *rest = copy, *server;
    const char *list[MOST_SERVERS];
    int count = 0;
    if (!copy)
        return NATS_NO_MEMORY;
    while (count < MOST_SERVERS && (server = strsep(&rest, ",")) != NULL) {
        while (isspace((unsigned char)*server))
            server++;
        if (*server)
            list[count++] = server;
    }
    natsStatus status = count ? natsOptions_SetServers(options, list, count) : NATS_ADDRESS_MISSING;
    free(copy);
    return status;
}

/* nats.c wants the public key besides the seed and cannot derive it; `nk -gen user -pubout` writes both lines. */
static natsStatus set_nkey(natsOptions *options, const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256], key[128] = "";
    if (!file)
        return NATS_NOT_FOUND;
    while (fgets(line, sizeof line, file))
        if (line[0] == 'U')
            sscanf(line, "%127[A-Z2-7]", key);
    fclose(file);
    explicit_bzero(line, sizeof line);
    return *key ? natsOptions_SetNKeyFromSeed(options, key, path) : NATS_INVALID_ARG;
}

static natsStatus set_identity(natsOptions *made, const struct mst_nats_options *options, const char **what)
{
    natsStatus status = NATS_OK;
    *what = "user and password";
    if (options->user)
        status = natsOptions_SetUserInfo(made, options->user, options->password ? options->password : "");
    if (status == NATS_OK && options->token) {
        *what = "token";
        status = natsOptions_SetToken(made, options->token);
    }
    if (status == NATS_OK && options->credentials_file) {
        *what = "credentials file";
        status = natsOptions_SetUserCredentialsFromFiles(made, options->credentials_file, NULL);
    }
    if (status == NATS_OK && options->nkey_file) {
        *what = "nkey file (it needs the seed and the public key, a line each)";
        status = set_nkey(made, options->nkey_file);
    }
    if (status == NATS_OK && options->ca_file) {
        *what = "CA file";
        status = natsOptions_LoadCATrustedCertificates(made, options->ca_file);
        if (status == NATS_OK)
            status = natsOptions_SetSecure(made, true);
    }
    return status;
}

/* The library prints errors that nobody handles; ours are looked up where they matter. */
static void ignore_error(natsConnection *connection, natsSubscription *subscription, natsStatus status, void *closure)
{
    (void)connection;
    (void)subscription;
    (void)status;
    (void)closure;
}

static natsStatus set_behaviour(natsOptions *made, const struct mst_nats_options *options, uint64_t write_deadline)
{
    uint64_t timeout = options->connect_timeout ? options->connect_timeout : 2 * MST_NS_PER_SECOND;
    natsStatus status = natsOptions_SetName(made, options->name ? options->name : "muster");
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(made, (int64_t)((timeout + MST_NS_PER_MS - 1) / MST_NS_PER_MS));
    if (status == NATS_OK)
        status = natsOptions_SetAllowReconnect(made, false);
    if (status == NATS_OK)
        status = natsOptions_SetWriteDeadline(made, (int64_t)((write_deadline + MST_NS_PER_MS - 1) / MST_NS_PER_MS));
    if (status == NATS_OK)
        status = natsOptions_SetIOBufSize(made, IO_BUFFER);
    if (status == NATS_OK)
        status = natsOptions_SetPingInterval(made, PING_INTERVAL_MS);
    if (status == NATS_OK)
        status = natsOptions_SetMaxPingsOut(made, PINGS_OUT);
    if (status == NATS_OK)
        status = natsOptions_SetErrorHandler(made, ignore_error, NULL);
    return status;
}

int mst__nats_options_create(natsOptions **made, const struct mst_nats_options *options, uint64_t write_deadline,
                             struct mst_error *error)
{
    const char *what = "servers";
    natsStatus status = natsOptions_Create(made);
    if (status != NATS_OK)
        return mst__nats_status(status, error, "cannot start the NATS library");
    status = set_servers(*made, options->servers ? options->servers : NATS_DEFAULT_URL);
    if (status == NATS_OK)
        status = set_identity(*made, options, &what);
    if (status == NATS_OK)
        what = "options", status = set_behaviour(*made, options, write_deadline);
    if (status == NATS_OK)
        return 0;
    natsOptions_Destroy(*made);
    *made = NULL;
    if (status == NATS_NO_MEMORY)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    return mst_error_set(error, MST_ECONFIG, "NATS %s: %s", what, natsStatus_GetText(status));
}

int mst__nats_connect(natsConnection **connection, natsOptions *options, const char *label,
                      natsConnectionHandler closed, struct mst__nats_gate *gate, struct mst_error *error)
{
    natsStatus status = natsOptions_SetClosedCB(options, closed, gate);
    mst__nats_gate_ref(gate);
    if (status == NATS_OK)
        status = natsConnection_Connect(connection, options);
    if (status == NATS_OK)
        return 0;
    *connection = NULL;
    mst__nats_gate_unref(gate);
    natsStatus last = NATS_OK;
    const char *detail = nats_GetLastError(&last);
    bool never = status == NATS_INVALID_ARG || status == NATS_ADDRESS_MISSING;
    return mst_error_set(error, never ? MST_ECONFIG : MST_ENATS, "cannot connect to NATS at %s: %s", label,
                         detail && *detail ? without_source(detail) : natsStatus_GetText(status));
}

/* ------------------------------------------------------------------------ subjects */

static bool good_token(const char *token, size_t length, bool last, bool wildcards)
{
    if (length != 1)
        return length > 0;
    if (*token == '>')
        return wildcards && last;
    return *token != '*' || wildcards;
}

bool mst__nats_subject_copy(char *to, const char *from, size_t length, bool wildcards)
{
    if (length == 0 || length > MST__NATS_SUBJECT)
        return false;
    size_t token = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)from[i];
        if (byte <= ' ' || byte == 0x7f)
            return false;
        if (byte == '.') {
            if (!good_token(from + token, i - token, false, wildcards))
                return false;
            token = i + 1;
        }
        to[i] = (char)byte;
    }
    to[length] = '\0';
    return good_token(from + token, length - token, true, wildcards);
}

size_t mst__nats_put_hex(char *to, uint64_t number)
{
    unsigned digits = number ? (67u - (unsigned)__builtin_clzll(number)) / 4 : 1;
    for (unsigned i = digits; i-- > 0; number >>= 4)
        to[i] = "0123456789abcdef"[number & 15];
    return digits;
}

int mst__nats_inbox(char inbox[MST__NATS_INBOX], size_t *length)
{
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return MST_EINTERNAL;
    // NOLINTNEXTLINE(bugprone-not-null-terminated-result): an inbox has a length
    memcpy(inbox, "_INBOX.", 7);
    for (size_t i = 0; i < sizeof random; i++)
        inbox[7 + i] = "abcdefghijklmnopqrstuvwxyz234567"[random[i] & 31];
    inbox[7 + sizeof random] = '.';
    *length = 8 + sizeof random;
    return 0;
}

/* ------------------------------------------------------------------------ threads */

int mst__nats_thread_start(pthread_t *thread, void *(*run)(void *owner), void *owner)
{
    /* Signals are the business of the thread that runs the loop. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, run, owner);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? MST_ENOMEM : 0;
}

int mst__nats_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return MST_ENOMEM;
    int failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (!failed)
        failed = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return failed ? MST_ENOMEM : 0;
}

void mst__nats_wait(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until)
{
    if (until == UINT64_MAX) {
        pthread_cond_wait(condition, lock);
        return;
    }
    struct timespec when = {.tv_sec = (time_t)(until / MST_NS_PER_SECOND),
                            .tv_nsec = (long)(until % MST_NS_PER_SECOND)};
    pthread_cond_timedwait(condition, lock, &when);
}
