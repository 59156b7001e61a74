import assert from "node:assert/strict";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { findBreaches, layerOf, readLayerTable, scan } from "./check-layers.ts";

const table = {
  base: [],
  "kube/client": ["base"],
  "kube/node": ["base", "kube/client"],
  engine: ["base"],
  daemon: ["*"],
};

test("a file belongs to the layer with the longest matching name", () => {
  assert.equal(layerOf("kube/node/agent.ts", table), "kube/node");
  assert.equal(layerOf("kube/other/x.ts", table), undefined);
});

test("a planted breach is found, in every form of import", () => {
  for (const source of [
    'import { x } from "#engine/engine.ts";',
    'import type { X } from "#engine/engine.ts";',
    'export * from "../../engine/engine.ts";',
    'const engine = await import("#engine/engine.ts");',
    'import "#engine/engine.ts";',
  ]) {
    assert.equal(findBreaches("kube/node/agent.ts", source, table).length, 1, source);
  }
});

test("allowed imports, own files and packages are no breach; composition roots may import all", () => {
  const source = 'import a from "#base/a.ts"; import b from "./b.ts"; import c from "koffi"; import d from "node:fs";';
  assert.deepEqual(findBreaches("kube/node/agent.ts", source, table), []);
  assert.deepEqual(findBreaches("daemon/main.ts", 'import "#engine/engine.ts"', table), []);
});

test("an import that leaves src and a folder without a layer are breaches", () => {
  assert.equal(findBreaches("base/a.ts", 'import "../../tools/x.ts"', table).length, 1);
  assert.equal(findBreaches("nowhere/a.ts", "", table).length, 1);
});

test("a scan of a planted tree finds the breach, and of an empty tree finds no file", () => {
  const folder = mkdtempSync(join(tmpdir(), "gantry-layers-"));
  try {
    assert.equal(scan(folder, table).files, 0);
    mkdirSync(join(folder, "base"));
    writeFileSync(join(folder, "base/a.ts"), 'import "#engine/engine.ts";\n');
    assert.equal(scan(folder, table).breaches.length, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the project itself keeps to layers.json", () => {
  const root = join(import.meta.dirname, "..");
  const result = scan(join(root, "src"), readLayerTable(root));
  assert.ok(result.files > 20 && result.imports > 20);
  assert.deepEqual(result.breaches, []);
});
