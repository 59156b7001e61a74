import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { GantryError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { HttpServer } from "#web/server.ts";
import { createDockerApi } from "./api.ts";
import { FakeEngine } from "./fake-engine.ts";

/** What docker 28.2.2 and dockerd 20.10 said to each other, one request with its answer at a time. */
interface Recorded {
  command: string;
  method: string;
  target: string;
  headers: Record<string, string>;
  body: string;
  response: { status: number; headers: Record<string, string>; body: string };
}

const fixture = join(import.meta.dirname, "../../test/docker/fixtures/wire-28.2.2.json");
const recorded = JSON.parse(readFileSync(fixture, "utf8")) as Recorded[];
const folder = mkdtempSync(join(tmpdir(), "gantry-wire-"));
const socketPath = join(folder, "docker.sock");
let fake = new FakeEngine();
const server = new HttpServer({
  name: "docker",
  log: silentLogger,
  handler: (req, res) => createDockerApi({ version: "0.1.0" }, { engine: fake.engine, log: silentLogger })(req, res),
});
before(() => server.listen({ path: socketPath }));
after(async () => {
  await server.stop(500);
  rmSync(folder, { recursive: true });
});

/** An engine that means what the recorded daemon answered. */
function engineThatAnswers(exchange: Recorded): FakeEngine {
  const engine = new FakeEngine();
  const { body } = exchange.response;
  const json = (): never => JSON.parse(body) as never;
  const set = (name: string, answer: () => unknown): void => {
    engine.answers[name] = answer;
  };
  if (exchange.response.status >= 400) {
    const { message } = json() as { message: string };
    set("containers.wait", () => Promise.reject(new GantryError("not-found", message)));
    return engine;
  }
  for (const name of ["start", "restart", "pause", "rename", "remove"]) set(`containers.${name}`, () => undefined);
  for (const name of ["images.tag", "volumes.remove"]) set(name, () => undefined);
  set("containers.create", json);
  set("containers.wait", () => ({ result: Promise.resolve(json()) }));
  set("containers.execCreate", () => (json() as { Id: string }).Id);
  set("containers.execInspect", json);
  set("containers.top", json);
  set("containers.diff", json);
  set("containers.commit", () => (json() as { Id: string }).Id);
  set("containers.logs", () => ({ tty: false, entries: (async function* () {})() }));
  set("images.remove", json);
  set("images.list", () => {
    const images = json() as { VirtualSize?: number }[];
    for (const image of images) delete image.VirtualSize;
    return images;
  });
  const tell = async (...args: unknown[]): Promise<void> => {
    const { progress } = args[1] as { progress: (message: object) => void };
    for (const line of body.split("\n").filter((text) => text.trim() !== "")) {
      const message = JSON.parse(line) as { error?: string };
      if (message.error !== undefined) throw new GantryError("unavailable", message.error);
      progress(message);
    }
  };
  engine.answers["images.push"] = tell as never;
  engine.answers["images.load"] = tell as never;
  return engine;
}

function replay(exchange: Recorded): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  return new Promise((resolve, reject) => {
    const { method, target, headers } = exchange;
    const body = headers["Content-Length"] === undefined ? undefined : exchange.body;
    const req = request({ socketPath, method, path: target, headers: { ...headers, Connection: "close" } }, (res) => {
      let text = "";
      res.setEncoding("utf8");
      res.on("data", (chunk: string) => (text += chunk));
      res.on("end", () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text }));
    });
    req.on("error", reject);
    req.end(body?.slice(0, Number(headers["Content-Length"])));
  });
}

/** Names of what says when, how and by whom an answer was sent. */
const incidental = new Set(["date", "server", "api-version", "content-length", "transfer-encoding", "connection"]);

const plain = recorded.filter(
  ({ response, body, headers }) =>
    response.status !== 101 &&
    (Number(headers["Content-Length"] ?? 0) === 0 || body.length >= Number(headers["Content-Length"])),
);

test("the recording is there", () => {
  assert.ok(plain.length > 50, `${plain.length} exchanges`);
});

for (const exchange of plain) {
  const { command, method, target } = exchange;
  test(`${command}: ${method} ${target.replaceAll(/[0-9a-f]{64}/g, "ID")}`, async () => {
    fake = engineThatAnswers(exchange);
    const answer = await replay(exchange);
    assert.equal(answer.status, exchange.response.status, answer.body);
    for (const [name, value] of Object.entries(exchange.response.headers)) {
      // Framed content types were not told apart before API 1.42, and logs had none.
      if (!incidental.has(name.toLowerCase())) assert.equal(answer.headers[name.toLowerCase()], value, name);
    }
    const lines = (text: string): unknown[] =>
      text
        .split(/\r?\n/)
        .filter((line) => line.trim() !== "")
        .map((line) => JSON.parse(line) as unknown);
    if (exchange.response.headers["Content-Type"] === "application/json") {
      assert.deepEqual(lines(answer.body), lines(exchange.response.body));
      assert.ok(answer.body.endsWith("\n"));
    } else assert.equal(answer.body.trim(), exchange.response.body.replaceAll(/[^\x20-\x7e]|tty/g, "").trim());
  });
}
