// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * muster: register identities, find them by metadata, send to all that match.
 *
 * A host is a whole coordinator in this process: registry (memory or Redis), messaging (in process or NATS), filters
 * and fan-out. Everything of a host happens on one thread, the one that runs its loop; nothing is global, and any
 * number of hosts may live in one process.
 *
 * Verbs take a JSON body and answer with JSON (csrc/README.md, section "Verbs"):
 *
 *     struct mst_host *host = mst_host_open(&(struct mst_host_options){ 0 }, NULL, on_ready, NULL);
 *     mst_host_call(host, "register", "default", body, strlen(body), on_answer, NULL);
 *     mst_host_run(host);
 *
 * Callbacks come from the loop, never from inside the call that asked for them. Status 0 is success; a negative status
 * is an error, and the JSON then is {"error":{"code":"ENAME","message":"..."}}. Strings passed in are copied or used
 * during the call only.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MST_API __attribute__((visibility("default")))

struct mst_host;
struct mst_receiver;
struct uv_loop_s;

/* All members may be zero: the embedded default, memory and in-process messaging. */
struct mst_host_options {
    const char *redis_host; /* NULL: memory registry; a name, an address, or the path of a Unix socket */
    int redis_port;         /* 0: 6379 */
    int redis_database;
    const char *redis_user, *redis_password;
    const char *nats_servers; /* NULL: in-process messaging; URLs, comma-separated */
    const char *nats_user, *nats_password, *nats_token, *nats_credentials_file, *nats_nkey_file, *nats_ca_file;
    const char *prefix;      /* of subjects and Redis keys; NULL: "muster" */
    const char *log_level;   /* debug info warn error off; NULL: "warn" */
    int log_json;            /* JSON lines instead of logfmt */
    uint32_t max_identities; /* per namespace; 0: 1,000,000 */
    const char *filters;     /* folder of named filters; NULL: none. A wrong file: `ready` gets ECONFIG */
};

/* `json`, borrowed for the call: the answer, or an error object where status is not 0. */
typedef void mst_answer_cb(void *context, int status, const char *json, size_t length);

/*
 * Creates a host and starts to connect. `loop` NULL: the host makes its own (run it with mst_host_run); otherwise the
 * caller runs it. `ready` is called once: status 0 ({}), or why it cannot work; the host is to be closed in both cases.
 * NULL: no memory, or an option is out of order (then `ready` is not called).
 */
MST_API struct mst_host *mst_host_open(const struct mst_host_options *options, struct uv_loop_s *loop,
                                       mst_answer_cb *ready, void *context);

/*
 * Reads a folder of named filters in place of those there were. 0, or a negative status and one line in `why` (may be
 * NULL) that names the file, line and column; then the filters from before stay.
 */
MST_API int mst_host_load_filters(struct mst_host *host, const char *folder, char *why, size_t why_size);

/* One verb. `done` is called once. csrc/README.md, section "Verbs", has all of them. */
MST_API void mst_host_call(struct mst_host *host, const char *verb, const char *namespace_, const char *body,
                           size_t length, mst_answer_cb *done, void *context);

/* A message for a receiver; borrowed for the call. `reply_length` 0: no acknowledgement is wanted. */
struct mst_message {
    const char *subject;
    size_t subject_length;
    const char *payload; /* for a gateway: the envelope line, a newline, the payload */
    size_t payload_length;
    const char *reply;
    size_t reply_length;
};
typedef void mst_message_cb(void *context, const struct mst_message *message);

/*
 * Receives as the identity `name` (as_gateway 0) or as a gateway (1) until mst_receiver_close. In force when it
 * returns; NULL if the name or namespace is not valid or messaging refuses; `why` (may be NULL) gets one line.
 * Receivers that are still open end with the host.
 */
MST_API struct mst_receiver *mst_host_receive(struct mst_host *host, const char *namespace_, const char *name,
                                              size_t name_length, int as_gateway, mst_message_cb *message,
                                              void *context, char *why, size_t why_size);
MST_API void mst_receiver_close(struct mst_receiver *receiver);

/* Answers a message: "" received, "+" processed, "-CODE text" failed, or a gateway's JSON object. 0 or a negative
 * status. */
MST_API int mst_host_acknowledge(struct mst_host *host, const char *reply, size_t reply_length, const char *text,
                                 size_t length);

/* Runs an owned loop until mst_host_stop, or for one turn (waiting at most `milliseconds`). */
MST_API void mst_host_run(struct mst_host *host);
MST_API void mst_host_step(struct mst_host *host, unsigned milliseconds);
MST_API void mst_host_stop(struct mst_host *host); /* from the loop's thread */

/*
 * For a host on a lent loop: refuses new calls, lets those under way end (multicasts get at most two seconds), closes
 * everything, then calls `closed` from the loop, which the caller goes on running.
 */
MST_API void mst_host_close(struct mst_host *host, void (*closed)(void *context), void *context);

/* The same for a host with its own loop: closes and waits. Not from a callback. */
MST_API void mst_host_free(struct mst_host *host);

/* "EINVAL" and so on for a status; "timeout", "connection" or "logic". */
MST_API const char *mst_status_name(int status);
MST_API const char *mst_status_class(int status);
MST_API const char *mst_version(void);

#ifdef __cplusplus
}
#endif
