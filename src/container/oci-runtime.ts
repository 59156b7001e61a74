import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import { GantryError, errorMessage } from "#base/errors.ts";
import { randomHex } from "#base/ids.ts";
import type { Logger } from "#base/log.ts";
import { closeFd, makePipe } from "#host/descriptors.ts";
import { type ProcessWatch, watchProcess } from "#host/pidfd.ts";
import { expectCgroupMove } from "#host/cgroup-moves.ts";
import { removeFolder, writeFiles } from "#host/files.ts";
import { processStart } from "#host/process-start.ts";
import { CommandError, run } from "#host/run.ts";
import { type ChildProcess, findExecutable, start } from "#host/spawn.ts";
import type { BindStage } from "./bind-stage.ts";
import { attachStreams } from "./conmon-streams.ts";
import type {
  AttachedStreams,
  ContainerExit,
  CreateOptions,
  CreatedContainer,
  ExecOptions,
  ExecSession,
  MonitorOptions,
  RecoveredState,
} from "./container-types.ts";
import { setFrozen, startCreated, statusOf } from "./crun-shortcuts.ts";
import { isConmonOf, monitorsEnded, readKept } from "./monitor-process.ts";
import { RuntimeNamespace } from "./runtime-namespace.ts";
import { runtimeFailure } from "./runtime-failure.ts";
import { crunSeccompProgram } from "./spec.ts";

export interface OciRuntimeOptions {
  /** For the runtime's state, exit files and the namespace it runs in. Gone after a reboot. */
  runDir: string;
  /** Folders below which mounts are made that containers must see. */
  sharedRoots: readonly string[];
  /** Default: crun, else runc. */
  program?: string;
}

interface Live {
  bundle: string;
  pid: number;
  conmonPid: number;
  tty: boolean;
  watch: ProcessWatch | undefined;
}

/** A conmon, and the pipe on which it says how it went. */
type Naming = (text: string) => string;

interface StartedConmon {
  child: ChildProcess;
  sync: Socket;
}

/** In the bundle: what the caller of `create` wants to find there again. */
export const keptFile = "gantry.json";
/** In the bundle: when the first process started (`processStart`). */
const startTimeFile = "start-time";
/** How long the runtime may take to end after the command that it ran was killed. */
const killGraceMs = 2000;
const longestTimer = 2 ** 31 - 1;
const resizeMessage = 1;
const reopenMessage = 2;

