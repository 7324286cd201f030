// SPDX-License-Identifier: Apache-2.0
#include "core/subscriptions.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define MAX_SUBJECT 2048u

/* Listeners of one queue name; `matches` and `pick` are in use while one message is delivered. */
struct group {
    char *name;
    uint32_t members, round, matches, pick;
};

/* The subscriptions to one exact subject, or all those with wildcards. */
struct chain {
    struct subscription *first, *last;
};

struct subscription {
    struct subscription *previous, *next; /* in the chain; `next` also links the buried */
    struct chain *chain;
    struct group *group;           /* NULL: none */
    struct mst_listener *listener; /* NULL: ended */
    uint32_t length;
    char subject[];
};

struct mst__subscriptions {
    struct mst_map *exact;  /* subject -> chain */
    struct mst_map *groups; /* queue name -> group */
    struct chain wild;
    struct subscription **matched; /* has room for every subscription, so that delivering cannot fail */
    uint32_t count, capacity;
    bool delivering;
    struct subscription *buried; /* ended during a delivery, which may still hold them */
};

static bool token_byte(char byte)
{
    return byte != '\0' && byte != ' ' && !(byte >= '\t' && byte <= '\r');
}

bool mst__subject_valid(struct mst_span subject, bool wildcards, bool *wild)
{
    size_t start = 0;
    bool found = false;
    if (subject.length == 0 || subject.length > MAX_SUBJECT)
        return false;
    for (size_t i = 0; i <= subject.length; i++) {
        if (i < subject.length && subject.data[i] != '.') {
            if (!token_byte(subject.data[i]))
                return false;
            continue;
        }
        if (i == start)
            return false;
        char only = i - start == 1 ? subject.data[start] : '\0';
        if (only == '>' && i < subject.length)
            return false;
        if (only == '*' || only == '>')
            found = true;
        start = i + 1;
    }
    if (wild)
        *wild = found;
    return wildcards || !found;
}

static struct mst_span next_token(struct mst_span *rest)
{
    const char *dot = memchr(rest->data, '.', rest->length);
    struct mst_span token = {rest->data, dot ? (size_t)(dot - rest->data) : rest->length};
    size_t used = dot ? token.length + 1 : token.length;
    *rest = (struct mst_span){rest->data + used, rest->length - used};
    return token;
}

/* Both are valid, so that a rest is empty only behind the last token. */
static bool subject_matches(struct mst_span pattern, struct mst_span subject)
{
    while (pattern.length && subject.length) {
        struct mst_span wanted = next_token(&pattern), given = next_token(&subject);
        if (wanted.length == 1 && *wanted.data == '>')
            return true;
        if (wanted.length == 1 && *wanted.data == '*')
            continue;
        if (wanted.length != given.length || memcmp(wanted.data, given.data, given.length) != 0)
            return false;
    }
    return !pattern.length && !subject.length;
}

static void chain_add(struct chain *chain, struct subscription *subscription)
{
    subscription->chain = chain;
    subscription->next = NULL;
    subscription->previous = chain->last;
    if (chain->last)
        chain->last->next = subscription;
    else
        chain->first = subscription;
    chain->last = subscription;
}

static void chain_remove(struct subscription *subscription)
{
    struct chain *chain = subscription->chain;
    if (subscription->previous)
        subscription->previous->next = subscription->next;
    else
        chain->first = subscription->next;
    if (subscription->next)
        subscription->next->previous = subscription->previous;
    else
        chain->last = subscription->previous;
}

/* The chain of an exact subject, made if it is not there. */
static struct chain *chain_of(struct mst__subscriptions *subscriptions, struct mst_span subject)
{
    uint64_t found;
    if (mst_map_get(subscriptions->exact, subject.data, subject.length, &found))
        return (struct chain *)(uintptr_t)found;
    struct chain *chain = calloc(1, sizeof *chain);
    if (chain && mst_map_set(subscriptions->exact, subject.data, subject.length, (uintptr_t)chain) < 0) {
        free(chain);
        return NULL;
    }
    return chain;
}

static struct group *group_join(struct mst__subscriptions *subscriptions, const char *queue)
{
    uint64_t found;
    size_t length = strlen(queue);
    if (mst_map_get(subscriptions->groups, queue, length, &found)) {
        struct group *group = (struct group *)(uintptr_t)found;
        group->members++;
        return group;
    }
    struct group *group = calloc(1, sizeof *group);
    char *name = strdup(queue);
    if (!group || !name || mst_map_set(subscriptions->groups, queue, length, (uintptr_t)group) < 0) {
        free(name);
        free(group);
        return NULL;
    }
    group->name = name;
    group->members = 1;
    return group;
}

static void group_leave(struct mst__subscriptions *subscriptions, struct group *group)
{
    if (!group || --group->members)
        return;
    mst_map_remove(subscriptions->groups, group->name, strlen(group->name), NULL);
    free(group->name);
    free(group);
}

static void subscription_free(struct mst__subscriptions *subscriptions, struct subscription *subscription)
{
    group_leave(subscriptions, subscription->group);
    free(subscription);
}

/* May move `matched` under a delivery, which therefore reads the array afresh for each receiver. */
static bool reserve(struct mst__subscriptions *subscriptions)
{
    if (subscriptions->count < subscriptions->capacity)
        return true;
    uint32_t capacity = subscriptions->capacity ? subscriptions->capacity * 2 : 64;
    struct subscription **matched = realloc(subscriptions->matched, capacity * sizeof *matched);
    if (!matched)
        return false;
    subscriptions->matched = matched;
    subscriptions->capacity = capacity;
    return true;
}

