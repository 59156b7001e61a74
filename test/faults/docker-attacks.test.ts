import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { TestInstance } from "../acceptance/instance.ts";

/** Raw bytes against the Docker socket: what a broken or hostile client may send, and no HTTP library would. */
const instance = new TestInstance(`fault-raw-${process.pid}`);
const given = process.env["GANTRY_TEST_DOCKER_SOCKET"];
const socketPath = given ?? `/run/gantry/${instance.name}/docker.sock`;

before(() => {
  if (given === undefined) instance.up();
});
after(() => {
  if (given === undefined) instance.reset();
});

interface Outcome {
  /** What came before the end, or the time. */
  text: string;
  isClosed: boolean;
}

/** Sends the parts, `gapMs` apart, and gathers what comes until the other side closes or `waitMs` have passed. */
function converse(
  parts: readonly (string | Buffer)[],
  { gapMs = 0, waitMs = 1_000, end = false } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    let text = "";
    const left = [...parts];
    let pacing: NodeJS.Timeout | undefined;
    const finish = (isClosed: boolean): void => {
      clearTimeout(pacing);
      clearTimeout(deadline);
      socket.destroy();
      resolve({ text, isClosed });
    };
    const deadline = setTimeout(() => finish(false), waitMs + parts.length * gapMs);
    const next = (): void => {
      const part = left.shift();
      if (part === undefined) {
        if (end) socket.end();
        return;
      }
      socket.write(part);
      pacing = setTimeout(next, gapMs);
    };
    socket.on("connect", next);
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("end", () => finish(true));
    // A server that has closed answers what still comes with a reset.
    socket.on("error", () => finish(true));
  });
}

const status = ({ text }: Outcome): number => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0);
const head = (method: string, path: string, ...headers: string[]): string =>
  `${[`${method} ${path} HTTP/1.1`, "Host: d", ...headers].join("\r\n")}\r\n\r\n`;
const json = "Content-Type: application/json";
const chunked = (...bodies: string[]): string =>
  `${bodies.map((body) => `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`).join("")}0\r\n\r\n`;

async function isAlive(): Promise<void> {
  const answer = await converse([head("GET", "/_ping", "Connection: close")]);
  assert.equal(status(answer), 200, answer.text);
}

test("a body in chunks of any size is one body, and a broken chunk is no request", async () => {
  const text = JSON.stringify({ Name: "chunked-volume", Labels: { a: "b".repeat(2_000) } });
  const pieces = text.match(/.{1,37}/gs) as string[];
  const whole = await converse([
    head("POST", "/volumes/create", json, "Transfer-Encoding: chunked", "Connection: close"),
    chunked(...pieces),
  ]);
  assert.equal(status(whole), 201, whole.text);
  const remove = head("DELETE", "/volumes/chunked-volume", "Connection: close");
  assert.equal(status(await converse([remove])), 204);
  for (const broken of ["zz\r\n{}\r\n0\r\n\r\n", "-1\r\n{}\r\n", "ffffffffffffffffff\r\n{}", "2\r\n{}x\r\n0\r\n\r\n"]) {
    const refused = await converse([head("POST", "/volumes/create", json, "Transfer-Encoding: chunked"), broken]);
    assert.ok([0, 400, 413].includes(status(refused)), refused.text);
  }
  const both = head("POST", "/volumes/create", json, "Transfer-Encoding: chunked", "Content-Length: 2");
  assert.ok([0, 400].includes(status(await converse([both, chunked('{"Name":"smuggled"}')]))));
  assert.equal(status(await converse([head("GET", "/volumes/smuggled", "Connection: close")])), 404);
  await isAlive();
});

test("headers without end are refused, and many in a row harm nobody", async () => {
  const huge = await converse([head("GET", "/info", `X-Long: ${"a".repeat(300_000)}`)], { waitMs: 3_000 });
  assert.ok([0, 400, 431].includes(status(huge)) && huge.isClosed, huge.text.slice(0, 200));
  const many = Array.from({ length: 20_000 }, (_, index) => `X-${index}: 1`);
  assert.ok([0, 200, 400, 431].includes(status(await converse([head("GET", "/_ping", ...many)], { waitMs: 3_000 }))));
  const auth = await converse([
    head(
      "POST",
      "/images/create?fromImage=localhost:1/x&tag=1",
      `X-Registry-Auth: ${"A".repeat(10_000)}`,
      "Content-Length: 0",
    ),
  ]);
  assert.equal(status(auth), 400, auth.text);
  await isAlive();
});

