import { closeSync, constants, openSync } from "node:fs";
import { check, cString, rawSyscall, syscallNumbers } from "./libc.ts";

/** openat2(2): flags and ways to resolve a path. The same numbers on x86-64 and arm64. */
const openPath = 0o10000000;
const closeOnExec = 0o2000000;
const resolve = { noMagicLinks: 0x02, beneath: 0x08 };

/**
 * Opens what `path` names below the folder `base`, without reading it (O_PATH), and gives the descriptor, which the
 * caller closes. The kernel resolves the path in one go: neither `..` nor a link leads out, whatever is renamed
 * meanwhile. Throws with `data.errno`: EXDEV for a path that leads out (an absolute link does, too), ENOENT, ENOTDIR,
 * ELOOP, ENOSYS before Linux 5.6.
 */
export function openBeneath(base: string, path: string): number {
  const folder = openSync(base, constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const how = Buffer.alloc(24);
    how.writeBigUInt64LE(BigInt(openPath | closeOnExec), 0);
    how.writeBigUInt64LE(BigInt(resolve.noMagicLinks | resolve.beneath), 16);
    return check(rawSyscall(syscallNumbers.openat2, "lppl", folder, cString(path), how, how.length), "openat2", {
      path,
    });
  } finally {
    closeSync(folder);
  }
}
