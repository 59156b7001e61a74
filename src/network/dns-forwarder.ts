import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";

export interface ForwarderOptions {
  /** Addresses of upstream servers, asked in turn. `10.0.0.1` or `10.0.0.1#5353`. */
  servers: () => readonly string[];
  /** How long each server is waited for. */
  timeoutMs?: number;
}

interface Server {
  host: string;
  port: number;
}

function parseServer(text: string): Server {
  const [host = "", port] = text.split("#");
  return { host, port: port === undefined ? 53 : Number(port) };
}

/**
 * Passes queries on as they are, with an id and a source port of our own, and gives back the first usable
 * answer's bytes under the asker's id; undefined when no server answered.
 */
export class DnsForwarder {
  readonly #options: ForwarderOptions;
  readonly #pending = new Set<() => void>();
  #closed = false;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  async forward(query: Uint8Array, protocol: "udp" | "tcp"): Promise<Buffer | undefined> {
    let last: Buffer | undefined;
    for (const text of this.#options.servers()) {
      if (this.#closed) return undefined;
      const server = parseServer(text);
      const id = randomInt(0x10000);
      const message = Buffer.from(query);
      message.writeUInt16BE(id, 0);
      const answer = await (protocol === "udp"
        ? this.#overUdp(server, message, id)
        : this.#overTcp(server, message, id));
      if (answer === undefined) continue;
      answer.set(query.subarray(0, 2), 0);
      const rcode = (answer[3] as number) & 15;
      // SERVFAIL and REFUSED of one server say nothing about the next one.
      if (rcode !== 2 && rcode !== 5) return answer;
      last = answer;
    }
    return last;
  }

  #overUdp(server: Server, message: Buffer, id: number): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const socket = createSocket(isIPv6(server.host) ? "udp6" : "udp4");
      const finish = (answer?: Buffer): void => {
        if (!this.#pending.delete(cancel)) return;
        clearTimeout(timer);
        socket.close();
        resolve(answer);
      };
      const cancel = (): void => finish();
      this.#pending.add(cancel);
      const timer = setTimeout(cancel, this.#options.timeoutMs ?? 2_000);
      socket.on("error", cancel);
      // Connected: datagrams of others are dropped by the kernel, and a refusal is noticed at once.
      socket.connect(server.port, server.host, () => {
        socket.on("message", (answer) => {
          if (answer.length >= 12 && answer.readUInt16BE(0) === id) finish(answer);
        });
        socket.send(message);
      });
    });
  }

  #overTcp(server: Server, message: Buffer, id: number): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const socket = connect(server.port, server.host);
      const chunks: Buffer[] = [];
      const finish = (answer?: Buffer): void => {
        if (!this.#pending.delete(cancel)) return;
        clearTimeout(timer);
        socket.destroy();
        resolve(answer);
      };
      const cancel = (): void => finish();
      this.#pending.add(cancel);
      const timer = setTimeout(cancel, this.#options.timeoutMs ?? 2_000);
      socket.on("error", cancel);
      socket.on("close", cancel);
      socket.on("connect", () => {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(message.length);
        socket.write(Buffer.concat([length, message]));
      });
      socket.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        const all = chunks.length === 1 ? chunk : Buffer.concat(chunks);
        if (all.length < 2 || all.length < 2 + all.readUInt16BE(0)) return;
        const answer = Buffer.from(all.subarray(2, 2 + all.readUInt16BE(0)));
        if (answer.length >= 12 && answer.readUInt16BE(0) === id) finish(answer);
        else finish();
      });
    });
  }

  /** Gives up on everything that waits. */
  close(): void {
    this.#closed = true;
    for (const cancel of this.#pending) cancel();
  }
}
