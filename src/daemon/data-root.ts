import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { GantryError } from "#base/errors.ts";
import { writeFileAtomicSync } from "#host/files.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { instancePaths } from "./instance-paths.ts";

/** Says in a data root outside of the instance's folder whose it is. */
const marker = "gantry-instance.json";

/** Every data root outside of the instance's folder that the instance has had, for `gantry reset`. */
function listFile(config: InstanceConfig): string {
  return join(config.root, "data-roots.json");
}

function ownerOf(folder: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(join(folder, marker), "utf8")) as { root: string }).root;
  } catch {
    return undefined;
  }
}

/** The data roots outside of the instance's folder that are the instance's by their own word. */
export function foreignDataRoots(config: InstanceConfig): string[] {
  try {
    const list = JSON.parse(readFileSync(listFile(config), "utf8")) as string[];
    return list.filter((folder) => ownerOf(folder) === config.root);
  } catch {
    return [];
  }
}

/**
 * The folder that the engine keeps its data in. One that daemon.json names is claimed for the instance: it must be
 * empty or the instance's already, so that nobody's data is mixed up with ours, and removed with it one day.
 */
export function claimDataRoot(config: InstanceConfig, wanted: string | undefined): string {
  const own = instancePaths(config).engine;
  if (wanted === undefined || wanted === own) return own;
  const owner = ownerOf(wanted);
  if (owner === config.root) return wanted;
  if (config.root === wanted || config.root.startsWith(`${wanted}/`) || wanted.startsWith(`${config.root}/`)) {
    throw new GantryError(
      "invalid",
      `data-root: ${wanted} and the instance's folder ${config.root} must not lie in each other`,
    );
  }
  if (owner !== undefined || (existsSync(wanted) && readdirSync(wanted).some((name) => name !== "lost+found"))) {
    throw new GantryError(
      "conflict",
      `data-root: ${wanted} holds ${owner === undefined ? "data that is not Gantry's" : `the data of the instance in ${owner}`}. Name an empty folder.`,
    );
  }
  mkdirSync(wanted, { recursive: true, mode: 0o711 });
  writeFileAtomicSync(join(wanted, marker), JSON.stringify({ name: config.name, root: config.root }));
  writeFileAtomicSync(listFile(config), JSON.stringify([...foreignDataRoots(config), wanted]));
  return wanted;
}

/** Removes the data roots outside of the instance's folder. Nothing is mounted in them any more. */
export function removeForeignDataRoots(config: InstanceConfig): void {
  for (const folder of foreignDataRoots(config)) {
    // The mark goes last: what is interrupted can be done again.
    for (const name of readdirSync(folder))
      if (name !== marker && name !== "lost+found") rmSync(join(folder, name), { recursive: true, force: true });
    rmSync(join(folder, marker), { force: true });
    try {
      rmdirSync(folder);
    } catch {
      continue; // A mount point, or a disk's own.
    }
  }
}
