// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/loadtest_internal.h"
#include "io/nats_receiver.h"

#define CONNECT_TIMEOUT (2 * MST_NS_PER_SECOND)
#define SUBSCRIBE_TIMEOUT (30 * MST_NS_PER_SECOND)
#define END_TIMEOUT (2 * MST_NS_PER_SECOND)
#define RECONNECT_MS 20
#define PREFIX "muster"

static const char id_head[] = "loadtest-user-";

/* Written by one receiver each, read by the parent. */
struct counters {
    _Atomic uint64_t received, foreign, reconnects;
    char apart[40]; /* from the next one's cache line */
};

struct mst__load_shared {
    struct counters counters[MST__LOAD_RECEIVERS];
};

/* A receiver at work: in its process, or in the generator's. */
struct receiver {
    struct mst__load_receivers *all;
    uint32_t index;
    struct mst_nats_receiver *socket; /* NULL: in process */
    uint64_t now;                     /* of the batch of messages at hand */
};

bool mst__load_receivers_any(const struct mst__load_receivers *receivers)
{
    return receivers->count > 0 || receivers->in_process;
}

/* ------------------------------------------------------------------------------------------------ counting */

static void add(_Atomic uint64_t *number, uint64_t more)
{
    /* One writer: no need for a locked instruction. */
    atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + more, memory_order_relaxed);
}

/* Digits from `text` to its end; false if there is anything else. */
static bool read_digits(struct mst_span text, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.length > 0 && text.length < 12;
}

static bool read_id(struct mst_span id, uint64_t *number)
{
    size_t head = sizeof id_head - 1;
    if (id.length <= head || memcmp(id.data, id_head, head) != 0)
        return false;
    return read_digits((struct mst_span){id.data + head, id.length - head}, number);
}

/* The number of its multicast, which the default payload ends with: ..."n":123} */
static bool read_payload(const struct mst__load_receivers *all, struct mst_span payload, uint64_t *number)
{
    *number = 0;
    if (!all->numbered)
        return true;
    if (payload.length < 2 || payload.data[payload.length - 1] != '}')
        return false;
    const char *colon = memrchr(payload.data, ':', payload.length);
    if (!colon)
        return false;
    size_t length = (size_t)(payload.data + payload.length - 1 - colon - 1);
    return read_digits((struct mst_span){colon + 1, length}, number) && *number < all->multicasts;
}

static void note_arrival(struct receiver *receiver, uint64_t multicast)
{
    _Atomic uint64_t *last = &receiver->all->arrivals[multicast];
    uint64_t before = atomic_load_explicit(last, memory_order_relaxed);
    while (before < receiver->now && !atomic_compare_exchange_weak(last, &before, receiver->now))
        ;
}

static void count(struct receiver *receiver, uint64_t identity, uint64_t multicast)
{
    struct mst__load_tally *tally = &receiver->all->tallies[identity - 1];
    uint32_t before = atomic_load_explicit(&tally->count, memory_order_relaxed);
    atomic_store_explicit(&tally->count, before + 1, memory_order_relaxed);
    add(&tally->sum, mst__load_mix(multicast));
    add(&receiver->all->shared->counters[receiver->index].received, 1);
}

static void count_foreign(struct receiver *receiver)
{
    add(&receiver->all->shared->counters[receiver->index].foreign, 1);
}

static bool subject_name(const struct mst__load_receivers *all, struct mst_span subject, const char *kind,
                         struct mst_span *name)
{
    size_t head = all->head_length, length = strlen(kind);
    if (subject.length <= head + length || memcmp(subject.data, all->head, head) != 0 ||
        memcmp(subject.data + head, kind, length) != 0)
        return false;
    *name = (struct mst_span){subject.data + head + length, subject.length - head - length};
    return true;
}

/* `number`: of the identity whose subscription this is; 0: of any. */
static void take_direct(struct receiver *receiver, struct mst_span subject, struct mst_span payload, uint64_t number)
{
    const struct mst__load_receivers *all = receiver->all;
    struct mst_span name;
    uint64_t identity, multicast;
    if (!subject_name(all, subject, "to.", &name) || !read_id(name, &identity) || identity == 0 ||
        identity > all->identities || (number && number != identity) || !read_payload(all, payload, &multicast)) {
        count_foreign(receiver);
        return;
    }
    count(receiver, identity, multicast);
    if (all->numbered)
        note_arrival(receiver, multicast);
}

