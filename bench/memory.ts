/** What 100 running containers cost outside their own processes. */
import { type Side, contest, present } from "./contest.ts";
import { type Bench, pause, row } from "./kit.ts";
import { usesOf } from "./processes.ts";

const count = 100;
const batch = 10;

interface Cost {
  base: number;
  full: number;
}

async function cost(side: Side, of: "rss" | "pss"): Promise<number> {
  return usesOf(await side.pids())[of];
}

async function fill(side: Side): Promise<void> {
  for (let from = 0; from < count; from += batch) {
    const names = Array.from({ length: batch }, (_, index) => `bench-hold-${from + index}`);
    await Promise.all(names.map((name) => side.docker("run", "-d", "--name", name, "gantry/hello", "sleep", "600")));
  }
}

export const bench: Bench = {
  name: "memory",
  title: `Memory of ${count} containers`,
  run: () =>
    contest("memory", async (sides) => {
      const pss: Partial<Record<"ours" | "theirs", Cost>> = {};
      const rss: Partial<Record<"ours" | "theirs", Cost>> = {};
      for (const name of present(sides)) {
        const side = sides[name] as Side;
        await pause(3_000);
        const base = { rss: await cost(side, "rss"), pss: await cost(side, "pss") };
        await fill(side);
        await pause(5_000);
        rss[name] = { base: base.rss, full: await cost(side, "rss") };
        pss[name] = { base: base.pss, full: await cost(side, "pss") };
        await side.docker("rm", "-f", ...Array.from({ length: count }, (_, index) => `bench-hold-${index}`));
      }
      const line = (what: string, pick: (name: "ours" | "theirs") => number | undefined) => {
        const theirs = pick("theirs");
        return row(what, "MB", [pick("ours") ?? 0], theirs === undefined ? {} : { peer: [theirs] });
      };
      const grown = (of: typeof pss) => (name: "ours" | "theirs") => {
        const one = of[name];
        return one === undefined ? undefined : (one.full - one.base) / count;
      };
      return {
        rows: [
          line("each container's share, PSS", grown(pss)),
          line("each container's share, RSS", grown(rss)),
          line(`all with ${count} containers, PSS`, (name) => pss[name]?.full),
          line(`all with ${count} containers, RSS`, (name) => rss[name]?.full),
        ],
        notes: [
          "Ours: control, node and conmon processes (the cluster is in there). Theirs: dockerd, containerd and shims. The containers' own processes (`sleep`) are in neither.",
        ],
      };
    }),
};
