/** `docker exec` into a running container. */
import { type Side, contest } from "./contest.ts";
import { type Bench, interleaved, row } from "./kit.ts";

const rounds = 20;

export const bench: Bench = {
  name: "exec",
  title: "`docker exec NAME true`, start, stop and rm",
  run: () =>
    contest("exec", async ({ ours, theirs }) => {
      const both = async (what: string, work: (side: Side) => Promise<unknown>) => {
        const taken = await interleaved<"ours" | "theirs">(rounds, {
          ours: () => work(ours),
          ...(theirs === undefined ? {} : { theirs: () => work(theirs) }),
        });
        return row(what, "ms", taken.ours, { peer: taken.theirs });
      };
      for (const side of [ours, theirs]) await side?.docker("run", "-d", "--name", "bench-exec", "gantry/hello");
      const rows = [await both("exec", (side) => side.docker("exec", "bench-exec", "true"))];
      rows.push(
        await both("kill and start", async (side) => {
          await side.docker("kill", "bench-exec");
          await side.docker("start", "bench-exec");
        }),
      );
      rows.push(await both("inspect", (side) => side.docker("inspect", "bench-exec")));
      for (const side of [ours, theirs]) await side?.docker("rm", "-f", "bench-exec");
      return { rows, notes: ["With the CLI's own start in all numbers (its floor stands under `docker run`)."] };
    }),
};
