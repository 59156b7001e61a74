import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface CliResult {
  code: number | null;
  out: string;
  err: string;
}

/** The real docker CLI against one daemon, with a configuration folder of its own. */
export class DockerCli {
  readonly host: string;
  readonly folder: string;
  readonly #children = new Set<ChildProcessWithoutNullStreams>();

  constructor(host: string) {
    this.host = host;
    this.folder = mkdtempSync(join(tmpdir(), "gantry-cli-"));
  }

  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, DOCKER_HOST: this.host, DOCKER_CONFIG: join(this.folder, "config"), W: this.folder };
  }

  /** Starts `docker …` and leaves it running. */
  start(...args: string[]): ChildProcessWithoutNullStreams {
    return this.#own(spawn("docker", args, { env: this.environment }));
  }

  /** Starts a line of shell. */
  startShell(line: string): ChildProcessWithoutNullStreams {
    return this.#own(spawn("sh", ["-c", line], { env: this.environment }));
  }

  #own(child: ChildProcessWithoutNullStreams): ChildProcessWithoutNullStreams {
    this.#children.add(child);
    child.once("close", () => this.#children.delete(child));
    return child;
  }

  /** Runs `docker …` to its end, at most for a minute. */
  run(args: readonly string[], input: string | Buffer = ""): Promise<CliResult> {
    return collect(this.start(...args), input);
  }

  shell(line: string, input: string | Buffer = ""): Promise<CliResult> {
    return collect(this.startShell(line), input);
  }

  /** Runs `docker …`, which must succeed, and returns what it printed, trimmed. */
  async ok(...args: string[]): Promise<string> {
    const done = await this.run(args);
    if (done.code !== 0) throw new Error(`docker ${args.join(" ")}: exit ${done.code}: ${done.err}${done.out}`);
    return done.out.trim();
  }

  dispose(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function collect(
  child: ChildProcessWithoutNullStreams,
  input: string | Buffer = "",
  timeoutMs = 60_000,
): Promise<CliResult> {
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += String(chunk)));
  child.stderr.on("data", (chunk) => (err += String(chunk)));
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  return new Promise((resolve) =>
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, out, err });
    }),
  );
}

/** Resolves when the output has come to hold `wanted`; rejects with what came instead. */
export function sees(
  child: ChildProcessWithoutNullStreams,
  wanted: string | RegExp,
  timeoutMs = 10_000,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const fail = (why: string): void => reject(new Error(`${why} before ${String(wanted)}: ${JSON.stringify(text)}`));
    const timer = setTimeout(() => fail("timeout"), timeoutMs);
    const look = (chunk: unknown): void => {
      text += String(chunk);
      if (typeof wanted === "string" ? !text.includes(wanted) : !wanted.test(text)) return;
      clearTimeout(timer);
      child.stdout.off("data", look);
      resolve(text);
    };
    child.stdout.on("data", look);
    child.once("close", () => {
      clearTimeout(timer);
      fail("end");
    });
  });
}

export async function eventually(what: string, check: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
