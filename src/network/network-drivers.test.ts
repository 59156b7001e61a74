import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { silentLogger } from "#base/log.ts";
import { DnsServer } from "./dns-server.ts";
import {
  ask,
  closeServers,
  enterIsolatedMachine,
  greet,
  newNamespace,
  newOutside,
  removeNamespaces,
  runIn,
} from "./isolated-machine.ts";
import type { Endpoint, EndpointRequest } from "./network-types.ts";
import { Networking } from "./networking.ts";

const stateDir = mkdtempSync(join(tmpdir(), "gantry-drivers-"));
let networking: Networking;
let outside: string;

before(async () => {
  await enterIsolatedMachine();
  outside = await newOutside();
});
beforeEach(async () => {
  networking = new Networking(
    {
      linkPrefix: "gt3",
      nftTable: "gantry-t3",
      stateDir,
      defaultBridge: { name: "gt3-docker", subnet: "10.131.0.0/16" },
      pools: [{ base: "10.163.0.0/16", size: 24 }],
      pods: { bridge: "gt3-pods", cidr: "10.67.0.0/16" },
      services: { cidr: "10.99.0.0/16", dnsIp: "10.99.0.10" },
    },
    { log: silentLogger },
  );
  await networking.recover({ endpoints: [], pods: [] });
});
afterEach(async () => {
  closeServers();
  await networking.removeAll();
  networking.close();
  assert.doesNotMatch(await runIn(undefined, ["ip", "-br", "link"]), /gt3/);
  rmSync(join(stateDir, "networks.json"), { force: true });
});
after(() => {
  removeNamespaces();
  rmSync(stateDir, { recursive: true });
});

let number = 0;
function container(network: string, more: Partial<EndpointRequest> = {}): Promise<Endpoint> {
  const containerId = (++number).toString(16).padStart(12, "d").padEnd(64, "0");
  return networking.networks.connect({
    network,
    containerId,
    containerName: `d${number}`,
    netnsPath: newNamespace(),
    ...more,
  });
}

/** A link of the machine that leads to nobody. */
async function newParent(name: string): Promise<void> {
  await runIn(undefined, ["ip", "link", "add", name, "type", "veth", "peer", "name", `${name}far`]);
  for (const end of [name, `${name}far`]) await runIn(undefined, ["ip", "link", "set", end, "up"]);
}

test("an IPv6 network gives both families, and its ports answer on both", async () => {
  await networking.networks.create({ Name: "six", EnableIPv6: true });
  const shown = networking.networks.inspect("six");
  assert.match(shown.IPAM.Config?.[1]?.Subnet ?? "", /^fd[0-9a-f:]+::\/64$/);
  const web = await container("six", {
    ports: [{ protocol: "tcp", containerPort: 80, hostIp: "", hostPort: { from: 8080, to: 8080 } }],
  });
  const client = await container("six");
  assert.match(web.ipv6, /^fd/);
  await greet(web.netnsPath, 80, "web", 6);
  await greet(web.netnsPath, 80, "web");
  assert.match(await ask(client.netnsPath, web.ipv6, 80), /^web fd/);
  assert.match(await ask(undefined, "127.0.0.1", 8080), /^web/);
  assert.match(await ask(undefined, "::1", 8080), /^web/);
  assert.match(await ask(client.netnsPath, web.ipv6Gateway, 8080), /^web fd/, "hairpin over IPv6");
  assert.match(
    await runIn(client.netnsPath, ["timeout", "3", "busybox", "nslookup", web.containerName, "127.0.0.11"]),
    new RegExp(web.ipv6),
  );
});

test("macvlan puts a container into the outer network", async () => {
  await networking.networks.create({
    Name: "lan",
    Driver: "macvlan",
    IPAM: { Config: [{ Subnet: "192.0.2.0/24", IPRange: "192.0.2.64/27", Gateway: "192.0.2.2" }] },
    Options: { parent: "out0" },
  });
  const one = await container("lan");
  assert.equal(one.ipv4, "192.0.2.64");
  assert.equal(one.hostInterface, "");
  await greet(one.netnsPath, 80, "lan");
  assert.equal(await ask(outside, "192.0.2.64", 80), "lan 192.0.2.2\n");
  await networking.networks.disconnect("lan", one.containerId);
  assert.doesNotMatch(await runIn(one.netnsPath, ["ip", "-br", "link"]), /eth0/);
  await assert.rejects(
    networking.networks.create({ Name: "lost", Driver: "macvlan", Options: { parent: "nope0" } }),
    /nope0/,
  );
  assert.equal(networking.networks.list().length, 4);
});

