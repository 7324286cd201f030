// SPDX-License-Identifier: Apache-2.0
/* The control socket and its client, on a real socket, with a host on the memory slots. One loop runs both. */
#include "host/control_server.h"

#include "socket_world.h"

#define MIB (1u << 20)

/* Verbs */

static void a_call_is_answered_as_within_the_process(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0);
    struct reply reply = {0};
    assert_int_equal(client_do(host, client, "register", "{\"id\":\"a\",\"metadata\":{\"n\":1}}", &reply), 0);
    assert_non_null(strstr(reply.json, "\"created\":true"));
    assert_int_equal(client_do(host, client, "count", "{}", &reply), 0);
    assert_memory_equal(reply.json, "{\"count\":1,", 11);
    assert_int_equal(client_do(host, client, "count", "", &reply), 0);
    reply_clear(&reply);
    client_stop(host, client);
}

static void an_error_keeps_its_code_and_text(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0);
    struct reply reply = {0};
    assert_int_equal(client_do(host, client, "get", "{\"id\":\"nobody\"}", &reply), MST_ENOTFOUND);
    assert_memory_equal(reply.json, "{\"error\":{\"code\":\"ENOTFOUND\"", 28);
    assert_int_equal(client_do(host, client, "count", "{\"filter\":\"a ==\"}", &reply), MST_EFILTER);
    assert_non_null(strstr(reply.json, "\"column\""));
    assert_int_equal(client_do(host, client, "cuont", "{}", &reply), MST_EVERB);
    assert_int_equal(client_do(host, client, "drop", "{}", &reply), MST_EVERB);
    assert_int_equal(client_do(host, client, "two words", "{}", &reply), MST_EVERB);
    reply_clear(&reply);
    mst_client_call(client, "count", "no.name", "{}", 2, on_reply, &reply);
    wait_count(host, &reply.count, 1);
    assert_int_equal(reply.status, MST_ENAMESPACE);
    reply_clear(&reply);
    client_stop(host, client);
}

static void private_verbs_do_not_pass(void **state)
{
    (void)state;
    struct mst_buffer in = {0};
    host_do(host, "register", "{\"id\":\"a\"}");
    int fd = raw_connect();
    raw_send(fd, "call 1 drop default 2\n{}call 2 count default 0\n");
    raw_read(fd, &in, 150, 2);
    assert_text(&in, "answer 1 EVERB - ");
    assert_text(&in, "{\"count\":1,");
    close(fd);
    mst_buffer_deinit(&in);
}

/* Receiving */

static void a_multicast_is_received_and_acknowledged(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0), *sender = open_client(0);
    struct inbox one = {.client = client, .text = "+"}, edge = {.client = client, .text = ""};
    struct reply reply = {0};
    host_do(host, "register",
            "[{\"id\":\"one two\"},{\"id\":\"g1\",\"gateway\":\"edge\"},{\"id\":\"g2\",\"gateway\":\"edge\"}]");
    assert_non_null(mst_client_receive(client, "default", "one two", 7, false, on_inbox, on_armed, &one));
    assert_non_null(mst_client_receive(client, "default", "edge", 4, true, on_inbox, on_armed, &edge));
    wait_count(host, &edge.armed, 1);
    assert_int_equal(one.armed, 1);
    assert_int_equal(one.armed_status | edge.armed_status, 0);
    int status = client_do(host, sender, "multicast",
                           "{\"all\":true,\"payload\":\"line\\nline\",\"ack\":\"received\",\"timeout\":3}", &reply);
    assert_int_equal(status, 0);
    assert_int_equal(one.count, 1);
    assert_string_equal(one.payload, "line\nline");
    assert_string_equal(one.subject, "muster.default.to.one=20two");
    assert_non_null(strstr(edge.payload, "\"to\":[\"g1\",\"g2\"]}\nline\nline"));
    assert_non_null(strstr(reply.json, "\"received\":2"));
    assert_non_null(strstr(reply.json, "\"processed\":1"));
    reply_clear(&reply);
    free(one.armed_json);
    free(edge.armed_json);
    client_stop(host, sender);
    client_stop(host, client);
}

