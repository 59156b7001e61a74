import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { KubeObject, ResourceRef } from "#api/kube/object.ts";
import type { EndpointSlice, Service } from "#api/kube/service-types.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import { systemClock } from "#base/clock.ts";
import { silentLogger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { InformerFactory } from "#control/informer-factory.ts";
import type { ListerWatcher } from "#control/kube-access.ts";
import {
  ask,
  askUdp,
  closeServers,
  enterIsolatedMachine,
  greet,
  greetUdp,
  newNamespace,
  newOutside,
  removeNamespaces,
  runIn,
} from "#network/isolated-machine.ts";
import type { PodEndpoint } from "#network/network-types.ts";
import { Networking } from "#network/networking.ts";
import { removeServiceTable, ServiceProxy } from "./service-proxy.ts";

const table = "gantry-t3-services";
const stateDir = mkdtempSync(join(tmpdir(), "gantry-proxy-"));
const queues = new Map<string, AsyncQueue<{ type: "ADDED" | "MODIFIED" | "DELETED"; object: KubeObject }>>();
let revision = 1;

/** An API server that only remembers what it is told. */
const source: ListerWatcher = {
  list: async (_resource: ResourceRef) => ({ metadata: { resourceVersion: "1" }, items: [] }),
  watch: (resource, { signal }) => {
    const queue = new AsyncQueue<{ type: "ADDED" | "MODIFIED" | "DELETED"; object: KubeObject }>();
    queues.set(resource.resource, queue);
    signal.addEventListener("abort", () => queue.end(), { once: true });
    return queue as never;
  },
};
async function tell(
  resource: "services" | "endpointslices",
  object: KubeObject,
  type: "MODIFIED" | "DELETED" = "MODIFIED",
): Promise<void> {
  const metadata = { namespace: "default", ...object.metadata, resourceVersion: String(++revision) };
  queues.get(resource)?.push({ type, object: { ...object, metadata } });
  await new Promise((resolve) => setTimeout(resolve, 60));
}
const service = (name: string, spec: Service["spec"]): Promise<void> =>
  tell("services", { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } } as Service);
