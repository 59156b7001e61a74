import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Resolver } from "node:dns/promises";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, before, test } from "node:test";
import type { EndpointSlice, Service } from "#api/kube/service-types.ts";
import { systemClock } from "#base/clock.ts";
import { silentLogger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { InformerFactory } from "#control/informer-factory.ts";
import type { ListerWatcher } from "#control/kube-access.ts";
import { DnsServer } from "#network/dns-server.ts";
import { ClusterDns } from "./cluster-dns.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-dns-"));
const tasks = new TaskGroup({ name: "test", log: silentLogger });
const objects: { services: Service[]; endpointslices: EndpointSlice[] } = {
  services: [
    {
      metadata: { name: "web", namespace: "default" },
      spec: { clusterIP: "10.96.0.20", clusterIPs: ["10.96.0.20"], ports: [{ name: "http", port: 80 }] },
    },
    { metadata: { name: "db", namespace: "default" }, spec: { clusterIP: "None" } },
    { metadata: { name: "out", namespace: "default" }, spec: { type: "ExternalName", externalName: "example.com" } },
  ],
  endpointslices: [
    {
      metadata: { name: "db-1", namespace: "default", labels: { "kubernetes.io/service-name": "db" } },
      addressType: "IPv4",
      endpoints: Array.from({ length: 100 }, (_, index) => ({ addresses: [`10.64.1.${index}`] })),
      ports: [],
    },
  ],
};
const source: ListerWatcher = {
  list: async (resource) => ({
    metadata: { resourceVersion: "1" },
    items: objects[resource.resource as keyof typeof objects] as never,
  }),
  // eslint-disable-next-line require-yield
  watch: async function* (_resource, { signal }) {
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  },
};
const resolver = new Resolver({ timeout: 1_000, tries: 1 });
const upstream = new DnsServer({
  resolve: ({ name }) => ({
    rcode: "NOERROR",
    authoritative: true,
    answers: [{ type: "A", name, ttl: 60, address: "93.184.216.34" }],
  }),
  log: silentLogger,
});

before(async () => {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  upstream.addUdp(socket);
  writeFileSync(join(folder, "resolv.conf"), `nameserver 127.0.0.1#${socket.address().port}\n`);
  const informers = new InformerFactory({ source, log: silentLogger, clock: systemClock });
  const dns = new ClusterDns(
    {
      domain: "cluster.local",
      dnsIp: "127.0.0.53",
      port: 5_399,
      ranges: ["10.96.0.0/16"],
      resolvConf: join(folder, "resolv.conf"),
    },
    { informers, log: silentLogger },
  );
  informers.start(tasks);
  await informers.synced();
  await dns.start(tasks);
  resolver.setServers(["127.0.0.53:5399"]);
});
after(async () => {
  await tasks.stop();
  upstream.close();
  rmSync(folder, { recursive: true });
});

test("a real resolver finds services, ports and reverse names", async () => {
  assert.deepEqual(await resolver.resolve4("web.default.svc.cluster.local", { ttl: true }), [
    { address: "10.96.0.20", ttl: 5 },
  ]);
  assert.deepEqual(await resolver.reverse("10.96.0.20"), ["web.default.svc.cluster.local"]);
  assert.equal((await resolver.resolveSrv("_http._tcp.web.default.svc.cluster.local"))[0]?.port, 80);
  await assert.rejects(resolver.resolve6("web.default.svc.cluster.local"), { code: "ENODATA" });
  await assert.rejects(resolver.resolve4("nope.default.svc.cluster.local"), { code: "ENOTFOUND" });
});

test("a long answer comes whole, over TCP", async () => {
  assert.equal((await resolver.resolve4("db.default.svc.cluster.local")).length, 100);
});

test("other names are asked of the machine's servers, external names followed there", async () => {
  assert.deepEqual(await resolver.resolve4("example.org"), ["93.184.216.34"]);
  assert.deepEqual(await resolver.resolve4("out.default.svc.cluster.local"), ["93.184.216.34"]);
  assert.deepEqual(await resolver.resolveCname("out.default.svc.cluster.local"), ["example.com"]);
});
