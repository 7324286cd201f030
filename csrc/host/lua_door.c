// SPDX-License-Identifier: Apache-2.0

/*
 * Hosts and clients for Lua: one userdata with the same methods for both ("door"). Calls from Lua wait by running the
 * door's own loop; callbacks run Lua in the state that is waiting. An error thrown by a callback is kept and thrown
 * again where the loop was entered.
 */
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/client.h"
#include "host/control_server.h"
#include "host/door.h"
#include "host/host.h"
#include "host/lua_internal.h"
#include "host/service.h"

#define DOOR "muster.door"

struct door {
    struct mst_host *host;
    struct mst_client *client;
    struct mst_loop own; /* of a client */
    struct mst_loop *loop;
    struct mst_log *log;
    lua_State *L;       /* who waits; NULL: nobody */
    lua_State *closing; /* who closes: its callbacks are dropped */
    int failure;        /* reference of an error a callback threw; LUA_NOREF */
    bool stop;          /* ends what is waiting */
    bool closed, lost;  /* lost: the client's connection */
    const char *reason; /* why run ended */
};

/* A call under way, or a receiver; freed with the last callback. */
struct pending {
    struct door *door;
    int function; /* LUA_NOREF: somebody waits */
    bool done;
    int status;
    struct mst_buffer json;
};

static struct door *check_door(lua_State *L)
{
    struct door *door = luaL_checkudata(L, 1, DOOR);
    luaL_argcheck(L, !door->closed, 1, "is closed");
    return door;
}

static void enter(lua_State *L, struct door *door)
{
    if (door->L)
        luaL_error(L, "the loop is running already: use start, not call, inside a callback");
    door->L = L;
    door->stop = false;
}

static void leave(lua_State *L, struct door *door)
{
    door->L = NULL;
    if (door->failure == LUA_NOREF)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, door->failure);
    luaL_unref(L, LUA_REGISTRYINDEX, door->failure);
    door->failure = LUA_NOREF;
    lua_error(L);
}

static void run_until(struct door *door, const bool *done)
{
    mst_loop_run(door->loop, done);
}

/* Calls the function with the arguments above it; keeps an error for whoever waits. */
static void call_back(struct door *door, int arguments)
{
    if (lua_pcall(door->L, arguments, 0, 0) == 0)
        return;
    if (door->failure == LUA_NOREF)
        door->failure = luaL_ref(door->L, LUA_REGISTRYINDEX);
    else
        lua_pop(door->L, 1);
    door->stop = true;
}

static void note_answer(void *context, int status, const char *json, size_t length)
{
    struct pending *pending = context;
    pending->done = true;
    pending->status = status;
    mst_buffer_append(&pending->json, json, length);
}

static int push_answer(lua_State *L, struct pending *pending)
{
    if (!pending->status) {
        lua_pushlstring(L, pending->json.data ? pending->json.data : "", pending->json.length);
        mst_buffer_deinit(&pending->json);
        return 1;
    }
    lua_pushnil(L);
    lua_pushlstring(L, pending->json.data ? pending->json.data : "", pending->json.length);
    lua_pushstring(L, mst_error_name(pending->status));
    mst_buffer_deinit(&pending->json);
    return 3;
}

/* nil, message, code of an answer that is an error object. */
static int fail_answer(lua_State *L, struct pending *pending)
{
    struct mst_error error = {0};
    struct mst_json_parser *parser = mst_json_parser_create();
    mst_error_set(&error, pending->status, "%s", mst_error_text(pending->status));
    if (parser && pending->json.data)
        mst__door_status(parser, pending->json.data, pending->json.length, error.message, sizeof error.message);
    if (parser)
        mst_json_parser_destroy(parser);
    mst_buffer_deinit(&pending->json);
    return mst__lua_fail(L, &error);
}

