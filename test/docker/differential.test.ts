import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startDaemon } from "./daemon.ts";
import type { Outcome } from "./differential.ts";
import { differences } from "./differential.ts";
import { knownDifferences } from "./known-differences.ts";

test("docker's commands get the answers that dockerd gave", { timeout: 240_000 }, async (context) => {
  const expected = JSON.parse(
    readFileSync(join(import.meta.dirname, "fixtures/dockerd-20.10.json"), "utf8"),
  ) as Outcome[];
  const daemon = await startDaemon(11);
  const folder = join(import.meta.dirname, "differential.ts");
  const file = `/tmp/gantry-differential-${process.pid}.json`;
  try {
    // In a process of its own: the commands run one after the other and would block this one's daemon.
    await promisify(execFile)(process.execPath, [folder, "record", daemon.host.replace("unix://", ""), file]);
    const found = differences(expected, JSON.parse(readFileSync(file, "utf8")) as Outcome[]);
    const unknown = found.filter(({ line }) => !knownDifferences.includes(line));
    context.diagnostic(`${expected.length} commands, ${found.length} answered otherwise than by dockerd 20.10`);
    assert.equal(unknown.map(({ text }) => text).join("\n\n"), "");
  } finally {
    await daemon.stop();
    (await import("node:fs")).rmSync(file, { force: true });
  }
});
