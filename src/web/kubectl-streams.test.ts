import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { connect, createServer, type Server } from "node:net";
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { silentLogger } from "#base/log.ts";
import { servePortForward } from "./port-forward.ts";
import { proxyUpgrade } from "./proxy.ts";
import { acceptRemoteCommand, remoteCommandOptions } from "./remote-command.ts";
import { HttpServer } from "./server.ts";

/** Real kubectls against the stream endpoints: 1.27 speaks SPDY, 1.32 WebSocket. */
const versions = ["1.27", "1.32"];
const kubectls = findKubectls();
const skip = kubectls.length === 0 ? "no kubectl is installed here" : false;

function findKubectls(): string[] {
  const first = (process.env["PATH"] ?? "")
    .split(":")
    .map((folder) => join(folder, "kubectl"))
    .find((path) => existsSync(path));
  if (first === undefined) return [];
  const beside = versions
    .map((version) => join(dirname(realpathSync(first)), `kubectl.${version}`))
    .filter((path) => existsSync(path));
  return beside.length > 0 ? beside : [first];
}

const pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p1", namespace: "default", uid: "u" },
  spec: { containers: [{ name: "c", image: "x" }] },
  status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] },
};

const node = new HttpServer({
  name: "node",
  log: silentLogger,
  handler: async (request, response) => {
    if (request.path.endsWith("/portforward")) {
      await servePortForward(request, response, {
        log: silentLogger,
        connect: async () => {
          const { port } = echo.address() as { port: number };
          const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
          await new Promise((resolve) => socket.once("connect", resolve));
          return socket;
        },
      });
      return;
    }
    const options = remoteCommandOptions(request.query);
    const session = await acceptRemoteCommand(request, response, options);
    let size = 0;
    if (session.stdin !== undefined) for await (const chunk of session.stdin) size += (chunk as Buffer).length;
    await session.stdout?.(Buffer.from(`${request.query.getAll("command").join(" ")} stdin=${size}\n`));
    await session.stdout?.(Buffer.alloc(300_000, "y"));
    await session.stderr?.(Buffer.from("complaint\n"));
    await session.finish({ exitCode: 7 });
  },
});
const front = new HttpServer({
  name: "api",
  log: silentLogger,
  handler: (request, response) => {
    if (request.upgrade !== undefined)
      return proxyUpgrade(request, response, { host: "127.0.0.1", port: nodePort, target: request.target });
    if (request.path === "/api/v1/namespaces/default/pods/p1") response.sendJson(200, pod);
    else if (request.path === "/version") response.sendJson(200, { major: "1", minor: "36", gitVersion: "v1.36.0" });
    else if (request.path === "/api") response.sendJson(200, { kind: "APIVersions", versions: ["v1"] });
    else if (request.path === "/apis") response.sendJson(200, { kind: "APIGroupList", apiVersion: "v1", groups: [] });
    else if (request.path === "/api/v1") {
      response.sendJson(200, {
        kind: "APIResourceList",
        groupVersion: "v1",
        resources: [
          { name: "pods", singularName: "pod", namespaced: true, kind: "Pod", verbs: ["get"], shortNames: ["po"] },
        ],
      });
    } else
      response.sendJson(404, {
        kind: "Status",
        apiVersion: "v1",
        status: "Failure",
        code: 404,
        message: `no ${request.path}`,
      });
  },
});
const echo: Server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
let nodePort = 0;
let frontPort = 0;
before(async () => {
  nodePort = await node.listen({ host: "127.0.0.1", port: 0 });
  frontPort = await front.listen({ host: "127.0.0.1", port: 0 });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
});
after(async () => {
  await front.stop(500);
  await node.stop(500);
  echo.close();
});

function run(kubectl: string, args: string[], input = ""): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(
    kubectl,
    [`--server=http://127.0.0.1:${frontPort}`, "--cache-dir=/tmp/gantry-kubectl-cache", ...args],
    {
      env: { ...process.env, KUBECONFIG: "/dev/null" },
    },
  );
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += String(chunk)));
  child.stderr.on("data", (chunk) => (err += String(chunk)));
  child.stdin.end(input);
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

for (const kubectl of kubectls) {
  test(`${kubectl.split("/").at(-1)} exec: output, stdin, exit code`, { skip }, async () => {
    const done = await run(kubectl, ["exec", "p1", "-c", "c", "--", "ls", "-l"]);
    assert.equal(done.code, 7, done.err);
    assert.ok(done.out.startsWith("ls -l stdin=0\n"));
    assert.equal(done.out.length, 300_000 + "ls -l stdin=0\n".length);
    assert.equal(done.err, "complaint\ncommand terminated with exit code 7\n");
    const fed = await run(kubectl, ["exec", "-i", "p1", "-c", "c", "--", "wc"], "z".repeat(1_000_000));
    assert.ok(fed.out.startsWith("wc stdin=1000000\n"), fed.err);
  });

  test(`${kubectl.split("/").at(-1)} port-forward carries connections`, { skip }, async () => {
    const child = spawn(kubectl, [`--server=http://127.0.0.1:${frontPort}`, "port-forward", "pod/p1", ":80"], {
      env: { ...process.env, KUBECONFIG: "/dev/null" },
    });
    let err = "";
    child.stderr.on("data", (chunk) => (err += String(chunk)));
    try {
      const port = await new Promise<number>((resolve, reject) => {
        let text = "";
        child.stdout.on("data", (chunk) => {
          text += String(chunk);
          const found = /127\.0\.0\.1:(\d+)/.exec(text);
          if (found !== null) resolve(Number(found[1]));
        });
        child.on("close", () => reject(new Error(err)));
      });
      for (const size of [5, 500_000]) {
        const socket = connect({ host: "127.0.0.1", port });
        socket.end(Buffer.alloc(size, "q"));
        let got = 0;
        for await (const chunk of socket) got += (chunk as Buffer).length;
        assert.equal(got, size, err);
      }
    } finally {
      child.kill();
    }
  });
}
