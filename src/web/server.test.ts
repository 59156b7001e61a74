import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect as http2Connect } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { silentLogger } from "#base/log.ts";
import type { HttpHandler } from "./http.ts";
import { HttpServer } from "./server.ts";
import { type CertificatePair, createCertificateAuthority, issueCertificate } from "./tls.ts";

let ca: CertificatePair;
let serverPair: CertificatePair;
let clientPair: CertificatePair;
const folder = mkdtempSync(join(tmpdir(), "gantry-web-"));

before(async () => {
  ca = await createCertificateAuthority({ commonName: "test-ca", days: 1 });
  serverPair = await issueCertificate(ca, {
    commonName: "server",
    dnsNames: ["localhost"],
    ipAddresses: ["127.0.0.1"],
    usages: ["server"],
    days: 1,
  });
  clientPair = await issueCertificate(ca, {
    commonName: "admin",
    organizations: ["system:masters", "others"],
    usages: ["client"],
    days: 1,
  });
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function serving(
  handler: HttpHandler,
  secure: boolean,
  work: (port: number, server: HttpServer) => Promise<void>,
): Promise<void> {
  const tls = secure ? { cert: serverPair.certPem, key: serverPair.keyPem, clientCa: ca.certPem } : undefined;
  const server = new HttpServer({ name: "test", log: silentLogger, handler, ...(tls === undefined ? {} : { tls }) });
  const port = await server.listen({ host: "127.0.0.1", port: 0 });
  try {
    await work(port, server);
  } finally {
    await server.stop(1000);
  }
}

interface Answer {
  status: number;
  headers: Record<string, unknown>;
  body: Buffer;
}

function ask(
  port: number,
  options: {
    path?: string;
    method?: string;
    headers?: Record<string, string>;
    body?: Buffer | string;
    tls?: boolean;
    client?: boolean;
  },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const secure = options.tls === true;
    const send = secure ? httpsRequest : httpRequest;
    const pair = options.client === true ? { cert: clientPair.certPem, key: clientPair.keyPem } : {};
    const req = send(
      {
        host: "127.0.0.1",
        port,
        path: options.path ?? "/",
        method: options.method ?? "GET",
        agent: false,
        ...(options.headers === undefined ? {} : { headers: options.headers }),
        ...(secure ? { ca: ca.certPem, ...pair } : {}),
      },
      (res) => {
        const chunks: Buffer[] = [];
        res.on("data", (chunk: Buffer) => chunks.push(chunk));
        res.on("end", () =>
          resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(chunks) }),
        );
        res.on("error", reject);
      },
    );
    req.on("error", reject);
    req.end(options.body);
  });
}

function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString();
    });
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
  });
}

test("a request shows method, path, query and body, over HTTP/1.1 in clear and TLS", async () => {
  const handler: HttpHandler = async (request, response) => {
    const body = await request.readBody();
    response.setHeader("X-Extra", "1");
    response.sendJson(200, {
      method: request.method,
      path: request.path,
      raw: request.rawQuery,
      a: request.query.getAll("a"),
      version: request.httpVersion,
      tls: request.tls,
      body: body.toString(),
    });
  };
  for (const tls of [false, true]) {
    await serving(handler, tls, async (port) => {
      const answer = await ask(port, { tls, method: "PUT", path: "/x%2Fy?a=1&a=%202", body: "hello" });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["x-extra"], "1");
      assert.deepEqual(JSON.parse(answer.body.toString()), {
        method: "PUT",
        path: "/x%2Fy",
        raw: "a=1&a=%202",
        a: ["1", " 2"],
        version: "1.1",
        tls,
        body: "hello",
      });
    });
  }
});

test("HTTP/2 requests go to the same handler", async () => {
  await serving(
    async (request, response) => {
      const body = await request.readBody();
      response.send(
        201,
        { "X-Version": request.httpVersion, Connection: "close" },
        Buffer.concat([Buffer.from(`${request.method} `), body]),
      );
    },
    true,
    async (port) => {
      const session = http2Connect(`https://127.0.0.1:${port}`, { ca: ca.certPem });
      try {
        const stream = session.request({ ":method": "POST", ":path": "/p" });
        let head: Record<string, unknown> = {};
        stream.on("response", (headers) => {
          head = headers;
        });
        stream.end("body");
        let text = "";
        for await (const chunk of stream) text += String(chunk);
        assert.equal(text, "POST body");
        assert.equal(head[":status"], 201);
        assert.equal(head["x-version"], "2.0");
        assert.equal(head["connection"], undefined);
      } finally {
        session.close();
      }
    },
  );
});

