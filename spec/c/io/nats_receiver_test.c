// SPDX-License-Identifier: Apache-2.0
/* The bare subscriber against a real nats-server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <nats/nats.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/nats_receiver.h"
#include "support/servers.h"

#define SECOND MST_NS_PER_SECOND

static struct test_server server;

/* A receiver on a thread of its own. */
struct ear {
    struct mst_nats_receiver *receiver;
    pthread_t thread;
    int stop[2], status;
    struct mst_error error;
    atomic_uint count;
    atomic_ullong bytes, numbers;
    char subject[64], payload[64];
};

static void on_message(void *context, const struct mst_nats_received *message)
{
    struct ear *ear = context;
    snprintf(ear->subject, sizeof ear->subject, "%.*s", (int)message->subject.length, message->subject.data);
    snprintf(ear->payload, sizeof ear->payload, "%.*s",
             message->payload.length < 60 ? (int)message->payload.length : 60, message->payload.data);
    if (message->reply.length)
        mst_nats_receiver_answer(ear->receiver, message->reply, (struct mst_span){"+", 1});
    ear->bytes += message->payload.length;
    ear->numbers += message->number;
    ear->count++;
}

static void *run(void *context)
{
    struct ear *ear = context;
    ear->status = mst_nats_receiver_run(ear->receiver, ear->stop[0], on_message, ear, &ear->error);
    return NULL;
}

static void ear_open(struct ear *ear, const char *servers)
{
    struct mst_error error;
    memset(ear, 0, sizeof *ear);
    assert_int_equal(pipe(ear->stop), 0);
    if (mst_nats_receiver_open(&ear->receiver, servers, 2 * SECOND, &error))
        fail_msg("%s", error.message);
}

static void ear_start(struct ear *ear)
{
    assert_int_equal(mst_nats_receiver_sync(ear->receiver, 2 * SECOND, NULL), 0);
    assert_int_equal(pthread_create(&ear->thread, NULL, run, ear), 0);
}

static void ear_close(struct ear *ear)
{
    close(ear->stop[1]);
    pthread_join(ear->thread, NULL);
    close(ear->stop[0]);
    mst_nats_receiver_close(ear->receiver);
}

static void wait_for(struct ear *ear, unsigned count)
{
    uint64_t until = mst_clock_monotonic() + 20 * SECOND;
    while (ear->count < count && mst_clock_monotonic() < until)
        usleep(1000);
    assert_int_equal(ear->count, count);
}

static natsConnection *connect_to(const struct test_server *to)
{
    natsConnection *connection;
    char url[64];
    snprintf(url, sizeof url, "nats://%s", to->address);
    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    return connection;
}

static void a_message_comes_and_is_answered(void **state)
{
    (void)state;
    struct ear ear;
    natsMsg *answer;
    natsConnection *connection = connect_to(&server);
    ear_open(&ear, server.address);
    mst_nats_receiver_subscribe(ear.receiver, "a.b", 17);
    ear_start(&ear);
    assert_int_equal(natsConnection_RequestString(&answer, connection, "a.b", "question", 2000), NATS_OK);
    assert_string_equal(natsMsg_GetData(answer), "+");
    natsMsg_Destroy(answer);
    assert_int_equal(natsConnection_PublishString(connection, "a.c", "not ours"), NATS_OK);
    assert_int_equal(natsConnection_Flush(connection), NATS_OK);
    assert_int_equal(ear.count, 1);
    assert_int_equal(ear.numbers, 17);
    assert_string_equal(ear.subject, "a.b");
    assert_string_equal(ear.payload, "question");
    ear_close(&ear);
    assert_int_equal(ear.status, 0);
    natsConnection_Destroy(connection);
}

