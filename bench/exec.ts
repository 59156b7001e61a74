/** `docker exec` into a running container. */
import { compare, contest } from "./contest.ts";
import { type Bench } from "./kit.ts";

const rounds = 20;

export const bench: Bench = {
  name: "exec",
  title: "`docker exec NAME true`, start, stop and rm",
  run: () =>
    contest("exec", async (sides) => {
      for (const side of sides) await side.docker("run", "-d", "--name", "bench-exec", "gantry/hello");
      const rows = [
        await compare(sides, rounds, "exec", (side) => side.docker("exec", "bench-exec", "true")),
        await compare(sides, rounds, "kill and start", async (side) => {
          await side.docker("kill", "bench-exec");
          await side.docker("start", "bench-exec");
        }),
        await compare(sides, rounds, "inspect", (side) => side.docker("inspect", "bench-exec")),
      ];
      for (const side of sides) await side.remove(["bench-exec"]);
      return { rows, notes: ["With the command's own start in all numbers (its floor stands under `docker run`)."] };
    }),
};
