/** The routes and answers of the Docker API are held against the description that the Moby project publishes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { routes } from "#docker/routes.ts";
import { Router } from "#web/router.ts";
import { busyboxTar } from "./busybox-tar.ts";
import { startDaemon, type TestDaemon } from "./daemon.ts";
import { DockerCli, eventually } from "./docker-cli.ts";
import { departures, readEngineApi } from "./engine-api.ts";

const api = readEngineApi();

/** Clients send these, though the description does not have them. */
const notDescribed = ["POST /build/cancel", "POST /grpc"];

/** Pointers in Moby's Go types, which it writes as null without the description's saying so. */
const nullable = /\.(HostConfig\.(MemorySwappiness|OomKillDisable|PidsLimit|Init)|ExitCode): null /;

/** Moby still sends the fields that events had before API 1.22. */
const legacy = /^GET \/events\.(status|id|from): not in the description/;

test("every operation of the description has a route, and every route is in the description", () => {
  const ours = new Router<string>();
  for (const { method, pattern } of routes) ours.add(method, pattern, pattern);
  const missing: string[] = [];
  const answered = new Set<string>();
  for (const operation of Object.keys(api.operations)) {
    const [method, path] = operation.split(" ") as [string, string];
    const found = ours.find(method, path.replaceAll(/\{\w+\}/g, "x"));
    if (found === undefined) missing.push(operation);
    else answered.add(`${method} ${found.value}`);
  }
  assert.deepEqual(missing, []);
  const extra = routes.map(({ method, pattern }) => `${method} ${pattern}`).filter((route) => !answered.has(route));
  assert.deepEqual(extra.sort(), ["GET /networks/", ...notDescribed].sort());
});

interface Answer {
  status: number;
  /** Decoded where it is JSON; a stream's first object. */
  body: unknown;
}

let daemon: TestDaemon;
let cli: DockerCli;

before(async () => {
  daemon = await startDaemon(13);
  cli = new DockerCli(daemon.host);
  busyboxTar(join(cli.folder, "bb.tar"));
  await cli.ok("import", "--change", "LABEL a=b", join(cli.folder, "bb.tar"), "bb:1");
});

after(async () => {
  await cli.shell(
    "docker rm -fv $(docker ps -aq); docker network prune -f; docker volume prune -af; docker rmi bb:1 bb:2",
  );
  cli.dispose();
  await daemon.stop();
});

function send(method: string, path: string, body?: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? "" : JSON.stringify(body);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(payload) };
    const socketPath = daemon.host.replace("unix://", "");
    const outgoing = request({ socketPath, method, path: `/v${api.version}${path}`, headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("error", reject);
      response.on("end", () => {
        const isJson = response.headers["content-type"]?.startsWith("application/json") === true;
        const first = (text.split("\n", 1)[0] as string).trim();
        resolve({ status: response.statusCode as number, body: isJson && first !== "" ? JSON.parse(first) : text });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(payload);
  });
}

/** Sends a request of an operation, whose answer must be the described one of this status; gives its body. */
async function conforms(operation: string, path: string, status: number, body?: unknown): Promise<unknown> {
  const described = api.operations[operation];
  assert.ok(described !== undefined, `${operation} is not in the description`);
  const answer = await send(operation.split(" ")[0] as string, path, body);
  assert.equal(answer.status, status, `${operation}: ${JSON.stringify(answer.body)}`);
  const shape = described.answers[String(status)];
  assert.ok(shape !== undefined, `${operation} has no described answer ${status}`);
  const found = shape === "any" ? [] : departures(api, answer.body, shape, operation);
  assert.deepEqual(
    found.filter((departure) => !nullable.test(departure) && !legacy.test(departure)),
    [],
  );
  return answer.body;
}

const missing = async (operation: string, path: string, body?: unknown): Promise<void> => {
  await conforms(operation, path, 404, body);
};

test("answers about containers have the described fields and types", async () => {
  const create = {
    Image: "bb:1",
    Cmd: ["sh", "-c", "echo hi > /new; sleep 100"],
    Labels: { l: "1" },
    ExposedPorts: { "80/tcp": {} },
    Healthcheck: { Test: ["CMD", "true"], Interval: 500_000_000 },
    Volumes: { "/anonymous": {} },
    HostConfig: {
      PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] },
      Binds: ["described:/named"],
      Memory: 64 << 20,
      LogConfig: { Type: "json-file", Config: { "max-size": "1m" } },
      RestartPolicy: { Name: "on-failure", MaximumRetryCount: 2 },
      Ulimits: [{ Name: "nofile", Soft: 100, Hard: 200 }],
      Mounts: [{ Type: "tmpfs", Target: "/scratch", TmpfsOptions: { SizeBytes: 1 << 20, Mode: 0o700 } }],
      Devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/other", CgroupPermissions: "r" }],
    },
  };
  const made = await conforms("POST /containers/create", "/containers/create?name=described", 201, create);
  const { Id } = made as { Id: string };
  await conforms("GET /containers/{id}/json", `/containers/${Id}/json`, 200);
  await conforms("POST /containers/{id}/start", `/containers/${Id}/start`, 204);
  await conforms("POST /containers/{id}/start", `/containers/${Id}/start`, 304);
  await eventually("the container is healthy", async () => (await cli.ok("ps")).includes("(healthy)"));
  await conforms("GET /containers/{id}/json", `/containers/${Id}/json?size=1`, 200);
  await conforms("GET /containers/json", "/containers/json?all=1&size=1", 200);
  await conforms("GET /containers/{id}/top", `/containers/${Id}/top`, 200);
  await conforms("GET /containers/{id}/changes", `/containers/${Id}/changes`, 200);
  await conforms("GET /containers/{id}/stats", `/containers/${Id}/stats?stream=false`, 200);
  await conforms("POST /containers/{id}/update", `/containers/${Id}/update`, 200, { CpuShares: 100 });
  const exec = await conforms("POST /containers/{id}/exec", `/containers/${Id}/exec`, 201, {
    Cmd: ["true"],
    Env: ["A=b"],
  });
  const execId = (exec as { Id: string }).Id;
  await conforms("GET /exec/{id}/json", `/exec/${execId}/json`, 200);
  await conforms("POST /exec/{id}/start", `/exec/${execId}/start`, 200, { Detach: true });
  await conforms("POST /containers/{id}/rename", `/containers/${Id}/rename?name=renamed`, 204);
  await conforms("POST /containers/{id}/pause", `/containers/${Id}/pause`, 204);
  await conforms("GET /containers/{id}/json", `/containers/${Id}/json`, 200);
  await conforms("POST /containers/{id}/unpause", `/containers/${Id}/unpause`, 204);
  await conforms("POST /commit", `/commit?container=${Id}&repo=bb&tag=2`, 201, {});
  await conforms("POST /containers/{id}/restart", `/containers/${Id}/restart?t=0`, 204);
  await conforms("POST /containers/{id}/kill", `/containers/${Id}/kill`, 204);
  await conforms("POST /containers/{id}/wait", `/containers/${Id}/wait`, 200);
  await conforms("POST /containers/{id}/stop", `/containers/${Id}/stop`, 304);
  await conforms("GET /containers/{id}/json", `/containers/${Id}/json`, 200);
  await conforms("GET /system/df", "/system/df", 200);
  await conforms("DELETE /containers/{id}", `/containers/${Id}?v=1`, 204);
  await conforms("POST /containers/prune", "/containers/prune", 200);
});

