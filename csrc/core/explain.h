// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What explain knows beyond the verdicts of clauses; for verb_explain.c. */
#include <stdint.h>

#include "core/coordinator_internal.h"

/* The names of the fields that identities have, as filters spell them; of a sample where there are many identities. */
struct mst__field_names {
    struct mst_map *known;
    char **texts; /* owned */
    uint32_t count, capacity;
};

/* MST_ENOMEM. To be deinitialised in both cases. */
int mst__field_names_init(struct mst__field_names *names, const struct mst_view *view);
void mst__field_names_deinit(struct mst__field_names *names);

/*
 * The field that was meant by a path that leads nowhere: the same name elsewhere, or one that is spelled nearly so.
 * Appends it to `out`, or nothing.
 */
void mst__field_names_suggest(const struct mst__field_names *names, struct mst_span path, struct mst_buffer *out);

/* The plan of a filter, and how often its clauses had nothing to look at. */
struct mst__plan_report {
    struct mst_step *steps; /* owned; texts borrowed from query and view */
    uint64_t *only_missing; /* owned; by step: matches whose negated clause has no value */
    uint32_t count;
    uint64_t any_missing; /* matches with such a clause */
};

/* `set`: what matched. MST_ENOMEM. To be deinitialised in both cases. */
int mst__plan_report_init(struct mst__plan_report *report, struct mst__call *call, struct mst__query *query,
                          bool analyze);
int mst__plan_report_count_missing(struct mst__plan_report *report, struct mst__call *call,
                                   const struct mst_rowset *set);
void mst__plan_report_deinit(struct mst__plan_report *report);

/* Appends ,"plan":[..] and what belongs to it. */
void mst__plan_report_put(const struct mst__plan_report *report, bool analyze, struct mst_buffer *out);

/* Appends warnings about fields that nobody has to a JSON array that is still open; `first`: it is empty so far. */
int mst__plan_report_warn(const struct mst__plan_report *report, struct mst__call *call, bool first);
