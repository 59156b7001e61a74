import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import fc from "fast-check";
import { WebSocket } from "ws";
import { GantryError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { HttpServer } from "#web/server.ts";
import { createDockerApi } from "./api.ts";
import { echoSession, FakeEngine, logEntries } from "./fake-engine.ts";
import { parseFilters } from "./filters.ts";
import { decodeRegistryAuth } from "./registry-auth.ts";
import { boolValue, timeValue } from "./query.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-docker-"));
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
beforeEach(() => {
  fake = new FakeEngine();
});

/** An argument of the engine's first call. */
function argument<T>(index: number): T {
  return fake.calls[0]?.args[index] as T;
}

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  bytes: Buffer;
}

function ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
    const type: Record<string, string> = text === undefined ? {} : { "content-type": "application/json" };
    const req = request({ socketPath, method, path, agent: false, headers: { ...type, ...headers } }, (res) => {
      const chunks: Buffer[] = [];
      res.on("data", (chunk: Buffer) => chunks.push(chunk));
      res.on("error", reject);
      res.on("end", () => {
        const bytes = Buffer.concat(chunks);
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text: bytes.toString(), bytes });
      });
    });
    req.on("error", reject);
    req.end(text);
  });
}

/** The whole of a raw conversation, from the first byte to the end. */
function converse(head: string, after101: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    let text = "";
    let sent = false;
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (!sent && text.includes("\r\n\r\n")) {
        sent = true;
        if (after101 === "") socket.end();
        else socket.end(after101);
      }
    });
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
    socket.write(head.replaceAll("\n", "\r\n"));
  });
}

test("ping tells version and system, with and without a body", async () => {
  for (const method of ["GET", "HEAD"]) {
    const answer = await ask(method, "/_ping");
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["api-version"], "1.51");
    assert.equal(answer.headers["ostype"], "linux");
    assert.equal(answer.headers["builder-version"], "1");
    assert.equal(answer.headers["docker-experimental"], "false");
    assert.equal(answer.text, method === "GET" ? "OK" : "");
  }
});

test("versions out of range are refused in docker's words", async () => {
  assert.deepEqual(JSON.parse((await ask("GET", "/v1.52/info")).text), {
    message: "client version 1.52 is too new. Maximum supported API version is 1.51",
  });
  const old = await ask("GET", "/v1.23/info");
  assert.equal(old.status, 400);
  assert.match(old.text, /client version 1.23 is too old. Minimum supported API version is 1.24/);
});

test("unknown pages, wrong methods and pages from the future are not found", async () => {
  for (const [method, path] of [
    ["GET", "/nope"],
    ["PUT", "/v1.41/info"],
    ["POST", "/v1.24/containers/prune"],
  ] as const) {
    const answer = await ask(method, path);
    assert.equal(answer.status, 404);
    assert.equal(answer.text, '{"message":"page not found"}\n');
  }
});

test("the engine's errors become docker's", async () => {
  const cases = [
    [new GantryError("not-found", "No such container: x"), 404],
    [new GantryError("conflict", "busy"), 409],
    [new GantryError("unsupported", "no"), 501],
    [new GantryError("exhausted", "disk full"), 500],
    [new TypeError("bug"), 500],
  ] as const;
  for (const [error, status] of cases) {
    fake.answers["containers.inspect"] = () => Promise.reject(error);
    const answer = await ask("GET", "/v1.41/containers/x/json");
    assert.equal(answer.status, status);
    assert.deepEqual(JSON.parse(answer.text), { message: error.message });
  }
  fake.answers["containers.start"] = () => Promise.reject(new GantryError("not-modified", "already started"));
  const again = await ask("POST", "/containers/x/start");
  assert.equal(again.status, 304);
  assert.equal(again.text, "");
});

test("create passes name, platform and body on, and demands sound JSON", async () => {
  fake.answers["containers.create"] = () => ({ Id: "abc", Warnings: [] });
  const made = await ask("POST", "/v1.51/containers/create?name=/web&platform=linux/amd64", { Image: "bb:1" });
  assert.equal(made.status, 201);
  assert.equal(made.text, '{"Id":"abc","Warnings":[]}\n');
  assert.deepEqual(fake.calls[0]?.args, ["web", { Image: "bb:1", HostConfig: {} }, { platform: "linux/amd64" }]);
  const refused = async (body: string, type = "application/json"): Promise<string> => {
    const answer = await ask("POST", "/containers/create", body, { "content-type": type });
    assert.equal(answer.status, 400, answer.text);
    return (JSON.parse(answer.text) as { message: string }).message;
  };
  assert.equal(
    await refused("{}", "text/plain"),
    "unsupported Content-Type header (text/plain): must be 'application/json'",
  );
  assert.match(await refused("{bad"), /^invalid JSON: /);
  assert.match(await refused(""), /EOF/);
  assert.equal(
    await refused('{"Image":5}'),
    "invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.Image of type string",
  );
  await refused('{"HostConfig":{"Binds":[1]}}');
  await refused('{"HostConfig":{"Memory":1.5}}');
  await refused("[1]");
});