static void a_name_that_is_none_is_refused(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0);
    struct inbox bad = {.client = client}, place = {.client = client};
    assert_non_null(mst_client_receive(client, "default", "a\nb", 3, false, on_inbox, on_armed, &bad));
    assert_non_null(mst_client_receive(client, "a.b", "a", 1, false, on_inbox, on_armed, &place));
    assert_int_equal(bad.armed + place.armed, 0);
    wait_count(host, &bad.armed, 1);
    wait_count(host, &place.armed, 1);
    assert_int_equal(bad.armed_status, MST_EINVAL);
    assert_int_equal(place.armed_status, MST_ENAMESPACE);
    free(bad.armed_json);
    free(place.armed_json);
    client_stop(host, client);
}

static void in_the_process_it_is_the_same(void **state)
{
    (void)state;
    struct inbox inbox = {.host = host, .text = "-EBUSY later"};
    struct reply reply = {0};
    char why[100] = "";
    host_do(host, "register", "{\"id\":\"a\"}");
    assert_null(mst_host_receive(host, "default", "", 0, 0, on_inbox, &inbox, why, sizeof why));
    assert_true(why[0]);
    struct mst_receiver *receiver = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &inbox, why, sizeof why);
    assert_non_null(receiver);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"ack\":\"processed\",\"report\":\"all\"}";
    mst_host_call(host, "multicast", "default", body, strlen(body), on_reply, &reply);
    wait_count(host, &reply.count, 1);
    assert_non_null(strstr(reply.json, "EBUSY later"));
    mst_receiver_close(receiver);
    reply_clear(&reply);
    mst_host_call(host, "multicast", "default", body, strlen(body), on_reply, &reply);
    wait_count(host, &reply.count, 1);
    assert_non_null(strstr(reply.json, "\"no_receiver\":1"));
    assert_int_equal(inbox.count, 1);
    reply_clear(&reply);
}

static void a_reply_goes_to_inboxes_only(void **state)
{
    (void)state;
    struct inbox inbox = {.host = host};
    struct mst_receiver *receiver = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &inbox, NULL, 0);
    int fd = raw_connect();
    struct mst_buffer in = {0};
    raw_send(fd, "reply 1 - - 24\nmuster.default.to.a\nevil"
                 "reply 2 - - 11\n_INBOX.x y\n"
                 "call 3 count default 0\n");
    raw_read(fd, &in, 40, 2);
    assert_text(&in, "answer 3 OK - ");
    step_for(host, 30);
    assert_int_equal(inbox.count, 0);
    mst_receiver_close(receiver);
    mst_buffer_deinit(&in);
    close(fd);
}

/* Protocol */

static void bad_frames_end_the_connection(void **state)
{
    (void)state;
    static const char *const bad[] = {"GET / HTTP/1.1\r\n\r\n", "call 1 count default 2000000\n", "answer 1 OK - 0\n",
                                      "message 1 - - 0\n",      "receive 1 over default 1\na",    "reply 1 - - 3\nabc",
                                      "\x16\x03\x01\x02"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mst_buffer in = {0};
        int fd = raw_connect();
        raw_send(fd, bad[i]);
        assert_true(raw_read(fd, &in, SIZE_MAX, 2));
        assert_text(&in, "answer 0 EINVAL - ");
        close(fd);
        mst_buffer_deinit(&in);
    }
}

static void byte_by_byte_is_a_frame_too(void **state)
{
    (void)state;
    const char *text = "call 1 count default 2\n{}";
    struct mst_buffer in = {0};
    int fd = raw_connect();
    for (size_t i = 0; text[i]; i++) {
        assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
        step_for(host, 1);
    }
    raw_read(fd, &in, 30, 2);
    assert_text(&in, "answer 1 OK - ");
    close(fd);
    mst_buffer_deinit(&in);
}

static void who_has_said_all_still_gets_the_answers(void **state)
{
    (void)state;
    struct mst_buffer in = {0};
    host_do(host, "register", "{\"id\":\"a\"}");
    struct mst_receiver *mute = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &(struct inbox){0}, NULL, 0);
    int fd = raw_connect();
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"200ms\"}";
    char text[200];
    snprintf(text, sizeof text, "call 5 multicast default %zu\n%s", strlen(body), body);
    raw_send(fd, text);
    shutdown(fd, SHUT_WR);
    assert_true(raw_read(fd, &in, SIZE_MAX, 3));
    assert_text(&in, "answer 5 OK - ");
    assert_text(&in, "\"timeout\":1");
    mst_receiver_close(mute);
    close(fd);
    mst_buffer_deinit(&in);
}

