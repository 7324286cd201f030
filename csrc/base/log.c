// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/utf8.h"

#define VALUE_MAX 2048u
#define KINDS 128u /* different messages whose rate is watched at a time */
#define LINES_MAX 10u
#define WINDOW_NS (10 * MST_NS_PER_SECOND)

/* One message at one level, known by the hash of both. */
struct kind {
    uint64_t hash;
    uint64_t since; /* start of the window, monotonic */
    uint32_t lines, suppressed;
};

struct mst_log {
    enum mst_log_level level;
    bool json, journal;
    pthread_mutex_t mutex; /* guards all below */
    mst_log_sink *sink;    /* NULL: standard error */
    void *context;
    uint64_t (*monotonic)(void);
    struct mst_buffer line;
    uint32_t kinds_used;
    struct kind kinds[KINDS];
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

static bool stderr_is_journal(void)
{
    unsigned long long device, inode;
    struct stat file;
    const char *stream = getenv("JOURNAL_STREAM");
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &file) == 0 &&
           file.st_dev == device && file.st_ino == inode;
}

struct mst_log *mst_log_create(enum mst_log_level level, bool json)
{
    struct mst_log *log = calloc(1, sizeof *log);
    if (!log)
        return NULL;
    if (pthread_mutex_init(&log->mutex, NULL) != 0) {
        free(log);
        return NULL;
    }
    log->level = level;
    log->json = json;
    log->journal = stderr_is_journal();
    log->monotonic = mst_clock_monotonic;
    return log;
}

void mst_log_destroy(struct mst_log *log)
{
    if (!log)
        return;
    pthread_mutex_destroy(&log->mutex);
    mst_buffer_deinit(&log->line);
    free(log);
}

void mst_log_set_sink(struct mst_log *log, mst_log_sink *sink, void *context)
{
    pthread_mutex_lock(&log->mutex);
    log->sink = sink;
    log->context = context;
    pthread_mutex_unlock(&log->mutex);
}

void mst_log_set_clock(struct mst_log *log, uint64_t (*monotonic)(void))
{
    pthread_mutex_lock(&log->mutex);
    log->monotonic = monotonic;
    pthread_mutex_unlock(&log->mutex);
}

bool mst_log_enabled(const struct mst_log *log, enum mst_log_level level)
{
    return log && level >= log->level && level < MST_LOG_OFF;
}

int mst_log_level_parse(const char *name)
{
    for (int i = 0; i <= MST_LOG_OFF; i++)
        if (strcmp(level_names[i], name) == 0)
            return i;
    return -1;
}

/* C0, DEL and C1 steer terminals; U+2028 and U+2029 break lines in some readers. */
static bool harmful(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0x2028 || point == 0x2029;
}

static void put_escaped(struct mst_buffer *line, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        uint32_t point = 0xFFFD;
        unsigned size = mst_utf8_decode(text + at, length - at, &point);
        if (size == 0)
            mst_buffer_append_string(line, "\xEF\xBF\xBD");
        else if (point == '"' || point == '\\')
            mst_buffer_appendf(line, "\\%c", (int)point);
        else if (point == '\n')
            mst_buffer_append_string(line, "\\n");
        else if (point == '\t')
            mst_buffer_append_string(line, "\\t");
        else if (harmful(point))
            mst_buffer_appendf(line, "\\u%04x", (unsigned)point);
        else
            mst_buffer_append(line, text + at, size);
        at += size ? size : 1;
    }
}

static void put_quoted(struct mst_buffer *line, const char *text)
{
    size_t length = strnlen(text, VALUE_MAX + 1), kept = mst_utf8_cut(text, length, VALUE_MAX);
    mst_buffer_append_byte(line, '"');
    put_escaped(line, text, kept);
    if (kept < length)
        mst_buffer_append_string(line, "...");
    mst_buffer_append_byte(line, '"');
}

/* What logfmt readers take without quotes. */
static bool is_plain(const char *text)
{
    const char *at = text;
    while (*at > ' ' && *at < 0x7F && *at != '"' && *at != '=' && *at != '\\')
        at++;
    return *at == '\0' && at > text && at - text <= (long)VALUE_MAX;
}

static void put_key(struct mst_log *log, const char *key)
{
    struct mst_buffer *line = &log->line;
    if (log->json) {
        mst_buffer_append_byte(line, line->length == 0 ? '{' : ',');
        put_quoted(line, key);
        mst_buffer_append_byte(line, ':');
        return;
    }
    if (line->length > 0)
        mst_buffer_append_byte(line, ' ');
    if (is_plain(key))
        mst_buffer_append_string(line, key);
    else
        mst_buffer_append_string(line, "invalid_key");
    mst_buffer_append_byte(line, '=');
}

