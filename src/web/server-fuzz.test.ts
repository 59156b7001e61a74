import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { silentLogger } from "#base/log.ts";
import { HttpServer } from "./server.ts";

const server = new HttpServer({
  name: "fuzz",
  log: silentLogger,
  handler: async (request, response) => {
    const body = await request.readBody(1000);
    if (request.upgrade !== undefined) response.hijack(101, "Switching Protocols", {}).end();
    else response.send(200, {}, String(body.length));
  },
});
let port = 0;
before(async () => {
  port = await server.listen({ host: "127.0.0.1", port: 0 });
});
after(() => server.stop(500));

function throwAt(bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("error", () => resolve());
    socket.on("close", () => resolve());
    socket.resume();
    socket.end(bytes);
  });
}

const line = fc.constantFrom(
  "GET / HTTP/1.1\r\n",
  "POST /x HTTP/1.1\r\n",
  "POST /x HTTP/1.0\r\n",
  "Host: a\r\n",
  "Content-Length: 5\r\n",
  "Content-Length: 99999999999\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Connection: Upgrade\r\nUpgrade: tcp\r\n",
  "Connection: close\r\n",
  "Expect: 100-continue\r\n",
  "\r\n",
  "5\r\nhello\r\n0\r\n\r\n",
  "hello",
);

test("no bytes stop the server from answering the next request", async () => {
  const noise = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));
  const spoken = fc.array(line, { maxLength: 8 }).map((lines) => Buffer.from(lines.join("")));
  await fc.assert(
    fc.asyncProperty(fc.oneof(noise, spoken), async (bytes) => {
      await throwAt(bytes);
    }),
    { numRuns: 200 },
  );
  const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "abc" });
  assert.equal(await answer.text(), "3");
});

test("no connection and no request is left over", async () => {
  for (let turn = 0; turn < 100 && server.active > 0; turn++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(server.active, 0);
});
