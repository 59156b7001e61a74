import { existsSync } from "node:fs";
import { run } from "./run.ts";

/** True while systemd takes the machine down, or starts it anew (systemctl(1), "is-system-running"). */
export async function machineIsStopping(): Promise<boolean> {
  // sd_booted(3)
  if (!existsSync("/run/systemd/system")) return false;
  try {
    const { stdout } = await run(["systemctl", "is-system-running"], { okStatus: [0, 1], timeoutMs: 5_000 });
    return stdout.trim() === "stopping";
  } catch {
    return false;
  }
}
