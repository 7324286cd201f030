// SPDX-License-Identifier: Apache-2.0
// Discovery and statistics, through the service client of the official NATS client.
import { strict as assert } from "node:assert";
import { call, refused, test } from "./client.mjs";

const VERBS = ["aggregate", "count", "enumerate", "explain", "filters", "get", "heartbeat", "multicast", "prepare",
  "register", "unregister"];

async function collect(answers) {
  const list = [];
  for await (const answer of await answers) list.push(answer);
  return list;
}

function expectIdentity(answer, type) {
  assert.equal(answer.type, `io.nats.micro.v1.${type}_response`);
  assert.equal(answer.name, "muster");
  assert.match(answer.version, /^\d+\.\d+\.\d+/);
  assert.match(answer.id, /^[A-Za-z0-9_-]{22}$/);
  assert.equal(answer.metadata.prefix, "muster");
}

test("ping finds it, by name and by id", async (nats) => {
  const client = nats.services.client();
  const all = await collect(client.ping());
  assert.equal(all.length, 1);
  expectIdentity(all[0], "ping");
  assert.deepEqual(await collect(client.ping("muster")), all);
  assert.deepEqual(await collect(client.ping("muster", all[0].id)), all);
});

test("info lists an endpoint for each verb", async (nats) => {
  const [info, ...more] = await collect(nats.services.client().info("muster"));
  assert.equal(more.length, 0);
  expectIdentity(info, "info");
  assert.ok(info.description.length > 10);
  assert.deepEqual(info.endpoints.map((endpoint) => endpoint.name).sort(), VERBS);
  for (const { name, subject, queue_group } of info.endpoints) {
    assert.deepEqual([subject, queue_group], [`muster.*.api.${name}`, "q"]);
  }
});

test("stats count requests and errors", async (nats) => {
  const client = nats.services.client();
  const of = async (verb) => {
    const [stats] = await collect(client.stats("muster"));
    expectIdentity(stats, "stats");
    assert.ok(Math.abs(Date.parse(stats.started) - Date.now()) < 3_600_000, stats.started);
    return stats.endpoints.find((endpoint) => endpoint.name === verb);
  };
  const before = await of("count");
  for (let i = 0; i < 3; i++) await call(nats, "count");
  await refused(nats, "count", { filter: "a ==" }, "EFILTER", "400");
  const after = await of("count");
  assert.equal(after.num_requests - before.num_requests, 4);
  assert.equal(after.num_errors - before.num_errors, 1);
  assert.ok(after.processing_time > before.processing_time);
  assert.equal(after.average_processing_time, Math.floor(after.processing_time / after.num_requests));
  assert.match(after.last_error, /^400:EFILTER: /);
});