test("answers about images, networks, volumes and the system have the described fields and types", async () => {
  await conforms("GET /images/json", "/images/json?all=1&digests=1&shared-size=1", 200);
  await conforms("GET /images/{name}/json", "/images/bb:1/json", 200);
  await conforms("GET /images/{name}/history", "/images/bb:1/history", 200);
  await conforms("POST /images/{name}/tag", "/images/bb:1/tag?repo=bb&tag=3", 201);
  await conforms("DELETE /images/{name}", "/images/bb:3", 200);
  await conforms("POST /images/prune", "/images/prune", 200);
  const made = await conforms("POST /networks/create", "/networks/create", 201, {
    Name: "described",
    EnableIPv6: true,
    Labels: { a: "b" },
    IPAM: { Config: [{ Subnet: "10.211.7.0/24", Gateway: "10.211.7.9" }, { Subnet: "fd00:77::/64" }] },
  });
  const { Id } = made as { Id: string };
  await cli.ok("run", "-d", "--network", "described", "--name", "member", "bb:1", "sleep", "100");
  await conforms("GET /networks/{id}", `/networks/${Id}`, 200);
  await conforms("GET /networks", "/networks", 200);
  await conforms("GET /containers/{id}/json", "/containers/member/json", 200);
  await conforms("POST /networks/{id}/disconnect", `/networks/${Id}/disconnect`, 200, { Container: "member" });
  await conforms("POST /networks/{id}/connect", `/networks/${Id}/connect`, 200, { Container: "member" });
  await cli.ok("rm", "-f", "member");
  await conforms("DELETE /networks/{id}", `/networks/${Id}`, 204);
  await conforms("POST /networks/prune", "/networks/prune", 200);
  await conforms("POST /volumes/create", "/volumes/create", 201, { Name: "described2", Labels: { a: "b" } });
  await conforms("GET /volumes", "/volumes", 200);
  await conforms("GET /volumes/{name}", "/volumes/described2", 200);
  await conforms("DELETE /volumes/{name}", "/volumes/described2", 204);
  await conforms("POST /volumes/prune", "/volumes/prune", 200);
  await conforms("GET /info", "/info", 200);
  await conforms("GET /version", "/version", 200);
  await conforms("GET /plugins", "/plugins", 200);
  await conforms("GET /events", `/events?since=1&until=${Math.ceil(Date.now() / 1000)}`, 200);
});

test("what is not there is answered with the described error", async () => {
  for (const operation of Object.keys(api.operations)) {
    const { answers } = api.operations[operation] as { answers: Record<string, unknown> };
    if (
      answers["404"] === undefined ||
      !/^(GET|HEAD|DELETE) \/(containers|images|networks|volumes|exec)\//.test(operation)
    )
      continue;
    const path = (operation.split(" ")[1] as string).replaceAll(/\{\w+\}/g, "no-such-thing");
    // A description of a head alone.
    if (operation.startsWith("HEAD")) assert.equal((await send("HEAD", `${path}?path=/`)).status, 404, operation);
    else if (!/\/(get|search|attach\/ws)$/.test(path)) await missing(operation, `${path}?path=/&stdout=1`);
  }
});

test("the table is the description's own: it has the operations that docker's clients use", () => {
  const bytes = readFileSync(join(import.meta.dirname, "fixtures/engine-api-1.51.json"), "utf8");
  assert.ok(Object.keys(api.operations).length > 100 && bytes.length > 30_000);
  assert.deepEqual(departures(api, { Id: 1 }, { "Id!": "string", "Name!": "string" }, "x"), [
    "x.Id: number where a string belongs",
    "x.Name: missing",
  ]);
});
