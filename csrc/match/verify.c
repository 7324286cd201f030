// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "match/internal.h"

#define NESTING_MAX 64u

static int bad(struct mst_error *error, const char *what, size_t number)
{
    return mst_error_set(error, MST_EFILTER, "not a filter program: %s %zu", what, number);
}

static int unsupported(struct mst_error *error, const struct mst__leaf *leaf, const char *what)
{
    return mst_error_set(error, MST_EFILTER, "not supported: %s in \"%.*s\"", what,
                         (int)(leaf->text.length > 120 ? 120 : leaf->text.length), leaf->text.data);
}

static bool index_in_range(const struct mst_program *program, enum mst__operand_kind kind, uint16_t index)
{
    switch (kind) {
    case MST__PATH:
        return index < program->source_count;
    case MST__CONSTANT:
        return index < program->constant_count;
    case MST__PARAMETER:
        return index < program->parameter_count;
    default:
        return index == 0;
    }
}

static bool is_number(const struct mst__constant *constant)
{
    return constant->type == MST__VALUE &&
           (mst_value_tag(constant->value) == MST_INT || mst_value_tag(constant->value) == MST_DOUBLE);
}

static bool is_time_source(const struct mst__source *source)
{
    return source->builtin && source->which >= MST__REGISTERED_AT && source->which <= MST__EXPIRES_AT;
}

static enum mst__class operand_class(const struct mst_program *program, const struct mst__operand *operand)
{
    if (operand->kind == MST__NOW || operand->function == MST__TIME_OF)
        return MST__TIME;
    if (operand->function == MST__SEMVER)
        return MST__VERSION;
    if (operand->kind == MST__PATH && operand->function == MST__NONE)
        return is_time_source(&program->sources[operand->index]) ? MST__TIME : MST__PLAIN;
    if (operand->kind != MST__CONSTANT)
        return MST__PLAIN;
    enum mst__constant_type type = program->constants[operand->index].type;
    return type == MST__CONST_TIME ? MST__TIME : type == MST__CONST_VERSION ? MST__VERSION : MST__PLAIN;
}

static int verify_operand(const struct mst_program *program, struct mst__operand *operand)
{
    if (!index_in_range(program, operand->kind, operand->index))
        return -1;
    if (operand->function != MST__NONE && operand->kind != MST__PATH)
        return -1;
    for (unsigned i = 0; i < operand->term_count; i++) {
        const struct mst__term *term = &operand->terms[i];
        if (!index_in_range(program, term->kind, term->index))
            return -1;
        if (term->kind == MST__CONSTANT && !is_number(&program->constants[term->index]))
            return -1;
    }
    operand->class = operand_class(program, operand);
    return 0;
}

static enum mst__class join(enum mst__class a, const struct mst__operand *operand)
{
    if (!operand || operand->class == MST__PLAIN || operand->class == a)
        return a;
    return a == MST__PLAIN ? operand->class : MST__MIXED;
}

/* Whether the operand is used as it is, without function and terms. */
static bool is_bare(const struct mst__operand *operand)
{
    return operand->function == MST__NONE && operand->term_count == 0;
}

static bool is_constant(const struct mst_program *program, const struct mst__operand *operand,
                        enum mst__constant_type type)
{
    return operand->kind == MST__CONSTANT && is_bare(operand) && program->constants[operand->index].type == type;
}

static bool is_list(const struct mst_program *program, const struct mst__operand *operand)
{
    return is_constant(program, operand, MST__VALUE) &&
           mst_value_tag(program->constants[operand->index].value) == MST_ARRAY;
}

static bool is_parameter(const struct mst__operand *operand)
{
    return operand->kind == MST__PARAMETER && is_bare(operand);
}

/* An operand that stands for values: not a pattern, network or type mask. */
static bool is_comparable(const struct mst_program *program, const struct mst__operand *operand)
{
    return operand->kind != MST__CONSTANT || program->constants[operand->index].type <= MST__CONST_TIME;
}

static enum mst__constant_type pattern_type(enum mst_op op)
{
    switch (op) {
    case MST_OP_LIKE:
        return MST__CONST_LIKE;
    case MST_OP_GLOB:
        return MST__CONST_GLOB;
    case MST_OP_MATCHES:
        return MST__CONST_REGEX;
    default:
        return MST__CONST_CIDR;
    }
}

