import assert from "node:assert/strict";
import { request as httpsRequest } from "node:https";
import { after, before, describe, test } from "node:test";
import { silentLogger } from "#base/log.ts";
import { type KubeObject, ref } from "#api/kube/object.ts";
import { HttpServer } from "#web/server.ts";
import { issueCertificate } from "#web/tls.ts";
import type { Status } from "./api-error.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

describe("the way to running pods", () => {
  let at: TestServer;
  let agent: HttpServer;
  let seen: { target: string; user: string | undefined; authorization: string }[] = [];

  before(async () => {
    at = await startTestServer({ withNodeClient: true });
    const serving = await issueCertificate(at.authority, {
      commonName: "system:node:n1",
      ipAddresses: ["127.0.0.1"],
      usages: ["server"],
      days: 1,
    });
    agent = new HttpServer({
      name: "node agent",
      log: silentLogger,
      tls: { cert: serving.certPem, key: serving.keyPem, clientCa: at.authority.certPem },
      handler: (request, response) => {
        seen.push({
          target: request.target,
          user: request.peerCertificate?.commonName,
          authorization: request.header("authorization"),
        });
        if (request.upgrade !== undefined) {
          const raw = response.hijack(101, "Switching Protocols", { connection: "Upgrade", upgrade: request.upgrade });
          raw.write("ready\n");
          raw.on("data", (data: Buffer) => raw.end(`echo ${data.toString()}`));
          return;
        }
        response.send(200, { "content-type": "text/plain" }, "line 1\nline 2\n");
      },
    });
    const port = await agent.listen({ host: "127.0.0.1", port: 0 });
    const client = at.server.client();
    await client.create(ref("serviceaccounts"), {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace: "default" },
    });
    await client.create(ref("nodes"), {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "n1" },
      status: {
        addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
        daemonEndpoints: { kubeletEndpoint: { Port: port } },
      },
    } as KubeObject);
    await client.create(ref("nodes"), {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "dead" },
      status: {
        addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
        daemonEndpoints: { kubeletEndpoint: { Port: 1 } },
      },
    } as KubeObject);
    const pod = (name: string, nodeName: string | undefined, containers: string[]): KubeObject =>
      ({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name, namespace: "default" },
        spec: {
          ...(nodeName === undefined ? {} : { nodeName }),
          containers: containers.map((each) => ({ name: each, image: "i" })),
        },
      }) as KubeObject;
    await client.create(ref("pods"), pod("one", "n1", ["c"]));
    await client.create(ref("pods"), pod("two", "n1", ["a", "b"]));
    await client.create(ref("pods"), pod("none", undefined, ["c"]));
    await client.create(ref("pods"), pod("lost", "dead", ["c"]));
  });
  after(async () => {
    await agent.stop();
    await at.stop();
  });

  function call(
    path: string,
    headers: Record<string, string> = {},
  ): Promise<{ code: number; text: string; upgraded: boolean }> {
    seen = [];
    return new Promise((resolve, reject) => {
      const request = httpsRequest(`${at.server.url}${path}`, {
        ca: at.authority.certPem,
        headers: { authorization: `Bearer ${at.adminToken}`, ...headers },
        agent: false,
      });
      let text = "";
      request.on("error", reject);
      request.on("response", (answer) => {
        answer.on("data", (data: Buffer) => (text += data.toString()));
        answer.on("end", () => resolve({ code: answer.statusCode ?? 0, text, upgraded: false }));
      });
      request.on("upgrade", (answer, socket, head) => {
        text += head.toString();
        socket.on("data", (data: Buffer) => (text += data.toString()));
        socket.on("end", () => socket.end());
        socket.on("close", () => resolve({ code: answer.statusCode ?? 0, text, upgraded: true }));
        socket.write("hello");
      });
      request.end();
    });
  }

  const message = async (path: string): Promise<string> =>
    (JSON.parse((await call(path)).text) as Status).message ?? "";

  test("logs come from the pod's node, asked with the server's own certificate", async () => {
    const { code, text } = await call("/api/v1/namespaces/default/pods/one/log?follow=true&tailLines=5&container=");
    assert.equal(code, 200);
    assert.equal(text, "line 1\nline 2\n");
    assert.deepEqual(seen, [
      {
        target: "/containerLogs/default/one/c?follow=true&tailLines=5",
        user: "kube-apiserver-kubelet-client",
        authorization: "",
      },
    ]);
  });

  test("an upgrade is passed through both ways", async () => {
    const path = "/api/v1/namespaces/default/pods/one/exec?command=ls&command=-l&stdin=true&stdout=true&tty=true";
    const { code, text, upgraded } = await call(path, { connection: "Upgrade", upgrade: "SPDY/3.1" });
    assert.equal(code, 101);
    assert.equal(upgraded, true);
    assert.equal(text, "ready\necho hello");
    assert.equal(seen[0]?.target, "/exec/default/one/c?input=1&output=1&tty=1&command=ls&command=-l");
    await call("/api/v1/namespaces/default/pods/one/portforward?ports=80", {
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
    });
    assert.equal(seen[0]?.target, "/portForward/default/one?port=80");
  });

  test("says what is wrong in upstream's words", async () => {
    const log = (pod: string, query = ""): string => `/api/v1/namespaces/default/pods/${pod}/log${query}`;
    assert.equal(await message(log("two")), "a container name must be specified for pod two, choose one of: [a b]");
    assert.equal(await message(log("two", "?container=x")), "container x is not valid for pod two");
    assert.equal(await message(log("none")), "pod none does not have a host assigned");
    assert.equal(await message(log("missing")), 'pods "missing" not found');
    assert.match(
      await message(log("lost")),
      /^Internal error occurred: error dialing backend: dial tcp 127\.0\.0\.1:1: connect/,
    );
  });

  test("the node's own paths are reached through nodes/proxy", async () => {
    const { text } = await call("/api/v1/nodes/n1/proxy/stats/summary?x=1");
    assert.equal(text, "line 1\nline 2\n");
    assert.equal(seen[0]?.target, "/stats/summary?x=1");
  });
});
