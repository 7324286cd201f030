// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Frames of the control socket (host/control_server.h): bytes to frames and back. Knows no socket; keeps no state.
 */
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/json.h"

#define MST_FRAME_HEADER_MAX 512u /* with its newline */
#define MST_FRAME_BODY_MAX ((1u << 20) + (64u << 10))
#define MST_FRAME_SEQUENCE_MAX (UINT64_C(1) << 53) /* sequences are below it */

enum mst_frame_type { MST_FRAME_CALL, MST_FRAME_RECEIVE, MST_FRAME_REPLY, MST_FRAME_ANSWER, MST_FRAME_MESSAGE };

struct mst_frame {
    enum mst_frame_type type;
    uint64_t sequence;
    struct mst_span a, b; /* empty where the line says "-" */
    struct mst_span body;
};

/*
 * Reads the frame at the start of `data`: 1, with `*used` bytes taken and the frame's spans pointing into `data`; 0:
 * not all of it is there yet; MST_EINVAL: this is no frame, and nothing behind it can be read. A fault in the header is
 * told before the body has come.
 */
int mst_frame_decode(const char *data, size_t length, struct mst_frame *frame, size_t *used, struct mst_error *error);

/*
 * Appends the header of a frame whose body has `frame->body.length` bytes; the caller appends the body (so that a body
 * of several pieces is copied once). MST_EINVAL for what a header cannot carry, MST_ETOOBIG for the body, MST_ENOMEM;
 * then `out` is as before.
 */
int mst_frame_put_header(struct mst_buffer *out, const struct mst_frame *frame, struct mst_error *error);

/* Header and body. */
int mst_frame_put(struct mst_buffer *out, const struct mst_frame *frame, struct mst_error *error);

/* Takes a line off the front of a body: `line` without its newline, `rest` what follows. False: there is no newline. */
bool mst_frame_line(struct mst_span *rest, struct mst_span *line);
