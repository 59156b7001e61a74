import type { Socket as DatagramSocket } from "node:dgram";
import type { Server as TcpServer, Socket } from "node:net";
import type { Logger } from "#base/log.ts";
import type { DnsForwarder } from "./dns-forwarder.ts";
import {
  decodeQuery,
  type DnsQuery,
  type DnsQuestion,
  type DnsResponse,
  encodeFormatError,
  encodeResponse,
} from "./dns-message.ts";

/** What to do with a question: answer it, or ask the upstream servers. */
export type DnsVerdict = DnsResponse | "forward";
export type DnsResolver = (question: DnsQuestion) => DnsVerdict | Promise<DnsVerdict>;

export interface DnsServerOptions {
  resolve: DnsResolver;
  /** Without one, what should be forwarded gets SERVFAIL. */
  forwarder?: DnsForwarder;
  log: Logger;
  /** Questions that wait for upstream at once; more get SERVFAIL (docker's limit is 1024). */
  maxForwards?: number;
}

const idleMs = 10_000;
const refused: DnsResponse = { rcode: "REFUSED", authoritative: false, answers: [] };
const failed: DnsResponse = { rcode: "SERVFAIL", authoritative: false, answers: [] };
const notImplemented: DnsResponse = { rcode: "NOTIMP", authoritative: false, answers: [] };

/**
 * Answers DNS over UDP and TCP on sockets that the caller made and this server owns from then on. What the
 * answers are is the resolver's business.
 */
export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #datagrams = new Set<DatagramSocket>();
  readonly #servers = new Set<TcpServer>();
  readonly #connections = new Set<Socket>();
  #forwards = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  /** Serves a bound UDP socket. */
  addUdp(socket: DatagramSocket): void {
    this.#datagrams.add(socket);
    socket.on("error", (error) => this.#options.log.warn("A DNS socket failed.", { error }));
    socket.on("message", (message, from) => {
      const reply = (bytes: Buffer | undefined): void => {
        if (bytes !== undefined && this.#datagrams.has(socket)) socket.send(bytes, from.port, from.address, () => {});
      };
      this.#handle(message, "udp", reply);
    });
  }

  /** Serves a listening TCP server. */
  addTcp(server: TcpServer): void {
    this.#servers.add(server);
    server.on("error", (error) => this.#options.log.warn("A DNS listener failed.", { error }));
    server.on("connection", (socket: Socket) => this.#serveStream(socket));
  }

  #serveStream(socket: Socket): void {
    this.#connections.add(socket);
    let buffered: Buffer = Buffer.alloc(0);
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.on("error", () => {});
    socket.on("close", () => this.#connections.delete(socket));
    socket.on("data", (chunk: Buffer) => {
      buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
      while (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) {
        const message = buffered.subarray(2, 2 + buffered.readUInt16BE(0));
        buffered = buffered.subarray(2 + message.length);
        this.#handle(message, "tcp", (bytes) => {
          if (bytes === undefined || socket.destroyed) return;
          const length = Buffer.alloc(2);
          length.writeUInt16BE(bytes.length);
          socket.write(Buffer.concat([length, bytes]));
        });
      }
    });
  }

  #handle(message: Buffer, protocol: "udp" | "tcp", reply: (bytes: Buffer | undefined) => void): void {
    let query: DnsQuery;
    try {
      query = decodeQuery(message);
    } catch {
      return reply(encodeFormatError(message));
    }
    const limit = protocol === "tcp" ? 65_535 : Math.min(query.udpSize, 4_096);
    const fail = (error: unknown): void => {
      this.#options.log.error("A DNS question could not be answered.", { name: query.question.name, error });
      reply(encodeResponse(query, failed, limit));
    };
    const settle = (verdict: DnsVerdict): void => {
      if (verdict === "forward") this.#forward(query, message, protocol, reply).catch(fail);
      else reply(encodeResponse(query, verdict, limit));
    };
    try {
      if (query.opcode !== 0) return settle(notImplemented);
      if (query.question.class !== 1) return settle(refused);
      const verdict = this.#options.resolve(query.question);
      if (verdict instanceof Promise) verdict.then(settle).catch(fail);
      else settle(verdict);
    } catch (error) {
      fail(error);
    }
  }

  async #forward(
    query: DnsQuery,
    message: Buffer,
    protocol: "udp" | "tcp",
    reply: (bytes: Buffer | undefined) => void,
  ): Promise<void> {
    const { forwarder, maxForwards = 1_024 } = this.#options;
    if (forwarder === undefined || this.#forwards >= maxForwards) return reply(encodeResponse(query, failed));
    this.#forwards++;
    try {
      reply((await forwarder.forward(message, protocol)) ?? encodeResponse(query, failed));
    } finally {
      this.#forwards--;
    }
  }

  /** Closes every socket and gives up on what is being forwarded. */
  close(): void {
    this.#options.forwarder?.close();
    for (const socket of this.#datagrams) socket.close();
    for (const server of this.#servers) server.close();
    for (const socket of this.#connections) socket.destroy();
    this.#datagrams.clear();
    this.#servers.clear();
  }
}
