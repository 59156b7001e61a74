import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../critest/look-alikes.ts";

/** What a server of Debian's has, what Gantry and its tests use, and what makes the machine itself. */
const packages = [
  "systemd-sysv dbus udev kmod linux-image-amd64 apparmor procps ca-certificates git libatomic1",
  "crun runc conmon nftables iproute2 tini busybox-static docker-registry stress-ng",
].flatMap((line) => line.split(" "));
const imageSize = "12G";
/** The kernel finds its root by it. */
export const imageLabel = "gantry-vm";
const guest = join(import.meta.dirname, "guest");

/** A machine that QEMU boots: an ext4 root, and the kernel and first root file system that lead to it. */
export interface MachineImage {
  root: string;
  kernel: string;
  initrd: string;
}

/** The path of a program of this machine, links followed. Throws when it is not there. */
function programPath(name: string): string {
  return run("sh", ["-c", `readlink -f "$(command -v ${name})"`]).trim();
}

/** Debian bookworm with systemd, made once in `work`; takes about three minutes. */
export function machineImage(work: string): MachineImage {
  const image = { root: join(work, "root.ext4"), kernel: join(work, "vmlinuz"), initrd: join(work, "initrd.img") };
  if (existsSync(image.root)) return image;
  const tree = join(work, "tree");
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(tree, { recursive: true });
  const include = `--include=${packages.join(",")}`;
  const { status } = spawnSync("debootstrap", ["--variant=minbase", include, "bookworm", tree], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status !== 0) throw new Error(`debootstrap failed: see ${join(tree, "debootstrap/debootstrap.log")}`);
  settle(tree);
  copyFileSync(join(tree, "vmlinuz"), image.kernel);
  copyFileSync(join(tree, "initrd.img"), image.initrd);
  rmSync(`${image.root}.new`, { force: true });
  run("mkfs.ext4", ["-q", "-F", "-L", imageLabel, "-d", tree, `${image.root}.new`, imageSize]);
  renameSync(`${image.root}.new`, image.root);
  rmSync(tree, { recursive: true, force: true });
  return image;
}

/** What makes a fresh Debian the test's machine. */
function settle(tree: string): void {
  const write = (path: string, text: string): void => writeFileSync(join(tree, path), text);
  write("etc/fstab", `LABEL=${imageLabel} / ext4 defaults 0 1\n`);
  write("etc/hostname", "gantry-vm\n");
  write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 gantry-vm\n");
  for (const program of ["docker", "kubectl"]) {
    const target = join(tree, "usr/local/bin", program);
    copyFileSync(programPath(program), target);
    chmodSync(target, 0o755);
  }
  copyFileSync(join(guest, "gantry-vm.sh"), join(tree, "usr/local/sbin/gantry-vm"));
  chmodSync(join(tree, "usr/local/sbin/gantry-vm"), 0o755);
  copyFileSync(join(guest, "gantry-vm.service"), join(tree, "etc/systemd/system/gantry-vm.service"));
  run("chroot", [tree, "systemctl", "enable", "--quiet", "gantry-vm.service"]);
  // Tests start a registry of their own.
  run("chroot", [tree, "systemctl", "disable", "--quiet", "docker-registry.service"]);
  rmSync(join(tree, "var/cache/apt/archives"), { recursive: true, force: true });
}
