import type { Duplex } from "node:stream";
import type { StreamSession } from "#engine/engine.ts";
import type { Call } from "./call.ts";
import { stdcopyFrame } from "./stdcopy.ts";

/** How long a client may keep its side of a finished stream open. */
const lingerMs = 10_000;

/**
 * Takes the connection over, as attach and exec do: 101 for clients that ask for an upgrade, 200 for old ones.
 * The content type says from API 1.42 on whether the stream is framed.
 */
export function hijack(call: Call, tty: boolean): Duplex {
  const raw = takeOver(call, tty);
  // A TLS connection would end its way out with the client's: what the container still writes must get through.
  raw.allowHalfOpen = true;
  return raw;
}

function takeOver(call: Call, tty: boolean): Duplex {
  const framed = !tty && call.version >= 42;
  if (call.request.upgrade === undefined) {
    return call.response.hijack(200, "OK", { "Content-Type": "application/vnd.docker.raw-stream" });
  }
  return call.response.hijack(101, "UPGRADED", {
    "Content-Type": framed ? "application/vnd.docker.multiplexed-stream" : "application/vnd.docker.raw-stream",
    Connection: "Upgrade",
    Upgrade: "tcp",
  });
}

/** Resolves when `sink` takes more, or is gone. */
function roomIn(sink: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      sink.off("drain", done);
      sink.off("close", done);
      resolve();
    };
    sink.on("drain", done);
    sink.on("close", done);
  });
}

/**
 * Joins a client's raw connection and a container's streams until the output ends or the client is gone.
 * Without a TTY the output is framed. A client that half-closes ends the container's stdin only; docker's CLI does so at once when it has none.
 */
export async function joinStreams(
  raw: Duplex,
  session: StreamSession,
  framed: boolean,
  signal: AbortSignal,
): Promise<void> {
  const stop = (): void => {
    session.close();
    raw.destroy();
  };
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  raw.once("close", () => session.close());
  raw.on("error", () => raw.destroy());
  raw.on("data", (chunk: Buffer) => {
    raw.pause();
    session.write(chunk).then(
      () => raw.resume(),
      () => raw.resume(),
    );
  });
  raw.once("end", () => session.closeStdin());
  try {
    for await (const { stream, data } of session.output) {
      if (raw.destroyed) break;
      const bytes = framed ? stdcopyFrame(stream, data) : data;
      if (!raw.write(bytes)) await roomIn(raw);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    endGently(raw);
  }
}

/** Ends the way out, and reads away what the client still sends: closing on unread bytes would reset its end. */
export function endGently(raw: Duplex): void {
  if (raw.destroyed) return;
  raw.removeAllListeners("data");
  raw.on("error", () => raw.destroy());
  raw.resume();
  raw.end();
  const timer = setTimeout(() => raw.destroy(), lingerMs);
  raw.once("close", () => clearTimeout(timer));
}
