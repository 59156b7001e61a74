/** `docker run -d` of 50 containers at once, and their removal. */
import { type Side, contest, noNumbers, rowOf } from "./contest.ts";
import { type Bench, timed } from "./kit.ts";

const count = 50;
const runs = 3;
const names = Array.from({ length: count }, (_, index) => `bench-many-${index}`);

async function startAll(side: Side): Promise<void> {
  await Promise.all(names.map((name) => side.docker("run", "-d", "--name", name, "gantry/hello")));
}

export const bench: Bench = {
  name: "throughput",
  title: `\`docker run -d\`, ${count} at once`,
  run: () =>
    contest("many", async (sides) => {
      const start = noNumbers();
      const remove = noNumbers();
      for (let run = 0; run < runs; run++) {
        for (const side of sides) {
          start[side.name].push((await timed(() => startAll(side))) / 1000);
          remove[side.name].push((await timed(() => side.remove(names))) / 1000);
        }
      }
      return {
        rows: [
          rowOf(`${count} \`docker run -d\` at once, to the end of the last`, "s", start),
          rowOf(`\`docker rm -f\` of the ${count}`, "s", remove),
        ],
        notes: ["Fifty commands run at once on the same processors, on all sides."],
      };
    }),
};
