// SPDX-License-Identifier: Apache-2.0

/* A coordinator inside a C program: cc embed.c $(pkg-config --cflags --libs muster) */
#include <muster.h>
#include <stdio.h>
#include <string.h>

static const char *const calls[][2] = {
    {"register", "{\"id\":\"sensor-1\",\"metadata\":{\"battery\":12}}"},
    {"enumerate", "{\"filter\":\"battery < 20\"}"},
    {"multicast", "{\"filter\":\"battery < 20\",\"payload\":\"sleep\",\"ack\":\"none\"}"},
};

struct program {
    struct mst_host *host;
    size_t next;
};

/* Each answer starts the next call; the last one ends the program. */
static void answered(void *context, int status, const char *json, size_t length)
{
    struct program *program = context;
    printf("%s %.*s\n", status ? mst_status_name(status) : "ok", (int)length, json);
    if (status || program->next == sizeof calls / sizeof *calls) {
        mst_host_stop(program->host);
        return;
    }
    const char *const *call = calls[program->next++];
    mst_host_call(program->host, call[0], "default", call[1], strlen(call[1]), answered, program);
}

int main(void)
{
    struct program program = {0};
    struct mst_host_options embedded = {0}; /* memory and in-process messaging */
    program.host = mst_host_open(&embedded, NULL, answered, &program);
    if (!program.host)
        return 1;
    mst_host_run(program.host);
    mst_host_free(program.host);
    return program.next == sizeof calls / sizeof *calls ? 0 : 1;
}
