import type { Readable } from "node:stream";
import { GantryError } from "#base/errors.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";
import { acceptSpdyCommand } from "./remote-command-spdy.ts";
import { acceptWebSocketCommand } from "./remote-command-websocket.ts";

export interface RemoteCommandOptions {
  stdin: boolean;
  stdout: boolean;
  /** Ignored with `tty`: a terminal has one output. */
  stderr: boolean;
  tty: boolean;
  /** How long SPDY clients may take to open their streams. Default 30 s. */
  streamTimeoutMs?: number;
}

/** How the remote command ended, for the error channel. */
export type RemoteCommandOutcome =
  /** The process's exit code; 0 is success. */
  | { exitCode: number }
  /** The command could not be run; shown to the user. */
  | { error: string };

/**
 * The server's end of an exec or attach. It has the shape of the pod-runtime port's `RuntimeStreams`, so that
 * it can be handed to `PodRuntime.exec` as it is.
 */
export interface RemoteCommandSession {
  /** Such as `v5.channel.k8s.io`. */
  readonly protocol: string;
  /** Present when asked for. Ends when the client closes its input. */
  readonly stdin?: Readable;
  readonly stdout?: (chunk: Uint8Array) => Promise<void>;
  readonly stderr?: (chunk: Uint8Array) => Promise<void>;
  /** Present with a TTY. Ends with the session. */
  readonly resize?: AsyncIterable<{ width: number; height: number }>;
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
  /** Reports the end on the error channel, lets output drain, and closes the connection. */
  finish(outcome: RemoteCommandOutcome): Promise<void>;
}

/**
 * Accepts an exec or attach request over WebSocket (v5, v4, v3, v2, v1 and base64 channel protocols) or
 * SPDY/3.1. Throws `invalid` (before anything was sent) when the request is no upgrade or offers no protocol
 * that is known.
 */
export async function acceptRemoteCommand(
  request: HttpRequest,
  response: HttpResponse,
  options: RemoteCommandOptions,
): Promise<RemoteCommandSession> {
  const wanted = { ...options, stderr: options.stderr && !options.tty };
  if (!wanted.stdin && !wanted.stdout && !wanted.stderr) {
    throw new GantryError("invalid", "you must specify at least 1 of stdin, stdout, stderr");
  }
  if (request.upgrade === "websocket") return acceptWebSocketCommand(request, response, wanted);
  if (request.upgrade === "spdy/3.1") return acceptSpdyCommand(request, response, wanted);
  throw new GantryError("invalid", "Upgrade request required");
}

function isTrue(value: string | null): boolean {
  return value === "1" || value === "true";
}

/** The options that stand in an exec or attach request's query: stdin, stdout, stderr, tty. */
export function remoteCommandOptions(query: URLSearchParams): RemoteCommandOptions {
  const tty = isTrue(query.get("tty"));
  return {
    stdin: isTrue(query.get("stdin")),
    stdout: isTrue(query.get("stdout")),
    stderr: isTrue(query.get("stderr")) && !tty,
    tty,
  };
}
