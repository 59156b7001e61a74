import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestInstance, eventually } from "../acceptance/instance.ts";
import assert from "node:assert/strict";

/** What an instance has on its machine: of users' objects, in the kernel and in its folders. */
export interface Traces {
  containers: string[];
  images: string[];
  mounts: string[];
  namespaces: string[];
  links: string[];
  rules: string;
  cgroups: string[];
  monitors: string[];
  /** Below the engine's folder, without logs. */
  files: string[];
}

const output = (program: string, ...args: string[]): string =>
  spawnSync(program, args, { encoding: "utf8", maxBuffer: 1 << 26 }).stdout;
const lines = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .sort();

interface Config {
  runDir: string;
  linkPrefix: string;
  nftTable: string;
  cgroupParent: string;
}

export function configOf(instance: TestInstance): Config {
  return JSON.parse(readFileSync(join(instance.root, "instance.json"), "utf8")) as Config;
}

function mountsBelow(folders: string[], namespace?: string): string[] {
  const table =
    namespace === undefined
      ? readFileSync("/proc/self/mountinfo", "utf8")
      : output("nsenter", `--mount=${namespace}`, "cat", "/proc/self/mountinfo");
  return table
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => folders.some((folder) => target === folder || target.startsWith(`${folder}/`)))
    .sort();
}

/** False for one that has ended, also when its parent has not asked for its status yet. */
export function isAlive(pid: string): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Processes whose arguments name the instance's folders, as `comm arguments`. */
export function processesOf(folders: string[]): string[] {
  const found: string[] = [];
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) continue;
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      if (folders.some((folder) => words.includes(`${folder}/`))) found.push(`${pid} ${words}`);
    } catch {
      continue;
    }
  }
  return found;
}

export function cgroupsOf(parent: string): string[] {
  const found: string[] = [];
  for (const controller of readdirSync("/sys/fs/cgroup")) {
    const folder = join("/sys/fs/cgroup", controller, parent);
    if (existsSync(folder)) found.push(...lines(output("find", folder, "-mindepth", "1", "-type", "d")));
  }
  const unified = join("/sys/fs/cgroup", parent);
  if (existsSync(unified)) found.push(...lines(output("find", unified, "-mindepth", "1", "-type", "d")));
  return found;
}

export function traces(instance: TestInstance, engineRoot = join(instance.root, "engine")): Traces {
  const config = configOf(instance);
  const folders = [instance.root, config.runDir];
  const namespace = join(config.runDir, "runtime/runtime-ns/mnt");
  const inner = existsSync(namespace) ? mountsBelow(folders, namespace) : [];
  return {
    containers: lines(instance.docker("ps", "-aq", "--no-trunc")),
    images: lines(instance.docker("images", "-a", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}")),
    mounts: [...mountsBelow(folders), ...inner],
    namespaces: lines(output("find", join(config.runDir, "engine/netns"), "-type", "f")),
    links: lines(output("ip", "-o", "link"))
      .map((line) => (line.split(":")[1] ?? "").trim())
      .filter((name) => new RegExp(`^${config.linkPrefix}(?![0-9])`).test(name)),
    rules: output("nft", "list", "table", "inet", config.nftTable),
    // The folders of the classes of pods are made with the first pod.
    cgroups: cgroupsOf(config.cgroupParent).filter((path) => !/\/kubepods(\/besteffort|\/burstable)?$/.test(path)),
    monitors: processesOf(folders).filter((line) => /^\d+ \S*conmon /.test(line)),
    files: lines(output("find", engineRoot, "-mindepth", "1"))
      .map((path) => path.slice(engineRoot.length + 1))
      // A download that was cut is kept for a day, to go on there.
      .filter(
        (path) =>
          !path.startsWith("image/oci/partial/") &&
          !path.startsWith("image/init/") &&
          !/^image\/layers\/[^/]+\/diff\//.test(path),
      ),
  };
}

/** The same, once nothing changes any more: what `--rm` removes goes after the answer. */
export async function settledTraces(instance: TestInstance): Promise<Traces> {
  for (let last = ""; ;) {
    const now = traces(instance);
    const text = JSON.stringify(now);
    if (text === last) return now;
    last = text;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Asserts that the instance has what it had, within a few seconds. */
export async function assertAsBefore(instance: TestInstance, before: Traces, engineRoot?: string): Promise<void> {
  const same = (): boolean => JSON.stringify(traces(instance, engineRoot)) === JSON.stringify(before);
  await eventually("everything is as it was", same, 3_000).catch(() => {
    assert.deepEqual(traces(instance, engineRoot), before);
  });
}

/** Resets, and asserts that nothing of the instance is on the machine. `marks` are arguments of its programs. */
export function resetLeavesNothing(instance: TestInstance, marks: string[] = []): void {
  const config = configOf(instance);
  instance.gantry("reset", "--yes");
  const folders = [instance.root, config.runDir];
  const links = lines(output("ip", "-o", "link")).filter((line) =>
    new RegExp(`: ${config.linkPrefix}(?![0-9])`).test(line),
  );
  const all = readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && pid !== String(process.pid))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return "";
      }
    });
  assert.deepEqual(
    {
      processes: processesOf(folders),
      marked: all.filter((line) => marks.some((mark) => line.includes(mark))),
      mounts: mountsBelow(folders),
      links,
      tables: lines(output("nft", "list", "tables")).filter((line) => line.includes(config.nftTable)),
      cgroups: readdirSync("/sys/fs/cgroup").filter((name) =>
        existsSync(join("/sys/fs/cgroup", name, config.cgroupParent)),
      ),
      folders: folders.filter((folder) => existsSync(folder)),
    },
    { processes: [], marked: [], mounts: [], links: [], tables: [], cgroups: [], folders: [] },
  );
}
