import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PodUserNamespaces, podIds } from "./user-namespaces.ts";

const first = 100 * podIds;
let root = "";
const ranges = (pods = 3): PodUserNamespaces => new PodUserNamespaces(root, { first, pods });
const startOf = (namespaces: PodUserNamespaces, uid: string): number =>
  namespaces.mappingOf(uid).uids[0]?.hostId as number;

before(() => {
  root = mkdtempSync(join(tmpdir(), "gantry-ranges-"));
});
after(() => rmSync(root, { recursive: true, force: true }));

test("each pod gets a range of its own and keeps it over restarts; one that has gone is given again", () => {
  mkdirSync(join(root, "without"));
  const namespaces = ranges();
  assert.deepEqual(namespaces.mappingOf("a"), {
    uids: [{ containerId: 0, hostId: first, length: podIds }],
    gids: [{ containerId: 0, hostId: first, length: podIds }],
  });
  assert.equal(startOf(namespaces, "b"), first + podIds);
  assert.equal(startOf(namespaces, "a"), first);
  const again = ranges();
  assert.equal(startOf(again, "b"), first + podIds);
  assert.equal(startOf(again, "c"), first + 2 * podIds);
  assert.throws(() => again.mappingOf("d"), /all 3 ranges of ids .* are taken/);
  rmSync(join(root, "b"), { recursive: true });
  assert.equal(startOf(again, "d"), first + podIds);
});

test("a range that is not readable is never given to another pod", () => {
  mkdirSync(join(root, "broken"));
  writeFileSync(join(root, "broken", "userns.json"), '{"hostId": "0"}');
  assert.throws(() => ranges(9).mappingOf("new"), /broken\/userns\.json names no range of ids/);
});