test("the client's certificate is seen when it sends one", async () => {
  const handler: HttpHandler = (request, response) => {
    const peer = request.peerCertificate;
    response.sendJson(
      200,
      peer === undefined ? null : { cn: peer.commonName, o: peer.organizations, ok: peer.authorized },
    );
  };
  await serving(handler, true, async (port) => {
    const named = await ask(port, { tls: true, client: true });
    assert.deepEqual(JSON.parse(named.body.toString()), { cn: "admin", o: ["system:masters", "others"], ok: true });
    assert.equal((await ask(port, { tls: true })).body.toString(), "null");
  });
});

test("large JSON is compressed for who accepts it", async () => {
  const big = JSON.stringify({ text: "a".repeat(200_000) });
  await serving(
    (_request, response) => response.send(200, { "Content-Type": "application/json" }, big),
    false,
    async (port) => {
      const packed = await ask(port, { headers: { "accept-encoding": "gzip" } });
      assert.equal(packed.headers["content-encoding"], "gzip");
      assert.equal(gunzipSync(packed.body).toString(), big);
      const plain = await ask(port, {});
      assert.equal(plain.headers["content-encoding"], undefined);
      assert.equal(plain.body.toString(), big);
    },
  );
});

test("a body beyond the limit is refused, announced or not", async () => {
  const handler: HttpHandler = async (request, response) => {
    const body = await request.readBody(1000);
    response.send(200, {}, String(body.length));
  };
  await serving(handler, false, async (port) => {
    assert.equal((await ask(port, { method: "POST", body: Buffer.alloc(1000) })).body.toString(), "1000");
    const refused = await ask(port, { method: "POST", body: Buffer.alloc(5000) });
    assert.equal(refused.status, 413);
    const chunked = await ask(port, {
      method: "POST",
      headers: { "transfer-encoding": "chunked" },
      body: Buffer.alloc(500_000),
    });
    assert.equal(chunked.status, 413);
  });
});

test("errors become statuses, and a handler's bug becomes a 500", async () => {
  const handler: HttpHandler = (request) => {
    if (request.path === "/bug") throw new TypeError("oops");
  };
  await serving(handler, false, async (port) => {
    assert.equal((await ask(port, { path: "/bug" })).status, 500);
    assert.equal((await ask(port, { path: "/silent" })).status, 500);
  });
});

test("a stream sends its headers at once, waits for a slow reader, and hears that the client went", async () => {
  let aborted: (() => void) | undefined;
  const gone = new Promise<void>((resolve) => {
    aborted = resolve;
  });
  let waited = 0;
  const handler: HttpHandler = async (request, response) => {
    request.signal.addEventListener("abort", () => aborted?.());
    response.start(200, { "Content-Type": "text/plain" });
    const chunk = Buffer.alloc(256 * 1024);
    while (!response.finished) {
      const room = response.write(chunk);
      if (room !== undefined) {
        waited++;
        await room;
      }
    }
  };
  await serving(handler, false, async (port) => {
    await new Promise<void>((resolve) => {
      const req = httpRequest({ host: "127.0.0.1", port, agent: false }, (res) => {
        setTimeout(() => {
          req.destroy();
          res.destroy();
          resolve();
        }, 100);
      });
      req.on("error", () => {});
      req.end();
    });
    await gone;
    assert.ok(waited > 0, "the writer should have been held back");
  });
});

test("an upgrade gets the raw connection, its body, and half-close both ways", async () => {
  const handler: HttpHandler = async (request, response) => {
    assert.equal(request.upgrade, "tcp");
    const body = await request.readBody();
    const raw = response.hijack(101, "UPGRADED", { Connection: "Upgrade", Upgrade: "tcp" });
    raw.write(`body=${body.toString()};`);
    let input = "";
    // Not `for await`: it destroys both directions at the end of one.
    raw.on("data", (chunk) => {
      input += String(chunk);
    });
    raw.on("end", () => raw.end(`input=${input}`));
  };
  for (const tls of [false, true]) {
    await serving(handler, tls, async (port) => {
      const { connect: tlsConnect } = await import("node:tls");
      const socket: Socket = tls
        ? tlsConnect({ host: "127.0.0.1", port, ca: ca.certPem, allowHalfOpen: true } as object)
        : connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      socket.write("POST /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 4\r\n\r\nbo");
      setTimeout(() => socket.write("dyraw1"), 20);
      setTimeout(() => socket.end("raw2"), 40);
      const text = await readAll(socket);
      assert.match(text, /^HTTP\/1\.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n/);
      assert.ok(text.endsWith("body=body;input=raw1raw2"), text);
    });
  }
});

