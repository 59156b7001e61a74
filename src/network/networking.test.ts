import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { silentLogger } from "#base/log.ts";
import { bindSocket } from "#host/bound-sockets.ts";
import { closeFd } from "#host/descriptors.ts";
import { linkIndex } from "#host/links.ts";
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
} from "./isolated-machine.ts";
import type { Endpoint, EndpointRequest } from "./network-types.ts";
import { Networking } from "./networking.ts";

const stateDir = mkdtempSync(join(tmpdir(), "gantry-net-"));
let networking: Networking;
let outside: string;

function open(): Networking {
  return new Networking(
    {
      linkPrefix: "gt3",
      nftTable: "gantry-t3",
      stateDir,
      defaultBridge: { name: "gt3-docker", subnet: "10.131.0.0/16" },
      pools: [{ base: "10.163.0.0/16", size: 24 }],
      pods: { bridge: "gt3-pods", cidr: "10.67.0.0/16" },
      dns: ["192.0.2.2"],
      services: { cidr: "10.99.0.0/16", dnsIp: "10.99.0.10" },
    },
    { log: silentLogger },
  );
}

before(async () => {
  await enterIsolatedMachine();
  outside = await newOutside();
});
beforeEach(async () => {
  networking = open();
  await networking.recover({ endpoints: [], pods: [] });
});
afterEach(async () => {
  closeServers();
  await networking.removeAll();
  networking.close();
  assert.doesNotMatch(await runIn(undefined, ["ip", "-br", "link"]), /gt3/);
  assert.equal(await runIn(undefined, ["nft", "list", "tables"]), "");
  assert.doesNotMatch(await runIn(undefined, ["ip", "route"]), /unreachable|gt3/);
  rmSync(join(stateDir, "networks.json"), { force: true });
});
after(() => {
  removeNamespaces();
  rmSync(stateDir, { recursive: true });
});

let number = 0;
async function container(network: string, more: Partial<EndpointRequest> = {}): Promise<Endpoint> {
  const containerId = (++number).toString(16).padStart(12, "c").padEnd(64, "0");
  return networking.networks.connect({
    network,
    containerId,
    containerName: `c${number}`,
    netnsPath: newNamespace(),
    ...more,
  });
}
const published = (
  containerPort: number,
  hostPort?: number,
  hostIp = "",
): NonNullable<EndpointRequest["ports"]>[number] => ({
  protocol: "tcp",
  containerPort,
  hostIp,
  ...(hostPort === undefined ? {} : { hostPort: { from: hostPort, to: hostPort } }),
});

test("containers of the default bridge reach each other, the machine, and the world under the machine's address", async () => {
  const a = await container("bridge");
  const b = await container("bridge");
  assert.equal(a.ipv4, "10.131.0.2");
  assert.equal(a.mac, "02:42:0a:83:00:02");
  assert.equal(a.gateway, "10.131.0.1");
  await greet(b.netnsPath, 80, "b");
  await greet(outside, 80, "outside");
  assert.equal(await ask(a.netnsPath, b.ipv4, 80), "b 10.131.0.2\n");
  assert.equal(await ask(a.netnsPath, "192.0.2.2", 80), "outside 192.0.2.1\n");
  assert.equal(await ask(undefined, b.ipv4, 80), "b 10.131.0.1\n");
});

