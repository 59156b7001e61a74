/** `docker run -d` of 50 containers at once, and their removal. */
import { type Side, contest, present } from "./contest.ts";
import { type Bench, row, timed } from "./kit.ts";

const count = 50;
const runs = 3;

async function startAll(side: Side): Promise<string[]> {
  const names = Array.from({ length: count }, (_, index) => `bench-many-${index}`);
  await Promise.all(names.map((name) => side.docker("run", "-d", "--name", name, "gantry/hello")));
  return names;
}

export const bench: Bench = {
  name: "throughput",
  title: `\`docker run -d\`, ${count} at once`,
  run: () =>
    contest("many", async (sides) => {
      const start = { ours: [] as number[], theirs: [] as number[] };
      const remove = { ours: [] as number[], theirs: [] as number[] };
      for (let run = 0; run < runs; run++) {
        for (const name of present(sides)) {
          const side = sides[name] as Side;
          let names: string[] = [];
          start[name].push((await timed(async () => (names = await startAll(side)))) / 1000);
          remove[name].push((await timed(() => side.docker("rm", "-f", ...names))) / 1000);
        }
      }
      return {
        rows: [
          row(`${count} \`docker run -d\` at once, to the end of the last`, "s", start.ours, { peer: start.theirs }),
          row(`\`docker rm -f\` of the ${count}`, "s", remove.ours, { peer: remove.theirs }),
        ],
        notes: ["Fifty docker CLIs run at once on the same processors, on both sides."],
      };
    }),
};
