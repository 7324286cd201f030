// SPDX-License-Identifier: Apache-2.0
#include "script/compiler.h"

#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "match/program.h"
#include "script/state.h"

#define FOLDER_MAX 10000 /* entries that are looked at */

struct mst_script_compiler {
    lua_State *L;
    int text, json; /* references of the two compile functions */
    int options;    /* reference of the options table they get */
};

int mst_script_regex_check(lua_State *L)
{
    size_t length;
    const char *pattern = luaL_checklstring(L, 1, &length);
    struct mst_error error = {0};
    if (mst_regex_check(pattern, length, &error) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, error.message);
    if (!error.has_position)
        return 2;
    lua_pushinteger(L, error.offset);
    return 3;
}

int mst_script_list_folder(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_newtable(L); /* before the folder is open, because it may throw */
    DIR *folder = opendir(path);
    if (!folder) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(errno));
        return 2;
    }
    int count = 0;
    // cppcheck-suppress readdirCalled ; nobody else has this stream
    for (const struct dirent *entry; count < FOLDER_MAX && (entry = readdir(folder));) {
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, ++count);
    }
    closedir(folder);
    return 1;
}

int mst_script_compiler_create(struct mst_script_compiler **compiler, struct mst_error *error)
{
    struct mst_script_compiler *self = calloc(1, sizeof *self);
    if (!self)
        return mst_error_set(error, MST_ENOMEM, "no memory for the filter compiler");
    int code = MST_ENOMEM;
    self->L = mst_script_open(error);
    if (!self->L)
        goto fail;
    lua_State *L = self->L;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "muster.filter");
    code = mst_script_call(L, 1, 1, error);
    if (code)
        goto fail;
    lua_getfield(L, -1, "compile");
    self->text = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, -1, "compile_json");
    self->json = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_pushcfunction(L, mst_script_regex_check);
    lua_setfield(L, -2, "regex_check");
    self->options = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 0);
    *compiler = self;
    return 0;
fail:
    mst_script_compiler_destroy(self);
    return code;
}

void mst_script_compiler_destroy(struct mst_script_compiler *compiler)
{
    if (!compiler)
        return;
    if (compiler->L)
        lua_close(compiler->L);
    free(compiler);
}

static uint32_t number_field(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    lua_Number number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number > 0 && number < 4294967296.0 ? (uint32_t)number : 0;
}

/* Stack: nil, message, code, detail at `base`+1 .. */
static int take_error(lua_State *L, int base, struct mst_error *error)
{
    const char *message = lua_tostring(L, base + 2);
    if (lua_istable(L, base + 4)) {
        lua_getfield(L, base + 4, "message");
        if (lua_type(L, -1) == LUA_TSTRING)
            message = lua_tostring(L, -1); /* stays anchored in the detail table */
        lua_pop(L, 1);
    }
    mst_error_set(error, MST_EFILTER, "%s", message ? message : "invalid filter");
    if (!error || !lua_istable(L, base + 4))
        return MST_EFILTER;
    lua_getfield(L, base + 4, "line");
    error->has_position = lua_isnumber(L, -1);
    lua_pop(L, 1);
    error->line = number_field(L, base + 4, "line");
    error->column = number_field(L, base + 4, "column");
    error->offset = number_field(L, base + 4, "offset");
    lua_getfield(L, base + 4, "hint");
    if (lua_type(L, -1) == LUA_TSTRING)
        mst_error_hint(error, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return MST_EFILTER;
}

static void take_warnings(lua_State *L, int table, struct mst_buffer *warnings)
{
    mst_buffer_append_byte(warnings, '[');
    lua_getfield(L, table, "warnings");
    int count = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        size_t length;
        const char *text = lua_tolstring(L, -1, &length);
        if (i > 1)
            mst_buffer_append_byte(warnings, ',');
        mst_json_put_string(warnings, text ? text : "", text ? length : 0);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    mst_buffer_append_byte(warnings, ']');
}

/* Runs a job in protection: not even pushing an argument may throw outside. */
static int protect(struct mst_script_compiler *self, lua_CFunction function, void *job, int *code,
                   struct mst_error *error)
{
    int status = lua_cpcall(self->L, function, job);
    if (status) {
        const char *text =
            status != LUA_ERRMEM && lua_type(self->L, -1) == LUA_TSTRING ? lua_tostring(self->L, -1) : "";
        *code = mst_error_set(error, status == LUA_ERRMEM ? MST_ENOMEM : MST_EINTERNAL, "filter compiler: %s", text);
    }
    lua_settop(self->L, 0);
    return *code;
}

struct job {
    struct mst_script_compiler *self;
    struct mst_span source;
    bool json;
    struct mst_buffer *program, *warnings;
    struct mst_error *error;
    int code;
};

/* Runs inside a protected call, because every Lua call that allocates may throw. */
static int run(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->json ? job->self->json : job->self->text);
    lua_pushlstring(L, job->source.data, job->source.length);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->self->options);
    int base = lua_gettop(L) - 3;
    lua_call(L, 2, 4);
    if (!lua_istable(L, base + 1)) {
        job->code = take_error(L, base, job->error);
        return 0;
    }
    lua_getfield(L, base + 1, "program");
    size_t length;
    const char *bytes = lua_tolstring(L, -1, &length);
    if (!bytes) {
        job->code = mst_error_set(job->error, MST_EINTERNAL, "the filter compiler gave no program");
        return 0;
    }
    mst_buffer_append(job->program, bytes, length);
    lua_pop(L, 1);
    if (job->warnings)
        take_warnings(L, base + 1, job->warnings);
    return 0;
}

