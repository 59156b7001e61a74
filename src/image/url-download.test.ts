import assert from "node:assert/strict";
import { type RequestListener, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { defaultRegistryConfig } from "./registry-config.ts";
import { downloadUrl, openDownload } from "./url-download.ts";

const pages: Record<string, RequestListener> = {
  "/file": (_, response) => void response.writeHead(200, { "content-length": "5" }).end("hello"),
  "/away": (_, response) => void response.writeHead(302, { location: "/file" }).end(),
  "/loop": (_, response) => void response.writeHead(302, { location: "/loop" }).end(),
  "/scheme": (_, response) => void response.writeHead(302, { location: "file:///etc/passwd" }).end(),
  "/none": (_, response) => void response.writeHead(404).end("not here\n"),
  "/fault": (_, response) => void response.writeHead(500).end("x".repeat(100_000)),
  "/hang": () => {},
  "/drip": (_, response) => void response.writeHead(200, { "content-length": "5" }).write("he"),
  "/cut": (_, response) => {
    response.writeHead(200, { "content-length": "5" });
    response.write("he", () => response.destroy());
  },
};
const server = createServer((request, response) => pages[request.url as string]?.(request, response));
server.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const base = `127.0.0.1:${(server.address() as AddressInfo).port}`;
after(() => {
  server.closeAllConnections();
  server.close();
});

const timeouts = { ...defaultRegistryConfig.timeouts, connect: 500, headers: 300, idle: 300 };

async function download(path: string, signal?: AbortSignal): Promise<string> {
  const { chunks, close } = await openDownload(path, { timeouts, ...(signal === undefined ? {} : { signal }) });
  try {
    return Buffer.concat(await Array.fromAsync(chunks)).toString();
  } finally {
    await close();
  }
}

test("a URL is downloaded, without a scheme by http, and redirects are followed", async () => {
  assert.equal(await download(`http://${base}/file`), "hello");
  assert.equal(await download(`${base}/file`), "hello");
  assert.equal(await download(`http://${base}/away`), "hello");
  const { length, close } = await openDownload(`http://${base}/file`);
  assert.equal(length, 5);
  await close();
  assert.throws(() => downloadUrl("http://[::1"), { code: "invalid" });
});

test("what goes wrong is said in docker's words", async () => {
  const url = `http://${base}`;
  for (const [path, code, message] of [
    ["/none", "not-found", `failed to GET ${url}/none with status 404 Not Found: not here`],
    ["/loop", "unavailable", 'Get "/loop": stopped after 10 redirects'],
    ["/scheme", "unavailable", `Get "${url}/scheme": unsupported protocol scheme "file"`],
    ["/cut", "unavailable", "unexpected EOF"],
    ["/hang", "timeout", `Get "${url}/hang": net/http: timeout awaiting response headers`],
  ] as const)
    await assert.rejects(download(url + path), { code, message }, path);
  await assert.rejects(download(`${url}/fault`), /with status 500 Internal Server Error: x{0,20000}$/);
  await assert.rejects(download(`${url}/drip`), { code: "timeout" });
  await assert.rejects(download("http://127.0.0.1:1/x"), {
    message: 'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused',
  });
});

test("a download that is given up ends at once", async () => {
  const gone = new AbortController();
  setTimeout(() => gone.abort(), 20);
  const began = performance.now();
  await assert.rejects(download(`http://${base}/hang`, gone.signal), { code: "cancelled" });
  assert.ok(performance.now() - began < 250);
});
