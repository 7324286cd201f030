// SPDX-License-Identifier: Apache-2.0

/* The few things of the operating system that the command line, the demo and the tests need and plain Lua lacks. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/lua_internal.h"

#define MAX_ARGUMENTS 256
#define DIRECTORIES "muster.directories" /* registry: the folders make_directory made */

static int fail_errno(lua_State *L, const char *what)
{
    struct mst_error error;
    mst_error_set(&error, MST_EINVAL, "%s: %s", what, strerror(errno));
    return mst__lua_fail(L, &error);
}

static void become(char **arguments, const char *output, const char *directory, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    int in = open("/dev/null", O_RDONLY);
    int out = open(output, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(127);
    if (directory && chdir(directory) != 0)
        _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): there is a first word, or luaL_argcheck had thrown
    execvp(arguments[0], arguments);
    _exit(127);
}

/* spawn{argv = {...}, stdout = PATH, directory = PATH} */
static int spawn(lua_State *L)
{
    char *arguments[MAX_ARGUMENTS + 1];
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "argv");
    luaL_checktype(L, -1, LUA_TTABLE);
    int count = (int)lua_objlen(L, -1);
    luaL_argcheck(L, count >= 1 && count <= MAX_ARGUMENTS, 1, "argv must have 1 to 256 words");
    luaL_checkstack(L, count, NULL);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, 2, i + 1);
        arguments[i] = (char *)luaL_checkstring(L, -1);
    }
    arguments[count] = NULL;
    lua_getfield(L, 1, "stdout");
    const char *output = luaL_optstring(L, -1, "/dev/null");
    lua_getfield(L, 1, "directory");
    const char *directory = luaL_optstring(L, -1, NULL);
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        return fail_errno(L, "cannot start a process");
    if (child == 0)
        become(arguments, output, directory, parent);
    lua_pushinteger(L, child);
    return 1;
}

static int send_signal(lua_State *L)
{
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    luaL_argcheck(L, pid > 1, 1, "not a process of ours");
    lua_pushboolean(L, kill(pid, luaL_optint(L, 2, SIGTERM)) == 0);
    return 1;
}

static void pause_for(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / MST_NS_PER_SECOND), (long)(ns % MST_NS_PER_SECOND)};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

static int wait_for(lua_State *L)
{
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    uint64_t until = mst_clock_monotonic() + (uint64_t)(luaL_optnumber(L, 2, 0) * 1e9);
    int status;
    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid)
            break;
        if (got < 0)
            return fail_errno(L, "wait");
        if (mst_clock_monotonic() >= until) {
            lua_pushboolean(L, 0);
            return 1;
        }
        pause_for(2 * MST_NS_PER_MS);
    }
    lua_pushboolean(L, 1);
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 2;
}

static int free_port(lua_State *L)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail_errno(L, "socket");
    int failed = bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
                 getsockname(fd, (struct sockaddr *)&address, &length) != 0;
    close(fd);
    if (failed)
        return fail_errno(L, "no free port");
    lua_pushinteger(L, ntohs(address.sin_port));
    return 1;
}

/* make_directory(prefix): a private folder below the system's place for temporary files. */
static int make_directory(lua_State *L)
{
    const char *base = getenv("TMPDIR");
    lua_pushfstring(L, "%s/%s-XXXXXX", base && *base ? base : "/tmp", luaL_checkstring(L, 1));
    char *path = strdup(lua_tostring(L, -1));
    if (!path || !mkdtemp(path)) {
        free(path);
        return fail_errno(L, "cannot make a folder");
    }
    lua_pushstring(L, path);
    free(path);
    lua_getfield(L, LUA_REGISTRYINDEX, DIRECTORIES);
    lua_pushvalue(L, -2);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return 1;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static int remove_tree(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, DIRECTORIES);
    lua_getfield(L, -1, path);
    luaL_argcheck(L, lua_toboolean(L, -1), 1, "not a folder that make_directory made");
    lua_pushnil(L);
    lua_setfield(L, -3, path);
    lua_pushboolean(L, nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
    return 1;
}

static int make_plain_directory(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    if (mkdir(path, (mode_t)luaL_optint(L, 2, 0700)) != 0 && errno != EEXIST)
        return fail_errno(L, path);
    struct stat status;
    if (lstat(path, &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != getuid()) {
        errno = EPERM;
        return fail_errno(L, path);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int pause_seconds(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e6, 1, "out of range");
    pause_for((uint64_t)(seconds * 1e9));
    return 0;
}

static int now(lua_State *L)
{
    lua_pushnumber(L, (double)mst_clock_wall());
    return 1;
}

static int monotonic(lua_State *L)
{
    lua_pushnumber(L, (double)mst_clock_monotonic() / 1e9);
    return 1;
}

static int is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(luaL_checkint(L, 1)));
    return 1;
}

static int pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

static int uid(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)getuid());
    return 1;
}

static int peak_memory(lua_State *L)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    lua_pushnumber(L, (double)usage.ru_maxrss * 1024);
    return 1;
}

static int set_environment(lua_State *L)
{
    const char *value = luaL_optstring(L, 2, NULL);
    const char *name = luaL_checkstring(L, 1);
    lua_pushboolean(L, (value ? setenv(name, value, 1) : unsetenv(name)) == 0);
    return 1;
}

void mst__lua_open_system(lua_State *L)
{
    static const luaL_Reg functions[] = {{"spawn", spawn},
                                         {"kill", send_signal},
                                         {"wait", wait_for},
                                         {"free_port", free_port},
                                         {"make_directory", make_directory},
                                         {"remove_tree", remove_tree},
                                         {"mkdir", make_plain_directory},
                                         {"sleep", pause_seconds},
                                         {"now", now},
                                         {"monotonic", monotonic},
                                         {"isatty", is_terminal},
                                         {"pid", pid},
                                         {"uid", uid},
                                         {"rss", peak_memory},
                                         {"setenv", set_environment},
                                         {NULL, NULL}};
    luaL_register(L, NULL, functions);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, DIRECTORIES);
}