/* Sizes that fall across the bounds of what one read brings. */
static void every_message_of_many_is_counted(void **state)
{
    (void)state;
    enum { COUNT = 20000, BIG = 1000000 };
    struct ear ear;
    unsigned long long bytes = 0, numbers = 0;
    char *payload = malloc(BIG), subject[32];
    natsConnection *connection = connect_to(&server);
    memset(payload, '\n', BIG);
    ear_open(&ear, server.address);
    for (unsigned i = 1; i <= 100; i++) {
        snprintf(subject, sizeof subject, "many.%u", i);
        mst_nats_receiver_subscribe(ear.receiver, subject, i);
    }
    ear_start(&ear);
    for (unsigned i = 0; i < COUNT; i++) {
        int size = i % 5000 == 0 ? BIG : (int)(i * 7919 % 2003);
        snprintf(subject, sizeof subject, "many.%u", i % 100 + 1);
        assert_int_equal(natsConnection_Publish(connection, subject, payload, size), NATS_OK);
        bytes += (unsigned)size;
        numbers += i % 100 + 1;
    }
    assert_int_equal(natsConnection_Flush(connection), NATS_OK);
    wait_for(&ear, COUNT);
    assert_true(ear.bytes == bytes && ear.numbers == numbers);
    ear_close(&ear);
    natsConnection_Destroy(connection);
    free(payload);
}

static void the_end_of_the_connection_is_told(void **state)
{
    (void)state;
    struct test_server mortal = {0};
    struct ear ear;
    assert_true(test_nats_start(&mortal, NULL));
    ear_open(&ear, mortal.address);
    ear_start(&ear);
    test_server_kill(&mortal);
    pthread_join(ear.thread, NULL);
    assert_int_equal(ear.status, MST_ENATS);
    assert_non_null(strstr(ear.error.message, mortal.address));
    mst_nats_receiver_close(ear.receiver);
    close(ear.stop[0]);
    close(ear.stop[1]);
    test_server_stop(&mortal);
}

static void user_and_password_come_from_the_url(void **state)
{
    (void)state;
    static const char *const options[] = {"--user", "ann", "--pass", "secret", NULL};
    struct test_server closed = {0};
    struct mst_nats_receiver *receiver;
    struct mst_error error;
    char url[100];
    assert_true(test_nats_start(&closed, options));
    assert_int_equal(mst_nats_receiver_open(&receiver, closed.address, 2 * SECOND, &error), MST_ENATS);
    assert_non_null(strstr(error.message, "Authorization"));
    snprintf(url, sizeof url, "nats://ann:wrong@%s", closed.address);
    assert_int_equal(mst_nats_receiver_open(&receiver, url, 2 * SECOND, &error), MST_ENATS);
    assert_null(strstr(error.message, "wrong"));
    snprintf(url, sizeof url, "nats://ann:secret@%s/", closed.address);
    assert_int_equal(mst_nats_receiver_open(&receiver, url, 2 * SECOND, &error), 0);
    mst_nats_receiver_close(receiver);
    test_server_stop(&closed);
}

static void the_first_server_that_answers_is_taken(void **state)
{
    (void)state;
    struct mst_nats_receiver *receiver;
    char urls[100];
    snprintf(urls, sizeof urls, "nats://127.0.0.1:%d,nats://%s", test_free_port(), server.address);
    assert_int_equal(mst_nats_receiver_open(&receiver, urls, 2 * SECOND, NULL), 0);
    mst_nats_receiver_close(receiver);
}

/* Listens and says one line to the first who comes. */
static void *pretend(void *context)
{
    int listening = *(int *)context, socket_ = accept(listening, NULL, NULL);
    if (socket_ >= 0 && write(socket_, "SSH-2.0-something\r\n", 19) == 19)
        usleep(200000);
    close(socket_);
    return NULL;
}

static void what_is_no_nats_server_is_refused(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct mst_nats_receiver *receiver;
    struct mst_error error;
    pthread_t thread;
    char url[64];
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    pthread_create(&thread, NULL, pretend, &listening);
    snprintf(url, sizeof url, "127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(mst_nats_receiver_open(&receiver, url, 2 * SECOND, &error), MST_ENATS);
    assert_non_null(strstr(error.message, "not say"));
    pthread_join(thread, NULL);
    close(listening);
    static const char *const bad[] = {"", "tls://127.0.0.1:4222", "nats://", "nats://:4222"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mst_nats_receiver_open(&receiver, bad[i], SECOND, &error), MST_ENATS);
}

static int start_server(void **state)
{
    (void)state;
    return test_nats_start(&server, NULL) ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    test_server_stop(&server);
    nats_Close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_and_is_answered),        cmocka_unit_test(every_message_of_many_is_counted),
        cmocka_unit_test(the_end_of_the_connection_is_told),      cmocka_unit_test(user_and_password_come_from_the_url),
        cmocka_unit_test(the_first_server_that_answers_is_taken), cmocka_unit_test(what_is_no_nats_server_is_refused),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
