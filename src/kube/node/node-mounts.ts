import { lstatSync } from "node:fs";
import { dirname } from "node:path";
import { mount, mountFlags, unmount } from "#host/mount.ts";
import type { NodeMounts } from "./volumes/volume-store.ts";

/** Mounts by system calls. */
export const hostMounts: NodeMounts = {
  mountTmpfs(path, { sizeBytes, mode }) {
    const size = sizeBytes === undefined ? "" : `,size=${sizeBytes}`;
    mount({
      source: "tmpfs",
      target: path,
      type: "tmpfs",
      flags: mountFlags.noSuid | mountFlags.noDev,
      data: `mode=${mode.toString(8)}${size}`,
    });
  },
  unmount(path) {
    unmount(path);
  },
  /** Another file system than the parent folder's: no need to read the whole mount table. */
  isMountPoint(path) {
    const here = lstatSync(path, { throwIfNoEntry: false });
    const parent = lstatSync(dirname(path), { throwIfNoEntry: false });
    return here !== undefined && parent !== undefined && here.dev !== parent.dev;
  },
};
