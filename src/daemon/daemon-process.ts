import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { type Clock, systemClock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { writeFileAtomicSync } from "#host/files.ts";
import { start } from "#host/spawn.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { type DaemonName, instancePaths, mainPidFile, runningConfigFile } from "./instance-paths.ts";

interface PidFile {
  pid: number;
  /** Clock ticks since boot: tells a process from a later one with the same number. */
  startTime: string;
}

/** Field 22 of /proc/PID/stat (proc(5)), or undefined when there is no such process or it is a zombie. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command in parentheses and may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function readPidFile(config: InstanceConfig, name: DaemonName): PidFile | undefined {
  try {
    return JSON.parse(readFileSync(instancePaths(config).pid(name), "utf8")) as PidFile;
  } catch {
    return undefined;
  }
}

/** The pid of a running daemon, or undefined. */
export function daemonPid(config: InstanceConfig, name: DaemonName): number | undefined {
  const file = readPidFile(config, name);
  return file !== undefined && startTimeOf(file.pid) === file.startTime ? file.pid : undefined;
}

/** The pid of the daemon that ran last and was not stopped in an orderly way, dead or alive. */
export function lastDaemonPid(config: InstanceConfig, name: DaemonName): number | undefined {
  return readPidFile(config, name)?.pid;
}

/** Called by the daemon itself, first of all. Throws `already-exists` when another one runs. */
export function writePidFile(config: InstanceConfig, name: DaemonName): void {
  const running = daemonPid(config, name);
  if (running !== undefined && running !== process.pid) {
    throw new GantryError(
      "already-exists",
      `The ${name} process of the instance "${config.name}" runs already, as process ${running}.`,
    );
  }
  mkdirSync(config.runDir, { recursive: true, mode: 0o711 });
  const file: PidFile = { pid: process.pid, startTime: startTimeOf(process.pid) as string };
  writeFileAtomicSync(instancePaths(config).pid(name), JSON.stringify(file));
  writeFileAtomicSync(runningConfigFile(config), `${JSON.stringify(config, null, 2)}\n`);
  if (name === "node") writeFileAtomicSync(mainPidFile(config), `${process.pid}\n`);
}

export function removePidFile(config: InstanceConfig, name: DaemonName): void {
  if (daemonPid(config, name) !== process.pid) return;
  rmSync(instancePaths(config).pid(name), { force: true });
  if (name === "node") rmSync(mainPidFile(config), { force: true });
}

export interface DaemonProgram {
  /** Node's own path. */
  node: string;
  nodeOptions: readonly string[];
  /** The bundle, or main.ts in development. */
  script: string;
  env: Readonly<Record<string, string>>;
}

/** Starts a daemon detached from us and our terminal; its output goes to its log file. */
export function startDaemon(config: InstanceConfig, name: DaemonName, program: DaemonProgram): number {
  const paths = instancePaths(config);
  mkdirSync(dirname(paths.log(name)), { recursive: true });
  const log = openSync(paths.log(name), "a", 0o640);
  try {
    const child = start({
      argv: [program.node, ...program.nodeOptions, program.script, name, "--config", paths.config],
      env: program.env,
      cwd: "/",
      stdio: ["null", log, log],
      newSession: true,
    });
    child.unref();
    return child.pid;
  } finally {
    closeSync(log);
  }
}

/** SIGTERM, then SIGKILL after `deadlineMs`. Resolves when the process is gone. */
export async function stopDaemon(
  config: InstanceConfig,
  name: DaemonName,
  deadlineMs = 20_000,
  clock: Clock = systemClock,
): Promise<void> {
  const pid = daemonPid(config, name);
  if (pid === undefined) return;
  const startTime = startTimeOf(pid);
  const alive = (): boolean => startTimeOf(pid) === startTime;
  process.kill(pid, "SIGTERM");
  const deadline = clock.monotonic() + deadlineMs;
  let killed = false;
  while (alive()) {
    if (clock.monotonic() > deadline && !killed) {
      process.kill(pid, "SIGKILL");
      killed = true;
    }
    await clock.sleep(10);
  }
  rmSync(instancePaths(config).pid(name), { force: true });
}

/** The name of the executable that a process runs, or "" when it is gone. */
export function executableOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return "";
  }
}
