import { readFileSync } from "node:fs";
import type { TopResult } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { CommandError, run } from "#host/run.ts";

/**
 * `docker top`: ps of this machine with the user's arguments, of which the container's processes are shown
 * (moby, daemon/top_unix.go). Throws docker's sentences.
 */
export async function processTable(pids: readonly number[], psArguments: string): Promise<TopResult> {
  if (/\s(-?f)?\s*--?sort|[;&|`$<>]/.test(psArguments) && /[;&|`$<>]/.test(psArguments)) {
    throw new GantryError("invalid", `invalid ps arguments: ${psArguments}`);
  }
  const words = psArguments.split(/\s+/).filter((word) => word !== "");
  let output: string;
  try {
    output = (await run(["ps", ...(words.length === 0 ? ["-ef"] : words)], { timeoutMs: 10_000 })).stdout;
  } catch (error) {
    if (error instanceof CommandError)
      throw new GantryError("internal", `ps: ${error.stderr.trim().split("\n", 1)[0]}`, { cause: error });
    if (error instanceof GantryError && error.code === "not-found") return ownTable(pids);
    throw error;
  }
  const lines = output.split("\n");
  const titles = (lines[0] ?? "").trim().split(/\s+/);
  const pidColumn = titles.indexOf("PID");
  if (pidColumn < 0) throw new GantryError("internal", "Couldn't find PID field in ps output");
  const wanted = new Set(pids);
  const rows = lines.slice(1).flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    if (!wanted.has(Number(fields[pidColumn]))) return [];
    const row = fields.slice(0, titles.length - 1);
    return [[...row, fields.slice(titles.length - 1).join(" ")]];
  });
  return { Titles: titles, Processes: rows };
}

/** Where the machine has no ps: the columns of `ps -ef`, from /proc. */
function ownTable(pids: readonly number[]): TopResult {
  const rows = pids.flatMap((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? "?";
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      const seconds = Math.trunc((Number(fields[11]) + Number(fields[12])) / 100);
      const time = [seconds / 3600, (seconds / 60) % 60, seconds % 60]
        .map((part) => String(Math.trunc(part)).padStart(2, "0"))
        .join(":");
      return [[uid, String(pid), fields[1] ?? "0", "0", "?", "?", time, command]];
    } catch {
      return [];
    }
  });
  return { Titles: ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], Processes: rows };
}
