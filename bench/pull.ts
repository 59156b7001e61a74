/** A pull of ten layers from a registry on the loopback: Debian's docker-registry. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Side, contest } from "./contest.ts";
import { type Bench, atEnd, command, interleaved, row, until } from "./kit.ts";

const rounds = 3;
const layers = 10;
const megabytes = 10;
const port = 5055;
const image = `127.0.0.1:${port}/bench/layers:1`;

async function startRegistry(inside: (argv: readonly string[]) => string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "gantry-bench-registry-"));
  const config = join(folder, "config.yml");
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${folder}/data}}\nhttp: {addr: 127.0.0.1:${port}}\n`,
  );
  const argv = inside(["docker-registry", "serve", config]);
  const child = spawn(argv[0] as string, argv.slice(1), { stdio: "ignore" });
  atEnd(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
}

async function fill(side: Side): Promise<void> {
  let from = "gantry/hello";
  for (let layer = 0; layer < layers; layer++) {
    await side.docker(
      "run",
      "--name",
      "bench-layer",
      from,
      "sh",
      "-c",
      `dd if=/dev/urandom of=/layer${layer} bs=1M count=${megabytes} 2>/dev/null`,
    );
    await side.docker("commit", "bench-layer", image);
    await side.docker("rm", "bench-layer");
    from = image;
  }
  await side.docker("push", image);
  await side.docker("rmi", image);
}

export const bench: Bench = {
  name: "pull",
  title: `Pull of ${layers} layers of ${megabytes} MB`,
  run: () =>
    contest("pull", async ({ ours, theirs }) => {
      for (const side of [ours, theirs]) {
        if (side === undefined) continue;
        await startRegistry(side.inside);
        const probe = side.inside(["bash", "-c", `echo > /dev/tcp/127.0.0.1/${port}`]);
        const answers = (): Promise<boolean> =>
          command(probe).then(
            () => true,
            () => false,
          );
        await until("the registry answers", 10_000, answers);
        await fill(side);
      }
      const pull = async (side: Side): Promise<void> => {
        await side.docker("pull", "-q", image);
      };
      const times = { ours: [] as number[], theirs: [] as number[] };
      for (let round = 0; round < rounds; round++) {
        const taken = await interleaved<"ours" | "theirs">(1, {
          ours: () => pull(ours),
          ...(theirs === undefined ? {} : { theirs: () => pull(theirs) }),
        });
        times.ours.push(...taken.ours);
        times.theirs.push(...(taken.theirs ?? []));
        for (const side of [ours, theirs]) await side?.docker("rmi", image);
      }
      const peer = theirs === undefined ? {} : { peer: times.theirs };
      return {
        rows: [row("`docker pull`, download and unpacking", "ms", times.ours, peer)],
        notes: [
          "Random bytes, which no compression helps. Each side pulls from a registry of its own, on its own loopback.",
        ],
      };
    }),
};
