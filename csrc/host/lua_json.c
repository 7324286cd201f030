// SPDX-License-Identifier: Apache-2.0

/* JSON for Lua: the project's own reader and writer, so that a value means the same everywhere. */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "base/base64.h"
#include "host/lua_internal.h"
#include "model/json.h"
#include "model/value.h"

#define ARRAY "muster.array"
#define MAX_DEPTH 100u

static const struct mst_json_limits limits = {.bytes = 64u << 20, .depth = MAX_DEPTH, .fields = 0};

static void push_value(lua_State *L, const uint8_t *value);

static void push_array(lua_State *L, const uint8_t *value)
{
    lua_createtable(L, (int)mst_value_count(value), 0);
    const uint8_t *position = NULL, *element;
    for (int i = 1; mst_value_next(value, &position, &element); i++) {
        push_value(L, element);
        lua_rawseti(L, -2, i);
    }
    luaL_getmetatable(L, ARRAY);
    lua_setmetatable(L, -2);
}

static void push_object(lua_State *L, const uint8_t *value)
{
    lua_createtable(L, 0, (int)mst_value_count(value));
    const uint8_t *position = NULL, *element;
    const char *key;
    size_t length;
    while (mst_value_next_member(value, &position, &key, &length, &element)) {
        lua_pushlstring(L, key, length);
        push_value(L, element);
        lua_rawset(L, -3);
    }
}

static void push_value(lua_State *L, const uint8_t *value)
{
    size_t length;
    const char *text;
    luaL_checkstack(L, 4, "JSON is nested too deeply");
    switch (mst_value_tag(value)) {
    case MST_FALSE:
    case MST_TRUE:
        lua_pushboolean(L, mst_value_tag(value) == MST_TRUE);
        break;
    case MST_INT:
    case MST_DOUBLE:
        lua_pushnumber(L, mst_value_double(value));
        break;
    case MST_STRING:
        text = mst_value_string(value, &length);
        lua_pushlstring(L, text, length);
        break;
    case MST_ARRAY:
        push_array(L, value);
        break;
    case MST_OBJECT:
        push_object(L, value);
        break;
    default:
        lua_pushlightuserdata(L, NULL);
    }
}

static int decode(lua_State *L)
{
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    struct mst_error error = {0};
    struct mst_buffer packed = {0};
    struct mst_json_parser *parser = mst_json_parser_create();
    if (!parser)
        return luaL_error(L, "out of memory");
    int code = mst_json_parse(parser, text, length, &limits, &packed, &error);
    mst_json_parser_destroy(parser);
    if (code) {
        mst_buffer_deinit(&packed);
        int results = mst__lua_fail(L, &error);
        if (error.has_position) {
            lua_pushfstring(L, "%s at line %d, column %d", error.message, (int)error.line, (int)error.column);
            lua_replace(L, -3);
        }
        return results;
    }
    /* A userdata of Lua's own keeps the bytes, so that an error thrown while pushing leaks nothing. */
    void *bytes = lua_newuserdata(L, packed.length);
    __builtin_memcpy(bytes, packed.data, packed.length);
    mst_buffer_deinit(&packed);
    push_value(L, bytes);
    return 1;
}

static const char *put(lua_State *L, struct mst_buffer *out, int index, unsigned depth);

static const char *put_array(lua_State *L, struct mst_buffer *out, int index, unsigned depth)
{
    mst_buffer_append_byte(out, '[');
    int count = (int)lua_objlen(L, index);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            mst_buffer_append_byte(out, ',');
        lua_rawgeti(L, index, i);
        const char *fault = put(L, out, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
        if (fault)
            return fault;
    }
    mst_buffer_append_byte(out, ']');
    return NULL;
}

static const char *put_object(lua_State *L, struct mst_buffer *out, int index, unsigned depth)
{
    bool first = true;
    mst_buffer_append_byte(out, '{');
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return "an object's keys must be strings";
        size_t length;
        const char *key = lua_tolstring(L, -2, &length);
        if (!first)
            mst_buffer_append_byte(out, ',');
        first = false;
        mst_json_put_string(out, key, length);
        mst_buffer_append_byte(out, ':');
        const char *fault = put(L, out, lua_gettop(L), depth + 1);
        if (fault)
            return fault;
        lua_pop(L, 1);
    }
    mst_buffer_append_byte(out, '}');
    return NULL;
}

static bool is_array(lua_State *L, int index)
{
    if (lua_objlen(L, index) > 0)
        return true;
    if (!lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, ARRAY);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

static const char *put_number(struct mst_buffer *out, double number)
{
    if (!isfinite(number))
        return "a number is not finite";
    if (number == floor(number) && fabs(number) < 9007199254740992.0)
        mst_json_put_int(out, (int64_t)number);
    else
        mst_json_put_double(out, number);
    return NULL;
}

static const char *put(lua_State *L, struct mst_buffer *out, int index, unsigned depth)
{
    size_t length;
    const char *text;
    if (depth > MAX_DEPTH || !lua_checkstack(L, 6))
        return "the value is nested too deeply (or refers to itself)";
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        mst_buffer_append_string(out, lua_toboolean(L, index) ? "true" : "false");
        return NULL;
    case LUA_TNUMBER:
        return put_number(out, lua_tonumber(L, index));
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &length);
        mst_json_put_string(out, text, length);
        return NULL;
    case LUA_TTABLE:
        return is_array(L, index) ? put_array(L, out, index, depth) : put_object(L, out, index, depth);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) {
            mst_buffer_append_string(out, "null");
            return NULL;
        }
        return "a userdata has no JSON form";
    default:
        return "only nil-free tables, strings, numbers, booleans and null have a JSON form";
    }
}

static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct mst_buffer out = {.limit = limits.bytes};
    const char *fault = put(L, &out, 1, 0);
    if (!fault && out.failed)
        fault = "the value is too large";
    if (fault) {
        mst_buffer_deinit(&out);
        return luaL_argerror(L, 1, fault);
    }
    lua_pushlstring(L, out.data, out.length);
    mst_buffer_deinit(&out);
    return 1;
}

static int array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_getmetatable(L, ARRAY);
    lua_setmetatable(L, 1);
    return 1;
}

static int base64(lua_State *L)
{
    size_t length;
    const char *bytes = luaL_checklstring(L, 1, &length);
    struct mst_buffer out = {0};
    mst_base64_encode(&out, bytes, length);
    if (out.failed) {
        mst_buffer_deinit(&out);
        return luaL_error(L, "out of memory");
    }
    lua_pushlstring(L, out.data ? out.data : "", out.length);
    mst_buffer_deinit(&out);
    return 1;
}

void mst__lua_open_json(lua_State *L)
{
    luaL_newmetatable(L, ARRAY);
    lua_pop(L, 1);
    lua_pushcfunction(L, decode);
    lua_setfield(L, -2, "json_decode");
    lua_pushcfunction(L, encode);
    lua_setfield(L, -2, "json_encode");
    lua_pushcfunction(L, base64);
    lua_setfield(L, -2, "base64");
    lua_pushcfunction(L, array);
    lua_setfield(L, -2, "array");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}
