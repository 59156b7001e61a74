/** Throughput and connections through a published port. */
import { join } from "node:path";
import { type Side, contest, noNumbers, rowOf } from "./contest.ts";
import { type Bench, command, until } from "./kit.ts";

const runs = 7;
const port = 18_299;
const web = `dd if=/dev/zero of=/tmp/big bs=1M count=200 2>/dev/null; echo ok >/tmp/index.html; exec httpd -f -p 80 -h /tmp`;

interface Answer {
  megabytesPerSecond: number;
  requestsPerSecond: number;
}

async function measure(side: Side): Promise<Answer> {
  const script = join(import.meta.dirname, "network-client.ts");
  return JSON.parse(await command(side.inside([process.execPath, script, String(port)]))) as Answer;
}

async function serve(side: Side): Promise<void> {
  await side.docker("run", "-d", "--name", "bench-web", "-p", `${port}:80`, "gantry/hello", "sh", "-c", web);
  const script = `fetch("http://127.0.0.1:${port}/index.html").then((r)=>process.exit(r.ok?0:1),()=>process.exit(1))`;
  const answers = (): Promise<boolean> =>
    command(side.inside([process.execPath, "-e", script])).then(
      () => true,
      () => false,
    );
  await until("the published port", 20_000, answers, 100);
}

export const bench: Bench = {
  name: "network",
  title: "Published port",
  run: () =>
    contest("net", async (sides) => {
      for (const side of sides) await serve(side);
      const download = noNumbers();
      const requests = noNumbers();
      for (let run = 0; run < runs; run++) {
        for (const side of sides) {
          const answer = await measure(side);
          download[side.name].push(answer.megabytesPerSecond);
          requests[side.name].push(answer.requestsPerSecond);
        }
      }
      for (const side of sides) await side.remove(["bench-web"]);
      return {
        rows: [
          rowOf("download of 200 MB", "MB/s", download),
          rowOf("new connections, one small file each, 8 at a time", "requests/s", requests),
        ],
        notes: [
          "From 127.0.0.1 (the machine's for us, of its own network namespace for each peer; dockerd with its default userland proxy) to busybox's httpd in the container. Our packets meet the rules of whatever else runs on the machine, the peers' only their own.",
        ],
      };
    }),
};
