import { readFileSync, readdirSync } from "node:fs";

/** What /proc/<pid>/stat tells (proc(5)). Times are in clock ticks of 10 ms. */
export interface ProcessStat {
  pid: number;
  command: string;
  /** R, S, D, Z (zombie), T… */
  state: string;
  parentPid: number;
  processGroup: number;
  session: number;
  userTicks: number;
  systemTicks: number;
  /** Ticks since boot: together with the pid it names one process for ever. */
  startTime: number;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Undefined when there is no such process. */
export function processStat(pid: number): ProcessStat | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The command is in parentheses and may have parentheses and blanks in it.
  const end = text.lastIndexOf(")");
  const rest = text.slice(end + 2).split(" ");
  return {
    pid,
    command: text.slice(text.indexOf("(") + 1, end),
    state: rest[0] ?? "",
    parentPid: Number(rest[1]),
    processGroup: Number(rest[2]),
    session: Number(rest[3]),
    userTicks: Number(rest[11]),
    systemTicks: Number(rest[12]),
    startTime: Number(rest[19]),
  };
}

/** The start time that tells a process from a later one with the same pid; undefined when it is gone or a zombie. */
export function processStartTime(pid: number): number | undefined {
  const stat = processStat(pid);
  return stat === undefined || stat.state === "Z" || stat.state === "X" ? undefined : stat.startTime;
}

/** The arguments of a process; empty for a kernel thread or a zombie. Undefined when there is no such process. */
export function processArguments(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/cmdline`);
  if (text === undefined) return undefined;
  return text === "" ? [] : text.replace(/\0$/, "").split("\0");
}

/** The fields of /proc/<pid>/status by name, untrimmed units included (`VmRSS: "1234 kB"`). */
export function processStatus(pid: number): Record<string, string> | undefined {
  const text = read(`/proc/${pid}/status`);
  if (text === undefined) return undefined;
  const fields: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trim();
  }
  return fields;
}

/** Resident bytes of a process, 0 when it is gone. */
export function residentBytes(pid: number): number {
  const pages = read(`/proc/${pid}/statm`)?.split(" ")[1];
  return pages === undefined ? 0 : Number(pages) * 4096;
}

/** The pids of a process's children, those of all its threads. */
export function processChildren(pid: number): number[] {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
  return threads.flatMap((thread) =>
    (read(`/proc/${pid}/task/${thread}/children`) ?? "").split(" ").filter((word) => word !== "").map(Number),
  );
}

/** All pids, ascending. */
export function allProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

/** The pid inside the innermost pid namespace of each process (`NSpid`), or the pid itself. */
export function innermostPid(pid: number): number {
  const numbers = processStatus(pid)?.["NSpid"]?.split(/\s+/).map(Number) ?? [];
  return numbers[numbers.length - 1] ?? pid;
}

let bootTime: number | undefined;

/** When a process started, in milliseconds since the epoch. */
export function startedAt(stat: ProcessStat): number {
  bootTime ??= Number(/^btime (\d+)$/m.exec(read("/proc/stat") ?? "")?.[1] ?? 0) * 1000;
  return bootTime + stat.startTime * 10;
}

let boot: string | undefined;

/** Changes with each boot: what was pinned or running under another id is gone. */
export function bootId(): string {
  boot ??= (read("/proc/sys/kernel/random/boot_id") ?? "").trim();
  return boot;
}
