import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { FakeRuntime } from "../testing/fake-runtime.ts";
import { type LogOptions, readLog } from "./log-reader.ts";
import { rotateLog } from "./log-rotation.ts";

const base: LogOptions = { follow: false, timestamps: false };
const stamp = (n: number): string => `2026-01-01T00:00:${String(n % 60).padStart(2, "0")}.000000000Z`;

describe("container logs", () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "gantry-log-"));
    path = join(folder, "0.log");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const read = async (options: Partial<LogOptions>): Promise<string> => {
    const chunks: Uint8Array[] = [];
    const sink = (chunk: Uint8Array): undefined => void chunks.push(chunk);
    await readLog(path, { ...base, ...options }, sink, async () => false, new AbortController().signal);
    return Buffer.concat(chunks).toString("utf8");
  };

  it("shows all lines, with times when asked", async () => {
    writeFileSync(path, `${stamp(1)} stdout F one\n${stamp(2)} stderr F two\n`);
    assert.equal(await read({}), "one\ntwo\n");
    assert.equal(await read({ timestamps: true }), `${stamp(1)} one\n${stamp(2)} two\n`);
    assert.equal(await read({ stream: "Stderr" }), "two\n");
    assert.equal(await read({ since: Date.parse(stamp(2)) }), "two\n");
    assert.equal(await read({ limitBytes: 5 }), "one\nt");
  });

  it("joins the parts of long lines, also for tail", async () => {
    writeFileSync(
      path,
      `${stamp(1)} stdout F one\n${stamp(2)} stdout P tw\n${stamp(2)} stdout F o\n${stamp(3)} stdout F three\n`,
    );
    assert.equal(await read({ tailLines: 2 }), "two\nthree\n");
    assert.equal(await read({ tailLines: 2, timestamps: true }), `${stamp(2)} two\n${stamp(3)} three\n`);
    assert.equal(await read({ tailLines: 0 }), "");
    assert.equal(await read({ tailLines: 9 }), "one\ntwo\nthree\n");
  });

  it("finds the tail of a large file", async () => {
    const lines = Array.from({ length: 20_000 }, (_, n) => `${stamp(n)} stdout F line ${n}`);
    writeFileSync(path, `${lines.join("\n")}\n`);
    assert.equal(await read({ tailLines: 2 }), "line 19998\nline 19999\n");
    assert.equal((await read({ tailLines: 10_000 })).split("\n").length - 1, 10_000);
  });

  it("follows what is written until the container ends, across a rotation", async () => {
    writeFileSync(path, `${stamp(1)} stdout F one\n`);
    let running = true;
    let shown = "";
    const finished = readLog(
      path,
      { ...base, follow: true },
      (chunk) => void (shown += Buffer.from(chunk).toString()),
      async () => running,
      new AbortController().signal,
    );
    const until = async (text: string): Promise<void> => {
      for (let n = 0; shown !== text && n < 300; n++) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(shown, text);
    };
    await until("one\n");
    appendFileSync(path, `${stamp(2)} stdout F two\n`);
    await until("one\ntwo\n");
    renameSync(path, `${path}.20260101-000003`);
    writeFileSync(path, `${stamp(4)} stdout F three\n`);
    await until("one\ntwo\nthree\n");
    running = false;
    await finished;
    const again = await read({});
    assert.equal(again, "one\ntwo\nthree\n");
  });

  it("rotates what has grown too large, and keeps five files", async () => {
    const runtime = new FakeRuntime();
    runtime.sandboxes.set("s", { status: {} as never, config: { logDirectory: folder } as never });
    const id = await runtime.createContainer("s", {
      metadata: { name: "web", attempt: 0 },
      logPath: "0.log",
      labels: {},
      annotations: {},
    } as never);
    for (let n = 0; n < 7; n++) {
      writeFileSync(path, `${stamp(n)} stdout F line ${n}\n`);
      assert.equal(await rotateLog(runtime, id, path, Date.UTC(2026, 0, 1, 0, 0, n), { maxBytes: 10 }), true);
    }
    assert.equal((await readdir(folder)).length, 5);
    assert.equal(await read({}), "line 3\nline 4\nline 5\nline 6\n");
    assert.equal(await rotateLog(runtime, id, path, 0, { maxBytes: 10 }), false);
  });
});
