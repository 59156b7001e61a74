// Runs the same docker commands against two daemons and shows where their answers differ.
//   node test/docker/differential.ts record SOCKET FILE     what this daemon answers, masked
//   node test/docker/differential.ts compare SOCKET FILE    the differences to such a file
// fixtures/dockerd-28.json is what dockerd 28.5.2 answered to the 28.2 CLI.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DifferentialCommand } from "./differential-commands/command.ts";
import { differentialCommands } from "./differential-commands.ts";
import { busyboxTar } from "./busybox-tar.ts";

export interface Outcome {
  line: string;
  code: number | null;
  out: string;
  err: string;
}

/** What differs from run to run and from machine to machine: ids, times, addresses, the work folder. */
export function mask(text: string, work: string): string {
  return (
    text
      .replaceAll(work, "$W")
      .replaceAll(/\b[0-9a-f]{64}\b/g, "<ID>")
      .replaceAll(/\b(?=[0-9a-f]*[a-f0-9])[0-9a-f]{12}\b/g, "<id>")
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g, "<TIME>")
      .replaceAll(
        /\b(?!10\.199\.[789]\.|127\.|0\.0\.0\.0|1\.2\.3\.4|9\.9\.9\.9)\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b/g,
        "<IP>",
      )
      .replaceAll(/([0-9a-f]{2}:){5}[0-9a-f]{2}/g, "<MAC>")
      .replaceAll(/\b\d+(\.\d+)?(kB|MB|GB)\b/g, "<SIZE>")
      .replaceAll(/"Pid":\d+/g, '"Pid":<PID>')
      // Docker hides the heat of those processors that tell of it.
      .replaceAll(/,"\/sys\/devices\/system\/cpu\/cpu\d+\/thermal_throttle"/g, "")
      .replaceAll(/ to \d+\.00, as there are only \d+ CPUs/g, " to <N>.00, as there are only <N> CPUs")
      .replaceAll(/(available: )[0-9,-]+/g, "$1<N>")
      .replaceAll(/\/[^\s"':]*\/volumes\//g, "<ROOT>/volumes/")
      .replaceAll(/dstFd=\/proc\/thread-self\/fd\/\d+, /g, "")
      .replaceAll(/execDuration=\d+/g, "execDuration=<N>")
      .replaceAll(/"(SandboxKey|ResolvConfPath|HostnamePath|LogPath|HostsPath)":"[^"]+"/g, '"$1":"<PATH>"')
  );
}

export function runAll(host: string, commands: readonly DifferentialCommand[] = differentialCommands): Outcome[] {
  const work = mkdtempSync(join(tmpdir(), "gantry-diff-"));
  try {
    busyboxTar(join(work, "bb.tar"));
    return commands.map(({ line, statusOnly, unordered }) => {
      const done = spawnSync("timeout", ["-k", "1", "20", "sh", "-c", line], {
        env: { ...process.env, DOCKER_HOST: host, W: work, DOCKER_CONFIG: join(work, "config") },
        encoding: "utf8",
        timeout: 30_000,
        killSignal: "SIGKILL",
        input: "",
      });
      const tidy = (text: string): string => {
        if (statusOnly !== undefined) return "";
        const masked = mask(text, work);
        return unordered === true ? masked.split("\n").sort().join("\n") : masked;
      };
      return { line, code: done.status, out: tidy(done.stdout), err: tidy(done.stderr) };
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What the CLI's own logger says depends on which end of a pipe closes first. */
function withoutCliLog(text: string): string {
  return text.replaceAll(/^time="<TIME>" level=error .*\n/gm, "");
}

/** One text for each command that was not answered as expected, with the command's line. */
export function differences(
  expected: readonly Outcome[],
  actual: readonly Outcome[],
): { line: string; text: string }[] {
  const found: { line: string; text: string }[] = [];
  for (const [index, mine] of actual.entries()) {
    const theirs = expected[index];
    if (theirs?.line !== mine.line) throw new Error(`the recording has another command in the place of: ${mine.line}`);
    const parts: string[] = [];
    if (mine.code !== theirs.code) parts.push(`  exit: expected ${theirs.code}, got ${mine.code}`);
    for (const stream of ["out", "err"] as const) {
      if (withoutCliLog(mine[stream]) !== withoutCliLog(theirs[stream])) {
        parts.push(`  ${stream} expected: ${theirs[stream]}\n  ${stream} actual:   ${mine[stream]}`);
      }
    }
    if (parts.length > 0) found.push({ line: mine.line, text: `$ ${mine.line}\n${parts.join("\n")}` });
  }
  return found;
}

if (import.meta.main) {
  const [verb, socket, file] = process.argv.slice(2) as [string, string, string];
  const outcomes = runAll(`unix://${socket}`);
  if (verb === "record") writeFileSync(file, `${JSON.stringify(outcomes, null, 1)}\n`);
  else {
    const expected = JSON.parse(readFileSync(file, "utf8")) as Outcome[];
    const found = differences(expected, outcomes);
    console.log(found.map(({ text }) => text).join("\n\n"));
    console.log(`\n${outcomes.length} commands, ${found.length} differ`);
  }
}
