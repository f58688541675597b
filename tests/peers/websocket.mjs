// MQTT.js over WebSocket, in the clear and over TLS, MQTT 5.0 and 3.1.1, against a node on free ports.
//
// MANIFOLD_BIN names the executable, MANIFOLD_PEERS the folder whose node_modules has `mqtt`.

import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const mqtt = createRequire(resolve(process.env.MANIFOLD_PEERS, "package.json"))("mqtt");
const SECRET = "a secret of the peers";
const PATIENCE_MS = 30_000;
let failures = 0;

function check(what, isRight, seen) {
  if (isRight) {
    console.log(`ok   ${what}`);
  } else {
    failures += 1;
    console.log(`FAIL ${what}: ${JSON.stringify(seen)}`);
  }
}

function inTime(promise, what) {
  const late = new Promise((_, fail) => {
    setTimeout(() => fail(new Error(`${what} takes too long`)), PATIENCE_MS).unref();
  });
  return Promise.race([promise, late]);
}

/** A certificate for localhost that vouches for itself. */
async function certificate(folder) {
  const files = { certificate: join(folder, "server.crt"), key: join(folder, "server.key") };
  const words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 -subj /CN=localhost";
  const names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const out = ["-keyout", files.key, "-out", files.certificate];
  execFileSync("openssl", [...words.split(" "), ...names, ...out], { stdio: "ignore" });
  return { ...files, ca: await readFile(files.certificate) };
}

async function start(data, tls) {
  const listeners = ["mqtt", "ws", "wss", "http"].map((name) => `listen.${name}=127.0.0.1:0`);
  const settings = [...listeners, `tls.certificate=${tls.certificate}`, `tls.key=${tls.key}`];
  const words = settings.flatMap((setting) => ["--set", setting]);
  const child = spawn(process.env.MANIFOLD_BIN, ["serve", "--data", data, ...words], {
    env: { MANIFOLD_ADMIN_SECRET: SECRET },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const lines = createInterface({ input: child.stderr });
  const addresses = new Promise((found) => {
    const seen = {};
    lines.on("line", (line) => {
      const match = /listener="(wss?)" address=(\S+)/.exec(line);
      if (match) seen[match[1]] = match[2];
      if (seen.ws && seen.wss) found(seen);
    });
  });
  const { ws, wss } = await inTime(addresses, "the start");
  return { child, url: `ws://${ws}/mqtt`, secureUrl: `wss://${wss}/mqtt` };
}

class Client {
  static async connect(url, options) {
    const client = new Client();
    client.messages = [];
    client.waiting = [];
    const login = { username: "admin", password: SECRET, reconnectPeriod: 0 };
    client.mqtt = mqtt.connect(url, { ...login, ...options });
    client.mqtt.on("message", (topic, payload, packet) => {
      client.messages.push({ topic, text: payload.toString(), retain: packet.retain });
      client.waiting.splice(0).forEach((wake) => wake());
    });
    const welcome = new Promise((done, fail) => {
      client.mqtt.once("connect", done);
      client.mqtt.once("error", fail);
    });
    client.sessionPresent = (await inTime(welcome, "CONNACK")).sessionPresent;
    return client;
  }

  async next() {
    while (this.messages.length === 0) {
      await inTime(new Promise((wake) => this.waiting.push(wake)), "a message");
    }
    return this.messages.shift();
  }

  async nextOn(topic) {
    for (;;) {
      const message = await this.next();
      if (message.topic === topic) return message;
    }
  }
}

async function subscriptionTest(url, protocolVersion, name, tls = {}) {
  const persistent =
    protocolVersion === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {};
  const mobile = { protocolVersion, clientId: `mobile-${name}`, clean: false, ...persistent, ...tls };
  let client = await Client.connect(url, mobile);
  check(`${name}: a new session is not present`, client.sessionPresent === false);
  const speaker = await Client.connect(url, { protocolVersion, clientId: `speaker-${name}`, ...tls });
  await speaker.mqtt.publishAsync(`ws/${name}/kept`, "before", { qos: 1, retain: true });
  const granted = await client.mqtt.subscribeAsync(`ws/${name}/+`, { qos: 1 });
  check(`${name}: the subscription is granted`, granted[0].qos === 1, granted);
  const kept = await client.next();
  check(`${name}: the retained message comes`, kept.text === "before" && kept.retain, kept);

  await speaker.mqtt.publishAsync(`ws/${name}/温度`, "21,5 °C", { qos: 1 });
  const text = await client.next();
  check(`${name}: topics and payloads of any script`, text.topic === `ws/${name}/温度`, text);
  const large = "x".repeat(300_000);
  await speaker.mqtt.publishAsync(`ws/${name}/large`, large, { qos: 1 });
  check(`${name}: a message over many frames`, (await client.next()).text === large);
  const numbers = Array.from({ length: 500 }, (_, index) => String(index));
  await Promise.all(numbers.map((it) => speaker.mqtt.publishAsync(`ws/${name}/n`, it, { qos: 1 })));
  const got = [];
  while (got.length < numbers.length) got.push((await client.next()).text);
  check(`${name}: 500 messages in order`, got.join() === numbers.join(), got.slice(0, 10));

  await client.mqtt.endAsync();
  await speaker.mqtt.publishAsync(`ws/${name}/meanwhile`, "kept", { qos: 1 });
  client = await Client.connect(url, mobile);
  check(`${name}: the session is present again`, client.sessionPresent === true);
  const meanwhile = await client.nextOn(`ws/${name}/meanwhile`);
  check(`${name}: what came meanwhile is delivered`, meanwhile.text === "kept", meanwhile);
  await Promise.all([client.mqtt.endAsync(), speaker.mqtt.endAsync()]);
}

async function main() {
  const data = await mkdtemp(join(tmpdir(), "manifold-peers-"));
  const tls = await certificate(data);
  const { child, url, secureUrl } = await start(join(data, "node"), tls);
  const ended = new Promise((done) => child.once("exit", done));
  try {
    await subscriptionTest(url, 5, "5.0");
    await subscriptionTest(url, 4, "3.1.1");
    await subscriptionTest(secureUrl, 5, "5.0 over TLS", { ca: tls.ca });
    await subscriptionTest(secureUrl, 4, "3.1.1 over TLS", { ca: tls.ca });
    const stranger = Client.connect(secureUrl, { protocolVersion: 5 });
    const distrust = await stranger.then(() => null, (error) => error);
    check("a certificate that nobody vouches for is not trusted", distrust !== null, distrust);
    const wrong = Client.connect(url, { protocolVersion: 5, password: "wrong" });
    const refused = await wrong.then(() => null, (error) => error);
    check("a wrong password is refused", refused?.code === 0x86 || refused?.code === 134, refused);
  } catch (error) {
    check("the script goes to its end", false, String(error));
  }
  child.kill("SIGTERM");
  check("SIGTERM ends with 0", (await inTime(ended, "the end")) === 0);
  await rm(data, { recursive: true });
}

await main();
process.exit(failures > 0 ? 1 : 0);