test("no body of any shape reaches the engine's create with a field of the wrong type, or breaks the server", async () => {
  fake.answers["containers.create"] = () => ({ Id: "abc", Warnings: [] });
  await fc.assert(
    fc.asyncProperty(
      fc.jsonValue(),
      fc.constantFrom("Image", "Env", "HostConfig", "Labels", "Tty"),
      async (value, key) => {
        const answer = await ask("POST", "/containers/create", JSON.stringify({ [key]: value }));
        assert.ok(answer.status === 201 || answer.status === 400, answer.text);
      },
    ),
    { numRuns: 100 },
  );
});

test("wait sends its headers before the exit", async () => {
  const exit = Promise.withResolvers<{ StatusCode: number }>();
  fake.answers["containers.wait"] = () => Promise.resolve({ result: exit.promise });
  const body = await new Promise<string>((resolve) => {
    request(
      { socketPath, method: "POST", path: "/v1.41/containers/x/wait?condition=next-exit", agent: false },
      (res) => {
        // Only now, with the headers here, does the container exit.
        exit.resolve({ StatusCode: 3 });
        let text = "";
        res.on("data", (chunk) => (text += String(chunk)));
        res.on("end", () => resolve(text));
      },
    ).end();
  });
  assert.equal(body, '{"Error":null,"StatusCode":3}\n');
  assert.equal((await ask("POST", "/containers/x/wait?condition=foo")).status, 400);
});

test("attach upgrades, frames the output without a TTY, and passes half-closing on", async () => {
  for (const [version, tty, type] of [
    ["1.41", false, "application/vnd.docker.raw-stream"],
    ["1.51", false, "application/vnd.docker.multiplexed-stream"],
    ["1.51", true, "application/vnd.docker.raw-stream"],
  ] as const) {
    fake.answers["containers.attach"] = () => Promise.resolve(echoSession(tty));
    const text = await converse(
      `POST /v${version}/containers/x/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a HTTP/1.1\nHost: d\nConnection: Upgrade\nUpgrade: tcp\nContent-Length: 0\n\n`,
      "hello",
    );
    const [head, body] = text.split("\r\n\r\n") as [string, string];
    assert.match(head, /^HTTP\/1\.1 101 UPGRADED\r\n/);
    assert.ok(head.includes(`Content-Type: ${type}\r\n`), head);
    assert.match(head, /Api-Version: 1\.51/);
    assert.equal(
      body,
      tty ? "HELLOdone\n" : "\x01\x00\x00\x00\x00\x00\x00\x05HELLO\x02\x00\x00\x00\x00\x00\x00\x05done\n",
    );
  }
  assert.equal(argument<{ detachKeys: string }>(1).detachKeys, "ctrl-a");
});

test("attach without an upgrade header answers 200 and a raw stream", async () => {
  fake.answers["containers.attach"] = () => {
    const session = echoSession(false);
    session.closeStdin();
    return Promise.resolve(session);
  };
  const text = await converse(
    "POST /containers/x/attach?stream=1&stdout=1 HTTP/1.1\nHost: d\nContent-Length: 0\n\n",
    "",
  );
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.ok(text.endsWith("\x02\x00\x00\x00\x00\x00\x00\x05done\n"), text);
});

test("attach for browsers: a WebSocket with unframed output", async () => {
  fake.answers["containers.attach"] = () => Promise.resolve(echoSession(false));
  const socket = new WebSocket(`ws+unix://${socketPath}:/containers/x/attach/ws?stream=1&stdin=1&stdout=1`);
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  const answer = new Promise<string>((resolve) => socket.once("message", (message) => resolve(String(message))));
  socket.send("hello");
  assert.equal(await answer, "HELLO");
  socket.close();
  assert.equal((await ask("GET", "/containers/x/attach/ws?stream=1")).status, 400);
});

