import assert from "node:assert/strict";
import { test } from "node:test";
import { storeContract } from "./contract.ts";
import { openMemoryStore } from "./memory.ts";

storeContract("memory", () => openMemoryStore());

test("history is bounded: the oldest events are compacted away by themselves", async () => {
  const store = openMemoryStore({ historyLimit: 100 });
  for (let n = 0; n < 500; n++) await store.create(`/${n}`, Buffer.from("x"));
  assert.ok(store.compactedRevision >= 400);
  assert.equal(await store.count("/"), 500);
  await store.close();
  await assert.rejects(store.get("/1"), { code: "unavailable" });
});
