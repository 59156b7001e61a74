/** A chatty container: nothing may be lost, and reading back must be fast. */
import { type Side, contest, present } from "./contest.ts";
import { type Bench, countedOutput, row, timed } from "./kit.ts";

const lines = 1_000_000;
const lineBytes = 100;
const runs = 2;
/** busybox's `yes` writes as fast as the log takes it; `head` makes it exactly so many lines. */
const script = `yes ${"x".repeat(lineBytes - 1)} | head -n ${lines}`;

export const bench: Bench = {
  name: "logs",
  title: `Logs: ${(lines * lineBytes) / 1e6} MB in ${lines / 1e6} million lines`,
  run: () =>
    contest("logs", async (sides) => {
      const write = { ours: [] as number[], theirs: [] as number[] };
      const read = { ours: [] as number[], theirs: [] as number[] };
      const lost: string[] = [];
      const megabytes = (lines * lineBytes) / 1e6;
      for (let run = 0; run < runs; run++) {
        for (const name of present(sides)) {
          const side = sides[name] as Side;
          const writing = await timed(async () => {
            await side.docker("run", "-d", "--name", "bench-chatty", "--net=none", "gantry/hello", "sh", "-c", script);
            await side.docker("wait", "bench-chatty");
          });
          write[name].push(megabytes / (writing / 1000));
          let bytes = 0;
          const reading = await timed(
            async () =>
              (bytes = await countedOutput(["docker", "logs", "bench-chatty"], { DOCKER_HOST: side.dockerHost })),
          );
          read[name].push(megabytes / (reading / 1000));
          if (bytes !== lines * lineBytes)
            lost.push(`${name === "ours" ? "Gantry" : "dockerd"} gave back ${bytes} of ${lines * lineBytes} bytes`);
          await side.docker("rm", "-f", "bench-chatty");
        }
      }
      return {
        rows: [
          row("written by a container, `docker run -d` to `docker wait`", "MB/s", write.ours, { peer: write.theirs }),
          row("read by `docker logs`", "MB/s", read.ours, { peer: read.theirs }),
        ],
        notes: [
          lost.length === 0 ? "Every byte came back, on both sides, in every run." : `**Lost**: ${lost.join("; ")}.`,
        ],
      };
    }),
};