/* The ids of an envelope need no escapes here, so that anything else is not ours. */
static void take_envelope(struct receiver *receiver, struct mst_span message, uint64_t gateway)
{
    static const char to[] = "\"to\":[";
    const struct mst__load_receivers *all = receiver->all;
    const char *newline = memchr(message.data, '\n', message.length);
    const char *at = newline ? memmem(message.data, (size_t)(newline - message.data), to, sizeof to - 1) : NULL;
    uint64_t identity, multicast;
    struct mst_span payload = {newline ? newline + 1 : "",
                               newline ? (size_t)(message.data + message.length - newline - 1) : 0};
    if (!at || !read_payload(all, payload, &multicast)) {
        count_foreign(receiver);
        return;
    }
    at += sizeof to - 1;
    while (at < newline && *at == '"') {
        const char *end = memchr(at + 1, '"', (size_t)(newline - at - 1));
        if (!end)
            break;
        struct mst_span id = {at + 1, (size_t)(end - at - 1)};
        if (read_id(id, &identity) && identity && identity <= all->identities && identity % all->gateways == gateway)
            count(receiver, identity, multicast);
        else
            count_foreign(receiver);
        at = end + 1 + (end[1] == ',');
    }
    if (all->numbered)
        note_arrival(receiver, multicast);
}

static struct mst_span acknowledgement(const struct mst__load_receivers *all)
{
    return all->ack == MST_ACK_PROCESSED ? (struct mst_span){"+", 1} : (struct mst_span){"", 0};
}

/* ------------------------------------------------------------------------------------------------ in the process */

static void on_message(void *context, const struct mst_nats_received *message)
{
    struct receiver *receiver = context;
    const struct mst__load_receivers *all = receiver->all;
    receiver->now = mst_clock_monotonic();
    if (message->number > all->identities)
        take_envelope(receiver, message->payload, message->number - all->identities - 1);
    else
        take_direct(receiver, message->subject, message->payload, message->number);
    if (message->reply.length)
        mst_nats_receiver_answer(receiver->socket, message->reply, acknowledgement(all));
}

static void subscribe(const struct receiver *receiver)
{
    const struct mst__load_receivers *all = receiver->all;
    char subject[256];
    for (uint64_t i = receiver->index; all->gateways && i < all->gateways; i += all->count) {
        snprintf(subject, sizeof subject, "%svia.loadtest-gateway-%llu", all->head, (unsigned long long)i);
        mst_nats_receiver_subscribe(receiver->socket, subject, all->identities + 1 + i);
    }
    for (uint64_t i = 1 + receiver->index; !all->gateways && i <= all->identities; i += all->count) {
        snprintf(subject, sizeof subject, "%sto.%s%llu", all->head, id_head, (unsigned long long)i);
        mst_nats_receiver_subscribe(receiver->socket, subject, i);
    }
}

/* One line to the parent: empty when all is well. */
static void tell(int status, const char *text)
{
    char line[512];
    int length = snprintf(line, sizeof line, "%.500s\n", text);
    if (write(status, line, (size_t)length) < 0)
        _exit(1);
}

static int connect_receiver(struct receiver *receiver, const char *servers, struct mst_error *error)
{
    int code = mst_nats_receiver_open(&receiver->socket, servers, CONNECT_TIMEOUT, error);
    if (code)
        return code;
    subscribe(receiver);
    code = mst_nats_receiver_sync(receiver->socket, SUBSCRIBE_TIMEOUT, error);
    if (code)
        mst_nats_receiver_close(receiver->socket);
    return code;
}

/* True if `stop` spoke. */
static bool pause_for(int stop, int milliseconds)
{
    struct pollfd poll_ = {.fd = stop, .events = POLLIN};
    return poll(&poll_, 1, milliseconds) > 0;
}

/* The life of the process. A server that goes away and comes back is no reason to stop counting. */
static void receive(struct receiver *receiver, const char *servers, int stop, int status)
{
    struct mst_error error;
    int code = connect_receiver(receiver, servers, &error);
    tell(status, code ? error.message : "");
    if (code)
        _exit(1);
    while (mst_nats_receiver_run(receiver->socket, stop, on_message, receiver, &error)) {
        mst_nats_receiver_close(receiver->socket);
        add(&receiver->all->shared->counters[receiver->index].reconnects, 1);
        do {
            if (pause_for(stop, RECONNECT_MS))
                _exit(0);
        } while (connect_receiver(receiver, servers, &error));
    }
    _exit(0);
}

