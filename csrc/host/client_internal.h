// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What client.c (calls, deadlines, life) shares with the two transports, client_socket.c and client_nats.c. A transport
 * embeds `struct mst_client` at its start, and its calls `struct mst__client_call`.
 */
#include "base/map.h"
#include "host/client.h"

struct mst__client_call {
    struct mst_client *client;
    struct mst__client_call *next, **link;
    uint64_t sequence, patience;
    mst_answer_cb *done; /* NULL: nobody wants to know */
    void *context;
    struct mst_timer timer; /* its deadline, or now where it has failed already */
    struct mst_error error; /* code 0: not failed */
    bool good;              /* it has succeeded already */
    bool writes;            /* without an answer it may have been carried out */
};

struct mst_client_receiver {
    struct mst_client_receiver *next;
    struct mst_client *client;
    uint64_t sequence;
    mst_message_cb *message;
    void *context;
    struct mst_listener listener; /* NATS */
    bool listening;
};

struct mst__client_transport {
    size_t call_size;
    /* Sends a call; the answer comes through mst__client_end. */
    int (*call)(struct mst__client_call *call, const char *verb, const char *namespace_, struct mst_span body,
                struct mst_error *error);
    /* Begins to receive; 1: `armed` is answered through mst__client_end, 0: it is in force. */
    int (*receive)(struct mst_client_receiver *receiver, const char *namespace_, struct mst_span name, bool gateway,
                   struct mst__client_call *armed, struct mst_error *error);
    int (*acknowledge)(struct mst_client *client, struct mst_span reply, struct mst_span text);
    /* A call is over: frees it, now or when nothing refers to it. */
    void (*free_call)(struct mst__client_call *call);
    /* Ends the connection; mst__client_closed follows, from the loop. No calls are outstanding. */
    void (*close)(struct mst_client *client);
    void (*free)(struct mst_client *client);
};

struct mst_client {
    const struct mst__client_transport *transport;
    struct mst_loop *loop;
    struct mst_json_parser *parser;
    uint64_t timeout, sequence;
    struct mst__client_call *first, **last; /* outstanding, in order of their sequence */
    struct mst_map *calls;                  /* sequence to call */
    struct mst_client_receiver *receivers;
    mst_answer_cb *ready;
    void *ready_context;
    void (*lost)(void *context);
    void *lost_context;
    void (*closed)(void *context);
    void *closed_context;
    bool opened, is_lost, closing, transport_closing, transport_closed;
    struct mst_error failure; /* of the opening, or why it was lost */
    struct mst_timer timer;   /* tells `ready`, `lost` and what closing needs */
};

/* Members that need no transport; MST_ENOMEM. mst__client_deinit undoes it. */
int mst__client_init(struct mst_client *client, const struct mst__client_transport *transport, struct mst_loop *loop,
                     uint64_t timeout, mst_answer_cb *ready, void *context);
void mst__client_deinit(struct mst_client *client);

/* `ready` follows from the loop: good, or the failure set. */
void mst__client_opened(struct mst_client *client);

/* The outstanding call of this sequence, or NULL. */
struct mst__client_call *mst__client_find(struct mst_client *client, uint64_t sequence);

/* Takes a call out, tells its `done`, frees it. */
void mst__client_end(struct mst__client_call *call, int status, const char *json, size_t length);
void mst__client_fail(struct mst__client_call *call, const struct mst_error *error);

/* The connection is gone, for the reason in `failure`; outstanding calls fail. */
void mst__client_lost(struct mst_client *client);
void mst__client_closed(struct mst_client *client);
