import { closeSync, existsSync, openSync, readSync } from "node:fs";

/** Docker's own name first, then what Debian's packages tini and catatonit bring. */
const candidates = [
  "/usr/libexec/docker/docker-init",
  "/usr/bin/docker-init",
  "/usr/sbin/docker-init",
  "/usr/bin/tini-static",
  "/usr/bin/tini",
  "/usr/bin/catatonit",
  "/usr/libexec/podman/catatonit",
];

/** The small program of this machine that `--init` puts before a container's own; undefined where there is none. */
export function findInit(): string | undefined {
  return candidates.find((path) => existsSync(path) && isStatic(path));
}

/** A dynamically linked program would look for the container's own C library: its ELF file names an interpreter. */
function isStatic(path: string): boolean {
  const start = Buffer.alloc(4096);
  const file = openSync(path, "r");
  try {
    return !start.subarray(0, readSync(file, start)).includes("/ld-");
  } finally {
    closeSync(file);
  }
}