/* ------------------------------------------------------------------------------------------------ processes */

static int start_process(struct mst__load_receivers *receivers, uint32_t index, const char *servers)
{
    struct mst__load_process *process = &receivers->processes[index];
    int stop[2] = {-1, -1}, status[2] = {-1, -1};
    pid_t parent = getpid();
    process->pid = -1;
    if (pipe2(stop, O_CLOEXEC) == 0 && pipe2(status, O_CLOEXEC) == 0)
        process->pid = fork();
    if (process->pid == 0) {
        signal(SIGINT, SIG_IGN); /* the terminal sends it to all; when to end is the parent's business */
        signal(SIGTERM, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(stop[1]);
        for (uint32_t i = 0; i < index; i++)
            close(receivers->processes[i].stop);
        struct receiver receiver = {.all = receivers, .index = index};
        receive(&receiver, servers, stop[0], status[1]);
    }
    close(stop[0]);
    close(status[1]);
    process->stop = stop[1];
    process->status = status[0];
    return process->pid > 0 ? 0 : MST_EINTERNAL;
}

static int make_shared(struct mst__load_receivers *receivers)
{
    size_t tallies = receivers->identities * sizeof(struct mst__load_tally);
    size_t arrivals = receivers->multicasts * sizeof *receivers->arrivals;
    receivers->shared_size = sizeof *receivers->shared + tallies + arrivals;
    // cppcheck-suppress invalidFunctionArg ; a mapping without a file has descriptor -1
    void *memory = mmap(NULL, receivers->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return MST_ENOMEM;
    receivers->shared = memory;
    receivers->tallies = (void *)(receivers->shared + 1);
    receivers->arrivals = (void *)((char *)receivers->tallies + tallies);
    return 0;
}

int mst__load_receivers_start(struct mst__load_receivers *receivers, const struct mst__load_options *options,
                              const struct mst__load_schedule *schedule, const char *namespace_,
                              struct mst_error *error)
{
    if (options->receivers == 0 || schedule->counts[MST__LOAD_MULTICAST] == 0)
        return 0;
    receivers->identities = schedule->identities;
    receivers->multicasts = schedule->counts[MST__LOAD_MULTICAST];
    receivers->gateways = options->gateways;
    receivers->ack = options->ack;
    receivers->numbered = options->payload == NULL;
    receivers->head_length = (size_t)snprintf(receivers->head, sizeof receivers->head, PREFIX ".%s.", namespace_);
    if (make_shared(receivers))
        return mst_error_set(error, MST_ENOMEM, "no memory for what the receivers count");
    receivers->in_process = options->embedded;
    while (!options->embedded && receivers->count < options->receivers) {
        receivers->count++;
        receivers->processes[receivers->count - 1].pid = -1;
    }
    for (uint32_t i = 0; i < receivers->count; i++)
        if (start_process(receivers, i, options->nats_servers)) {
            receivers->count = i + 1;
            return mst_error_set(error, MST_EINTERNAL, "cannot start a receiver process");
        }
    return 0;
}

static int wait_process(const struct mst__load_process *process, struct mst_error *error)
{
    char line[512] = "";
    size_t length = 0;
    uint64_t until = mst_clock_monotonic() + CONNECT_TIMEOUT * 2 + SUBSCRIBE_TIMEOUT;
    while (length == 0 || line[length - 1] != '\n') {
        struct pollfd poll_ = {.fd = process->status, .events = POLLIN};
        uint64_t now = mst_clock_monotonic();
        int ready = now < until ? poll(&poll_, 1, (int)((until - now) / MST_NS_PER_MS) + 1) : 0;
        ssize_t count =
            ready > 0 && length < sizeof line ? read(process->status, line + length, sizeof line - length) : 0;
        if (count <= 0)
            return mst_error_set(error, MST_ENATS, "a receiver process did not come up");
        length += (size_t)count;
    }
    line[length - 1] = '\0';
    return length > 1 ? mst_error_set(error, MST_ENATS, "%.300s", line) : 0;
}

int mst__load_receivers_wait(struct mst__load_receivers *receivers, struct mst_error *error)
{
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < receivers->count; i++)
        code = wait_process(&receivers->processes[i], error);
    return code;
}

/* Adds up one member of the counters, by its place in them. */
static uint64_t sum_counters(const struct mst__load_receivers *receivers, size_t member)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; receivers->shared && i < MST__LOAD_RECEIVERS; i++) {
        const char *counters = (const char *)&receivers->shared->counters[i];
        sum += atomic_load_explicit((const _Atomic uint64_t *)(const void *)(counters + member), memory_order_relaxed);
    }
    return sum;
}