static void put_pair(struct mst_log *log, const char *key, const char *value)
{
    if (!value)
        return;
    put_key(log, key);
    if (!log->json && is_plain(value))
        mst_buffer_append_string(&log->line, value);
    else
        put_quoted(&log->line, value);
}

static void put_time(struct mst_log *log)
{
    int64_t now = mst_clock_wall();
    time_t seconds = (time_t)(now / 1000);
    struct tm date;
    char text[48];
    gmtime_r(&seconds, &date);
    size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &date);
    snprintf(text + length, sizeof text - length, ".%03dZ", (int)(now % 1000));
    put_pair(log, "ts", text);
}

/* The kind of a message; a new one takes the place of the one whose window is oldest. */
static struct kind *find_kind(struct mst_log *log, uint64_t hash)
{
    struct kind *oldest = &log->kinds[0];
    for (uint32_t i = 0; i < log->kinds_used; i++) {
        if (log->kinds[i].hash == hash)
            return &log->kinds[i];
        if (log->kinds[i].since < oldest->since)
            oldest = &log->kinds[i];
    }
    struct kind *kind = log->kinds_used < KINDS ? &log->kinds[log->kinds_used++] : oldest;
    *kind = (struct kind){.hash = hash};
    return kind;
}

/* Whether a line may be written now, and how many like it were not since the last one. */
static bool admit(struct mst_log *log, enum mst_log_level level, const char *message, uint32_t *suppressed)
{
    uint64_t now = log->monotonic();
    struct kind *kind = find_kind(log, XXH3_64bits_withSeed(message, strlen(message), (uint64_t)level));
    if (kind->lines == 0 || now - kind->since >= WINDOW_NS) {
        kind->since = now;
        kind->lines = 0;
    }
    if (kind->lines == LINES_MAX) {
        kind->suppressed++;
        return false;
    }
    kind->lines++;
    *suppressed = kind->suppressed;
    kind->suppressed = 0;
    return true;
}

/* Lines that standard error does not take are lost: a log must not stop its program. */
static void write_stderr(const char *line, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, line, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line += written;
        length -= (size_t)written;
    }
}

static void put_head(struct mst_log *log, enum mst_log_level level, const char *component, const char *message)
{
    static const char *const priorities[] = {"<7>", "<6>", "<4>", "<3>"};
    bool journal = log->journal && !log->sink;
    mst_buffer_clear(&log->line);
    if (!journal)
        put_time(log);
    put_pair(log, "level", level_names[level]);
    put_pair(log, "msg", message);
    put_pair(log, "component", component);
    if (!journal)
        return;
    /* In front afterwards, so that the first key stays the one at offset 0. */
    mst_buffer_append(&log->line, priorities[level], 3);
    if (log->line.failed)
        return;
    memmove(log->line.data + 3, log->line.data, log->line.length - 3);
    memcpy(log->line.data, priorities[level], 3);
}

static void put_tail(struct mst_log *log, uint32_t suppressed)
{
    if (suppressed) {
        put_key(log, "suppressed");
        mst_buffer_append_u64(&log->line, suppressed);
    }
    mst_buffer_append_string(&log->line, log->json ? "}\n" : "\n");
}

/* A line that found no memory is lost. */
static void send_line(const struct mst_log *log)
{
    if (log->line.failed)
        return;
    if (log->sink)
        log->sink(log->context, log->line.data, log->line.length);
    else
        write_stderr(log->line.data, log->line.length);
}

void mst_log_write(struct mst_log *log, enum mst_log_level level, const char *component, const char *message, ...)
{
    if (!mst_log_enabled(log, level))
        return;
    int saved = errno;
    uint32_t suppressed;
    va_list pairs;
    va_start(pairs, message);
    pthread_mutex_lock(&log->mutex);
    if (admit(log, level, message, &suppressed)) {
        put_head(log, level, component, message);
        for (const char *key = va_arg(pairs, const char *); key; key = va_arg(pairs, const char *))
            put_pair(log, key, va_arg(pairs, const char *));
        put_tail(log, suppressed);
        send_line(log);
    }
    pthread_mutex_unlock(&log->mutex);
    va_end(pairs);
    errno = saved;
}
