// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Real servers for tests: started on a free loopback port with a temporary directory of their own, ended by pid.
 *
 * Nothing outlives the test program: a server dies with the thread that started it, and the directories are removed at
 * exit, or by a small watcher process when the program ends in any other way. One thread.
 */
#include <stdbool.h>
#include <sys/types.h>

#define TEST_SERVER_ARGS 40
#define TEST_SERVER_ARG 160

struct test_server {
    pid_t pid;        /* 0: not running */
    int port;         /* the same over restarts */
    char dir[100];    /* holds its data and the file "log"; "" before start and after stop */
    char address[32]; /* "127.0.0.1:PORT" */
    /* private */
    const char *program;
    const char *greeting; /* what it says when it is ready */
    const char *hello;    /* what it is asked with */
    int argc;
    char argv[TEST_SERVER_ARGS][TEST_SERVER_ARG];
};

/*
 * Starts a server into `server` and waits until it answers.
 * `options`: more arguments, ended by NULL, or NULL. False, with a line on standard error, if it does not come up.
 * Redis: no snapshots, no append-only file unless the options say so ("--appendonly", "yes").
 */
bool test_redis_start(struct test_server *server, const char *const *options);
bool test_nats_start(struct test_server *server, const char *const *options);

/* Starts it again with the same arguments, port and directory, after killing it if it runs. */
bool test_server_restart(struct test_server *server);

/* Ends it with SIGKILL and waits for that; port and directory stay. */
void test_server_kill(struct test_server *server);

/* Stops it from running (SIGSTOP) and lets it go on (SIGCONT): its connections stay open but nothing answers. */
void test_server_pause(struct test_server *server);
void test_server_resume(struct test_server *server);

/* Ends it and removes its directory. Does nothing for one that is not there. */
void test_server_stop(struct test_server *server);

/* A loopback port nobody listens on at the moment. */
int test_free_port(void);