test("macvlan modes keep containers apart or together, in docker's words", async () => {
  await newParent("par0");
  await newParent("par1");
  const range = (third: number): { IPAM: { Config: { Subnet: string }[] } } => ({
    IPAM: { Config: [{ Subnet: `10.70.${third}.0/24` }] },
  });
  const create = (Name: string, third: number, Options: Record<string, string>, more = {}): Promise<unknown> =>
    networking.networks.create({ Name, Driver: "macvlan", ...range(third), Options, ...more });
  const reaches = async (network: string): Promise<string> => {
    const [one, two] = [await container(network), await container(network)];
    await greet(two.netnsPath, 80, "two");
    return ask(one.netnsPath, two.ipv4, 80);
  };
  await create("together", 1, { parent: "par0", macvlan_mode: "bridge" });
  assert.match(await reaches("together"), /^two /);
  await create("apart", 2, { parent: "par0", macvlan_mode: "private" });
  assert.doesNotMatch(await reaches("apart"), /^two /);
  await create("mirrored", 3, { parent: "par0", macvlan_mode: "vepa" });
  assert.doesNotMatch(await reaches("mirrored"), /^two /, "no switch sends frames back");
  await assert.rejects(create("alone", 4, { parent: "par0", macvlan_mode: "passthru" }), /cannot use mode passthru/);
  await create("alone", 4, { parent: "par1", macvlan_mode: "passthru" });
  await container("alone");
  await assert.rejects(create("second", 5, { parent: "par1" }), /in mode passthru/);
  await create("nowhere", 5, {});
  assert.equal(networking.networks.inspect("nowhere").IPAM.Config?.[0]?.Gateway, undefined);
  assert.match(await reaches("nowhere"), /^two /);
  await assert.rejects(create("x", 6, { parent: "lo" }), /loopback interface is not a valid macvlan parent link/);
  await assert.rejects(create("x", 6, { parent: "out0.5000" }), /vlan id must be between 1-4094, received: 5000/);
  await assert.rejects(
    create("x", 6, { parent: "out0", macvlan_mode: "y" }),
    /requested macvlan mode 'y' is not valid/,
  );
  await assert.rejects(create("x", 1, { parent: "out0" }), /Pool overlaps with other one/);
});

test("a VLAN of the parent is made once, and goes with its last network", async (t) => {
  const create = (Name: string, parent: string): Promise<unknown> =>
    networking.networks.create({ Name, Driver: "macvlan", Options: { parent } });
  const made = await create("one", "out0.50").catch((error: Error) => error);
  if (made instanceof Error) {
    assert.equal(made.message, "failed to create out0.50 vlan link: Unknown device type");
    return t.skip("this kernel has no VLANs");
  }
  await create("two", "out0.50");
  await networking.networks.remove("one");
  assert.match(await runIn(undefined, ["ip", "-br", "link"]), /out0\.50/);
  await networking.networks.remove("two");
  assert.doesNotMatch(await runIn(undefined, ["ip", "-br", "link"]), /out0\.50/);
});

test("ipvlan shares its parent's MAC, by layer 2 and 3", async (t) => {
  const create = (Name: string, parent: string, Subnet: string, more: Record<string, string> = {}): Promise<unknown> =>
    networking.networks.create({
      Name,
      Driver: "ipvlan",
      IPAM: { Config: [{ Subnet }] },
      Options: { parent, ...more },
    });
  await newParent("ipv0");
  await newParent("ipv1");
  await create("two", "ipv0", "10.71.2.0/24");
  await assert.rejects(create("again", "ipv0", "10.71.4.0/24"), /^GantryError: network di-\w{12} is already using/);
  await assert.rejects(create("bad", "ipv2", "10.71.4.0/24", { ipvlan_mode: "l4" }), /requested ipvlan mode 'l4'/);
  await create("three", "ipv1", "10.71.3.0/24", { ipvlan_mode: "l3" });
  assert.equal(networking.networks.inspect("three").IPAM.Config?.[0]?.Gateway, undefined);
  const one = await container("two").catch((error: Error) => error);
  if (one instanceof Error) {
    assert.equal(one.message, "failed to create the ipvlan port: Unknown device type");
    return t.skip("this kernel has no ipvlan");
  }
  const two = await container("two");
  await greet(two.netnsPath, 80, "two");
  assert.match(await ask(one.netnsPath, two.ipv4, 80), /^two /);
  assert.equal(one.mac, "");
  assert.match(await runIn(one.netnsPath, ["ip", "route"]), /default via 10\.71\.2\.1 dev eth0/);
  const routed = await container("three");
  assert.match(await runIn(routed.netnsPath, ["ip", "route"]), /default dev eth0/);
});

