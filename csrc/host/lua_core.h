// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Lua module muster.core: what lua/muster is built on. Expected failure is `nil, message, code`; wrong argument
 * types throw.
 *
 * Hosts and clients share one set of methods ("door"):
 *
 *   core.open(options) -> host          runs a coordinator in this process; waits until it is ready. Options, all
 *                                       optional: redis_host redis_port redis_db redis_user redis_password
 *                                       nats_servers nats_user nats_password nats_token nats_credentials_file
 *                                       nats_nkey_file nats_ca_file prefix log_level log_json max_identities filters
 *   core.connect{socket=PATH, timeout=SECONDS} -> client       of a coordinator elsewhere, by its control socket
 *   core.connect{nats_servers=URLS, prefix=, timeout=, nats_user= ...} -> client       by its NATS service
 *
 *   door:call(verb, namespace, body) -> json | nil, error_json, code         body and answers are JSON text; waits
 *   door:start(verb, namespace, body, fn)                                    fn(json, code): code nil on success
 *   door:receive(namespace, "to"|"via", name, fn) -> true                    fn(payload, reply, subject); without a
 *                                                                            reply no answer is wanted
 *   door:acknowledge(reply, text)
 *   door:run([seconds [, hangup]]) -> "stop" | "SIGINT" | "SIGTERM" | "SIGHUP" | "lost" | "timeout"
 *                                       runs the loop; SIGHUP ends it only if `hangup` is true
 *   door:stop()                         ends run; from a callback
 *   door:close()                        drains and closes; also by the collector
 *   host:listen(path) -> true           opens the control socket
 *   host:serve() -> true                answers on NATS as the service
 *   host:status() -> table              counters of coordinator, compiled filters and messaging
 *   host:load_filters(folder) -> true   named filters from a folder, in place of those there were
 *
 * An error thrown by a callback ends the running `run` or `call`, which rethrows it.
 *
 *   core.json_encode(value) -> text     tables with a sequence part are arrays; an empty table is {} unless made by
 *                                       core.array
 *   core.json_decode(text) -> value     arrays keep the metatable of core.array; null is core.null; numbers are Lua
 *                                       numbers
 *   core.base64(bytes) -> text
 *   core.array(table) -> table          core.null
 *
 *   core.matcher{program=, params=JSON, now=MILLISECONDS} -> matcher | nil, message, code
 *   matcher:test(line) -> boolean | nil, message, code          line: {"id","metadata",...} or bare metadata
 *   core.regex_check(pattern) -> true | nil, message, offset
 *
 *   core.spawn{argv = {...}, stdout = PATH, directory = PATH} -> pid        stdin /dev/null, stderr to stdout's file;
 *                                                                           dies with us
 *   core.kill(pid, signal) core.wait(pid, seconds) -> exited, status       status: exit code, or 128 + signal
 *   core.free_port() -> number          core.make_directory(prefix) -> path       core.remove_tree(path)  what it made
 *   core.sleep(seconds) core.now() -> ms  core.monotonic() -> seconds  core.isatty(fd)  core.pid()  core.rss() -> bytes
 *   core.list_folder(path) -> names | nil, message
 *   core.mkdir(path, mode) -> true (also where it is there and ours)  core.setenv(name, value)  core.uid()
 *
 *   core.loadtest(options_json) -> report_json, exit_code | nil, message, code       (host/loadtest.h)
 *   core.loadtest_clean(options_json) -> answer_json | nil, message, code
 *   core.version
 */
#include <lua.h>

#include "include/muster.h"

MST_API int luaopen_muster_core(lua_State *L);
