import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { GantryError, errorMessage } from "#base/errors.ts";
import { writeFileAtomicSync } from "#host/files.ts";
import { removeForeignDataRoots } from "./data-root.ts";
import { type InstanceConfig, instanceConfig, maxInstances } from "./instance-config.ts";
import { defaultRoot, instancePaths, instanceRunDir, runningConfigFile } from "./instance-paths.ts";

/**
 * Which index each instance of this machine has: one symbolic link an index, `<n>` → data root. Making a
 * link is atomic, so two `gantry up` at once never share an index.
 */
const claims = "/var/lib/gantry-instances";

const namePattern = /^[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?$/;

export function checkInstanceName(name: string): string {
  if (namePattern.test(name)) return name;
  throw new GantryError(
    "invalid",
    `"${name}" cannot name an instance: use up to 30 lower-case letters, digits and dashes, not at the ends.`,
  );
}

function readConfig(path: string): InstanceConfig | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new GantryError("internal", `${path} cannot be read: ${errorMessage(error)}.`, { cause: error });
  }
  try {
    return JSON.parse(text) as InstanceConfig;
  } catch (error) {
    throw new GantryError("internal", `${path} is damaged: ${errorMessage(error)}. Restore it.`, { cause: error });
  }
}

/** The same for files beside the instance's own, whose damage is nobody's concern. */
function tryReadConfig(path: string): InstanceConfig | undefined {
  try {
    return readConfig(path);
  } catch {
    return undefined;
  }
}

/** Data roots that hold an index, by the index. */
function claimedRoots(): Map<number, string> {
  const found = new Map<number, string>();
  if (!existsSync(claims)) return found;
  for (const name of readdirSync(claims)) {
    try {
      if (/^\d+$/.test(name)) found.set(Number(name), readlinkSync(join(claims, name)));
    } catch {
      continue; // It was given back meanwhile.
    }
  }
  return found;
}

/**
 * The configuration of an instance whose `instance.json` is lost, or whose data root was not named: from the run
 * directory of its daemons, else from the claim of its index.
 */
function findInstance(name: string, root: string | undefined): InstanceConfig | undefined {
  const fits = (config: InstanceConfig | undefined): config is InstanceConfig =>
    config?.name === name && (root === undefined || config.root === root);
  const running = tryReadConfig(runningConfigFile({ runDir: instanceRunDir(name) }));
  if (fits(running)) return running;
  const likely = root ?? defaultRoot(name);
  for (const [index, claimed] of claimedRoots()) {
    const config = tryReadConfig(instancePaths({ root: claimed, runDir: "" }).config);
    if (fits(config)) return config;
    if (config === undefined && claimed === likely && existsSync(likely))
      return instanceConfig(name, index, likely, hostname().toLowerCase());
  }
  return undefined;
}

/**
 * The configuration of an instance that `gantry up` has made before, or undefined. Throws `conflict` when the data
 * root is another instance's.
 */
export function loadInstance(name: string, root?: string): InstanceConfig | undefined {
  const wanted = root === undefined ? undefined : resolve(root);
  const path = instancePaths({ root: wanted ?? defaultRoot(name), runDir: "" }).config;
  let problem: unknown;
  let config: InstanceConfig | undefined;
  try {
    config = readConfig(path);
  } catch (error) {
    problem = error;
  }
  if (config !== undefined && config.name !== name)
    throw new GantryError("conflict", `${path} belongs to the instance "${config.name}", not to "${name}".`);
  const found = config ?? findInstance(name, wanted);
  if (found === undefined && problem !== undefined) throw problem;
  return found;
}

/** True when a process of this machine listens on a TCP port: an instance whose claim was lost, or a stranger. */
function isListening(port: number): boolean {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return ["/proc/net/tcp", "/proc/net/tcp6"].some((file) => {
    if (!existsSync(file)) return false;
    return readFileSync(file, "utf8")
      .split("\n")
      .some((line) => {
        const [, local, , state] = line.trim().split(/\s+/);
        return state === "0A" && (local ?? "").endsWith(suffix);
      });
  });
}

function claimIndex(root: string): number {
  mkdirSync(claims, { recursive: true, mode: 0o755 });
  for (let index = 0; index < maxInstances; index++) {
    const { apiPort, kubeletPort } = instanceConfig("probe", index, root, "");
    if (isListening(apiPort) || isListening(kubeletPort)) continue;
    const link = join(claims, String(index));
    try {
      symlinkSync(root, link);
      return index;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      // A claim whose data root is gone belongs to nobody.
      if (!existsSync(join(link, "."))) {
        rmSync(link, { force: true });
        index--;
      }
    }
  }
  throw new GantryError(
    "exhausted",
    `This machine has ${maxInstances} Gantry instances already. Remove one with \`gantry reset --name NAME\`.`,
  );
}

/** The instance's configuration; made now, with the lowest free index, when it does not exist. */
export function loadOrCreateInstance(name: string, root?: string): { config: InstanceConfig; created: boolean } {
  checkInstanceName(name);
  const known = loadInstance(name, root);
  if (known !== undefined && existsSync(known.root)) {
    const file = instancePaths(known).config;
    if (tryReadConfig(file) === undefined) writeFileAtomicSync(file, `${JSON.stringify(known, null, 2)}\n`);
    return { config: known, created: false };
  }
  const elsewhere = findInstance(name, undefined);
  if (elsewhere !== undefined && existsSync(elsewhere.root)) {
    throw new GantryError(
      "conflict",
      `The instance "${name}" has its data in ${elsewhere.root}. Say --root ${elsewhere.root}, or take another --name.`,
    );
  }
  const dataRoot = resolve(root ?? defaultRoot(name));
  mkdirSync(dataRoot, { recursive: true, mode: 0o711 });
  const config = instanceConfig(name, claimIndex(dataRoot), dataRoot, hostname().toLowerCase());
  writeFileAtomicSync(instancePaths(config).config, `${JSON.stringify(config, null, 2)}\n`);
  return { config, created: true };
}

/** Remembers another daemon.json for the instance. It counts from the node process's next start on. */
export function setConfigFile(config: InstanceConfig, configFile: string): InstanceConfig {
  const changed = { ...config, configFile };
  writeFileAtomicSync(instancePaths(config).config, `${JSON.stringify(changed, null, 2)}\n`);
  return changed;
}

/** Gives the index back and removes the data root. Everything that runs has ended before. */
export function removeInstance(config: InstanceConfig): void {
  removeForeignDataRoots(config);
  rmSync(config.root, { recursive: true, force: true });
  rmSync(join(claims, String(config.index)), { force: true });
  if (existsSync(claims) && readdirSync(claims).length === 0) rmdirSync(claims);
}

/** Marks the folder so that a person who finds it knows what it is. */
export function writeRootReadme(config: InstanceConfig): void {
  writeFileSync(
    join(config.root, "README"),
    `Data of the Gantry instance "${config.name}". Remove it with: gantry reset --name ${config.name}\n`,
  );
}
