// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One connected stream socket on the loop, with a buffer each way: what the control server and its client share. What
 * is written in one turn of the loop goes out in one piece before the loop waits again. (libuv's own streams raise
 * SIGPIPE, and a library must not change what signals do.)
 *
 * The owner embeds it, reads `in`, takes from its front what it has understood, and frees it in or after `closed`.
 */
#include "base/buffer.h"
#include "io/loop.h"

struct mst_stream {
    struct mst_buffer in;
    bool eof; /* the other side sends no more */

    void (*readable)(struct mst_stream *stream); /* `in` has grown, or `eof` */
    void (*flushed)(struct mst_stream *stream);  /* all that was written has gone to the kernel */
    void (*broken)(struct mst_stream *stream);   /* an error: nothing more will come or go; to be closed */
    void (*closed)(struct mst_stream *stream);
    void *owner;

    /* private */
    uv_poll_t poll;
    uv_prepare_t prepare;
    int fd;
    struct mst_buffer out;
    size_t sent; /* of `out` */
    bool paused, blocked, closing;
    unsigned handles;
};

/* Callbacks and owner are set. Takes `fd` (not blocking), and closes it if it fails: MST_ENOMEM or MST_EINTERNAL. */
int mst_stream_open(struct mst_stream *stream, uv_loop_t *uv, int fd);

/* Where to append what is to be sent; goes out by the end of this turn. NULL: the stream is closing. */
struct mst_buffer *mst_stream_out(struct mst_stream *stream);

/* Bytes that the kernel has not taken yet. */
size_t mst_stream_pending(const struct mst_stream *stream);

/* Paused, it reads nothing. */
void mst_stream_pause(struct mst_stream *stream, bool paused);

/* Tries once to send what is left, then closes; no callback but `closed`, from the loop. */
void mst_stream_close(struct mst_stream *stream);
