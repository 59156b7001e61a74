import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const top = "/sys/fs/cgroup";

/** 2 where the unified hierarchy is the only one. */
export const cgroupVersion: 1 | 2 = existsSync(join(top, "cgroup.controllers")) ? 2 : 1;

const v1Controllers = [
  "cpu",
  "cpuacct",
  "cpuset",
  "memory",
  "devices",
  "freezer",
  "blkio",
  "pids",
  "systemd",
  "net_cls",
  "net_prio",
  "perf_event",
  "hugetlb",
] as const;
export type Controller = (typeof v1Controllers)[number];

/** The folder of a cgroup in one controller's hierarchy; all the same on v2. `path` is relative to the root. */
export function cgroupFolder(path: string, controller: Controller): string {
  return cgroupVersion === 2 ? join(top, path) : join(top, controller, path);
}

/** The folders of a cgroup in every hierarchy that has it. */
export function cgroupFolders(path: string): string[] {
  if (cgroupVersion === 2) return existsSync(join(top, path)) ? [join(top, path)] : [];
  // Beside v1 a v2 hierarchy may be mounted, in which runc makes folders too.
  return [...v1Controllers, "unified"]
    .map((hierarchy) => join(top, hierarchy, path))
    .filter((folder) => existsSync(folder));
}

function read(folder: string, file: string): string | undefined {
  try {
    return readFileSync(join(folder, file), "utf8").trim();
  } catch {
    return undefined;
  }
}

function readNumber(folder: string, file: string): number {
  const text = read(folder, file);
  return text === undefined || text === "max" ? 0 : Number(text);
}

/** `key value` lines. */
export function readTable(folder: string, file: string): Record<string, number> {
  const out: Record<string, number> = {};
  for (const line of (read(folder, file) ?? "").split("\n")) {
    const [key, value] = line.split(" ");
    if (key !== undefined && value !== undefined) out[key] = Number(value);
  }
  return out;
}

export interface CgroupReading {
  /** Nanoseconds. */
  cpu: {
    total: number;
    kernel: number;
    user: number;
    perCpu: number[];
    periods: number;
    throttled: number;
    throttledTime: number;
  };
  /** Bytes. `limit` is Infinity when there is none. */
  memory: { usage: number; max: number; limit: number; failures: number; stats: Record<string, number> };
  pids: { current: number; limit: number };
  blkio: Record<string, { major: number; minor: number; op: string; value: number }[] | null>;
}

/** The counters of a cgroup; zeros where a controller is not there. */
export function readCgroup(path: string): CgroupReading {
  return cgroupVersion === 2 ? readV2(cgroupFolder(path, "memory")) : readV1(path);
}

/** The kernel's word for "no limit" is near 2^63 on v1. */
const unlimited = 2 ** 62;

function readV1(path: string): CgroupReading {
  const cpuacct = cgroupFolder(path, "cpuacct");
  const cpu = readTable(cgroupFolder(path, "cpu"), "cpu.stat");
  const memory = cgroupFolder(path, "memory");
  const pids = cgroupFolder(path, "pids");
  const ticks = readTable(cpuacct, "cpuacct.stat");
  const limit = readNumber(memory, "memory.limit_in_bytes");
  return {
    cpu: {
      total: readNumber(cpuacct, "cpuacct.usage"),
      // USER_HZ is 100 everywhere.
      kernel: (ticks["system"] ?? 0) * 1e7,
      user: (ticks["user"] ?? 0) * 1e7,
      perCpu: (read(cpuacct, "cpuacct.usage_percpu") ?? "")
        .split(" ")
        .filter((text) => text !== "")
        .map(Number),
      periods: cpu["nr_periods"] ?? 0,
      throttled: cpu["nr_throttled"] ?? 0,
      throttledTime: cpu["throttled_time"] ?? 0,
    },
    memory: {
      usage: readNumber(memory, "memory.usage_in_bytes"),
      max: readNumber(memory, "memory.max_usage_in_bytes"),
      limit: limit === 0 || limit > unlimited ? Number.POSITIVE_INFINITY : limit,
      failures: readNumber(memory, "memory.failcnt"),
      stats: readTable(memory, "memory.stat"),
    },
    pids: { current: readNumber(pids, "pids.current"), limit: readNumber(pids, "pids.max") },
    blkio: readBlkioV1(cgroupFolder(path, "blkio")),
  };
}

function readBlkioV1(folder: string): CgroupReading["blkio"] {
  const parse = (file: string): { major: number; minor: number; op: string; value: number }[] =>
    (read(folder, file) ?? "")
      .split("\n")
      .map((line) => /^(\d+):(\d+) (\w+) (\d+)$/.exec(line))
      .filter((match) => match !== null)
      .map((match) => ({
        major: Number(match[1]),
        minor: Number(match[2]),
        op: match[3] as string,
        value: Number(match[4]),
      }));
  return {
    io_service_bytes_recursive: parse("blkio.throttle.io_service_bytes_recursive"),
    io_serviced_recursive: parse("blkio.throttle.io_serviced_recursive"),
    io_queue_recursive: [],
    io_service_time_recursive: [],
    io_wait_time_recursive: [],
    io_merged_recursive: [],
    io_time_recursive: [],
    sectors_recursive: [],
  };
}

