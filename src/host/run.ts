import { constants } from "node:os";
import type { Readable } from "node:stream";
import { type ErrorCode, GantryError } from "#base/errors.ts";
import { type ChildProcess, type ExitStatus, start } from "./spawn.ts";

export interface RunOptions {
  /** Written to the program's stdin, which is then closed. Default: /dev/null. */
  stdin?: string | Uint8Array;
  /** The whole environment. Default: `minimalEnvironment`. */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** As of `start`. */
  mountNamespace?: string | undefined;
  /** After this time the program gets SIGKILL and `run` throws `timeout`. Default: none. */
  timeoutMs?: number;
  /** Kills the program and throws `cancelled`. */
  signal?: AbortSignal;
  /** Exit statuses that are no error. Default: 0 alone. */
  okStatus?: readonly number[];
  /** More output than this many bytes (either stream) ends the program with `too-large`. Default: 64 MiB. */
  stdoutLimit?: number;
}

export interface RunResult {
  /** The exit code; 128 + n when signal n ended it. */
  status: number;
  stdout: string;
  stderr: string;
}

export interface CommandFailure extends RunResult {
  argv: readonly string[];
  signal: string | null;
}

/** A program that failed: keeps what was run and what it said. */
export class CommandError extends GantryError {
  readonly argv: readonly string[];
  readonly status: number;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;

  constructor(code: ErrorCode, message: string, failure: CommandFailure) {
    super(code, message, {
      data: { argv: failure.argv, status: failure.status, signal: failure.signal, stderr: failure.stderr },
    });
    this.name = "CommandError";
    this.argv = failure.argv;
    this.status = failure.status;
    this.signal = failure.signal;
    this.stdout = failure.stdout;
    this.stderr = failure.stderr;
  }
}

/** docker's and the shell's number for an exit: the code, or 128 + the signal's number. */
export function exitNumber(exit: ExitStatus): number {
  if (exit.code !== null) return exit.code;
  const name = exit.signal ?? "";
  // A real-time signal has no name but `SIG35`.
  return 128 + (constants.signals[name as NodeJS.Signals] ?? (Number(name.slice(3)) || 0));
}

async function collect(stream: Readable, limit: number, onTooLarge: () => void): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) {
        onTooLarge();
        break;
      }
      chunks.push(chunk);
    }
  } catch {
    // A stream that was cut ends what we have; the exit status tells the rest.
  }
  return Buffer.concat(chunks).toString("utf8");
}

type Stopped = "timeout" | "cancelled" | "too-large";

function failureMessage(argv: readonly string[], exit: ExitStatus, stderr: string, stdout: string): string {
  const how = exit.signal === null ? `exited with status ${exit.code}` : `was ended by ${exit.signal}`;
  const said = (stderr.trim() === "" ? stdout : stderr).trim();
  return `${argv.slice(0, 3).join(" ")} ${how}${said === "" ? "" : `: ${said.slice(-2000)}`}`;
}

/**
 * Runs a program to its end and collects its output. Throws a `CommandError` when the status is not one of
 * `okStatus`, on `timeoutMs`, on abort; and what `start` throws.
 */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { env, cwd, mountNamespace, timeoutMs, signal, okStatus = [0], stdoutLimit = 64 << 20 } = options;
  if (signal?.aborted) throw new GantryError("cancelled", `${argv[0]} was not started: the work was cancelled.`);
  const child: ChildProcess = start({
    argv,
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
    mountNamespace,
    stdio: [options.stdin === undefined ? "null" : "pipe", "pipe", "pipe"],
  });
  let stopped: Stopped | undefined;
  const stop = (why: Stopped): void => {
    stopped ??= why;
    child.kill("SIGKILL");
    // A grandchild may keep the pipes open: what it would still say is of no interest.
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => stop("timeout"), timeoutMs);
  const onAbort = (): void => stop("cancelled");
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    child.stdin?.end(options.stdin);
    const [stdout, stderr, exit] = await Promise.all([
      collect(child.stdout as Readable, stdoutLimit, () => stop("too-large")),
      collect(child.stderr as Readable, stdoutLimit, () => stop("too-large")),
      child.exited,
    ]);
    const status = exitNumber(exit);
    const failure = { argv, status, signal: exit.signal, stdout, stderr };
    if (stopped === "timeout") {
      throw new CommandError("timeout", `${argv[0]} did not end within ${timeoutMs} ms and was killed.`, failure);
    }
    if (stopped === "cancelled") throw new CommandError("cancelled", `${argv[0]} was cancelled.`, failure);
    if (stopped === "too-large") {
      throw new CommandError("too-large", `${argv[0]} wrote more than ${stdoutLimit} bytes and was killed.`, failure);
    }
    if (!okStatus.includes(status)) {
      throw new CommandError("internal", failureMessage(argv, exit, stderr, stdout), failure);
    }
    return { status, stdout, stderr };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
