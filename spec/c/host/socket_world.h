// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A host on the memory slots with a control socket in a folder of its own, and two kinds of client. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/control_internal.h"
#include "host_world.h"

static char folder[64], path[96];
static struct mst_host *host;

static inline int start(void **state)
{
    (void)state;
    host = host_start(NULL);
    struct mst_error error;
    if (mst_control_server_create(&host->control, host, path, &error))
        fail_msg("%s", error.message);
    return 0;
}

static inline int stop(void **state)
{
    (void)state;
    host_end(host);
    host = NULL;
    assert_int_equal(access(path, F_OK), -1);
    return 0;
}

static inline struct mst_client *open_client(uint64_t timeout)
{
    struct reply ready = {0};
    struct mst_client *client = client_started(mst_client_open_socket(&host->loop, path, timeout, on_reply, &ready));
    assert_int_equal(ready.count, 0);
    wait_count(host, &ready.count, 1);
    assert_int_equal(ready.status, 0);
    reply_clear(&ready);
    return client;
}

/* A client of another make. */

static inline int raw_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static inline void raw_send(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads until the end or until `enough` bytes; the text is the caller's. True: the end has come. */
static inline bool raw_read(int fd, struct mst_buffer *in, size_t enough, unsigned seconds)
{
    uint64_t until = mst_clock_monotonic() + seconds * MST_NS_PER_SECOND;
    while (in->length < enough && mst_clock_monotonic() < until) {
        mst_buffer_reserve(in, 65536);
        ssize_t count = recv(fd, in->data + in->length, 65536, MSG_DONTWAIT);
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            return true;
        if (count > 0)
            in->length += (size_t)count;
        step_for(host, 1);
    }
    return false;
}

static inline void assert_text(const struct mst_buffer *in, const char *text)
{
    if (!in->length || !memmem(in->data, in->length, text, strlen(text)))
        fail_msg("no \"%s\" in: %.*s", text, (int)(in->length < 300 ? in->length : 300), in->data ? in->data : "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

/* The tests of a program, in a folder that is removed again. */
#define run_with_socket(tests) (make_folder(), remove_folder(cmocka_run_group_tests(tests, NULL, NULL)))

static inline void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/muster-control-XXXXXX");
    if (!mkdtemp(folder))
        abort();
    snprintf(path, sizeof path, "%s/socket", folder);
}

static inline int remove_folder(int failed)
{
    rmdir(folder);
    return failed;
}
