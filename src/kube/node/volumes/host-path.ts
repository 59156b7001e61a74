import { mkdir, open, stat } from "node:fs/promises";
import { GantryError } from "#base/errors.ts";

/** Checks, and where the type says so makes, a hostPath. Throws `invalid` in the kubelet's words. */
export async function prepareHostPath(path: string, type = ""): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  const refuse = (what: string): never => {
    throw new GantryError("invalid", `hostPath type check failed: ${path} is not a ${what}`);
  };
  switch (type) {
    case "":
      return;
    case "DirectoryOrCreate":
      if (found === undefined) await mkdir(path, { recursive: true, mode: 0o755 });
      else if (!found.isDirectory()) refuse("directory");
      return;
    case "Directory":
      if (found?.isDirectory() !== true) refuse("directory");
      return;
    case "FileOrCreate":
      if (found === undefined) await (await open(path, "a", 0o644)).close();
      else if (!found.isFile()) refuse("file");
      return;
    case "File":
      if (found?.isFile() !== true) refuse("file");
      return;
    case "Socket":
      if (found?.isSocket() !== true) refuse("socket file");
      return;
    case "CharDevice":
      if (found?.isCharacterDevice() !== true) refuse("character device");
      return;
    case "BlockDevice":
      if (found?.isBlockDevice() !== true) refuse("block device");
      return;
    default:
      throw new GantryError("invalid", `${type} is an invalid volume type`);
  }
}
