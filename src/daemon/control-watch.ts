import type { Clock } from "#base/clock.ts";
import { errorChain } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { watchProcess } from "#host/pidfd.ts";
import { type DaemonProgram, daemonPid, lastDaemonPid, startDaemon } from "./daemon-process.ts";
import type { InstanceConfig } from "./instance-config.ts";

export interface ControlWatchParts {
  log: Logger;
  clock: Clock;
  /** Starts the control process. Default: with the program and environment that this process runs with. */
  start?: () => void;
}

const lookEveryMs = 1_000;
const firstDelayMs = 1_000;
const longestDelayMs = 60_000;
/** A process that lived for so long starts anew after the first delay again. */
const stableMs = 60_000;

function ownProgram(): DaemonProgram {
  return {
    node: process.execPath,
    nodeOptions: process.execArgv,
    script: process.argv[1] as string,
    env: process.env as Record<string, string>,
  };
}

/**
 * Starts the control process anew when it has died: the node process is the one that systemd, or `gantry up`, looks
 * after. A control process that was asked to stop takes its pid file with it, and stays away.
 */
export async function watchControl(
  config: InstanceConfig,
  { log, clock, start = () => void startDaemon(config, "control", ownProgram()) }: ControlWatchParts,
  signal: AbortSignal,
): Promise<void> {
  let delay = firstDelayMs;
  while (!signal.aborted) {
    const pid = daemonPid(config, "control");
    if (pid !== undefined) {
      const since = clock.monotonic();
      await ended(pid, signal);
      if (clock.monotonic() - since > stableMs) delay = firstDelayMs;
      continue;
    }
    const died = lastDaemonPid(config, "control");
    await clock.sleep(died === undefined ? lookEveryMs : delay, signal);
    // `gantry down` removes the file of a process that it had to kill, and `gantry up` may be faster than we are.
    if (died === undefined || lastDaemonPid(config, "control") !== died) continue;
    log.warn("The control process has ended without being asked to, and is started again.", { died, afterMs: delay });
    delay = Math.min(delay * 2, longestDelayMs);
    try {
      start();
    } catch (error) {
      log.error("The control process could not be started.", { error: errorChain(error) });
    }
  }
}

/** Resolves when the process has ended, or on abort. */
async function ended(pid: number, signal: AbortSignal): Promise<void> {
  const watched = watchProcess(pid);
  watched.unref();
  await Promise.race([watched.ended, aborted(signal)]);
  watched.close();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
