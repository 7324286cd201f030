// SPDX-License-Identifier: Apache-2.0
/* The functions inside Redis, called directly: what a retry hears, and what fences and replays do. */
#include "redis_fixture.h"

#include "io/redis_internal.h"

enum { RETRY = 1, CREATE = 2, REPLACE = 4, CONDITION = 8 };

struct client {
    struct test_server server;
    redisContext *redis;
    char epoch[24];
    struct mst__redis_state results[8];
    unsigned count;
    char error[100];
};

/* One argument list under construction. */
struct call {
    const char *argv[64];
    size_t lengths[64];
    struct mst_buffer heads[16];
    int argc, head;
};

static void add(struct call *call, const char *bytes, size_t length)
{
    call->argv[call->argc] = bytes;
    call->lengths[call->argc++] = length;
}

static void add_text(struct call *call, const char *text)
{
    add(call, text, strlen(text));
}

static struct call call_to(struct client *client, const char *function)
{
    struct call call = {0};
    static const char *const start[] = {"5", "{n}:h", "{n}:t", "{n}:s", "{n}:m", "{n}:d"};
    add_text(&call, "FCALL");
    add_text(&call, function);
    for (int i = 0; i < 6; i++)
        add_text(&call, start[i]);
    add_text(&call, client->epoch);
    add_text(&call, "1000");
    return call;
}

static struct mst_buffer *head_of(struct call *call)
{
    return &call->heads[call->head++];
}

static void add_put(struct call *call, unsigned flags, uint64_t version, uint64_t lease, const char *owner,
                    const char *id, const char *body)
{
    struct mst_buffer *head = head_of(call);
    mst__redis_pack(head, 'P', 1);
    mst__redis_pack(head, flags, 1);
    mst__redis_pack(head, version, 8);
    mst__redis_pack(head, lease, 5);
    mst__redis_pack(head, 0, 7);
    mst__redis_pack(head, mst__redis_digest(body, strlen(body)), 8);
    mst__redis_pack(head, mst__redis_digest(owner, strlen(owner)), 8);
    add(call, head->data, head->length);
    add_text(call, id);
    add_text(call, body);
}

static void add_del(struct call *call, unsigned flags, uint64_t version, const char *id)
{
    struct mst_buffer *head = head_of(call);
    mst__redis_pack(head, 'D', 1);
    mst__redis_pack(head, flags, 1);
    mst__redis_pack(head, version, 8);
    add(call, head->data, head->length);
    add_text(call, id);
}

static void add_replay(struct call *call, char kind, uint64_t version, int64_t deadline, const char *id,
                       const char *body)
{
    struct mst_buffer *head = head_of(call), *blob = head_of(call);
    struct mst__redis_state state = {.version = version, .deadline = deadline, .lease = 60000, .flags = kind != 'd'};
    mst__redis_pack(head, 'A', 1);
    mst__redis_pack(head, (unsigned char)kind, 1);
    mst__redis_state_write(blob, &state);
    add(call, head->data, head->length);
    add_text(call, id);
    add(call, blob->data, blob->length);
    add_text(call, body);
}

static void run(struct client *client, struct call *call)
{
    redisReply *reply = redisCommandArgv(client->redis, call->argc, call->argv, call->lengths);
    assert_non_null(reply);
    client->count = 0;
    client->error[0] = '\0';
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(client->error, sizeof client->error, "%s", reply->str);
    } else {
        assert_int_equal(reply->elements, 3);
        client->count = (unsigned)((size_t)reply->element[1]->len / MST__RESULT_SIZE);
        for (unsigned i = 0; i < client->count; i++)
            mst__redis_result_read(reply->element[1]->str + (size_t)i * MST__RESULT_SIZE, &client->results[i]);
    }
    freeReplyObject(reply);
    for (int i = 0; i < call->head; i++)
        mst_buffer_deinit(&call->heads[i]);
}

static struct mst__redis_state put_once(struct client *client, unsigned flags, uint64_t version, const char *owner,
                                        const char *body)
{
    struct call call = call_to(client, "muster_v1_write");
    add_put(&call, flags, version, 60000, owner, "a", body);
    run(client, &call);
    assert_int_equal(client->count, 1);
    return client->results[0];
}