static void begin(struct door *door, const char *verb, const char *namespace_, const char *body, size_t length,
                  mst_answer_cb *done, void *context)
{
    if (door->host)
        mst_host_call(door->host, verb, namespace_, body, length, done, context);
    else
        mst_client_call(door->client, verb, namespace_, body, length, done, context);
}

static int call(lua_State *L)
{
    struct door *door = check_door(L);
    const char *verb = luaL_checkstring(L, 2), *namespace_ = luaL_checkstring(L, 3);
    size_t length;
    const char *body = luaL_checklstring(L, 4, &length);
    struct pending pending = {.door = door, .function = LUA_NOREF};
    enter(L, door);
    begin(door, verb, namespace_, body, length, note_answer, &pending);
    run_until(door, &pending.done);
    /* A callback's error must not leave before the answer that will be written to our frame has come. */
    if (door->failure != LUA_NOREF)
        mst_buffer_deinit(&pending.json);
    leave(L, door);
    return push_answer(L, &pending);
}

static void started_answer(void *context, int status, const char *json, size_t length)
{
    struct pending *pending = context;
    struct door *door = pending->door;
    if (door->L) {
        lua_State *L = door->L;
        lua_rawgeti(L, LUA_REGISTRYINDEX, pending->function);
        lua_pushlstring(L, json, length);
        if (status)
            lua_pushstring(L, mst_error_name(status));
        else
            lua_pushnil(L);
        call_back(door, 2);
    }
    luaL_unref(door->L ? door->L : door->closing, LUA_REGISTRYINDEX, pending->function);
    free(pending);
}

static struct pending *hold(lua_State *L, struct door *door, int function)
{
    luaL_checktype(L, function, LUA_TFUNCTION);
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending) {
        luaL_error(L, "out of memory");
        return NULL; /* not reached */
    }
    pending->door = door;
    lua_pushvalue(L, function);
    pending->function = luaL_ref(L, LUA_REGISTRYINDEX);
    return pending;
}

static int start(lua_State *L)
{
    struct door *door = check_door(L);
    const char *verb = luaL_checkstring(L, 2), *namespace_ = luaL_checkstring(L, 3);
    size_t length;
    const char *body = luaL_checklstring(L, 4, &length);
    struct pending *pending = hold(L, door, 5);
    begin(door, verb, namespace_, body, length, started_answer, pending);
    return 0;
}

static void on_message(void *context, const struct mst_message *message)
{
    struct pending *pending = context;
    struct door *door = pending->door;
    lua_State *L = door->L;
    if (!L)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, pending->function);
    lua_pushlstring(L, message->payload, message->payload_length);
    if (message->reply_length)
        lua_pushlstring(L, message->reply, message->reply_length);
    else
        lua_pushnil(L);
    lua_pushlstring(L, message->subject, message->subject_length);
    call_back(door, 3);
}

static int receive(lua_State *L)
{
    static const char *const kinds[] = {"to", "via", NULL};
    struct door *door = check_door(L);
    const char *namespace_ = luaL_checkstring(L, 2);
    bool gateway = luaL_checkoption(L, 3, NULL, kinds) == 1;
    size_t length;
    const char *name = luaL_checklstring(L, 4, &length);
    struct pending *pending = hold(L, door, 5); /* lives as long as the door: receivers end with it */
    /* Anchored, so that closing the door can free it. */
    lua_getfenv(L, 1);
    lua_pushlightuserdata(L, pending);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    struct mst_error error = {.code = MST_EINVAL};
    if (door->host) {
        if (!mst_host_receive(door->host, namespace_, name, length, gateway, on_message, pending, error.message,
                              sizeof error.message))
            return mst__lua_fail(L, &error);
        lua_pushboolean(L, 1);
        return 1;
    }
    if (door->L)
        return luaL_error(L, "receive waits, so it cannot be called inside a callback");
    if (!mst_client_receive(door->client, namespace_, name, length, gateway, on_message, note_answer, pending))
        return luaL_error(L, "out of memory");
    enter(L, door);
    run_until(door, &pending->done);
    leave(L, door);
    if (pending->status)
        return fail_answer(L, pending);
    mst_buffer_deinit(&pending->json);
    lua_pushboolean(L, 1);
    return 1;
}

