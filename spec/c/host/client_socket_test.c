// SPDX-License-Identifier: Apache-2.0
/* The client of the control socket. One loop runs client and server. */
#include "host/client.h"

#include "socket_world.h"

static void a_call_nobody_answers_ends_at_its_time(void **state)
{
    (void)state;
    struct mst_client *client = open_client(200 * MST_NS_PER_MS);
    struct reply reply = {0};
    uint64_t before = mst_clock_monotonic();
    host_do(host, "register", "{\"id\":\"a\"}");
    struct mst_receiver *mute = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &(struct inbox){0}, NULL, 0);
    /* Its own timeout comes on top of the client's. */
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"600ms\"}";
    assert_int_equal(client_do(host, client, "multicast", body, &reply), 0);
    assert_true(mst_clock_monotonic() - before >= 600 * MST_NS_PER_MS);
    reply_clear(&reply);
    mst_receiver_close(mute);
    client_stop(host, client);
}

/* A server that takes calls and says nothing, or the wrong thing. */
static void a_server_of_another_make(void **state)
{
    (void)state;
    char other[96];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(other, sizeof other, "%s/other", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", other);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    listen(listener, 5);
    struct reply ready = {0}, reply = {0};
    struct mst_client *client =
        client_started(mst_client_open_socket(&host->loop, other, 100 * MST_NS_PER_MS, on_reply, &ready));
    int fd = accept(listener, NULL, NULL);
    wait_count(host, &ready.count, 1);
    bool lost = false;
    mst_client_on_lost(client, set_flag, &lost);
    assert_int_equal(client_do(host, client, "count", "{}", &reply), MST_EDEADLINE);
    raw_send(fd, "answer 1 OK - 2\n{}answer 77 OK - 2\n{}message 9 - - 3\na\n\n");
    step_for(host, 20);
    assert_false(lost);
    mst_client_call(client, "count", "default", "{}", 2, on_reply, &ready);
    raw_send(fd, "nonsense\n");
    wait_flag(host, &lost);
    assert_int_equal(ready.status, MST_ECLOSED);
    assert_non_null(strstr(ready.json, "not a frame"));
    reply_clear(&ready);
    reply_clear(&reply);
    client_stop(host, client);
    close(fd);
    close(listener);
    unlink(other);
}

static void closing_a_client_fails_what_is_outstanding(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0);
    struct reply reply = {0};
    host_do(host, "register", "{\"id\":\"a\"}");
    struct mst_receiver *mute = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &(struct inbox){0}, NULL, 0);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"200ms\"}";
    mst_client_call(client, "multicast", "default", body, strlen(body), on_reply, &reply);
    client_stop(host, client);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.status, MST_ECLOSED);
    step_for(host, 300);
    assert_int_equal(reply.count, 1);
    reply_clear(&reply);
    mst_receiver_close(mute);
}

static void without_a_server_the_client_says_what_to_do(void **state)
{
    (void)state;
    char nowhere[128], far[200];
    struct reply ready = {0};
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", folder);
    struct mst_client *client = client_started(mst_client_open_socket(&host->loop, nowhere, 0, on_reply, &ready));
    wait_count(host, &ready.count, 1);
    assert_int_equal(ready.status, MST_ECONNECT);
    assert_non_null(strstr(ready.json, nowhere));
    assert_non_null(strstr(ready.json, "muster serve"));
    assert_int_equal(client_do(host, client, "count", "{}", &ready), MST_ECONNECT);
    client_stop(host, client);
    memset(far, 'a', sizeof far - 1);
    far[sizeof far - 1] = '\0';
    reply_clear(&ready);
    client = client_started(mst_client_open_socket(&host->loop, far, 0, on_reply, &ready));
    wait_count(host, &ready.count, 1);
    assert_int_equal(ready.status, MST_ECONNECT);
    reply_clear(&ready);
    client_stop(host, client);
}

static void many_calls_at_once_are_all_answered(void **state)
{
    (void)state;
    enum { CALLS = 3000 };
    struct mst_client *client = open_client(0);
    static struct reply replies[CALLS];
    unsigned good = 0;
    for (unsigned i = 0; i < CALLS; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"id\":\"id-%u\"}", i);
        mst_client_call(client, "register", "default", body, strlen(body), on_reply, &replies[i]);
    }
    for (unsigned i = 0; i < CALLS; i++) {
        char id[64];
        wait_count(host, &replies[i].count, 1);
        snprintf(id, sizeof id, "{\"id\":\"id-%u\",", i);
        good += replies[i].status == 0 && strncmp(replies[i].json, id, strlen(id)) == 0;
        reply_clear(&replies[i]);
    }
    assert_int_equal(good, CALLS);
    client_stop(host, client);
}

static void the_end_of_the_server_reaches_its_clients(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0);
    struct reply reply = {0}, late = {0};
    bool lost = false;
    mst_client_on_lost(client, set_flag, &lost);
    host_do(host, "register", "{\"id\":\"a\"}");
    struct mst_receiver *mute = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &(struct inbox){0}, NULL, 0);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":60}";
    mst_client_call(client, "multicast", "default", body, strlen(body), on_reply, &reply);
    step_for(host, 20);
    mst_control_server_refuse(host->control);
    mst_client_call(client, "count", "default", "{}", 2, on_reply, &late);
    wait_count(host, &late.count, 1);
    assert_int_equal(late.status, MST_ECLOSED);
    assert_int_equal(reply.count, 0);
    mst_control_server_destroy(host->control);
    host->control = NULL;
    wait_flag(host, &lost);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.status, MST_ECLOSED);
    assert_int_equal(client_do(host, client, "count", "{}", &late), MST_ECLOSED);
    assert_int_equal(reply.count, 1);
    reply_clear(&reply);
    reply_clear(&late);
    mst_receiver_close(mute);
    client_stop(host, client);
}

static void long_answers_at_once_reach_who_reads(void **state)
{
    (void)state;
    enum { CALLS = 24 };
    struct mst_client *client = open_client(0);
    struct reply replies[CALLS] = {0};
    put_long_identities(host, 60);
    for (unsigned i = 0; i < CALLS; i++)
        mst_client_call(client, "enumerate", "default", "{}", 2, on_reply, &replies[i]);
    for (unsigned i = 0; i < CALLS; i++) {
        wait_count(host, &replies[i].count, 1);
        assert_int_equal(replies[i].status, 0);
        reply_clear(&replies[i]);
    }
    client_stop(host, client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_nobody_answers_ends_at_its_time),     TEST(a_server_of_another_make),
        TEST(closing_a_client_fails_what_is_outstanding), TEST(without_a_server_the_client_says_what_to_do),
        TEST(many_calls_at_once_are_all_answered),        TEST(the_end_of_the_server_reaches_its_clients),
        TEST(long_answers_at_once_reach_who_reads),
    };
    return run_with_socket(tests);
}
