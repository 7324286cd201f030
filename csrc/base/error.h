// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Errors: one list of codes, and a record that carries the text of one failure.
 *
 * A function that can fail returns 0 or a negative MST_E* code. A function that takes a `struct mst_error *` fills it
 * before it returns a negative code; the pointer may be NULL. There is no process-wide last error.
 */
#include <stddef.h>
#include <stdint.h>

/* code, name on the wire, failure class ("logic", "timeout", "connection"), default text */
#define MST_ERRORS(X)                                                            \
    X(MST_EINVAL, -1, "EINVAL", "logic", "invalid argument")                     \
    X(MST_ENOMEM, -2, "ENOMEM", "logic", "out of memory")                        \
    X(MST_EJSON, -3, "EJSON", "logic", "invalid JSON")                           \
    X(MST_EFILTER, -4, "EFILTER", "logic", "invalid filter")                     \
    X(MST_EID, -5, "EID", "logic", "invalid identity id")                        \
    X(MST_ENAMESPACE, -6, "ENAMESPACE", "logic", "invalid namespace")            \
    X(MST_ERANGE, -7, "ERANGE", "logic", "value out of range")                   \
    X(MST_ETOOBIG, -8, "ETOOBIG", "logic", "too large")                          \
    X(MST_EEXISTS, -9, "EEXISTS", "logic", "identity is already registered")     \
    X(MST_ENOTFOUND, -10, "ENOTFOUND", "logic", "not found")                     \
    X(MST_EREVISION, -11, "EREVISION", "logic", "identity has another revision") \
    X(MST_EOWNER, -12, "EOWNER", "logic", "identity belongs to another owner")   \
    X(MST_EQUOTA, -13, "EQUOTA", "logic", "a quota is used up")                  \
    X(MST_EBUSY, -14, "EBUSY", "logic", "too many requests in flight")           \
    X(MST_EVERB, -15, "EVERB", "logic", "unknown verb")                          \
    X(MST_EUNSUPPORTED, -16, "EUNSUPPORTED", "logic", "not supported")           \
    X(MST_EGUARD, -17, "EGUARD", "logic", "a guard refused the multicast")       \
    X(MST_EREDIS, -18, "EREDIS", "connection", "Redis is not reachable")         \
    X(MST_ENATS, -19, "ENATS", "connection", "NATS is not reachable")            \
    X(MST_ECONNECT, -20, "ECONNECT", "connection", "cannot connect")             \
    X(MST_EDEADLINE, -21, "EDEADLINE", "timeout", "deadline passed")             \
    X(MST_ECLOSED, -22, "ECLOSED", "connection", "closed")                       \
    X(MST_ECONFIG, -23, "ECONFIG", "logic", "wrong configuration")               \
    X(MST_EINTERNAL, -24, "EINTERNAL", "logic", "internal error")                \
    X(MST_EPARAM, -25, "EPARAM", "logic", "parameter is not bound")              \
    X(MST_EPERMISSION, -26, "EPERMISSION", "logic", "not permitted")

enum mst_code {
    MST_OK = 0,
#define MST_X(code, number, name, class_, text) code = (number),
    MST_ERRORS(MST_X)
#undef MST_X
};

/* One failure. Zero-initialise, or let mst_error_set() write every member. */
struct mst_error {
    int code;          /* an enum mst_code */
    int has_position;  /* whether line, column and offset mean something */
    uint32_t line;     /* 1-based */
    uint32_t column;   /* 1-based, in code points */
    uint32_t offset;   /* 0-based, in bytes */
    char message[400]; /* one line of UTF-8, NUL-terminated, cut at a code point where it is too long */
    char hint[200];    /* what to do instead; empty if there is nothing to say */
};

/* Name on the wire ("EINVAL"); "EINTERNAL" for a number that is no code. */
const char *mst_error_name(int code);

/* Code of a name on the wire; MST_EINTERNAL for a name that is none. */
int mst_error_code(const char *name);

/* Failure class of a code: "logic", "timeout" or "connection". */
const char *mst_error_class(int code);

/* Default text of a code. */
const char *mst_error_text(int code);

/* Fills `error` (which may be NULL) and returns `code`, so that `return mst_error_set(...)` reads well. */
int mst_error_set(struct mst_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Adds a hint to an error that was set. */
void mst_error_hint(struct mst_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds the position of byte `offset` of `text` to an error that was set. */
void mst_error_at(struct mst_error *error, const char *text, size_t length, size_t offset);