test("fields are taken whatever the case of their names, and null as absent", async () => {
  fake.answers["containers.execCreate"] = () => "e1";
  await ask("POST", "/containers/x/exec", { cmd: ["ls"], detachKeys: "ctrl-a", Env: null });
  assert.deepEqual(argument(1), { Cmd: ["ls"], DetachKeys: "ctrl-a" });
});

test("exec: started detached, attached, and with a command that cannot be run", async () => {
  fake.answers["containers.execCreate"] = () => "e1";
  assert.equal((await ask("POST", "/containers/x/exec", { Cmd: ["ls"] })).text, '{"Id":"e1"}\n');
  assert.match((await ask("POST", "/containers/x/exec", { Cmd: [] })).text, /No exec command specified/);
  fake.answers["containers.execInspect"] = () => ({});
  fake.answers["containers.execStart"] = () => undefined;
  assert.equal((await ask("POST", "/exec/e1/start", { Detach: true })).status, 200);
  fake.answers["containers.execStart"] = () =>
    Promise.reject(new GantryError("invalid", "OCI runtime exec failed: executable file not found"));
  const text = await converse(
    'POST /v1.51/exec/e1/start HTTP/1.1\nHost: d\nConnection: Upgrade\nUpgrade: tcp\nContent-Type: application/json\nContent-Length: 16\n\n{"Detach":false}',
    "",
  );
  assert.match(text, /101 UPGRADED/);
  assert.ok(text.endsWith("executable file not found\r\n"), text);
  delete fake.answers["containers.execInspect"];
  assert.equal((await ask("POST", "/exec/e1/start", {})).status, 404);
});

test("logs: frames, timestamps, raw for a TTY, and one stream at least", async () => {
  fake.answers["containers.logs"] = () => ({ tty: false, entries: logEntries(["stdout", "a\n"], ["stderr", "b\n"]) });
  const framed = await ask("GET", "/v1.51/containers/x/logs?stdout=1&stderr=1&tail=5&since=12.5");
  assert.equal(framed.headers["content-type"], "application/vnd.docker.multiplexed-stream");
  assert.equal(framed.text, "\x01\x00\x00\x00\x00\x00\x00\x02a\n\x02\x00\x00\x00\x00\x00\x00\x02b\n");
  const options = fake.calls[0]?.args[1] as Record<string, unknown>;
  assert.equal(options["tail"], 5);
  assert.equal(options["since"], 12_500);
  fake.answers["containers.logs"] = () => ({ tty: true, entries: logEntries(["stdout", "a\n"]) });
  const raw = await ask("GET", "/containers/x/logs?stdout=1&timestamps=1&tail=all");
  assert.equal(raw.text, "2026-01-02T03:04:05.000000006Z a\n");
  assert.equal((await ask("GET", "/containers/x/logs")).status, 400);
});

test("pull streams progress, and fails before it as an error, after it as a line", async () => {
  fake.answers["images.pull"] = async (_ref: string, options: { progress: (message: object) => void }) => {
    options.progress({ id: "1", status: "Pulling from library/a" });
    throw new GantryError("unavailable", "connection refused");
  };
  const auth = Buffer.from('{"username":"u","password":"p"}').toString("base64url");
  const broken = await ask("POST", "/images/create?fromImage=a&tag=1", undefined, { "x-registry-auth": auth });
  assert.equal(broken.status, 200);
  assert.equal(
    broken.text,
    '{"status":"Pulling from library/a","id":"1"}\r\n{"errorDetail":{"message":"connection refused"},"error":"connection refused"}\r\n',
  );
  const options = fake.calls[0]?.args[1] as { auth: unknown; tag: string };
  assert.deepEqual(options.auth, { username: "u", password: "p" });
  assert.equal(options.tag, "1");
  fake.answers["images.pull"] = () => Promise.reject(new GantryError("invalid", "invalid reference format"));
  assert.equal((await ask("POST", "/images/create?fromImage=UPPER")).status, 400);
});

