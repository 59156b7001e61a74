/** What every benchmark shares: how numbers are taken, named and shown. */
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, loadavg, release, totalmem } from "node:os";

/** One line of a benchmark's table. */
export interface Row {
  what: string;
  /** The median over `runs`. */
  value: number;
  unit: string;
  runs: number;
  /** Smallest and largest run. */
  spread?: readonly [number, number];
  /** The same for each peer, in the order of the columns. */
  peers: readonly PeerNumber[];
  /** What the number should be at most; `ratio` means against the first peer. */
  aim?: { atMost: number; of: "value" | "ratio" };
}

export interface PeerNumber {
  /** The column's title. */
  name: string;
  value: number;
  spread?: readonly [number, number];
}

export interface BenchResult {
  rows: Row[];
  /** What a reader must know to judge the numbers: how they were taken, where the time goes, what was left out. */
  notes: string[];
}

export interface Bench {
  name: string;
  title: string;
  run(): Promise<BenchResult>;
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}

/** Three digits that matter. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

function spreadOf(runs: readonly number[]): { spread?: readonly [number, number] } {
  return runs.length > 1 ? { spread: [rounded(Math.min(...runs)), rounded(Math.max(...runs))] } : {};
}

/** A row from the numbers of several runs; `peers` by the titles of their columns. */
export function row(
  what: string,
  unit: string,
  runs: readonly number[],
  more: { peers?: Readonly<Record<string, readonly number[]>>; aim?: Row["aim"] } = {},
): Row {
  const peers = Object.entries(more.peers ?? {})
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => ({ name, value: rounded(median(values)), ...spreadOf(values) }));
  const out: Row = { what, value: rounded(median(runs)), unit, runs: runs.length, peers, ...spreadOf(runs) };
  if (more.aim !== undefined) out.aim = more.aim;
  return out;
}

/** Our number divided by a peer's; for rates (`/s`) the peer's divided by ours, so that smaller is always better. */
export function ratio(of: Row, peer: PeerNumber): number {
  return rounded(of.unit.endsWith("/s") ? peer.value / of.value : of.value / peer.value);
}

export function aimIsMet(of: Row): boolean | undefined {
  if (of.aim === undefined) return undefined;
  const [peer] = of.peers;
  const measured = of.aim.of === "value" ? of.value : peer === undefined ? undefined : ratio(of, peer);
  return measured === undefined ? undefined : measured <= of.aim.atMost;
}

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/**
 * Runs each contestant once a round, in turns, so that noise hits all alike; gives the milliseconds by name.
 * One round before the first is not counted.
 */
export async function interleaved<Name extends string>(
  rounds: number,
  contestants: Partial<Record<Name, () => Promise<unknown>>>,
): Promise<Record<Name, number[]>> {
  const entries = Object.entries(contestants) as [Name, () => Promise<unknown>][];
  const out = Object.fromEntries(entries.map(([name]) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = -1; round < rounds; round++) {
    for (const [name, work] of entries) {
      const ms = await timed(work);
      if (round >= 0) out[name].push(ms);
    }
  }
  return out;
}

/** Waits until `check` is true, asking every `pauseMs`. */
export async function until(
  what: string,
  timeoutMs: number,
  check: () => boolean | Promise<boolean>,
  pauseMs = 5,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await pause(pauseMs);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs a program to its end and gives its output. Rejects, with the output, when it fails. */
export function command(
  argv: readonly string[],
  env: Record<string, string> = {},
  timeoutMs = 300_000,
): Promise<string> {
  const [program, ...rest] = argv as [string, ...string[]];
  return new Promise((resolve, reject) => {
    execFile(
      program,
      rest,
      { env: { ...process.env, ...env }, timeout: timeoutMs, maxBuffer: 1 << 28 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else
          reject(new Error(`${argv.join(" ")}: ${error.message.split("\n")[0]}\n${stderr}${stdout}`, { cause: error }));
      },
    );
  });
}

/** Runs a program without reading what it prints; gives the bytes it wrote. */
export function countedOutput(argv: readonly string[], env: Record<string, string> = {}): Promise<number> {
  const [program, ...rest] = argv as [string, ...string[]];
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
    let bytes = 0;
    child.stdout.on("data", (chunk: Buffer) => (bytes += chunk.length));
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(bytes) : reject(new Error(`${argv.join(" ")} ended with ${code}`)),
    );
  });
}

const cleanups: (() => void | Promise<void>)[] = [];

/** Something to undo at the end, also after a failure or Ctrl-C. The returned function undoes it now. */
export function atEnd(undo: () => void | Promise<void>): () => Promise<void> {
  cleanups.push(undo);
  return async () => {
    const at = cleanups.indexOf(undo);
    if (at < 0) return;
    cleanups.splice(at, 1);
    await undo();
  };
}

/** Undoes everything that is left, the newest first. */
export async function cleanUp(): Promise<void> {
  for (let undo = cleanups.pop(); undo !== undefined; undo = cleanups.pop()) {
    try {
      await undo();
    } catch (error) {
      process.stderr.write(`bench: cleaning up failed: ${(error as Error).message}\n`);
    }
  }
}

/** The machine in one line. */
export function machineLine(): string {
  const model = /^model name\s*:\s*(.+)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim() ?? process.arch;
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return `${availableParallelism()} CPUs (${model}), ${gigabytes} GB, Linux ${release()}, Node ${process.version}`;
}

/** How busy the machine was before the run: numbers from a busy machine say little. */
export function noiseNote(): string {
  const [one] = loadavg() as [number, number, number];
  const busy =
    one > availableParallelism() / 2
      ? ": the machine was busy, so absolute numbers are too large; ratios are taken in turns and suffer less"
      : "";
  return `load average before the run ${one.toFixed(2)}${busy}`;
}
