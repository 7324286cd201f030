// SPDX-License-Identifier: Apache-2.0
#include "core/coordinator_internal.h"

/* Filters: the named filters that this coordinator knows. Prepare: compiles a filter before it is used. */

static int filters(struct mst__call *call)
{
    const struct mst_compiler *compiler = &call->coordinator->compiler;
    int code = mst__body_read(call, NULL, 0, NULL);
    if (code)
        return code;
    MST__PUT(&call->answer, "{\"filters\":");
    if (compiler->list)
        code = compiler->list(compiler->context, &call->answer, &call->error);
    else
        MST__PUT(&call->answer, "[]");
    mst_buffer_append_byte(&call->answer, '}');
    return code;
}

static int prepare(struct mst__call *call)
{
    static const struct mst__key key = {"filter", MST__T_STRING | MST__T(MST_OBJECT), 0};
    const uint8_t *value;
    struct mst_buffer *out = &call->answer;
    struct mst__query query = {0};
    int code = mst__body_read(call, &key, 1, &value);
    if (code == 0 && !value)
        code = mst_error_set(&call->error, MST_EINVAL, "key \"filter\" is missing");
    if (code == 0)
        code = mst__query_compile(&query, call, value);
    if (code)
        return code;
    const struct mst_program *program = query.filter ? query.filter->program : NULL;
    uint32_t count = program ? mst_program_parameter_count(program) : 0;
    MST__PUT(out, "{\"params\":[");
    for (uint32_t i = 0; i < count; i++) {
        struct mst_span name = mst_program_parameter(program, i);
        if (i)
            mst_buffer_append_byte(out, ',');
        mst_json_put_string(out, name.data, name.length);
    }
    MST__PUT(out, "],\"clauses\":");
    mst_buffer_append_u64(out, program ? mst_program_leaf_count(program) : 0);
    mst__put_tail(call, &query);
    return 0;
}

void mst__verb_prepare(struct mst__call *call)
{
    mst__call_end(call, prepare(call));
}

void mst__verb_filters(struct mst__call *call)
{
    mst__call_end(call, filters(call));
}
