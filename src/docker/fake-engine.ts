import type { Engine, LogEntry, StreamChunk, StreamSession } from "#engine/engine.ts";
import { GantryError } from "#base/errors.ts";

/** For this folder's tests alone: an engine of a few answers, that notes how it was called. */
export class FakeEngine {
  readonly calls: { name: string; args: unknown[] }[] = [];
  readonly answers: Record<string, (...args: never[]) => unknown> = {};

  /** The engine's interface: `containers.create` is looked up in `answers` under that name. */
  get engine(): Engine {
    const group = (prefix: string): unknown =>
      new Proxy(
        {},
        {
          get: (_target, key: string) => this.#call(`${prefix}.${key}`),
        },
      );
    const groups: Record<string, unknown> = {};
    for (const name of ["containers", "images", "networks", "volumes"]) groups[name] = group(name);
    return new Proxy({} as Engine, {
      get: (_target, key: string) => groups[key] ?? this.#call(key),
    });
  }

  #call(name: string): (...args: unknown[]) => unknown {
    return (...args) => {
      this.calls.push({ name, args });
      const answer = this.answers[name] as ((...given: unknown[]) => unknown) | undefined;
      if (answer === undefined) throw new GantryError("not-found", `No such thing: ${String(args[0])}`);
      return answer(...args);
    };
  }
}

/** A session that writes its stdin back in upper case until stdin ends, then a line to stderr. */
export function echoSession(tty: boolean): StreamSession {
  const queue: (StreamChunk | undefined)[] = [];
  let wake: (() => void) | undefined;
  const put = (chunk: StreamChunk | undefined): void => {
    queue.push(chunk);
    wake?.();
  };
  async function* output(): AsyncGenerator<StreamChunk> {
    for (;;) {
      while (queue.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const next = queue.shift();
      if (next === undefined) return;
      yield next;
    }
  }
  return {
    tty,
    output: output(),
    write: async (chunk) => put({ stream: "stdout", data: Buffer.from(Buffer.from(chunk).toString().toUpperCase()) }),
    closeStdin: () => {
      put({ stream: "stderr", data: Buffer.from("done\n") });
      put(undefined);
    },
    close: () => put(undefined),
  };
}

export async function* logEntries(...lines: [LogEntry["stream"], string][]): AsyncGenerator<LogEntry[]> {
  yield lines.map(([stream, line]) => ({ stream, time: "2026-01-02T03:04:05.000000006Z", data: Buffer.from(line) }));
}
