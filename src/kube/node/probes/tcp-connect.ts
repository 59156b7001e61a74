import { connect } from "node:net";
import { dialError } from "./network-error.ts";

/** Undefined when a connection could be made, else why not. */
export function tcpConnect(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const done = (outcome: string | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => done(dialError(host, port, { code: "ETIMEDOUT" })), timeoutMs);
    socket.once("connect", () => done(undefined));
    socket.on("error", (error) => done(dialError(host, port, error)));
  });
}
