import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { GantryError, errorMessage } from "#base/errors.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { instancePaths } from "#daemon/instance-paths.ts";

export interface KubeAnswer {
  status: number;
  body: unknown;
}

/**
 * The few requests that the command line makes of the API server, as its administrator. Not the client of
 * `kube/client`: that one brings informers and an HTTP library that `gantry status` must not load.
 */
export class KubeRequester {
  readonly #agent: Agent;
  readonly #port: number;

  constructor(config: InstanceConfig) {
    const { pki } = instancePaths(config);
    this.#port = config.apiPort;
    this.#agent = new Agent({
      keepAlive: true,
      ca: readFileSync(`${pki}/ca.crt`),
      cert: readFileSync(`${pki}/admin.crt`),
      key: readFileSync(`${pki}/admin.key`),
    });
  }

  /** Throws `unavailable` when nothing answers. Any HTTP status is an answer. */
  send(method: string, path: string, body?: unknown, timeoutMs = 5_000): Promise<KubeAnswer> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown): void =>
        reject(
          new GantryError(
            "unavailable",
            `The API server at 127.0.0.1:${this.#port} does not answer: ${errorMessage(cause)}.`,
            { cause },
          ),
        );
      const outgoing = request(
        {
          host: "127.0.0.1",
          port: this.#port,
          method,
          path,
          agent: this.#agent,
          timeout: timeoutMs,
          headers: {
            accept: "application/json",
            "user-agent": "gantry",
            ...(payload === undefined
              ? {}
              : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }),
          },
        },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("error", fail);
          incoming.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            resolve({ status: incoming.statusCode ?? 0, body: parse(text) });
          });
        },
      );
      outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)));
      outgoing.on("error", fail);
      outgoing.end(payload);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
