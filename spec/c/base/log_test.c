// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"

static struct mst_buffer lines;
static uint64_t now;

static void keep(void *context, const char *line, size_t length)
{
    mst_buffer_append(context, line, length);
}

static uint64_t fake_clock(void)
{
    return now;
}

static struct mst_log *open_log(enum mst_log_level level, bool json)
{
    mst_buffer_clear(&lines);
    struct mst_log *log = mst_log_create(level, json);
    mst_log_set_sink(log, keep, &lines);
    mst_log_set_clock(log, fake_clock);
    return log;
}

/* The last line without its time, as a C string. */
static const char *text_of(void)
{
    mst_buffer_append_byte(&lines, '\0');
    lines.length--;
    const char *level = strstr(lines.data, "level=");
    return level ? level : strstr(lines.data, "\"level\"");
}

static unsigned count_lines(void)
{
    unsigned count = 0;
    for (size_t i = 0; i < lines.length; i++)
        count += lines.data[i] == '\n';
    return count;
}

static void a_line_of_logfmt(void **state)
{
    (void)state;
    struct mst_log *log = open_log(MST_LOG_INFO, false);
    mst_log_write(log, MST_LOG_WARN, "redis", "redis connection lost", "addr", "127.0.0.1:6379", "none",
                  (const char *)NULL, "retry_in", "250ms", "empty", "", NULL);
    assert_string_equal(text_of(), "level=warn msg=\"redis connection lost\" component=redis addr=127.0.0.1:6379 "
                                   "retry_in=250ms empty=\"\"\n");
    int year, month, day, hour, minute, second, milli, end = 0;
    assert_int_equal(sscanf(lines.data, "ts=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day, &hour, &minute,
                            &second, &milli, &end),
                     7);
    assert_int_equal(end, 28);
    mst_log_destroy(log);
}

static void a_line_of_json(void **state)
{
    (void)state;
    struct mst_log *log = open_log(MST_LOG_DEBUG, true);
    mst_log_write(log, MST_LOG_ERROR, "nats", "said \"no\"", "why", "a\\b\nc\x01", NULL);
    assert_string_equal(text_of(), "\"level\":\"error\",\"msg\":\"said \\\"no\\\"\",\"component\":\"nats\","
                                   "\"why\":\"a\\\\b\\nc\\u0001\"}\n");
    assert_memory_equal(lines.data, "{\"ts\":\"", 7);
    mst_log_destroy(log);
}

static void no_value_forges_a_line_or_a_pair(void **state)
{
    (void)state;
    struct mst_log *log = open_log(MST_LOG_DEBUG, false);
    mst_log_write(log, MST_LOG_INFO, "c", "x", "a", "1\nlevel=error", "b", "k=v", "c", "\"", "d",
                  "\x1B[2J\xC2\x85\xE2\x80\xA8", "e", "\xFF", "f g", "v", "h", ">", "i", "\xC3\xA4", NULL);
    assert_string_equal(text_of(),
                        "level=info msg=x component=c a=\"1\\nlevel=error\" b=\"k=v\" c=\"\\\"\" "
                        "d=\"\\u001b[2J\\u0085\\u2028\" e=\"\xEF\xBF\xBD\" invalid_key=v h=> i=\"\xC3\xA4\"\n");
    mst_log_destroy(log);
}

static void a_long_value_is_cut(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    struct mst_log *log = open_log(MST_LOG_DEBUG, false);
    mst_log_write(log, MST_LOG_INFO, "c", "x", "a", text, "b", "1", NULL);
    assert_true(lines.length > 2048 && lines.length < 2200);
    assert_non_null(strstr(text_of(), "xxx...\" b=1\n"));
    mst_log_destroy(log);
}

static void levels(void **state)
{
    (void)state;
    struct mst_log *log = open_log(MST_LOG_WARN, false);
    mst_log_write(log, MST_LOG_INFO, "c", "x", NULL);
    mst_log_write(log, MST_LOG_OFF, "c", "x", NULL);
    mst_log_write(NULL, MST_LOG_ERROR, "c", "x", NULL);
    assert_int_equal(count_lines(), 0);
    assert_false(mst_log_enabled(log, MST_LOG_INFO));
    assert_true(mst_log_enabled(log, MST_LOG_WARN));
    assert_false(mst_log_enabled(NULL, MST_LOG_ERROR));
    mst_log_destroy(log);
    mst_log_destroy(NULL);
    assert_int_equal(mst_log_level_parse("debug"), MST_LOG_DEBUG);
    assert_int_equal(mst_log_level_parse("off"), MST_LOG_OFF);
    assert_int_equal(mst_log_level_parse("WARN"), -1);
    assert_int_equal(mst_log_level_parse(""), -1);
}

