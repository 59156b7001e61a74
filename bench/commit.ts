/** `docker commit`, and `docker stats` of many containers. */
import { compare, contest } from "./contest.ts";
import { type Bench } from "./kit.ts";

const rounds = 10;
const many = 100;
const batch = 10;
const names = Array.from({ length: many }, (_, index) => `bench-stats-${index}`);
const script = "for i in $(seq 1 500); do echo $i > /tmp/$i; done";

export const bench: Bench = {
  name: "commit",
  title: `\`docker commit\`, and \`docker stats\` of ${many} containers`,
  run: () =>
    contest("commit", async (sides) => {
      for (const side of sides) {
        await side.docker("run", "--name", "bench-commit", "gantry/hello", "sh", "-c", script);
        for (let from = 0; from < many; from += batch) {
          await Promise.all(
            names
              .slice(from, from + batch)
              .map((each) => side.docker("run", "-d", "--name", each, "gantry/hello", "sleep", "600")),
          );
        }
      }
      const rows = [
        await compare(sides, rounds, "commit of 500 small files", (side) =>
          side.docker("commit", "bench-commit", "bench:commit"),
        ),
        await compare(sides, 3, `stats --no-stream of ${many} containers`, (side) =>
          side.docker("stats", "--no-stream"),
        ),
      ];
      for (const side of sides) await side.remove([...names, "bench-commit"]);
      const note =
        "`docker stats --no-stream` reads each container twice, a second apart, from Gantry and dockerd; podman's reads them once, with the CPU since the container's start.";
      return { rows, notes: [note] };
    }),
};
