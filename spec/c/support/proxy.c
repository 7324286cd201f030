// SPDX-License-Identifier: Apache-2.0
#include "support/proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 64
#define LOOK_MS 2 /* how soon a new rule or the end is noticed */

struct link {
    int client, server; /* server -1: not connected yet */
};

struct test_proxy {
    pthread_t thread;
    int listener, port, target;
    atomic_bool stop;
    atomic_uint count;
    _Atomic enum test_proxy_rule rules[CONNECTIONS];
    struct link links[CONNECTIONS];
};

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void reset(struct link *link)
{
    struct linger at_once = {1, 0};
    setsockopt(link->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(link->client);
    if (link->server >= 0)
        close(link->server);
    *link = (struct link){-1, -1};
}

static void connect_on(const struct test_proxy *proxy, struct link *link)
{
    struct sockaddr_in address = loopback(proxy->target);
    link->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->server < 0 || connect(link->server, (struct sockaddr *)&address, sizeof address) != 0)
        reset(link);
}

static void take_connection(struct test_proxy *proxy)
{
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    unsigned number = proxy->count;
    if (client < 0)
        return;
    if (number == CONNECTIONS) {
        close(client);
        return;
    }
    proxy->links[number] = (struct link){client, -1};
    proxy->count = number + 1;
}

static bool pass(int from, int to)
{
    char bytes[16384];
    ssize_t count = recv(from, bytes, sizeof bytes, 0);
    for (ssize_t at = 0; at < count;) {
        ssize_t sent = send(to, bytes + at, (size_t)(count - at), MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        at += sent;
    }
    return count > 0;
}

/* Puts what is to be watched of a connection into `fds`; a held one is left alone. */
static unsigned watch(struct test_proxy *proxy, unsigned number, struct pollfd *fds)
{
    struct link *link = &proxy->links[number];
    if (link->client < 0 || proxy->rules[number] == TEST_PROXY_HOLD)
        return 0;
    if (proxy->rules[number] == TEST_PROXY_REFUSE)
        reset(link);
    else if (link->server < 0)
        connect_on(proxy, link);
    if (link->client < 0)
        return 0;
    fds[0] = (struct pollfd){.fd = link->client, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = link->server, .events = proxy->rules[number] == TEST_PROXY_MUTE ? 0 : POLLIN};
    return 2;
}

static void *run(void *context)
{
    struct test_proxy *proxy = context;
    struct pollfd fds[1 + 2 * CONNECTIONS];
    unsigned owner[1 + 2 * CONNECTIONS];
    while (!proxy->stop) {
        nfds_t used = 1;
        fds[0] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
        for (unsigned i = 0; i < proxy->count; i++) {
            unsigned added = watch(proxy, i, fds + used);
            owner[used] = i;
            used += added;
        }
        if (poll(fds, used, LOOK_MS) <= 0)
            continue;
        for (nfds_t i = 1; i < used; i += 2) {
            struct link *link = &proxy->links[owner[i]];
            if ((fds[i].revents && !pass(link->client, link->server)) ||
                (fds[i + 1].revents && !pass(link->server, link->client)))
                reset(link);
        }
        if (fds[0].revents)
            take_connection(proxy);
    }
    return NULL;
}

static bool start_listening(struct test_proxy *proxy)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (proxy->listener < 0 || bind(proxy->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(proxy->listener, CONNECTIONS) != 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&address, &length) != 0)
        return false;
    proxy->port = ntohs(address.sin_port);
    return true;
}

struct test_proxy *test_proxy_start(int port, const enum test_proxy_rule *rules, unsigned count)
{
    struct test_proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL)
        return NULL;
    proxy->target = port;
    proxy->listener = -1;
    for (unsigned i = 0; i < count && i < CONNECTIONS; i++)
        proxy->rules[i] = rules[i];
    if (start_listening(proxy) && pthread_create(&proxy->thread, NULL, run, proxy) == 0)
        return proxy;
    if (proxy->listener >= 0)
        close(proxy->listener);
    free(proxy);
    return NULL;
}

int test_proxy_port(const struct test_proxy *proxy)
{
    return proxy->port;
}

void test_proxy_set(struct test_proxy *proxy, unsigned connection, enum test_proxy_rule rule)
{
    if (connection < CONNECTIONS)
        proxy->rules[connection] = rule;
}

unsigned test_proxy_count(const struct test_proxy *proxy)
{
    return proxy->count;
}

void test_proxy_stop(struct test_proxy *proxy)
{
    proxy->stop = true;
    pthread_join(proxy->thread, NULL);
    for (unsigned i = 0; i < proxy->count; i++)
        if (proxy->links[i].client >= 0)
            reset(&proxy->links[i]);
    close(proxy->listener);
    free(proxy);
}
