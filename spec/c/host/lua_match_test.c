// SPDX-License-Identifier: Apache-2.0
/* A matcher that finds no memory says so. Sanitizers bring an allocator of their own; the test is skipped there. */
#include <errno.h>

#include "../match/builder.h"

#include <lauxlib.h>
#include <lua.h>

#include "host/lua_internal.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_FAIL 1

void *__libc_realloc(void *memory, size_t size);

static bool no_memory;

/* Only what buffers grow with; LuaJIT and the parser of JSON have other ways. */
void *realloc(void *memory, size_t size)
{
    if (!no_memory)
        return __libc_realloc(memory, size);
    errno = ENOMEM;
    return NULL;
}
#else
#define CAN_FAIL 0
static bool no_memory;
#endif

#define TEXT_LENGTH 100000u

/* lower(s) == "end" */
static void push_program(lua_State *L)
{
    struct builder b;
    builder_init(&b);
    add_leaf_node(&b, add_leaf(&b, MST_OP_EQ, "lower(s)", "=\"end\"", NULL));
    const struct mst_buffer *bytes = build(&b);
    lua_pushlstring(L, bytes->data, bytes->length);
    builder_deinit(&b);
}

/* Leaves a matcher at 1 and its method `test` at 2. */
static lua_State *open_matcher(void)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    lua_newtable(L);
    mst__lua_open_match(L);
    lua_getfield(L, 1, "matcher");
    lua_newtable(L);
    push_program(L);
    lua_setfield(L, -2, "program");
    lua_call(L, 1, 1);
    lua_replace(L, 1);
    lua_getfield(L, 1, "test");
    return L;
}

/* Tests {"KEY":"xxx.."}; the answers are behind what was on the stack. */
static void test(lua_State *L, char key, bool short_of_memory)
{
    char *line = malloc(TEXT_LENGTH + 40);
    assert_non_null(line);
    int length = snprintf(line, 40, "{\"%c\":\"", key);
    memset(line + length, 'x', TEXT_LENGTH);
    memcpy(line + length + TEXT_LENGTH, "\"}", 3);
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    lua_pushstring(L, line);
    free(line);
    no_memory = short_of_memory;
    lua_call(L, 2, 3);
    no_memory = false;
}

static void no_memory_is_no_answer(void **state)
{
    (void)state;
    if (!CAN_FAIL)
        skip();
    lua_State *L = open_matcher();
    test(L, 'o', false); /* the parser has what it needs from now on */
    assert_true(lua_isboolean(L, 3));
    test(L, 's', true);
    assert_true(lua_isnil(L, 3));
    assert_string_equal(lua_tostring(L, 5), "ENOMEM");
    test(L, 'o', true);
    assert_true(lua_isboolean(L, 3) && !lua_toboolean(L, 3));
    test(L, 's', false);
    assert_true(lua_isboolean(L, 3) && !lua_toboolean(L, 3));
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_memory_is_no_answer)};
    return cmocka_run_group_tests_name("lua_match", tests, NULL, NULL);
}
