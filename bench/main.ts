/**
 * `npm run bench`: measures Gantry, against Debian's dockerd and podman where they are peers.
 * `--only NAME` (several times), `--json`, `--write` (puts the results into docs/benchmarks.md), `--list`.
 */
import { parseArgs } from "node:util";
import { type Bench, type BenchResult, cleanUp, machineLine, noiseNote } from "./kit.ts";
import { asText, writeDocument } from "./report.ts";
import { warmUp } from "./instance.ts";

/** In this order they run and stand in the document. */
const files = [
  "up",
  "idle",
  "docker-run",
  "exec",
  "throughput",
  "memory",
  "image-load",
  "pull",
  "commit",
  "logs",
  "network",
  "pods",
  "api",
  "spawn",
] as const;

export interface Measured extends BenchResult {
  name: string;
  title: string;
  /** ISO date and time of the end of the run. */
  at: string;
  /** What else the machine did. */
  noise: string;
}

async function measure(name: string): Promise<Measured | undefined> {
  const { bench } = (await import(`./${name}.ts`)) as { bench: Bench };
  process.stderr.write(`bench: ${bench.name} …\n`);
  const noise = noiseNote();
  try {
    const result = await bench.run();
    return { name, title: bench.title, at: new Date().toISOString().slice(0, 16).replace("T", " "), noise, ...result };
  } catch (error) {
    process.stderr.write(`bench: ${bench.name} failed: ${(error as Error).stack ?? String(error)}\n`);
    process.exitCode = 1;
    return undefined;
  } finally {
    await cleanUp();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true },
      json: { type: "boolean" },
      write: { type: "boolean" },
      list: { type: "boolean" },
    },
  });
  if (values.list === true) {
    process.stdout.write(`${files.join("\n")}\n`);
    return;
  }
  const unknown = values.only?.find((name) => !(files as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`There is no benchmark "${unknown}". There are: ${files.join(", ")}.`);
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => void cleanUp().then(() => process.exit(130)));
  await warmUp();
  const results: Measured[] = [];
  for (const name of files) {
    if (values.only !== undefined && !values.only.includes(name)) continue;
    const result = await measure(name);
    if (result === undefined) continue;
    results.push(result);
    if (values.json !== true) process.stdout.write(asText(result));
    if (values.write === true) writeDocument([result]);
  }
  if (values.json === true) process.stdout.write(`${JSON.stringify({ machine: machineLine(), results })}\n`);
}

await main();
