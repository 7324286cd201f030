// SPDX-License-Identifier: Apache-2.0
#include "core/messaging_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

#define MANY 100000u

struct world {
    struct mst_timers timers;
    struct mst_messaging *messaging;
    bool closed;
};

/* A listener that writes down what it hears: subject, reply and payload, one line each. */
struct ear {
    struct mst_listener listener;
    struct world *world;
    uint32_t heard;
    struct mst_buffer log;
    char last_reply[80];
    void (*then)(struct ear *ear);
    struct ear *other;
    struct mst_cast *cast;
};

/* A cast that writes down its events: one line each. */
struct tape {
    struct mst_cast cast;
    struct world *world;
    struct mst_buffer log;
    uint32_t routed, lost, refused, no_receiver, replies, events, released;
    int code;
    bool release_on_event;
};

static struct mst_span span(const char *text)
{
    return (struct mst_span){text, strlen(text)};
}

static bool reads(const struct mst_buffer *buffer, const char *text)
{
    return buffer->length == strlen(text) && memcmp(buffer->data, text, buffer->length) == 0;
}

static void deliver(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct ear *ear = listener->owner;
    ear->heard++;
    mst_buffer_append(&ear->log, delivery->subject.data, delivery->subject.length);
    mst_buffer_append_byte(&ear->log, ' ');
    mst_buffer_append(&ear->log, delivery->payload.data, delivery->payload.length);
    mst_buffer_append_byte(&ear->log, '\n');
    assert_true(delivery->reply.length < sizeof ear->last_reply);
    memcpy(ear->last_reply, delivery->reply.length ? delivery->reply.data : "", delivery->reply.length);
    ear->last_reply[delivery->reply.length] = '\0';
    if (ear->then)
        ear->then(ear);
}

static void on_event(struct mst_cast *cast, const struct mst_cast_event *event)
{
    static const char *const names[] = {"routed", "no_receiver", "reply", "lost", "refused"};
    struct tape *tape = cast->owner;
    uint32_t *counters[] = {&tape->routed, &tape->no_receiver, &tape->replies, &tape->lost, &tape->refused};
    *counters[event->kind] += event->end - event->first;
    tape->events++;
    mst_buffer_appendf(&tape->log, "%s %u %u %.*s\n", names[event->kind], event->first, event->end,
                       (int)event->data.length, event->data.length ? event->data.data : "");
    if (event->error)
        tape->code = event->error->code;
    assert_int_equal(tape->released, 0);
    if (tape->release_on_event)
        tape->world->messaging->ops->release(tape->world->messaging, cast);
}

static void on_released(struct mst_cast *cast)
{
    struct tape *tape = cast->owner;
    tape->released++;
}

static void on_closed(void *context)
{
    ((struct world *)context)->closed = true;
}

static int setup_sized(void **state, size_t max_payload)
{
    struct world *world = calloc(1, sizeof *world);
    world->messaging = mst_messaging_memory_create(&world->timers, max_payload);
    *state = world;
    return world->messaging ? 0 : -1;
}

static int setup(void **state)
{
    return setup_sized(state, 0);
}

static bool turn(struct world *world)
{
    return mst_timers_run(&world->timers, mst_clock_monotonic()) > 0;
}

static void run(struct world *world)
{
    while (turn(world))
        ;
}

static int teardown(void **state)
{
    struct world *world = *state;
    if (!world->closed) {
        world->messaging->ops->close(world->messaging, on_closed, world);
        assert_false(world->closed);
        run(world);
    }
    assert_true(world->closed);
    assert_int_equal(world->timers.count, 0);
    mst_timers_deinit(&world->timers);
    free(world);
    return 0;
}

static int try_listen(struct world *world, struct ear *ear, const char *subject, const char *queue)
{
    ear->listener.deliver = deliver;
    ear->listener.owner = ear;
    ear->world = world;
    return world->messaging->ops->listen(world->messaging, subject, queue, &ear->listener, NULL);
}

static void listen(struct world *world, struct ear *ear, const char *subject, const char *queue)
{
    assert_int_equal(try_listen(world, ear, subject, queue), 0);
}

static void unlisten(struct ear *ear)
{
    ear->world->messaging->ops->unlisten(ear->world->messaging, &ear->listener);
}

static int publish(struct world *world, const char *subject, const char *reply, const char *payload)
{
    return world->messaging->ops->publish(world->messaging, span(subject), span(reply), NULL, 0, span(payload), NULL);
}

