// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "match/plan.h"

#define NAMES_SHOWN 160 /* bytes */

/* Says that `name` is missing, and which there are: a slip of the pen shows at once. */
static int tell_unbound(struct mst_span name, const uint8_t *parameters, struct mst_error *error)
{
    char given[NAMES_SHOWN] = "";
    size_t end = 0, length;
    const uint8_t *position = NULL, *value;
    const char *key;
    bool is_object = parameters && mst_value_tag(parameters) == MST_OBJECT;
    while (is_object && mst_value_next_member(parameters, &position, &key, &length, &value)) {
        if (end + length + sizeof ", \"\", .." > sizeof given) {
            memcpy(given + end, end ? ", .." : "..", end ? sizeof ", .." : sizeof "..");
            end = sizeof given;
            break;
        }
        end += (size_t)snprintf(given + end, sizeof given - end, "%s\"%.*s\"", end ? ", " : "", (int)length, key);
    }
    return mst_error_set(error, MST_EPARAM, "parameter \"%.*s\" is not bound; %s%s",
                         (int)(name.length > 120 ? 120 : name.length), name.data, end ? "given: " : "none is given",
                         given);
}

static int bind_parameters(struct mst_bound *bound, const uint8_t *parameters, struct mst_error *error)
{
    const struct mst_program *program = bound->program;
    for (unsigned i = 0; i < program->parameter_count; i++) {
        struct mst_span name = program->parameters[i];
        bound->parameters[i] = parameters ? mst_value_get(parameters, name.data, name.length) : NULL;
        if (!bound->parameters[i])
            return tell_unbound(name, parameters, error);
    }
    return 0;
}

/* Whether the leaf's right side is prepared when the program is bound. */
static bool needs_matcher(const struct mst__leaf *leaf)
{
    if (!leaf->right || leaf->right->kind != MST__PARAMETER)
        return false;
    return leaf->op == MST_OP_IN || leaf->op == MST_OP_LIKE || leaf->op == MST_OP_GLOB || leaf->op == MST_OP_MATCHES ||
           leaf->op == MST_OP_CIDR;
}

static int bind_matchers(struct mst_bound *bound, struct mst_error *error)
{
    const struct mst_program *program = bound->program;
    for (unsigned i = 0; i < program->leaf_count; i++) {
        const struct mst__leaf *leaf = &program->leaves[i];
        if (!needs_matcher(leaf))
            continue;
        if (!bound->matchers && !(bound->matchers = calloc(program->leaf_count, sizeof *bound->matchers)))
            return mst_error_set(error, MST_ENOMEM, "no memory for a filter");
        const uint8_t *value = bound->parameters[leaf->right->index];
        int status = mst__matcher_init_value(&bound->matchers[i], leaf->op, value, error);
        if (status < 0)
            return status;
    }
    return 0;
}

#define SCRATCH_KEPT 65536u /* bytes of working memory that a bound program may take into its next request */

static struct mst_bound *allocate(const struct mst_program *program)
{
    size_t slots = (size_t)program->levels * 3;
    struct mst_bound *bound = calloc(1, sizeof *bound + slots * sizeof *bound->slots +
                                            (program->parameter_count + 1u) * sizeof(*bound->parameters));
    if (!bound)
        return NULL;
    bound->program = program;
    bound->slot_count = (unsigned)slots;
    bound->slots = (struct mst__slot *)(bound + 1);
    bound->parameters = (const uint8_t **)(bound->slots + slots);
    return bound;
}

int mst_bound_create(struct mst_bound **out, const struct mst_program *program, const uint8_t *parameters,
                     int64_t now_ms, const char *namespace_, struct mst_error *error)
{
    struct mst_bound *bound = program->cache->spare;
    program->cache->spare = NULL;
    if (!bound)
        bound = allocate(program);
    if (!bound)
        return mst_error_set(error, MST_ENOMEM, "no memory for a filter");
    bound->now_ms = now_ms;
    bound->namespace_ = namespace_;
    bound->failed = false;
    int status = bind_parameters(bound, parameters, error);
    if (status == 0)
        status = bind_matchers(bound, error);
    if (status == 0)
        *out = bound;
    else
        mst_bound_destroy(bound);
    return status;
}

static void trim(struct mst_buffer *buffer)
{
    if (buffer->capacity > SCRATCH_KEPT)
        mst_buffer_deinit(buffer);
}

void mst__bound_free(struct mst_bound *bound)
{
    for (unsigned i = 0; i < bound->slot_count; i++) {
        mst_buffer_deinit(&bound->slots[i].finals);
        mst_buffer_deinit(&bound->slots[i].text);
    }
    free(bound);
}

void mst_bound_destroy(struct mst_bound *bound)
{
    if (!bound)
        return;
    for (unsigned i = 0; bound->matchers && i < bound->program->leaf_count; i++)
        mst__matcher_deinit(&bound->matchers[i]);
    free(bound->matchers);
    bound->matchers = NULL;
    if (bound->program->cache->spare) {
        mst__bound_free(bound);
        return;
    }
    for (unsigned i = 0; i < bound->slot_count; i++) {
        trim(&bound->slots[i].finals);
        trim(&bound->slots[i].text);
    }
    bound->program->cache->spare = bound;
}

bool mst_bound_match(struct mst_bound *bound, const struct mst_identity *identity, const uint8_t *metadata)
{
    struct mst__scope scope = {.document = metadata, .identity = identity};
    bound->failed = false;
    return bound->program->node_count == 0 || mst__tree_holds(bound, 0, &scope);
}

bool mst_bound_failed(const struct mst_bound *bound)
{
    return bound->failed;
}

void mst_bound_verdict(struct mst_bound *bound, uint32_t leaf, const struct mst_identity *identity,
                       const uint8_t *metadata, struct mst_verdict *verdict)
{
    const struct mst__leaf *clause = &bound->program->leaves[bound->program->top[leaf]];
    struct mst__scope scope = {.document = metadata, .identity = identity};
    *verdict = (struct mst_verdict){
        .text = clause->text.data,
        .text_length = clause->text.length,
        .holds = mst__leaf_holds(bound, clause, &scope),
        .negated = clause->negated,
    };
    verdict->value = mst__operand_finals(bound, clause->left, &scope, 0);
}

void mst_bound_set_namespace(struct mst_bound *bound, const char *namespace_)
{
    bound->namespace_ = namespace_;
}
