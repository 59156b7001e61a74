/** Throughput and connections through a published port. */
import { join } from "node:path";
import { type Side, contest, present } from "./contest.ts";
import { type Bench, command, row, until } from "./kit.ts";

const runs = 3;
const port = 18_299;

interface Answer {
  megabytesPerSecond: number;
  requestsPerSecond: number;
}

async function measure(side: Side): Promise<Answer> {
  const script = join(import.meta.dirname, "network-client.ts");
  return JSON.parse(await command(side.inside([process.execPath, script, String(port)]))) as Answer;
}

export const bench: Bench = {
  name: "network",
  title: "Published port",
  run: () =>
    contest("net", async (sides) => {
      const web = `dd if=/dev/zero of=/tmp/big bs=1M count=200 2>/dev/null; echo ok >/tmp/index.html; exec httpd -f -p 80 -h /tmp`;
      for (const name of present(sides)) {
        const side = sides[name] as Side;
        await side.docker("run", "-d", "--name", "bench-web", "-p", `${port}:80`, "gantry/hello", "sh", "-c", web);
        const ask = side.inside([
          process.execPath,
          "-e",
          `fetch("http://127.0.0.1:${port}/index.html").then((r)=>process.exit(r.ok?0:1),()=>process.exit(1))`,
        ]);
        await until(
          "the published port",
          20_000,
          () =>
            command(ask).then(
              () => true,
              () => false,
            ),
          100,
        );
      }
      const taken = { ours: [] as Answer[], theirs: [] as Answer[] };
      for (let run = 0; run < runs; run++) {
        for (const name of present(sides)) taken[name].push(await measure(sides[name] as Side));
      }
      for (const name of present(sides)) await (sides[name] as Side).docker("rm", "-f", "bench-web");
      const line = (what: string, unit: string, of: keyof Answer) =>
        row(
          what,
          unit,
          taken.ours.map((one) => one[of]),
          { peer: taken.theirs.map((one) => one[of]) },
        );
      return {
        rows: [
          line("download of 200 MB", "MB/s", "megabytesPerSecond"),
          line("new connections, one small file each, 8 at a time", "requests/s", "requestsPerSecond"),
        ],
        notes: [
          "From 127.0.0.1 of the machine (of dockerd's own network namespace for the peer, with its default userland proxy) to busybox's httpd in the container.",
        ],
      };
    }),
};