static struct mst__redis_state del_once(struct client *client, unsigned flags, uint64_t version)
{
    struct call call = call_to(client, "muster_v1_ease");
    add_del(&call, flags, version, "a");
    run(client, &call);
    assert_int_equal(client->count, 1);
    return client->results[0];
}

static void replay_once(struct client *client, char kind, uint64_t version, int64_t deadline)
{
    struct call call = call_to(client, "muster_v1_ease");
    add_replay(&call, kind, version, deadline, "a", kind == 'p' ? "body" : "");
    run(client, &call);
    assert_string_equal(client->error, "");
    assert_int_equal(client->count, 0);
}

static long long number(struct client *client, const char *command)
{
    redisReply *reply = redisCommand(client->redis, command);
    long long value = reply->integer;
    freeReplyObject(reply);
    return value;
}

static void test_a_retry_is_applied_once_and_hears_the_same(void **state)
{
    struct client *client = *state;
    struct mst__redis_state first = put_once(client, CREATE, 1000000, "me", "body");
    assert_int_equal(first.status, MST__APPLIED);
    assert_true(first.flags & MST__FLAG_CREATED);
    long long entries = number(client, "XLEN {n}:s");
    struct mst__redis_state again = put_once(client, CREATE | RETRY, 1000000, "me", "body");
    assert_memory_equal(&first, &again, sizeof first);
    assert_int_equal(number(client, "XLEN {n}:s"), entries);
    /* Without the flag it is another request: the identity exists. */
    assert_int_equal(put_once(client, CREATE, 1000000, "me", "body").status, MST__EXISTS);
}

static void test_a_retry_that_was_never_applied(void **state)
{
    struct client *client = *state;
    struct mst__redis_state result = put_once(client, CREATE | RETRY, 1000000, "me", "body");
    assert_int_equal(result.status, MST__APPLIED);
    assert_true(result.flags & MST__FLAG_CREATED);
}

static void test_an_overtaken_retry_changes_nothing(void **state)
{
    struct client *client = *state;
    put_once(client, 0, 1000000, "me", "one");
    struct mst__redis_state newest = put_once(client, REPLACE, 3000000, "other", "two");
    assert_int_equal(put_once(client, RETRY, 1000000, "me", "one").status, MST__OWNER);
    assert_int_equal(put_once(client, RETRY | CREATE, 1000000, "me", "one").status, MST__UNSURE);
    struct mst__redis_state result = put_once(client, RETRY | REPLACE, 1000000, "me", "one");
    assert_int_equal(result.status, MST__APPLIED);
    assert_int_equal(result.revision, newest.revision);
    assert_int_equal(del_once(client, RETRY, 1000000).status, MST__UNSURE);
    assert_int_equal(number(client, "HSTRLEN {n}:h a"), 3);
}

static void test_a_clock_that_is_behind_loses_nothing(void **state)
{
    struct client *client = *state;
    struct mst__redis_state first = put_once(client, 0, 9000000, "me", "one");
    struct mst__redis_state second = put_once(client, 0, 1000000, "me", "two");
    assert_int_equal(second.status, MST__APPLIED);
    assert_true(second.version > first.version);
    assert_int_equal(second.revision, first.revision + 1);
    /* A carry between the halves of a version. */
    put_once(client, 0, UINT64_C(0x10fffffff7), "me", "three");
    assert_true(put_once(client, 0, 1, "me", "four").version > UINT64_C(0x10fffffff7));
}

static void test_a_retried_removal(void **state)
{
    struct client *client = *state;
    put_once(client, 0, 1000000, "me", "body");
    assert_int_equal(del_once(client, 0, 2000000).status, MST__APPLIED);
    assert_int_equal(del_once(client, RETRY, 2000000).status, MST__APPLIED);
    assert_int_equal(del_once(client, RETRY, 2500000).status, MST__ABSENT);
    /* A put from before the removal does not bring it back. */
    assert_int_equal(put_once(client, RETRY, 1000000, "me", "body").status, MST__UNSURE);
    assert_int_equal(number(client, "HEXISTS {n}:h a"), 0);
}

