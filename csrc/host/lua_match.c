// SPDX-License-Identifier: Apache-2.0

/* Filters over lines of JSON without any registry, for `muster match` and the Lua module. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/lua_internal.h"
#include "match/program.h"
#include "model/value.h"
#include "script/compiler.h"

#define MATCHER "muster.matcher"

struct matcher {
    struct mst_program *program;
    struct mst_bound *bound;
    struct mst_json_parser *parser;
    struct mst_buffer parameters, line;
    char namespace_[MST_NAMESPACE_MAX + 1];
};

static const struct mst_json_limits line_limits = {.bytes = 1u << 20, .depth = 64, .fields = 0};

static void clear(struct matcher *matcher)
{
    mst_bound_destroy(matcher->bound);
    mst_program_destroy(matcher->program);
    if (matcher->parser)
        mst_json_parser_destroy(matcher->parser);
    mst_buffer_deinit(&matcher->parameters);
    mst_buffer_deinit(&matcher->line);
    memset(matcher, 0, sizeof *matcher);
}

static int collect(lua_State *L)
{
    clear(luaL_checkudata(L, 1, MATCHER));
    return 0;
}

static const char *option(lua_State *L, const char *name, size_t *length)
{
    lua_getfield(L, 1, name);
    const char *text = lua_isnil(L, -1) ? NULL : luaL_checklstring(L, -1, length);
    lua_pop(L, 1); /* stays anchored in the options table */
    return text;
}

static int create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t length = 0, parameters_length = 0;
    const char *program = option(L, "program", &length);
    const char *parameters = option(L, "params", &parameters_length);
    luaL_argcheck(L, program, 1, "program is missing");
    lua_getfield(L, 1, "now");
    int64_t now = lua_isnil(L, -1) ? mst_clock_wall() : (int64_t)luaL_checknumber(L, -1);

    struct matcher *matcher = lua_newuserdata(L, sizeof *matcher);
    memset(matcher, 0, sizeof *matcher);
    luaL_getmetatable(L, MATCHER);
    lua_setmetatable(L, -2);
    struct mst_error error = {0};
    matcher->parser = mst_json_parser_create();
    int code = matcher->parser ? 0 : mst_error_set(&error, MST_ENOMEM, "out of memory");
    if (!code && parameters)
        code =
            mst_json_parse(matcher->parser, parameters, parameters_length, &line_limits, &matcher->parameters, &error);
    if (!code)
        code = mst_program_load(&matcher->program, program, length, &error);
    if (!code)
        code = mst_bound_create(&matcher->bound, matcher->program,
                                parameters ? (const uint8_t *)matcher->parameters.data : NULL, now, NULL, &error);
    return code ? mst__lua_fail(L, &error) : 1;
}

static int64_t time_of(const uint8_t *record, const char *name)
{
    const uint8_t *value = mst_value_get(record, name, strlen(name));
    if (!value || (mst_value_tag(value) != MST_INT && mst_value_tag(value) != MST_DOUBLE))
        return 0;
    return mst_value_tag(value) == MST_INT ? mst_value_int(value) : (int64_t)mst_value_double(value);
}

static struct mst_span text_of(const uint8_t *record, const char *name)
{
    struct mst_span text = {"", 0};
    const uint8_t *value = mst_value_get(record, name, strlen(name));
    if (value && mst_value_tag(value) == MST_STRING)
        text.data = mst_value_string(value, &text.length);
    return text;
}

/* A record has an object `metadata` and no other keys than a record's; everything else is metadata itself. */
static bool is_record(const uint8_t *object)
{
    static const char *const keys[] = {"id",       "namespace", "metadata",      "gateway",    "owner",
                                       "revision", "created",   "registered_at", "updated_at", "expires_at"};
    const uint8_t *metadata = mst_value_get(object, "metadata", 8);
    if (!metadata || mst_value_tag(metadata) != MST_OBJECT)
        return false;
    const uint8_t *position = NULL, *element;
    const char *key;
    size_t length;
    while (mst_value_next_member(object, &position, &key, &length, &element)) {
        size_t i = 0, count = sizeof keys / sizeof *keys;
        while (i < count && (strlen(keys[i]) != length || memcmp(keys[i], key, length) != 0))
            i++;
        if (i == count)
            return false;
    }
    return true;
}

static void set_namespace(struct matcher *matcher, struct mst_span name)
{
    bool fits = name.length > 0 && name.length < sizeof matcher->namespace_;
    memcpy(matcher->namespace_, name.data, fits ? name.length : 0);
    matcher->namespace_[fits ? name.length : 0] = '\0';
    mst_bound_set_namespace(matcher->bound, fits ? matcher->namespace_ : NULL);
}

static int test(lua_State *L)
{
    struct matcher *matcher = luaL_checkudata(L, 1, MATCHER);
    size_t length;
    const char *text = luaL_checklstring(L, 2, &length);
    struct mst_error error = {0};
    if (!matcher->bound)
        return luaL_error(L, "the matcher is closed");
    mst_buffer_clear(&matcher->line);
    int code = mst_json_parse(matcher->parser, text, length, &line_limits, &matcher->line, &error);
    const uint8_t *value = (const uint8_t *)matcher->line.data;
    if (!code && mst_value_tag(value) != MST_OBJECT)
        code = mst_error_set(&error, MST_EJSON, "expected an object");
    if (code)
        return mst__lua_fail(L, &error);
    struct mst_identity identity = {0};
    const uint8_t *metadata = value;
    mst_bound_set_namespace(matcher->bound, NULL);
    if (is_record(value)) {
        metadata = mst_value_get(value, "metadata", 8);
        identity.id = text_of(value, "id");
        identity.gateway = text_of(value, "gateway");
        identity.registered_at = time_of(value, "registered_at");
        identity.updated_at = time_of(value, "updated_at");
        identity.expires_at = time_of(value, "expires_at");
        set_namespace(matcher, text_of(value, "namespace"));
    }
    bool matches = mst_bound_match(matcher->bound, &identity, metadata);
    if (mst_bound_failed(matcher->bound)) {
        mst_error_set(&error, MST_ENOMEM, "out of memory");
        return mst__lua_fail(L, &error);
    }
    lua_pushboolean(L, matches);
    return 1;
}

void mst__lua_open_match(lua_State *L)
{
    luaL_newmetatable(L, MATCHER);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, test);
    lua_setfield(L, -2, "test");
    lua_pop(L, 1);
    lua_pushcfunction(L, create);
    lua_setfield(L, -2, "matcher");
    lua_pushcfunction(L, mst_script_regex_check);
    lua_setfield(L, -2, "regex_check");
    lua_pushcfunction(L, mst_script_list_folder);
    lua_setfield(L, -2, "list_folder");
}
