import { daemonPid, stopDaemon } from "#daemon/daemon-process.ts";
import { machineIsStopping } from "#host/systemd.ts";
import { stopContainers } from "../node-admin.ts";
import { requireInstance, requireRoot } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";
import { Progress } from "../progress.ts";
import { runningDaemons } from "../readiness.ts";

interface DownOptions extends InstanceOptions {
  timeout?: number;
  keepContainers?: boolean;
}

/** `gantry down`: the control process first, so that nothing is restarted; then containers; then the node process. */
export async function down(options: DownOptions): Promise<void> {
  requireRoot("down");
  const config = requireInstance(options);
  if (Object.keys(runningDaemons(config)).length === 0) {
    process.stdout.write(`Gantry "${config.name}" is down already; nothing was changed.\n`);
    return;
  }
  const progress = new Progress();
  if (daemonPid(config, "control") !== undefined)
    await progress.step("stop the control process", () => stopDaemon(config, "control"));
  if (daemonPid(config, "node") !== undefined) {
    // What is kept over a stop of Gantry would be killed with the machine, after a minute and a half of waiting.
    if (options.keepContainers !== true || (await machineIsStopping()))
      await progress.step("stop containers", () => stopContainers(config, options.timeout));
    await progress.step("stop the node process", () => stopDaemon(config, "node"));
  }
  process.stdout.write(`Gantry "${config.name}" is down; its data stays in ${config.root}.\n`);
}
