// SPDX-License-Identifier: Apache-2.0
// Receivers written with the official NATS client: as an identity, as a gateway, under odd names.
import { strict as assert } from "node:assert";
import { call, listen, receipts, register, test, token } from "./client.mjs";

const SPECIAL = ["a b", "a.b", "a", "A", "a*", "*", ">", "a.>", "=41", "$SRV.PING", "größe", "日本", "🙂", "a/b\\c\"'"];

function split(message) {
  const at = message.data.indexOf(10);
  return { ...JSON.parse(message.string().slice(0, message.string().indexOf("\n"))), payload: message.data.slice(at + 1) };
}

test("an identity says received, processed or failed", async (nats) => {
  const got = [];
  const answers = { heard: "", done: "+", broken: "-EJAM.2 paper, tray 2", garbled: "what?" };
  await register(nats, [...Object.keys(answers), "away"].map((id) => ({ id, metadata: { kind: "printer" } })));
  for (const [id, answer] of Object.entries(answers)) {
    await listen(nats, `muster.default.to.${id}`, (message) => {
      got.push(`${id} ${message.string()}`);
      message.respond(answer);
    });
  }
  const report = await call(nats, "multicast", {
    filter: 'kind == "printer"', payload: { print: 1 }, ack: "processed", timeout: "500ms", report: "all",
  });
  assert.deepEqual(got.sort(), Object.keys(answers).map((id) => `${id} {"print":1}`).sort());
  assert.equal(report.targets, 5);
  assert.deepEqual(report.states, { processed: 1, received: 1, failed: 1, no_receiver: 1, timeout: 1 });
  assert.deepEqual(report.failures, { timeout: 1, connection: 0, logic: 2 });
  assert.deepEqual(receipts(report), {
    heard: ["received", null], done: ["processed", null], broken: ["failed", "EJAM.2 paper, tray 2"],
    garbled: ["timeout", null], away: ["no_receiver", null],
  });
  for (const id of [...Object.keys(answers), "away"]) await call(nats, "unregister", { id });
});

test("received may become processed, and only what failed is listed if asked so", async (nats) => {
  await register(nats, [{ id: "slow" }, { id: "worse" }]);
  await listen(nats, "muster.default.to.slow", (message) => {
    message.respond();
    setTimeout(() => message.respond("+"), 100);
  });
  await listen(nats, "muster.default.to.worse", (message) => message.respond("-ENO"));
  const report = await call(nats, "multicast", {
    filter: '@id in ["slow", "worse"]', payload_base64: "AAH/Cg==", ack: "processed", timeout: "5s", report: "failed",
  });
  assert.deepEqual(report.states, { processed: 1, failed: 1 });
  assert.deepEqual(report.receipts, [{ id: "worse", state: "failed", code: "ENO" }]);
  for (const id of ["slow", "worse"]) await call(nats, "unregister", { id });
});

test("a gateway gets one envelope and names only those that differ", async (nats) => {
  const gateway = "edge 7.a", ids = ["u1", "u.2", "u 3", "ü\"4", "u5"], envelopes = [];
  await register(nats, ids.map((id) => ({ id, gateway, metadata: { room: 7 } })));
  const answers = [
    JSON.stringify({ "u.2": "-EGONE has left", "ü\"4": "+", "stranger": "-EWHO" }),
    "+" + JSON.stringify({ "u 3": "-ESTUCK", u5: "" }),
  ];
  await listen(nats, `muster.default.via.${token(gateway)}`, (message) => {
    envelopes.push(split(message));
    message.respond(answers[envelopes.length - 1]);
  });
  const order = { filter: "room == 7", payload_base64: "aGkKAP8=", ack: "received", timeout: "2s", report: "all" };
  const first = await call(nats, "multicast", order);
  assert.deepEqual(first.states, { received: 3, processed: 1, failed: 1 });
  assert.deepEqual(receipts(first), {
    "u1": ["received", null], "u.2": ["failed", "EGONE has left"], "u 3": ["received", null],
    "ü\"4": ["processed", null], "u5": ["received", null],
  });
  const second = await call(nats, "multicast", { ...order, ack: "processed", timeout: "300ms" });
  assert.deepEqual(receipts(second), {
    "u1": ["processed", null], "u.2": ["processed", null], "u 3": ["failed", "ESTUCK"],
    "ü\"4": ["processed", null], "u5": ["received", null],
  });
  assert.equal(envelopes.length, 2);
  for (const [i, report] of [first, second].entries()) {
    assert.deepEqual(Object.keys(envelopes[i]), ["m", "rev", "to", "payload"]);
    assert.deepEqual([envelopes[i].m, envelopes[i].rev], [report.multicast, report.revision]);
    assert.deepEqual(envelopes[i].to.sort(), [...ids].sort());
    assert.deepEqual([...envelopes[i].payload], [104, 105, 10, 0, 255]);
  }
  for (const id of ids) await call(nats, "unregister", { id });
});

test("a large gateway gets several envelopes that hold each identity once", async (nats) => {
  const ids = Array.from({ length: 2500 }, (_, i) => `member-${i}`), got = [];
  let messages = 0;
  await register(nats, ids.map((id) => ({ id, gateway: "hub", metadata: { hub: true } })));
  await listen(nats, "muster.default.via.hub", (message) => {
    const { to } = split(message);
    messages++;
    got.push(...to);
    message.respond(JSON.stringify({ [to[0]]: "-EFIRST" }));
  });
  const report = await call(nats, "multicast", { filter: "hub", payload: "x", report: "failed" });
  assert.equal(messages, 3);
  assert.deepEqual(got.sort(), ids.sort());
  assert.deepEqual(report.states, { received: 2497, failed: 3 });
  await Promise.all(ids.map((id) => call(nats, "unregister", { id })));
});

test("odd names reach their own subject and no other", async (nats) => {
  const seen = [], got = [];
  await register(nats, SPECIAL.map((id) => ({ id, metadata: { odd: true } })));
  const spy = await listen(nats, "muster.>", ({ subject }) => {
    if (!subject.startsWith("muster.default.api.")) seen.push(subject);
  });
  for (const id of SPECIAL) {
    await listen(nats, `muster.default.to.${token(id)}`, (message) => {
      got.push([id, message.string()]);
      message.respond("+");
    });
  }
  for (const id of SPECIAL) {
    const { states } = await call(nats, "multicast",
      { filter: "@id == :id", params: { id }, payload: id, ack: "processed", timeout: "2s" });
    assert.deepEqual(states, { processed: 1 }, id);
  }
  assert.deepEqual(got, SPECIAL.map((id) => [id, id]));
  assert.deepEqual(seen, SPECIAL.map((id) => `muster.default.to.${token(id)}`));
  got.length = 0;
  seen.length = 0;
  const { states } = await call(nats, "multicast", { filter: "odd", payload: "all", ack: "processed", timeout: "2s" });
  assert.deepEqual(states, { processed: SPECIAL.length });
  assert.deepEqual(got.map(([id]) => id).sort(), [...SPECIAL].sort());
  assert.equal(new Set(seen).size, SPECIAL.length);
  spy.unsubscribe();
  for (const id of SPECIAL) await call(nats, "unregister", { id });
});
