import { GantryError } from "#base/errors.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { loadInstance } from "#daemon/instance-store.ts";
import type { InstanceOptions } from "./instance-options.ts";

/** The instance that the options name. Throws `not-found`, with what to do. */
export function requireInstance(options: InstanceOptions): InstanceConfig {
  const config = loadInstance(options.name, options.root);
  if (config !== undefined) return config;
  const name = options.name === "default" ? "" : ` --name ${options.name}`;
  throw new GantryError(
    "not-found",
    `There is no Gantry instance "${options.name}" on this machine${options.root === undefined ? "" : ` in ${options.root}`}. Make it with \`gantry up${name}\`.`,
  );
}

/** Throws `forbidden` for anybody but root: the daemons, mounts and networks are root's. */
export function requireRoot(command: string): void {
  if (process.getuid?.() === 0) return;
  throw new GantryError("forbidden", `\`gantry ${command}\` needs root. Run: sudo gantry ${command}`);
}
