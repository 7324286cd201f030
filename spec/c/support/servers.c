// SPDX-License-Identifier: Apache-2.0
#include "support/servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_ATTEMPTS = 5, READY_SECONDS = 15 };

/* Of the test program: what is to be cleaned up at its end, whatever that end is. */
static pid_t running[64]; /* 0: free */
static char base_dir[64];
static int watcher_pipe = -1;
static pid_t watcher;
static unsigned started;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Puts `to` into the table in the place of `from`; servers are remembered by pid, for their structs may be gone. */
static void note(pid_t from, pid_t to)
{
    for (size_t i = 0; i < sizeof running / sizeof *running; i++)
        if (running[i] == from) {
            running[i] = to;
            return;
        }
}

static void end_pid(pid_t pid, int signal)
{
    kill(pid, signal);
    kill(pid, SIGCONT);
    for (double end = seconds() + 5; seconds() < end; pause_ms(2))
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void end_process(struct test_server *server, int signal)
{
    if (server->pid <= 0)
        return;
    end_pid(server->pid, signal);
    note(server->pid, 0);
    server->pid = 0;
}

static void clean_up(void)
{
    for (size_t i = 0; i < sizeof running / sizeof *running; i++)
        if (running[i] > 0)
            end_pid(running[i], SIGKILL);
    remove_tree(base_dir);
    close(watcher_pipe);
    waitpid(watcher, NULL, 0);
}

/* Holds the read end only, so that it sees the end of the pipe when the test program is gone. */
static void watch(int pipe_end)
{
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    char byte;
    while (read(pipe_end, &byte, 1) < 0 && errno == EINTR)
        continue;
    remove_tree(base_dir);
    _exit(0);
}

static bool prepare(void)
{
    if (watcher_pipe >= 0)
        return true;
    int ends[2];
    snprintf(base_dir, sizeof base_dir, "/tmp/muster-test-XXXXXX");
    if (mkdtemp(base_dir) == NULL || pipe2(ends, O_CLOEXEC) != 0)
        return false;
    watcher = fork();
    if (watcher < 0)
        return false;
    if (watcher == 0) {
        close(ends[1]);
        watch(ends[0]);
    }
    close(ends[0]);
    watcher_pipe = ends[1];
    return atexit(clean_up) == 0;
}

static int listening_socket(int port, int *chosen)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        *chosen = ntohs(address.sin_port);
    return fd;
}

int test_free_port(void)
{
    int port = -1;
    close(listening_socket(0, &port));
    return port;
}

static bool launch(struct test_server *server)
{
    char *argv[TEST_SERVER_ARGS + 1] = {NULL}, log[160], fallback[64];
    for (int i = 0; i < server->argc; i++)
        argv[i] = server->argv[i];
    snprintf(log, sizeof log, "%s/log", server->dir);
    snprintf(fallback, sizeof fallback, "/usr/sbin/%s", server->program);
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid > 0)
        note(0, server->pid);
    if (server->pid != 0)
        return server->pid > 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), in = open("/dev/null", O_RDONLY);
    if (getppid() != parent || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    signal(SIGPIPE, SIG_DFL);
    execvp(server->program, argv);
    execv(fallback, argv);
    _exit(127);
}

/* Whether the server answers `hello` with `greeting` now. */
static bool answers(const struct test_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = false;
    size_t asked = strlen(server->hello), wanted = strlen(server->greeting);
    char text[64];
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, server->hello, asked, MSG_NOSIGNAL) == (ssize_t)asked && poll(&wait, 1, 200) == 1)
        good = recv(fd, text, sizeof text, 0) >= (ssize_t)wanted &&
               (memcmp(text, server->greeting, wanted) == 0 || memcmp(text, "-NOAU", 5) == 0);
    close(fd);
    return good;
}

/* 1: ready, 0: it ended, -1: it is not ready in time. */
static int wait_ready(struct test_server *server)
{
    for (double end = seconds() + READY_SECONDS; seconds() < end; pause_ms(5)) {
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            note(server->pid, 0);
            server->pid = 0;
            return 0;
        }
        if (answers(server))
            return 1;
    }
    return -1;
}

__attribute__((format(printf, 2, 3))) static void argument(struct test_server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (server->argc < TEST_SERVER_ARGS)
        vsnprintf(server->argv[server->argc++], TEST_SERVER_ARG, format, args);
    va_end(args);
}

static void redis_arguments(struct test_server *server)
{
    argument(server, "redis-server");
    argument(server, "--port");
    argument(server, "%d", server->port);
    argument(server, "--bind");
    argument(server, "127.0.0.1");
    argument(server, "--dir");
    argument(server, "%s", server->dir);
    argument(server, "--save");
    argument(server, "%s", "");
    argument(server, "--enable-debug-command");
    argument(server, "local");
}

static void nats_arguments(struct test_server *server)
{
    argument(server, "nats-server");
    argument(server, "-a");
    argument(server, "127.0.0.1");
    argument(server, "-p");
    argument(server, "%d", server->port);
    argument(server, "-sd");
    argument(server, "%s", server->dir);
}

static bool start(struct test_server *server, void (*arguments)(struct test_server *), const char *const *options)
{
    if (!prepare())
        return false;
    snprintf(server->dir, sizeof server->dir, "%s/%u", base_dir, ++started);
    if (mkdir(server->dir, 0700) != 0)
        return false;
    /* Another program may take the port between our look and the server's bind. */
    for (int attempt = 0; attempt < START_ATTEMPTS; attempt++) {
        server->argc = 0;
        server->port = test_free_port();
        snprintf(server->address, sizeof server->address, "127.0.0.1:%d", server->port);
        arguments(server);
        for (int i = 0; options != NULL && options[i] != NULL; i++)
            argument(server, "%s", options[i]);
        if (launch(server) && wait_ready(server) > 0)
            return true;
        end_process(server, SIGKILL);
    }
    fprintf(stderr, "%s does not start on port %d\n", server->program, server->port);
    test_server_stop(server);
    return false;
}

bool test_redis_start(struct test_server *server, const char *const *options)
{
    *server = (struct test_server){.program = "redis-server", .hello = "PING\r\n", .greeting = "+PONG"};
    return start(server, redis_arguments, options);
}

bool test_nats_start(struct test_server *server, const char *const *options)
{
    *server = (struct test_server){.program = "nats-server", .hello = "", .greeting = "INFO "};
    return start(server, nats_arguments, options);
}

bool test_server_restart(struct test_server *server)
{
    end_process(server, SIGKILL);
    for (int attempt = 0; attempt < START_ATTEMPTS; attempt++) {
        if (launch(server) && wait_ready(server) > 0)
            return true;
        end_process(server, SIGKILL);
        pause_ms(50);
    }
    fprintf(stderr, "%s does not start again on port %d\n", server->program, server->port);
    return false;
}

void test_server_kill(struct test_server *server)
{
    end_process(server, SIGKILL);
}

void test_server_pause(struct test_server *server)
{
    siginfo_t info;
    kill(server->pid, SIGSTOP);
    /* The signal takes a moment to reach all its threads. */
    waitid(P_PID, (id_t)server->pid, &info, WSTOPPED);
}

void test_server_resume(struct test_server *server)
{
    kill(server->pid, SIGCONT);
}

void test_server_stop(struct test_server *server)
{
    if (server->dir[0] == '\0')
        return;
    end_process(server, SIGTERM);
    remove_tree(server->dir);
    server->dir[0] = '\0';
}