static void test_one_call_sees_its_own_changes(void **state)
{
    struct client *client = *state;
    struct call call = call_to(client, "muster_v1_write");
    add_put(&call, CREATE, 1000000, 60000, "me", "a", "one");
    add_put(&call, CREATE, 1100000, 60000, "me", "a", "two");
    add_del(&call, 0, 1200000, "a");
    add_put(&call, CREATE, 1300000, 60000, "me", "a", "four");
    run(client, &call);
    assert_int_equal(client->count, 4);
    assert_int_equal(client->results[0].status, MST__APPLIED);
    assert_int_equal(client->results[1].status, MST__EXISTS);
    assert_int_equal(client->results[2].status, MST__APPLIED);
    assert_int_equal(client->results[3].status, MST__APPLIED);
    assert_int_equal(client->results[3].revision, 3);
    assert_int_equal(number(client, "HSTRLEN {n}:h a"), 4);
    assert_int_equal(number(client, "XLEN {n}:s"), 2);
}

static void test_a_stale_epoch_is_fenced(void **state)
{
    struct client *client = *state;
    struct call call = call_to(client, "muster_v1_write");
    add_put(&call, 0, 1000000, 60000, "me", "a", "one");
    call.argv[8] = "17";
    call.lengths[8] = 2;
    run(client, &call);
    assert_non_null(strstr(client->error, "EPOCH"));
    assert_int_equal(number(client, "EXISTS {n}:h"), 0);
}

static void test_replays_never_undo_what_is_newer(void **state)
{
    struct client *client = *state;
    int64_t later = mst_clock_wall() + 90000;
    put_once(client, 0, 2000000, "me", "newer");
    replay_once(client, 'p', 1000000, later);
    assert_int_equal(number(client, "HSTRLEN {n}:h a"), 5);
    replay_once(client, 'd', 1000000, 0);
    assert_int_equal(number(client, "HEXISTS {n}:h a"), 1);
    replay_once(client, 'd', 3000000, 0);
    assert_int_equal(number(client, "HEXISTS {n}:h a"), 0);
    replay_once(client, 'p', 2500000, later);
    assert_int_equal(number(client, "HEXISTS {n}:h a"), 0);
    replay_once(client, 'p', 4000000, mst_clock_wall() - 1);
    assert_int_equal(number(client, "HEXISTS {n}:h a"), 0);
    replay_once(client, 'p', 4000000, later);
    assert_int_equal(number(client, "HSTRLEN {n}:h a"), 4);
}

static int set_up_client(void **state)
{
    struct client *client = calloc(1, sizeof *client);
    *state = client;
    if (!test_redis_start(&client->server, NULL))
        return -1;
    client->redis = redisConnect("127.0.0.1", client->server.port);
    freeReplyObject(redisCommand(client->redis, "FUNCTION LOAD %b", mst__redis_functions, mst__redis_functions_size));
    redisReply *reply = redisCommand(client->redis, "FCALL muster_v1_attach 2 {n}:s {n}:m replid 0");
    if (reply->type != REDIS_REPLY_ARRAY)
        return -1;
    snprintf(client->epoch, sizeof client->epoch, "%s", reply->element[0]->str);
    freeReplyObject(reply);
    return 0;
}

static int tear_down_client(void **state)
{
    struct client *client = *state;
    redisFree(client->redis);
    test_server_stop(&client->server);
    free(client);
    return 0;
}

#define WITH_CLIENT(test) cmocka_unit_test_setup_teardown(test, set_up_client, tear_down_client)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CLIENT(test_a_retry_is_applied_once_and_hears_the_same),
        WITH_CLIENT(test_a_retry_that_was_never_applied),
        WITH_CLIENT(test_an_overtaken_retry_changes_nothing),
        WITH_CLIENT(test_a_clock_that_is_behind_loses_nothing),
        WITH_CLIENT(test_a_retried_removal),
        WITH_CLIENT(test_one_call_sees_its_own_changes),
        WITH_CLIENT(test_a_stale_epoch_is_fenced),
        WITH_CLIENT(test_replays_never_undo_what_is_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
