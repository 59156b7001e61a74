/** `docker pull` of ten layers from a registry on this machine: Debian's docker-registry, for all sides. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Side, contest, noNumbers, rowOf } from "./contest.ts";
import { type Bench, atEnd, command, timed, until } from "./kit.ts";

const runs = 5;
const layers = 10;
const port = 18_298;
const image = `127.0.0.1:${port}/bench/ten-layers:1`;
/** Half of a layer compresses, half does not; some hundred small files and two large ones. */
const fill =
  "mkdir -p /data/L && cd /data/L && dd if=/dev/urandom of=random bs=1M count=4 2>/dev/null && seq 1 600000 > text && for i in $(seq 1 300); do echo $i-L > f$i; done";

/** One registry before each side, as each has a loopback of its own; they share the files. */
interface Registry {
  /** What was fetched since the last call. */
  blobs(): BlobFetch[];
}

interface BlobFetch {
  digest: string;
  began: number;
  ended: number;
}

async function startRegistry(folder: string, side: Side): Promise<Registry> {
  const configuration = join(folder, `${side.name}.yml`);
  const logPath = join(folder, `${side.name}.log`);
  writeFileSync(
    configuration,
    `version: 0.1
log: { level: info, formatter: json, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${folder}/registry }, delete: { enabled: true } }
http: { addr: "127.0.0.1:${port}" }
`,
  );
  const log = openSync(logPath, "w");
  const [program, ...rest] = side.inside(["docker-registry", "serve", configuration]) as [string, ...string[]];
  const server: ChildProcess = spawn(program, rest, { stdio: ["ignore", log, log] });
  closeSync(log);
  let hasEnded = false;
  server.once("exit", () => (hasEnded = true));
  atEnd(async () => {
    server.kill("SIGTERM");
    await until("the registry's end", 5_000, () => hasEnded);
  });
  const ask = side.inside([
    process.execPath,
    "-e",
    `fetch("http://127.0.0.1:${port}/v2/").then(()=>process.exit(0),()=>process.exit(1))`,
  ]);
  await until(
    "the registry",
    10_000,
    () =>
      command(ask).then(
        () => true,
        () => false,
      ),
    50,
  );
  let read = 0;
  return {
    blobs: () => {
      const text = readFileSync(logPath, "utf8");
      const fresh = text.slice(read).split("\n");
      read = text.length;
      return fresh.flatMap((line) => blobFetch(line));
    },
  };
}

/** A line of the registry's log that tells of a blob sent whole. */
function blobFetch(line: string): BlobFetch[] {
  if (!line.includes('"response completed"') || !line.includes("/blobs/sha256:")) return [];
  const entry = JSON.parse(line) as Record<string, unknown>;
  if (entry["http.request.method"] !== "GET" || entry["http.response.status"] !== 200) return [];
  const digest = /sha256:[0-9a-f]{64}/.exec(String(entry["http.request.uri"]))?.[0] ?? "";
  const ended = Date.parse(String(entry["time"]));
  return [{ digest, ended, began: ended - milliseconds(String(entry["http.response.duration"])) }];
}

/** Go's durations: `1.5ms`, `2.25s`, `310µs`. */
function milliseconds(text: string): number {
  const [, number = "0", unit = "s"] = /^([\d.]+)(\D+)/.exec(text) ?? [];
  return Number(number) * ({ µs: 0.001, ms: 1, s: 1000 }[unit] ?? 0);
}

/** How many were under way at once at most. */
function atOnce(fetches: readonly BlobFetch[]): number {
  return Math.max(
    ...fetches.map(({ began }) => fetches.filter((one) => one.began <= began && began < one.ended).length),
  );
}

/** Builds the image on one side and pushes it. */
async function makeImage(side: Side): Promise<void> {
  let from = "gantry/hello";
  for (let index = 0; index < layers; index++) {
    const script = fill.replaceAll("L", String(index));
    await side.docker("run", "--name", "bench-layer", "--net=none", from, "sh", "-c", script);
    const to = index === layers - 1 ? image : `bench/layer:${index}`;
    await side.docker("commit", "bench-layer", to);
    await side.remove(["bench-layer"]);
    from = to;
  }
  await side.docker("push", image);
  await forget(side);
  for (let index = layers - 2; index >= 0; index--) await side.docker("rmi", `bench/layer:${index}`);
}

/** Nothing of the image is left, so that the next pull fetches every byte. */
async function forget(side: Side): Promise<void> {
  await side.docker("rmi", image);
  await side.docker("image", "prune", "-f");
}

const pullWords = (side: Side): string[] => [
  "pull",
  "-q",
  ...(side.name === "podman" ? ["--tls-verify=false"] : []),
  image,
];

export const bench: Bench = {
  name: "pull",
  title: `\`docker pull\` of ${layers} layers from a local registry`,
  run: () =>
    contest("pull", async (sides) => {
      const folder = mkdtempSync(join(tmpdir(), "gantry-bench-pull-"));
      atEnd(() => rmSync(folder, { recursive: true, force: true }));
      mkdirSync(join(folder, "registry"));
      if (!existsSync("/usr/bin/docker-registry")) throw new Error("docker-registry is not installed");
      const registries = new Map<Side, Registry>();
      for (const side of sides) registries.set(side, await startRegistry(folder, side));
      await makeImage(sides.find(({ name }) => name === "dockerd") ?? (sides[0] as Side));
      const pulls = noNumbers();
      const removals = noNumbers();
      const parallel = noNumbers();
      for (let run = 0; run < runs; run++) {
        for (const side of sides) {
          const registry = registries.get(side) as Registry;
          registry.blobs();
          pulls[side.name].push((await timed(() => side.docker(...pullWords(side)))) / 1000);
          const fetched = registry.blobs();
          const digests = new Set(fetched.map(({ digest }) => digest)).size;
          if (digests < layers)
            throw new Error(`${side.name} fetched ${digests} of ${layers} layers: nothing was measured`);
          parallel[side.name].push(atOnce(fetched));
          removals[side.name].push((await timed(() => forget(side))) / 1000);
        }
      }
      const most = sides.map(({ name }) => `${name === "ours" ? "Gantry" : name} ${Math.max(...parallel[name])}`);
      return {
        rows: [rowOf("`docker pull`", "s", pulls), rowOf("`docker rmi` and `docker image prune`", "s", removals)],
        notes: [
          `Every run began without the image; the registry's log shows that each fetched the ${layers} layers again. Blobs under way at once, at most: ${most.join(", ")}.`,
          "The registry is Debian's docker-registry, one before each side on its own loopback, over the same files. Layers of about 8 MB (half of it random), gzip, 300 small files in each.",
        ],
      };
    }),
};
