// SPDX-License-Identifier: Apache-2.0
#include "io/redis_sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "io/redis_link.h"

#define ANSWER_TIMEOUT (5 * MST_NS_PER_SECOND)
#define PAUSE (100 * MST_NS_PER_MS)
#define WORDS_MAX 8
#define KEYS 5

static const char kinds[KEYS] = {'h', 't', 's', 'm', 'd'};

struct session {
    struct mst_loop loop;
    struct mst_redis_options options;
    struct mst__redis_link link;
    struct mst_timer timer;
    char address[160];
    uint64_t until; /* monotonic ns; after it nothing is tried again */
    bool turn;      /* something has happened */
    bool answered, lost, again, closed;
    struct mst_error error;
    void (*take)(struct session *session, const redisReply *reply); /* an answer that is no error */
    /* what is taken */
    struct mst_map *names;
    const char *begin;
    char cursor[24];
    int64_t number;
};

/* ---- connection ---- */

static void on_up(struct mst__redis_link *link)
{
    struct session *session = link->owner;
    session->turn = true;
}

static void on_down(struct mst__redis_link *link, const struct mst_error *error)
{
    struct session *session = link->owner;
    session->error = *error;
    session->turn = true;
}

static void on_closed(struct mst__redis_link *link)
{
    struct session *session = link->owner;
    session->closed = session->turn = true;
}

static void on_timer(struct mst_timer *timer, void *owner)
{
    struct session *session = owner;
    (void)timer;
    session->turn = true;
}

static void run(struct session *session)
{
    session->turn = false;
    mst_loop_run(&session->loop, &session->turn);
}

static int open_session(struct session *session, const struct mst_redis_options *options, uint64_t patience,
                        struct mst_error *error)
{
    struct mst_redis_options *own = &session->options;
    *session = (struct session){.options = *options, .until = mst_clock_monotonic() + patience};
    own->host = own->host != NULL ? own->host : "127.0.0.1";
    own->port = own->port != 0 ? own->port : 6379;
    own->prefix = own->prefix != NULL ? own->prefix : "muster";
    own->connect_timeout = own->connect_timeout != 0 ? own->connect_timeout : 2 * MST_NS_PER_SECOND;
    mst__redis_address(own, session->address, sizeof session->address);
    session->timer.fire = on_timer;
    session->timer.owner = session;
    if (mst_loop_init(&session->loop, NULL) != 0)
        return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    session->link.name = "sweep";
    session->link.up = on_up;
    session->link.down = on_down;
    session->link.owner = session;
    mst__redis_link_open(&session->link, &session->loop, NULL, own);
    return 0;
}

static int close_session(struct session *session, int code, struct mst_error *error)
{
    if (code != 0 && error != NULL)
        *error = session->error;
    mst_timers_cancel(&session->loop.timers, &session->timer);
    session->closed = mst__redis_link_close(&session->link, on_closed);
    while (!session->closed)
        run(session);
    mst_loop_deinit(&session->loop);
    mst_map_destroy(session->names);
    return code;
}

static bool may_go_on(const struct session *session)
{
    return mst_clock_monotonic() < session->until;
}

/* The link tries by itself, and every try ends within the connect timeout. */
static int wait_until_up(struct session *session)
{
    while (!mst__redis_link_ready(&session->link)) {
        session->error.code = 0;
        run(session);
        if (session->error.code != 0 && !may_go_on(session))
            return session->error.code;
    }
    return 0;
}

/* ---- commands: all may be carried out twice ---- */

static int fail(struct session *session, int code, const char *reason)
{
    return mst_error_set(&session->error, code, "Redis at %s: %s", session->address, reason);
}

static bool begins(const redisReply *reply, const char *word)
{
    return strncmp(reply->str, word, strlen(word)) == 0;
}

static void on_reply(redisReply *reply, void *context)
{
    struct session *session = context;
    session->answered = session->turn = true;
    session->lost = reply == NULL;
    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        session->again = begins(reply, "LOADING") || begins(reply, "BUSY") || begins(reply, "MASTERDOWN");
        fail(session, begins(reply, "NOPERM") ? MST_EPERMISSION : MST_EREDIS, reply->str);
    } else {
        session->take(session, reply);
    }
}

static int send_once(struct session *session, const char *const *words)
{
    struct mst__redis_link *link = &session->link;
    uint32_t count = 0;
    while (words[count] != NULL)
        count++;
    mst__redis_begin(link, count);
    for (uint32_t i = 0; i < count; i++)
        mst__redis_arg(link, words[i], strlen(words[i]));
    session->answered = session->lost = session->again = false;
    session->error.code = 0;
    if (!mst__redis_end(link, on_reply, session, ANSWER_TIMEOUT))
        return fail(session, MST_ENOMEM, mst_error_text(MST_ENOMEM));
    mst__redis_link_flush(link);
    while (!session->answered)
        run(session);
    return session->error.code;
}

/* One command of `words`, ended by NULL; its answer goes to `take`. */
static int ask(struct session *session, void (*take)(struct session *session, const redisReply *reply),
               const char *const *words)
{
    session->take = take;
    for (;;) {
        int code = wait_until_up(session);
        if (code == 0)
            code = send_once(session, words);
        if (code == 0 || !(session->lost || session->again) || !may_go_on(session))
            return code;
        if (session->again) {
            mst_timers_set(&session->loop.timers, &session->timer, mst_clock_monotonic() + PAUSE);
            run(session);
        }
    }
}

