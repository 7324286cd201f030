// SPDX-License-Identifier: Apache-2.0
#include "sqlite.h"

#include "bench.h"

#ifdef MUSTER_BENCH_SQLITE

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLES 2u

static const char *const tables[TABLES] = {"plain", "indexed"};

struct bench_sqlite {
    sqlite3 *database;
    sqlite3_stmt *insert[TABLES];
    char *out;
    const char *condition; /* of the last run, and which table was better for it */
    enum bench_sqlite_what what;
    unsigned best;
};

static void execute(struct bench_sqlite *rival, const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(rival->database, text, NULL, NULL, &message) != SQLITE_OK)
        bench_die("sqlite: %s: %s", text, message);
}

static sqlite3_stmt *prepare(struct bench_sqlite *rival, const char *text)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(rival->database, text, -1, &statement, NULL) != SQLITE_OK)
        bench_die("sqlite: %s: %s", text, sqlite3_errmsg(rival->database));
    return statement;
}

bool bench_sqlite_present(void)
{
    return true;
}

struct bench_sqlite *bench_sqlite_open(void)
{
    struct bench_sqlite *rival = calloc(1, sizeof *rival);
    char text[400];
    if (!rival || sqlite3_open(":memory:", &rival->database) != SQLITE_OK)
        bench_die("sqlite: cannot open a database in memory");
    rival->out = malloc(32u << 20);
    if (!rival->out)
        bench_die("out of memory");
    for (unsigned i = 0; i < TABLES; i++) {
        snprintf(
            text, sizeof text,
            "CREATE TABLE %s (id TEXT, region TEXT, device_type TEXT, firmware_version TEXT, site TEXT, serial TEXT,"
            " battery_level REAL, last_seen INTEGER, maintenance INTEGER, metadata TEXT)",
            tables[i]);
        execute(rival, text);
        snprintf(text, sizeof text, "INSERT INTO %s VALUES (?,?,?,?,?,?,?,?,?,?)", tables[i]);
        rival->insert[i] = prepare(rival, text);
    }
    execute(rival, "BEGIN");
    return rival;
}

void bench_sqlite_add(struct bench_sqlite *rival, const struct sqlite_record *record)
{
    const char *texts[] = {record->id, record->region, record->device, record->firmware, record->site, record->serial};
    for (unsigned i = 0; i < TABLES; i++) {
        sqlite3_stmt *insert = rival->insert[i];
        for (int j = 0; j < 6; j++)
            sqlite3_bind_text(insert, j + 1, texts[j], -1, SQLITE_STATIC);
        sqlite3_bind_double(insert, 7, record->battery);
        sqlite3_bind_int64(insert, 8, record->last_seen);
        if (record->maintenance < 0)
            sqlite3_bind_null(insert, 9);
        else
            sqlite3_bind_int(insert, 9, record->maintenance);
        sqlite3_bind_text(insert, 10, record->metadata, -1, SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE)
            bench_die("sqlite: %s", sqlite3_errmsg(rival->database));
        sqlite3_reset(insert);
    }
}

void bench_sqlite_index(struct bench_sqlite *rival)
{
    static const char *const fields[] = {"region", "device_type",   "firmware_version", "site",
                                         "serial", "battery_level", "maintenance"};
    char text[200];
    execute(rival, "COMMIT");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        snprintf(text, sizeof text, "CREATE INDEX by_%s ON indexed (%s, id)", fields[i], fields[i]);
        execute(rival, text);
    }
    execute(rival, "ANALYZE");
}

static double run_on(struct bench_sqlite *rival, unsigned table, const char *condition, enum bench_sqlite_what what,
                     uint32_t *rows)
{
    static const char *const columns[] = {"count(*)", "id", "id, metadata"};
    char text[1000];
    snprintf(text, sizeof text, "SELECT %s FROM %s WHERE %s", columns[what], tables[table], condition);
    uint64_t before = bench_now();
    sqlite3_stmt *statement = prepare(rival, text);
    size_t length = 0;
    *rows = 0;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        if (what == BENCH_SQLITE_COUNT) {
            *rows = (uint32_t)sqlite3_column_int(statement, 0);
            continue;
        }
        const unsigned char *id = sqlite3_column_text(statement, 0);
        size_t size = (size_t)sqlite3_column_bytes(statement, 0);
        if (what == BENCH_SQLITE_IDS) {
            memcpy(rival->out + length, id, size);
            length += size;
        } else {
            const unsigned char *metadata = sqlite3_column_text(statement, 1);
            length += size + (size_t)sqlite3_column_bytes(statement, 1);
            if (!metadata)
                bench_die("sqlite: a row without metadata");
        }
        ++*rows;
    }
    sqlite3_finalize(statement);
    return (double)(bench_now() - before);
}

double bench_sqlite_run(struct bench_sqlite *rival, const char *condition, enum bench_sqlite_what what, uint32_t *rows)
{
    if (rival->condition != condition || rival->what != what) {
        double plain = run_on(rival, 0, condition, what, rows), indexed = run_on(rival, 1, condition, what, rows);
        rival->condition = condition;
        rival->what = what;
        rival->best = indexed < plain;
    }
    return run_on(rival, rival->best, condition, what, rows);
}

void bench_sqlite_close(struct bench_sqlite *rival)
{
    for (unsigned i = 0; i < TABLES; i++)
        sqlite3_finalize(rival->insert[i]);
    sqlite3_close(rival->database);
    free(rival->out);
    free(rival);
}

#else

bool bench_sqlite_present(void)
{
    return false;
}

struct bench_sqlite *bench_sqlite_open(void)
{
    bench_die("built without SQLite (Debian: libsqlite3-dev)");
}

void bench_sqlite_add(struct bench_sqlite *rival, const struct sqlite_record *record)
{
    (void)rival, (void)record;
}

void bench_sqlite_index(struct bench_sqlite *rival)
{
    (void)rival;
}

double bench_sqlite_run(struct bench_sqlite *rival, const char *condition, enum bench_sqlite_what what, uint32_t *rows)
{
    (void)rival, (void)condition, (void)what, (void)rows;
    return 0;
}

void bench_sqlite_close(struct bench_sqlite *rival)
{
    (void)rival;
}

#endif