static int acknowledge(lua_State *L)
{
    struct door *door = check_door(L);
    struct mst_span reply, text;
    reply.data = luaL_checklstring(L, 2, &reply.length);
    text.data = luaL_optlstring(L, 3, "", &text.length);
    int status = door->host ? mst_host_acknowledge(door->host, reply.data, reply.length, text.data, text.length)
                            : mst_client_acknowledge(door->client, reply, text);
    if (status) {
        struct mst_error error = {0};
        mst_error_set(&error, status, "%s", mst_error_text(status));
        return mst__lua_fail(L, &error);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* run */

static void run_over(struct mst_timer *timer, void *owner)
{
    (void)timer;
    struct door *door = owner;
    door->reason = "timeout";
    door->stop = true;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct door *door = handle->data;
    door->reason = number == SIGINT ? "SIGINT" : number == SIGHUP ? "SIGHUP" : "SIGTERM";
    door->stop = true;
    uv_stop(door->loop->uv);
}

static void on_handle_closed(uv_handle_t *handle)
{
    handle->data = NULL;
}

static void watch_signal(struct door *door, uv_signal_t *handle, int number)
{
    uv_signal_init(door->loop->uv, handle);
    handle->data = door;
    uv_signal_start(handle, on_signal, number);
}

static void unwatch_signals(struct door *door, uv_signal_t *handles, int count)
{
    for (int i = 0; i < count; i++)
        uv_close((uv_handle_t *)&handles[i], on_handle_closed);
    for (int i = 0; i < count; i++)
        while (handles[i].data)
            uv_run(door->loop->uv, UV_RUN_NOWAIT);
}

static int run(lua_State *L)
{
    struct door *door = check_door(L);
    double seconds = luaL_optnumber(L, 2, -1);
    bool hangup = lua_toboolean(L, 3);
    uv_signal_t signals[3];
    struct mst_timer timer = {.fire = run_over, .owner = door};
    enter(L, door);
    door->reason = "stop";
    watch_signal(door, &signals[0], SIGINT);
    watch_signal(door, &signals[1], SIGTERM);
    if (hangup)
        watch_signal(door, &signals[2], SIGHUP);
    if (seconds >= 0)
        mst_timers_set(&door->loop->timers, &timer, mst_clock_monotonic() + (uint64_t)(seconds * 1e9));
    if (door->lost)
        door->reason = "lost";
    else
        run_until(door, &door->stop);
    mst_timers_cancel(&door->loop->timers, &timer);
    unwatch_signals(door, signals, hangup ? 3 : 2);
    leave(L, door);
    lua_pushstring(L, door->reason);
    return 1;
}

static int stop(lua_State *L)
{
    struct door *door = check_door(L);
    door->stop = true;
    uv_stop(door->loop->uv);
    return 0;
}

static void on_lost(void *context)
{
    struct door *door = context;
    door->lost = true;
    door->reason = "lost";
    door->stop = true;
}

/* Opening and closing */

static void note_closed(void *context)
{
    *(bool *)context = true;
}

static void free_receivers(lua_State *L, int index)
{
    lua_getfenv(L, index);
    int count = (int)lua_objlen(L, -1);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        struct pending *pending = lua_touserdata(L, -1);
        luaL_unref(L, LUA_REGISTRYINDEX, pending->function);
        free(pending);
        lua_pop(L, 1);
    }
    lua_newtable(L);
    lua_setfenv(L, index);
    lua_pop(L, 1);
}

static void close_door(lua_State *L, struct door *door, int index)
{
    if (door->closed)
        return;
    door->closed = true;
    door->closing = L;
    if (door->host)
        mst_host_free(door->host);
    if (door->client) {
        bool closed = false;
        mst_client_close(door->client, note_closed, &closed);
        mst_loop_run(&door->own, &closed);
    }
    if (door->loop == &door->own)
        mst_loop_deinit(&door->own);
    if (door->log)
        mst_log_destroy(door->log);
    free_receivers(L, index);
}

static int close_method(lua_State *L)
{
    struct door *door = luaL_checkudata(L, 1, DOOR);
    if (door->L)
        return luaL_error(L, "a door cannot be closed inside its own callback: use stop");
    close_door(L, door, 1);
    return 0;
}

static const char *text_option(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    const char *text = luaL_optstring(L, -1, NULL);
    lua_pop(L, 1); /* stays anchored in the options table */
    return text;
}

static lua_Number number_option(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    lua_Number number = luaL_optnumber(L, -1, 0);
    lua_pop(L, 1);
    return number;
}

static struct door *new_door(lua_State *L)
{
    struct door *door = lua_newuserdata(L, sizeof *door);
    memset(door, 0, sizeof *door);
    door->failure = LUA_NOREF;
    door->closed = true; /* until it is open */
    luaL_getmetatable(L, DOOR);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setfenv(L, -2);
    return door;
}

/* Closes a door that did not open; nil, message, code. */
static int fail_open(lua_State *L, struct door *door, struct pending *pending)
{
    int index = lua_gettop(L); /* the new door is on top */
    int results = fail_answer(L, pending);
    close_door(L, door, index);
    return results;
}

static struct mst_nats_options nats_options(lua_State *L)
{
    return (struct mst_nats_options){
        .servers = text_option(L, "nats_servers"),
        .user = text_option(L, "nats_user"),
        .password = text_option(L, "nats_password"),
        .token = text_option(L, "nats_token"),
        .credentials_file = text_option(L, "nats_credentials_file"),
        .nkey_file = text_option(L, "nats_nkey_file"),
        .ca_file = text_option(L, "nats_ca_file"),
    };
}

static int open_host(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const struct mst_nats_options nats = nats_options(L);
    struct mst_host_options options = {
        .redis_host = text_option(L, "redis_host"),
        .redis_port = (int)number_option(L, "redis_port"),
        .redis_database = (int)number_option(L, "redis_db"),
        .redis_user = text_option(L, "redis_user"),
        .redis_password = text_option(L, "redis_password"),
        .nats_servers = nats.servers,
        .nats_user = nats.user,
        .nats_password = nats.password,
        .nats_token = nats.token,
        .nats_credentials_file = nats.credentials_file,
        .nats_nkey_file = nats.nkey_file,
        .nats_ca_file = nats.ca_file,
        .prefix = text_option(L, "prefix"),
        .log_level = text_option(L, "log_level"),
        .max_identities = (uint32_t)number_option(L, "max_identities"),
        .filters = text_option(L, "filters"),
    };
    lua_getfield(L, 1, "log_json");
    options.log_json = lua_toboolean(L, -1);
    lua_pop(L, 1);
    struct door *door = new_door(L);
    struct pending ready = {.door = door, .function = LUA_NOREF};
    door->host = mst_host_open(&options, NULL, note_answer, &ready);
    if (!door->host) {
        struct mst_error error = {0};
        mst_error_set(&error, MST_EINVAL, "cannot open a host: prefix or log level is not valid, or no memory");
        return mst__lua_fail(L, &error);
    }
    door->closed = false;
    door->loop = &door->host->loop;
    run_until(door, &ready.done);
    if (ready.status)
        return fail_open(L, door, &ready);
    mst_buffer_deinit(&ready.json);
    return 1;
}

static int connect_client(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    const char *socket = text_option(L, "socket"), *prefix = text_option(L, "prefix");
    uint64_t timeout = (uint64_t)(number_option(L, "timeout") * 1e9);
    struct mst_nats_options nats = nats_options(L);
    nats.name = "muster client";
    luaL_argcheck(L, socket || nats.servers, 1, "socket or nats_servers is missing");
    struct door *door = new_door(L);
    struct pending ready = {.door = door, .function = LUA_NOREF};
    door->log = mst_log_create(MST_LOG_OFF, false);
    if (!door->log || mst_loop_init(&door->own, NULL)) {
        if (door->log)
            mst_log_destroy(door->log);
        return luaL_error(L, "out of memory");
    }
    door->loop = &door->own;
    door->closed = false;
    door->client = socket ? mst_client_open_socket(door->loop, socket, timeout, note_answer, &ready)
                          : mst_client_open_nats(door->loop, door->log, &nats, prefix ? prefix : "muster", timeout,
                                                 note_answer, &ready);
    if (!door->client)
        return luaL_error(L, "out of memory");
    mst_client_on_lost(door->client, on_lost, door);
    run_until(door, &ready.done);
    if (ready.status)
        return fail_open(L, door, &ready);
    mst_buffer_deinit(&ready.json);
    return 1;
}

static struct door *check_host(lua_State *L)
{
    struct door *door = check_door(L);
    luaL_argcheck(L, door->host, 1, "is a client, not a host");
    return door;
}

static int listen_socket(lua_State *L)
{
    struct door *door = check_host(L);
    struct mst_error error = {0};
    if (mst_control_server_create(&door->host->control, door->host, luaL_checkstring(L, 2), &error))
        return mst__lua_fail(L, &error);
    lua_pushboolean(L, 1);
    return 1;
}

static int serve(lua_State *L)
{
    struct door *door = check_host(L);
    struct mst_error error = {0};
    if (mst_service_create(&door->host->service, door->host, &error))
        return mst__lua_fail(L, &error);
    lua_pushboolean(L, 1);
    return 1;
}

static int load_filters(lua_State *L)
{
    struct door *door = check_host(L);
    struct mst_error error = {0};
    error.code = mst_host_load_filters(door->host, luaL_checkstring(L, 2), error.message, sizeof error.message);
    if (error.code)
        return mst__lua_fail(L, &error);
    lua_pushboolean(L, 1);
    return 1;
}

static void put_count(lua_State *L, const char *name, uint64_t number)
{
    lua_pushnumber(L, (lua_Number)number);
    lua_setfield(L, -2, name);
}

static int status(lua_State *L)
{
    struct door *door = check_host(L);
    struct mst_coordinator_stats stats;
    struct mst_messaging_stats messaging = {0};
    mst_coordinator_stats(door->host->coordinator, &stats);
    door->host->messaging->ops->stats(door->host->messaging, &messaging);
    lua_newtable(L);
    put_count(L, "calls", stats.calls);
    put_count(L, "errors", stats.errors);
    put_count(L, "filter_hits", stats.filter_hits);
    put_count(L, "filter_misses", stats.filter_misses);
    put_count(L, "filter_evictions", stats.filter_evictions);
    put_count(L, "filter_bytes", stats.filter_bytes);
    put_count(L, "filters", stats.filters);
    put_count(L, "in_flight", stats.in_flight);
    put_count(L, "namespaces", stats.namespaces);
    put_count(L, "identities", stats.identities);
    put_count(L, "published", messaging.published);
    put_count(L, "routed", messaging.routed);
    put_count(L, "epochs", messaging.epochs);
    return 1;
}

void mst__lua_open_door(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"call", call},   {"start", start},   {"receive", receive},    {"acknowledge", acknowledge},
        {"run", run},     {"stop", stop},     {"close", close_method}, {"listen", listen_socket},
        {"serve", serve}, {"status", status}, {"__gc", close_method},  {"load_filters", load_filters},
        {NULL, NULL}};
    luaL_newmetatable(L, DOOR);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_register(L, NULL, methods);
    lua_pop(L, 1);
    lua_pushcfunction(L, open_host);
    lua_setfield(L, -2, "open");
    lua_pushcfunction(L, connect_client);
    lua_setfield(L, -2, "connect");
}
