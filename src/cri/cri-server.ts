import { chmod, mkdir, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import type { PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";

export interface CriServerOptions {
  /** The unix socket, e.g. `/run/gantry/default/cri.sock`. Nobody else may own it. */
  path: string;
}

export interface CriServerParts {
  /** The view of the engine that shows only what came over CRI. */
  runtime: PodRuntime;
  clock: Clock;
  log: Logger;
}

/** What the first connection brings into memory. */
interface Service {
  accept(socket: Socket): void;
  stop(): Promise<void>;
}

/**
 * CRI v1 on a unix socket. gRPC and the messages' descriptors are loaded with the first connection: an instance
 * that no CRI client uses pays for one listening socket only.
 */
export class CriServer {
  readonly #options: CriServerOptions;
  readonly #parts: CriServerParts;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #service: Promise<Service> | undefined;

  constructor(options: CriServerOptions, parts: CriServerParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** Replaces a stale socket file. Only root may connect. */
  async listen(): Promise<void> {
    const { path } = this.#options;
    await mkdir(dirname(path), { recursive: true, mode: 0o711 });
    await rm(path, { force: true });
    const server = createServer((socket) => void this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) =>
        reject(new GantryError("unavailable", `cri cannot listen on ${path}: ${cause.message}.`, { cause })),
      );
      server.listen(path, resolve);
    });
    await chmod(path, 0o600);
    this.#server = server;
  }

  async #accept(socket: Socket): Promise<void> {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    try {
      this.#service ??= this.#load();
      (await this.#service).accept(socket);
    } catch (error) {
      this.#parts.log.error("The CRI server could not be started.", { error });
      this.#service = undefined;
      socket.destroy();
    }
  }

  async #load(): Promise<Service> {
    const { createCriService } = await import("./cri-service.ts");
    return createCriService(this.#parts);
  }

  async stop(): Promise<void> {
    this.#server?.close();
    const service = await this.#service?.catch(() => undefined);
    await service?.stop();
    for (const socket of this.#sockets) socket.destroy();
  }
}
