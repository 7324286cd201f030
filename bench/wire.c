// SPDX-License-Identifier: Apache-2.0
#include "wire.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"
#include "io/nats_receiver.h"

/* Reads until PONG; INFO, +OK and PING may come before it. */
static void await_pong(int socket_)
{
    char bytes[8192];
    size_t length = 0;
    for (;;) {
        ssize_t count = read(socket_, bytes + length, sizeof bytes - length);
        if (count <= 0 || memmem(bytes, length + (size_t)count, "-ERR", 4))
            bench_die("nats-server has refused something");
        length += (size_t)count;
        if (memmem(bytes, length, "PONG\r\n", 6))
            return;
        if (length == sizeof bytes) {
            memmove(bytes, bytes + length - 8, 8);
            length = 8;
        }
    }
}

int wire_connect(int nats_port)
{
    static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":false}\r\nPING\r\n";
    int made = bench_connect(nats_port);
    bench_write(made, hello, sizeof hello - 1);
    await_pong(made);
    return made;
}

uint64_t wire_publish(int socket_, const char *namespace_, uint64_t targets)
{
    static struct mst_buffer out;
    char tail[100];
    uint64_t before = bench_now();
    int length = snprintf(tail, sizeof tail, " %zu\r\n%s\r\n", sizeof WIRE_PAYLOAD - 1, WIRE_PAYLOAD);
    mst_buffer_clear(&out);
    for (uint64_t i = 1; i <= targets; i++) {
        mst_buffer_append_string(&out, "PUB muster.");
        mst_buffer_append_string(&out, namespace_);
        mst_buffer_append_string(&out, ".to.loadtest-user-");
        mst_buffer_append_u64(&out, i);
        mst_buffer_append(&out, tail, (size_t)length);
    }
    mst_buffer_append_string(&out, "PING\r\n");
    bench_write(socket_, out.data, out.length);
    await_pong(socket_);
    return bench_now() - before;
}

/* ------------------------------------------------------------------------------------------------ receivers */

struct counting {
    struct mst_nats_receiver *socket;
    _Atomic uint64_t *received;
};

static void on_message(void *context, const struct mst_nats_received *message)
{
    struct counting *counting = context;
    if (message->reply.length)
        mst_nats_receiver_answer(counting->socket, message->reply, (struct mst_span){"", 0});
    atomic_fetch_add_explicit(counting->received, 1, memory_order_relaxed);
}

static void subscribe(struct counting *counting, int nats_port, const char *namespace_, uint64_t targets,
                      unsigned gateways)
{
    char subject[200], url[64];
    struct mst_error error;
    snprintf(url, sizeof url, "127.0.0.1:%d", nats_port);
    if (mst_nats_receiver_open(&counting->socket, url, 2 * MST_NS_PER_SECOND, &error))
        bench_die("%s", error.message);
    for (uint64_t i = 0; i < (gateways ? gateways : targets); i++) {
        if (gateways)
            snprintf(subject, sizeof subject, "muster.%s.via.loadtest-gateway-%llu", namespace_, (unsigned long long)i);
        else
            snprintf(subject, sizeof subject, "muster.%s.to.loadtest-user-%llu", namespace_, (unsigned long long)i + 1);
        mst_nats_receiver_subscribe(counting->socket, subject, i + 1);
    }
    if (mst_nats_receiver_sync(counting->socket, 30 * MST_NS_PER_SECOND, &error))
        bench_die("%s", error.message);
}

void wire_receive(struct wire_receiver *receiver, int nats_port, const char *namespace_, uint64_t targets,
                  unsigned gateways)
{
    int stop[2], ready[2];
    char byte = 0;
    receiver->received = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (receiver->received == MAP_FAILED || pipe(stop) || pipe(ready))
        bench_die("cannot start a receiver");
    receiver->pid = fork();
    if (receiver->pid == 0) {
        struct counting counting = {.received = receiver->received};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(stop[1]);
        subscribe(&counting, nats_port, namespace_, targets, gateways);
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        _exit(mst_nats_receiver_run(counting.socket, stop[0], on_message, &counting, NULL) ? 1 : 0);
    }
    close(stop[0]);
    close(ready[1]);
    if (receiver->pid < 0 || read(ready[0], &byte, 1) != 1)
        bench_die("cannot start a receiver");
    close(ready[0]);
    receiver->stop = stop[1];
}

void wire_settle(struct wire_receiver *receiver, uint64_t more)
{
    uint64_t until = bench_now() + 10 * MST_NS_PER_SECOND;
    while (atomic_load(receiver->received) < more)
        if (bench_now() > until)
            bench_die("of %llu messages %llu were received", (unsigned long long)more,
                      (unsigned long long)atomic_load(receiver->received));
    if (atomic_exchange(receiver->received, 0) != more)
        bench_die("more messages were received than sent");
}

void wire_end(struct wire_receiver *receiver)
{
    char byte = 0;
    if (!receiver->pid)
        return;
    /* Closing would not do: the receivers started later hold the other end, too. */
    if (write(receiver->stop, &byte, 1) != 1)
        bench_die("a receiver has ended early");
    close(receiver->stop);
    waitpid(receiver->pid, NULL, 0);
    munmap((void *)receiver->received, 4096);
}
