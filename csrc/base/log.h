// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Log lines as logfmt or JSON: `ts=... level=warn msg="redis connection lost" component=redis class=connection`.
 *
 * A `struct mst_log` belongs to one host. Lines go to a sink (default: standard error), complete with newline, from any
 * thread. Values are escaped so that no value can forge a line, and cut at 2048 bytes. The same message at the same
 * level is limited to 10 lines in 10 seconds; what was left out is counted in the next line as `suppressed=N`.
 *
 * Where standard error is the systemd journal ($JOURNAL_STREAM), lines to it start with a priority ("<4>") and have no
 * time, because the journal keeps its own.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mst_log_level { MST_LOG_DEBUG, MST_LOG_INFO, MST_LOG_WARN, MST_LOG_ERROR, MST_LOG_OFF };

/* Called with the log locked: it must not log to the same log. The line is borrowed. */
typedef void mst_log_sink(void *context, const char *line, size_t length);

struct mst_log;

struct mst_log *mst_log_create(enum mst_log_level level, bool json);
void mst_log_destroy(struct mst_log *log);

/* NULL: standard error. */
void mst_log_set_sink(struct mst_log *log, mst_log_sink *sink, void *context);

/* Replaces the monotonic clock that the limit on repeated lines reads; for tests. */
void mst_log_set_clock(struct mst_log *log, uint64_t (*monotonic)(void));

bool mst_log_enabled(const struct mst_log *log, enum mst_log_level level);

/* -1 where the name is no level. Names: debug info warn error off. */
int mst_log_level_parse(const char *name);

/*
 * One line. After `message` come pairs of key (const char *) and value (const char *), ended by NULL; a NULL value
 * leaves its pair out. `log` may be NULL.
 */
void mst_log_write(struct mst_log *log, enum mst_log_level level, const char *component, const char *message, ...)
    __attribute__((sentinel));