for (const bridgeFilter of ["0", "1"]) {
  test(`a published port answers from everywhere (bridge-nf-call-iptables ${bridgeFilter})`, async () => {
    writeFileSync("/proc/sys/net/bridge/bridge-nf-call-iptables", bridgeFilter);
    const web = await container("bridge", {
      ports: [
        published(80, 8080),
        { protocol: "udp", containerPort: 53, hostIp: "", hostPort: { from: 5353, to: 5353 } },
      ],
    });
    const neighbour = await container("bridge");
    const { id } = await networking.networks.create({ Name: "other" });
    const stranger = await container(id);
    await greet(web.netnsPath, 80, "web");
    await greetUdp(web.netnsPath, 53, "dns");
    assert.equal(await ask(undefined, "127.0.0.1", 8080), "web 10.131.0.1\n", "from the machine by 127.0.0.1");
    assert.match(await ask(undefined, "192.0.2.1", 8080), /^web /, "from the machine by its address");
    assert.match(await ask(undefined, "::1", 8080), /^web /, "from the machine by ::1");
    assert.equal(await ask(outside, "192.0.2.1", 8080), "web 192.0.2.2\n", "from outside");
    assert.equal(await ask(neighbour.netnsPath, "192.0.2.1", 8080), "web 10.131.0.1\n", "from a neighbour");
    assert.equal(await ask(neighbour.netnsPath, "10.131.0.1", 8080), "web 10.131.0.1\n", "by the gateway");
    assert.equal(await ask(web.netnsPath, "192.0.2.1", 8080), "web 10.131.0.1\n", "from itself");
    assert.match(await ask(stranger.netnsPath, "192.0.2.1", 8080), /^web 10\.163\.0\.2/, "from another network");
    assert.match(await askUdp(outside, "192.0.2.1", 5353), /^dns 192\.0\.2\.2/, "over UDP");
    assert.match(await askUdp(undefined, "127.0.0.1", 5353), /^dns/, "over UDP by 127.0.0.1");
    await networking.networks.release(web.containerId);
    assert.doesNotMatch(await ask(undefined, "127.0.0.1", 8080), /web/);
  });

  test(`networks are apart, internal ones have no way out, icc can be off (bridge-nf-call-iptables ${bridgeFilter})`, async () => {
    writeFileSync("/proc/sys/net/bridge/bridge-nf-call-iptables", bridgeFilter);
    await networking.networks.create({ Name: "one" });
    await networking.networks.create({ Name: "inner", Internal: true });
    await networking.networks.create({ Name: "quiet", Options: { "com.docker.network.bridge.enable_icc": "false" } });
    const [one, inner, inner2, quiet, quiet2] = [
      await container("one"),
      await container("inner"),
      await container("inner"),
      await container("quiet"),
      await container("quiet", { ports: [published(80, 8090)] }),
    ];
    for (const { netnsPath, containerName } of [one, inner, quiet2, inner2]) await greet(netnsPath, 80, containerName);
    await greet(outside, 80, "outside");
    assert.doesNotMatch(await ask(one.netnsPath, inner.ipv4, 80), /c\d/);
    assert.doesNotMatch(await ask(inner.netnsPath, one.ipv4, 80), /c\d/);
    assert.doesNotMatch(await ask(inner.netnsPath, "192.0.2.2", 80), /outside/);
    assert.doesNotMatch(await ask(outside, one.ipv4, 80), /c\d/);
    assert.match(await ask(inner.netnsPath, inner2.ipv4, 80), /^c\d/);
    assert.match(await ask(one.netnsPath, "192.0.2.2", 80), /outside/);
    assert.doesNotMatch(await ask(quiet.netnsPath, quiet2.ipv4, 80), /c\d/);
    assert.match(await ask(quiet.netnsPath, "192.0.2.2", 80), /outside/);
    assert.match(await ask(quiet.netnsPath, "192.0.2.1", 8090), /^c\d/, "published ports answer even so");
  });
}