function readV2(folder: string): CgroupReading {
  const cpu = readTable(folder, "cpu.stat");
  const events = readTable(folder, "memory.events");
  const limit = readNumber(folder, "memory.max");
  const io: { major: number; minor: number; op: string; value: number }[] = [];
  for (const line of (read(folder, "io.stat") ?? "").split("\n")) {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    for (const pair of (match?.[3] ?? "").split(" ")) {
      const [key, value] = pair.split("=");
      if (key === "rbytes" || key === "wbytes")
        io.push({
          major: Number(match?.[1]),
          minor: Number(match?.[2]),
          op: key === "rbytes" ? "read" : "write",
          value: Number(value),
        });
    }
  }
  const none = null;
  return {
    cpu: {
      total: (cpu["usage_usec"] ?? 0) * 1000,
      kernel: (cpu["system_usec"] ?? 0) * 1000,
      user: (cpu["user_usec"] ?? 0) * 1000,
      perCpu: [],
      periods: cpu["nr_periods"] ?? 0,
      throttled: cpu["nr_throttled"] ?? 0,
      throttledTime: (cpu["throttled_usec"] ?? 0) * 1000,
    },
    memory: {
      usage: readNumber(folder, "memory.current"),
      max: readNumber(folder, "memory.peak"),
      limit: limit === 0 ? Number.POSITIVE_INFINITY : limit,
      failures: events["max"] ?? 0,
      stats: readTable(folder, "memory.stat"),
    },
    pids: { current: readNumber(folder, "pids.current"), limit: readNumber(folder, "pids.max") },
    blkio: {
      io_service_bytes_recursive: io,
      io_serviced_recursive: none,
      io_queue_recursive: none,
      io_service_time_recursive: none,
      io_wait_time_recursive: none,
      io_merged_recursive: none,
      io_time_recursive: none,
      sectors_recursive: none,
    },
  };
}

/** Bytes that cannot be given back without swapping: usage without the inactive page cache (kubelet, "working set"). */
export function workingSet(reading: CgroupReading): number {
  const { usage, stats } = reading.memory;
  return Math.max(0, usage - (stats["total_inactive_file"] ?? stats["inactive_file"] ?? 0));
}

/**
 * Lets everything in a cgroup and in those below it go on that was paused. On v1 a frozen process does not even die
 * of SIGKILL until then. Quiet where nothing is paused, or nothing is there.
 */
export function thawAll(path: string): void {
  const [file, word] = cgroupVersion === 2 ? ["cgroup.freeze", "0"] : ["freezer.state", "THAWED"];
  const walk = (folder: string): void => {
    try {
      writeFileSync(join(folder, file as string), word as string);
      for (const entry of readdirSync(folder, { withFileTypes: true }))
        if (entry.isDirectory()) walk(join(folder, entry.name));
    } catch {
      // It is gone, or goes meanwhile: others take groups away, too.
    }
  };
  // From the outside in: what is within a frozen group stays frozen.
  walk(cgroupFolder(path, "freezer"));
}

/** The processes of a cgroup and of those below it. */
export function cgroupProcesses(path: string): number[] {
  const pids = new Set<number>();
  const walk = (folder: string): void => {
    for (const text of (read(folder, "cgroup.procs") ?? "").split("\n")) if (text !== "") pids.add(Number(text));
    let entries: { name: string; isDirectory(): boolean }[];
    try {
      entries = readdirSync(folder, { withFileTypes: true });
    } catch {
      return;
    }
    for (const entry of entries) if (entry.isDirectory()) walk(join(folder, entry.name));
  };
  const folders = cgroupFolders(path);
  if (folders[0] !== undefined)
    walk(
      cgroupVersion === 1 ? (folders.find((folder) => folder.startsWith(join(top, "pids"))) ?? folders[0]) : folders[0],
    );
  return [...pids];
}

/** Writes a limit. Throws the kernel's error. */
export function writeCgroup(path: string, controller: Controller, file: string, value: string | number): void {
  writeFileSync(join(cgroupFolder(path, controller), file), String(value));
}

export function readCgroupFile(path: string, controller: Controller, file: string): string | undefined {
  return read(cgroupFolder(path, controller), file);
}

/** Makes a cgroup in every hierarchy; in version 2 with all controllers that there are. */
export function makeCgroup(path: string): void {
  if (cgroupVersion === 2) makeV2(path);
  else
    for (const controller of v1Controllers)
      if (existsSync(join(top, controller))) mkdirSync(join(top, controller, path), { recursive: true });
}

function makeV2(path: string): void {
  let folder = top;
  for (const name of path.split("/").filter((part) => part !== "")) {
    // A group has the controllers that the one above it hands down (cgroup-v2.rst, "Enabling and Disabling").
    const controllers = (read(folder, "cgroup.controllers") ?? "").split(" ").filter((word) => word !== "");
    writeFileSync(join(folder, "cgroup.subtree_control"), controllers.map((word) => `+${word}`).join(" "));
    folder = join(folder, name);
    mkdirSync(folder, { recursive: true });
  }
}

/** Removes a cgroup and those below it from every hierarchy. Those that still have processes stay; false then. */
export function removeCgroup(path: string): boolean {
  let clean = true;
  const remove = (folder: string): void => {
    try {
      for (const entry of readdirSync(folder, { withFileTypes: true }))
        if (entry.isDirectory()) remove(join(folder, entry.name));
      rmdirSync(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") clean = false;
    }
  };
  for (const folder of cgroupFolders(path)) remove(folder);
  return clean;
}
