import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createRequire } from "node:module";
import { type AddressInfo, connect, createServer } from "node:net";
import { after, test } from "node:test";
import fc from "fast-check";
import { silentLogger } from "#base/log.ts";
import { DnsForwarder } from "./dns-forwarder.ts";
import { decodeQuery, type DnsRecord, encodeResponse } from "./dns-message.ts";
import { type DnsResolver, DnsServer } from "./dns-server.ts";
import { formatHosts } from "./hosts-file.ts";
import { dockerResolvConf } from "./docker-resolv-conf.ts";
import { parseResolvConf } from "./resolv-conf.ts";

interface Decoded {
  id: number;
  rcode: string;
  flag_aa: boolean;
  flag_tc: boolean;
  questions: { name: string; type: string }[];
  answers: { name: string; type: string; data: unknown }[];
  additionals: { type: string }[];
}
// An encoder and decoder by other people; it has no types.
const packet = createRequire(import.meta.url)("dns-packet") as {
  RECURSION_DESIRED: number;
  encode(message: unknown): Buffer;
  decode(bytes: Uint8Array): Decoded;
};

const query = (name: string, type = "A", size?: number): Buffer =>
  packet.encode({
    type: "query",
    id: 4711,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type, name }],
    ...(size === undefined
      ? {}
      : { additionals: [{ type: "OPT", name: ".", udpPayloadSize: size, flags: 0, options: [] }] }),
  });

test("a response reads back as what was meant, with names compressed", () => {
  const records: DnsRecord[] = [
    { type: "CNAME", name: "web.default.svc.cluster.local", ttl: 5, target: "a.default.svc.cluster.local" },
    { type: "A", name: "a.default.svc.cluster.local", ttl: 5, address: "10.64.0.7" },
    { type: "AAAA", name: "a.default.svc.cluster.local", ttl: 5, address: "fd00::7" },
    { type: "TXT", name: "dns-version.cluster.local", ttl: 5, texts: ["1.1.0"] },
    {
      type: "SRV",
      name: "_http._tcp.web",
      ttl: 5,
      priority: 0,
      weight: 100,
      port: 80,
      target: "a.default.svc.cluster.local",
    },
  ];
  const bytes = encodeResponse(decodeQuery(query("WEB.default.svc.cluster.local")), {
    rcode: "NOERROR",
    authoritative: true,
    answers: records,
  });
  const read = packet.decode(bytes);
  assert.equal(read.id, 4711);
  assert.equal(read.flag_aa, true);
  assert.equal(read.questions[0]?.name, "WEB.default.svc.cluster.local");
  assert.deepEqual(
    read.answers.map((answer) => answer.type),
    ["CNAME", "A", "AAAA", "TXT", "SRV"],
  );
  assert.deepEqual(read.answers[4], {
    ...read.answers[4],
    name: "_http._tcp.WEB".replace("WEB", "web"),
    data: { priority: 0, weight: 100, port: 80, target: "a.default.svc.cluster.local" },
  });
  assert.ok(bytes.length < 230, `${bytes.length} bytes`);
});

test("what does not fit is left out and marked, EDNS gives more room", () => {
  const answers: DnsRecord[] = Array.from({ length: 60 }, (_, index) => ({
    type: "A",
    name: "many.test",
    ttl: 5,
    address: `10.0.0.${index}`,
  }));
  const plain = decodeQuery(query("many.test"));
  const cut = encodeResponse(plain, { rcode: "NOERROR", authoritative: true, answers }, plain.udpSize);
  assert.ok(cut.length <= 512);
  assert.equal(packet.decode(cut).flag_tc, true);
  const edns = decodeQuery(query("many.test", "A", 1232));
  const whole = packet.decode(encodeResponse(edns, { rcode: "NOERROR", authoritative: true, answers }, edns.udpSize));
  assert.equal(whole.flag_tc, false);
  assert.equal(whole.answers.length, 60);
  assert.equal(whole.additionals[0]?.type, "OPT");
});

test("no bytes whatever do harm", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(79), fc.nat(255), (bytes, at, value) => {
      const message = Buffer.from(query("a.b.c", "SRV", 1232));
      message[at % message.length] = value;
      for (const input of [bytes, message, Buffer.concat([message, bytes])]) {
        try {
          encodeResponse(decodeQuery(input), { rcode: "NOERROR", authoritative: false, answers: [] });
        } catch (error) {
          assert.equal((error as { code?: string }).code, "invalid");
        }
      }
    }),
    { numRuns: 2_000 },
  );
});