static bool right_fits(const struct mst_program *program, const struct mst__leaf *leaf)
{
    const struct mst__operand *right = leaf->right;
    switch (leaf->op) {
    case MST_OP_IN:
        return is_list(program, right) || is_parameter(right) || right->kind == MST__PATH;
    case MST_OP_CONTAINS_ANY:
    case MST_OP_CONTAINS_ALL:
        return is_list(program, right) || is_parameter(right);
    case MST_OP_LIKE:
    case MST_OP_GLOB:
    case MST_OP_MATCHES:
    case MST_OP_CIDR:
        return is_constant(program, right, pattern_type(leaf->op)) || is_parameter(right);
    case MST_OP_TYPE:
        return is_constant(program, right, MST__CONST_TYPES);
    default:
        return is_comparable(program, right);
    }
}

static bool has_right(enum mst_op op)
{
    return op != MST_OP_EXISTS && op != MST_OP_TRUE && op != MST_OP_ANY && op != MST_OP_ALL;
}

static int verify_leaf(struct mst_program *program, struct mst__leaf *leaf, struct mst_error *error)
{
    size_t number = (size_t)(leaf - program->leaves);
    bool quantified = leaf->op == MST_OP_ANY || leaf->op == MST_OP_ALL;
    if (!leaf->left || has_right(leaf->op) != (leaf->right != NULL) ||
        (leaf->op == MST_OP_BETWEEN) != (leaf->third != NULL) || (!quantified && (leaf->first || leaf->end)))
        return bad(error, "clause", number);
    if (!is_comparable(program, leaf->left) || (leaf->third && !is_comparable(program, leaf->third)))
        return unsupported(error, leaf, "a pattern as a value");
    if (leaf->right && !right_fits(program, leaf))
        return unsupported(error, leaf, "this right side");
    if ((quantified || leaf->op == MST_OP_EXISTS || leaf->op == MST_OP_TYPE) && !is_bare(leaf->left))
        return unsupported(error, leaf, "a function around this field");
    if (quantified && leaf->left->kind != MST__PATH)
        return unsupported(error, leaf, "anything but a field");
    leaf->class = join(join(join(MST__PLAIN, leaf->left), leaf->right), leaf->third);
    return 0;
}

/* Notes what the clause reads: document paths of its own, whether the identity matters, and the binding. */
static void note_operand(const struct mst_program *program, struct mst__leaf *leaf, const struct mst__operand *operand)
{
    if (!operand)
        return;
    leaf->varies = leaf->varies || operand->kind == MST__PARAMETER || operand->kind == MST__NOW;
    for (unsigned i = 0; i < operand->term_count; i++)
        leaf->varies = leaf->varies || operand->terms[i].kind == MST__PARAMETER;
    if (operand->kind != MST__PATH)
        return;
    const struct mst__source *source = &program->sources[operand->index];
    if (source->builtin) {
        leaf->varies = leaf->varies || source->which == MST__NAMESPACE;
        leaf->by_row = leaf->by_row || source->which != MST__NAMESPACE;
        return;
    }
    for (unsigned i = 0; i < leaf->path_count; i++)
        if (leaf->paths[i] == operand->index)
            return;
    leaf->paths[leaf->path_count++] = operand->index;
}

/* Prepares a constant list for membership tests, once however many clauses use it. */
static int prepare_list(struct mst_program *program, const struct mst__leaf *leaf, struct mst_error *error)
{
    if (leaf->op != MST_OP_IN || leaf->right->kind != MST__CONSTANT)
        return 0;
    struct mst__constant *constant = &program->constants[leaf->right->index];
    if (constant->matcher.usable)
        return 0;
    return mst__matcher_init_value(&constant->matcher, MST_OP_IN, constant->value, error);
}

struct walk {
    struct mst_program *program;
    struct mst_error *error;
    uint8_t *seen;  /* by node */
    unsigned level; /* expression being walked: 0 is the top-level one */
    unsigned depth;
    bool negated;
    bool by_row; /* some clause walked so far looks at the identity */
    bool varies; /* or at what a binding says */
};

static int walk_expression(struct walk *walk, uint32_t first, uint32_t end);

static int walk_inner(struct walk *walk, const struct mst__leaf *leaf, uint32_t tree_end)
{
    if (leaf->first < tree_end || leaf->end > walk->program->node_count)
        return bad(walk->error, "inner expression at node", leaf->first);
    struct walk inner = *walk;
    inner.level++;
    inner.depth++;
    inner.by_row = inner.varies = false;
    int status = walk_expression(&inner, leaf->first, leaf->end);
    walk->by_row = inner.by_row;
    walk->varies = inner.varies;
    return status;
}