/** Waits for a file that a process writes when it ends; it may come a moment later than the process goes. */
async function readSoon(path: string, tries = 200): Promise<string | undefined> {
  for (let attempt = 0; attempt < tries; attempt++) {
    try {
      const text = readFileSync(path, "utf8");
      if (text !== "") return text;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return undefined;
}

/**
 * Drives crun or runc through conmon. Conmon owns a container's streams, log and exit status, and lives on
 * when the daemon is killed: `recover` finds everything again.
 */
export class OciRuntime {
  readonly #options: OciRuntimeOptions;
  readonly #log: Logger;
  readonly #exits: string;
  readonly #state: string;
  readonly #live = new Map<string, Live>();
  /** Execs whose exit is still to be read, by container. */
  readonly #execs = new Map<string, Set<Promise<unknown>>>();
  /** Conmons that wait for `create`, with the pipe that lets them go on. */
  readonly #waiting = new Map<string, StartedConmon & { go: number }>();
  /** Where commands of the runtime are started; undefined for our own. */
  #mountNamespace: string | undefined;
  #stage: BindStage | undefined;
  #program = "";

  constructor(options: OciRuntimeOptions, parts: { log: Logger }) {
    this.#options = options;
    this.#log = parts.log;
    this.#exits = join(options.runDir, "exits");
    this.#state = join(options.runDir, "oci");
  }

  get program(): string {
    return this.#program;
  }

  get isCrun(): boolean {
    return this.#program.endsWith("/crun");
  }

  /** Chooses the runtime and makes it able to run here. */
  async start(): Promise<void> {
    for (const folder of [this.#options.runDir, this.#exits, this.#state])
      mkdirSync(folder, { recursive: true, mode: 0o711 });
    takeBackNull();
    for (const name of this.#options.program === undefined ? ["crun", "runc"] : [this.#options.program]) {
      try {
        this.#program = findExecutable(name);
      } catch {
        continue;
      }
      if (!name.endsWith("crun")) break;
      try {
        const namespace = new RuntimeNamespace(this.#options.runDir, this.#options.sharedRoots);
        const call = await namespace.prepare(this.#program);
        ({ mountNamespace: this.#mountNamespace, stage: this.#stage, program: this.#program } = call);
        break;
      } catch (error) {
        this.#log.warn("crun cannot run here; runc is used.", { error: errorMessage(error) });
        this.#mountNamespace = undefined;
        this.#stage = undefined;
      }
    }
    if (this.#program === "")
      throw new GantryError("unavailable", "Neither crun nor runc is installed. Install one: apt-get install crun.");
  }

  #command(...args: string[]): string[] {
    return [this.#program, "--root", this.#state, ...args];
  }

  #conmonArguments(id: string, session: string, bundle: string): string[] {
    return [
      findExecutable("conmon"),
      "--api-version=1",
      "-c",
      id,
      "-u",
      session,
      "-r",
      this.#program,
      "-b",
      bundle,
      "-p",
      join(bundle, "pid"),
      "-P",
      join(bundle, "conmon.pid"),
      "--full-attach",
      "--no-new-keyring",
      "--no-sync-log",
      "--log-level=error",
      `--runtime-arg=--root`,
      `--runtime-arg=${this.#state}`,
    ];
  }

  /** Runs conmon and reads its first word: the process's pid, or why there is none. */
  async #runConmon(
    argv: string[],
    env: Record<string, string>,
    extra: { stdio?: number[]; program?: string | undefined } = {},
  ): Promise<{ pid: number; sync: Socket }> {
    return this.#answerOf(this.#startConmon(argv, env, extra.stdio), extra);
  }

  /** Starts conmon; the descriptors of `more` become its own from 4 up and are closed here. */
  #startConmon(argv: string[], env: Record<string, string>, more: readonly number[] = []): StartedConmon {
    const pipe = makePipe();
    const stdio: (number | "null")[] = ["null", "null", "null", pipe.writeEnd, ...more];
    let child: ChildProcess;
    try {
      child = start({
        argv,
        env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", _OCI_SYNCPIPE: "3", ...env },
        stdio,
        newSession: true,
        cwd: "/",
        mountNamespace: this.#mountNamespace,
      });
      // Conmon forks itself into the background; the first process only says that it did.
      void child.exited;
    } catch (error) {
      closeFd(pipe.readEnd);
      throw error;
    } finally {
      closeFd(pipe.writeEnd);
      for (const fd of more) closeFd(fd);
    }
    return { child, sync: new Socket({ fd: pipe.readEnd, readable: true, writable: false }) };
  }

  async #answerOf(
    { sync }: StartedConmon,
    extra: { program?: string | undefined; named?: Naming | undefined },
  ): Promise<{ pid: number; sync: Socket }> {
    const answer = await firstLine(sync);
    takeBackNull();
    if (answer === undefined) {
      sync.destroy();
      throw new GantryError("internal", "conmon ended without starting the container");
    }
    const { pid, data, message } = JSON.parse(answer) as { pid?: number; data?: number; message?: string };
    const value = pid ?? data ?? -1;
    if (value < 0) {
      sync.destroy();
      throw runtimeFailure(extra.named?.(message ?? "") ?? message ?? "", extra.program);
    }
    return { pid: value, sync };
  }

  /**
   * Starts the conmon of a container that `create` will be called for soon: it sets itself up meanwhile, and waits
   * before it starts the runtime. `delete` calls it off.
   */
  expect(options: MonitorOptions): void {
    const { id, bundle } = options;
    this.#abandon(id);
    mkdirSync(bundle, { recursive: true, mode: 0o700 });
    // Should we end now, conmon goes on and finds nothing to create.
    rmSync(join(bundle, "config.json"), { force: true });
    rmSync(join(this.#exits, id), { force: true });
    const go = makePipe();
    try {
      const conmon = this.#startConmon(this.#monitorArguments(options), { _OCI_STARTPIPE: "4" }, [go.readEnd]);
      this.#waiting.set(id, { ...conmon, go: go.writeEnd });
    } catch (error) {
      closeFd(go.writeEnd);
      throw error;
    }
  }

  #abandon(id: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    waiting.child.kill("SIGKILL");
    closeFd(waiting.go);
    waiting.sync.destroy();
  }

  /** Lets a conmon that waits go on; undefined where none does. */
  #release(id: string): StartedConmon | undefined {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(id);
    try {
      writeSync(waiting.go, "\0");
    } catch {
      // It has ended: so says the end of its answer.
    } finally {
      closeFd(waiting.go);
    }
    return waiting;
  }

  #monitorArguments(options: MonitorOptions): string[] {
    const { id, bundle, log, tty } = options;
    const argv = this.#conmonArguments(id, id, bundle);
    argv.push(
      "-n",
      options.name,
      "--exit-dir",
      this.#exits,
      "--persist-dir",
      bundle,
      "-l",
      log === undefined ? "none" : `k8s-file:${log}`,
    );
    if (options.logMaxBytes !== undefined) argv.push(`--log-size-max=${options.logMaxBytes}`);
    if (tty) argv.push("-t");
    if (options.stdin) argv.push("-i");
    if (options.leaveStdinOpen) argv.push("--leave-stdin-open");
    return argv;
  }

  /** Creates a container: its namespaces and first process, which waits for `start`. */
  async create(options: CreateOptions): Promise<CreatedContainer> {
    const { id, bundle, tty } = options;
    if (!this.#waiting.has(id)) this.expect(options);
    const staged = this.#stage?.prepare(id, options.spec);
    let pid: number;
    try {
      pid = await this.#createFrom(staged?.spec ?? options.spec, options, staged?.named);
    } finally {
      staged?.release();
    }
    const conmonPid = Number(readFileSync(join(bundle, "conmon.pid"), "utf8"));
    writeFileSync(join(bundle, startTimeFile), String(processStart(pid) ?? ""));
    this.#live.set(id, { bundle, pid, conmonPid, tty, watch: undefined });
    return { id, pid, conmonPid };
  }

  async #createFrom(spec: object, { id, bundle, kept }: CreateOptions, named: Naming | undefined): Promise<number> {
    await writeFiles([
      { path: join(bundle, "config.json"), text: this.#specText(spec), mode: 0o600 },
      { path: join(bundle, keptFile), text: kept, mode: 0o600 },
    ]);
    const program = (spec as { process?: { args?: string[] } }).process?.args?.[0];
    const conmon = this.#release(id);
    if (conmon === undefined) throw new GantryError("cancelled", `the start of container ${id} was called off`);
    const { pid, sync } = await this.#answerOf(conmon, { program, named }).catch(async (error: unknown) => {
      await this.delete(id, bundle).catch(() => {});
      throw error;
    });
    sync.destroy();
    return pid;
  }

  /** crun would read a long profile only to find that the compiled filter is there in the annotations. */
  #specText(spec: object): string {
    const { annotations, linux } = spec as { annotations?: Record<string, string>; linux?: { seccomp?: object } };
    if (!this.isCrun || annotations?.[crunSeccompProgram] === undefined) return JSON.stringify(spec);
    const { seccomp: _profile, ...rest } = linux ?? {};
    return JSON.stringify({ ...spec, linux: rest });
  }

  /** Lets the first process run. Throws docker's `failed to create task…` causes. */
  async startContainer(id: string): Promise<void> {
    if (this.isCrun && startCreated(join(this.#state, id))) return;
    await this.#run("start", id);
  }

  async #run(...args: string[]): Promise<string> {
    try {
      const { stdout } = await run(this.#command(...args), { timeoutMs: 60_000, mountNamespace: this.#mountNamespace });
      return stdout;
    } catch (error) {
      if (error instanceof CommandError) throw runtimeFailure(error.stderr);
      throw error;
    }
  }

  /** Connects to a container's streams. Before `start`, nothing that it writes is missed. */
  attach(id: string): AttachedStreams {
    return attachStreams(join(this.#known(id).bundle, "attach"));
  }

  #known(id: string): Live {
    const live = this.#live.get(id);
    if (live === undefined) throw new GantryError("not-found", `container ${id} is not running`);
    return live;
  }

  #control(bundle: string, message: string): void {
    let fd: number;
    try {
      fd = openSync(join(bundle, "ctl"), constants.O_WRONLY | constants.O_NONBLOCK);
    } catch {
      // Nobody reads it any more: the process has ended.
      return;
    }
    try {
      writeSync(fd, message);
    } finally {
      closeSync(fd);
    }
  }

  /** Sets the size of a container's terminal. */
  resize(id: string, height: number, width: number): void {
    this.#control(this.#known(id).bundle, `${resizeMessage} ${height} ${width}\n`);
  }

  /** Makes conmon open its log anew, after somebody has moved it away. */
  reopenLog(id: string): void {
    this.#control(this.#known(id).bundle, `${reopenMessage} 0 0\n`);
  }

  /** Signals the first process itself, never another one that got its number. False when it has ended. */
  kill(id: string, signal: number): boolean {
    const live = this.#known(id);
    const watch = watchProcess(live.pid);
    try {
      return isOurs(live) && watch.signal(signal);
    } finally {
      watch.close();
    }
  }

  async pause(id: string): Promise<void> {
    if (this.isCrun && (await setFrozen(join(this.#state, id), true))) return;
    await this.#run("pause", id);
  }

  async resume(id: string): Promise<void> {
    if (this.isCrun && (await setFrozen(join(this.#state, id), false))) return;
    await this.#run("resume", id);
  }

  /** What the runtime says of a container that we know, or undefined once it has ended. */
  async status(id: string): Promise<"created" | "running" | "paused" | undefined> {
    const { pid } = this.#known(id);
    if (!existsSync(`/proc/${pid}`) || existsSync(join(this.#exits, id))) return undefined;
    try {
      const status = await this.#status(id);
      return status === "created" || status === "running" || status === "paused" ? status : undefined;
    } catch {
      return undefined;
    }
  }

  async #status(id: string): Promise<string> {
    const known = this.isCrun ? statusOf(join(this.#state, id)) : undefined;
    return known ?? (JSON.parse(await this.#run("state", id)) as { status: string }).status;
  }

  pid(id: string): number | undefined {
    return this.#live.get(id)?.pid;
  }

  /** Resolves when a container that was created or recovered has ended. For one waiter. */
  async exited(id: string): Promise<ContainerExit> {
    const live = this.#known(id);
    live.watch = watchProcess(live.conmonPid);
    await live.watch.ended;
    return this.#readExit(id, live);
  }

  async #readExit(id: string, live: Pick<Live, "bundle" | "pid">): Promise<ContainerExit> {
    const path = join(this.#exits, id);
    const code = await readSoon(path);
    const oomKilled = existsSync(join(live.bundle, "oom"));
    if (code !== undefined) return { code: Number(code), finishedAt: statSync(path).mtimeMs, oomKilled };
    // Conmon was killed: nobody owns the process's streams any more, and its exit would never be known.
    this.#log.warn("A container lost its monitor and is ended.", { container: id });
    const watch = watchProcess(live.pid);
    watch.signal("SIGKILL");
    await watch.ended;
    return { code: 137, finishedAt: Date.now(), oomKilled };
  }

  /** What became of a container that an earlier daemon created. */
  async recover(id: string, bundle: string, tty: boolean): Promise<RecoveredState> {
    const read = (name: string): number => Number(readFileSync(join(bundle, name), "utf8"));
    let pid: number;
    let conmonPid: number;
    try {
      pid = read("pid");
      conmonPid = read("conmon.pid");
    } catch {
      return { state: "gone" };
    }
    const exitPath = join(this.#exits, id);
    if (existsSync(exitPath)) return { state: "exited", exit: await this.#readExit(id, { bundle, pid }) };
    const live: Live = { bundle, pid, conmonPid, tty, watch: undefined };
    if (!isConmonOf(conmonPid, bundle)) {
      if (isOurs(live)) return { state: "exited", exit: await this.#readExit(id, live) };
      return { state: "gone" };
    }
    this.#live.set(id, live);
    try {
      const status = await this.#status(id);
      return { state: status === "paused" ? "paused" : status === "created" ? "created" : "running", pid, conmonPid };
    } catch {
      // It ends just now; its exit file is about to come.
      return { state: "running", pid, conmonPid };
    }
  }

  /**
   * Removes what the runtime keeps of a container, killing what still runs. Safe to repeat. With `cgroupIsGone` no
   * process is left and only files are removed.
   */
  async delete(id: string, bundle: string, cgroupIsGone = false): Promise<void> {
    this.#abandon(id);
    const live = this.#live.get(id);
    live?.watch?.close();
    this.#live.delete(id);
    const state = join(this.#state, id);
    if (existsSync(state)) {
      const isOver = this.isCrun && cgroupIsGone && statusOf(state) === "stopped";
      if (!isOver) {
        const options = { timeoutMs: 30_000, okStatus: [0, 1], mountNamespace: this.#mountNamespace };
        await run(this.#command("delete", "--force", id), options);
      }
      await removeFolder(state);
    }
    await monitorsEnded(bundle);
    await Promise.allSettled(this.#execs.get(id) ?? []);
    rmSync(join(this.#exits, id), { force: true });
    await removeFolder(bundle);
  }

  /** Runs a command in a container with its streams connected. Throws `not-found` or `forbidden` when it cannot be run. */
  async exec(options: ExecOptions): Promise<ExecSession> {
    const bundle = join(options.containerBundle, `exec-${options.execId}`);
    expectCgroupMove();
    mkdirSync(join(bundle, "exits"), { recursive: true, mode: 0o700 });
    const spec = join(bundle, "process.json");
    writeFileSync(spec, JSON.stringify(options.process), { mode: 0o600 });
    const argv = this.#conmonArguments(options.containerId, options.execId, bundle);
    argv.push("-e", "--exec-attach", "--exec-process-spec", spec, "--exit-dir", join(bundle, "exits"), "-l", "none");
    if (options.process.terminal) argv.push("-t");
    if (options.stdin) argv.push("-i");
    const startPipe = makePipe();
    const attachPipe = makePipe();
    const ready = new Socket({ fd: attachPipe.readEnd, readable: true, writable: false });
    const go = new Socket({ fd: startPipe.writeEnd, readable: false, writable: true });
    go.on("error", () => {});
    let streams: AttachedStreams | undefined;
    const attached = (async () => {
      go.write("\0");
      await firstLine(ready);
      try {
        streams = attachStreams(join(bundle, "attach"));
        go.write("\0");
      } catch (error) {
        // Conmon waits for the second byte: the end of the pipe lets it give up.
        go.destroy();
        throw error;
      }
    })();
    attached.catch(() => {});
    try {
      const { pid, sync } = await this.#runConmon(
        argv,
        { _OCI_STARTPIPE: "4", _OCI_ATTACHPIPE: "5" },
        { stdio: [startPipe.readEnd, attachPipe.writeEnd], program: options.process.args[0] },
      );
      await attached;
      return {
        pid,
        streams: streams as unknown as AttachedStreams,
        exited: this.#rememberExec(options.containerId, this.#execExit(options.containerId, bundle, sync)),
        resize: (height, width) => this.#control(bundle, `${resizeMessage} ${height} ${width}\n`),
      };
    } catch (error) {
      (streams as AttachedStreams | undefined)?.close();
      await removeFolder(bundle);
      throw error;
    } finally {
      go.destroy();
      ready.destroy();
    }
  }

  /** So that the container's bundle stays until the exit is read. */
  #rememberExec<T>(containerId: string, exited: Promise<T>): Promise<T> {
    let all = this.#execs.get(containerId);
    if (all === undefined) this.#execs.set(containerId, (all = new Set()));
    const known = all;
    const forget = (): void => {
      known.delete(exited);
      if (known.size === 0 && this.#execs.get(containerId) === known) this.#execs.delete(containerId);
    };
    known.add(exited);
    exited.then(forget, forget);
    return exited;
  }

  async #execExit(containerId: string, bundle: string, sync: Socket): Promise<{ code: number }> {
    const conmonPid = Number((await readSoon(join(bundle, "conmon.pid"))) ?? 0);
    const watch = watchProcess(conmonPid);
    sync.resume();
    await watch.ended;
    watch.close();
    sync.destroy();
    const code = await readSoon(join(bundle, "exits", containerId), 20);
    await removeFolder(bundle);
    // Without an exit file conmon, or the whole container, was killed under it.
    return { code: code === undefined ? 137 : Number(code) };
  }

  /** Runs a command to its end without conmon and collects its output: for probes and health checks. */
  async execSync(
    containerId: string,
    process: ExecOptions["process"],
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<{ code: number; stdout: Buffer; stderr: Buffer }> {
    const live = this.#known(containerId);
    const spec = join(live.bundle, `exec-sync-${randomHex(8)}.json`);
    const pidFile = `${spec}.pid`;
    await writeFile(spec, JSON.stringify({ ...process, terminal: false }), { mode: 0o600 });
    const argv = this.#command("exec", "--process", spec, "--pid-file", pidFile, containerId);
    const kill = (): void => {
      const watch = watchProcess(Number(readKept(pidFile) ?? 0));
      watch.signal("SIGKILL");
      watch.close();
    };
    let isLate = false;
    let hasEnded = false;
    // First the command alone: its parent, the runtime, then takes it in, and no dead process stays in the container.
    const timer = setTimeout(() => {
      isLate = true;
      kill();
    }, options.timeoutMs);
    try {
      const { status, stdout, stderr } = await run(argv, {
        timeoutMs: Math.min(options.timeoutMs + killGraceMs, longestTimer),
        mountNamespace: this.#mountNamespace,
        stdoutLimit: 16 << 20,
        okStatus: Array.from({ length: 256 }, (_, code) => code),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      hasEnded = true;
      if (isLate) {
        throw new GantryError(
          "timeout",
          `command ${JSON.stringify(process.args.join(" "))} timed out after ${options.timeoutMs} ms`,
        );
      }
      return { code: status, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) };
    } catch (error) {
      // The runtime was killed; what it started in the container must not live on.
      if (!hasEnded) kill();
      throw error;
    } finally {
      takeBackNull();
      clearTimeout(timer);
      await Promise.all([rm(spec, { force: true }), rm(pidFile, { force: true })]);
    }
  }

  /** Stops watching; containers go on. */
  stop(): void {
    for (const live of this.#live.values()) live.watch?.close();
    for (const id of this.#waiting.keys()) this.#abandon(id);
  }
}

/** True while the container's own first process lives, and not another one that got its number. */
function isOurs({ bundle, pid }: Pick<Live, "bundle" | "pid">): boolean {
  const now = processStart(pid);
  if (now === undefined) return false;
  const kept = readKept(join(bundle, startTimeFile));
  return kept === undefined || Number(kept) === now;
}

/**
 * crun 1.8.1, for one, makes a container's user the owner of its stdin, and that is this machine's own /dev/null unless
 * somebody writes to it: the user could then take it away from everybody. Called before the program starts, where
 * that can be.
 */
function takeBackNull(): void {
  const { uid, gid, mode } = statSync("/dev/null");
  if (uid !== 0 || gid !== 0) chownSync("/dev/null", 0, 0);
  if ((mode & 0o777) !== 0o666) chmodSync("/dev/null", 0o666);
}
/** The first line that comes, or undefined when the other side closes before. */
function firstLine(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = "";
    const done = (line: string | undefined): void => {
      socket.removeAllListeners("data");
      socket.pause();
      resolve(line);
    };
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const end = text.indexOf("\n");
      if (end >= 0) done(text.slice(0, end));
    });
    socket.once("error", () => done(undefined));
    socket.once("close", () => done(text === "" ? undefined : text));
    socket.once("end", () => done(text === "" ? undefined : text));
  });
}
