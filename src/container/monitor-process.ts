import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { watchProcess } from "#host/pidfd.ts";

/** How long a conmon may take to end after its container. */
const graceMs = 2000;

/** A small file's text; undefined when it cannot be read. */
export function readKept(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** True while the conmon that a bundle names lives, and not another process that got its number. */
export function isConmonOf(pid: number, bundle: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`\0${bundle}\0`);
  } catch {
    return false;
  }
}

/**
 * Waits for the conmons of a container and of its execs, whose processes have ended: each writes into the bundle, and
 * the exit file, until it ends itself. One that does not end is killed.
 */
export async function monitorsEnded(bundle: string): Promise<void> {
  const folders = [bundle];
  try {
    for (const name of await readdir(bundle)) if (/^exec-[0-9a-f]+$/.test(name)) folders.push(join(bundle, name));
  } catch {
    return; // There is no bundle.
  }
  await Promise.all(folders.map((folder) => monitorEnded(folder)));
}

async function monitorEnded(bundle: string): Promise<void> {
  const pid = Number(readKept(join(bundle, "conmon.pid")) ?? 0);
  if (!(pid > 0) || !isConmonOf(pid, bundle)) return;
  const watch = watchProcess(pid);
  const timers: NodeJS.Timeout[] = [];
  const after = (ms: number, what: () => void): void => void timers.push(setTimeout(what, ms));
  try {
    await Promise.race([
      watch.ended,
      // Not even a killed process ends while the kernel holds it.
      new Promise<void>((resolve) => {
        after(graceMs, () => watch.signal("SIGKILL"));
        after(2 * graceMs, resolve);
      }),
    ]);
  } finally {
    for (const timer of timers) clearTimeout(timer);
    watch.close();
  }
}
