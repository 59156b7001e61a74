/** Test support: mounts things and looks at them from containers, in a mount namespace of its own. */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LaunchPlan } from "#api/container-runtime.ts";
import { newContainerId } from "#base/ids.ts";
import { createLogger } from "#base/log.ts";
import { bindMount, mount, setPropagation, unmount } from "#host/mount.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { isHybridCgroup } from "./runtime-namespace.ts";
import { makeRootfs, testPlan } from "./test-plan.ts";

const [folder, cgroup] = process.argv.slice(2) as [string, string];
const data = join(folder, "data");
const late = join(folder, "late");
for (const name of [data, join(late, "inner"), join(folder, "group")]) mkdirSync(name, { recursive: true });
const rootfs = makeRootfs(data);
const log = createLogger({ level: "warn", write: (line) => process.stderr.write(line) });
const runtime = new ContainerRuntime({ runDir: join(folder, "run"), sharedRoots: [data] }, { log });
await runtime.initialise();

function tmpfs(target: string): void {
  mount({ source: "tmpfs", target, type: "tmpfs" });
}

async function begin(script: string, mounts: LaunchPlan["mounts"], more: Partial<LaunchPlan>): Promise<string> {
  const id = newContainerId();
  const plan = testPlan(id, rootfs, ["sh", "-c", script], { mounts, cgroupPath: `${cgroup}/${id}`, ...more });
  await runtime.create(plan);
  return id;
}

async function said(
  script: string,
  source: string,
  options = ["rbind", "rprivate"],
  more: Partial<LaunchPlan> = {},
): Promise<string> {
  const destination = source.endsWith("file") ? "/file" : "/mnt";
  const id = await begin(script, [{ type: "bind", source, destination, options }], more);
  const streams = await runtime.attach(id);
  await runtime.start(id);
  let text = "";
  for await (const { data: chunk } of streams.output) text += Buffer.from(chunk).toString();
  await runtime.exited(id);
  await runtime.delete(id);
  return text.trim();
}

const seen: Record<string, string> = {};
tmpfs(join(late, "inner"));
writeFileSync(join(late, "inner", "file"), "late");
seen["a mount"] = await said("cat /mnt/file", join(late, "inner"));
seen["a mount below the source"] = await said("cat /mnt/inner/file", late);
seen["a file"] = await said("cat /file", join(late, "inner", "file"));
seen["read-only"] = (await said("touch /mnt/x 2>&1", join(late, "inner"), ["rbind", "rprivate", "ro"])).replace(
  /.*: /,
  "",
);
seen["flat shows no mount below"] = await said("ls /mnt/inner", late, ["bind", "private"]);
unmount(join(late, "inner"));
seen["gone again"] = await said("ls /mnt/inner", late);

// A group of mounts that was made after the runtime's namespace.
const group = join(folder, "group");
bindMount(group, group);
setPropagation(group, "shared");
mkdirSync(join(group, "x"));
mkdirSync(join(group, "y"));
const privileged: Partial<LaunchPlan> = { privileged: true, seccomp: "unconfined" };
const capabilities = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"];
const withAdmin = { ...testPlan("x", rootfs, []).process, capabilities };
await said("mount -t tmpfs t /mnt/x && echo inner > /mnt/x/file", group, ["rbind", "rshared"], {
  ...privileged,
  rootfsPropagation: "shared",
  process: { ...withAdmin, args: ["sh", "-c", "mount -t tmpfs t /mnt/x && echo inner > /mnt/x/file"] },
});
seen["made in a container, rshared"] = readFileSync(join(group, "x", "file"), "utf8").trim();
const id = await begin(
  "until cat /mnt/y/file; do sleep 0.05; done",
  [{ type: "bind", source: group, destination: "/mnt", options: ["rbind", "rslave"] }],
  { rootfsPropagation: "slave" },
);
const streams = await runtime.attach(id);
await runtime.start(id);
tmpfs(join(group, "y"));
writeFileSync(join(group, "y", "file"), "outer");
let text = "";
for await (const { stream, data: chunk } of streams.output)
  if (stream === "stdout") text += Buffer.from(chunk).toString();
seen["made here, rslave"] = text.trim();
await runtime.delete(id);
seen["left in the stage"] = isHybridCgroup() ? readdirSync(join(folder, "run/runtime-ns/binds")).join(" ") : "";
runtime.stop();
process.stdout.write(
  `${JSON.stringify({ program: (await runtime.facts()).name === "crun" ? "/crun" : "other", seen })}\n`,
);
