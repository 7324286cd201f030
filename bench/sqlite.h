// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * SQLite in memory as a rival of filters: one table with a column per field, and the same with an index per field that
 * also holds the id. Left out of the build where its headers are missing.
 */
#include <stdbool.h>
#include <stdint.h>

struct sqlite_record {
    const char *id, *region, *device, *firmware, *site, *serial, *metadata;
    double battery;
    int64_t last_seen;
    int maintenance; /* -1: none */
};

struct bench_sqlite;

/* False: this build is without SQLite. */
bool bench_sqlite_present(void);
struct bench_sqlite *bench_sqlite_open(void);
void bench_sqlite_add(struct bench_sqlite *rival, const struct sqlite_record *record);
void bench_sqlite_index(struct bench_sqlite *rival);
void bench_sqlite_close(struct bench_sqlite *rival);

enum bench_sqlite_what {
    BENCH_SQLITE_COUNT,
    BENCH_SQLITE_IDS,    /* copied */
    BENCH_SQLITE_RECORDS /* id and metadata, looked up but not copied */
};

/* Runs "SELECT <what> WHERE <condition>" on the better of the two tables for it. ns; `*rows` counts. */
double bench_sqlite_run(struct bench_sqlite *rival, const char *condition, enum bench_sqlite_what what, uint32_t *rows);
