// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The NATS micro service (ADR-32): requests on `<prefix>.*.api.<verb>` in the queue group "q", answered with the verb's
 * JSON; errors also carry the headers Nats-Service-Error and Nats-Service-Error-Code (HTTP-like numbers). Discovery and
 * statistics on $SRV.PING, $SRV.INFO, $SRV.STATS, each also with `.muster` and `.muster.<id>`.
 *
 * One endpoint per verb that callers outside the process may use; other verbs are answered EVERB. A request without a
 * reply subject is carried out and not answered. An answer larger than NATS carries becomes ETOOBIG with a hint. Needs
 * nothing of NATS but the messaging slot, so it works within the process too (where messages have no headers).
 */
#include "base/error.h"

struct mst_host;
struct mst_service;

/* Subscribes on the host's messaging. MST_ECONNECT before the host is ready, or what messaging says. */
int mst_service_create(struct mst_service **made, struct mst_host *host, struct mst_error *error);

/* Takes no further requests, so that other instances get them; those under way are still answered. */
void mst_service_refuse(struct mst_service *service);

/* Refuses and answers nothing more; memory goes with the last call under way. To be called before messaging is closed.
 */
void mst_service_destroy(struct mst_service *service);
