import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Engine } from "./engine.ts";
import { leftovers, newPlace, removeAll, runContainer, startEngine, type TestEngine } from "./test-engine.ts";

const place = newPlace();
let running: TestEngine;
let engine: Engine;

before(async () => {
  running = await startEngine(place);
  engine = running.engine;
});

after(async () => {
  await running.stop();
  await removeAll(place);
  assert.deepEqual(leftovers(place), []);
});

test("a container says what its command says, and is gone after its end with --rm", async () => {
  const result = await runContainer(engine, {
    Cmd: ["sh", "-c", "echo hi; echo no >&2; exit 3"],
    HostConfig: { AutoRemove: true },
  });
  assert.deepEqual([result.stdout, result.stderr, result.code], ["hi\n", "no\n", 3]);
  await assert.rejects(engine.containers.inspect(result.id), { message: `No such container: ${result.id}` });
});
