// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A TCP proxy on loopback between a program under test and a server: it passes bytes on, and can hold a connection
 * back or refuse it, each by its number in the order of arrival. It runs in a thread of its own.
 */
#include <stdbool.h>

enum test_proxy_rule {
    TEST_PROXY_PASS,
    TEST_PROXY_HOLD,   /* accepted by the kernel, but no byte goes either way */
    TEST_PROXY_MUTE,   /* what the program says goes on, what the server says waits */
    TEST_PROXY_REFUSE, /* reset */
};

struct test_proxy;

/* In front of 127.0.0.1:`port`. `rules`: of the first `count` connections (at most 64); all later ones pass. */
struct test_proxy *test_proxy_start(int port, const enum test_proxy_rule *rules, unsigned count);
int test_proxy_port(const struct test_proxy *proxy);

/* Another rule for one connection, at once: a held one that may pass goes on as if nothing had been. */
void test_proxy_set(struct test_proxy *proxy, unsigned connection, enum test_proxy_rule rule);

/* How many connections there have been. */
unsigned test_proxy_count(const struct test_proxy *proxy);

/* Resets what is open and frees. */
void test_proxy_stop(struct test_proxy *proxy);