static void tape_init(struct tape *tape, struct world *world, bool want_replies)
{
    *tape = (struct tape){.world = world};
    tape->cast.event = on_event;
    tape->cast.released = on_released;
    tape->cast.owner = tape;
    tape->cast.want_replies = want_replies;
    tape->cast.payload = span("shared");
    tape->cast.deadline = mst_clock_monotonic() + 60 * MST_NS_PER_SECOND;
}

/* Adds a message; an empty body means the cast's payload. */
static void tape_add(struct tape *tape, const char *subject, const char *body)
{
    struct mst_cast *cast = &tape->cast;
    cast->messages = realloc(cast->messages, (cast->count + 1) * sizeof *cast->messages);
    cast->messages[cast->count++] = (struct mst_cast_message){
        .subject_offset = (uint32_t)cast->text.length,
        .subject_length = (uint16_t)strlen(subject),
        .body_offset = (uint32_t)(cast->text.length + strlen(subject)),
        .body_length = (uint32_t)strlen(body),
    };
    mst_buffer_append_string(&cast->text, subject);
    mst_buffer_append_string(&cast->text, body);
}

static void tape_send(struct tape *tape)
{
    tape->world->messaging->ops->send(tape->world->messaging, &tape->cast);
}

static void tape_release(struct tape *tape)
{
    tape->world->messaging->ops->release(tape->world->messaging, &tape->cast);
}

static void tape_free(struct tape *tape)
{
    mst_buffer_deinit(&tape->log);
    mst_buffer_deinit(&tape->cast.text);
    free(tape->cast.messages);
}

static void a_cast_is_delivered_on_the_next_turn_and_answered(void **state)
{
    struct world *world = *state;
    struct ear ear = {0};
    struct tape tape;
    listen(world, &ear, "a.b", NULL);
    tape_init(&tape, world, true);
    tape_add(&tape, "a.b", "");
    tape_add(&tape, "a.c", "");
    tape_add(&tape, "a.b", "own");
    tape_send(&tape);
    assert_int_equal(ear.heard, 0);
    assert_int_equal(tape.events, 0);
    turn(world);
    assert_true(reads(&ear.log, "a.b shared\na.b own\n"));
    assert_true(reads(&tape.log, "no_receiver 1 2 \nrouted 0 3 \n"));
    assert_int_equal(publish(world, ear.last_reply, "", "+"), 0);
    assert_int_equal(tape.replies, 0);
    assert_int_equal(publish(world, ear.last_reply, "", "again"), 0);
    run(world);
    assert_true(reads(&tape.log, "no_receiver 1 2 \nrouted 0 3 \nreply 2 3 +\nreply 2 3 again\n"));
    tape_release(&tape);
    assert_int_equal(tape.released, 0);
    publish(world, ear.last_reply, "", "late");
    run(world);
    assert_int_equal(tape.released, 1);
    assert_int_equal(tape.replies, 2);
    struct mst_messaging_stats stats;
    world->messaging->ops->stats(world->messaging, &stats);
    assert_int_equal(stats.routed, 3);
    assert_int_equal(stats.no_receiver, 1);
    assert_int_equal(stats.replies, 2);
    assert_int_equal(stats.stray_replies, 1);
    tape_free(&tape);
    mst_buffer_deinit(&ear.log);
}

static void without_replies_wanted_nobody_is_missed(void **state)
{
    struct world *world = *state;
    struct ear ear = {0};
    struct tape tape;
    listen(world, &ear, "x", NULL);
    tape_init(&tape, world, false);
    tape_add(&tape, "x", "");
    tape_add(&tape, "y", "");
    tape_send(&tape);
    run(world);
    assert_true(reads(&tape.log, "routed 0 2 \n"));
    assert_string_equal(ear.last_reply, "");
    tape_release(&tape);
    run(world);
    assert_int_equal(tape.released, 1);
    tape_free(&tape);
    mst_buffer_deinit(&ear.log);
}

