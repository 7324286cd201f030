// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/control_internal.h"
#include "host/frame.h"

#define MOST_CONNECTIONS 1024u
#define ACCEPTS_PER_TURN 64
#define PAUSE (100 * MST_NS_PER_MS)
#define LOCK_TRIES 100

void mst__control_unref(struct mst_control_server *server)
{
    if (--server->references)
        return;
    free(server->path);
    free(server);
}

/* Accepting */

static void turn_away(int fd)
{
    struct mst_buffer json = {0}, out = {0};
    struct mst_error error;
    mst_error_set(&error, MST_EBUSY, "the control socket has %u connections already", MOST_CONNECTIONS);
    mst_json_put_error(&json, &error);
    struct mst_frame frame = {.type = MST_FRAME_ANSWER, .a = {"EBUSY", 5}, .body = {json.data, json.length}};
    if (!json.failed && mst_frame_put(&out, &frame, NULL) == 0)
        send(fd, out.data, out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    mst_buffer_deinit(&json);
    mst_buffer_deinit(&out);
    close(fd);
}

static void on_connection(uv_poll_t *poll, int status, int events);

static void after_pause(struct mst_timer *timer, void *owner)
{
    (void)timer;
    struct mst_control_server *server = owner;
    if (!server->refusing)
        uv_poll_start(&server->poll, UV_READABLE, on_connection);
}

/* Without descriptors the one that waits stays in the queue, and the loop would do nothing but wake up for it. */
static void pause_accepting(struct mst_control_server *server, int reason)
{
    mst_log_write(server->host->log, MST_LOG_WARN, "control", "cannot accept", "error", strerror(reason), NULL);
    uint64_t until = mst_clock_monotonic() + PAUSE;
    if (mst_timers_set(&server->host->loop.timers, &server->pause, until) == 0)
        uv_poll_stop(&server->poll);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct mst_control_server *server = poll->data;
    (void)events;
    for (int i = 0; status == 0 && i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                pause_accepting(server, errno);
            return;
        }
        if (server->count >= MOST_CONNECTIONS)
            turn_away(fd);
        else if (!mst__control_connect(server, fd))
            mst_log_write(server->host->log, MST_LOG_ERROR, "control", "no memory for a connection", NULL);
    }
}

/* Opening */

static int fill_address(struct sockaddr_un *address, const char *path, struct mst_error *error)
{
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length == 0 || length >= sizeof address->sun_path)
        return mst_error_set(error, MST_ECONFIG, "control socket: a path has 1 to %zu bytes, this one has %zu",
                             sizeof address->sun_path - 1, length);
    memcpy(address->sun_path, path, length + 1);
    return 0;
}

static int refuse_path(struct mst_error *error, const char *path, const char *why)
{
    return mst_error_set(error, MST_ECONFIG, "control socket %s: %s", path, why);
}

/* Removes a socket that nobody answers on. */
static int remove_stale(const struct sockaddr_un *address, struct mst_error *error)
{
    const char *path = address->sun_path;
    struct stat found;
    if (lstat(path, &found) != 0)
        return errno == ENOENT ? 0 : refuse_path(error, path, strerror(errno));
    if (!S_ISSOCK(found.st_mode))
        return refuse_path(error, path, "there is a file of this name that is no socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return refuse_path(error, path, strerror(errno));
    int reason = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    close(fd);
    if (reason == 0 || reason == EAGAIN) {
        mst_error_set(error, MST_EBUSY, "control socket %s: another program listens on it", path);
        mst_error_hint(error, "is another \"muster serve\" running? Give each its own --socket");
        return MST_EBUSY;
    }
    if (reason != ECONNREFUSED || (unlink(path) != 0 && errno != ENOENT))
        return refuse_path(error, path, strerror(reason != ECONNREFUSED ? reason : errno));
    return 0;
}

/*
 * Two programs that start at once must not remove each other's new socket. The lock is on the folder, so that no file
 * stays behind. Whoever cannot have it (a folder that cannot be read, a lock that somebody keeps) goes on without.
 */
static int lock_folder(const char *path)
{
    char folder[sizeof((struct sockaddr_un *)0)->sun_path] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) {
        size_t length = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, length);
        folder[length] = '\0';
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++)
        usleep(5000);
    return fd;
}

/* Mode before name: there is no moment in which others could connect. */
static int bind_socket(int fd, const struct sockaddr_un *address, struct stat *made, struct mst_error *error)
{
    const char *path = address->sun_path;
    int lock = lock_folder(path);
    int code = remove_stale(address, error);
    if (code == 0 && (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
                      chmod(path, 0600) != 0 || listen(fd, SOMAXCONN) != 0 || lstat(path, made) != 0))
        code = refuse_path(error, path, strerror(errno));
    if (lock >= 0)
        close(lock);
    return code;
}

static int open_socket(struct mst_control_server *server, struct mst_error *error)
{
    struct sockaddr_un address;
    struct stat made = {0};
    int code = fill_address(&address, server->path, error);
    if (code)
        return code;
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->fd < 0)
        return refuse_path(error, server->path, strerror(errno));
    code = bind_socket(server->fd, &address, &made, error);
    if (code) {
        close(server->fd);
        return code;
    }
    server->device = made.st_dev;
    server->inode = made.st_ino;
    return 0;
}

static void remove_name(const struct mst_control_server *server)
{
    struct stat found;
    if (lstat(server->path, &found) == 0 && found.st_dev == server->device && found.st_ino == server->inode)
        unlink(server->path);
}

int mst_control_server_create(struct mst_control_server **made, struct mst_host *host, const char *path,
                              struct mst_error *error)
{
    struct mst_control_server *server = calloc(1, sizeof *server);
    if (!server || !(server->path = strdup(path))) {
        free(server);
        return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    }
    server->host = host;
    server->references = 1;
    server->pause = (struct mst_timer){.fire = after_pause, .owner = server};
    int code = open_socket(server, error);
    if (code)
        goto fail;
    if (uv_poll_init(host->loop.uv, &server->poll, server->fd) != 0) {
        code = mst_error_set(error, MST_EINTERNAL, "control socket %s: the loop does not take it", path);
        remove_name(server);
        close(server->fd);
        goto fail;
    }
    server->poll.data = server;
    uv_poll_start(&server->poll, UV_READABLE, on_connection);
    mst_log_write(host->log, MST_LOG_INFO, "control", "listening", "socket", path, NULL);
    *made = server;
    return 0;

fail:
    mst__control_unref(server);
    return code;
}

/* Closing */

void mst_control_server_refuse(struct mst_control_server *server)
{
    if (server->refusing)
        return;
    server->refusing = true;
    mst_timers_cancel(&server->host->loop.timers, &server->pause);
    uv_poll_stop(&server->poll);
    /* Who comes now is refused by the system, as if nobody were there. */
    remove_name(server);
    shutdown(server->fd, SHUT_RDWR);
}

static void on_closed(uv_handle_t *handle)
{
    mst__control_unref(handle->data);
}

void mst_control_server_destroy(struct mst_control_server *server)
{
    mst_control_server_refuse(server);
    server->destroyed = true;
    mst__control_disconnect(server);
    uv_close((uv_handle_t *)&server->poll, on_closed);
    close(server->fd);
}
