/** The parent of `spawn.ts`: fills the megabytes of its argument, then starts programs both ways. */
import { spawn } from "node:child_process";
import { start } from "#host/spawn.ts";

const calls = 40;
const ballast: Buffer[] = [];
// Resident in chunks, touched, as a heap of many objects would be.
while (process.memoryUsage().rss < Number(process.argv[2]) * 1e6) ballast.push(Buffer.alloc(1 << 20, 1));

/** Milliseconds of each call; the first ones, which load things, do not count. */
async function measure(begin: () => () => Promise<unknown>): Promise<number[]> {
  const out: number[] = [];
  for (let index = -5; index < calls; index++) {
    const began = performance.now();
    const exited = begin();
    const took = performance.now() - began;
    if (index >= 0) out.push(took);
    await exited();
  }
  return out;
}

// Not in turns: after a fork every page of the parent faults once more, and who comes next would pay for it.
const ours = await measure(() => {
  const child = start({ argv: ["/bin/true"] });
  return () => child.exited;
});
const theirs = await measure(() => {
  const child = spawn("/bin/true", { stdio: "ignore", env: {} });
  return () => new Promise((resolve) => child.once("exit", resolve));
});
process.stdout.write(JSON.stringify({ ours, theirs, held: ballast.length }));
