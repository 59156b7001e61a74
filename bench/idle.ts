/** What all processes of Gantry cost while nothing happens and the sample runs. */
import { startInstance } from "./instance.ts";
import { type Bench, pause, row, rounded } from "./kit.ts";
import { processUse, usesOf } from "./processes.ts";

const settleMs = 20_000;
const watchMs = 20_000;

export const bench: Bench = {
  name: "idle",
  title: "Idle",
  async run() {
    const instance = await startInstance("bench-idle", { sample: true });
    await pause(settleMs);
    const processes = await instance.processes();
    const pids = processes.map((one) => one.pid);
    const before = usesOf(pids);
    await pause(watchMs);
    const after = usesOf(pids);
    const seconds = watchMs / 1000;
    const each = processes.map(({ name, pid }) => {
      const { rss, pss, anonymous, cpu } = processUse(pid);
      return `${name} ${rounded(rss)} MB RSS, ${rounded(pss)} MB PSS, ${rounded(anonymous)} MB of its own, ${rounded(cpu)} s of CPU since its start`;
    });
    await instance.remove();
    return {
      rows: [
        row("resident memory (sum of RSS)", "MB", [after.rss], { aim: { atMost: 250, of: "value" } }),
        row("proportional memory (sum of PSS)", "MB", [after.pss]),
        row("CPU, of one core", "%", [((after.cpu - before.cpu) / seconds) * 100]),
        row("written to disk", "kB a second", [(after.written - before.written) / 1000 / seconds]),
      ],
      notes: [
        `Sample with two pods, ${settleMs / 1000} s after the start, watched for ${seconds} s. Both Node processes map the same binary, which RSS counts twice.`,
        `By process: ${each.join("; ")}.`,
      ],
    };
  },
};
