import { readFileSync } from "node:fs";

/**
 * When a process started, in clock ticks since boot (proc(5), stat, field 22): with its number it names one process
 * for ever, unlike the number alone. Undefined when there is none, or only its remains wait for the parent.
 */
export function processStart(pid: number): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The program's name stands in parentheses and may hold parentheses and blanks.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : Number(fields[19]);
}
