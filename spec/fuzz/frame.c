// SPDX-License-Identifier: Apache-2.0

/* Frames of the control socket: a stream cut anywhere reads the same, and what was read is written back the same. */
#include "fuzz.h"
#include "host/frame.h"

static bool span_equal(struct mst_span a, struct mst_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

/* Written and read again it is the same frame. */
static void round_trip(const struct mst_frame *frame)
{
    struct mst_buffer out = {0};
    struct mst_frame again;
    struct mst_error error = {0};
    size_t used = 0;
    REQUIRE(mst_frame_put(&out, frame, &error) == 0);
    REQUIRE(mst_frame_decode(out.data, out.length, &again, &used, &error) == 1);
    REQUIRE(used == out.length && again.type == frame->type && again.sequence == frame->sequence);
    REQUIRE(span_equal(again.a, frame->a) && span_equal(again.b, frame->b) && span_equal(again.body, frame->body));
    mst_buffer_deinit(&out);
}

/* With fewer bytes a frame is not there yet, or was never one. */
static void check_prefix(struct mst_span text, size_t length, int whole)
{
    char *copy = tight_copy((struct mst_span){text.data, length});
    struct mst_frame frame;
    struct mst_error error = {0};
    size_t used = 0;
    int code = mst_frame_decode(copy, length, &frame, &used, &error);
    REQUIRE(code == 0 || (code == MST_EINVAL && whole == MST_EINVAL));
    free(copy);
}

static void check_lines(struct mst_span body)
{
    struct mst_span rest = body, line;
    size_t seen = 0;
    while (mst_frame_line(&rest, &line)) {
        REQUIRE(!memchr(line.data, '\n', line.length));
        seen += line.length + 1;
    }
    REQUIRE(seen + rest.length == body.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    size_t cut = take_byte(&input);
    char *copy = tight_copy((struct mst_span){(const char *)input.data, input.size});
    struct mst_span text = {copy, input.size};
    while (text.length) {
        struct mst_frame frame;
        struct mst_error error = {0};
        size_t used = 0;
        int code = mst_frame_decode(text.data, text.length, &frame, &used, &error);
        REQUIRE(code == 1 || code == 0 || code == MST_EINVAL);
        size_t end = code == 1 ? used : text.length;
        if (end)
            check_prefix(text, cut % end, code);
        if (code != 1)
            break;
        REQUIRE(used > 0 && used <= text.length);
        round_trip(&frame);
        check_lines(frame.body);
        text = (struct mst_span){text.data + used, text.length - used};
    }
    free(copy);
    return 0;
}