async function serve(
  resolve: DnsResolver,
  upstream: () => string[],
): Promise<{ udp: number; tcp: number; close(): void }> {
  const server = new DnsServer({
    resolve,
    forwarder: new DnsForwarder({ servers: upstream, timeoutMs: 200 }),
    log: silentLogger,
  });
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const listener = createServer();
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  server.addUdp(socket);
  server.addTcp(listener);
  after(() => server.close());
  return { udp: socket.address().port, tcp: (listener.address() as AddressInfo).port, close: () => server.close() };
}

async function askUdp(port: number, message: Buffer): Promise<Decoded> {
  const socket = createSocket("udp4");
  socket.send(message, port, "127.0.0.1");
  const [answer] = (await once(socket, "message")) as [Buffer];
  socket.close();
  return packet.decode(answer);
}

test("questions are answered over UDP and TCP, and passed on when they are not ours", async () => {
  const upstream = await serve(
    ({ name }) => ({
      rcode: "NOERROR",
      authoritative: true,
      answers: [{ type: "A", name, ttl: 60, address: "9.9.9.9" }],
    }),
    () => [],
  );
  const server = await serve(
    ({ name }) => (name.endsWith("ours") ? { rcode: "NXDOMAIN", authoritative: true, answers: [] } : "forward"),
    () => [`127.0.0.1#${upstream.udp}`],
  );
  assert.equal((await askUdp(server.udp, query("x.ours"))).rcode, "NXDOMAIN");
  const passed = await askUdp(server.udp, query("example.com"));
  assert.equal(passed.id, 4711);
  assert.equal(passed.answers[0]?.data, "9.9.9.9");
  const stream = connect(server.tcp, "127.0.0.1");
  const question = query("y.ours");
  const length = Buffer.alloc(2);
  length.writeUInt16BE(question.length);
  stream.write(length);
  stream.write(question);
  const [answer] = (await once(stream, "data")) as [Buffer];
  assert.equal(packet.decode(answer.subarray(2)).rcode, "NXDOMAIN");
  stream.destroy();
});

test("without upstream servers, and with dead ones, the answer is SERVFAIL, and soon", async () => {
  const none = await serve(
    () => "forward",
    () => [],
  );
  assert.equal((await askUdp(none.udp, query("example.com"))).rcode, "SERVFAIL");
  const dead = await serve(
    () => "forward",
    () => ["127.0.0.1#9"],
  );
  assert.equal((await askUdp(dead.udp, query("example.com"))).rcode, "SERVFAIL");
});

test("a container's resolv.conf follows docker's rules, and says where its lines come from", () => {
  const text =
    "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch corp.example\noptions edns0\nsortlist 10.0.0.0\n";
  const base = {
    host: parseResolvConf(text),
    hostPath: "/etc/resolv.conf",
    servers: [],
    searches: [],
    options: [],
    network: "legacy",
    ipv6: false,
  } as const;
  const body = (dns: Parameters<typeof dockerResolvConf>[0]): string =>
    dockerResolvConf(dns).replace(/^(#.*\n){3}\n/, "");
  assert.equal(
    body(base),
    "nameserver 10.0.0.2\nsearch corp.example\noptions edns0\nsortlist 10.0.0.0\n\n" +
      "# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n",
  );
  assert.match(body({ ...base, network: "host" }), /^nameserver 127\.0\.0\.53\nnameserver 10\.0\.0\.2\n/);
  assert.equal(
    body({ ...base, network: "embedded", servers: ["1.1.1.1"] }),
    "nameserver 127.0.0.11\nsearch corp.example\noptions edns0 ndots:0\nsortlist 10.0.0.0\n\n" +
      "# Based on host file: '/etc/resolv.conf' (internal resolver)\n# ExtServers: [1.1.1.1]\n" +
      "# Overrides: [nameservers]\n# Option ndots from: internal\n",
  );
  assert.equal(
    body({ ...base, servers: ["1.1.1.1"], searches: ["."], options: ["ndots:2"] }),
    "nameserver 1.1.1.1\noptions ndots:2\nsortlist 10.0.0.0\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n" +
      "# Overrides: [nameservers search options]\n# Option ndots from: override\n",
  );
  const unreachable = { ...base, host: parseResolvConf("nameserver 127.0.0.1\n") };
  assert.match(body(unreachable), /^nameserver 8\.8\.8\.8\nnameserver 8\.8\.4\.4\n[^]*# Used default nameservers\.\n/);
  assert.match(body({ ...unreachable, network: "embedded" }), /# ExtServers: \[host\(127\.0\.0\.1\)\]\n/);
});

test("a hosts file has the standard names and what was added", () => {
  const text = formatHosts([{ ip: "10.0.0.2", names: ["web", "web.local"] }]);
  assert.match(text, /^127\.0\.0\.1\tlocalhost\n/);
  assert.match(text, /\n10\.0\.0\.2\tweb web\.local\n$/);
});