static void only_sent_messages_of_a_known_cast_can_be_answered(void **state)
{
    struct world *world = *state;
    static const char *const strays[] = {"_INBOX.memory.1.1",   "_INBOX.memory.9.0",
                                         "_INBOX.memory.01.0",  "_INBOX.memory.1.00",
                                         "_INBOX.memory.1.0x",  "_INBOX.memory.1",
                                         "_INBOX.memory.1.0.0", "_INBOX.memory.x.0",
                                         "_INBOX.memory.-1.0",  "_INBOX.memory.1.99999999999999999999999"};
    struct tape tape;
    tape_init(&tape, world, true);
    tape_add(&tape, "nobody", "");
    tape_send(&tape);
    run(world);
    for (size_t i = 0; i < sizeof strays / sizeof *strays; i++)
        assert_int_equal(publish(world, strays[i], "", "+"), 0);
    run(world);
    assert_int_equal(tape.replies, 0);
    assert_int_equal(publish(world, "_INBOX.memory.1.0", "", "+"), 0);
    run(world);
    assert_int_equal(tape.replies, 1);
    tape_release(&tape);
    run(world);
    tape_free(&tape);
}

static void wildcards_match_as_in_nats(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *pattern, *subject;
        bool matches;
    } cases[] = {
        {"a.*", "a.b", true},       {"a.*", "a", false},      {"a.*", "a.b.c", false},   {"*", "a", true},
        {"*.b", "a.b", true},       {"*.b", "a.c", false},    {"a.>", "a.b", true},      {"a.>", "a.b.c", true},
        {"a.>", "a", false},        {">", "a", true},         {">", "a.b.c", true},      {"*.*", "a.b", true},
        {"*.*", "a", false},        {"a.*.c", "a.b.c", true}, {"a.*.c", "a.b.d", false}, {"a.*.>", "a.b", false},
        {"a.*.>", "a.b.c.d", true}, {"a*", "a*", true},       {"a*", "ab", false},       {"a.b>", "a.b>", true},
        {"a.b>", "a.bc", false},    {"a.b", "a.b", true},     {"a.bb", "a.b", false},    {"aa.*", "a.b", false},
        {"a=2E.*", "a=2E.b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ear ear = {0};
        listen(world, &ear, cases[i].pattern, NULL);
        assert_int_equal(publish(world, cases[i].subject, "", ""), 0);
        run(world);
        if (ear.heard != cases[i].matches)
            fail_msg("%s against %s", cases[i].pattern, cases[i].subject);
        unlisten(&ear);
        mst_buffer_deinit(&ear.log);
    }
}

static void subjects_that_nats_would_not_take_are_refused(void **state)
{
    struct world *world = *state;
    static const char *const never[] = {"", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB x 1", "a\n", " "};
    static const char *const listen_only[] = {"*", "a.*", "a.>", ">", "a.*.b"};
    struct ear ear = {0};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        assert_int_equal(publish(world, never[i], "", ""), MST_EINVAL);
        assert_int_equal(try_listen(world, &ear, never[i], NULL), MST_EINVAL);
        if (*never[i])
            assert_int_equal(publish(world, "ok", never[i], ""), MST_EINVAL);
    }
    for (size_t i = 0; i < sizeof listen_only / sizeof *listen_only; i++) {
        assert_int_equal(publish(world, listen_only[i], "", ""), MST_EINVAL);
        assert_int_equal(publish(world, "ok", listen_only[i], ""), MST_EINVAL);
        assert_int_equal(try_listen(world, &ear, "ok", listen_only[i]), MST_EINVAL);
    }
    assert_int_equal(try_listen(world, &ear, "a.>.b", NULL), MST_EINVAL);
    assert_int_equal(world->messaging->ops->publish(world->messaging, (struct mst_span){"a\0b", 3}, span(""), NULL, 0,
                                                    span(""), NULL),
                     MST_EINVAL);
    char *big = malloc(4096);
    memset(big, 'x', 4095);
    big[4095] = '\0';
    assert_int_equal(publish(world, big, "", ""), MST_EINVAL);
    free(big);
    run(world);
    assert_int_equal(ear.heard, 0);
}

static void a_bad_message_is_refused_and_the_others_of_its_cast_go_out(void **state)
{
    struct world *world = *state;
    struct ear ear = {0};
    struct tape tape;
    listen(world, &ear, ">", NULL);
    tape_init(&tape, world, false);
    tape_add(&tape, "a", "");
    tape_add(&tape, "b c", "");
    tape_add(&tape, "d", "more than ten bytes");
    tape_add(&tape, "e", "ten bytes.");
    tape_send(&tape);
    run(world);
    assert_true(reads(&tape.log, "routed 0 1 \nrefused 1 2 \nrefused 2 3 \nrouted 3 4 \n"));
    assert_int_equal(tape.code, MST_ETOOBIG);
    assert_true(reads(&ear.log, "a shared\ne ten bytes.\n"));
    assert_int_equal(world->messaging->ops->max_payload(world->messaging), 10);
    assert_int_equal(publish(world, "a", "", "more than ten bytes"), MST_ETOOBIG);
    tape_release(&tape);
    run(world);
    tape_free(&tape);
    mst_buffer_deinit(&ear.log);
}