int mst__subscriptions_add(struct mst__subscriptions *subscriptions, const char *subject, const char *queue,
                           struct mst_listener *listener, struct mst_error *error)
{
    struct mst_span span = {subject, strlen(subject)};
    struct subscription *subscription = NULL;
    bool wild;
    if (!mst__subject_valid(span, true, &wild))
        return mst_error_set(error, MST_EINVAL, "invalid subject");
    if (queue && !mst__subject_valid((struct mst_span){queue, strlen(queue)}, false, NULL))
        return mst_error_set(error, MST_EINVAL, "invalid queue group");
    if (!reserve(subscriptions) || !(subscription = calloc(1, sizeof *subscription + span.length)))
        goto fail;
    if (queue && !(subscription->group = group_join(subscriptions, queue)))
        goto fail;
    struct chain *chain = wild ? &subscriptions->wild : chain_of(subscriptions, span);
    if (!chain)
        goto fail;
    memcpy(subscription->subject, span.data, span.length);
    subscription->length = (uint32_t)span.length;
    subscription->listener = listener;
    chain_add(chain, subscription);
    subscriptions->count++;
    listener->slot_state = subscription;
    return 0;
fail:
    if (subscription)
        subscription_free(subscriptions, subscription);
    return mst_error_set(error, MST_ENOMEM, "no memory for a listener");
}

void mst__subscriptions_remove(struct mst__subscriptions *subscriptions, struct mst_listener *listener)
{
    struct subscription *subscription = listener->slot_state;
    if (!subscription)
        return;
    struct chain *chain = subscription->chain;
    listener->slot_state = NULL;
    subscription->listener = NULL;
    chain_remove(subscription);
    if (chain != &subscriptions->wild && !chain->first) {
        mst_map_remove(subscriptions->exact, subscription->subject, subscription->length, NULL);
        free(chain);
    }
    subscriptions->count--;
    if (subscriptions->delivering) {
        subscription->next = subscriptions->buried;
        subscriptions->buried = subscription;
    } else {
        subscription_free(subscriptions, subscription);
    }
}

static void match(struct mst__subscriptions *subscriptions, struct subscription *subscription, uint32_t *count)
{
    if (subscription->group)
        subscription->group->matches++;
    subscriptions->matched[(*count)++] = subscription;
}

/* Whether this one, met in turn, is the member of its group that gets the message. */
static bool picked(struct group *group)
{
    if (!group)
        return true;
    if (group->matches) {
        group->pick = group->round++ % group->matches;
        group->matches = 0;
    }
    return group->pick-- == 0;
}

/* Puts those who get a message into `matched` before any of them hears of it, because each may listen or unlisten. */
static uint32_t collect(struct mst__subscriptions *subscriptions, struct mst_span subject)
{
    uint64_t found;
    uint32_t count = 0, receivers = 0;
    if (mst_map_get(subscriptions->exact, subject.data, subject.length, &found))
        for (struct subscription *each = ((struct chain *)(uintptr_t)found)->first; each; each = each->next)
            match(subscriptions, each, &count);
    for (struct subscription *each = subscriptions->wild.first; each; each = each->next)
        if (subject_matches((struct mst_span){each->subject, each->length}, subject))
            match(subscriptions, each, &count);
    for (uint32_t i = 0; i < count; i++)
        if (picked(subscriptions->matched[i]->group))
            subscriptions->matched[receivers++] = subscriptions->matched[i];
    return receivers;
}

uint32_t mst__subscriptions_deliver(struct mst__subscriptions *subscriptions, const struct mst_delivery *delivery)
{
    uint32_t receivers = collect(subscriptions, delivery->subject);
    subscriptions->delivering = true;
    for (uint32_t i = 0; i < receivers; i++) {
        struct mst_listener *listener = subscriptions->matched[i]->listener;
        if (listener)
            listener->deliver(listener, delivery);
    }
    subscriptions->delivering = false;
    while (subscriptions->buried) {
        struct subscription *subscription = subscriptions->buried;
        subscriptions->buried = subscription->next;
        subscription_free(subscriptions, subscription);
    }
    return receivers;
}

struct mst__subscriptions *mst__subscriptions_create(void)
{
    struct mst__subscriptions *subscriptions = calloc(1, sizeof *subscriptions);
    if (!subscriptions)
        return NULL;
    subscriptions->exact = mst_map_create();
    subscriptions->groups = mst_map_create();
    if (!subscriptions->exact || !subscriptions->groups) {
        mst__subscriptions_destroy(subscriptions);
        return NULL;
    }
    return subscriptions;
}

static void chain_end(struct mst__subscriptions *subscriptions, struct chain *chain)
{
    while (chain->first) {
        struct subscription *subscription = chain->first;
        chain->first = subscription->next;
        subscription_free(subscriptions, subscription);
    }
}

void mst__subscriptions_destroy(struct mst__subscriptions *subscriptions)
{
    const void *key;
    size_t length, position = 0;
    uint64_t value;
    if (!subscriptions)
        return;
    chain_end(subscriptions, &subscriptions->wild);
    /* The map is not touched while it is walked: it goes as a whole. */
    while (subscriptions->exact && mst_map_next(subscriptions->exact, &position, &key, &length, &value)) {
        struct chain *chain = (struct chain *)(uintptr_t)value;
        chain_end(subscriptions, chain);
        free(chain);
    }
    if (subscriptions->exact)
        mst_map_destroy(subscriptions->exact);
    if (subscriptions->groups)
        mst_map_destroy(subscriptions->groups);
    free(subscriptions->matched);
    free(subscriptions);
}
