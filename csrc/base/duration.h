// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Durations and times as people write them.
 *
 * Duration: a number of seconds ("90", "0.5"), or numbers with units "ns us ms s m h d w" in any number and order
 * ("1h30m", "250ms"). Time: RFC 3339 or a date ("2025-10-09T12:00:00Z", "2025-10-09"), leap seconds refused.
 */
#include <stddef.h>
#include <stdint.h>

/* Parses a duration to nanoseconds. MST_EINVAL or MST_ERANGE (negative, or over 292 years). */
int mst_duration_parse(const char *text, size_t length, uint64_t *nanoseconds);

/* Parses a time to Unix microseconds. MST_EINVAL. */
int mst_time_parse(const char *text, size_t length, int64_t *microseconds);
