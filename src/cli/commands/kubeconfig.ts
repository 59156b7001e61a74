import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import { instancePaths } from "#daemon/instance-paths.ts";
import { requireInstance } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";

/** Prints the administrator's kubeconfig. */
export function kubeconfig(options: InstanceOptions): void {
  const path = instancePaths(requireInstance(options)).kubeconfig;
  try {
    process.stdout.write(readFileSync(path, "utf8"));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EACCES")
      throw new GantryError("forbidden", `${path} is readable for root only.`, { cause });
    throw new GantryError("not-found", `${path} is not there yet: run \`gantry up\` first.`, { cause });
  }
}