static int setup_small(void **state)
{
    return setup_sized(state, 10);
}

static void what_is_not_sent_by_the_deadline_is_refused(void **state)
{
    struct world *world = *state;
    struct tape tape;
    tape_init(&tape, world, true);
    tape_add(&tape, "a", "");
    tape_add(&tape, "b", "");
    tape.cast.deadline = mst_clock_monotonic() - 1;
    tape_send(&tape);
    run(world);
    assert_true(reads(&tape.log, "refused 0 2 \n"));
    assert_int_equal(tape.code, MST_EDEADLINE);
    tape_release(&tape);
    run(world);
    assert_int_equal(tape.released, 1);
    tape_free(&tape);
}

static void a_queue_group_gets_each_message_once(void **state)
{
    struct world *world = *state;
    struct ear members[3] = {0}, other = {0}, plain = {0}, wild = {0};
    for (int i = 0; i < 3; i++)
        listen(world, &members[i], "work", "q");
    listen(world, &wild, "*", "q");
    listen(world, &other, "work", "r");
    listen(world, &plain, "work", NULL);
    for (int i = 0; i < 40; i++)
        publish(world, "work", "", "");
    run(world);
    for (int i = 0; i < 3; i++)
        assert_int_equal(members[i].heard, 10);
    assert_int_equal(wild.heard, 10);
    assert_int_equal(other.heard, 40);
    assert_int_equal(plain.heard, 40);
    unlisten(&members[0]);
    unlisten(&members[1]);
    unlisten(&wild);
    publish(world, "work", "", "");
    run(world);
    assert_int_equal(members[2].heard, 11);
    unlisten(&members[2]);
    unlisten(&other);
    unlisten(&plain);
    for (int i = 0; i < 3; i++)
        mst_buffer_deinit(&members[i].log);
    mst_buffer_deinit(&other.log);
    mst_buffer_deinit(&plain.log);
    mst_buffer_deinit(&wild.log);
}

static void unlisten_other(struct ear *ear)
{
    unlisten(ear->other);
    unlisten(ear);
}

static void listen_other(struct ear *ear)
{
    if (ear->heard == 1)
        listen(ear->world, ear->other, "a", NULL);
}

static void publish_on(struct ear *ear)
{
    if (ear->heard < 5)
        publish(ear->world, "a", "", "next");
}

static void listeners_may_change_the_listeners_from_inside(void **state)
{
    struct world *world = *state;
    struct ear first = {.then = unlisten_other}, second = {0};
    first.other = &second;
    listen(world, &first, "a", NULL);
    listen(world, &second, "a", NULL);
    publish(world, "a", "", "1");
    publish(world, "a", "", "2");
    run(world);
    assert_int_equal(first.heard, 1);
    assert_int_equal(second.heard, 0);
    mst_buffer_deinit(&first.log);
    first = (struct ear){.then = listen_other, .other = &second};
    listen(world, &first, "a", NULL);
    publish(world, "a", "", "3");
    publish(world, "a", "", "4");
    run(world);
    assert_true(reads(&second.log, "a 4\n"));
    unlisten(&first);
    unlisten(&second);
    mst_buffer_deinit(&first.log);
    mst_buffer_deinit(&second.log);
    first = (struct ear){.then = publish_on};
    listen(world, &first, "a", NULL);
    publish(world, "a", "", "first");
    turn(world);
    assert_int_equal(first.heard, 1);
    run(world);
    assert_int_equal(first.heard, 5);
    unlisten(&first);
    unlisten(&first);
    mst_buffer_deinit(&first.log);
}

static void send_of_cast(struct ear *ear)
{
    ear->world->messaging->ops->send(ear->world->messaging, ear->cast);
}