static int compile(void *context, struct mst_span source, bool json, struct mst_buffer *program,
                   struct mst_buffer *warnings, struct mst_error *error)
{
    struct mst_script_compiler *self = context;
    struct job job = {self, source, json, program, warnings, error, 0};
    protect(self, run, &job, &job.code, error);
    if (!job.code && (program->failed || (warnings && warnings->failed)))
        job.code = mst_error_set(error, MST_ENOMEM, "no memory for a filter");
    return job.code;
}

/* Named filters */

struct load {
    struct mst_script_compiler *self;
    const char *folder; /* NULL: to none */
    struct mst_error *error;
    int code;
};

/* Stack: nil, problems. The first of them, and how many more there are. */
static int take_problems(lua_State *L, struct mst_error *error)
{
    int problems = lua_gettop(L), count = (int)lua_objlen(L, problems);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "muster.filter.library");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "line");
    lua_rawgeti(L, problems, 1);
    lua_call(L, 1, 1);
    const char *text = lua_tostring(L, -1);
    mst_error_set(error, MST_ECONFIG, "%s", text ? text : "the filters cannot be loaded");
    if (count > 1)
        mst_error_hint(error, "and %d more", count - 1);
    return MST_ECONFIG;
}

static int load(lua_State *L)
{
    struct load *job = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->self->options);
    int options = lua_gettop(L);
    if (!job->folder) {
        lua_pushnil(L);
        lua_setfield(L, options, "named");
        return 0;
    }
    lua_getglobal(L, "require");
    lua_pushliteral(L, "muster.filter.library");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_pushstring(L, job->folder);
    lua_pushcfunction(L, mst_script_list_folder);
    lua_pushvalue(L, options);
    lua_call(L, 3, 2);
    if (lua_isnil(L, -2)) {
        job->code = take_problems(L, job->error);
        return 0;
    }
    lua_getfield(L, -2, "named");
    lua_setfield(L, options, "named");
    return 0;
}

int mst_script_compiler_load(struct mst_script_compiler *compiler, const char *folder, struct mst_error *error)
{
    struct load job = {compiler, folder, error, 0};
    return protect(compiler, load, &job, &job.code, error);
}

struct listing {
    struct mst_script_compiler *self;
    struct mst_buffer *out;
    int code;
};

static int list_named(lua_State *L)
{
    struct listing *job = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "muster.filter.library");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "list_json");
    lua_rawgeti(L, LUA_REGISTRYINDEX, job->self->options);
    lua_getfield(L, -1, "named");
    lua_remove(L, -2);
    lua_call(L, 1, 1);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    mst_buffer_append(job->out, text ? text : "[]", text ? length : 2);
    return 0;
}

static int list(void *context, struct mst_buffer *out, struct mst_error *error)
{
    struct listing job = {context, out, 0};
    return protect(context, list_named, &job, &job.code, error);
}

struct mst_compiler mst_script_compiler_slot(struct mst_script_compiler *compiler)
{
    return (struct mst_compiler){compiler, compile, list};
}
