/** The parent of `spawn.ts`: fills the megabytes of its argument, then starts programs both ways in turns. */
import { spawn } from "node:child_process";
import { start } from "#host/spawn.ts";

const calls = 40;
const ballast: Buffer[] = [];
// Resident in chunks, touched, as a heap of many objects would be.
while (process.memoryUsage().rss < Number(process.argv[2]) * 1e6) ballast.push(Buffer.alloc(1 << 20, 1));

const ours: number[] = [];
const theirs: number[] = [];
for (let index = -5; index < calls; index++) {
  let began = performance.now();
  const child = start({ argv: ["/bin/true"] });
  let took = performance.now() - began;
  if (index >= 0) ours.push(took);
  await child.exited;
  began = performance.now();
  const other = spawn("/bin/true", { stdio: "ignore", env: {} });
  took = performance.now() - began;
  if (index >= 0) theirs.push(took);
  await new Promise((resolve) => other.once("exit", resolve));
}
process.stdout.write(JSON.stringify({ ours, theirs, held: ballast.length }));