test("a container cannot reach the machine's loopback through the bridge", async () => {
  const a = await container("bridge");
  const server = bindSocket({ type: "tcp", family: 4, address: Buffer.from([127, 0, 0, 1]), port: 6000 });
  await runIn(a.netnsPath, ["ip", "link", "set", "lo", "down"]);
  await runIn(a.netnsPath, ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet"]);
  await runIn(a.netnsPath, ["ip", "route", "add", "127.0.0.1", "via", "10.131.0.1", "table", "main"]);
  await runIn(a.netnsPath, ["ip", "rule", "del", "pref", "0"]);
  assert.match(await ask(a.netnsPath, "127.0.0.1", 6000), /timed out|timeout|unreachable/i);
  closeFd(server.fd);
});

test("taken ports are refused in docker's words and leave nothing behind", async () => {
  await container("bridge", { ports: [published(80, 8080)] });
  await assert.rejects(
    container("bridge", { containerName: "second", ports: [published(81, 8081), published(80, 8080)] }),
    {
      message:
        /^driver failed programming external connectivity on endpoint second \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:8080 failed: port is already allocated$/,
    },
  );
  const { fd } = bindSocket({ type: "tcp", family: 4, address: Buffer.from([127, 0, 0, 1]), port: 9000 });
  await assert.rejects(container("bridge", { ports: [published(80, 9000)] }), {
    message: /: failed to bind host port for 0\.0\.0\.0:9000:10\.131\.0\.\d+:80\/tcp: address already in use$/,
  });
  closeFd(fd);
  await assert.rejects(container("bridge", { ports: [published(80, 80, "203.0.113.9")] }), {
    message: /failed to bind host port for 203\.0\.113\.9:80:10\.131\.0\.\d+:80\/tcp: cannot assign requested address$/,
  });
  const next = await container("bridge", { ports: [published(81, 8081)] });
  assert.equal(next.ipv4, "10.131.0.3");
  const links = await runIn(undefined, ["ip", "-br", "link"]);
  assert.equal(links.match(/^gt3v/gm)?.length, 2);
});

test("random ports come from docker's range, ranges give the first free one", async () => {
  const random = await container("bridge", { ports: [published(80)] });
  assert.ok((random.ports[0]?.hostPort ?? 0) >= 32_768);
  assert.deepEqual(
    random.ports.map(({ hostIp }) => hostIp),
    ["0.0.0.0", "::"],
  );
  await container("bridge", { ports: [published(80, 7000)] });
  const ranged = await container("bridge", {
    ports: [{ protocol: "tcp", containerPort: 80, hostIp: "", hostPort: { from: 7000, to: 7005 } }],
  });
  assert.equal(ranged.ports[0]?.hostPort, 7001);
});

test("names answer on user-defined networks, and port 53 stays the container's own", async () => {
  await networking.networks.create({ Name: "app" });
  const web = await container("app", { containerName: "web", aliases: ["www"], hostname: "web-host" });
  const client = await container("app", { containerName: "client" });
  const lookup = (name: string): Promise<string> =>
    runIn(client.netnsPath, ["timeout", "3", "busybox", "nslookup", name, "127.0.0.11"]);
  for (const name of ["web", "WWW", "web-host", web.containerId.slice(0, 12), "web.app"]) {
    assert.match(await lookup(name), new RegExp(`Address.*: ${web.ipv4.replaceAll(".", "\\.")}`), name);
  }
  assert.match(await lookup(web.ipv4), /web\.app/);
  networking.networks.rename(web.containerId, "renamed");
  assert.match(await lookup("renamed"), /10\.163\.0\.2/);
  await greetUdp(client.netnsPath, 53, "own server");
  await networking.networks.disconnect("app", web.containerId);
  assert.doesNotMatch(await lookup("www"), /10\.163\.0\.2/);
});

test("fixed addresses are kept to the subnets that the user gave", async () => {
  await networking.networks.create({
    Name: "fixed",
    IPAM: { Config: [{ Subnet: "10.200.0.0/24", IPRange: "10.200.0.128/25" }] },
  });
  assert.equal((await container("fixed", { ipv4: "10.200.0.5" })).ipv4, "10.200.0.5");
  assert.equal((await container("fixed")).ipv4, "10.200.0.129");
  await assert.rejects(container("fixed", { ipv4: "10.200.0.5" }), { message: "Address already in use" });
  await assert.rejects(
    container("fixed", { ipv4: "10.9.9.9" }),
    /no configured subnet or ip-range contain the IP address 10\.9\.9\.9/,
  );
  await assert.rejects(container("bridge", { ipv4: "10.131.0.9" }), /supported on user defined networks only/);
});

test("a running container joins and leaves networks, and its way out and ports follow", async () => {
  await networking.networks.create({ Name: "aaa" });
  const first = await container("bridge", { ports: [published(80, 8080)] });
  await greet(first.netnsPath, 80, "both");
  const { containerId, containerName, netnsPath } = first;
  const second = await networking.networks.connect({ network: "aaa", containerId, containerName, netnsPath });
  assert.equal(second.interfaceName, "eth1");
  assert.equal(second.ports[0]?.hostPort, 8080);
  assert.deepEqual(first.ports, []);
  assert.match(await ask(outside, "192.0.2.1", 8080), /^both/);
  const left = await networking.networks.disconnect("aaa", containerId);
  assert.equal(left[0]?.ports[0]?.hostPort, 8080);
  assert.match(await ask(outside, "192.0.2.1", 8080), /^both/);
  assert.match(await runIn(netnsPath, ["ip", "route"]), /default via 10\.131\.0\.1 dev eth0/);
  assert.equal((await networking.networks.publish(containerId, [published(80, 8081)]))[0]?.ports[0]?.hostPort, 8081);
  assert.match(await ask(outside, "192.0.2.1", 8081), /^both/);
  assert.doesNotMatch(await ask(outside, "192.0.2.1", 8080), /both/);
});

test("a configuration network gives its settings to others, has no link, and stays while it is in use", async () => {
  const { networks } = networking;
  const Subnet = "10.163.200.0/24";
  await networks.create({ Name: "conf", ConfigOnly: true, IPAM: { Config: [{ Subnet }] }, Labels: { a: "b" } });
  const { ConfigOnly, Driver } = networks.inspect("conf");
  assert.deepEqual([ConfigOnly, Driver], [true, "null"]);
  await assert.rejects(
    networks.create({ Name: "no", ConfigFrom: { Network: "conf" }, Labels: { c: "d" } }),
    /user specified configurations are not supported/,
  );
  await networks.create({ Name: "user", ConfigFrom: { Network: "conf" } });
  const shown = networks.inspect("user");
  assert.deepEqual(
    [shown.ConfigFrom, shown.IPAM.Config, shown.Labels],
    [{ Network: "conf" }, [{ Subnet }], { a: "b" }],
  );
  await assert.rejects(networks.remove("conf"), { message: 'configuration network "conf" is in use' });
  await networks.remove("user");
  await networks.remove("conf");
});

test("networks are defined, shown and refused in docker's words", async () => {
  const { networks } = networking;
  await networks.create({ Name: "mine", Labels: { a: "b" } });
  const shown = networks.inspect("mine");
  assert.equal(shown.IPAM.Config?.[0]?.Subnet, "10.163.0.0/24");
  assert.equal(shown.IPAM.Config?.[0]?.Gateway, "10.163.0.1");
  const one = await container("mine");
  assert.equal(networks.inspect("mine").Containers[one.containerId]?.IPv4Address, "10.163.0.2/24");
  const rejects = (body: Parameters<typeof networks.create>[0], message: RegExp, code: string): Promise<void> =>
    assert.rejects(networks.create(body), { message, code });
  await rejects({ Name: "mine" }, /^network with name mine already exists$/, "already-exists");
  await rejects({ Name: "host" }, /^operation is not permitted on predefined host network $/, "forbidden");
  await rejects({ Name: "x", Driver: "weird" }, /plugin "weird" not found/, "not-found");
  await rejects(
    { Name: "x", IPAM: { Config: [{ Subnet: "10.163.0.0/25" }] } },
    /^invalid pool request: Pool overlaps with other one on this address space$/,
    "forbidden",
  );
  await rejects(
    { Name: "x", IPAM: { Config: [{ Subnet: "10.1.2.3/24", Gateway: "10.9.0.1" }] } },
    /^invalid network config:\n\* invalid subnet 10\.1\.2\.3\/24: it should be 10\.1\.2\.0\/24\n\* invalid gateway 10\.9\.0\.1: parent subnet/,
    "invalid",
  );
  await assert.rejects(networks.remove("mine"), {
    message: `error while removing network: network mine has active endpoints (name:"${one.containerName}" id:"${one.containerId.slice(0, 12)}")`,
  });
  await assert.rejects(networks.remove("bridge"), { message: "bridge is a pre-defined network and cannot be removed" });
  assert.throws(() => networks.inspect("nope"), { message: "network nope not found", code: "not-found" });
  await networks.disconnect("mine", one.containerId);
  assert.deepEqual(await networks.prune(() => true), ["mine"]);
});

test("after a crash everything is found again, and what has no owner goes", async () => {
  const { id } = await networking.networks.create({ Name: "kept" });
  const web = await container("kept", { containerName: "web", ports: [published(80, 8080)] });
  const client = await container("kept");
  const doomed = await container("bridge");
  const pod = await networking.pods?.attach({ sandboxId: "p1", netnsPath: newNamespace() });
  assert.ok(pod !== undefined);
  await greet(web.netnsPath, 80, "web");
  const before = await runIn(undefined, ["nft", "-s", "list", "table", "inet", "gantry-t3"]);
  // The process dies: sockets close, the kernel's state stays.
  networking.close();
  assert.equal(await ask(outside, "192.0.2.1", 8080), "web 192.0.2.2\n", "while nobody is there");
  const { fd } = bindSocket({ type: "tcp", family: 4, address: Buffer.from([127, 0, 0, 1]), port: 8080 });
  networking = open();
  const stored = JSON.parse(JSON.stringify({ endpoints: [web, client], pods: [pod] })) as Parameters<
    Networking["recover"]
  >[0];
  const report = await networking.recover(stored);
  closeFd(fd);
  assert.deepEqual(report.removedLinks, [doomed.hostInterface]);
  assert.deepEqual(
    report.lostPorts.map(({ hostPort }) => hostPort),
    [8080],
  );
  assert.deepEqual(report.lostEndpoints, []);
  assert.equal(linkIndex(doomed.hostInterface), 0);
  assert.equal(await runIn(undefined, ["nft", "-s", "list", "table", "inet", "gantry-t3"]), before);
  assert.match(await ask(outside, "192.0.2.1", 8080), /^web/);
  assert.equal(networking.networks.inspect("kept").Id, id);
  assert.match(
    await runIn(client.netnsPath, ["timeout", "3", "busybox", "nslookup", "web", "127.0.0.11"]),
    /10\.163\.0\.2/,
  );
  assert.equal((await container("kept")).ipv4, "10.163.0.4");
  assert.notEqual((await networking.pods?.attach({ sandboxId: "p2", netnsPath: newNamespace() }))?.ips[0], pod.ips[0]);
});

test("pods reach each other, the machine and the world by routes, and by host ports", async () => {
  const one = await networking.pods?.attach({
    sandboxId: "p1",
    netnsPath: newNamespace(),
    ports: [published(80, 8888)],
  });
  const two = await networking.pods?.attach({ sandboxId: "p2", netnsPath: newNamespace() });
  assert.ok(one !== undefined && two !== undefined);
  await greet(one.netnsPath, 80, "pod");
  await greet(outside, 80, "outside");
  const ip = one.ips[0] as string;
  assert.equal(await ask(two.netnsPath, ip, 80), `pod ${two.ips[0]}\n`);
  assert.equal(await ask(undefined, ip, 80), "pod 10.67.0.1\n");
  assert.equal(await ask(two.netnsPath, "192.0.2.2", 80), "outside 192.0.2.1\n");
  for (const from of [undefined, outside, two.netnsPath, one.netnsPath]) {
    assert.match(await ask(from, "192.0.2.1", 8888), /^pod/);
  }
  await networking.pods?.detach("p1");
  assert.doesNotMatch(await ask(outside, "192.0.2.1", 8888), /pod/);
});

test("a firewall's reload that flushes everybody's rules does not take ours away for long", async () => {
  const web = await container("bridge", { ports: [published(80, 8080)] });
  await greet(web.netnsPath, 80, "web");
  await runIn(undefined, ["nft", "flush", "ruleset"]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.match(await ask(outside, "192.0.2.1", 8080), /^web/);
});

test("the machine's own firewall decides about published ports", async () => {
  const web = await container("bridge", { ports: [published(80, 8080), published(80, 8081)] });
  await greet(web.netnsPath, 80, "web");
  const rules = `table inet own {
    chain forward {
      type filter hook forward priority 0; policy drop;
      ct state established accept
      meta l4proto tcp ct original proto-dst 8080 accept
    }
  }`;
  assert.equal(await runIn(undefined, ["sh", "-c", `echo '${rules}' | nft -f -`]), "");
  assert.match(await ask(outside, "192.0.2.1", 8080), /^web/);
  assert.match(await ask(outside, "192.0.2.1", 8081), /timed out/);
  await runIn(undefined, ["nft", "delete", "table", "inet", "own"]);
});

test("a FORWARD chain that drops by default, as dockerd's, closes ports and the way out until it lets ours pass", async () => {
  const web = await container("bridge", { ports: [published(80, 8080)] });
  await greet(web.netnsPath, 80, "web");
  await greet(outside, 80, "outside");
  const nft = (text: string): Promise<string> => runIn(undefined, ["sh", "-c", `echo '${text}' | nft -f -`]);
  const chain = "chain FORWARD { type filter hook forward priority 0; policy drop; jump DOCKER-USER; }";
  assert.equal(await nft(`table ip filter {\n chain DOCKER-USER { }\n ${chain}\n }`), "");
  assert.match(await ask(outside, "192.0.2.1", 8080), /timed out/);
  assert.match(await ask(web.netnsPath, "192.0.2.2", 80), /timed out/);
  assert.match(await ask(undefined, "127.0.0.1", 8080), /^web/, "the machine's own connections are not forwarded");
  // What docs/networking.md tells to do, in iptables' notation: -i gt+ and -o gt+.
  assert.equal(await nft('add rule ip filter FORWARD iifname "gt3-*" accept'), "");
  assert.equal(await nft('add rule ip filter FORWARD oifname "gt3-*" accept'), "");
  assert.match(await ask(outside, "192.0.2.1", 8080), /^web/);
  assert.match(await ask(web.netnsPath, "192.0.2.2", 80), /^outside/);
  assert.equal(
    await nft('add rule ip filter DOCKER-USER iifname "out0" meta l4proto tcp ct original proto-dst 8080 drop'),
    "",
  );
  assert.match(await ask(outside, "192.0.2.1", 8080), /timed out/, "DOCKER-USER counts for ours where it is");
  await runIn(undefined, ["nft", "delete", "table", "ip", "filter"]);
  assert.match(await ask(outside, "192.0.2.1", 8080), /^web/, "others' tables come and go without ours");
});

test("what has no better route stays on the machine", async () => {
  assert.match(await runIn(undefined, ["ip", "route", "get", "10.163.9.9"]), /No route to host/);
  const socket = connect({ host: "10.163.9.9", port: 80 });
  await assert.rejects(new Promise((_resolve, reject) => socket.on("error", reject)), /EHOSTUNREACH|ENETUNREACH/);
});