test("image names may have slashes, a registry's port and an escaped form", async () => {
  fake.answers["images.inspect"] = (name: string) => ({ Id: name, Size: 3 });
  const inspect = async (path: string): Promise<Record<string, unknown>> =>
    JSON.parse((await ask("GET", path)).text) as Record<string, unknown>;
  const old = await inspect("/v1.43/images/localhost:5000/a/b:1/json");
  assert.deepEqual([old["Id"], old["Size"], old["VirtualSize"]], ["localhost:5000/a/b:1", 3, 3]);
  assert.equal((old["Config"] as { Tty: boolean }).Tty, false);
  const { Config: config, ...rest } = await inspect("/images/a%2Fb/json");
  assert.deepEqual(rest, { Id: "a/b", Size: 3 });
  assert.deepEqual([(config as { Env: null }).Env, "Tty" in (config as object)], [null, false]);
});

test("archive: the stat header, the tar out, the tar in", async () => {
  const stat = { name: "tmp", size: 1, mode: 2147484141, mtime: "2026-01-01T00:00:00Z", linkTarget: "" };
  fake.answers["containers.archiveStat"] = () => stat;
  const head = await ask("HEAD", "/containers/x/archive?path=/tmp");
  const header = String(head.headers["x-docker-container-path-stat"]);
  assert.deepEqual(JSON.parse(Buffer.from(header, "base64").toString()), stat);
  assert.equal((await ask("GET", "/containers/x/archive")).status, 400);
  let got = "";
  fake.answers["containers.archiveIn"] = async (_ref: string, _path: string, tar: AsyncIterable<Buffer>) => {
    for await (const chunk of tar) got += chunk.toString();
  };
  assert.equal((await ask("PUT", "/containers/x/archive?path=/", "tar bytes")).status, 200);
  assert.equal(got, "tar bytes");
});

test("events stream line by line and end when the client goes", async () => {
  const stopped = Promise.withResolvers<void>();
  fake.answers["events"] = (options: { signal: AbortSignal }) =>
    (async function* () {
      yield { Type: "container", Action: "start" };
      await new Promise<void>((resolve) => options.signal.addEventListener("abort", () => resolve()));
      stopped.resolve();
    })();
  await new Promise<void>((resolve) => {
    const req = request(
      { socketPath, path: "/events?filters=%7B%22type%22%3A%7B%22container%22%3Atrue%7D%7D", agent: false },
      (res) => {
        res.once("data", (chunk) => {
          assert.equal(String(chunk), '{"Type":"container","Action":"start"}\n');
          req.destroy();
          resolve();
        });
      },
    );
    req.on("error", () => {});
    req.end();
  });
  await stopped.promise;
  assert.deepEqual(argument<{ filters: unknown }>(0).filters, { type: ["container"] });
});

test("a node in no swarm says so, and what is not in force is refused", async () => {
  const manager = await ask("GET", "/services");
  assert.equal(manager.status, 503);
  assert.match(manager.text, /This node is not a swarm manager/);
  assert.match((await ask("POST", "/swarm/leave")).text, /This node is not part of a swarm/);
  assert.equal((await ask("POST", "/swarm/init", {})).status, 501);
  assert.equal((await ask("POST", "/build", "x", { "content-type": "application/x-tar" })).status, 501);
  assert.equal((await ask("GET", "/plugins")).text, "[]\n");
});

test("filters are read in both forms, and nonsense is refused", () => {
  assert.deepEqual(parseFilters('{"a":{"x":true,"y":true}}'), { a: ["x", "y"] });
  assert.deepEqual(parseFilters('{"a":["x"]}'), { a: ["x"] });
  assert.deepEqual(parseFilters(null), {});
  for (const bad of ["zz", "[]", '{"a":1}', '{"a":[1]}', '{"a":{"x":1}}']) {
    assert.throws(() => parseFilters(bad), { code: "invalid" });
  }
});

test("registry credentials are read from both base64 alphabets", () => {
  assert.equal(decodeRegistryAuth("e30="), undefined);
  assert.deepEqual(decodeRegistryAuth(Buffer.from('{"identitytoken":"t>>>?"}').toString("base64")), {
    identitytoken: "t>>>?",
  });
  assert.throws(() => decodeRegistryAuth("!!"), { code: "invalid" });
});

test("booleans and times are read as docker reads them", () => {
  const query = new URLSearchParams("a=1&b=0&c=No&d=x&e=&t=1795197561.000000500&z=0");
  assert.deepEqual(
    ["a", "b", "c", "d", "e", "f"].map((key) => boolValue(query, key)),
    [true, false, false, true, false, false],
  );
  assert.equal(timeValue(query, "t"), 1_795_197_561_000.0005);
  assert.equal(timeValue(query, "z"), undefined);
  assert.throws(() => timeValue(query, "d"), { code: "internal" });
});
