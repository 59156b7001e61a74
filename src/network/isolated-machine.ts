/**
 * Test support: a machine of one's own. The test's thread moves into a fresh network namespace, where it may make
 * links, rules and routes as it likes; when the process ends, all of it is gone.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { type Server, type Socket } from "node:net";
import { bindSocket, type BoundSocket, datagramOn, serverOn } from "#host/bound-sockets.ts";
import { bind, check } from "#host/libc.ts";
import { addAddress, addRoute, addVeth, apply, linkIndex, setLink, withNamespaceFile } from "#host/links.ts";
import { NetlinkSocket } from "#host/netlink-socket.ts";
import { createNetworkNamespace, inNetworkNamespace, removeNetworkNamespace } from "#host/network-namespace.ts";
import { addressBytes } from "./addresses.ts";

const folder = `/run/gantry-test-${process.pid}`;

/** Moves the calling thread into a new network namespace for good. Call it before anything else opens sockets. */
export async function enterIsolatedMachine(): Promise<void> {
  check(bind("unshare", "int", ["int"])(0x40000000), "unshare");
  const socket = NetlinkSocket.open();
  await apply(socket, [setLink(1, { up: true })]);
  socket.close();
}

const made: string[] = [];

/** A namespace for a container. */
export function newNamespace(): string {
  const path = `${folder}/${randomBytes(4).toString("hex")}`;
  createNetworkNamespace(path);
  made.push(path);
  return path;
}

/** Lets go of all namespaces that were made. */
export function removeNamespaces(): void {
  for (const path of made.splice(0)) removeNetworkNamespace(path);
  rmSync(folder, { recursive: true, force: true });
}

/** A host beyond the machine: 192.0.2.1 here, 192.0.2.2 there, which knows no way to our containers. */
export async function newOutside(): Promise<string> {
  const path = newNamespace();
  const socket = NetlinkSocket.open();
  await withNamespaceFile(path, (fd) => apply(socket, [addVeth({ name: "out0", up: true }, { name: "eth0" }, fd)]));
  await apply(socket, [
    addAddress(linkIndex("out0"), addressBytes("192.0.2.1"), 24),
    addRoute({ family: 4, gateway: addressBytes("192.0.2.2"), link: linkIndex("out0") }),
  ]);
  const { inside, index } = inNetworkNamespace(path, () => ({
    inside: NetlinkSocket.open(),
    index: linkIndex("eth0"),
  }));
  await apply(inside, [
    setLink(1, { up: true }),
    setLink(index, { up: true }),
    addAddress(index, addressBytes("192.0.2.2"), 24),
  ]);
  inside.close();
  socket.close();
  return path;
}

const servers: { close(): void }[] = [];

/** A TCP server in a namespace that says `<greeting> <client's address>` to everybody and hangs up. */
export async function greet(netnsPath: string, port: number, greeting: string, family: 4 | 6 = 4): Promise<void> {
  const bound = inNetworkNamespace(netnsPath, () =>
    bindSocket({ type: "tcp", family, address: Buffer.alloc(family === 4 ? 4 : 16), port }),
  );
  const server: Server = await serverOn(bound);
  server.on("connection", (socket: Socket) => {
    socket.on("error", () => {});
    socket.end(`${greeting} ${socket.remoteAddress}\n`);
  });
  servers.push(server);
}

/** The same over UDP: answers every datagram. */
export async function greetUdp(netnsPath: string, port: number, greeting: string): Promise<void> {
  const bound = inNetworkNamespace(netnsPath, () =>
    bindSocket({ type: "udp", family: 4, address: Buffer.alloc(4), port }),
  );
  const socket = await datagramOn(bound, 4);
  socket.on("message", (_message, from) => socket.send(`${greeting} ${from.address}\n`, from.port, from.address));
  servers.push(socket);
}

export function closeServers(): void {
  for (const server of servers.splice(0)) server.close();
}

/** Runs a program, in a namespace unless `netnsPath` is undefined. Returns its output whatever its status. */
export function runIn(netnsPath: string | undefined, argv: readonly string[], stdin = ""): Promise<string> {
  const [program, ...rest] = netnsPath === undefined ? argv : ["nsenter", `--net=${netnsPath}`, ...argv];
  return new Promise((resolve) => {
    const child = execFile(program as string, rest, (_error, stdout, stderr) => resolve(stdout + stderr));
    child.stdin?.on("error", () => {});
    child.stdin?.end(stdin);
  });
}

/** What a server says to a client in a namespace; the error when there is no connection. */
export function ask(netnsPath: string | undefined, ip: string, port: number): Promise<string> {
  return runIn(netnsPath, ["busybox", "nc", "-w", "1", ip, String(port)]);
}

/** What a UDP server says to a client in a namespace; "" when it says nothing for a second. */
export async function askUdp(netnsPath: string | undefined, ip: string, port: number, sourcePort = 0): Promise<string> {
  const open = (): BoundSocket => bindSocket({ type: "udp", family: 4, address: Buffer.alloc(4), port: sourcePort });
  const socket = await datagramOn(netnsPath === undefined ? open() : inNetworkNamespace(netnsPath, open), 4);
  try {
    return await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(""), 1_000);
      socket.on("message", (message) => {
        clearTimeout(timer);
        resolve(message.toString());
      });
      socket.on("error", (error) => resolve(error.message));
      socket.send("x", port, ip);
    });
  } finally {
    socket.close();
  }
}
