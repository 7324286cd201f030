// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The control socket: a Unix stream socket over which local programs call the verbs and receive messages.
 *
 * Frames, both ways: one header line of at most 512 bytes, `TYPE SEQUENCE A B LENGTH\n`, then LENGTH bytes (at most 1
 * MiB and 64 KiB). SEQUENCE is the client's number (decimal, below 2^53), repeated in what answers it; `-` stands for
 * an empty A or B.
 *
 *   client   call    SEQ VERB NAMESPACE LENGTH   body: the verb's JSON
 *            receive SEQ to|via NAMESPACE LENGTH body: id or gateway; answered with `answer`, then `message` frames
 * with SEQ reply   SEQ - - LENGTH              body: reply subject, newline, acknowledgement; no answer server   answer
 * SEQ STATUS - LENGTH         STATUS: OK or an error's name; body: JSON message SEQ - - LENGTH              body:
 * subject, newline, reply subject (or empty), newline, payload
 *
 * A frame that breaks these rules is answered once with `answer 0 EINVAL` and the connection is closed, without waiting
 * for calls that are under way. A client that has said all it will (it shut its side down) still gets its answers;
 * receiving ends then. An answer too long for a frame becomes ETOOBIG; a message too long is dropped and, where it asks
 * for it, acknowledged as failed. Reply subjects outside `_INBOX.` are ignored: the socket is no way to publish at
 * will.
 *
 * A client that does not read is cut off: by a message that finds 8 MiB pending, or by answers where so much is still
 * pending 5 s later. No further calls are read from a client while 1 MiB is pending for it or 512 of its calls are
 * under way. At most 1,024 connections (a further one is answered `answer 0 EBUSY`) with 4,096 receivers each. The
 * socket has mode 0600; a stale one (nobody answers) is replaced.
 */
#include "base/error.h"

struct mst_host;
struct mst_control_server;

/*
 * Listens; MST_EBUSY (another program listens there, which may end), MST_ECONFIG (no such folder, path too long ...),
 * MST_ENOMEM or 0.
 */
int mst_control_server_create(struct mst_control_server **made, struct mst_host *host, const char *path,
                              struct mst_error *error);

/* No new connections and no new calls (MST_ECLOSED); calls under way are still answered. */
void mst_control_server_refuse(struct mst_control_server *server);

/* Closes every connection and removes the socket; memory goes when the loop has closed the handles. */
void mst_control_server_destroy(struct mst_control_server *server);
