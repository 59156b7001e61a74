import type { RestartPolicy } from "#api/docker/container-types.ts";

const firstDelayMs = 100;
const maxDelayMs = 60_000;
/** A container that ran so long starts with a fresh back-off. */
const steadyMs = 10_000;

/**
 * True for a container that does not run and is started with the daemon (moby, restartmanager: what it says of the
 * last end, whoever asked for it).
 */
export function isStartedAtBoot(
  policy: RestartPolicy | undefined,
  facts: { exitCode: number; stoppedByUser: boolean; restartCount: number; hasRun: boolean },
): boolean {
  if (!facts.hasRun) return false;
  if (policy?.Name === "always") return true;
  if (policy?.Name === "unless-stopped") return !facts.stoppedByUser;
  if (policy?.Name !== "on-failure" || facts.exitCode === 0) return false;
  const most = policy.MaximumRetryCount ?? 0;
  return most === 0 || facts.restartCount < most;
}

/**
 * How long to wait before a container that ended is started again, or undefined when it stays down (moby,
 * restartmanager): 100 ms, doubled each time up to a minute.
 */
export function nextRestart(
  policy: RestartPolicy | undefined,
  facts: { exitCode: number; stoppedByUser: boolean; restartCount: number; ranMs: number; lastDelayMs: number },
): number | undefined {
  if (facts.stoppedByUser) return undefined;
  const name = policy?.Name ?? "";
  if (name === "on-failure") {
    const most = policy?.MaximumRetryCount ?? 0;
    if (facts.exitCode === 0 || (most > 0 && facts.restartCount >= most)) return undefined;
  } else if (name !== "always" && name !== "unless-stopped") {
    return undefined;
  }
  if (facts.lastDelayMs === 0 || facts.ranMs >= steadyMs) return firstDelayMs;
  return Math.min(facts.lastDelayMs * 2, maxDelayMs);
}
