// SPDX-License-Identifier: Apache-2.0
// What the tests share: a connection of its own for each of them, calls, names as subject tokens.
import { strict as assert } from "node:assert";
import { test as nodeTest } from "node:test";
import { connect } from "nats";

const utf8 = new TextEncoder();

// A test with a connection; the next one begins when it is closed.
export function test(name, body) {
  nodeTest(name, { timeout: 30_000 }, async () => {
    const nats = await connect({ servers: process.env.NATS_URL });
    try {
      await body(nats);
    } finally {
      await nats.close();
    }
  });
}

// The message that answers a request.
export function ask(nats, verb, body) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return nats.request(`muster.default.api.${verb}`, text, { timeout: 10_000 });
}

// The answer of a request that has to succeed.
export async function call(nats, verb, body = {}) {
  const message = await ask(nats, verb, body);
  assert.equal(message.headers?.get("Nats-Service-Error-Code") ?? "", "", message.string());
  return message.json();
}

// A request that has to fail: answers its error.
export async function refused(nats, verb, body, code, number) {
  const message = await ask(nats, verb, body);
  const { error } = message.json();
  assert.equal(error.code, code);
  assert.equal(message.headers.get("Nats-Service-Error-Code"), number);
  assert.equal(message.headers.get("Nats-Service-Error"), `${code}: ${error.message}`);
  return error;
}

// A name as one token of a subject: all bytes but these as =HH.
export function token(name) {
  return [...utf8.encode(name)].map((byte) => {
    const character = String.fromCharCode(byte);
    return /[A-Za-z0-9_-]/.test(character) ? character : "=" + byte.toString(16).toUpperCase().padStart(2, "0");
  }).join("");
}

// Subscribes and hands on each message; in force when it returns.
export async function listen(nats, subject, handler) {
  const subscription = nats.subscribe(subject, {
    callback(error, message) {
      assert.equal(error, null);
      handler(message);
    },
  });
  await nats.flush();
  return subscription;
}

export async function register(nats, identities) {
  for (let at = 0; at < identities.length; at += 1000) {
    for (const answer of await call(nats, "register", identities.slice(at, at + 1000))) {
      assert.equal(answer.error, undefined);
    }
  }
}

// The report's receipts as { id: [state, code] }.
export function receipts(report) {
  return Object.fromEntries(report.receipts.map(({ id, state, code }) => [id, [state, code]]));
}
