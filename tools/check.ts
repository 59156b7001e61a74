// Everything that must hold of the sources without running them: layers, generated files, types, lint,
// format. Each step is named, and all run, so that one failure does not hide another.
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const bin = (name: string): string => join(root, "node_modules/.bin", name);

const steps: [name: string, ...argv: string[]][] = [
  ["layers", process.execPath, "tools/check-layers.ts"],
  ["generated files", process.execPath, "tools/check-generated.ts"],
  ["types", bin("tsc"), "-b", "tsconfig.build.json", "tsconfig.json"],
  ["lint", bin("oxlint"), "--quiet", "src", "test", "tools", "bench"],
  ["format", bin("oxfmt"), "--check", "src", "test", "tools", "bench"],
];

/** Runs the steps and gives how many passed and failed. */
export function runChecks(): { passed: number; failed: string[] } {
  const failed: string[] = [];
  for (const [name, command, ...rest] of steps) {
    const started = performance.now();
    const { status } = spawnSync(command as string, rest, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`check ${name}: ${status === 0 ? "ok" : "FAILED"} (${seconds} s)`);
    if (status !== 0) failed.push(name);
  }
  return { passed: steps.length - failed.length, failed };
}

if (import.meta.main) {
  const { passed, failed } = runChecks();
  console.log(`${passed} passed, ${failed.length} failed`);
  process.exit(failed.length === 0 ? 0 : 1);
}
