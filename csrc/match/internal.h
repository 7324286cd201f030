// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a loaded program and a bound program look like; for the files of this folder only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "match/program.h"
#include "match/types.h"
#include "model/path.h"
#include "model/value.h"

/* How two sides are compared: the stricter side decides, the other side's candidates are converted. */
enum mst__class {
    MST__PLAIN,
    MST__TIME,
    MST__VERSION,
    MST__MIXED /* time against version: never true */
};

enum mst__builtin { MST__ID, MST__NAMESPACE, MST__REGISTERED_AT, MST__UPDATED_AT, MST__EXPIRES_AT, MST__TTL, MST__AGE };

struct mst__source {
    bool builtin;
    uint8_t which; /* enum mst__builtin */
    struct mst_path path;
};

enum mst__constant_type {
    MST__VALUE,
    MST__CONST_VERSION,
    MST__CONST_TIME,
    MST__CONST_CIDR,
    MST__CONST_REGEX,
    MST__CONST_LIKE,
    MST__CONST_GLOB,
    MST__CONST_TYPES
};

/* The elements of a list, so that membership is a binary search. */
struct mst__set {
    const uint8_t **items; /* owned; scalars in order of mst_value_compare, then arrays and objects */
    uint32_t scalars, count;
    bool has_null;
};

int mst__set_init(struct mst__set *set, const uint8_t *array);
void mst__set_deinit(struct mst__set *set);
bool mst__set_has(const struct mst__set *set, const uint8_t *value);

/* The right side of `in`, `like`, `glob`, `matches` and cidr tests, prepared once per program or binding. */
struct mst__matcher {
    bool usable; /* false: a parameter of the wrong type; the clause is false */
    struct mst_span pattern;
    struct mst_regex *regex; /* owned */
    struct mst__cidr cidr;
    struct mst__set set;
};

/* From a pattern's text, or for MST_OP_IN from an array. MST_EFILTER, MST_ENOMEM. */
int mst__matcher_init_text(struct mst__matcher *matcher, enum mst_op op, struct mst_span text, struct mst_error *error);
int mst__matcher_init_value(struct mst__matcher *matcher, enum mst_op op, const uint8_t *value,
                            struct mst_error *error);
void mst__matcher_deinit(struct mst__matcher *matcher);

struct mst__constant {
    enum mst__constant_type type;
    const uint8_t *value; /* MST__VALUE */
    struct mst__version version;
    int64_t time; /* Unix microseconds */
    uint16_t types;
    struct mst__matcher matcher;
};

enum mst__operand_kind { MST__PATH, MST__CONSTANT, MST__PARAMETER, MST__NOW };

enum mst__function { MST__NONE, MST__LOWER, MST__UPPER, MST__LEN, MST__SEMVER, MST__TIME_OF, MST__DISTANCE };

struct mst__term {
    bool minus;
    enum mst__operand_kind kind; /* constant or parameter */
    uint16_t index;
};

struct mst__operand {
    enum mst__operand_kind kind;
    enum mst__function function;
    uint16_t index;
    uint8_t term_count;
    struct mst__term terms[4];
    double latitude, longitude;
    enum mst__class class;
};

struct mst__leaf {
    enum mst_op op;
    const struct mst__operand *left, *right, *third; /* NULL: none */
    uint16_t first, end;                             /* inner expression */
    struct mst_span text;
    enum mst__class class;
    uint16_t paths[3]; /* the different document paths of its operands */
    unsigned path_count;
    bool by_row;  /* looks at the identity (but for @namespace) */
    bool varies;  /* what it says of a value may be another with each binding: parameters, the time, @namespace */
    bool used;    /* some node refers to it */
    bool top;     /* a node of the top-level expression does */
    bool negated; /* that node stands under an odd number of nots */
};

enum mst__node_kind { MST__LEAF, MST__AND, MST__OR, MST__NOT, MST__TRUE, MST__FALSE };

struct mst__node {
    uint8_t kind;
    uint16_t leaf;
    uint16_t end;
};

