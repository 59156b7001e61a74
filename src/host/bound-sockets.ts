import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { createServer, type Server, Socket } from "node:net";
import { closeFd } from "./descriptors.ts";
import { bind, check } from "./libc.ts";

const socketCall = bind("socket", "int", ["int", "int", "int"]);
const bindCall = bind("bind", "int", ["int", "void *", "int"]);
const listenCall = bind("listen", "int", ["int", "int"]);
const setsockopt = bind("setsockopt", "int", ["int", "int", "int", "void *", "int"]);
const getsockname = bind("getsockname", "int", ["int", "void *", "void *"]);

const cloexec = 0o2000000;
const nonBlocking = 0o4000;

export interface BindOptions {
  type: "tcp" | "udp" | "sctp";
  family: 4 | 6;
  /** 4 or 16 bytes in network order. */
  address: Uint8Array;
  /** 0: any. */
  port: number;
}

export interface BoundSocket {
  fd: number;
  port: number;
}

/**
 * Binds a socket at once, in the network namespace in which the thread is now; TCP listens. Unlike Node's own
 * `listen`, nothing happens later. IPv6 sockets take IPv6 alone. Throws with `data.errno` EADDRINUSE,
 * EADDRNOTAVAIL, EACCES….
 */
export function bindSocket(options: BindOptions): BoundSocket {
  const { type, family, address, port } = options;
  const domain = family === 4 ? 2 : 10;
  const kind = type === "udp" ? 2 : 1;
  const fd = check(socketCall(domain, kind | cloexec | nonBlocking, type === "sctp" ? 132 : 0), "socket");
  try {
    const one = Buffer.from([1, 0, 0, 0]);
    // So that connections of an earlier listener that still linger do not hold the port.
    if (type === "tcp") setsockopt(fd, 1, 2, one, 4);
    if (family === 6) setsockopt(fd, 41, 26, one, 4);
    const name = Buffer.alloc(family === 4 ? 16 : 28);
    name.writeUInt16LE(domain, 0);
    name.writeUInt16BE(port, 2);
    name.set(address, family === 4 ? 4 : 8);
    check(bindCall(fd, name, name.length), "bind");
    if (type !== "udp") check(listenCall(fd, 511), "listen");
    const length = Buffer.from([name.length, 0, 0, 0]);
    check(getsockname(fd, name, length), "getsockname");
    return { fd, port: name.readUInt16BE(2) };
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** A Node server on a socket of `bindSocket`, which it owns from now on. */
export async function serverOn(socket: BoundSocket, options: { allowHalfOpen?: boolean } = {}): Promise<Server> {
  const server = createServer(options);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd: socket.fd }, resolve);
  });
  return server;
}

/** A Node datagram socket on a socket of `bindSocket`, which it owns from now on. */
export async function datagramOn(socket: BoundSocket, family: 4 | 6): Promise<DatagramSocket> {
  const datagram = createSocket(family === 4 ? "udp4" : "udp6");
  await new Promise<void>((resolve, reject) => {
    datagram.once("error", reject);
    datagram.bind({ fd: socket.fd }, resolve);
  });
  return datagram;
}

/**
 * A TCP connection whose socket is made at once, in the network namespace in which the thread is now; Node's own
 * `connect` makes it on a later turn. Connecting itself goes on in the background: listen to its events.
 */
export function connectHere(address: string, port: number): Socket {
  const fd = check(socketCall(address.includes(":") ? 10 : 2, 1 | cloexec | nonBlocking, 0), "socket");
  // A read before the connection stands would be an error.
  const options = { fd, readable: true, writable: true, manualStart: true };
  const socket = new Socket(options);
  return socket.connect({ host: address, port });
}
