// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

bool bench_quick;
static bool json;
static const char *program;

void bench_begin(int argc, char **argv, const char *name, const char *about)
{
    program = name;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            bench_quick = true;
        else if (strcmp(argv[i], "--json") == 0)
            json = true;
        else
            bench_die("usage: %s [--quick] [--json]", name);
    }
    if (!json)
        printf("%s: %s\n%-34s %10s  %26s  %38s  %6s\n", name, about, "", "n", "median (p10 - p90)", "reference",
               "ratio");
    setvbuf(stdout, NULL, _IOLBF, 0);
}

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

uint64_t bench_now(void)
{
    return mst_clock_monotonic();
}

/* ------------------------------------------------------------------------------------------------ figures */

static int compare(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

struct figures {
    double median, low, high;
};

static struct figures sum_up(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return (struct figures){values[count / 2], values[count / 10], values[count - 1 - count / 10]};
}

static void print_json(const struct bench_case *measured, const struct figures *ours, const struct figures *theirs)
{
    printf("{\"bench\":\"%s\",\"case\":\"%s\",\"n\":%llu,\"value\":%.6g,\"unit\":\"%s\",\"spread\":[%.6g,%.6g],"
           "\"rounds\":%u",
           program, measured->name, (unsigned long long)measured->n, ours->median, measured->unit, ours->low,
           ours->high, measured->rounds);
    if (theirs)
        printf(",\"reference\":%.6g,\"reference_name\":\"%s\",\"ratio\":%.4g}\n", theirs->median, measured->reference,
               ours->median / theirs->median);
    else
        printf(",\"reference\":null,\"ratio\":null}\n");
}

static void print_text(const struct bench_case *measured, const struct figures *ours, const struct figures *theirs)
{
    char text[80], reference[80] = "-", ratio[16] = "-";
    snprintf(text, sizeof text, "%.4g %s (%.3g - %.3g)", ours->median, measured->unit, ours->low, ours->high);
    if (theirs) {
        snprintf(reference, sizeof reference, "%s %.4g (%.3g - %.3g)", measured->reference, theirs->median, theirs->low,
                 theirs->high);
        snprintf(ratio, sizeof ratio, "%.2f", ours->median / theirs->median);
    }
    printf("%-34s %10llu  %26s  %38s  %6s\n", measured->name, (unsigned long long)measured->n, text, reference, ratio);
}

void bench_run(const struct bench_case *measured)
{
    double *ours = malloc(measured->rounds * sizeof *ours), *theirs = malloc(measured->rounds * sizeof *theirs);
    struct figures reference = {0};
    if (!ours || !theirs)
        bench_die("out of memory");
    measured->ours(measured->context); /* a round to get warm */
    if (measured->theirs)
        measured->theirs(measured->context);
    for (unsigned i = 0; i < measured->rounds; i++) {
        ours[i] = measured->ours(measured->context);
        theirs[i] = measured->theirs ? measured->theirs(measured->context) : 0;
    }
    struct figures figures = sum_up(ours, measured->rounds);
    if (measured->theirs)
        reference = sum_up(theirs, measured->rounds);
    (json ? print_json : print_text)(measured, &figures, measured->theirs ? &reference : NULL);
    free(ours);
    free(theirs);
}

/* ------------------------------------------------------------------------------------------------ a host */

struct wait {
    struct mst_host *host;
    bool done;
    int status;
    char text[200];
};

static void on_answer(void *context, int status, const char *answer, size_t length)
{
    struct wait *wait = context;
    wait->done = true;
    wait->status = status;
    snprintf(wait->text, sizeof wait->text, "%.*s", length < 190 ? (int)length : 190, answer);
}

static void wait_for(struct wait *wait, const char *what)
{
    while (!wait->done)
        mst_host_step(wait->host, 1000);
    if (wait->status)
        bench_die("%s: %s", what, wait->text);
}

struct mst_host *bench_host(int redis_port, int nats_port)
{
    char url[64];
    struct wait wait = {0};
    struct mst_host_options options = {.log_level = "error"};
    snprintf(url, sizeof url, "nats://127.0.0.1:%d", nats_port);
    if (redis_port) {
        options.redis_host = "127.0.0.1";
        options.redis_port = redis_port;
    }
    if (nats_port)
        options.nats_servers = url;
    wait.host = mst_host_open(&options, NULL, on_answer, &wait);
    if (!wait.host)
        bench_die("cannot make a host");
    wait_for(&wait, "host");
    return wait.host;
}

void bench_call(struct mst_host *host, const char *verb, const char *namespace_, const char *body)
{
    struct wait wait = {.host = host};
    mst_host_call(host, verb, namespace_, body, strlen(body), on_answer, &wait);
    wait_for(&wait, verb);
}

void bench_put_registration(struct mst_buffer *body, uint64_t number, unsigned gateways)
{
    mst_buffer_append_string(body, "{\"id\":\"loadtest-user-");
    mst_buffer_append_u64(body, number);
    mst_buffer_append_string(
        body, "\",\"metadata\":{\"status\":\"online\",\"loadtest\":true,\"timestamp\":1760011200,\"worker_id\":");
    mst_buffer_append_u64(body, number % 100);
    mst_buffer_append_string(body, "},\"ttl\":3600");
    if (gateways) {
        mst_buffer_append_string(body, ",\"gateway\":\"loadtest-gateway-");
        mst_buffer_append_u64(body, number % gateways);
        mst_buffer_append_byte(body, '"');
    }
    mst_buffer_append_byte(body, '}');
}

void bench_register(struct mst_host *host, const char *namespace_, uint64_t count, unsigned gateways)
{
    struct mst_buffer body = {0};
    for (uint64_t number = 1; number <= count;) {
        mst_buffer_clear(&body);
        mst_buffer_append_byte(&body, '[');
        for (unsigned i = 0; i < 1000 && number <= count; i++, number++) {
            if (i)
                mst_buffer_append_byte(&body, ',');
            bench_put_registration(&body, number, gateways);
        }
        mst_buffer_append(&body, "]", 2);
        if (body.failed)
            bench_die("out of memory");
        bench_call(host, "register", namespace_, body.data);
    }
    mst_buffer_deinit(&body);
}

/* ------------------------------------------------------------------------------------------------ sockets */

int bench_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, made = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (made < 0 || connect(made, (struct sockaddr *)&address, sizeof address) < 0)
        bench_die("cannot connect to port %d", port);
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return made;
}

void bench_write(int socket_, const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        ssize_t count = write(socket_, bytes + at, length - at);
        if (count <= 0)
            bench_die("a server has closed the connection");
        at += (size_t)count;
    }
}
