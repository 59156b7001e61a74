import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { systemClock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { daemonPid } from "#daemon/daemon-process.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { type DaemonName, daemonNames, instancePaths } from "#daemon/instance-paths.ts";

/** The last lines of a daemon's log, for the error of a start that failed. */
export function lastLogLines(config: InstanceConfig, name: DaemonName, lines = 12): string {
  try {
    const fd = openSync(instancePaths(config).log(name), "r");
    try {
      const { size } = fstatSync(fd);
      const buffer = Buffer.alloc(Math.min(size, 16_384));
      readSync(fd, buffer, 0, buffer.length, size - buffer.length);
      return buffer.toString().trimEnd().split("\n").slice(-lines).join("\n");
    } finally {
      closeSync(fd);
    }
  } catch {
    return "(no log)";
  }
}

/**
 * Asks again and again until `check` says yes. Fails early, with the log, when a daemon has died.
 * `pids` are the processes that must live.
 */
export async function waitUntil(
  config: InstanceConfig,
  what: string,
  timeoutSeconds: number,
  pids: Partial<Record<DaemonName, number>>,
  check: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + timeoutSeconds * 1000;
  let pause = 5;
  for (;;) {
    if (await check()) return;
    for (const name of daemonNames) {
      const pid = pids[name];
      if (pid !== undefined && !isAlive(pid)) {
        // Two that start it at once, such as the node process and `gantry up`: one of theirs runs.
        const other = daemonPid(config, name);
        if (other !== undefined) {
          pids[name] = other;
          continue;
        }
        throw new GantryError(
          "unavailable",
          `The ${name} process ended while Gantry waited for ${what}. The end of its log (\`gantry logs ${name}\`):\n${lastLogLines(config, name)}`,
        );
      }
    }
    if (performance.now() > deadline) {
      throw new GantryError(
        "timeout",
        `${what} was not ready within ${timeoutSeconds} s. \`gantry logs\` says why; --timeout waits longer.`,
      );
    }
    await systemClock.sleep(pause);
    pause = Math.min(pause * 1.3, 100);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The daemons that run now. */
export function runningDaemons(config: InstanceConfig): Partial<Record<DaemonName, number>> {
  const out: Partial<Record<DaemonName, number>> = {};
  for (const name of daemonNames) {
    const pid = daemonPid(config, name);
    if (pid !== undefined) out[name] = pid;
  }
  return out;
}
