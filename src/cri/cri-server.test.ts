import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import type {
  ContainerResources,
  ContainerUsage,
  PodContainerConfig,
  PodContainerStatus,
  PodRuntime,
  PodSandboxConfig,
  PodSandboxStatus,
} from "#api/pod-runtime.ts";
import { systemClock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { createLogger } from "#base/log.ts";
import { CriCodec } from "./codec.ts";
import { CriServer } from "./cri-server.ts";

const codec = new CriCodec();
const folder = mkdtempSync(join(tmpdir(), "gantry-cri-"));
const path = join(folder, "cri.sock");
const asked: { sandbox?: PodSandboxConfig; container?: PodContainerConfig; resources?: ContainerResources } = {};

const running: PodContainerStatus = {
  id: "c".repeat(64),
  sandboxId: "d".repeat(64),
  metadata: { name: "web", attempt: 1 },
  state: "running",
  createdAt: 1_700_000_000_000,
  startedAt: 1_700_000_001_000,
  finishedAt: 0,
  exitCode: 0,
  reason: "",
  message: "",
  image: "web:1",
  imageId: "sha256:1",
  imageRef: "sha256:1",
  labels: { app: "web" },
  annotations: {},
  logPath: "/logs/web.log",
  pid: 7,
};

const pod: PodSandboxStatus = {
  id: running.sandboxId,
  metadata: { name: "p", namespace: "n", uid: "u", attempt: 0 },
  state: "ready",
  createdAt: 1,
  ips: ["10.0.0.2"],
  netnsPath: "/net",
  labels: {},
  annotations: {},
};

const usage: ContainerUsage = {
  containerId: running.id,
  timestamp: 1_700_000_002_000,
  cpuNanoseconds: 3_900_000_000,
  memoryWorkingSetBytes: 20,
  memoryUsageBytes: 30,
  rssBytes: 10,
  writableLayerBytes: 5,
  details: {
    cpuUserNanoseconds: 2_000_000_000,
    cpuKernelNanoseconds: 1_000_000_000,
    cpuPeriods: 4,
    cpuThrottledPeriods: 1,
    cpuThrottledNanoseconds: 0,
    memoryFailures: 0,
    memoryLimitBytes: 0,
    pageFaults: 77,
    tasks: 2,
    interfaces: [
      {
        name: "eth0",
        rxBytes: 1,
        rxPackets: 2,
        rxErrors: 3,
        rxDropped: 4,
        txBytes: 5,
        txPackets: 6,
        txErrors: 7,
        txDropped: 8,
      },
    ],
  },
};

const noSpace = { usedBytes: 0, capacityBytes: 0, availableBytes: 0, inodesUsed: 0, inodes: 0, inodesFree: 0 };

/** Only what the tests reach. */
const runtime: Partial<PodRuntime> = {
  version: async () => ({ name: "gantry", version: "1.2.3" }),
  notReadyReason: async () => "the disk is full",
  userNamespacesReason: async () => undefined,
  runPodSandbox: async (config) => {
    asked.sandbox = config;
    return running.sandboxId;
  },
  createContainer: async (_sandbox, config) => {
    asked.container = config;
    return running.id;
  },
  imageStatus: async (name) =>
    name === "web:1" ? { id: "sha256:1", repoTags: ["web:1"], repoDigests: [], sizeBytes: 5 } : undefined,
  listContainers: async () => [running],
  listPodSandboxes: async () => [pod],
  updatePodSandboxResources: async (id, resources) => {
    if (id !== pod.id) throw new GantryError("not-found", "no such sandbox");
    asked.resources = resources;
  },
  imageFsInfo: async () => ({ ...noSpace, path: "/images" }),
  stats: async () => [usage],
  async *events() {
    yield { type: "container-created", sandboxId: pod.id, containerId: running.id };
  },
  podSandboxStatus: async () => pod,
  containerStatus: async (id) => {
    if (id === running.id) return running;
    throw new GantryError("not-found", `container "${id}" not found`);
  },
};

const server = new CriServer(
  { path },
  {
    runtime: runtime as PodRuntime,
    clock: systemClock,
    log: createLogger({ write: () => {}, level: "error" }),
  },
);
let client: Client;

before(async () => {
  await server.listen();
  client = new Client(`unix://${path}`, credentials.createInsecure());
});

after(async () => {
  client.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

function call(method: string, message: object = {}, service = "RuntimeService"): Promise<Record<string, unknown>> {
  const of = method === "GetContainerEvents" ? "GetEvents" : method;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/runtime.v1.${service}/${method}`,
      codec.encoder(`${of}Request`),
      codec.decoder(`${method}Response`),
      message,
      (error, answer) => (error === null ? resolve(answer as Record<string, unknown>) : reject(error)),
    );
  });
}

const failsWith = (code: status) => (error: unknown) => (error as ServiceError).code === code;

test("the first connection loads the service, and Version answers", async () => {
  assert.deepEqual(await call("Version"), {
    version: "0.1.0",
    runtimeName: "gantry",
    runtimeVersion: "1.2.3",
    runtimeApiVersion: "v1",
  });
});

test("Status says why the runtime is not ready", async () => {
  const answer = await call("Status");
  const { conditions } = answer["status"] as { conditions: { type: string; status: boolean; message: string }[] };
  assert.deepEqual(
    conditions.map(({ type, status: isReady, message }) => [type, isReady, message]),
    [
      ["RuntimeReady", false, "the disk is full"],
      ["NetworkReady", false, "the disk is full"],
    ],
  );
});

test("a sandbox without namespace options shares its processes and gets a cgroup of its own", async () => {
  await call("RunPodSandbox", { config: { metadata: { name: "p", namespace: "n", uid: "u", attempt: 2 } } });
  assert.equal(asked.sandbox?.shareProcessNamespace, true);
  assert.equal(asked.sandbox.hostNetwork, false);
  assert.equal(asked.sandbox.cgroupParent, "cri/u-2");
});

test("a container without a seccomp profile is unconfined, and its limits of zero are none", async () => {
  await call("CreateContainer", {
    podSandboxId: running.sandboxId,
    config: {
      metadata: { name: "web" },
      image: { image: "web:1" },
      linux: { resources: { cpuShares: 512, memoryLimitInBytes: 0 } },
      stopSignal: "SIGRTMINPLUS3",
    },
  });
  assert.equal(asked.container?.security.seccompProfile, "unconfined");
  assert.deepEqual(asked.container.resources, { cpuShares: 512 });
  assert.equal(asked.container.stopSignal, "SIGRTMIN+3");
});

test("an AppArmor profile is passed on by its name, and none means the engine's own", async () => {
  const profileFor = async (securityContext: object): Promise<string | undefined> => {
    const config = { metadata: { name: "web" }, image: { image: "web:1" }, linux: { securityContext } };
    await call("CreateContainer", { podSandboxId: running.sandboxId, config });
    return asked.container?.security.apparmorProfile;
  };
  assert.equal(await profileFor({ apparmor: { profileType: "Localhost", localhostRef: "mine" } }), "mine");
  assert.equal(await profileFor({ apparmorProfile: "localhost/mine" }), "mine");
  assert.equal(await profileFor({ apparmor: { profileType: "Unconfined" } }), "unconfined");
  assert.equal(await profileFor({ apparmor: { profileType: "RuntimeDefault" } }), undefined);
});

test("what cannot be put in force is refused", async () => {
  const config = { metadata: { name: "web" }, image: { image: "web:1" } };
  const create = (securityContext: object): Promise<object> =>
    call("CreateContainer", { podSandboxId: running.sandboxId, config: { ...config, linux: { securityContext } } });
  await assert.rejects(create({ selinuxOptions: { level: "s0" } }), failsWith(status.UNIMPLEMENTED));
  await assert.rejects(create({ runAsGroup: { value: 5 } }), failsWith(status.INVALID_ARGUMENT));
  await assert.rejects(call("CheckpointContainer"), failsWith(status.UNIMPLEMENTED));
});

test("ids may be cut short; what is not there is NOT_FOUND", async () => {
  const answer = await call("ContainerStatus", { containerId: "ccc" });
  const { state, createdAt } = answer["status"] as { state: string; createdAt: number };
  assert.equal(state, "CONTAINER_RUNNING");
  assert.equal(createdAt, 1_700_000_000_000_000_000);
  await assert.rejects(call("ContainerStatus", { containerId: "e" }), failsWith(status.NOT_FOUND));
});

test("every metric has a descriptor, with a value for each of its labels", async () => {
  const { descriptors } = (await call("ListMetricDescriptors")) as {
    descriptors: { name: string; labelKeys: string[] }[];
  };
  const keys = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
  interface Metric {
    name: string;
    labelValues: string[];
    value: { value: number };
  }
  const { podMetrics } = (await call("ListPodSandboxMetrics")) as {
    podMetrics: { podSandboxId: string; metrics: Metric[]; containerMetrics: { metrics: Metric[] }[] }[];
  };
  const [own] = podMetrics;
  assert.equal(own?.podSandboxId, pod.id);
  const all = [...(own?.metrics ?? []), ...(own?.containerMetrics ?? []).flatMap(({ metrics }) => metrics)];
  for (const { name, labelValues } of all) assert.equal(labelValues.length, keys.get(name)?.length, name);
  const value = (name: string): number | undefined => all.find((metric) => metric.name === name)?.value.value;
  assert.equal(value("container_cpu_usage_seconds_total"), 3);
  assert.equal(value("container_memory_working_set_bytes"), 20);
  assert.equal(value("container_network_transmit_packets_dropped_total"), 8);
  assert.equal(value("container_memory_failures_total"), 77);
  // The kernel did not count it.
  assert.equal(value("container_memory_cache"), undefined);
  const labels = Object.fromEntries(
    (keys.get("container_memory_rss") ?? []).map((key, index) => [
      key,
      all.find(({ name }) => name === "container_memory_rss")?.labelValues[index],
    ]),
  );
  assert.deepEqual(labels, { container: "web", id: running.id, image: "web:1", name: "web", namespace: "n", pod: "p" });
});

test("a sandbox's network and processes are in its stats", async () => {
  const { stats } = (await call("PodSandboxStats", { podSandboxId: pod.id })) as {
    stats: { linux: { network: { defaultInterface: { name: string; rxBytes: { value: number } } }; process: object } };
  };
  assert.equal(stats.linux.network.defaultInterface.name, "eth0");
  assert.equal(stats.linux.network.defaultInterface.rxBytes.value, 1);
  assert.deepEqual((stats.linux.process as { processCount: object }).processCount, { value: 2 });
});

test("a sandbox's changed resources are taken note of, and events tell of creations", async () => {
  await call("UpdatePodSandboxResources", { podSandboxId: pod.id, resources: { cpuShares: 300 } });
  assert.equal(asked.resources?.cpuShares, 300);
  await assert.rejects(call("UpdatePodSandboxResources", { podSandboxId: "0" }), failsWith(status.NOT_FOUND));
  const first = await new Promise<Record<string, unknown>>((resolve, reject) => {
    const stream = client.makeServerStreamRequest(
      "/runtime.v1.RuntimeService/GetContainerEvents",
      codec.encoder("GetEventsRequest"),
      codec.decoder("ContainerEventResponse"),
      {},
    );
    stream.once("data", resolve);
    stream.once("error", reject);
  });
  assert.equal(first["containerEventType"], "CONTAINER_CREATED_EVENT");
  assert.equal(first["containerId"], running.id);
});

test("an image that is not there is an empty answer", async () => {
  assert.equal((await call("ImageStatus", { image: { image: "other" } }, "ImageService"))["image"], null);
});

test("a streaming URL serves once, and no other path serves at all", async () => {
  const { url } = await call("Exec", { containerId: running.id, cmd: ["true"], stdout: true });
  const get = (address: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const sent = request(address, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      sent.once("error", reject);
      sent.end();
    });
  const wrong = new URL(url as string);
  wrong.pathname = "/exec/guess";
  assert.equal(await get(wrong.href), 404);
  // Known, but no upgrade; used up all the same.
  assert.equal(await get(url as string), 400);
  assert.equal(await get(url as string), 404);
});
