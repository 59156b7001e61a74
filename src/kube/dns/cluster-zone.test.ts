import assert from "node:assert/strict";
import { test } from "node:test";
import type { EndpointSlice, Service } from "#api/kube/service-types.ts";
import { requireCidr } from "#network/addresses.ts";
import { type DnsRecord, type DnsResponse, dnsType } from "#network/dns-message.ts";
import { ClusterZone, type ZoneAnswer } from "./cluster-zone.ts";

const services: Service[] = [
  {
    metadata: { name: "web", namespace: "default" },
    spec: { clusterIP: "10.96.0.20", clusterIPs: ["10.96.0.20", "fd96::20"], ports: [{ name: "http", port: 80 }] },
  },
  {
    metadata: { name: "db", namespace: "default" },
    spec: { clusterIP: "None", ports: [{ name: "sql", port: 5432 }] },
  },
  { metadata: { name: "empty", namespace: "default" }, spec: { clusterIP: "None" } },
  { metadata: { name: "early", namespace: "default" }, spec: { clusterIP: "None", publishNotReadyAddresses: true } },
  { metadata: { name: "out", namespace: "default" }, spec: { type: "ExternalName", externalName: "example.com" } },
  {
    metadata: { name: "inner", namespace: "default" },
    spec: { type: "ExternalName", externalName: "web.default.svc.cluster.local" },
  },
];
const slices: EndpointSlice[] = [
  {
    metadata: { name: "db-1", namespace: "default", labels: { "kubernetes.io/service-name": "db" } },
    addressType: "IPv4",
    endpoints: [
      { addresses: ["10.64.0.2"], hostname: "db-0", conditions: { ready: true } },
      { addresses: ["10.64.0.3"], conditions: { ready: true } },
      { addresses: ["10.64.0.4"], hostname: "db-2", conditions: { ready: false } },
    ],
    ports: [{ name: "sql", protocol: "TCP", port: 5432 }],
  },
  {
    metadata: { name: "early-1", namespace: "default", labels: { "kubernetes.io/service-name": "early" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.64.0.9"], conditions: { ready: false } }],
    ports: [],
  },
];

const zone = new ClusterZone(
  {
    domain: "cluster.local",
    ranges: [requireCidr("10.96.0.0/16"), requireCidr("10.64.0.0/16")],
    serverIp: "10.96.0.10",
    random: () => 0,
  },
  {
    service: (key) => services.find((service) => `${service.metadata?.namespace}/${service.metadata?.name}` === key),
    slices: (key) =>
      slices.filter((slice) => `default/${slice.metadata?.labels?.["kubernetes.io/service-name"]}` === key),
    servicesByClusterIp: (ip) => services.filter((service) => service.spec?.clusterIPs?.includes(ip)),
    slicesByAddress: (ip) => slices.filter((slice) => slice.endpoints?.some((one) => one.addresses.includes(ip))),
    hasNamespace: (namespace) => namespace === "default",
  },
);

function ask(name: string, type: keyof typeof dnsType): ZoneAnswer {
  return zone.resolve({ name, type: dnsType[type], class: 1 });
}
function answer(name: string, type: keyof typeof dnsType): DnsResponse {
  const result = ask(name, type);
  assert.ok(result !== "forward" && "rcode" in result, `${name} was not answered`);
  return result;
}
const show = (record: DnsRecord): string =>
  "address" in record ? record.address : "target" in record ? record.target : record.type;
const values = (name: string, type: keyof typeof dnsType): string[] => answer(name, type).answers.map(show);

test("a service's name has its cluster addresses of the family that was asked for", () => {
  assert.deepEqual(values("web.default.svc.cluster.local", "A"), ["10.96.0.20"]);
  assert.deepEqual(values("WEB.Default.SVC.cluster.local", "AAAA"), ["fd96::20"]);
  assert.equal(answer("web.default.svc.cluster.local", "A").answers[0]?.ttl, 5);
});

test("a headless service's name has the addresses of its ready endpoints", () => {
  assert.deepEqual(values("db.default.svc.cluster.local", "A"), ["10.64.0.2", "10.64.0.3"]);
  assert.deepEqual(values("db-0.db.default.svc.cluster.local", "A"), ["10.64.0.2"]);
  assert.deepEqual(values("10-64-0-3.db.default.svc.cluster.local", "A"), ["10.64.0.3"]);
  assert.equal(answer("db-2.db.default.svc.cluster.local", "A").rcode, "NXDOMAIN");
  assert.deepEqual(values("early.default.svc.cluster.local", "A"), ["10.64.0.9"]);
});

test("what is there but has no record of that type is no error, what is not there is one", () => {
  const nothing = answer("db.default.svc.cluster.local", "AAAA");
  assert.equal(nothing.rcode, "NOERROR");
  assert.equal(nothing.answers.length, 0);
  assert.equal(nothing.authority?.[0]?.type, "SOA");
  assert.equal(answer("web.default.svc.cluster.local", "TXT").rcode, "NOERROR");
  assert.equal(answer("default.svc.cluster.local", "A").rcode, "NOERROR");
  assert.equal(answer("svc.cluster.local", "A").rcode, "NOERROR");
  for (const name of [
    "nope.default.svc",
    "web.other.svc",
    "other.svc",
    "x.y.web.default.svc",
    "empty.default.svc",
    "x",
  ]) {
    assert.equal(answer(`${name}.cluster.local`, "A").rcode, "NXDOMAIN", name);
  }
});

test("SRV records name the ports, with the addresses beside them", () => {
  const cluster = answer("_http._tcp.web.default.svc.cluster.local", "SRV");
  assert.deepEqual(cluster.answers[0], {
    type: "SRV",
    name: "_http._tcp.web.default.svc.cluster.local",
    ttl: 5,
    priority: 0,
    weight: 100,
    port: 80,
    target: "web.default.svc.cluster.local",
  });
  assert.equal(cluster.additional?.length, 2);
  assert.deepEqual(values("_sql._tcp.db.default.svc.cluster.local", "SRV"), [
    "db-0.db.default.svc.cluster.local",
    "10-64-0-3.db.default.svc.cluster.local",
  ]);
  assert.equal(answer("_http._udp.web.default.svc.cluster.local", "SRV").rcode, "NXDOMAIN");
  assert.equal(answer("_http._tcp.web.default.svc.cluster.local", "A").answers.length, 0);
});

test("an external name is an alias, followed where we know it", () => {
  assert.deepEqual(values("out.default.svc.cluster.local", "CNAME"), ["example.com"]);
  const outside = ask("out.default.svc.cluster.local", "A");
  assert.ok(outside !== "forward" && "alias" in outside);
  assert.equal(outside.alias, "example.com");
  assert.deepEqual(values("inner.default.svc.cluster.local", "A"), ["web.default.svc.cluster.local", "10.96.0.20"]);
});

test("addresses lead back to names, in our ranges only", () => {
  assert.deepEqual(values("20.0.96.10.in-addr.arpa", "PTR"), ["web.default.svc.cluster.local"]);
  assert.deepEqual(values("2.0.64.10.in-addr.arpa", "PTR"), ["db-0.db.default.svc.cluster.local"]);
  assert.equal(answer("9.9.96.10.in-addr.arpa", "PTR").rcode, "NXDOMAIN");
  assert.equal(ask("1.1.1.1.in-addr.arpa", "PTR"), "forward");
});

test("pod names say their address, other domains are passed on", () => {
  assert.deepEqual(values("10-64-0-7.default.pod.cluster.local", "A"), ["10.64.0.7"]);
  assert.equal(answer("nonsense.default.pod.cluster.local", "A").rcode, "NXDOMAIN");
  assert.equal(ask("example.com", "A"), "forward");
  assert.equal(ask("notcluster.local", "A"), "forward");
  assert.deepEqual(answer("dns-version.cluster.local", "TXT").answers[0], {
    type: "TXT",
    name: "dns-version.cluster.local",
    ttl: 5,
    texts: ["1.1.0"],
  });
});
