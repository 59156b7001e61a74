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

test("an IPv6 network gives both families, and its ports answer on both", async () => {
  await networking.networks.create({ Name: "six", EnableIPv6: true });
  const shown = networking.networks.inspect("six");
  assert.match(shown.IPAM.Config[1]?.Subnet ?? "", /^fd[0-9a-f:]+::\/64$/);
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

test("hundreds of networks are made and pruned", async () => {
  for (let index = 0; index < 200; index++) await networking.networks.create({ Name: `n${index}` });
  const last = await container("n199");
  assert.equal(last.ipv4, "10.163.199.2");
  assert.equal((await networking.networks.prune(() => true)).length, 199);
  await networking.networks.release(last.containerId);
});
