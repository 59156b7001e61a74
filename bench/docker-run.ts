/** `docker run --rm` with the real docker CLI against Gantry and against the peers, in turns. */
import { compare, contest } from "./contest.ts";
import { runOverSocket } from "./engine-run.ts";
import { type Bench, type Row } from "./kit.ts";

const rounds = 15;
const networks = ["bridge", "none", "host"];
const aim = { atMost: 0.2, of: "ratio" } as const;

export const bench: Bench = {
  name: "docker-run",
  title: "`docker run --rm gantry/hello true`",
  run: () =>
    contest("run", async (sides) => {
      const rows: Row[] = [];
      for (const network of networks) {
        const argv = ["run", "--rm", `--net=${network}`, "gantry/hello", "true"];
        rows.push(await compare(sides, rounds, `\`docker run --net=${network}\``, (side) => side.docker(...argv), aim));
      }
      rows.push(
        await compare(sides, rounds, "`docker version`: the command's own start, two requests", (side) =>
          side.docker("version"),
        ),
      );
      for (const network of networks) {
        const what = `Engine API alone, ${network}: create, start, wait until removed`;
        rows.push(await compare(sides, rounds, what, (side) => runOverSocket(side.socket, network), aim));
      }
      return {
        rows,
        notes: [
          "The first lines are the whole time of the command, from spawn to exit: the docker command's own start is in our numbers and dockerd's, podman's command does all of its work itself. The last lines stand without it; podman answers there through `podman system service`.",
        ],
      };
    }),
};
