import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";
import fc from "fast-check";
import type { EndpointSlice, Service } from "#api/kube/service-types.ts";
import { type ServicePortState, servicePorts } from "./service-port.ts";
import { ServiceTable } from "./service-table.ts";

const options = { table: "gantry-t3-services", clusterCidrs: ["10.67.0.0/16"], serviceCidrs: ["10.99.0.0/16"] };
const namespace = `gt3-rules-${process.pid}`;

const service = (spec: Service["spec"]): Service => ({
  metadata: { name: "web", namespace: "default" },
  spec: { clusterIP: "10.99.0.20", ports: [{ name: "http", port: 80 }], ...spec },
});
const slice = (endpoints: EndpointSlice["endpoints"]): EndpointSlice => ({
  metadata: { name: "web-1", namespace: "default" },
  addressType: "IPv4",
  endpoints,
  ports: [{ name: "http", protocol: "TCP", port: 8080 }],
});
const ready = (ip: string, nodeName = "a"): NonNullable<EndpointSlice["endpoints"]>[number] => ({
  addresses: [ip],
  nodeName,
  conditions: { ready: true },
});

test("ready endpoints take the traffic, going ones only when there is no other", () => {
  const going = {
    addresses: ["10.67.0.9"],
    nodeName: "a",
    conditions: { ready: false, serving: true, terminating: true },
  };
  const [both] = servicePorts(service({}), [slice([ready("10.67.0.2"), going])], "a");
  assert.deepEqual(both?.targets, [{ ip: "10.67.0.2", port: 8080 }]);
  const [alone] = servicePorts(service({}), [slice([going])], "a");
  assert.deepEqual(alone?.targets, [{ ip: "10.67.0.9", port: 8080 }]);
  const [none] = servicePorts(service({}), [slice([{ addresses: ["10.67.0.3"], conditions: { ready: false } }])], "a");
  assert.deepEqual(none?.targets, []);
});

test("headless services, external names and other proxies' services are none of ours", () => {
  assert.deepEqual(servicePorts(service({ clusterIP: "None" }), [], "a"), []);
  assert.deepEqual(servicePorts(service({ type: "ExternalName", clusterIP: "" }), [], "a"), []);
  const foreign = service({});
  foreign.metadata = { ...foreign.metadata, labels: { "service.kubernetes.io/service-proxy-name": "x" } };
  assert.deepEqual(servicePorts(foreign, [], "a"), []);
});

test("an endpoint more or less rewrites its service's chain and nothing else", () => {
  const table = new ServiceTable(options);
  const states = (...ips: string[]): ServicePortState[] =>
    servicePorts(service({}), [slice(ips.map((ip) => ready(ip)))], "a");
  table.set("default/web", states("10.67.0.2"));
  const { commands } = table.set("default/web", states("10.67.0.2", "10.67.0.3"));
  const hash = states()[0]?.hash;
  assert.deepEqual(commands.trim().split("\n"), [
    `flush chain inet gantry-t3-services svc-${hash}`,
    `add rule inet gantry-t3-services svc-${hash} meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 10.67.0.2 . 8080, 1 : 10.67.0.3 . 8080 }`,
    "add element inet gantry-t3-services hairpin4 { 10.67.0.3 . 10.67.0.3 }",
  ]);
  assert.equal(table.set("default/web", states("10.67.0.2", "10.67.0.3")).commands, "");
});

test("a UDP endpoint that leaves has its flows forgotten, and so has a service that finds its first", () => {
  const table = new ServiceTable(options);
  const udp = service({ ports: [{ name: "http", port: 53, protocol: "UDP" }] });
  const states = (...ips: string[]): ServicePortState[] => {
    const one = slice(ips.map((ip) => ready(ip)));
    return servicePorts(udp, [{ ...one, ports: [{ name: "http", protocol: "UDP", port: 53 }] }], "a");
  };
  table.set("default/web", states());
  assert.deepEqual(table.set("default/web", states("10.67.0.2")).staleFlows, [{ ip: "10.99.0.20", port: 53 }]);
  assert.deepEqual(table.set("default/web", states("10.67.0.3")).staleFlows, [
    { ip: "10.99.0.20", port: 53, reply: "10.67.0.2" },
  ]);
});

function nft(arguments_: string[], input?: string): string {
  const result = spawnSync("ip", ["netns", "exec", namespace, "nft", ...arguments_], { input, encoding: "utf8" });
  assert.equal(result.status, 0, `${result.stderr}\n${input}`);
  return result.stdout;
}
before(() => spawnSync("ip", ["netns", "add", namespace]));
after(() => spawnSync("ip", ["netns", "delete", namespace]));

/** The ruleset without order of chains and elements, and without counters' positions. */
function canonical(): string[] {
  const { nftables } = JSON.parse(nft(["-j", "list", "table", "inet", options.table])) as { nftables: unknown[] };
  const text = (value: unknown): string =>
    JSON.stringify(value, (key, inner: unknown) => {
      if (key === "handle" || key === "metainfo") return undefined;
      if (key === "elem" && Array.isArray(inner)) return inner.map((one) => JSON.stringify(one)).sort();
      return inner;
    });
  return nftables.map(text).sort();
}

const address = fc.integer({ min: 2, max: 6 }).map((last) => `10.67.0.${last}`);
const change = fc.record({
  name: fc.constantFrom("a", "b", "c"),
  present: fc.boolean(),
  endpoints: fc.uniqueArray(fc.tuple(address, fc.constantFrom("a", "b")), { maxLength: 4, selector: ([ip]) => ip }),
  affinity: fc.constantFrom("None" as const, "ClientIP" as const),
  timeoutSeconds: fc.constantFrom(60, 600),
  type: fc.constantFrom("ClusterIP" as const, "NodePort" as const, "LoadBalancer" as const),
  externalTrafficPolicy: fc.constantFrom("Cluster" as const, "Local" as const),
  internalTrafficPolicy: fc.constantFrom("Cluster" as const, "Local" as const),
  externalIPs: fc.constantFrom<string[]>([], ["192.0.2.200"]),
  loadBalancerSourceRanges: fc.constantFrom<string[]>([], ["10.0.0.0/8"]),
});

test("whatever changes, in whatever order, the table is what a fresh start would write", () => {
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
      const table = new ServiceTable(options);
      nft(["-f", "-"], table.fullText());
      for (const one of changes) {
        const number = one.name.charCodeAt(0);
        const object: Service = {
          metadata: { name: one.name, namespace: "default" },
          spec: {
            type: one.type,
            clusterIP: `10.99.0.${number}`,
            ports: [{ name: "http", port: 80, nodePort: 30_000 + number }],
            sessionAffinity: one.affinity,
            sessionAffinityConfig: { clientIP: { timeoutSeconds: one.timeoutSeconds } },
            externalTrafficPolicy: one.externalTrafficPolicy,
            internalTrafficPolicy: one.internalTrafficPolicy,
            externalIPs: one.externalIPs,
            loadBalancerSourceRanges: one.loadBalancerSourceRanges,
          },
          status: { loadBalancer: { ingress: [{ ip: `192.0.2.${number}` }] } },
        };
        const endpoints = slice(one.endpoints.map(([ip, node]) => ready(ip, node)));
        const states = one.present ? servicePorts(object, [endpoints], "a") : [];
        const { commands } = table.set(`default/${one.name}`, states);
        if (commands !== "") nft(["-f", "-"], commands);
      }
      const incremental = canonical();
      nft(["-f", "-"], table.fullText());
      assert.deepEqual(incremental, canonical());
    }),
    { numRuns: 25 },
  );
});