test("a configuration network lends its settings, and is kept while it does", async () => {
  const { networks } = networking;
  await newParent("par2");
  await networks.create({
    Name: "lent",
    ConfigOnly: true,
    Driver: "macvlan",
    IPAM: { Config: [{ Subnet: "10.72.0.0/24", Gateway: "10.72.0.9" }] },
    Labels: { a: "b" },
    Options: { parent: "par2" },
  });
  const shown = networks.inspect("lent");
  assert.deepEqual([shown.Driver, shown.ConfigOnly, shown.Options], ["null", true, { parent: "par2" }]);
  await networks.create({ Name: "user", Driver: "macvlan", ConfigFrom: { Network: "lent" } });
  const user = networks.inspect("user");
  assert.deepEqual([user.ConfigFrom, user.Labels], [{ Network: "lent" }, { a: "b" }]);
  assert.equal(user.IPAM.Config?.[0]?.Gateway, "10.72.0.9");
  assert.equal((await container("user")).ipv4, "10.72.0.1");
  await assert.rejects(container("lent"), /cannot create endpoint on configuration-only network/);
  await assert.rejects(networks.remove("lent"), /^GantryError: configuration network "lent" is in use$/);
  const refused = (body: object, message: RegExp): Promise<void> =>
    assert.rejects(networks.create({ Name: "x", ...body }), message);
  await refused({ ConfigFrom: { Network: "none" } }, /configuration network "none" does not exist/);
  await refused({ ConfigOnly: true, Internal: true }, /configuration network can only contain network specific fields/);
  await refused({ ConfigOnly: true, ConfigFrom: { Network: "lent" } }, /cannot depend on another/);
  await refused({ ConfigFrom: { Network: "lent" }, Labels: { c: "d" } }, /user specified configurations are not/);
  await refused({ ConfigFrom: { Network: "lent" }, Options: { c: "d" } }, /network driver options are not supported/);
  for (const id of Object.keys(networks.inspect("user").Containers)) await networks.disconnect("user", id);
  assert.deepEqual(await networks.prune(() => true), ["user"], "prune leaves it");
  await networks.remove("lent");
});

test("gateway modes, inhibited addresses and trusted links are docker's", async () => {
  const { networks } = networking;
  const bridge = (key: string): string => `com.docker.network.bridge.${key}`;
  const addressOn = async (name: string): Promise<string> =>
    runIn(undefined, ["ip", "-br", "-4", "address", "show", "dev", `gt3-${networks.inspect(name).Id.slice(0, 10)}`]);
  await runIn(outside, ["ip", "route", "add", "10.163.0.0/16", "via", "192.0.2.1"]);
  const open = async (name: string, Options: Record<string, string>): Promise<string> => {
    await networks.create({ Name: name, Options });
    const web = await container(name);
    await greet(web.netnsPath, 80, name);
    return ask(outside, web.ipv4, 80);
  };
  assert.doesNotMatch(await open("plain", {}), /^plain/);
  assert.match(await open("unprotected", { [bridge("gateway_mode_ipv4")]: "nat-unprotected" }), /^unprotected/);
  assert.match(await open("trusting", { [bridge("trusted_host_interfaces")]: "out0:other0" }), /^trusting/);
  await networks.create({ Name: "isolated", Internal: true, Options: { [bridge("gateway_mode_ipv4")]: "isolated" } });
  assert.doesNotMatch(await addressOn("isolated"), /10\.163/);
  assert.equal((await container("isolated")).ipv4.endsWith(".1"), true, "the first address is a container's");
  await networks.create({ Name: "inhibited", Options: { [bridge("inhibit_ipv4")]: "true" } });
  assert.doesNotMatch(await addressOn("inhibited"), /10\.163/);
  assert.match(await addressOn("plain"), /10\.163/);
  const refused = (key: string, value: string, message: RegExp): Promise<void> =>
    assert.rejects(networks.create({ Name: "x", Options: { [bridge(key)]: value } }), message);
  await refused("gateway_mode_ipv4", "isolated", /gateway mode 'isolated' can only be used for an internal network/);
  await refused("gateway_mode_ipv4", "x", /failed to parse \S+gateway_mode_ipv4 value: x \(unknown gateway mode x\)/);
  await refused("enable_icc", "yes", /\(strconv\.ParseBool: parsing "yes": invalid syntax\)/);
  assert.deepEqual(
    (await networks.create({ Name: "odd", Options: { [bridge("of.sighs")]: "1" } })).warning,
    "Options without effect: com.docker.network.bridge.of.sighs.",
  );
});