test("a body that comes a byte at a time is waited for, one that never comes holds up nobody", async () => {
  const text = JSON.stringify({ Name: "slow-volume" });
  const slow = converse(
    [head("POST", "/volumes/create", json, `Content-Length: ${text.length}`, "Connection: close"), ...text],
    { gapMs: 10 },
  );
  const hanging = Array.from({ length: 50 }, () =>
    converse([head("POST", "/containers/create", json, "Content-Length: 100"), "{"], { waitMs: 1_500 }),
  );
  await isAlive();
  assert.equal(status(await slow), 201);
  for (const each of await Promise.all(hanging)) assert.equal(status(each), 0, each.text);
  await converse([head("DELETE", "/volumes/slow-volume", "Connection: close")]);
  // Cut off in the middle of a body: nothing was asked for.
  const cut = await converse([head("POST", "/volumes/create", json, "Content-Length: 500"), '{"Name":"cut"}'], {
    end: true,
  });
  assert.ok([0, 400].includes(status(cut)), cut.text);
  assert.equal(status(await converse([head("GET", "/volumes/cut", "Connection: close")])), 404);
});

test("bombs in filters and bodies are refused or answered soon", async () => {
  const deep = `${'{"label":'.repeat(5_000)}1${"}".repeat(5_000)}`;
  const wide = JSON.stringify({ label: Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`k${n}`, true])) });
  const nested = "[".repeat(200_000);
  for (const filters of [
    deep,
    wide,
    '{"__proto__":{"x":true}}',
    '{"name":["(a+)+$"]}',
    '{"id":[1]}',
    '{"a":{"b":"c"}}',
  ]) {
    const answer = await converse(
      [head("GET", `/containers/json?all=1&filters=${encodeURIComponent(filters)}`, "Connection: close")],
      { waitMs: 5_000 },
    );
    // 431: longer than a request line may be.
    assert.ok([200, 400, 414, 431].includes(status(answer)), `${filters.slice(0, 40)}: ${answer.text.slice(0, 200)}`);
  }
  const body = await converse([
    head("POST", "/containers/create", json, `Content-Length: ${nested.length}`, "Connection: close"),
    nested,
  ]);
  assert.equal(status(body), 400, body.text.slice(0, 200));
  const endless = await converse(
    [
      head("POST", "/containers/create", json, "Transfer-Encoding: chunked"),
      ...Array(40).fill(`100000\r\n${" ".repeat(0x100000)}\r\n`),
    ],
    { waitMs: 5_000 },
  );
  assert.ok([0, 400, 413].includes(status(endless)) && endless.isClosed, endless.text.slice(0, 200));
  await isAlive();
});

test("parameters that come twice, in arrays or without a value break nothing", async () => {
  const value = fc.constantFrom("1", "", "true", "none", "%00", "%", "%zz", "[]", "a,b", "9".repeat(400));
  const key = fc.constantFrom("all", "all[]", "filters", "limit", "size", "type", "t", "since", "names", "names[]");
  const path = fc.constantFrom(
    "/containers/json",
    "/images/json",
    "/images/get",
    "/volumes",
    "/networks",
    "/system/df",
  );
  const pairs = fc.array(fc.tuple(key, fc.option(value, { nil: undefined })), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(path, pairs, async (target, query) => {
      const text = query.map(([name, each]) => (each === undefined ? name : `${name}=${each}`)).join("&");
      const answer = await converse([head("GET", `${target}?${text}`, "Connection: close")], { waitMs: 3_000 });
      // dockerd, too, answers 500 to what is no number, in Go's words.
      if (status(answer) === 500) assert.match(answer.text, /"message":"strconv\.(Atoi|ParseInt): parsing /);
      else assert.ok(status(answer) >= 200 && status(answer) < 500, `${target}?${text}: ${answer.text.slice(0, 200)}`);
    }),
    { numRuns: 150, seed: 20_261_128, endOnFailure: true },
  );
});

test("an upgrade of what cannot be taken over, and bytes behind one, harm nobody", async () => {
  const upgrade = ["Connection: Upgrade", "Upgrade: tcp"];
  const plain = await converse([head("GET", "/info", ...upgrade)]);
  assert.equal(status(plain), 200, plain.text.slice(0, 200));
  const nobody = await converse([
    head("POST", "/containers/nobody/attach?stream=1&stdin=1", ...upgrade),
    "typed ahead",
  ]);
  assert.equal(status(nobody), 404, nobody.text);
  const exec = head("POST", "/exec/nothing/start", json, "Content-Length: 2", ...upgrade);
  assert.equal(status(await converse([exec, "{}"])), 404);
  // Two requests in one packet: both are answered, in order.
  const two = await converse([head("GET", "/_ping") + head("GET", "/version", "Connection: close")]);
  assert.equal(two.text.match(/HTTP\/1\.1 200/g)?.length, 2, two.text.slice(0, 300));
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), async (noise) => {
      const answer = await converse([Buffer.from(noise), "\r\n\r\n"], { waitMs: 200, end: true });
      assert.ok([0, 400, 404, 431].includes(status(answer)), answer.text.slice(0, 200));
    }),
    { numRuns: 60, seed: 20_261_128 },
  );
  await isAlive();
});
