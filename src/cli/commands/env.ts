import { requireInstance } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";
import { instancePaths } from "#daemon/instance-paths.ts";

/** One argument of a POSIX shell. */
function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Prints lines for `eval`. */
export function env(options: InstanceOptions): void {
  const config = requireInstance(options);
  process.stdout.write(`export DOCKER_HOST=${quote(`unix://${config.dockerSocket}`)}\n`);
  process.stdout.write(`export KUBECONFIG=${quote(instancePaths(config).kubeconfig)}\n`);
}
