// SPDX-License-Identifier: Apache-2.0
#include "io/nats_wire.h"

#include <string.h>

static bool read_number(struct mst_span word, uint64_t most, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < word.length; i++) {
        unsigned digit = (unsigned char)word.data[i] - (unsigned)'0';
        if (digit > 9 || digit > most || *number > (most - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return word.length > 0;
}

static unsigned split(struct mst_span line, struct mst_span *words, unsigned most)
{
    unsigned count = 0;
    const char *at = line.data, *end = line.data + line.length;
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t length = (size_t)((space ? space : end) - at);
        if (length && count == most)
            return most + 1;
        if (length)
            words[count++] = (struct mst_span){at, length};
        at += length + 1;
    }
    return count;
}

/* `NATS/1.0 503 ...` */
static uint32_t read_status(struct mst_span headers)
{
    static const char version[] = "NATS/1.0 ";
    size_t skip = sizeof version - 1;
    uint64_t status;
    if (headers.length < skip + 3 || memcmp(headers.data, version, skip) != 0)
        return 0;
    return read_number((struct mst_span){headers.data + skip, 3}, 999, &status) ? (uint32_t)status : 0;
}

/* `MSG subject number [reply] length`, `HMSG subject number [reply] header-length length`. */
static ptrdiff_t take_message(const char *bytes, size_t length, struct mst_span line, size_t line_size, bool headers,
                              struct mst__nats_frame *frame)
{
    struct mst_span words[5];
    uint64_t whole, head = 0;
    unsigned extra = headers ? 1 : 0, skip = 4 + extra;
    unsigned count = split((struct mst_span){line.data + skip, line.length - skip}, words, 4 + extra);
    if (count < 3 + extra || count > 4 + extra || !read_number(words[1], UINT64_MAX, &frame->subscription) ||
        !read_number(words[count - 1], MST__NATS_MESSAGE, &whole) ||
        (headers && !read_number(words[count - 2], whole, &head)))
        return -1;
    if (length - line_size < whole + 2)
        return 0;
    const char *body = bytes + line_size;
    if (body[whole] != '\r' || body[whole + 1] != '\n')
        return -1;
    frame->subject = words[0];
    frame->reply = count == 4 + extra ? words[2] : (struct mst_span){"", 0};
    frame->payload = (struct mst_span){body + head, (size_t)(whole - head)};
    frame->status = headers ? read_status((struct mst_span){body, (size_t)head}) : 0;
    return (ptrdiff_t)(line_size + whole + 2);
}

static bool begins(struct mst_span line, const char *word, size_t length)
{
    return line.length >= length && memcmp(line.data, word, length) == 0;
}

/* What follows the word, without spaces and the quotes around it. */
static struct mst_span rest(struct mst_span line, size_t skip)
{
    struct mst_span text = {line.data + skip, line.length - skip};
    while (text.length && (*text.data == ' ' || *text.data == '\''))
        text.data++, text.length--;
    while (text.length && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\''))
        text.length--;
    return text;
}

static ptrdiff_t take_line(struct mst_span line, size_t size, struct mst__nats_frame *frame)
{
    if (begins(line, "PONG", 4)) {
        frame->operation = MST__NATS_SAYS_PONG;
    } else if (begins(line, "PING", 4)) {
        frame->operation = MST__NATS_SAYS_PING;
    } else if (begins(line, "+OK", 3)) {
        frame->operation = MST__NATS_SAYS_OK;
    } else if (begins(line, "-ERR", 4)) {
        frame->operation = MST__NATS_SAYS_ERROR;
        frame->text = rest(line, 4);
    } else if (begins(line, "INFO ", 5)) {
        frame->operation = MST__NATS_SAYS_INFO;
        frame->text = rest(line, 5);
    } else {
        return -1;
    }
    return (ptrdiff_t)size;
}

ptrdiff_t mst__nats_frame_take(const char *bytes, size_t length, struct mst__nats_frame *frame)
{
    if (length == 0)
        return 0;
    size_t most = *bytes == 'I' ? MST__NATS_INFO : MST__NATS_LINE;
    const char *newline = memchr(bytes, '\n', length < most ? length : most);
    if (!newline)
        return length < most ? 0 : -1;
    size_t size = (size_t)(newline - bytes) + 1;
    struct mst_span line = {bytes, size > 1 && newline[-1] == '\r' ? size - 2 : size - 1};
    frame->operation = MST__NATS_SAYS_MESSAGE;
    if (begins(line, "MSG ", 4))
        return take_message(bytes, length, line, size, false, frame);
    if (begins(line, "HMSG ", 5))
        return take_message(bytes, length, line, size, true, frame);
    return take_line(line, size, frame);
}

void mst__nats_put_publish(struct mst_buffer *out, struct mst_span subject, struct mst_span reply,
                           struct mst_span payload)
{
    if (!mst_buffer_reserve(out, subject.length + reply.length + payload.length + 40))
        return;
    mst_buffer_append(out, "PUB ", 4);
    mst_buffer_append(out, subject.data, subject.length);
    mst_buffer_append_byte(out, ' ');
    if (reply.length) {
        mst_buffer_append(out, reply.data, reply.length);
        mst_buffer_append_byte(out, ' ');
    }
    mst_buffer_append_u64(out, payload.length);
    mst_buffer_append(out, "\r\n", 2);
    mst_buffer_append(out, payload.data, payload.length);
    mst_buffer_append(out, "\r\n", 2);
}

void mst__nats_put_subscribe(struct mst_buffer *out, struct mst_span subject, uint64_t number)
{
    mst_buffer_append(out, "SUB ", 4);
    mst_buffer_append(out, subject.data, subject.length);
    mst_buffer_append_byte(out, ' ');
    mst_buffer_append_u64(out, number);
    mst_buffer_append(out, "\r\n", 2);
}
