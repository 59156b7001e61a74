import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { cgroupVersion } from "#host/cgroup.ts";
import { startDaemon } from "./daemon.ts";
import type { Outcome } from "./differential.ts";
import { differences } from "./differential.ts";
import { knownDifferences } from "./known-differences.ts";

// Many answers show cgroups; the recording is of a machine with version 1.
const skip = cgroupVersion === 1 ? false : "the recording was made with cgroup version 1";

test("docker's commands get the answers that dockerd 28 gave", { timeout: 400_000, skip }, async (context) => {
  const expected = JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/dockerd-28.json"), "utf8")) as Outcome[];
  const daemon = await startDaemon(11);
  const run = promisify(execFile);
  const file = `/tmp/gantry-differential-${process.pid}.json`;
  try {
    // The recording began without images.
    await run("docker", ["rmi", "gantry/hello"], { env: { ...process.env, DOCKER_HOST: daemon.host } });
    // In a process of its own: the commands run one after the other and would block this one's daemon.
    const script = join(import.meta.dirname, "differential.ts");
    await run(process.execPath, [script, "record", daemon.host.replace("unix://", ""), file]);
    const found = differences(expected, JSON.parse(readFileSync(file, "utf8")) as Outcome[]);
    const unknown = found.filter(({ line }) => !knownDifferences.includes(line));
    context.diagnostic(`${expected.length} commands, ${found.length} answered otherwise than by dockerd 28.5.2`);
    assert.equal(unknown.map(({ text }) => text).join("\n\n"), "");
  } finally {
    await daemon.stop();
    rmSync(file, { force: true });
  }
});
