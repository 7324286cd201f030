// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What control_server.c (the socket, accepting) and control_connection.c (one client each) share. */
#include <sys/types.h>

#include "host/control_server.h"
#include "host/host.h"

struct mst__control_connection;

struct mst_control_server {
    struct mst_host *host;
    uv_poll_t poll;
    int fd;
    char *path;
    dev_t device; /* of the socket's name: only what we made is removed */
    ino_t inode;
    struct mst_timer pause; /* before accepting again when descriptors ran out */
    struct mst__control_connection *connections;
    unsigned count;
    unsigned references; /* connections whose memory is there, and the listening handle */
    bool refusing, destroyed;
};

/* Takes a connected socket; false: it was closed for want of memory. */
bool mst__control_connect(struct mst_control_server *server, int fd);

/* Closes all connections. */
void mst__control_disconnect(struct mst_control_server *server);

void mst__control_unref(struct mst_control_server *server);
