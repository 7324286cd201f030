// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Filter programs: the flat form in which a compiled filter reaches C, its verifier, and its binding to one request.
 *
 * The compiler (lua/muster/filter) writes the bytes, this file trusts none of them: mst_program_load checks every
 * index, length and jump, so that a hostile program can be wrong but never harmful. What a program says never changes;
 * it may be shared by many requests of one thread, and keeps what they have worked out.
 *
 * Layout. All numbers little endian; `text` = u16 length, bytes.
 *
 *   header    "MSTP"  u8 version = 1  u8 flags = 0
 *             u16 paths  u16 constants  u16 parameters  u16 operands  u16 leaves  u16 nodes
 *   path      u8 root: 0 = document (or element inside any/all), 1 = built-in
 *             root 0: u8 steps (0..16), each: u8 0 text name | u8 1 u32 index
 *             root 1: u8 which: 0 @id 1 @namespace 2 @registered_at 3 @updated_at 4 @expires_at 5 @ttl 6 @age
 *   constant  u8 type, body:
 *               0 value      u32 length, one packed value (model/value.h), depth <= 16
 *               1 semver     text
 *               2 time       i64 Unix microseconds
 *               3 cidr       text
 *               4 regex      text (RE2 syntax, unanchored)
 *               5 like       text (`%` `_`, `\` escapes)
 *               6 glob       text
 *               7 types      u16 mask of type names: 1 string 2 number 4 integer 8 bool 16 null 32 array 64 object
 *   parameter text: its name ("s" of :s, "1" of $1)
 *   operand   u8 kind: 0 path, 1 constant, 2 parameter, 3 now()
 *             u8 function: 0 none 1 lower 2 upper 3 len 4 semver 5 time 6 distance (path only but for none)
 *             u16 index (path, constant or parameter; 0 for now)
 *             u8 terms (0..4), each: u8 sign (0 plus, 1 minus), u8 kind (1 constant, 2 parameter), u16 index:
 *                seconds added to a time, or numbers added to a number
 *             function 6 only: f64 latitude, f64 longitude
 *   leaf      u8 operation (enum mst_op), u8 reserved = 0, u16 left, u16 right, u16 third (operands; 0xffff = none)
 *             u16 first, u16 end: MST_OP_ANY and MST_OP_ALL, the nodes of the inner expression, else 0, 0
 *             text: the clause as canonical filter text, for explain; may be empty
 *   node      u8 kind: 0 leaf, 1 and, 2 or, 3 not, 4 true, 5 false;  u8 reserved = 0
 *             u16 leaf (kind 0, else 0)   u16 end: index just behind this node's subtree
 *
 * Nodes are in prefix order: the children of the node at i start at i+1, each child ends where the next starts, the
 * last child's end is the parent's end. `and`, `or` have one child or more, `not` exactly one. The top-level expression
 * is nodes 0 .. node[0].end; inner expressions of any/all lie behind it, each a tree of its own; they may hold leaves
 * with any/all in turn, whose ranges lie further behind. A program without nodes matches everything.
 *
 * Each inner expression belongs to one leaf, and that leaf to one node. Limits: 64 KiB in all, 1024 leaves, 4096 nodes
 * and entries of any other table, nesting 64 (inner expressions counted along), patterns of 1024 bytes, 64 regular
 * expressions.
 *
 * What a valid program may not ask for is refused as "not supported" (MST_EFILTER): a function or terms around the left
 * side of exists, type, any and all; a right side of another kind than listed at enum mst_op.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/identity.h"
#include "model/path.h"

enum mst_op {
    MST_OP_EQ,           /* left == right; a null constant or parameter means "missing or null" */
    MST_OP_LT,           /* left <  right */
    MST_OP_LE,           /* left <= right */
    MST_OP_GT,           /* left >  right */
    MST_OP_GE,           /* left >= right */
    MST_OP_BETWEEN,      /* right <= left <= third, for one candidate */
    MST_OP_IN,           /* left equals an element of right: array constant, parameter, or the arrays a path denotes */
    MST_OP_STARTSWITH,   /* strings */
    MST_OP_ENDSWITH,     /* strings */
    MST_OP_CONTAINS,     /* finals of left: substring of a string, element of an array */
    MST_OP_CONTAINS_ANY, /* finals of left against an array constant or parameter */
    MST_OP_CONTAINS_ALL,
    MST_OP_LIKE,    /* right: constant like, or parameter */
    MST_OP_GLOB,    /* right: constant glob, or parameter */
    MST_OP_MATCHES, /* right: constant regex, or parameter */
    MST_OP_EXISTS,  /* left is present, null included */
    MST_OP_TYPE,    /* a final of left has one of the types in right */
    MST_OP_TRUE,    /* a candidate of left is boolean true */
    MST_OP_CIDR,    /* left, an address in a string, lies in right: constant cidr or parameter */
    MST_OP_ANY,     /* left is an array with an element for which the inner expression holds */
    MST_OP_ALL,     /* left is an array all of whose elements do so */
    MST_OP_COUNT
};

struct mst_program;

/* Verifies and loads. MST_EFILTER (not a program, bad regex, bad version ...), MST_ETOOBIG, MST_ENOMEM. */
int mst_program_load(struct mst_program **out, const void *bytes, size_t length, struct mst_error *error);
void mst_program_destroy(struct mst_program *program);
uint32_t mst_program_leaf_count(const struct mst_program *program); /* those of the top-level expression only */
uint32_t mst_program_parameter_count(const struct mst_program *program);
/* The name of parameter `index`; borrowed from the program. */
struct mst_span mst_program_parameter(const struct mst_program *program, uint32_t index);

/* Bytes that former matches have left with the program to make the next ones cheap; bounded, freed with it. */
size_t mst_program_kept(const struct mst_program *program);

/*
 * A program bound to one request: parameters and the time fixed. Borrows program, parameters and `namespace`.
 * `parameters` is a packed object or NULL.
 */
struct mst_bound;

/* MST_EPARAM where a parameter of the program is not in `parameters`; MST_EFILTER for a bad pattern in a parameter. */
int mst_bound_create(struct mst_bound **out, const struct mst_program *program, const uint8_t *parameters,
                     int64_t now_ms, const char *namespace_, struct mst_error *error);
void mst_bound_destroy(struct mst_bound *bound);

/* Another namespace for @namespace (NULL: missing), for mst_bound_match over records of several. Borrowed. */
void mst_bound_set_namespace(struct mst_bound *bound, const char *namespace_);

/*
 * Tests one record, given as identity and parsed metadata. `identity` may have zero times (then the built-ins that need
 * them are missing) and an empty id (then @id is missing).
 */
bool mst_bound_match(struct mst_bound *bound, const struct mst_identity *identity, const uint8_t *metadata);

/* Whether memory ran out in the last mst_bound_match, or in a mst_bound_verdict since: what they said may be wrong. */
bool mst_bound_failed(const struct mst_bound *bound);

/* One clause of the filter for one record, for explain. */
struct mst_verdict {
    const char *text; /* the clause; borrowed from the program */
    size_t text_length;
    bool holds;           /* what the clause itself says, before any `not` around it */
    bool negated;         /* an odd number of `not` stands around it */
    const uint8_t *value; /* what its left path denotes; NULL: missing, or no path. Until the next call on `bound` */
};

/*
 * Evaluates clause `leaf` (0 .. mst_program_leaf_count-1) alone. Clauses are numbered as they stand in the program's
 * leaf table, those inside any/all left out; the compiler writes that table in the order of the text.
 */
void mst_bound_verdict(struct mst_bound *bound, uint32_t leaf, const struct mst_identity *identity,
                       const uint8_t *metadata, struct mst_verdict *verdict);

/* For the compiler: checks a regular expression; MST_EFILTER with `offset` = place in the pattern, or -1 unknown. */
int mst_regex_check(const char *pattern, size_t length, struct mst_error *error);