static int walk_leaf(struct walk *walk, uint32_t node, uint32_t tree_end)
{
    struct mst_program *program = walk->program;
    if (program->nodes[node].leaf >= program->leaf_count)
        return bad(walk->error, "node", node);
    struct mst__leaf *leaf = &program->leaves[program->nodes[node].leaf];
    bool by_row = walk->by_row, varies = walk->varies;
    if (leaf->op == MST_OP_ANY || leaf->op == MST_OP_ALL) {
        /* Shared inner expressions could make a small program take exponential time. */
        if (leaf->used)
            return bad(walk->error, "second use of an inner expression at node", node);
        leaf->used = true;
        int status = walk_inner(walk, leaf, tree_end);
        if (status < 0)
            return status;
        leaf->by_row = leaf->by_row || walk->by_row;
        leaf->varies = leaf->varies || walk->varies;
    }
    leaf->used = true;
    walk->by_row = by_row || leaf->by_row;
    walk->varies = varies || leaf->varies;
    if (walk->level == 0 && !leaf->top) {
        leaf->top = true;
        leaf->negated = walk->negated;
    }
    return 0;
}

static int walk_node(struct walk *walk, uint32_t node, uint32_t limit, uint32_t tree_end)
{
    struct mst_program *program = walk->program;
    const struct mst__node *here = &program->nodes[node];
    if (here->end <= node || here->end > limit || walk->seen[node])
        return bad(walk->error, "node", node);
    walk->seen[node] = 1;
    if (here->kind == MST__LEAF)
        return here->end == node + 1 ? walk_leaf(walk, node, tree_end) : bad(walk->error, "node", node);
    if (here->leaf != 0)
        return bad(walk->error, "node", node);
    if (here->kind == MST__TRUE || here->kind == MST__FALSE)
        return here->end == node + 1 ? 0 : bad(walk->error, "node", node);
    uint32_t child = node + 1;
    if (child == here->end)
        return bad(walk->error, "node without children", node);
    if (++walk->depth > NESTING_MAX)
        return mst_error_set(walk->error, MST_ETOOBIG, "filter is nested deeper than %u", NESTING_MAX);
    walk->negated ^= here->kind == MST__NOT;
    for (unsigned count = 0; child < here->end; count++) {
        if (count == 1 && here->kind == MST__NOT)
            return bad(walk->error, "node", node);
        int status = walk_node(walk, child, here->end, tree_end);
        if (status < 0)
            return status;
        child = program->nodes[child].end;
    }
    walk->negated ^= here->kind == MST__NOT;
    walk->depth--;
    return 0;
}

static int walk_expression(struct walk *walk, uint32_t first, uint32_t end)
{
    struct mst_program *program = walk->program;
    if (first >= end || end > program->node_count || program->nodes[first].end != end)
        return bad(walk->error, "expression at node", first);
    if (walk->depth > NESTING_MAX)
        return mst_error_set(walk->error, MST_ETOOBIG, "filter is nested deeper than %u", NESTING_MAX);
    if (program->levels < walk->level + 1)
        program->levels = walk->level + 1;
    return walk_node(walk, first, end, end);
}

static int verify_nodes(struct mst_program *program, struct mst_error *error)
{
    program->levels = 1;
    if (program->node_count == 0)
        return 0;
    struct walk walk = {.program = program, .error = error, .seen = calloc(program->node_count, 1)};
    if (!walk.seen)
        return mst_error_set(error, MST_ENOMEM, "no memory for a filter");
    int status = walk_expression(&walk, 0, program->nodes[0].end);
    for (unsigned i = 0; status == 0 && i < program->node_count; i++)
        if (!walk.seen[i])
            status = bad(error, "node that belongs to no expression:", i);
    free(walk.seen);
    return status;
}

int mst__program_verify(struct mst_program *program, struct mst_error *error)
{
    int status;
    for (unsigned i = 0; i < program->operand_count; i++)
        if (verify_operand(program, &program->operands[i]) < 0)
            return bad(error, "operand", i);
    for (unsigned i = 0; i < program->leaf_count; i++) {
        struct mst__leaf *leaf = &program->leaves[i];
        status = verify_leaf(program, leaf, error);
        if (status == 0)
            status = prepare_list(program, leaf, error);
        if (status < 0)
            return status;
        note_operand(program, leaf, leaf->left);
        note_operand(program, leaf, leaf->right);
        note_operand(program, leaf, leaf->third);
    }
    status = verify_nodes(program, error);
    if (status < 0)
        return status;
    for (unsigned i = 0; i < program->leaf_count; i++)
        if (program->leaves[i].top)
            program->top[program->top_count++] = (uint16_t)i;
    return 0;
}