test("an upgrade request may get an ordinary answer", async () => {
  await serving(
    (_request, response) => response.sendJson(404, { message: "no" }),
    false,
    async (port) => {
      const answer = await ask(port, { headers: { connection: "upgrade", upgrade: "tcp" } });
      assert.equal(answer.status, 404);
      assert.equal(answer.body.toString(), '{"message":"no"}');
    },
  );
});

/** Waits without timers, which the test has stopped. */
async function untilIdle(server: HttpServer): Promise<void> {
  const deadline = Date.now() + 5000;
  while (server.active > 0 && Date.now() < deadline) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(server.active, 0);
}

test("a connection taken over and ended unread goes, whatever the client has sent and whether it ends or not", async (t) => {
  const handler: HttpHandler = (_request, response) => {
    response.hijack(101, "UPGRADED", { Connection: "Upgrade", Upgrade: "tcp" }).end();
  };
  const head = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nnever read";
  await serving(handler, false, async (port, server) => {
    const ending = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    ending.end(head);
    await readAll(ending);
    await untilIdle(server);
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const staying = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    staying.write(head);
    await readAll(staying);
    assert.equal(server.active, 1);
    t.mock.timers.tick(10_000);
    await untilIdle(server);
    t.mock.timers.reset();
    staying.destroy();
  });
});

test("without an upgrade header the way out can still be raw", async () => {
  await serving(
    (_request, response) => {
      const raw = response.hijack(200, "OK", { "Content-Type": "application/vnd.docker.raw-stream" });
      raw.end("bytes");
    },
    false,
    async (port) => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.write("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
      const text = await readAll(socket);
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
      assert.doesNotMatch(text, /chunked/i);
      assert.ok(text.endsWith("\r\n\r\nbytes"), text);
    },
  );
});

test("a unix socket is private to its group, a stale file is replaced, a living one is not", async () => {
  const path = join(folder, "a.sock");
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(path, resolve));
  const first = new HttpServer({ name: "one", log: silentLogger, handler: (_q, r) => r.send(200, {}, "one") });
  await assert.rejects(first.listen({ path }), { code: "already-exists" });
  await new Promise((resolve) => dead.close(resolve));
  const { spawnSync } = await import("node:child_process");
  // A socket whose owner died without unlinking it.
  spawnSync(process.execPath, [
    "-e",
    `require("net").createServer().listen(${JSON.stringify(path)},()=>process.kill(process.pid,"SIGKILL"))`,
  ]);
  assert.ok(existsSync(path));
  await first.listen({ path });
  assert.equal(statSync(path).mode & 0o777, 0o660);
  await first.stop();
  assert.ok(!existsSync(path));
  writeFileSync(path, "a file");
  await assert.rejects(new HttpServer({ name: "two", log: silentLogger, handler: () => {} }).listen({ path }), {
    code: "already-exists",
  });
});

test("stop lets an answer under way finish, and ends streams", async () => {
  let release: (() => void) | undefined;
  const server = new HttpServer({
    name: "stop",
    log: silentLogger,
    handler: async (request, response) => {
      if (request.path === "/stream") {
        response.start(200, {});
        response.write("x");
        await new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
        response.end("bye");
        return;
      }
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      response.send(200, {}, "slow");
    },
  });
  const port = await server.listen({ host: "127.0.0.1", port: 0 });
  const slow = ask(port, { path: "/slow" });
  const stream = ask(port, { path: "/stream" });
  while (server.active < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  const began = Date.now();
  const stopped = server.stop(2000);
  assert.equal((await stream).body.toString(), "xbye");
  release?.();
  assert.equal((await slow).body.toString(), "slow");
  await stopped;
  assert.ok(Date.now() - began < 1500);
});
