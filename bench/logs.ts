/** A chatty container: nothing may be lost, and reading back must be fast. */
import { contest, noNumbers, rowOf } from "./contest.ts";
import { type Bench, countedOutput, timed } from "./kit.ts";

const lines = 1_000_000;
const lineBytes = 100;
const runs = 3;
/** busybox's `yes` writes as fast as the log takes it; `head` makes it exactly so many lines. */
const script = `yes ${"x".repeat(lineBytes - 1)} | head -n ${lines}`;

export const bench: Bench = {
  name: "logs",
  title: `Logs: ${(lines * lineBytes) / 1e6} MB in ${lines / 1e6} million lines`,
  run: () =>
    contest("logs", async (sides) => {
      const write = noNumbers();
      const read = noNumbers();
      const lost: string[] = [];
      const megabytes = (lines * lineBytes) / 1e6;
      for (let run = 0; run < runs; run++) {
        for (const side of sides) {
          const writing = await timed(async () => {
            await side.docker("run", "-d", "--name", "bench-chatty", "--net=none", "gantry/hello", "sh", "-c", script);
            await side.docker("wait", "bench-chatty");
          });
          write[side.name].push(megabytes / (writing / 1000));
          let bytes = 0;
          const { argv, env } = side.command("logs", "bench-chatty");
          const reading = await timed(async () => (bytes = await countedOutput(argv, env)));
          read[side.name].push(megabytes / (reading / 1000));
          if (bytes !== lines * lineBytes) lost.push(`${side.name} gave back ${bytes} of ${lines * lineBytes} bytes`);
          await side.remove(["bench-chatty"]);
        }
      }
      return {
        rows: [
          rowOf("written by a container, `docker run -d` to `docker wait`", "MB/s", write),
          rowOf("read by `docker logs`", "MB/s", read),
        ],
        notes: [
          lost.length === 0 ? "Every byte came back, on all sides, in every run." : `**Lost**: ${lost.join("; ")}.`,
        ],
      };
    }),
};
