// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the doors of a host (control socket, NATS service) and their clients say in the same words.
 */
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/json.h"

/* Room for a verb and for a namespace with NUL; what is longer is cut, and then is neither. */
#define MST__DOOR_WORD 80u

void mst__door_word(char to[MST__DOOR_WORD], struct mst_span word);

/* Whether a verb and a namespace are words that a header line or a subject can carry: MST_EVERB, MST_ENAMESPACE. */
int mst__door_check_words(const char *verb, const char *namespace_, struct mst_error *error);

/* The error for a verb that is not there, or not for callers outside the process. */
int mst__door_no_verb(struct mst_error *error, const char *verb);

/* The error that takes the place of an answer over the limit of its door. */
int mst__door_too_big(struct mst_error *error, size_t length, size_t limit);

/* A status as a number in the manner of HTTP. */
int mst__door_number(int status);

/* `<prefix>.<namespace>.to.<identity>` or `...via.<gateway>`, NUL-terminated; as mst__host_subject. */
int mst__door_subject(struct mst_buffer *subject, const char *prefix, const char *namespace_, const char *name,
                      size_t length, bool gateway, struct mst_error *error);

/*
 * Reads an answer's JSON where it is an error object: its code, and `message` (may be NULL) gets the message, cut and
 * NUL-terminated. 0: it is none.
 */
int mst__door_status(struct mst_json_parser *parser, const char *json, size_t length, char *message, size_t size);
