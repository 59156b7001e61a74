import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

function run(program: string, args: readonly string[], cwd?: string, env?: Record<string, string>): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    timeout: 120_000,
    env: { ...process.env, LC_ALL: "C", ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (status !== 0)
    throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr.trim().split("\n").at(-1)}`);
  return stdout;
}

/** What a package needs that this machine does not have. */
function missingDependencies(name: string): string[] {
  const depends = [...run("apt-cache", ["depends", name]).matchAll(/^ {2}Depends: ([a-z0-9][a-z0-9.+-]*)$/gm)];
  return depends
    .map((match) => match[1] as string)
    .filter((each) => spawnSync("dpkg", ["-s", each], { stdio: "ignore" }).status !== 0);
}

interface Libraries {
  found: string[];
  missing: string[];
}

/** The shared libraries of a program, looked for in `root` first and on this machine then. */
function librariesOf(program: string, root: string): Libraries {
  const folders = ["lib", "usr/lib"].flatMap((lib) =>
    existsSync(join(root, lib)) ? readdirSync(join(root, lib)).map((each) => join(root, lib, each)) : [],
  );
  const text = run("ldd", [program], undefined, { LD_LIBRARY_PATH: folders.join(":") });
  const out: Libraries = { found: [], missing: [] };
  for (const line of text.split("\n")) {
    if (line.includes("not found")) out.missing.push(line.trim());
    const path = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1];
    if (path !== undefined) out.found.push(path);
  }
  return out;
}

/**
 * Writes a tar of a root file system with Debian's stress-ng, its libraries, and busybox for a shell. What is not
 * installed comes from Debian's archive by apt-get. Throws where it cannot be had.
 */
export function stressTar(path: string): void {
  const work = mkdtempSync(join(tmpdir(), "gantry-stress-"));
  try {
    const packages = join(work, "packages");
    const unpacked = join(work, "unpacked");
    const root = join(work, "root");
    for (const folder of [packages, unpacked, root]) mkdirSync(folder);
    const isInstalled = existsSync("/usr/bin/stress-ng");
    const program = join(isInstalled ? "/" : unpacked, "usr/bin/stress-ng");
    let wanted = isInstalled ? [] : ["stress-ng"];
    let libraries: Libraries = isInstalled ? librariesOf(program, unpacked) : { found: [], missing: [] };
    // Three rounds: the program, its libraries, and theirs.
    for (let round = 0; round < 3 && wanted.length > 0; round++) {
      run("apt-get", ["download", "-q", ...wanted], packages);
      for (const file of readdirSync(packages)) run("dpkg", ["-x", join(packages, file), unpacked]);
      libraries = librariesOf(program, unpacked);
      if (libraries.missing.length === 0) break;
      wanted = [...new Set(wanted.flatMap(missingDependencies))];
    }
    if (libraries.missing.length > 0) throw new Error(`libraries are missing: ${libraries.missing.join(", ")}`);

    for (const folder of ["bin", "usr/lib", "lib64", "tmp", "proc", "sys", "dev", "etc"])
      mkdirSync(join(root, folder), { recursive: true });
    copyFileSync(program, join(root, "bin/stress-ng"));
    copyFileSync("/bin/busybox", join(root, "bin/busybox"));
    for (const library of libraries.found) {
      // The loader has its place in the program; all others are found by LD_LIBRARY_PATH.
      const isLoader = basename(library).startsWith("ld-linux");
      const target = isLoader ? join(root, library) : join(root, "usr/lib", basename(library));
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(library, target);
    }
    run("tar", ["-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", path, "."]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
