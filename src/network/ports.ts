import { existsSync } from "node:fs";
import { connect, type Server, type Socket } from "node:net";
import { GantryError, hasCode } from "#base/errors.ts";
import { bindSocket, type BoundSocket, serverOn } from "#host/bound-sockets.ts";
import { closeFd } from "#host/descriptors.ts";
import { errnoOf } from "#host/libc.ts";
import { addressBytes } from "./addresses.ts";
import type { Protocol, PublishedPort, PublishRequest } from "./network-types.ts";
import type { PortRule } from "./rules.ts";

/** Where published ports lead. "" where the container has no address of the family. */
export interface PortTarget {
  ipv4: string;
  ipv6: string;
  /** See `PortRule.selfHairpin`. */
  selfHairpin?: boolean;
}

interface Reservation {
  port: PublishedPort;
  socket: BoundSocket;
  server?: Server;
  connections: Set<Socket>;
}

const randomRange = { from: 32_768, to: 60_999 };

/**
 * Holds every published port with a socket of our own, so that no other program can take it and a port that is
 * taken is noticed. nftables sends the traffic past these sockets straight to the container. What reaches a TCP
 * socket all the same (connections to `::1`, and to `::` where the container has no IPv6) is carried over by us.
 */
export class PortReservations {
  readonly #held = new Map<string, Reservation>();
  #nextRandom = randomRange.from;

