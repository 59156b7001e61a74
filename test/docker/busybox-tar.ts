import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Writes a tar of a small root file system: Debian's static busybox with its applets, a few folders, root in passwd. */
export function busyboxTar(path: string): void {
  const root = mkdtempSync(join(tmpdir(), "gantry-bb-"));
  try {
    for (const folder of ["bin", "etc", "tmp", "home", "root", "proc", "sys", "dev"]) mkdirSync(join(root, folder));
    copyFileSync("/bin/busybox", join(root, "bin/busybox"));
    const applets = spawnSync("/bin/busybox", ["--list"], { encoding: "utf8" }).stdout.split("\n");
    for (const applet of applets)
      if (applet !== "" && applet !== "busybox") symlinkSync("busybox", join(root, "bin", applet));
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    writeFileSync(join(root, "etc/group"), "root:x:0:\n");
    const tar = spawnSync("tar", ["-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", path, "."]);
    if (tar.status !== 0) throw new Error(`tar failed: ${String(tar.stderr)}`);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
