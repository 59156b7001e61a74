/** `docker run --rm` with the real docker CLI against Gantry and against Debian's dockerd, in turns. */
import { type Side, contest } from "./contest.ts";
import { runOverSocket } from "./engine-run.ts";
import { type Bench, type Row, interleaved, row } from "./kit.ts";

const rounds = 15;
const networks = ["bridge", "none", "host"];
const aim = { atMost: 0.2, of: "ratio" } as const;

export const bench: Bench = {
  name: "docker-run",
  title: "`docker run --rm gantry/hello true`",
  run: () =>
    contest("run", async ({ ours, theirs }) => {
      const compare = async (what: string, work: (side: Side) => Promise<unknown>): Promise<Row> => {
        const taken = await interleaved<"ours" | "theirs">(rounds, {
          ours: () => work(ours),
          ...(theirs === undefined ? {} : { theirs: () => work(theirs) }),
        });
        return row(what, "ms", taken.ours, { peer: taken.theirs });
      };
      const rows: Row[] = [];
      for (const network of networks) {
        const argv = ["run", "--rm", `--net=${network}`, "gantry/hello", "true"];
        rows.push({ ...(await compare(`\`docker run --net=${network}\``, (side) => side.docker(...argv))), aim });
      }
      rows.push(await compare("`docker version`: the CLI's own start, two requests", (side) => side.docker("version")));
      for (const network of networks) {
        const what = `Engine API alone, ${network}: create, start, wait until removed`;
        rows.push({ ...(await compare(what, (side) => runOverSocket(side.dockerHost, network))), aim });
      }
      return {
        rows,
        notes: [
          "The first lines are the whole time of the command, from spawn to exit: the CLI's own start is in both numbers. The last lines stand without it.",
        ],
      };
    }),
};
