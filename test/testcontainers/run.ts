/**
 * Runs testcontainers (the npm package, pinned in package.json beside this) against an instance of its own, without
 * its reaper, whose image cannot be pulled here. Not part of `./gantry test`: the package brings 126 others.
 *
 *     node test/testcontainers/run.ts
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const source = import.meta.dirname;
const gantry = join(source, "../../gantry");
const work = mkdtempSync(join(tmpdir(), "gantry-testcontainers-"));
const name = "testcontainers";
const instance = ["--name", name, "--root", join(work, "data")];
const env = {
  ...process.env,
  DOCKER_HOST: `unix:///run/gantry/${name}/docker.sock`,
  TESTCONTAINERS_RYUK_DISABLED: "true",
  TESTCONTAINERS_REUSE_ENABLE: "true",
};

function run(program: string, ...args: string[]): number {
  return spawnSync(program, args, { cwd: work, env, stdio: "inherit" }).status ?? 1;
}

function main(): number {
  for (const file of ["package.json", "client.js"]) copyFileSync(join(source, file), join(work, file));
  if (run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error") !== 0) return 1;
  if (run(gantry, "up", ...instance, "--no-demo", "--no-switch") !== 0) return 1;
  return run(process.execPath, "--test", "--test-timeout=120000", "client.js");
}

try {
  process.exitCode = main();
} finally {
  run(gantry, "reset", "--yes", ...instance);
  rmSync(work, { recursive: true, force: true });
}