struct mst_program {
    uint8_t *bytes; /* owned; everything below points into it */
    size_t length;
    char *decimals; /* owned; texts of index steps */
    struct mst__source *sources;
    struct mst__constant *constants;
    struct mst_span *parameters;
    struct mst__operand *operands;
    struct mst__leaf *leaves;
    struct mst__node *nodes;
    uint16_t *top; /* numbers of the top-level expression's leaves, ascending */
    uint16_t source_count, constant_count, parameter_count, operand_count, leaf_count, node_count, top_count;
    unsigned levels;          /* expressions within each other, 1 without any/all */
    struct mst__cache *cache; /* owned; the one part that changes, plan.h */
};

/* Working memory of one operand of a clause under evaluation. */
struct mst__slot {
    struct mst_buffer finals;
    struct mst_buffer text;
};

struct mst_bound {
    const struct mst_program *program;
    const uint8_t **parameters;
    struct mst__matcher *matchers; /* by leaf, for leaves whose right side is a parameter; NULL: there are none */
    struct mst__slot *slots;       /* three per level */
    const char *namespace_;
    int64_t now_ms;
    unsigned slot_count;
    bool failed; /* a buffer found no memory: what was answered since may be wrong */
};

/* What a clause is tested against. */
struct mst__scope {
    const uint8_t *document;      /* where document paths start; NULL: they are all missing */
    const uint8_t *const *values; /* if not NULL: what each document path denotes, by path number, instead */
    const struct mst_identity *identity;
    unsigned level;
};

/* bound.c: frees what mst_bound_destroy may have kept for the next request. */
void mst__bound_free(struct mst_bound *bound);

bool mst__tree_holds(struct mst_bound *bound, uint32_t node, const struct mst__scope *scope);
bool mst__leaf_holds(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope);

/* The packed value of a constant or parameter that is used as it is; NULL for all other operands. */
const uint8_t *mst__operand_literal(const struct mst_bound *bound, const struct mst__operand *operand);

/* What a path operand denotes; NULL: missing, or no path. `place` = 0..2 chooses the working memory. */
const uint8_t *mst__operand_finals(struct mst_bound *bound, const struct mst__operand *operand,
                                   const struct mst__scope *scope, unsigned place);

/* One candidate in the form its class compares. */
struct mst__item {
    const uint8_t *value; /* MST__PLAIN, else NULL; may point to `cell` or working memory */
    int64_t time;
    struct mst__version version;
    uint8_t cell[9];
};

enum mst__mode {
    MST__CANDIDATES, /* finals and, of a path, the elements of arrays */
    MST__MEMBERS     /* the elements of finals that are arrays */
};

/* Walks the candidates of an operand. */
struct mst__cursor {
    struct mst_bound *bound;
    const struct mst__operand *operand;
    struct mst__slot *slot;
    enum mst__class class;
    enum mst__mode mode;
    const uint8_t *finals;   /* NULL: none */
    const uint8_t *final_at; /* position in a MST_FINALS value */
    const uint8_t *final;    /* whose elements are being walked */
    const uint8_t *element_at;
    bool started;
};

void mst__cursor_init(struct mst__cursor *cursor, struct mst_bound *bound, const struct mst__operand *operand,
                      const struct mst__scope *scope, unsigned place, enum mst__class class, enum mst__mode mode);
void mst__cursor_rewind(struct mst__cursor *cursor);
bool mst__cursor_next(struct mst__cursor *cursor, struct mst__item *item);

/* The finals alone, not converted. Not to be mixed with the above without a rewind. */
bool mst__cursor_next_final(struct mst__cursor *cursor, const uint8_t **final);

/* Applies the operand's function and terms to one raw value; false: it is no candidate. */
bool mst__cursor_convert(struct mst__cursor *cursor, enum mst__class class, const uint8_t *raw, struct mst__item *item);

/* Decides what a program's bytes may not say; fills what load leaves open in leaves and `top`. */
int mst__program_verify(struct mst_program *program, struct mst_error *error);
