/** Debian packages unpacked below `/tmp` and not installed: the peers' programs. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command } from "./kit.ts";

/** Unpacked once and kept: `/tmp` is emptied when the machine starts. */
const cache = join(tmpdir(), "gantry-bench-peer");

/** What both peers need for their rules. */
const iptables = ["iptables", "libip4tc2", "libip6tc2", "libxtables12", "libnetfilter-conntrack3", "libnfnetlink0"];

/** The folder where the packages are unpacked, with iptables. Throws when they cannot be had. */
export async function debianTree(name: string, packages: readonly string[]): Promise<string> {
  const tree = join(cache, name);
  if (existsSync(tree)) return tree;
  const work = mkdtempSync(join(tmpdir(), "gantry-bench-debs-"));
  try {
    await command(["sh", "-c", `cd ${work} && apt-get download -qq ${[...packages, ...iptables].join(" ")}`]);
    for (const file of readdirSync(work))
      if (file.endsWith(".deb")) await command(["dpkg", "-x", join(work, file), join(work, "tree")]);
    symlinkSync("xtables-nft-multi", join(work, "tree/usr/sbin/iptables"));
    symlinkSync("xtables-nft-multi", join(work, "tree/usr/sbin/ip6tables"));
    mkdirSync(cache, { recursive: true });
    await command(["mv", join(work, "tree"), tree]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return tree;
}

/** The environment in which programs of a tree find each other, their libraries and the machine's programs. */
export function treeEnvironment(tree: string): Record<string, string> {
  const libraries = `${tree}/usr/lib/x86_64-linux-gnu`;
  return {
    PATH: `${tree}/usr/bin:${tree}/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    LD_LIBRARY_PATH: `${libraries}:${tree}/lib/x86_64-linux-gnu`,
    XTABLES_LIBDIR: `${libraries}/xtables`,
  };
}
