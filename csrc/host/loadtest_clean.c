// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/loadtest_internal.h"
#include "io/redis_sweep.h"

#define PATIENCE (10 * MST_NS_PER_SECOND) /* with a Redis that may be about to come back */
#define NAME_LENGTH 11                    /* lt- and the eight characters of a run's name */
#define REMOVE_MAX 10000u

static struct mst_redis_options server_of(const struct mst__load_options *options)
{
    return (struct mst_redis_options){
        .host = options->redis_host,
        .port = options->redis_port,
        .database = options->redis_db,
        .user = options->redis_user,
        .password = options->redis_password,
    };
}

/* ------------------------------------------------------------------------------------------------ one's own */

static void put_address(const struct mst__load *load, FILE *out)
{
    const struct mst__load_options *options = &load->options;
    if (options->redis_host[0] == '/')
        fputs(options->redis_host, out);
    else
        fprintf(out, strchr(options->redis_host, ':') ? "[%s]:%d" : "%s:%d", options->redis_host, options->redis_port);
}

void mst__load_say_left_behind(const struct mst__load *load, const char *reason)
{
    fprintf(stderr, "muster: namespace %s may be left in Redis, keys muster:{%s}:* (%s)\n", load->namespace_,
            load->namespace_, reason);
    fputs("muster: to remove it: muster loadtest clean --redis-addr ", stderr);
    put_address(load, stderr);
    if (load->options.redis_db)
        fprintf(stderr, " --redis-db %d", load->options.redis_db);
    fputc('\n', stderr);
}

/* The host, and with it all that might write to the namespace, is gone by now: nothing comes back. */
void mst__load_clean_up(struct mst__load *load)
{
    struct mst_error error = {0};
    const char *name = load->namespace_;
    if (load->options.embedded || load->identities == 0)
        return;
    struct mst_redis_options server = server_of(&load->options);
    load->left_behind = mst_redis_remove(&server, &name, 1, 0, NULL, &error);
    if (load->left_behind == 0)
        return;
    fprintf(stderr, "muster: cannot remove namespace %s yet (%s); trying for %d s\n", name, error.message,
            (int)(PATIENCE / MST_NS_PER_SECOND));
    load->left_behind = mst_redis_remove(&server, &name, 1, PATIENCE, NULL, &error);
    if (load->left_behind)
        mst__load_say_left_behind(load, error.message);
}

/* ------------------------------------------------------------------------------------------------ of others */

/* Exactly as runs are named, so that nobody's own "lt-fleet" is taken for one. */
static bool is_of_load_test(const char *name, size_t length)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    if (length != NAME_LENGTH || memcmp(name, "lt-", 3) != 0)
        return false;
    for (size_t i = 3; i < length; i++)
        if (!memchr(alphabet, name[i], sizeof alphabet - 1))
            return false;
    return true;
}

struct listing {
    struct mst_buffer *out;
    bool any;
};

static void put_found(void *context, const struct mst_redis_found *found)
{
    struct listing *listing = context;
    if (!is_of_load_test(found->name, strlen(found->name)))
        return;
    mst_buffer_appendf(listing->out, "%s{\"namespace\":\"%s\",\"identities\":%llu,\"keys\":%llu,\"ends_in_ms\":",
                       listing->any ? "," : "", found->name, (unsigned long long)found->identities,
                       (unsigned long long)found->keys);
    if (found->ends_in_ms < 0)
        mst_buffer_append_string(listing->out, "null}");
    else
        mst_buffer_appendf(listing->out, "%lld}", (long long)found->ends_in_ms);
    listing->any = true;
}

struct names {
    uint32_t count;
    const char *list[REMOVE_MAX];
    char text[REMOVE_MAX][NAME_LENGTH + 1];
};

static int read_names(struct mst_span array, struct names *names, struct mst_error *error)
{
    size_t position = 0;
    for (struct mst_span element; mst_json_element(array.data, array.length, &position, &element);) {
        if (names->count == REMOVE_MAX)
            return mst_error_set(error, MST_ETOOBIG, "more than %u namespaces at once", REMOVE_MAX);
        if (element.length != NAME_LENGTH + 2 || !is_of_load_test(element.data + 1, NAME_LENGTH))
            return mst_error_set(error, MST_EINVAL, "not a namespace of a load test: %.*s",
                                 element.length > 80 ? 80 : (int)element.length, element.data);
        memcpy(names->text[names->count], element.data + 1, NAME_LENGTH);
        names->list[names->count] = names->text[names->count];
        names->count++;
    }
    return 0;
}

static int remove_named(const struct mst_redis_options *server, struct mst_span array, uint64_t *keys,
                        struct mst_error *error)
{
    struct names *names = calloc(1, sizeof *names);
    if (!names)
        return mst_error_set(error, MST_ENOMEM, "no memory for the names");
    int code = read_names(array, names, error);
    if (code == 0 && names->count)
        code = mst_redis_remove(server, names->list, names->count, 0, keys, error);
    free(names);
    return code;
}

int mst_loadtest_clean(const char *options, size_t length, struct mst_buffer *answer, struct mst_error *error)
{
    struct mst__load_options read;
    struct mst_span array;
    uint64_t keys = 0;
    struct listing listing = {.out = answer};
    int code = mst__load_options_read(&read, options, length, error);
    struct mst_redis_options server = server_of(&read);
    if (code == 0 && mst_json_member(options, length, "remove", &array))
        code = remove_named(&server, array, &keys, error);
    mst_buffer_append_string(answer, "{\"namespaces\":[");
    if (code == 0)
        code = mst_redis_find(&server, "lt-", put_found, &listing, error);
    mst_buffer_appendf(answer, "],\"removed_keys\":%llu}", (unsigned long long)keys);
    mst__load_options_deinit(&read);
    return code == 0 && answer->failed ? mst_error_set(error, MST_ENOMEM, "no memory for the answer") : code;
}