/* Ends */

static void a_client_that_dies_in_the_middle_harms_nobody(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0);
    struct reply reply = {0};
    const char *cast = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"300ms\"}";
    host_do(host, "register", "{\"id\":\"a\"}");
    for (unsigned round = 0; round < 30; round++) {
        char text[300];
        int fd = raw_connect();
        raw_send(fd, "receive 1 to default 1\na");
        snprintf(text, sizeof text, "call 2 multicast default %zu\n%s", strlen(cast), cast);
        raw_send(fd, text);
        if (round % 3 == 1)
            raw_send(fd, "call 3 enumerate default 100\n{\"filt");
        if (round % 3 == 2)
            step_for(host, 5);
        close(fd);
        assert_int_equal(client_do(host, client, "count", "{}", &reply), 0);
    }
    step_for(host, 500);
    assert_int_equal(host->control->count, 1);
    assert_int_equal(client_do(host, client, "multicast", cast, &reply), 0);
    assert_non_null(strstr(reply.json, "\"no_receiver\":1"));
    reply_clear(&reply);
    client_stop(host, client);
}

static void an_answer_too_long_says_so(void **state)
{
    (void)state;
    struct mst_client *client = open_client(0);
    struct reply reply = {0};
    put_long_identities(host, 80);
    assert_int_equal(client_do(host, client, "enumerate", "{}", &reply), MST_ETOOBIG);
    assert_non_null(strstr(reply.json, "\\\"limit\\\""));
    assert_int_equal(client_do(host, client, "enumerate", "{\"limit\":60}", &reply), 0);
    assert_true(strlen(reply.json) > 900000);
    reply_clear(&reply);
    client_stop(host, client);
}

static void answers_nobody_reads_end_the_connection(void **state)
{
    (void)state;
    struct mst_buffer in = {0};
    put_long_identities(host, 60);
    int fd = raw_connect();
    for (unsigned i = 0; i < 12; i++)
        raw_send(fd, "call 1 enumerate default 0\n");
    step_for(host, 4000);
    assert_int_equal(host->control->count, 1);
    step_for(host, 1500);
    assert_int_equal(host->control->count, 0);
    assert_true(raw_read(fd, &in, SIZE_MAX, 2));
    assert_true(in.length < 2 * MIB);
    close(fd);
    mst_buffer_deinit(&in);
}

static void messages_nobody_reads_end_the_connection(void **state)
{
    (void)state;
    struct mst_buffer in = {0};
    char *body = malloc(MIB), *end = body;
    host_do(host, "register", "{\"id\":\"a\"}");
    int fd = raw_connect();
    raw_send(fd, "receive 1 to default 1\na");
    raw_read(fd, &in, 10, 2);
    end = stpcpy(end, "{\"all\":true,\"ack\":\"none\",\"payload\":\"");
    memset(end, 'x', 900000);
    strcpy(end + 900000, "\"}");
    for (unsigned i = 0; i < 9; i++)
        host_do(host, "multicast", body);
    assert_int_equal(host->control->count, 1);
    for (unsigned i = 0; i < 4; i++)
        host_do(host, "multicast", body);
    assert_int_equal(host->control->count, 0);
    assert_true(raw_read(fd, &in, SIZE_MAX, 5));
    assert_true(in.length < 2 * MIB);
    free(body);
    close(fd);
    mst_buffer_deinit(&in);
}

static void too_many_connections_are_turned_away(void **state)
{
    (void)state;
    enum { MOST = 1024 };
    static int fds[MOST];
    struct mst_buffer in = {0};
    for (unsigned i = 0; i < MOST; i++) {
        fds[i] = raw_connect();
        if (i % 32 == 31)
            step_for(host, 2);
    }
    step_for(host, 10);
    int fd = raw_connect();
    assert_true(raw_read(fd, &in, SIZE_MAX, 2));
    assert_text(&in, "answer 0 EBUSY - ");
    close(fd);
    close(fds[0]);
    step_for(host, 20);
    struct mst_client *client = open_client(0);
    client_stop(host, client);
    for (unsigned i = 1; i < MOST; i++)
        close(fds[i]);
    mst_buffer_deinit(&in);
}