static void take_number(struct session *session, const redisReply *reply)
{
    session->number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

struct key_names {
    char text[KEYS][2 * MST_NAMESPACE_MAX + 16];
};

static void name_keys(const struct session *session, const char *name, struct key_names *keys)
{
    for (int i = 0; i < KEYS; i++)
        snprintf(keys->text[i], sizeof keys->text[i], "%.*s:{%s}:%c", MST_NAMESPACE_MAX, session->options.prefix, name,
                 kinds[i]);
}

static int ask_of_keys(struct session *session, const char *command, const struct key_names *keys)
{
    const char *words[] = {command, keys->text[0], keys->text[1], keys->text[2], keys->text[3], keys->text[4], NULL};
    return ask(session, take_number, words);
}

static void name_set(const struct session *session, char *text, size_t size)
{
    snprintf(text, size, "%.*s:namespaces", MST_NAMESPACE_MAX, session->options.prefix);
}

/* ---- find ---- */

static void note_name(struct session *session, const char *name, size_t length)
{
    size_t least = strlen(session->begin);
    if (length < least || memcmp(name, session->begin, least) != 0 || mst_namespace_check(name, length, NULL) != 0)
        return;
    if (mst_map_set(session->names, name, length, 1) < 0)
        fail(session, MST_ENOMEM, mst_error_text(MST_ENOMEM));
}

static void take_names(struct session *session, const redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type == REDIS_REPLY_STRING)
            note_name(session, reply->element[i]->str, reply->element[i]->len);
}

/* `<prefix>:{<name>}:<kind>` */
static void take_key(struct session *session, const char *key, size_t length)
{
    size_t before = strlen(session->options.prefix) + 2;
    if (length < before + 3 || key[length - 3] != '}' || key[length - 2] != ':' ||
        memchr(kinds, key[length - 1], KEYS) == NULL)
        return;
    note_name(session, key + before, length - before - 3);
}

static void take_page(struct session *session, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING) {
        fail(session, MST_EREDIS, "SCAN was answered with nonsense");
        return;
    }
    snprintf(session->cursor, sizeof session->cursor, "%s", reply->element[0]->str);
    const redisReply *keys = reply->element[1];
    for (size_t i = 0; i < keys->elements; i++)
        take_key(session, keys->element[i]->str, keys->element[i]->len);
}

static int gather(struct session *session)
{
    char pattern[3 * MST_NAMESPACE_MAX], set[MST_NAMESPACE_MAX + 16];
    name_set(session, set, sizeof set);
    int code = ask(session, take_names, (const char *const[]){"SMEMBERS", set, NULL});
    snprintf(pattern, sizeof pattern, "%.*s:{%.*s*}:?", MST_NAMESPACE_MAX, session->options.prefix, MST_NAMESPACE_MAX,
             session->begin);
    strcpy(session->cursor, "0");
    do {
        const char *const words[] = {"SCAN", session->cursor, "MATCH", pattern, "COUNT", "1000", NULL};
        if (code == 0)
            code = ask(session, take_page, words);
    } while (code == 0 && strcmp(session->cursor, "0") != 0);
    return code;
}

static int describe(struct session *session, struct mst_redis_found *found)
{
    struct key_names keys;
    name_keys(session, found->name, &keys);
    int code = ask_of_keys(session, "EXISTS", &keys);
    found->keys = (uint64_t)session->number;
    if (code == 0)
        code = ask(session, take_number, (const char *const[]){"HLEN", keys.text[0], NULL});
    found->identities = (uint64_t)session->number;
    /* The hash with the revision is there for as long as anything is. */
    if (code == 0)
        code = ask(session, take_number, (const char *const[]){"PTTL", keys.text[3], NULL});
    found->ends_in_ms = session->number < 0 ? -1 : session->number;
    return code;
}

int mst_redis_find(const struct mst_redis_options *options, const char *begin,
                   void (*each)(void *context, const struct mst_redis_found *found), void *context,
                   struct mst_error *error)
{
    struct session session;
    size_t position = 0, length;
    const void *name;
    uint64_t value;
    int code = open_session(&session, options, 0, error);
    if (code != 0)
        return code;
    session.begin = begin;
    session.names = mst_map_create();
    code = session.names != NULL ? gather(&session) : fail(&session, MST_ENOMEM, mst_error_text(MST_ENOMEM));
    while (code == 0 && mst_map_next(session.names, &position, &name, &length, &value)) {
        struct mst_redis_found found = {.keys = 0};
        memcpy(found.name, name, length);
        code = describe(&session, &found);
        if (code == 0)
            each(context, &found);
    }
    return close_session(&session, code, error);
}

/* ---- remove ---- */

int mst_redis_remove(const struct mst_redis_options *options, const char *const *names, size_t count, uint64_t patience,
                     uint64_t *keys, struct mst_error *error)
{
    struct session session;
    char set[MST_NAMESPACE_MAX + 16];
    int code = open_session(&session, options, patience, error);
    if (code != 0)
        return code;
    name_set(&session, set, sizeof set);
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct key_names own;
        name_keys(&session, names[i], &own);
        code = ask_of_keys(&session, "UNLINK", &own);
        if (code == 0 && keys != NULL)
            *keys += (uint64_t)session.number;
        if (code == 0)
            code = ask(&session, take_number, (const char *const[]){"SREM", set, names[i], NULL});
    }
    return close_session(&session, code, error);
}