uint64_t mst__load_receivers_count(const struct mst__load_receivers *receivers)
{
    return sum_counters(receivers, offsetof(struct counters, received));
}

uint64_t mst__load_receivers_foreign(const struct mst__load_receivers *receivers)
{
    return sum_counters(receivers, offsetof(struct counters, foreign));
}

uint64_t mst__load_receivers_reconnects(const struct mst__load_receivers *receivers)
{
    return sum_counters(receivers, offsetof(struct counters, reconnects));
}

static void reap(struct mst__load_receivers *receivers, struct mst__load_process *process)
{
    struct rusage usage;
    int status;
    uint64_t until = mst_clock_monotonic() + END_TIMEOUT;
    close(process->stop);
    close(process->status);
    if (process->pid <= 0)
        return;
    pid_t ended;
    while ((ended = wait4(process->pid, &status, WNOHANG, &usage)) == 0 && mst_clock_monotonic() < until)
        usleep(1000);
    if (ended == 0) {
        kill(process->pid, SIGKILL);
        ended = wait4(process->pid, &status, 0, &usage);
    }
    if (ended == process->pid)
        receivers->cpu_seconds += (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    process->pid = -1;
}

void mst__load_receivers_stop(struct mst__load_receivers *receivers)
{
    for (uint32_t i = 0; i < receivers->count; i++)
        if (receivers->processes[i].pid > 0)
            reap(receivers, &receivers->processes[i]);
    for (int i = 0; i < 2 && receivers->messaging; i++)
        if (receivers->listeners[i].deliver)
            receivers->messaging->ops->unlisten(receivers->messaging, &receivers->listeners[i]);
    receivers->messaging = NULL;
}

void mst__load_receivers_deinit(struct mst__load_receivers *receivers)
{
    mst__load_receivers_stop(receivers);
    if (receivers->shared)
        munmap(receivers->shared, receivers->shared_size);
    receivers->shared = NULL;
}

void mst__load_receivers_kill(const struct mst__load_receivers *receivers)
{
    for (uint32_t i = 0; i < receivers->count; i++)
        if (receivers->processes[i].pid > 0)
            kill(receivers->processes[i].pid, SIGKILL);
}

/* ------------------------------------------------------------------------------------------------ embedded */

static void on_delivery(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct mst__load_receivers *receivers = listener->owner;
    struct receiver receiver = {.all = receivers, .now = mst_clock_monotonic()};
    struct mst_span name;
    uint64_t gateway;
    static const char head[] = "loadtest-gateway-";
    if (listener == &receivers->listeners[0]) {
        take_direct(&receiver, delivery->subject, delivery->payload, 0);
    } else if (subject_name(receivers, delivery->subject, "via.", &name) && name.length > sizeof head - 1 &&
               read_digits((struct mst_span){name.data + sizeof head - 1, name.length - (sizeof head - 1)}, &gateway) &&
               receivers->gateways) {
        take_envelope(&receiver, delivery->payload, gateway);
    } else {
        count_foreign(&receiver);
    }
    if (delivery->reply.length)
        receivers->messaging->ops->publish(receivers->messaging, delivery->reply, (struct mst_span){"", 0}, NULL, 0,
                                           acknowledgement(receivers), NULL);
}

int mst__load_receivers_listen(struct mst__load_receivers *receivers, struct mst_messaging *messaging,
                               struct mst_error *error)
{
    static const char *const kinds[] = {"to", "via"};
    char subject[256];
    int code = 0;
    if (!receivers->in_process)
        return 0;
    receivers->messaging = messaging;
    for (int i = 0; code == 0 && i < 2; i++) {
        receivers->listeners[i] = (struct mst_listener){.deliver = on_delivery, .owner = receivers};
        snprintf(subject, sizeof subject, "%s%s.*", receivers->head, kinds[i]);
        code = messaging->ops->listen(messaging, subject, NULL, &receivers->listeners[i], error);
        if (code)
            receivers->listeners[i].deliver = NULL;
    }
    return code;
}