static void repeats_are_limited_and_counted(void **state)
{
    (void)state;
    struct mst_log *log = open_log(MST_LOG_INFO, false);
    now = UINT64_C(1000000000000);
    for (int i = 0; i < 25; i++)
        mst_log_write(log, MST_LOG_WARN, "c", "again", NULL);
    assert_int_equal(count_lines(), 10);
    mst_log_write(log, MST_LOG_INFO, "c", "again", NULL); /* another level has its own count */
    mst_log_write(log, MST_LOG_WARN, "c", "other", NULL);
    assert_int_equal(count_lines(), 12);
    assert_null(strstr(text_of(), "suppressed"));
    now += UINT64_C(9999999999);
    mst_log_write(log, MST_LOG_WARN, "c", "again", NULL);
    assert_int_equal(count_lines(), 12);
    now += 1;
    mst_buffer_clear(&lines);
    mst_log_write(log, MST_LOG_WARN, "c", "again", NULL);
    assert_string_equal(text_of(), "level=warn msg=again component=c suppressed=16\n");
    mst_buffer_clear(&lines);
    mst_log_write(log, MST_LOG_WARN, "c", "again", NULL);
    assert_string_equal(text_of(), "level=warn msg=again component=c\n");
    mst_log_destroy(log);
}

static void many_different_messages_all_pass(void **state)
{
    (void)state;
    struct mst_log *log = open_log(MST_LOG_INFO, false);
    for (int i = 0; i < 1000; i++) {
        char message[32];
        snprintf(message, sizeof message, "message %d", i);
        now++;
        mst_log_write(log, MST_LOG_INFO, "c", message, NULL);
    }
    assert_int_equal(count_lines(), 1000);
    mst_log_destroy(log);
}

static void *write_many(void *log)
{
    for (int i = 0; i < 200; i++) {
        char message[32];
        snprintf(message, sizeof message, "m%d", i);
        mst_log_write(log, MST_LOG_INFO, "thread", message, "k", "v v", NULL);
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    struct mst_log *log = open_log(MST_LOG_INFO, false);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, log), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count_lines(), 800);
    text_of();
    for (const char *line = lines.data; *line; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n');
        assert_memory_equal(line, "ts=", 3);
        assert_memory_equal(end - 7, "k=\"v v\"", 7);
    }
    mst_log_destroy(log);
}

/* Standard error becomes a pipe for one line; `journal` says whether $JOURNAL_STREAM names it. */
static size_t line_on_stderr(bool journal, char *line, size_t room)
{
    int ends[2], saved = dup(STDERR_FILENO);
    struct stat file;
    char stream[64];
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    fstat(STDERR_FILENO, &file);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)file.st_dev,
             (unsigned long long)file.st_ino + !journal);
    setenv("JOURNAL_STREAM", stream, 1);
    struct mst_log *log = mst_log_create(MST_LOG_INFO, false);
    mst_log_write(log, MST_LOG_WARN, "c", "x", NULL);
    mst_log_destroy(log);
    dup2(saved, STDERR_FILENO);
    unsetenv("JOURNAL_STREAM");
    ssize_t got = read(ends[0], line, room - 1);
    close(ends[0]);
    close(ends[1]);
    close(saved);
    line[got < 0 ? 0 : got] = '\0';
    return got < 0 ? 0 : (size_t)got;
}

static void the_journal_gets_priorities_and_no_time(void **state)
{
    (void)state;
    char line[256];
    line_on_stderr(true, line, sizeof line);
    assert_string_equal(line, "<4>level=warn msg=x component=c\n");
    line_on_stderr(false, line, sizeof line);
    assert_memory_equal(line, "ts=", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_logfmt),
        cmocka_unit_test(a_line_of_json),
        cmocka_unit_test(no_value_forges_a_line_or_a_pair),
        cmocka_unit_test(a_long_value_is_cut),
        cmocka_unit_test(levels),
        cmocka_unit_test(repeats_are_limited_and_counted),
        cmocka_unit_test(many_different_messages_all_pass),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(the_journal_gets_priorities_and_no_time),
    };
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    mst_buffer_deinit(&lines);
    return status;
}
