// SPDX-License-Identifier: Apache-2.0
// The verbs, by request from the official NATS client.
import { strict as assert } from "node:assert";
import { ask, call, refused, test } from "./client.mjs";

const started = Date.now();

test("register creates, renews and answers as documented", async (nats) => {
  const body = { id: "sensor-1", metadata: { status: "online", load: 9 }, ttl: "5m" };
  const first = await call(nats, "register", body);
  assert.deepEqual(Object.keys(first).sort(), ["created", "expires_at", "id", "registered_at", "revision"]);
  assert.equal(first.id, "sensor-1");
  assert.equal(first.created, true);
  assert.equal(first.expires_at - first.registered_at, 300_000);
  assert.ok(first.registered_at >= started - 1000 && first.registered_at <= Date.now() + 1000);
  const again = await call(nats, "register", body);
  assert.equal(again.created, false);
  assert.ok(again.revision > first.revision);
  assert.equal(again.registered_at, first.registered_at);
});

test("register takes an array and answers for each of it", async (nats) => {
  const answers = await call(nats, "register", [
    { id: "sensor-2", metadata: { status: "online", load: 2 }, ttl: null },
    { id: "" },
    { id: "sensor-3", metadata: { status: "offline", load: 5 }, ttl: 60 },
  ]);
  assert.deepEqual(answers.map((answer) => answer.id ?? answer.error.code), ["sensor-2", "EID", "sensor-3"]);
  assert.equal(answers[0].expires_at, null);
});

test("heartbeat renews what is there and names what is not", async (nats) => {
  const answer = await call(nats, "heartbeat", { ids: ["sensor-1", "sensor-9"], ttl: "1h" });
  assert.deepEqual([answer.renewed, answer.unknown], [1, ["sensor-9"]]);
  const { expires_at } = await call(nats, "get", { id: "sensor-1" });
  assert.ok(expires_at > Date.now() + 3_500_000);
});

test("get answers metadata byte for byte", async (nats) => {
  const metadata = '{"n": 9007199254740993,  "x":1.50, "größe":"Zü"}';
  await call(nats, "register", `{"id":"exact","metadata":${metadata}}`);
  const message = await ask(nats, "get", { id: "exact" });
  assert.ok(message.string().includes(`"metadata":${metadata},"gateway":null`), message.string());
  await call(nats, "unregister", { id: "exact" });
});

test("enumerate filters, sorts, selects and goes on page by page", async (nats) => {
  const sorted = await call(nats, "enumerate", {
    filter: "status == :s", params: { s: "online" }, sort: ["-load"], fields: ["load"],
  });
  assert.deepEqual(sorted.identities.map(({ id, metadata }) => [id, metadata]),
    [["sensor-1", { load: 9 }], ["sensor-2", { load: 2 }]]);
  assert.deepEqual([sorted.total, sorted.next_cursor, sorted.warnings], [2, null, []]);
  const ids = [];
  let cursor;
  do {
    const page = await call(nats, "enumerate", { limit: 1, cursor, include_metadata: false });
    assert.equal(page.total, 3);
    assert.equal("metadata" in page.identities[0], false);
    ids.push(page.identities[0].id);
    cursor = page.next_cursor;
  } while (cursor !== null);
  assert.deepEqual(ids.sort(), ["sensor-1", "sensor-2", "sensor-3"]);
});

test("count takes a filter as text or JSON, or no body at all", async (nats) => {
  assert.equal((await call(nats, "count", { filter: "load > 3" })).count, 2);
  assert.equal((await call(nats, "count", { filter: { load: { $gt: 3 } } })).count, 2);
  assert.equal((await call(nats, "count", "")).count, 3);
});

test("explain tells each clause", async (nats) => {
  const answer = await call(nats, "explain", { filter: "not (load > 5)", id: "sensor-1" });
  assert.deepEqual([answer.matches, answer.total, answer.identities], [false, 2, 3]);
  assert.deepEqual(answer.clauses, [{ text: "load > 5", holds: true, negated: true, value: 9 }]);
});

test("multicast without a receiver says so at once", async (nats) => {
  const before = Date.now();
  const answer = await call(nats, "multicast", { filter: "load > 3", payload: { cmd: "x" }, report: "failed" });
  assert.ok(Date.now() - before < 3000);
  assert.match(answer.multicast, /^m-[0-9a-z]{16}$/);
  assert.match(answer.digest, /^[0-9a-f]{16}$/);
  assert.deepEqual([answer.targets, answer.states], [2, { no_receiver: 2 }]);
  assert.deepEqual(answer.failures, { timeout: 0, connection: 0, logic: 2 });
  const dry = await call(nats, "multicast", { filter: "load > 3", dry_run: true });
  assert.deepEqual([dry.dry_run, dry.targets, dry.digest], [true, 2, answer.digest]);
});

test("unregister removes, and removing nothing is no error", async (nats) => {
  for (const id of ["sensor-1", "sensor-2", "sensor-3"]) {
    assert.equal((await call(nats, "unregister", { id })).removed, true);
  }
  assert.equal((await call(nats, "unregister", { id: "sensor-1" })).removed, false);
  assert.equal((await call(nats, "count")).count, 0);
});

test("errors carry the headers of a service and a place", async (nats) => {
  await call(nats, "register", { id: "owned", owner: "me" });
  const filter = await refused(nats, "count", { filter: "a =< 1" }, "EFILTER", "400");
  assert.deepEqual([filter.at.line, filter.at.column], [1, 3]);
  const unknown = await refused(nats, "count", { fitler: "a" }, "EINVAL", "400");
  assert.match(`${unknown.message} ${unknown.hint}`, /'?fitler'?.*'?filter'?/);
  await refused(nats, "count", "{", "EJSON", "400");
  await refused(nats, "count", { filter: "a == :p" }, "EPARAM", "400");
  await refused(nats, "register", { id: "" }, "EID", "400");
  await refused(nats, "get", { id: "nobody" }, "ENOTFOUND", "404");
  await refused(nats, "nonsense", {}, "EVERB", "404");
  await refused(nats, "drop", {}, "EVERB", "404");
  await refused(nats, "register", { id: "owned", mode: "create" }, "EEXISTS", "409");
  await refused(nats, "register", { id: "owned", owner: "you" }, "EOWNER", "409");
  await refused(nats, "multicast", { payload: "x" }, "EGUARD", "409");
  await refused(nats, "multicast", { all: true, payload: "x", rate: 1 }, "EUNSUPPORTED", "501");
  await call(nats, "unregister", { id: "owned" });
});

test("many requests at once are all answered", async (nats) => {
  const answers = await Promise.all(Array.from({ length: 500 }, (_, i) =>
    call(nats, "register", { id: `many-${i}`, metadata: { many: true } })));
  assert.equal(new Set(answers.map((answer) => answer.revision)).size, 500);
  assert.equal((await call(nats, "count", { filter: "many" })).count, 500);
  await Promise.all(answers.map(({ id }) => call(nats, "unregister", { id })));
});
