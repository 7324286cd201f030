// SPDX-License-Identifier: Apache-2.0
/* A put that finds no memory changes nothing. Sanitizers bring an allocator of their own; the test is skipped there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "model/json.h"
#include "model/value.h"
#include "view/view.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_FAIL 1

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

/* Allocations until one fails, which then repeats; negative: none does. */
static long countdown = -1;

static bool refused(void)
{
    if (countdown < 0)
        return false;
    if (countdown > 0) {
        countdown--;
        return false;
    }
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return refused() ? NULL : __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refused() ? NULL : __libc_memalign(alignment, size);
}
#else
#define CAN_FAIL 0
static long countdown;
#endif

struct fixture {
    struct mst_json_parser *parser;
    struct mst_view *view;
    struct mst_column *columns[3];
    struct mst_buffer document;
    uint64_t revision;
};

static void open_fixture(struct fixture *f)
{
    static const char *const names[] = {"n", "list", "same"};
    *f = (struct fixture){0};
    f->parser = mst_json_parser_create();
    f->view = mst_view_create("t", f->parser);
    for (int i = 0; i < 3; i++) {
        struct mst_path path = {.count = 1, .steps = {{names[i], (uint32_t)strlen(names[i]), -1}}};
        f->columns[i] = mst_view_column(f->view, &path);
        assert_non_null(f->columns[i]);
    }
}

static void close_fixture(struct fixture *f)
{
    mst_view_destroy(f->view);
    mst_json_parser_destroy(f->parser);
    mst_buffer_deinit(&f->document);
}

/* Puts identity `id` with values made of `number`; the failing allocation is armed only around the put itself. */
static int put(struct fixture *f, unsigned id, unsigned number, long fail_after)
{
    char name[20], gateway[20], metadata[100];
    struct mst_json_limits limits = {.bytes = 1000, .depth = 9};
    struct mst_identity identity = {.revision = f->revision + 1, .expires_at = 5};
    identity.id = (struct mst_span){name, (size_t)sprintf(name, "d%u", id)};
    identity.gateway = (struct mst_span){gateway, (size_t)sprintf(gateway, "g%u", number)};
    identity.metadata =
        (struct mst_span){metadata, (size_t)sprintf(metadata, "{\"n\":%u,\"list\":[%u],\"same\":1}", number, number)};
    mst_buffer_clear(&f->document);
    assert_int_equal(mst_json_parse(f->parser, metadata, identity.metadata.length, &limits, &f->document, NULL), 0);
    countdown = fail_after;
    int status = mst_view_put(f->view, &identity, (const uint8_t *)f->document.data, NULL);
    countdown = -1;
    if (status == 0)
        f->revision++;
    return status;
}

/* Every reference is held by a row, and every row says what it was given. */
static void check(struct fixture *f, const unsigned *numbers, unsigned count)
{
    assert_int_equal(mst_view_count(f->view), count);
    assert_int_equal(mst_view_row_limit(f->view), count);
    assert_int_equal(mst_view_revision(f->view), f->revision);
    for (int i = 0; i < 3; i++) {
        uint32_t rows = 0;
        for (uint32_t code = 1; code <= mst_column_codes(f->columns[i]); code++)
            rows += mst_column_rows(f->columns[i], code);
        assert_int_equal(rows, count);
    }
    for (uint32_t row = 0; row < count; row++) {
        char gateway[20];
        struct mst_identity identity;
        uint8_t cell[16];
        const uint8_t *value = mst_column_row_value(f->columns[0], row, cell);
        assert_int_equal(mst_value_int(value), numbers[row]);
        mst_view_identity(f->view, row, &identity);
        assert_int_equal(identity.gateway.length, sprintf(gateway, "g%u", numbers[row]));
        assert_memory_equal(identity.gateway.data, gateway, identity.gateway.length);
    }
}

/* Repeats one put with every allocation failing in turn until it succeeds. Returns how often it failed. */
static unsigned put_in_the_end(struct fixture *f, unsigned id, unsigned *numbers, unsigned *count)
{
    unsigned number = (unsigned)f->revision + 1;
    long fail_after = 0;
    while (put(f, id, number, fail_after) < 0) {
        if (id < 300 || id % 500 == 0)
            check(f, numbers, *count);
        fail_after++;
        assert_true(fail_after < 100);
    }
    numbers[id] = number;
    *count = id >= *count ? id + 1 : *count;
    return (unsigned)fail_after;
}

static void test_puts_without_memory_change_nothing(void **state)
{
    (void)state;
    static unsigned numbers[5000];
    unsigned count = 0, failures = 0;
    struct fixture f;
    if (!CAN_FAIL)
        skip();
    open_fixture(&f);
    for (unsigned id = 0; id < 5000; id++)
        failures += put_in_the_end(&f, id, numbers, &count);
    check(&f, numbers, count);
    for (unsigned id = 0; id < 300; id++)
        failures += put_in_the_end(&f, id, numbers, &count);
    check(&f, numbers, count);
    assert_true(failures > 1000);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_puts_without_memory_change_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