function endpoints(name: string, ips: string[], port = 80, protocol = "TCP", nodeName = "here"): Promise<void> {
  return tell("endpointslices", {
    metadata: { name: `${name}-1`, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    endpoints: ips.map((ip) => ({ addresses: [ip], nodeName, conditions: { ready: true } })),
    ports: [{ port, protocol }],
  } as EndpointSlice);
}

let networking: Networking;
let outside: string;
let tasks: TaskGroup;
const pods: PodEndpoint[] = [];
const ip = (index: number): string => pods[index]?.ips[0] as string;
const namespaceOf = (index: number): string => pods[index]?.netnsPath as string;

before(async () => {
  await enterIsolatedMachine();
  outside = await newOutside();
  networking = new Networking(
    {
      linkPrefix: "gt3",
      nftTable: "gantry-t3",
      stateDir,
      defaultBridge: { name: "gt3-docker", subnet: "10.131.0.0/16" },
      pools: [],
      pods: { bridge: "gt3-pods", cidr: "10.67.0.0/16" },
      services: { cidr: "10.99.0.0/16", dnsIp: "10.99.0.10" },
    },
    { log: silentLogger },
  );
  await networking.recover({ endpoints: [], pods: [] });
  for (const name of ["zero", "one", "two"]) {
    const pod = await networking.pods?.attach({ sandboxId: name, netnsPath: newNamespace() });
    assert.ok(pod !== undefined);
    pods.push(pod);
    await greet(pod.netnsPath, 80, name);
    await greetUdp(pod.netnsPath, 53, name);
  }
  tasks = new TaskGroup({ name: "test", log: silentLogger });
  const informers = new InformerFactory({ source, log: silentLogger, clock: systemClock });
  const options = { table, clusterCidrs: ["10.67.0.0/16"], serviceCidrs: ["10.99.0.0/16"], nodeName: "here" };
  const proxy = new ServiceProxy(options, { informers, log: silentLogger });
  proxy.start(tasks);
  informers.start(tasks);
  await proxy.ready;
});
after(async () => {
  await tasks.stop();
  closeServers();
  await removeServiceTable(table);
  await networking.removeAll();
  networking.close();
  removeNamespaces();
  rmSync(stateDir, { recursive: true });
  assert.equal(await runIn(undefined, ["nft", "list", "tables"]), "");
});

test("each endpoint answers in turn, and sees the pod that asks", async () => {
  await service("web", { clusterIP: "10.99.0.20" });
  await endpoints("web", [ip(0), ip(1)]);
  const answers = [];
  for (let round = 0; round < 4; round++) answers.push(await ask(namespaceOf(2), "10.99.0.20", 80));
  assert.deepEqual(answers.slice(0, 2).sort(), [`one ${ip(2)}\n`, `zero ${ip(2)}\n`]);
  assert.deepEqual(answers.slice(2), answers.slice(0, 2));
});

test("the machine itself reaches services, and a pod reaches itself through one", async () => {
  assert.match(await ask(undefined, "10.99.0.20", 80), /^(zero|one) 10\.67\.0\.1\n$/);
  await endpoints("web", [ip(0)]);
  assert.equal(await ask(namespaceOf(0), "10.99.0.20", 80), "zero 10.67.0.1\n");
});

test("a service without endpoints refuses at once, and so does a port or an address that is no service's", async () => {
  await endpoints("web", []);
  for (const [address, port] of [
    ["10.99.0.20", 80],
    ["10.99.0.20", 81],
    ["10.99.77.7", 80],
  ] as const) {
    assert.match(await ask(namespaceOf(2), address, port), /refused/, `${address} from a pod`);
    assert.match(await ask(undefined, address, port), /refused/, `${address} from the node`);
  }
});

test("rules that somebody flushes come back", async () => {
  await endpoints("web", [ip(1)]);
  await runIn(undefined, ["nft", "delete", "table", "inet", table]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.match(await ask(namespaceOf(2), "10.99.0.20", 80), /^one/);
});

test("a node port answers on every address of the machine", async () => {
  await service("web", { type: "NodePort", clusterIP: "10.99.0.20", ports: [{ port: 80, nodePort: 30_080 }] });
  await endpoints("web", [ip(0), ip(1)]);
  assert.match(await ask(undefined, "127.0.0.1", 30_080), /^(zero|one) /);
  assert.match(await ask(undefined, "192.0.2.1", 30_080), /^(zero|one) /);
  assert.match(await ask(outside, "192.0.2.1", 30_080), /^(zero|one) 10\.67\.0\.1\n/);
  assert.match(await ask(namespaceOf(0), "192.0.2.1", 30_080), /^(zero|one) /);
});

test("with the local policy the client's address is kept, and only this node's endpoints answer", async () => {
  const spec = { type: "NodePort", clusterIP: "10.99.0.20", ports: [{ port: 80, nodePort: 30_080 }] } as const;
  await service("web", { ...spec, ports: [...spec.ports], externalTrafficPolicy: "Local" });
  assert.match(await ask(outside, "192.0.2.1", 30_080), /^(zero|one) 192\.0\.2\.2\n/);
  await endpoints("web", [ip(0)], 80, "TCP", "elsewhere");
  assert.match(await ask(outside, "192.0.2.1", 30_080), /timed out/);
  assert.match(await ask(namespaceOf(1), "10.99.0.20", 80), /^zero/);
});

test("session affinity keeps a client at its endpoint", async () => {
  await service("sticky", { clusterIP: "10.99.0.30", sessionAffinity: "ClientIP" });
  await endpoints("sticky", [ip(0), ip(1), ip(2)]);
  const first = await ask(namespaceOf(2), "10.99.0.30", 80);
  for (let round = 0; round < 5; round++) assert.equal(await ask(namespaceOf(2), "10.99.0.30", 80), first);
  const left = pods
    .map(({ ips }) => ips[0] as string)
    .filter((_, index) => !first.startsWith(["zero", "one", "two"][index] as string));
  await endpoints("sticky", left);
  const second = await ask(namespaceOf(2), "10.99.0.30", 80);
  assert.ok(second !== "" && second !== first);
});

test("external addresses and load balancer addresses lead to the service", async () => {
  await tell("services", {
    metadata: { name: "lb" },
    spec: {
      type: "LoadBalancer",
      clusterIP: "10.99.0.40",
      externalIPs: ["203.0.113.5"],
      loadBalancerSourceRanges: ["192.0.2.0/24"],
      ports: [{ port: 80, nodePort: 30_040 }],
    },
    status: { loadBalancer: { ingress: [{ ip: "203.0.113.6" }] } },
  } as Service);
  await endpoints("lb", [ip(1)]);
  await runIn(outside, ["ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.1"]);
  assert.match(await ask(outside, "203.0.113.5", 80), /^one/);
  assert.match(await ask(outside, "203.0.113.6", 80), /^one/);
  assert.doesNotMatch(await ask(namespaceOf(0), "203.0.113.6", 80), /one/, "outside of the source ranges");
  await endpoints("lb", []);
  assert.match(await ask(outside, "203.0.113.5", 80), /refused/);
});

test("UDP clients that keep their port follow the endpoints", async () => {
  await service("dns", { clusterIP: "10.99.0.53", ports: [{ port: 53, protocol: "UDP" }] });
  await endpoints("dns", [ip(0)], 53, "UDP");
  assert.match(await askUdp(namespaceOf(2), "10.99.0.53", 53, 5_555), /^zero/);
  await endpoints("dns", [ip(1)], 53, "UDP");
  assert.match(await askUdp(namespaceOf(2), "10.99.0.53", 53, 5_555), /^one/);
  await endpoints("dns", [], 53, "UDP");
  assert.doesNotMatch(await askUdp(namespaceOf(2), "10.99.0.53", 53, 5_555), /zero|one/);
  await endpoints("dns", [ip(2)], 53, "UDP");
  assert.match(await askUdp(namespaceOf(0), "10.99.0.53", 53, 5_555), /^two/);
});

test("an endpoint may be the machine itself, as that of the API server is", async () => {
  await greet("/proc/thread-self/ns/net", 6_443, "machine");
  await service("kubernetes", { clusterIP: "10.99.0.1", ports: [{ port: 443 }] });
  await endpoints("kubernetes", ["192.0.2.1"], 6_443);
  assert.equal(await ask(namespaceOf(0), "10.99.0.1", 443), `machine ${ip(0)}\n`);
  assert.match(await ask(undefined, "10.99.0.1", 443), /^machine /);
  await tell("services", { metadata: { name: "kubernetes" } }, "DELETED");
});

test("a service that goes takes its rules with it", async () => {
  for (const name of ["web", "sticky", "lb", "dns"]) await tell("services", { metadata: { name } }, "DELETED");
  const rules = await runIn(undefined, ["nft", "list", "table", "inet", table]);
  assert.doesNotMatch(rules, /10\.67\.0\.[2-9]|svc-|aff-/);
});
