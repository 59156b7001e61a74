/** Memory, CPU time and disk writes of processes, from /proc. */
import { readFileSync } from "node:fs";

export interface ProcessUse {
  /** Megabytes (10^6) resident, counting shared pages in full. */
  rss: number;
  /** Megabytes where a page shared by n processes counts 1/n for each. */
  pss: number;
  /** Megabytes that nobody shares and no file backs: the heap. */
  anonymous: number;
  /** Seconds since the start. */
  cpu: number;
  /** Bytes sent to disks since the start. */
  written: number;
}

/** Kernel's USER_HZ, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

function kilobytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
}

export function processUse(pid: number): ProcessUse {
  const smaps = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const io = readFileSync(`/proc/${pid}/io`, "utf8");
  return {
    rss: (kilobytes(smaps, "Rss") * 1024) / 1e6,
    pss: (kilobytes(smaps, "Pss") * 1024) / 1e6,
    anonymous: (kilobytes(smaps, "Anonymous") * 1024) / 1e6,
    cpu: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    written: Number(/^write_bytes: (\d+)$/m.exec(io)?.[1] ?? 0),
  };
}

/** The sum over processes; those that ended count nothing. */
export function usesOf(pids: readonly number[]): ProcessUse {
  const sum: ProcessUse = { rss: 0, pss: 0, anonymous: 0, cpu: 0, written: 0 };
  for (const pid of pids) {
    try {
      const use = processUse(pid);
      for (const key of Object.keys(sum) as (keyof ProcessUse)[]) sum[key] += use[key];
    } catch {
      continue;
    }
  }
  return sum;
}
