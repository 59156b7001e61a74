import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { GantryError } from "#base/errors.ts";
import type { NetworkDefinition } from "./network-definition.ts";

interface NetworkFile {
  version: 1;
  networks: readonly NetworkDefinition[];
}

/** Reads the networks that were kept; none when there is no file yet. Throws `internal` for a broken one. */
export function readNetworks(path: string): NetworkDefinition[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return [];
    throw error;
  }
  try {
    const file = JSON.parse(text) as NetworkFile;
    if (file.version !== 1 || !Array.isArray(file.networks)) throw new Error("not a list of networks");
    return [...file.networks];
  } catch (cause) {
    throw new GantryError("internal", `${path} cannot be read. Restore it, or remove it to start without networks.`, {
      cause,
    });
  }
}

/** Replaces the file in one step: after a crash it has either the old or the new networks. */
export function writeNetworks(path: string, networks: readonly NetworkDefinition[]): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  try {
    writeFileSync(temporary, JSON.stringify({ version: 1, networks } satisfies NetworkFile, undefined, 1), {
      mode: 0o600,
      flush: true,
    });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
