// SPDX-License-Identifier: Apache-2.0
#include "support/fake_nats.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, CHUNK = 16384, MOST_SUBSCRIPTIONS = 4, MOST_CONNECTIONS = 64 };

/* One connection. */
struct peer {
    struct fake_nats *fake;
    int fd;
    char *buffer, *data; /* the bytes at `data` are yet to be taken */
    size_t length;
    struct {
        char prefix[128]; /* of a subject that ends in '>' */
        char id[16];
    } subscriptions[MOST_SUBSCRIPTIONS];
    int subscription_count;
};

static bool say(struct peer *peer, const char *text)
{
    size_t length = strlen(text);
    return send(peer->fd, text, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void note(struct fake_nats *fake, const char *subject)
{
    const char *dot = strrchr(subject, '.');
    unsigned long number = dot ? strtoul(dot + 1, NULL, 10) : UINT32_MAX;
    if (number < fake->limit)
        atomic_fetch_add(&fake->seen[number], 1);
    atomic_fetch_add(&fake->read, 1);
}

/* False: the connection has come to its planned end. */
static bool on_publish(struct peer *peer, const char *subject)
{
    struct fake_nats *fake = peer->fake;
    for (int i = 0; i < peer->subscription_count; i++) {
        if (strncmp(subject, peer->subscriptions[i].prefix, strlen(peer->subscriptions[i].prefix)) != 0)
            continue;
        char line[400];
        snprintf(line, sizeof line, "MSG %s %s 0\r\n\r\n", subject, peer->subscriptions[i].id);
        return say(peer, line);
    }
    note(fake, subject);
    uint64_t die_after = atomic_load(&fake->die_after);
    /* Of several connections that come there at one time one dies. */
    if (die_after == 0 || atomic_load(&fake->read) < die_after ||
        !atomic_compare_exchange_strong(&fake->die_after, &die_after, 0))
        return true;
    /* Linux resets a connection that is so dissolved. */
    connect(peer->fd, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr));
    return false;
}

static void on_subscribe(struct peer *peer, const char *line)
{
    char subject[128] = "", id[16] = "";
    if (peer->subscription_count == MOST_SUBSCRIPTIONS || sscanf(line, "SUB %127s %15s", subject, id) != 2)
        return;
    size_t length = strlen(subject);
    if (subject[length - 1] == '>')
        subject[length - 1] = '\0';
    strcpy(peer->subscriptions[peer->subscription_count].prefix, subject);
    strcpy(peer->subscriptions[peer->subscription_count++].id, id);
}

/* Takes one complete operation off the front. 1: taken, 0: more bytes are needed, -1: the end. */
static int take(struct peer *peer)
{
    char *end = memmem(peer->data, peer->length, "\r\n", 2), subject[256] = "";
    if (!end)
        return 0;
    *end = '\0';
    size_t used = (size_t)(end - peer->data) + 2;
    int result = 1;
    if (strncmp(peer->data, "PUB ", 4) == 0) {
        size_t body = strtoul(strrchr(peer->data, ' '), NULL, 10);
        if (peer->length < used + body + 2) {
            *end = '\r';
            return 0;
        }
        used += body + 2;
        sscanf(peer->data, "PUB %255s", subject);
        result = on_publish(peer, subject) ? 1 : -1;
    } else if (strncmp(peer->data, "PING", 4) == 0) {
        result = say(peer, "PONG\r\n") ? 1 : -1;
    } else if (strncmp(peer->data, "SUB ", 4) == 0) {
        on_subscribe(peer, peer->data);
    }
    peer->data += used;
    peer->length -= used;
    return result;
}

static void serve(struct peer *peer)
{
    say(peer,
        "INFO {\"server_id\":\"FAKE\",\"version\":\"2.9.10\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,"
        "\"client_id\":1}\r\n");
    for (;;) {
        memmove(peer->buffer, peer->data, peer->length);
        peer->data = peer->buffer;
        ssize_t got = recv(peer->fd, peer->data + peer->length, CHUNK, 0);
        if (got <= 0)
            return;
        peer->length += (size_t)got;
        int result;
        while ((result = take(peer)) > 0) {
        }
        if (result < 0 || peer->length > BUFFER - CHUNK)
            return;
    }
}

static void *serve_one(void *argument)
{
    struct peer *peer = argument;
    serve(peer);
    close(peer->fd);
    free(peer->buffer);
    free(peer);
    return NULL;
}

static void *run(void *argument)
{
    struct fake_nats *fake = argument;
    pthread_t threads[MOST_CONNECTIONS];
    int count = 0, fds[MOST_CONNECTIONS];
    while (count < MOST_CONNECTIONS) {
        int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0 || atomic_load(&fake->stop))
            break;
        struct peer *peer = calloc(1, sizeof *peer);
        peer->fake = fake;
        peer->fd = fd;
        peer->buffer = peer->data = malloc(BUFFER);
        /* A copy of the descriptor, so that the connection can be shut from here without its number being reused. */
        fds[count] = dup(fd);
        pthread_create(&threads[count++], NULL, serve_one, peer);
    }
    for (int i = 0; i < count; i++) {
        shutdown(fds[i], SHUT_RDWR);
        pthread_join(threads[i], NULL);
        close(fds[i]);
    }
    return NULL;
}

bool fake_nats_start(struct fake_nats *fake, uint32_t limit)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *fake = (struct fake_nats){.limit = limit, .seen = calloc(limit, sizeof *fake->seen)};
    fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!fake->seen || bind(fake->listener, (struct sockaddr *)&address, length) != 0 ||
        listen(fake->listener, 8) != 0 || getsockname(fake->listener, (struct sockaddr *)&address, &length) != 0)
        return false;
    fake->port = ntohs(address.sin_port);
    return pthread_create(&fake->thread, NULL, run, fake) == 0;
}

void fake_nats_stop(struct fake_nats *fake)
{
    atomic_store(&fake->stop, true);
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    free(fake->seen);
}
