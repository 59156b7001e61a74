import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { storeContract } from "./contract.ts";
import { openSqliteStore } from "./sqlite.ts";

const folder = mkdtempSync(join(tmpdir(), "gantry-store-"));
after(() => rmSync(folder, { recursive: true }));
let number = 0;
const newPath = (): string => join(folder, `${number++}.db`);
const bytes = (text: string): Uint8Array => Buffer.from(text);

storeContract("sqlite", () => openSqliteStore({ path: newPath() }));

test("values, revisions and deletions are there again after a clean close", async () => {
  const path = newPath();
  const store = openSqliteStore({ path });
  const a = await store.create("/a", bytes("1"));
  await store.update("/a", bytes("2"), a.modRevision);
  const b = await store.create("/b", bytes("1"));
  await store.delete("/b", b.modRevision);
  const { revision } = store;
  await store.close();
  const again = openSqliteStore({ path });
  assert.equal(again.revision, revision);
  assert.deepEqual(
    (await again.list({ prefix: "/" })).items.map((item) => [
      item.key,
      Buffer.from(item.value).toString(),
      item.createRevision,
    ]),
    [["/a", "2", a.createRevision]],
  );
  await again.close();
});

test("compaction removes replaced rows from the disk, and only those", async () => {
  const path = newPath();
  const store = openSqliteStore({ path });
  let revision = (await store.create("/a", bytes("0"))).modRevision;
  for (let n = 1; n < 50; n++) revision = (await store.update("/a", bytes(String(n)), revision)).modRevision;
  await store.create("/b", bytes("b"));
  await store.compact(store.revision);
  await store.close();
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(path);
  assert.equal((database.prepare("SELECT count(*) AS n FROM log").get() as { n: number }).n, 2);
  database.close();
  const again = openSqliteStore({ path });
  assert.equal(Buffer.from((await again.get("/a"))?.value ?? []).toString(), "49");
  await again.close();
});

test("a second opener and a file that is no database are refused", async () => {
  const path = newPath();
  const store = openSqliteStore({ path });
  await store.create("/a", bytes("1"));
  assert.throws(() => openSqliteStore({ path }), { code: "unavailable" });
  await store.close();
  const other = newPath();
  writeFileSync(other, "this is no database, however long the text of it may be".repeat(100));
  assert.throws(() => openSqliteStore({ path: other }), { code: "unavailable" });
});

test(
  "SIGKILL in the middle of writes loses nothing acknowledged and never gives a revision twice",
  { timeout: 60_000 },
  async () => {
    const path = newPath();
    const writer = join(import.meta.dirname, "crash-writer.ts");
    const acknowledged = new Map<string, number>();
    let highest = 0;
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, [writer, path, String(round)], { stdio: ["ignore", "pipe", "inherit"] });
      let output = "";
      child.stdout.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
      await new Promise((resolve) => child.stdout.once("data", resolve));
      await new Promise((resolve) => setTimeout(resolve, 60 + round * 50));
      const exited = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGKILL");
      await exited;
      let lowest = Number.POSITIVE_INFINITY;
      // The last line may be cut.
      for (const line of output.split("\n").slice(0, -1)) {
        const [kind, key, revision] = line.split(" ") as [string, string, string];
        lowest = Math.min(lowest, Number(revision));
        if (kind === "sync") acknowledged.set(key, Number(revision));
      }
      assert.ok(lowest > highest, `round ${round} gave out a revision again`);
      for (const line of output.split("\n").slice(0, -1)) highest = Math.max(highest, Number(line.split(" ")[2]));
    }
    assert.ok(acknowledged.size > 100, `only ${acknowledged.size} writes were acknowledged`);
    const store = openSqliteStore({ path });
    for (const [key, revision] of acknowledged) assert.equal((await store.get(key))?.modRevision, revision, key);
    assert.ok(store.revision >= highest);
    await store.close();
  },
);
