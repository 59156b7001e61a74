import { createInterface } from "node:readline/promises";
import { GantryError } from "#base/errors.ts";
import { stopDaemon } from "#daemon/daemon-process.ts";
import { removeInstance, loadInstance } from "#daemon/instance-store.ts";
import { requireRoot } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";
import { unmergeUserKubeconfig } from "../kubeconfig-files.ts";
import { Progress } from "../progress.ts";

interface ResetOptions extends InstanceOptions {
  yes?: boolean;
}

async function confirmed(name: string, root: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new GantryError(
      "invalid",
      `This removes the instance "${name}" and all data in ${root}, and there is no terminal to ask on. Say --yes to go on.`,
    );
  }
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await prompt.question(
      `This removes the instance "${name}": its containers, images, volumes, cluster and all data in ${root}. Go on? [y/N] `,
    );
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    prompt.close();
  }
}

/** `gantry reset`: ends every process of the instance and removes every trace of it. Safe to repeat. */
export async function reset(options: ResetOptions): Promise<void> {
  requireRoot("reset");
  const config = loadInstance(options.name, options.root);
  if (config === undefined) {
    process.stdout.write(`There is no Gantry instance "${options.name}"; nothing was changed.\n`);
    return;
  }
  if (options.yes !== true && !(await confirmed(config.name, config.root))) {
    process.stdout.write("Nothing was changed.\n");
    process.exitCode = 1;
    return;
  }
  const progress = new Progress();
  const { removeTraces } = await import("#daemon/remove-traces.ts");
  await progress.step("stop the daemons", async () => {
    await stopDaemon(config, "control", 5_000);
    await stopDaemon(config, "node", 5_000);
  });
  await progress.step("end containers, unmount, remove networks", () => removeTraces(config));
  await progress.step("remove data", async () => {
    // On a full disk nothing can be written before something is removed.
    const unmerged = await unmergeUserKubeconfig(config).then(
      () => true,
      () => false,
    );
    removeInstance(config);
    if (!unmerged) await unmergeUserKubeconfig(config);
  });
  process.stdout.write(`Gantry "${config.name}" is gone.\n`);
}
