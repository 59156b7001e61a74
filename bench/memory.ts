/** What 100 running containers cost outside their own processes. */
import { type Side, contest, noNumbers, rowOf } from "./contest.ts";
import { type Bench, pause } from "./kit.ts";
import { usesOf } from "./processes.ts";

const count = 100;
const batch = 10;
const names = Array.from({ length: count }, (_, index) => `bench-hold-${index}`);

async function fill(side: Side): Promise<void> {
  for (let from = 0; from < count; from += batch) {
    await Promise.all(
      names
        .slice(from, from + batch)
        .map((name) => side.docker("run", "-d", "--name", name, "gantry/hello", "sleep", "600")),
    );
  }
}

export const bench: Bench = {
  name: "memory",
  title: `Memory of ${count} containers`,
  run: () =>
    contest("memory", async (sides) => {
      const grown = { pss: noNumbers(), rss: noNumbers() };
      const full = { pss: noNumbers(), rss: noNumbers() };
      for (const side of sides) {
        await pause(3_000);
        const before = usesOf(await side.pids());
        await fill(side);
        await pause(5_000);
        const after = usesOf(await side.pids());
        for (const kind of ["pss", "rss"] as const) {
          grown[kind][side.name].push((after[kind] - before[kind]) / count);
          full[kind][side.name].push(after[kind]);
        }
        await side.remove(names);
      }
      return {
        rows: [
          rowOf("each container's share, PSS", "MB", grown.pss),
          rowOf("each container's share, RSS", "MB", grown.rss),
          rowOf(`all with ${count} containers, PSS`, "MB", full.pss),
          rowOf(`all with ${count} containers, RSS`, "MB", full.rss),
        ],
        notes: [
          "Ours: control, node and conmon processes (the cluster is in there). dockerd's: dockerd, containerd, shims and port proxies. podman's: conmon alone, as nothing else stays when its command is over. The containers' own processes (`sleep`) are in none.",
        ],
      };
    }),
};
