// SPDX-License-Identifier: Apache-2.0
#include "host/frame.h"

#include <string.h>

#define TYPES (MST_FRAME_MESSAGE + 1)

static const char *const names[TYPES] = {"call", "receive", "reply", "answer", "message"};

/* Takes a token off the front; each but the last is followed by exactly one space. */
static bool take_token(struct mst_span *line, bool last, struct mst_span *token)
{
    const char *space = memchr(line->data, ' ', line->length);
    if (last ? space != NULL : space == NULL)
        return false;
    token->data = line->data;
    token->length = last ? line->length : (size_t)(space - line->data);
    if (token->length == 0)
        return false;
    size_t used = token->length + !last;
    line->data += used;
    line->length -= used;
    return true;
}

static bool read_type(struct mst_span token, enum mst_frame_type *type)
{
    for (unsigned i = 0; i < TYPES; i++) {
        if (strlen(names[i]) == token.length && memcmp(names[i], token.data, token.length) == 0) {
            *type = (enum mst_frame_type)i;
            return true;
        }
    }
    return false;
}

/* Decimal, without sign and leading zeros, below `limit`. */
static bool read_number(struct mst_span token, uint64_t limit, uint64_t *number)
{
    *number = 0;
    if (token.length > 16 || (token.length > 1 && token.data[0] == '0'))
        return false;
    for (size_t i = 0; i < token.length; i++) {
        if (token.data[i] < '0' || token.data[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(token.data[i] - '0');
    }
    return *number < limit;
}

static struct mst_span read_word(struct mst_span token)
{
    bool empty = token.length == 1 && token.data[0] == '-';
    return empty ? (struct mst_span){"", 0} : token;
}

static int read_header(struct mst_span line, struct mst_frame *frame, struct mst_error *error)
{
    struct mst_span type, sequence, a, b, length;
    uint64_t size;
    if (!take_token(&line, false, &type) || !read_type(type, &frame->type))
        return mst_error_set(error, MST_EINVAL, "not a frame: expected call, receive, reply, answer or message");
    if (!take_token(&line, false, &sequence) || !take_token(&line, false, &a) || !take_token(&line, false, &b) ||
        !take_token(&line, true, &length))
        return mst_error_set(error, MST_EINVAL, "not a frame: expected TYPE SEQUENCE A B LENGTH");
    if (!read_number(sequence, MST_FRAME_SEQUENCE_MAX, &frame->sequence))
        return mst_error_set(error, MST_EINVAL, "not a frame: the sequence is no number below 2^53");
    if (!read_number(length, MST_FRAME_BODY_MAX + 1u, &size))
        return mst_error_set(error, MST_EINVAL, "not a frame: the length is no number up to %u", MST_FRAME_BODY_MAX);
    frame->a = read_word(a);
    frame->b = read_word(b);
    frame->body.length = (size_t)size;
    return 0;
}

/* 1 with the length of the line without its newline; 0: it is not complete. */
static int find_line(const char *data, size_t length, size_t *line, struct mst_error *error)
{
    size_t most = length < MST_FRAME_HEADER_MAX ? length : MST_FRAME_HEADER_MAX;
    for (size_t i = 0; i < most; i++) {
        if (data[i] == '\n') {
            *line = i;
            return 1;
        }
        if ((unsigned char)data[i] < ' ' || (unsigned char)data[i] >= 0x7f)
            return mst_error_set(error, MST_EINVAL, "not a frame: byte %u in a header", (unsigned char)data[i]);
    }
    if (length >= MST_FRAME_HEADER_MAX)
        return mst_error_set(error, MST_EINVAL, "not a frame: a header longer than %u bytes", MST_FRAME_HEADER_MAX);
    return 0;
}

int mst_frame_decode(const char *data, size_t length, struct mst_frame *frame, size_t *used, struct mst_error *error)
{
    size_t line = 0;
    int code = find_line(data, length, &line, error);
    if (code <= 0)
        return code;
    code = read_header((struct mst_span){data, line}, frame, error);
    if (code)
        return code;
    if (length - line - 1 < frame->body.length)
        return 0;
    frame->body.data = data + line + 1;
    *used = line + 1 + frame->body.length;
    return 1;
}

static bool good_word(struct mst_span word)
{
    if (word.length == 1 && word.data[0] == '-')
        return false;
    for (size_t i = 0; i < word.length; i++)
        if ((unsigned char)word.data[i] <= ' ' || (unsigned char)word.data[i] >= 0x7f)
            return false;
    return true;
}

static void put_word(struct mst_buffer *out, struct mst_span word)
{
    if (word.length)
        mst_buffer_append(out, word.data, word.length);
    else
        mst_buffer_append_byte(out, '-');
    mst_buffer_append_byte(out, ' ');
}

int mst_frame_put_header(struct mst_buffer *out, const struct mst_frame *frame, struct mst_error *error)
{
    if (frame->body.length > MST_FRAME_BODY_MAX)
        return mst_error_set(error, MST_ETOOBIG, "%zu bytes are more than the control socket carries (%u)",
                             frame->body.length, MST_FRAME_BODY_MAX);
    if (frame->sequence >= MST_FRAME_SEQUENCE_MAX || !good_word(frame->a) || !good_word(frame->b))
        return mst_error_set(error, MST_EINVAL, "not words for a frame");
    size_t start = out->length;
    mst_buffer_append_string(out, names[frame->type]);
    mst_buffer_append_byte(out, ' ');
    mst_buffer_append_u64(out, frame->sequence);
    mst_buffer_append_byte(out, ' ');
    put_word(out, frame->a);
    put_word(out, frame->b);
    mst_buffer_append_u64(out, frame->body.length);
    mst_buffer_append_byte(out, '\n');
    int code = 0;
    if (out->length - start > MST_FRAME_HEADER_MAX)
        code = mst_error_set(error, MST_EINVAL, "words too long for a frame");
    else if (out->failed || !mst_buffer_reserve(out, frame->body.length))
        code = mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    if (code) {
        out->length = start;
        out->failed = false;
    }
    return code;
}

int mst_frame_put(struct mst_buffer *out, const struct mst_frame *frame, struct mst_error *error)
{
    int code = mst_frame_put_header(out, frame, error);
    if (code == 0)
        mst_buffer_append(out, frame->body.data, frame->body.length);
    return code;
}

bool mst_frame_line(struct mst_span *rest, struct mst_span *line)
{
    const char *newline = rest->length ? memchr(rest->data, '\n', rest->length) : NULL;
    if (!newline)
        return false;
    *line = (struct mst_span){rest->data, (size_t)(newline - rest->data)};
    rest->length -= line->length + 1;
    rest->data = newline + 1;
    return true;
}
