import { statfs } from "node:fs/promises";

/** Names of file systems as docker has them, by the kernel's magic numbers (linux/magic.h). */
const names: Readonly<Record<number, string>> = {
  0x01021994: "tmpfs",
  0x01021997: "v9fs",
  0x2fc12fc1: "zfs",
  0x4d44: "vfat",
  0x52654973: "reiserfs",
  0x58465342: "xfs",
  0x5346544e: "ntfs",
  0x65735546: "fuseblk",
  0x6969: "nfs",
  0x794c7630: "overlayfs",
  0x858458f6: "ramfs",
  0x9123683e: "btrfs",
  0xca451a4e: "bcachefs",
  0xef53: "extfs",
  0xf2f52010: "f2fs",
  0xff534d42: "cifs",
};

/** The kind of the file system that `path` lies on, as `docker info` calls it; "<unknown>" for a rare one. */
export async function fileSystemName(path: string): Promise<string> {
  const { type } = await statfs(path);
  return names[type >>> 0] ?? "<unknown>";
}