static void a_cast_sent_from_inside_waits_for_the_next_turn(void **state)
{
    struct world *world = *state;
    struct ear ear = {.then = send_of_cast};
    struct tape tape;
    tape_init(&tape, world, true);
    tape_add(&tape, "b", "");
    ear.cast = &tape.cast;
    listen(world, &ear, "a", NULL);
    publish(world, "a", "", "");
    turn(world);
    assert_int_equal(ear.heard, 1);
    assert_int_equal(tape.events, 0);
    turn(world);
    assert_int_equal(tape.routed, 1);
    tape_release(&tape);
    run(world);
    tape_free(&tape);
    mst_buffer_deinit(&ear.log);
}

static void casts_go_out_in_order_in_slices(void **state)
{
    struct world *world = *state;
    struct ear ear = {0};
    struct tape first, second;
    char subject[32];
    listen(world, &ear, "n.>", NULL);
    tape_init(&first, world, true);
    tape_init(&second, world, true);
    for (int i = 0; i < 1100; i++) {
        snprintf(subject, sizeof subject, "n.%d", i);
        tape_add(&first, subject, "");
    }
    tape_add(&second, "n.last", "");
    tape_send(&first);
    publish(world, "n.between", "", "");
    tape_send(&second);
    turn(world);
    assert_int_equal(ear.heard, 512);
    assert_true(reads(&first.log, "routed 0 512 \n"));
    turn(world);
    assert_int_equal(ear.heard, 1024);
    turn(world);
    assert_int_equal(ear.heard, 1102);
    assert_true(reads(&first.log, "routed 0 512 \nrouted 512 1024 \nrouted 1024 1100 \n"));
    assert_true(reads(&second.log, "routed 0 1 \n"));
    struct mst_buffer expected = {0};
    for (int i = 0; i < 1100; i++)
        mst_buffer_appendf(&expected, "n.%d shared\n", i);
    mst_buffer_append_string(&expected, "n.between \nn.last shared\n");
    assert_int_equal(expected.length, ear.log.length);
    assert_memory_equal(expected.data, ear.log.data, expected.length);
    tape_release(&second);
    tape_release(&first);
    run(world);
    assert_int_equal(first.released + second.released, 2);
    mst_buffer_deinit(&expected);
    tape_free(&first);
    tape_free(&second);
    mst_buffer_deinit(&ear.log);
}

static void release_of_cast(struct ear *ear)
{
    ear->world->messaging->ops->release(ear->world->messaging, ear->cast);
}

static void a_released_cast_sends_and_says_nothing_more(void **state)
{
    struct world *world = *state;
    struct ear ear = {.then = release_of_cast};
    struct tape inside, event, before;
    tape_init(&inside, world, true);
    tape_init(&event, world, true);
    tape_init(&before, world, true);
    ear.cast = &inside.cast;
    listen(world, &ear, "a", NULL);
    for (int i = 0; i < 600; i++) {
        tape_add(&inside, "a", "");
        tape_add(&event, "b", "");
        tape_add(&before, "b", "");
    }
    event.release_on_event = true;
    tape_send(&inside);
    tape_send(&event);
    tape_send(&before);
    tape_release(&before);
    run(world);
    assert_int_equal(ear.heard, 1);
    assert_int_equal(inside.events, 0);
    assert_int_equal(event.events, 1);
    assert_int_equal(before.events, 0);
    assert_int_equal(inside.released, 1);
    assert_int_equal(event.released, 1);
    assert_int_equal(before.released, 1);
    tape_free(&inside);
    tape_free(&event);
    tape_free(&before);
    mst_buffer_deinit(&ear.log);
}

static void close_of_world(struct ear *ear)
{
    ear->world->messaging->ops->close(ear->world->messaging, on_closed, ear->world);
}

static void closing_ends_every_cast(void **state)
{
    struct world *world = *state;
    struct ear ear = {.then = close_of_world}, idle_ear = {0};
    struct tape idle, quiet, half, queued, late, released;
    struct tape *tapes[] = {&idle, &quiet, &half, &queued, &late, &released};
    listen(world, &idle_ear, "idle", NULL);
    for (int i = 0; i < 6; i++)
        tape_init(tapes[i], world, i != 1);
    tape_add(&idle, "idle", "");
    tape_add(&quiet, "idle", "");
    tape_send(&idle);
    tape_send(&quiet);
    run(world);
    listen(world, &ear, "half", NULL);
    tape_add(&half, "idle", "");
    tape_add(&half, "half", "");
    tape_add(&half, "half", "");
    tape_add(&queued, "half", "");
    tape_add(&late, "half", "");
    tape_add(&released, "half", "");
    tape_send(&half);
    tape_send(&queued);
    tape_send(&released);
    tape_release(&released);
    publish(world, "half", "", "");
    half.release_on_event = true;
    queued.release_on_event = true;
    turn(world);
    assert_true(world->closed);
    assert_int_equal(ear.heard, 1);
    assert_true(reads(&half.log, "routed 0 2 \n"));
    assert_true(reads(&queued.log, "refused 0 1 \n"));
    assert_int_equal(queued.code, MST_ECLOSED);
    assert_int_equal(released.events, 0);
    assert_int_equal(idle.events + quiet.events, 2);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(tapes[i]->released, tapes[i] != &late);
        tape_free(tapes[i]);
    }
    mst_buffer_deinit(&ear.log);
    mst_buffer_deinit(&idle_ear.log);
}

