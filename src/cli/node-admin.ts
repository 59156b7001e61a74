import { request } from "node:http";
import { GantryError, errorMessage } from "#base/errors.ts";
import { nodeAdminSocket } from "#daemon/instance-paths.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";

/**
 * Asks the node process to stop all containers and not to start any again; without a timeout, by its
 * `shutdown-timeout`. Throws `unavailable`.
 */
export function stopContainers(config: InstanceConfig, timeoutSeconds: number | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void =>
      reject(
        new GantryError("unavailable", `The node process could not stop its containers: ${errorMessage(cause)}.`, {
          cause,
        }),
      );
    const outgoing = request(
      {
        socketPath: nodeAdminSocket(config),
        method: "POST",
        path: `/stop-containers${timeoutSeconds === undefined ? "" : `?timeout=${timeoutSeconds}`}`,
      },
      (incoming) => {
        let text = "";
        incoming.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        incoming.on("error", fail);
        incoming.on("end", () => (incoming.statusCode === 200 ? resolve() : fail(new Error(text))));
      },
    );
    outgoing.on("error", fail);
    outgoing.end();
  });
}