test("an overlay joins containers of two hosts", async () => {
  await networking.networks.create({
    Name: "wide",
    Driver: "overlay",
    IPAM: { Config: [{ Subnet: "10.50.0.0/24", IPRange: "10.50.0.0/25", Gateway: "10.50.0.1" }] },
    Options: { "gantry.overlay.local": "192.0.2.1", "gantry.overlay.peers": "192.0.2.1,192.0.2.2" },
  });
  const near = await container("wide");
  const peer = spawn("nsenter", [`--net=${outside}`, process.execPath, join(import.meta.dirname, "overlay-peer.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = (await once(peer.stdout, "data")) as [Buffer];
  const far = line.toString().trim().split(" ")[1] as string;
  assert.equal(await ask(near.netnsPath, far, 80), `far ${near.ipv4}\n`);
  peer.stdin.end();
  const [status] = (await once(peer, "exit")) as [number];
  assert.equal(status, 0);
  await assert.rejects(
    networking.networks.create({ Name: "swarm", Driver: "overlay" }),
    /This node is not a swarm manager/,
  );
});

test("gateway priority decides about the way out", async () => {
  await networking.networks.create({ Name: "aaa" });
  await networking.networks.create({ Name: "zzz" });
  const { containerId, containerName, netnsPath } = await container("aaa");
  await networking.networks.connect({ network: "zzz", containerId, containerName, netnsPath, gatewayPriority: 5 });
  assert.match(await runIn(netnsPath, ["ip", "route"]), /default via 10\.163\.1\.1 dev eth1/);
  await networking.networks.disconnect("zzz", containerId);
  assert.match(await runIn(netnsPath, ["ip", "route"]), /default via 10\.163\.0\.1 dev eth0/);
});

test("pods ask the node's own DNS on the service address", async () => {
  const pod = await networking.pods?.attach({ sandboxId: "p", netnsPath: newNamespace() });
  const server = new DnsServer({
    resolve: ({ name }) => ({
      rcode: "NOERROR",
      authoritative: true,
      answers: [{ type: "A", name, ttl: 5, address: "10.99.0.20" }],
    }),
    log: silentLogger,
  });
  const socket = createSocket("udp4").bind(53, "10.99.0.10");
  await once(socket, "listening");
  server.addUdp(socket);
  const answer = await runIn(pod?.netnsPath, [
    "timeout",
    "3",
    "busybox",
    "nslookup",
    "-type=a",
    "web.default",
    "10.99.0.10",
  ]);
  server.close();
  assert.match(answer, /10\.99\.0\.20/);
});

test("hundreds of networks are made, run out in docker's words, and are pruned", async () => {
  for (let index = 0; index < 256; index++) await networking.networks.create({ Name: `n${index}` });
  await assert.rejects(networking.networks.create({ Name: "more" }), {
    message: "all predefined address pools have been fully subnetted",
    code: "invalid",
  });
  for (let index = 0; index < 20; index++) {
    await networking.networks.create({ Name: `m${index}`, IPAM: { Config: [{ Subnet: `10.73.${index}.0/24` }] } });
  }
  const last = await container("n255");
  assert.equal(last.ipv4, "10.163.255.2");
  assert.equal((await networking.networks.prune(() => true)).length, 275);
  assert.equal((await networking.networks.create({ Name: "again" })).warning, "");
  assert.equal(networking.networks.inspect("again").IPAM.Config?.[0]?.Subnet, "10.163.0.0/24");
  await networking.networks.release(last.containerId);
});
