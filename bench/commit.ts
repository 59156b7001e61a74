/** `docker commit`, and `docker stats` of many containers. */
import { type Side, contest, present, removeContainers } from "./contest.ts";
import { type Bench, interleaved, row } from "./kit.ts";

const rounds = 10;
const many = 100;
const batch = 10;
const names = Array.from({ length: many }, (_, index) => `bench-stats-${index}`);

export const bench: Bench = {
  name: "commit",
  title: `\`docker commit\`, and \`docker stats\` of ${many} containers`,
  run: () =>
    contest("commit", async (sides) => {
      const { ours, theirs } = sides;
      const both = async (what: string, times: number, work: (side: Side) => Promise<unknown>) => {
        const taken = await interleaved<"ours" | "theirs">(times, {
          ours: () => work(ours),
          ...(theirs === undefined ? {} : { theirs: () => work(theirs) }),
        });
        return row(what, "ms", taken.ours, { peer: taken.theirs });
      };
      for (const name of present(sides)) {
        const side = sides[name] as Side;
        await side.docker(
          "run",
          "--name",
          "bench-commit",
          "gantry/hello",
          "sh",
          "-c",
          "for i in $(seq 1 500); do echo $i > /tmp/$i; done",
        );
        for (let from = 0; from < many; from += batch) {
          await Promise.all(
            names
              .slice(from, from + batch)
              .map((each) => side.docker("run", "-d", "--name", each, "gantry/hello", "sleep", "600")),
          );
        }
      }
      const rows = [
        await both("commit of 500 small files", rounds, (side) =>
          side.docker("commit", "bench-commit", "bench:commit"),
        ),
        await both(`stats --no-stream of ${many} containers`, 3, (side) => side.docker("stats", "--no-stream")),
      ];
      for (const name of present(sides)) await removeContainers(sides[name] as Side, [...names, "bench-commit"]);
      const note = "`stats --no-stream` reads each container twice, a second apart, on both sides.";
      return { rows, notes: [note] };
    }),
};
