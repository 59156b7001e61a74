/** Starting `/bin/true` with host/spawn.ts and with node:child_process, from small and large parents. */
import { join } from "node:path";
import { type Bench, command, percentile, row } from "./kit.ts";

const sizes = [50, 350, 1000];
const runs = 3;

interface Answer {
  ours: number[];
  theirs: number[];
}

export const bench: Bench = {
  name: "spawn",
  title: "Starting a program from a large process",
  async run() {
    const rows = [];
    const medians: number[] = [];
    for (const size of sizes) {
      const answers: Answer[] = [];
      for (let index = 0; index < runs; index++) {
        answers.push(
          JSON.parse(
            await command([process.execPath, join(import.meta.dirname, "spawn-parent.ts"), String(size)]),
          ) as Answer,
        );
      }
      const ours = answers.map((one) => percentile(one.ours, 0.5));
      medians.push(...[...ours].sort((a, b) => a - b).slice(1, 2));
      rows.push(
        row(`from a process of ${size} MB: call to return`, "ms", ours, {
          peers: { child_process: answers.map((one) => percentile(one.theirs, 0.5)) },
        }),
      );
    }
    const growth = (medians.at(-1) ?? 0) / (medians[0] ?? 1);
    return {
      rows,
      notes: [
        "The peer is Node's own child_process.spawn. What is measured is how long the event loop stands still: from the call to its return, median of 40 calls in each run.",
        `From ${sizes[0]} MB to ${sizes.at(-1)} MB the cost of ours grows by a factor of ${growth.toFixed(2)}.`,
      ],
    };
  },
};
