import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Store, StoreEvent, WatchBatch } from "./store.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString();

/** Reads batches until `count` events have come. */
async function takeEvents(watch: AsyncIterable<WatchBatch>, count: number): Promise<StoreEvent[]> {
  const events: StoreEvent[] = [];
  for await (const batch of watch) {
    events.push(...batch.events);
    if (events.length >= count) break;
  }
  return events;
}

const brief = (event: StoreEvent): string =>
  event.type === "put" ? `put ${event.item.key}=${text(event.item.value)}` : `delete ${event.key}`;

/** What every implementation of the store must do. `open` gives an empty one. */
export function storeContract(name: string, open: () => Promise<Store> | Store): void {
  const withStore = (work: (store: Store) => Promise<void>) => async (): Promise<void> => {
    const store = await open();
    try {
      await work(store);
    } finally {
      await store.close();
    }
  };

  describe(`the ${name} store`, () => {
    test(
      "gives each change the next revision and keeps the revision of creation",
      withStore(async (store) => {
        const start = store.revision;
        const created = await store.create("/a", bytes("1"));
        assert.equal(created.modRevision, start + 1);
        const updated = await store.update("/a", bytes("2"), created.modRevision);
        assert.deepEqual([updated.createRevision, updated.modRevision], [start + 1, start + 2]);
        assert.equal(text((await store.get("/a"))?.value), "2");
        const { deleted, revision } = await store.delete("/a", updated.modRevision);
        assert.equal(text(deleted.value), "2");
        assert.equal(revision, start + 3);
        assert.equal(await store.get("/a"), undefined);
      }),
    );

    test(
      "refuses a second creation, and a change from a stale revision, and tells the current value",
      withStore(async (store) => {
        const first = await store.create("/a", bytes("1"));
        await assert.rejects(store.create("/a", bytes("2")), { code: "already-exists" });
        const second = await store.update("/a", bytes("2"), first.modRevision);
        await assert.rejects(
          store.update("/a", bytes("3"), first.modRevision),
          (error: { code: string; data: { current: unknown } }) => {
            assert.equal(error.code, "conflict");
            assert.equal((error.data.current as typeof second).modRevision, second.modRevision);
            return true;
          },
        );
        await assert.rejects(store.delete("/a", first.modRevision), { code: "conflict" });
        await assert.rejects(store.update("/none", bytes("x"), 1), { code: "conflict" });
      }),
    );

    test(
      "of many concurrent writers from one revision exactly one wins",
      withStore(async (store) => {
        const first = await store.create("/a", bytes("0"));
        const results = await Promise.allSettled(
          Array.from({ length: 20 }, (_, n) => store.update("/a", bytes(String(n)), first.modRevision)),
        );
        assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
      }),
    );

    test(
      "lists a prefix in key order, in pages, at one revision",
      withStore(async (store) => {
        for (const key of ["/p/c", "/p/a", "/q/z", "/p/b", "/p/d", "/o/z"]) await store.create(key, bytes(key));
        const first = await store.list({ prefix: "/p/", limit: 2 });
        assert.deepEqual(
          first.items.map((item) => item.key),
          ["/p/a", "/p/b"],
        );
        assert.equal(first.remaining, 2);
        assert.equal(await store.count("/p/"), 4);
        const b = (await store.get("/p/b"))?.modRevision as number;
        await store.delete("/p/b", b);
        const c = (await store.get("/p/c"))?.modRevision as number;
        await store.update("/p/c", bytes("new"), c);
        await store.create("/p/bb", bytes("new"));
        const second = await store.list({ prefix: "/p/", limit: 2, after: "/p/b", revision: first.revision });
        assert.deepEqual(
          second.items.map((item) => [item.key, text(item.value)]),
          [
            ["/p/c", "/p/c"],
            ["/p/d", "/p/d"],
          ],
        );
        assert.equal(second.remaining, 0);
        const now = await store.list({ prefix: "/p/" });
        assert.deepEqual(
          now.items.map((item) => item.key),
          ["/p/a", "/p/bb", "/p/c", "/p/d"],
        );
        assert.deepEqual((await store.list({ prefix: "/none/" })).items, []);
      }),
    );

    test(
      "a list at a revision in the future is refused",
      withStore(async (store) => {
        await store.create("/a", bytes("1"));
        await assert.rejects(store.list({ prefix: "/", revision: store.revision + 5 }), { code: "invalid" });
      }),
    );

    test(
      "a watch gets what came after its revision, before and after it began, in order",
      withStore(async (store) => {
        const a = await store.create("/w/a", bytes("1"));
        const b = await store.create("/w/b", bytes("1"));
        await store.create("/x/c", bytes("1"));
        const stop = new AbortController();
        const events = takeEvents(store.watch({ prefix: "/w/", afterRevision: a.modRevision, signal: stop.signal }), 4);
        await store.update("/w/a", bytes("2"), a.modRevision);
        await store.create("/x/d", bytes("1"));
        await store.delete("/w/b", b.modRevision);
        await store.create("/w/e", bytes("1"), { durability: "lazy" });
        assert.deepEqual((await events).map(brief), ["put /w/b=1", "put /w/a=2", "delete /w/b", "put /w/e=1"]);
        stop.abort();
      }),
    );

    test(
      "a watch reports progress past changes of other keys",
      withStore(async (store) => {
        const stop = new AbortController();
        const watch = store
          .watch({ prefix: "/w/", afterRevision: store.revision, signal: stop.signal })
          [Symbol.asyncIterator]();
        const next = watch.next();
        const other = await store.create("/x/a", bytes("1"));
        const { value } = (await next) as { value: WatchBatch };
        assert.deepEqual(value.events, []);
        assert.ok(value.revision >= other.modRevision);
        stop.abort();
        assert.equal((await watch.next()).done, true);
      }),
    );

    test(
      "every watcher sees every event once, with no gap, while writers race",
      withStore(async (store) => {
        const stop = new AbortController();
        const start = store.revision;
        const watchers = Array.from({ length: 5 }, () =>
          takeEvents(store.watch({ prefix: "/r/", afterRevision: start, signal: stop.signal }), 200),
        );
        await Promise.all(
          Array.from({ length: 200 }, (_, n) =>
            store.create(`/r/${n}`, bytes("x"), { durability: n % 3 === 0 ? "lazy" : "sync" }),
          ),
        );
        for (const events of await Promise.all(watchers)) {
          const revisions = events.map((event) => (event.type === "put" ? event.item.modRevision : 0));
          assert.deepEqual(
            revisions,
            Array.from({ length: 200 }, (_, n) => start + n + 1),
          );
        }
        stop.abort();
      }),
    );

    test(
      "after compaction old revisions are gone and live values stay",
      withStore(async (store) => {
        const first = await store.create("/a", bytes("1"));
        const second = await store.update("/a", bytes("2"), first.modRevision);
        await store.create("/b", bytes("1"));
        await store.compact(second.modRevision);
        assert.equal(store.compactedRevision, second.modRevision);
        await assert.rejects(store.list({ prefix: "/", revision: first.modRevision }), { code: "gone" });
        assert.throws(
          () => store.watch({ prefix: "/", afterRevision: first.modRevision, signal: AbortSignal.timeout(1000) }),
          { code: "gone" },
        );
        assert.equal(text((await store.get("/a"))?.value), "2");
        assert.equal((await store.list({ prefix: "/", revision: second.modRevision })).items.length, 1);
      }),
    );

    test(
      "a write that was refused changes nothing",
      withStore(async (store) => {
        await store.create("/a", bytes("1"));
        const before = store.revision;
        await store.create("/a", bytes("2")).catch(() => {});
        await store.update("/a", bytes("2"), 99_999).catch(() => {});
        assert.equal(store.revision, before);
        assert.equal(text((await store.get("/a"))?.value), "1");
      }),
    );
  });
}