  /**
   * Reserves all of `requests` or nothing, and returns the ports with the rules that lead them to `target`.
   * Throws docker's sentences: `Bind for 0.0.0.0:80 failed: port is already allocated` (ours already), `failed
   * to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: address already in use` (another program's).
   */
  async reserve(
    requests: readonly PublishRequest[],
    target: PortTarget,
  ): Promise<{ ports: PublishedPort[]; rules: PortRule[] }> {
    const ports: PublishedPort[] = [];
    try {
      for (const request of requests) ports.push(...(await this.#reserveOne(request, target)));
    } catch (error) {
      this.release(ports);
      throw error;
    }
    return { ports, rules: portRules(ports, target) };
  }

  async #reserveOne(request: PublishRequest, target: PortTarget): Promise<PublishedPort[]> {
    const addresses = hostAddresses(request, target);
    const isRandom = request.hostPort === undefined;
    const candidates = request.hostPort === undefined ? this.#randomPorts() : portsOf(request.hostPort);
    let failure: unknown;
    for (const hostPort of candidates) {
      const done: PublishedPort[] = [];
      try {
        for (const hostIp of addresses) {
          const port = { protocol: request.protocol, containerPort: request.containerPort, hostIp, hostPort };
          await this.#hold(port, target);
          done.push(port);
        }
        if (isRandom) this.#nextRandom = hostPort + 1;
        return done;
      } catch (error) {
        this.release(done);
        if (!hasCode(error, "conflict")) throw error;
        failure ??= error;
      }
    }
    throw failure;
  }

  *#randomPorts(): Iterable<number> {
    const size = randomRange.to - randomRange.from + 1;
    for (let step = 0; step < size; step++) {
      yield randomRange.from + ((this.#nextRandom - randomRange.from + step) % size);
    }
  }

  async #hold(port: PublishedPort, target: PortTarget): Promise<void> {
    const family = port.hostIp.includes(":") ? 6 : 4;
    const shown = family === 6 ? `[${port.hostIp}]` : port.hostIp;
    for (const { port: other } of this.#held.values()) {
      if (other.protocol !== port.protocol || other.hostPort !== port.hostPort) continue;
      const isSameFamily = other.hostIp.includes(":") === (family === 6);
      if (isSameFamily && (other.hostIp === port.hostIp || isAny(other.hostIp) || isAny(port.hostIp))) {
        throw new GantryError("conflict", `Bind for ${shown}:${port.hostPort} failed: port is already allocated`);
      }
    }
    let socket: BoundSocket;
    try {
      socket = bindSocket({ type: port.protocol, family, address: addressBytes(port.hostIp), port: port.hostPort });
    } catch (error) {
      const errno = errnoOf(error);
      const reason =
        {
          EADDRINUSE: "address already in use",
          EADDRNOTAVAIL: "cannot assign requested address",
          EACCES: "permission denied",
        }[errno ?? ""] ?? String((error as Error).message);
      const to = (family === 6 && target.ipv6 !== "" ? target.ipv6 : target.ipv4) || target.ipv6;
      throw new GantryError(
        errno === "EADDRINUSE" ? "conflict" : "internal",
        `failed to bind host port for ${shown}:${port.hostPort}:${to}:${port.containerPort}/${port.protocol}: ${reason}`,
        { cause: error },
      );
    }
    const reservation: Reservation = { port, socket, connections: new Set() };
    this.#held.set(keyOf(port), reservation);
    if (port.protocol === "tcp") await this.#carryOver(reservation, target);
  }

  async #carryOver(reservation: Reservation, target: PortTarget): Promise<void> {
    const { port, connections } = reservation;
    const server = await serverOn(reservation.socket, { allowHalfOpen: true });
    reservation.server = server;
    server.on("error", () => {});
    server.on("connection", (client: Socket) => {
      const host = port.hostIp.includes(":") && target.ipv6 !== "" ? target.ipv6 : target.ipv4 || target.ipv6;
      const upstream = connect({ host, port: port.containerPort, allowHalfOpen: true });
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        connections.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => connections.delete(from));
        from.pipe(to);
      }
    });
  }

  /** Lets go of the ports. Connections that we carry over are cut. */
  release(ports: readonly PublishedPort[]): void {
    for (const port of ports) {
      const reservation = this.#held.get(keyOf(port));
      if (reservation === undefined) continue;
      this.#held.delete(keyOf(port));
      for (const connection of reservation.connections) connection.destroy();
      if (reservation.server === undefined) closeFd(reservation.socket.fd);
      else reservation.server.close();
    }
  }

  releaseAll(): void {
    this.release([...this.#held.values()].map(({ port }) => port));
  }
}

const isAny = (address: string): boolean => address === "0.0.0.0" || address === "::";

function keyOf(port: PublishedPort): string {
  return `${port.protocol} ${port.hostIp} ${port.hostPort}`;
}

function* portsOf(range: { from: number; to: number }): Iterable<number> {
  for (let port = range.from; port <= range.to; port++) yield port;
}

const hasIPv6 = existsSync("/proc/net/if_inet6");

/** docker publishes on both families when no address is given; without IPv6 in the container only TCP can be carried over. */
function hostAddresses(request: PublishRequest, target: PortTarget): string[] {
  if (request.hostIp !== "") return [request.hostIp];
  const addresses = target.ipv4 === "" ? [] : ["0.0.0.0"];
  if (hasIPv6 && (target.ipv6 !== "" || request.protocol === "tcp")) addresses.push("::");
  return addresses;
}

/** The rules that lead published ports to a container. Ports of a family that it has not are carried over instead. */
export function portRules(ports: readonly PublishedPort[], target: PortTarget): PortRule[] {
  return ports.flatMap((port) => {
    const targetIp = port.hostIp.includes(":") ? target.ipv6 : target.ipv4;
    if (targetIp === "") return [];
    const { protocol, hostIp, hostPort, containerPort: targetPort } = port;
    return [{ protocol, hostIp, hostPort, targetIp, targetPort, ...(target.selfHairpin ? { selfHairpin: true } : {}) }];
  });
}

/** The requests that lead to the same ports again. */
export function requestsOf(ports: readonly PublishedPort[]): PublishRequest[] {
  return ports.map(({ protocol, containerPort, hostIp, hostPort }) => ({
    protocol,
    containerPort,
    hostIp,
    hostPort: { from: hostPort, to: hostPort },
  }));
}

export type { Protocol };
