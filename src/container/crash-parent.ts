/** A daemon that is killed: starts containers, says so, and waits. For crash.test.ts. */
import { silentLogger } from "#base/log.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { testPlan } from "./test-plan.ts";

const [folder, rootfs, log, ...ids] = process.argv.slice(2) as [string, string, string, string, string, string];
const runtime = new ContainerRuntime({ runDir: `${folder}/run`, sharedRoots: [folder] }, { log: silentLogger });
await runtime.initialise();
const [living, ending, waiting] = ids as [string, string, string];
const cgroup = (id: string): { cgroupPath: string } => ({ cgroupPath: `gantry-t1-crash/${id}` });
await runtime.create(
  testPlan(living, rootfs, ["sh", "-c", "i=0; while read line; do echo got $line; done; exit 9"], {
    ...cgroup(living),
    openStdin: true,
    log: { format: "json-file", path: log, maxSize: 0, maxFiles: 1, compress: false },
  }),
);
await runtime.create(testPlan(ending, rootfs, ["sh", "-c", "sleep 0.5; exit 7"], cgroup(ending)));
await runtime.create(testPlan(waiting, rootfs, ["true"], cgroup(waiting)));
await runtime.start(living);
await runtime.start(ending);
const exec = await runtime.exec(living, {
  ...testPlan(living, rootfs, ["sleep", "600"]).process,
  privileged: false,
  stdin: false,
});
console.log(JSON.stringify({ exec: exec.pid }));
setInterval(() => {}, 1 << 30);
