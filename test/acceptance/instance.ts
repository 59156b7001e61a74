import { type SpawnSyncReturns, execFile, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export const projectRoot = join(import.meta.dirname, "../..");
const gantry = join(projectRoot, "gantry");

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  input?: string;
  env?: Record<string, string>;
  timeoutMs?: number;
}

/** A Gantry instance of a test's own, driven by the real command lines. */
export class TestInstance {
  readonly name: string;
  readonly folder: string;
  readonly root: string;
  readonly env: Record<string, string>;

  constructor(name: string) {
    this.name = name;
    this.folder = mkdtempSync(join(tmpdir(), `gantry-${name}-`));
    this.root = join(this.folder, "data");
    this.env = {
      PATH: process.env["PATH"] as string,
      HOME: this.folder,
      DOCKER_HOST: `unix:///run/gantry/${name}/docker.sock`,
      DOCKER_CONFIG: join(this.folder, "docker-config"),
      KUBECONFIG: join(this.root, "kubeconfig"),
      LC_ALL: "C",
    };
  }

  /** Runs a program to its end; never throws for its exit status. */
  run(program: string, args: readonly string[], options: RunOptions = {}): Outcome {
    const result: SpawnSyncReturns<string> = spawnSync(program, args, {
      cwd: this.folder,
      encoding: "utf8",
      env: { ...this.env, ...options.env },
      input: options.input ?? "",
      timeout: options.timeoutMs ?? 120_000,
      maxBuffer: 1 << 28,
    });
    if (result.error !== undefined && result.status === null) throw result.error;
    return { status: result.status ?? 128, stdout: result.stdout, stderr: result.stderr };
  }

  /** Runs and demands success; gives stdout. */
  ok(program: string, args: readonly string[], options: RunOptions = {}): string {
    const { status, stdout, stderr } = this.run(program, args, options);
    if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
    return stdout;
  }

  gantry(command: string, ...args: string[]): string {
    return this.ok(gantry, [command, "--name", this.name, "--root", this.root, ...args], { timeoutMs: 300_000 });
  }

  up(...args: string[]): string {
    return this.gantry("up", "--no-demo", "--no-switch", ...args);
  }

  docker(...args: string[]): string {
    return this.ok("docker", args);
  }

  kubectl(...args: string[]): string {
    return this.ok("kubectl", args);
  }

  /** `gantry status -o json`, whatever the state. */
  status(): { state: string; processes: { name: string; pid: number }[]; addresses: { machine: string[] } } {
    const { stdout } = this.run(gantry, ["status", "--name", this.name, "--root", this.root, "-o", "json"]);
    return JSON.parse(stdout) as ReturnType<TestInstance["status"]>;
  }

  /** The pid of a daemon, from `gantry status -o json`. */
  pid(name: "control" | "node"): number {
    const found = this.status().processes.find((process_) => process_.name === name);
    if (found === undefined) throw new Error(`no ${name} process runs`);
    return found.pid;
  }

  /** Starts a program and goes on; the caller ends it. */
  start(
    program: string,
    args: readonly string[],
  ): {
    output: () => string;
    stop: () => Promise<void>;
    exited: Promise<number>;
    write: (text: string) => void;
    signal: (name: NodeJS.Signals) => void;
  } {
    const child = spawn(program, args, { cwd: this.folder, env: this.env, stdio: ["pipe", "pipe", "pipe"] });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.stdin.on("error", () => {});
    const exited = new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? 128)));
    return {
      output: () => text,
      exited,
      write: (input) => child.stdin.write(input),
      signal: (name) => child.kill(name),
      stop: async () => {
        child.kill("SIGKILL");
        await exited;
      },
    };
  }

  /** Removes every trace. Called also after a failure. */
  reset(): void {
    this.run(gantry, ["reset", "--yes", "--name", this.name, "--root", this.root], { timeoutMs: 120_000 });
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Asks again and again until `check` gives a value. */
export async function eventually<T>(what: string, check: () => T | undefined | false, timeoutMs = 60_000): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = check();
      if (value !== undefined && value !== false) return value as T;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${timeoutMs} ms`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A GET with curl's patience but without curl. */
export function get(url: string, timeoutMs = 5_000): Promise<string> {
  return fetch(url, { signal: AbortSignal.timeout(timeoutMs) }).then((response) => response.text());
}

/** The kubectl of another version, beside the one on the PATH, or undefined. */
export function otherKubectl(version: string): string | undefined {
  const folder = dirname(
    realpathSync(spawnSync("sh", ["-c", "command -v kubectl"], { encoding: "utf8" }).stdout.trim()),
  );
  return readdirSync(folder).includes(`kubectl.${version}`) ? join(folder, `kubectl.${version}`) : undefined;
}

/** What an instance could leave on a machine. */
export function machineState(): Record<string, string[]> {
  const lines = (program: string, ...args: string[]): string[] =>
    spawnSync(program, args, { encoding: "utf8" })
      .stdout.split("\n")
      .filter((line) => line !== "")
      .sort();
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .sort();
  const processes = readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      } catch {
        return "";
      }
    })
    .filter(
      (line) =>
        /conmon|gantryd|crun|runc|\/bin\/serve|httpd|sleep 3600/.test(line) && !line.includes("test/acceptance"),
    )
    .sort();
  return {
    links: lines("ip", "-o", "link")
      .map((line) => (line.split(":")[1] ?? "").trim())
      .sort(),
    routes: lines("ip", "route"),
    namespaces: lines("ip", "netns"),
    tables: lines("nft", "list", "tables"),
    mounts,
    cgroups: lines("find", "/sys/fs/cgroup", "-maxdepth", "3", "-type", "d"),
    processes,
    runFolders: lines("sh", "-c", "ls /run/gantry 2>/dev/null; true"),
  };
}

/** Runs a program without blocking the test. */
export function runLater(program: string, args: readonly string[], env: Record<string, string>): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(program, args, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === "number" ? error.code : 128, stdout, stderr });
    });
  });
}
