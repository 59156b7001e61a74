/** `docker run --rm` with the real docker CLI against Gantry and against Debian's dockerd, in turns. */
import { type Side, contest } from "./contest.ts";
import { type Bench, type Row, interleaved, row } from "./kit.ts";

const rounds = 15;

export const bench: Bench = {
  name: "docker-run",
  title: "`docker run --rm gantry/hello true`",
  run: () =>
    contest("run", async ({ ours, theirs }) => {
      const rows: Row[] = [];
      const compare = async (what: string, argv: readonly string[], aim?: Row["aim"]): Promise<void> => {
        const on = (side: Side) => () => side.docker(...argv);
        const taken = await interleaved<"ours" | "theirs">(rounds, {
          ours: on(ours),
          ...(theirs === undefined ? {} : { theirs: on(theirs) }),
        });
        rows.push(row(what, "ms", taken.ours, { peer: taken.theirs, ...(aim === undefined ? {} : { aim }) }));
      };
      for (const network of ["bridge", "none", "host"]) {
        await compare(`--net=${network}`, ["run", "--rm", `--net=${network}`, "gantry/hello", "true"], {
          atMost: 0.2,
          of: "ratio",
        });
      }
      await compare("floor: `docker version`, the CLI's own start and two requests", ["version"]);
      return {
        rows,
        notes: ["The whole time of the command, from spawn to exit: the CLI's own start is in both numbers."],
      };
    }),
};