static void closing_the_host_answers_what_is_under_way(void **state)
{
    (void)state;
    struct mst_buffer in = {0};
    host_do(host, "register", "{\"id\":\"a\"}");
    int fd = raw_connect(), mute = raw_connect();
    raw_send(mute, "receive 1 to default 1\na");
    step_for(host, 10);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"500ms\"}";
    char text[200];
    snprintf(text, sizeof text, "call 5 multicast default %zu\n%s", strlen(body), body);
    raw_send(fd, text);
    step_for(host, 10);
    mst_host_free(host);
    mst_buffer_reserve(&in, 65536);
    in.length = (size_t)recv(fd, in.data, 65536, MSG_DONTWAIT);
    assert_text(&in, "answer 5 OK - ");
    close(fd);
    close(mute);
    mst_buffer_deinit(&in);
    start(NULL);
}

/* Names */

static int try_listen(const char *at, struct mst_error *error)
{
    struct mst_control_server *server = NULL;
    int code = mst_control_server_create(&server, host, at, error);
    if (code == 0)
        mst_control_server_destroy(server);
    return code;
}

static void a_name_in_use_is_refused(void **state)
{
    (void)state;
    struct mst_error error;
    assert_int_equal(try_listen(path, &error), MST_EBUSY);
    assert_non_null(strstr(error.message, "another program"));
    struct mst_client *client = open_client(0);
    client_stop(host, client);
}

static void a_stale_socket_is_replaced(void **state)
{
    (void)state;
    char stale[96];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct mst_error error;
    struct stat found;
    snprintf(stale, sizeof stale, "%s/stale", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", stale);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    listen(fd, 5);
    close(fd);
    struct mst_control_server *server;
    assert_int_equal(mst_control_server_create(&server, host, stale, &error), 0);
    assert_int_equal(stat(stale, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    mst_control_server_destroy(server);
    assert_int_equal(access(stale, F_OK), -1);
}

static void what_is_no_place_for_a_socket_is_told(void **state)
{
    (void)state;
    char text[200];
    struct mst_error error;
    memset(text, 'a', sizeof text);
    text[0] = '/';
    text[108] = '\0';
    assert_int_equal(try_listen(text, &error), MST_ECONFIG);
    assert_non_null(strstr(error.message, "107"));
    assert_int_equal(try_listen("", &error), MST_ECONFIG);
    snprintf(text, sizeof text, "%s/none/x", folder);
    assert_int_equal(try_listen(text, &error), MST_ECONFIG);
    assert_non_null(strstr(error.message, "No such file"));
    snprintf(text, sizeof text, "%s/file", folder);
    close(open(text, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(try_listen(text, &error), MST_ECONFIG);
    assert_int_equal(access(text, F_OK), 0);
    unlink(text);
}

static void what_took_the_name_later_stays(void **state)
{
    (void)state;
    char name[128];
    struct mst_error error;
    struct mst_control_server *first, *second;
    snprintf(name, sizeof name, "%s/name", folder);
    assert_int_equal(mst_control_server_create(&first, host, name, &error), 0);
    unlink(name);
    assert_int_equal(mst_control_server_create(&second, host, name, &error), 0);
    mst_control_server_destroy(first);
    assert_int_equal(access(name, F_OK), 0);
    mst_control_server_destroy(second);
    assert_int_equal(access(name, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_answered_as_within_the_process),
        TEST(an_error_keeps_its_code_and_text),
        TEST(private_verbs_do_not_pass),
        TEST(a_multicast_is_received_and_acknowledged),
        TEST(a_name_that_is_none_is_refused),
        TEST(in_the_process_it_is_the_same),
        TEST(a_reply_goes_to_inboxes_only),
        TEST(bad_frames_end_the_connection),
        TEST(byte_by_byte_is_a_frame_too),
        TEST(who_has_said_all_still_gets_the_answers),
        TEST(a_client_that_dies_in_the_middle_harms_nobody),
        TEST(an_answer_too_long_says_so),
        TEST(answers_nobody_reads_end_the_connection),
        TEST(messages_nobody_reads_end_the_connection),
        TEST(too_many_connections_are_turned_away),
        TEST(closing_the_host_answers_what_is_under_way),
        TEST(a_name_in_use_is_refused),
        TEST(a_stale_socket_is_replaced),
        TEST(what_is_no_place_for_a_socket_is_told),
        TEST(what_took_the_name_later_stays),
    };
    return run_with_socket(tests);
}
