import type { Duplex } from "node:stream";
import { GantryError } from "#base/errors.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";
import { encodeOutcome, protocolVersion, ResizeDecoder } from "./remote-command-status.ts";
import type { RemoteCommandOptions, RemoteCommandSession } from "./remote-command.ts";
import { SpdySession } from "./spdy/session.ts";
import type { SpdyStream } from "./spdy/stream.ts";

const protocols = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
const streamHeader = "x-stream-protocol-version";

/**
 * Answers the handshake of a SPDY upgrade and returns the raw connection with the protocol that was agreed:
 * the client's first that we know; "" when it names none. Throws `invalid` when it names unknown ones only.
 */
export function acceptSpdyUpgrade(
  request: HttpRequest,
  response: HttpResponse,
  known: readonly string[],
): { raw: Duplex; protocol: string } {
  const header = request.headers[streamHeader];
  const offered = (Array.isArray(header) ? header.join(",") : (header ?? ""))
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  const protocol = offered.find((name) => known.includes(name)) ?? "";
  if (protocol === "" && offered.length > 0) {
    throw new GantryError(
      "invalid",
      `unable to upgrade: unable to negotiate protocol: client supports [${offered.join(" ")}], server accepts [${known.join(" ")}]`,
    );
  }
  const raw = response.hijack(101, "Switching Protocols", {
    Connection: "Upgrade",
    Upgrade: "SPDY/3.1",
    ...(protocol === "" ? {} : { "X-Stream-Protocol-Version": protocol }),
  });
  return { raw, protocol };
}

/** The streams that a client opens, by their `streamType`. */
type Streams = Map<string, SpdyStream>;

/** The SPDY half of `acceptRemoteCommand`. Throws `timeout` when the client does not open its streams. */
export async function acceptSpdyCommand(
  request: HttpRequest,
  response: HttpResponse,
  options: RemoteCommandOptions,
): Promise<RemoteCommandSession> {
  const { raw, protocol } = acceptSpdyUpgrade(request, response, protocols);
  const version = protocolVersion(protocol);
  const expected = ["error"];
  if (options.stdin) expected.push("stdin");
  if (options.stdout) expected.push("stdout");
  if (options.stderr) expected.push("stderr");
  if (options.tty && version >= 3) expected.push("resize");
  const streams: Streams = new Map();
  const all = Promise.withResolvers<void>();
  const session = new SpdySession(raw, {
    role: "server",
    onStream: (stream) => {
      const type = stream.headers["streamtype"] ?? "";
      if (!expected.includes(type) || streams.has(type)) {
        stream.destroy();
        return;
      }
      streams.set(type, stream);
      stream.reply();
      if (streams.size === expected.length) all.resolve();
    },
  });
  const gone = new AbortController();
  void session.closed.then(() => {
    gone.abort();
    all.reject(new GantryError("cancelled", "The client went away before it had opened its streams."));
  });
  request.signal.addEventListener("abort", () => session.destroy(), { once: true });
  const timer = setTimeout(
    () => all.reject(new GantryError("timeout", "timed out waiting for client to create streams")),
    options.streamTimeoutMs ?? 30_000,
  );
  try {
    await all.promise;
  } catch (error) {
    session.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  return commandSession(session, streams, protocol, version, gone.signal);
}

function commandSession(
  session: SpdySession,
  streams: Streams,
  protocol: string,
  version: number,
  signal: AbortSignal,
): RemoteCommandSession {
  const stdin = streams.get("stdin");
  const resizeStream = streams.get("resize");
  const resize = resizeStream === undefined ? undefined : new ResizeDecoder();
  resizeStream?.on("data", (chunk: Buffer) => resize?.push(chunk));
  void session.closed.then(() => resize?.end());
  const writer = (name: string): ((chunk: Uint8Array) => Promise<void>) | undefined => {
    const stream = streams.get(name);
    if (stream === undefined) return undefined;
    stream.resume();
    return (chunk) => writeTo(stream, chunk);
  };
  const stdout = writer("stdout");
  const stderr = writer("stderr");
  return {
    protocol: protocol === "" ? "channel.k8s.io" : protocol,
    ...(stdin === undefined ? {} : { stdin }),
    ...(stdout === undefined ? {} : { stdout }),
    ...(stderr === undefined ? {} : { stderr }),
    ...(resize === undefined ? {} : { resize: resize.sizes }),
    signal,
    finish: async (outcome) => {
      const report = encodeOutcome(outcome, version);
      const error = streams.get("error");
      if (report !== undefined && error !== undefined) await writeTo(error, report);
      // kubectl stops sending its input when the server ends that stream: not before now.
      await Promise.all(["stdout", "stderr", "error", "stdin"].map((name) => endOf(streams.get(name))));
      await session.close();
    },
  };
}

/** Writes and waits for room; a stream that is gone swallows. */
function writeTo(stream: SpdyStream, chunk: Uint8Array): Promise<void> {
  if (stream.destroyed || stream.writableEnded) return Promise.resolve();
  if (stream.write(chunk)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
  });
}

function endOf(stream: SpdyStream | undefined): Promise<void> {
  if (stream === undefined || stream.destroyed || stream.writableFinished) return Promise.resolve();
  return new Promise((resolve) => {
    stream.once("finish", resolve);
    stream.once("close", resolve);
    stream.end();
  });
}
