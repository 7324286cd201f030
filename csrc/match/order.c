// SPDX-License-Identifier: Apache-2.0
#include "match/plan.h"

/*
 * The children of `and` in the order of cost / (share of rows they turn away), those of `or` in the order of cost /
 * (share they accept): that is the order of least expected cost as long as the clauses are independent.
 */

#define SORTED_MAX 32u /* children; more stay in the order of the text */

struct estimate {
    double cost, share;
};

struct child {
    uint16_t node;
    double rank;
};

static struct estimate estimate_node(struct mst__prepared *prepared, const struct mst_program *program, uint16_t node);

static struct estimate estimate_leaf(const struct mst__plan *plan, bool inverted)
{
    return (struct estimate){plan->cost, inverted ? 1 - plan->share : plan->share};
}

static void insert(struct child *children, unsigned count, struct child added)
{
    for (; count > 0 && children[count - 1].rank > added.rank; count--)
        children[count] = children[count - 1];
    children[count] = added;
}

static void link_as_written(struct mst__prepared *prepared, const struct mst_program *program, uint16_t node)
{
    uint16_t *place = &prepared->first[node];
    for (uint16_t child = (uint16_t)(node + 1); child < program->nodes[node].end; child = program->nodes[child].end) {
        *place = mst__order_resolve(program, child);
        place = &prepared->next[*place];
    }
    *place = 0;
}

static unsigned count_children(const struct mst_program *program, uint16_t node)
{
    unsigned count = 0;
    for (uint16_t child = (uint16_t)(node + 1); child < program->nodes[node].end; child = program->nodes[child].end)
        count++;
    return count;
}

/* What remains to be looked at behind a child: of `and` the rows that pass, of `or` those that do not. */
static double remainder_of(bool all, double share)
{
    double remains = all ? share : 1 - share;
    return remains < 0 ? 0 : remains > 1 ? 1 : remains;
}

static struct estimate estimate_group(struct mst__prepared *prepared, const struct mst_program *program, uint16_t node)
{
    const struct mst__node *nodes = program->nodes;
    bool all = (nodes[node].kind == MST__AND) != (program->cache->inverted[node] != 0);
    bool sorted = count_children(program, node) <= SORTED_MAX;
    struct child children[SORTED_MAX];
    struct estimate sum = {0, 1};
    unsigned count = 0;
    for (uint16_t child = (uint16_t)(node + 1); child < nodes[node].end; child = nodes[child].end) {
        uint16_t real = mst__order_resolve(program, child);
        struct estimate found = estimate_node(prepared, program, real);
        double remains = remainder_of(all, found.share);
        sum.cost += sum.share * found.cost;
        sum.share *= remains;
        if (sorted)
            insert(children, count++, (struct child){real, found.cost / (1.0001 - remains)});
    }
    if (!sorted) {
        link_as_written(prepared, program, node);
    } else {
        uint16_t *place = &prepared->first[node];
        for (unsigned i = 0; i < count; i++) {
            *place = children[i].node;
            place = &prepared->next[*place];
        }
        *place = 0;
    }
    sum.share = all ? sum.share : 1 - sum.share;
    return sum;
}

/* As deep as the tree, which load has bounded. */
static struct estimate estimate_node(struct mst__prepared *prepared, const struct mst_program *program, uint16_t node)
{
    const struct mst__node *here = &program->nodes[node];
    bool inverted = program->cache->inverted[node];
    switch (here->kind) {
    case MST__LEAF:
        return estimate_leaf(&prepared->plans[here->leaf], inverted);
    case MST__TRUE:
    case MST__FALSE:
        return (struct estimate){0, (here->kind == MST__TRUE) != inverted};
    default:
        return estimate_group(prepared, program, node);
    }
}

void mst__order(struct mst__prepared *prepared, const struct mst_program *program)
{
    if (program->node_count > 0)
        estimate_node(prepared, program, mst__order_resolve(program, 0));
}
