// Receives with nothing but the official NATS client:  npm install nats && node receiver.mjs sensor-1 '{"site":"hq"}'
import { connect } from "nats";

const [id = "sensor-1", metadata = "{}"] = process.argv.slice(2);
const nats = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });

// A name as one token of a subject: every byte but letters, digits, _ and - as =HH.
function token(name) {
  const hex = (byte) => "=" + byte.toString(16).toUpperCase().padStart(2, "0");
  return Buffer.from(name).reduce((out, byte) =>
    out + (/[\w-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : hex(byte)), "");
}

async function call(verb, body) {
  const reply = await nats.request(`muster.default.api.${verb}`, JSON.stringify(body), { timeout: 6000 });
  const answer = reply.json();
  if (answer.error) throw new Error(`${answer.error.code}: ${answer.error.message}`);
  return answer;
}

nats.subscribe(`muster.default.to.${token(id)}`, {
  callback(error, message) {
    if (error) throw error;
    console.log(message.string());
    message.respond("+"); // processed; "" is received, "-ECODE why" is failed
  },
});

const register = () => call("register", { id, metadata: JSON.parse(metadata), ttl: "30s" });
await register();
const beat = setInterval(async () => {
  const { unknown } = await call("heartbeat", { id }).catch(() => ({ unknown: [] })); // the next one may come through
  if (unknown.length) await register();
}, 10_000);
console.log(`receiving as ${id}`);
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => call("unregister", { id }).finally(() => (clearInterval(beat), nats.drain())));