static void after_close_everything_is_refused(void **state)
{
    struct world *world = *state;
    struct mst_messaging *messaging = world->messaging;
    struct ear ear = {0};
    struct tape tape;
    struct mst_error error;
    assert_true(messaging->ops->healthy(messaging, &error));
    listen(world, &ear, "a", NULL);
    publish(world, "a", "", "");
    messaging->ops->close(messaging, on_closed, world);
    assert_false(messaging->ops->healthy(messaging, &error));
    assert_int_equal(error.code, MST_ECLOSED);
    assert_int_equal(publish(world, "a", "", ""), MST_ECLOSED);
    assert_int_equal(try_listen(world, &ear, "b", NULL), MST_ECLOSED);
    tape_init(&tape, world, true);
    tape_add(&tape, "a", "");
    tape_send(&tape);
    run(world);
    assert_true(reads(&tape.log, "refused 0 1 \n"));
    assert_int_equal(tape.code, MST_ECLOSED);
    assert_int_equal(tape.released, 1);
    assert_int_equal(ear.heard, 0);
    tape_free(&tape);
}

static void a_hundred_thousand_listeners_stay_fast(void **state)
{
    struct world *world = *state;
    struct ear *ears = calloc(MANY, sizeof *ears);
    struct tape tape;
    char subject[32];
    tape_init(&tape, world, true);
    tape.cast.messages = calloc(MANY, sizeof *tape.cast.messages);
    uint64_t start = mst_clock_monotonic();
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t length = (uint32_t)snprintf(subject, sizeof subject, "many.%u", i);
        listen(world, &ears[i], subject, NULL);
        tape.cast.messages[i].subject_offset = (uint32_t)tape.cast.text.length;
        tape.cast.messages[i].subject_length = (uint16_t)length;
        mst_buffer_append(&tape.cast.text, subject, length);
    }
    tape.cast.count = MANY;
    tape_send(&tape);
    run(world);
    assert_int_equal(tape.routed, MANY);
    assert_int_equal(tape.no_receiver, 0);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(ears[i].heard, 1);
        mst_buffer_deinit(&ears[i].log);
        if (i % 2)
            unlisten(&ears[i]);
    }
    tape_release(&tape);
    teardown(state);
    /* Trying the listeners one by one would take many times as long, even on a slow machine under a sanitizer. */
    assert_true(mst_clock_monotonic() - start < 20 * MST_NS_PER_SECOND);
    assert_int_equal(tape.released, 1);
    tape_free(&tape);
    free(ears);
    *state = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_cast_is_delivered_on_the_next_turn_and_answered),
        TEST(without_replies_wanted_nobody_is_missed),
        TEST(only_sent_messages_of_a_known_cast_can_be_answered),
        TEST(wildcards_match_as_in_nats),
        TEST(subjects_that_nats_would_not_take_are_refused),
        cmocka_unit_test_setup_teardown(a_bad_message_is_refused_and_the_others_of_its_cast_go_out, setup_small,
                                        teardown),
        TEST(what_is_not_sent_by_the_deadline_is_refused),
        TEST(a_queue_group_gets_each_message_once),
        TEST(listeners_may_change_the_listeners_from_inside),
        TEST(a_cast_sent_from_inside_waits_for_the_next_turn),
        TEST(casts_go_out_in_order_in_slices),
        TEST(a_released_cast_sends_and_says_nothing_more),
        TEST(closing_ends_every_cast),
        TEST(after_close_everything_is_refused),
        cmocka_unit_test_setup(a_hundred_thousand_listeners_stay_fast, setup),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
