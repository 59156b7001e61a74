import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { silentLogger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { openMemoryStore } from "#store/memory.ts";
import type { Store } from "#store/store.ts";
import { type CacheEntry, encodeStored } from "./cache-entry.ts";
import type { CacheWatcher, WatchItem } from "./cache-watcher.ts";
import { StoreFeed } from "./store-feed.ts";
import { WatchCache } from "./watch-cache.ts";

const prefix = "/registry/core/configmaps/";

function bytes(name: string, labels: Record<string, string> = {}): Uint8Array {
  return encodeStored({ kind: "ConfigMap", apiVersion: "v1", metadata: { name, namespace: "a", labels } });
}

describe("the watch cache", () => {
  let store: Store;
  let tasks: TaskGroup;
  let feed: StoreFeed;
  let cache: WatchCache;

  beforeEach(async () => {
    store = openMemoryStore();
    tasks = new TaskGroup({ name: "test", log: silentLogger });
    feed = new StoreFeed(store, silentLogger);
    cache = new WatchCache(store, feed, { prefix, namespaced: true, windowEvents: 4, maxPending: 8 });
    await feed.start(tasks);
  });
  afterEach(async () => {
    await tasks.stop();
    await store.close();
  });

  const put = (name: string, labels?: Record<string, string>) =>
    store.create(`${prefix}a/${name}`, bytes(name, labels));
  const plain = { namespace: "", match: undefined, bookmarks: false };

  async function next(watcher: CacheWatcher): Promise<WatchItem[]> {
    const { value } = await watcher.batches().next();
    return value ?? [];
  }

  const shown = (item: WatchItem | undefined): CacheEntry | undefined =>
    item === undefined || item.type === "BOOKMARK" ? undefined : item.event.shown(item.type);

  test("shows what was written before a consistent read, with the store's revision inside the bytes", async () => {
    await put("x");
    const stored = await put("y");
    await cache.consistent();
    assert.equal(cache.size, 2);
    assert.equal(cache.revision, store.revision);
    const entry = cache.get(stored.key) as CacheEntry;
    const parsed = JSON.parse(entry.bytes().toString("utf8")) as { metadata: { resourceVersion: string } };
    assert.equal(parsed.metadata.resourceVersion, String(stored.modRevision));
    assert.deepEqual(parsed, entry.object);
    assert.ok(Object.isFrozen(entry.object.metadata?.labels));
  });

  test("fills while writes are under way, and misses none", async () => {
    await Promise.all([...Array.from({ length: 20 }, (_, index) => put(`p${index}`)), cache.ready()]);
    await cache.consistent();
    assert.equal(cache.size, 20);
    assert.deepEqual(
      cache.list("a").map(({ name }) => name),
      Array.from({ length: 20 }, (_, index) => `p${index}`).sort(),
    );
  });

  test("starts a watch in the past from its window, and beyond that from the store's history", async () => {
    await cache.ready();
    const first = await put("first");
    for (let index = 0; index < 10; index++) await put(`n${index}`);
    await cache.consistent();
    const watcher = await cache.watch({ ...plain, afterRevision: first.modRevision });
    const items = await next(watcher);
    assert.deepEqual(
      items.map((item) => shown(item)?.name),
      Array.from({ length: 10 }, (_, index) => `n${index}`),
    );
    watcher.end();
    const late = await cache.watch({ ...plain, afterRevision: first.modRevision + 6 });
    assert.deepEqual(
      (await next(late)).map((item) => shown(item)?.name),
      ["n6", "n7", "n8", "n9"],
    );
  });

  test("says that a revision has expired", async () => {
    const first = await put("first");
    const second = await put("second");
    await cache.ready();
    for (let index = 0; index < 6; index++) await put(`n${index}`);
    await cache.consistent();
    await store.compact(second.modRevision + 4);
    await assert.rejects(cache.watch({ ...plain, afterRevision: first.modRevision }), {
      code: "gone",
      message: /^too old resource version: 1 \(\d+\)$/,
    });
  });

  test("encodes an event once for all watchers, and drops what nobody can ask for", async () => {
    await cache.ready();
    const one = await cache.watch({ ...plain, afterRevision: cache.revision });
    const two = await cache.watch({ ...plain, namespace: "a", afterRevision: cache.revision });
    const other = await cache.watch({ ...plain, namespace: "b", afterRevision: cache.revision });
    await put("x");
    await cache.consistent();
    const [a] = await next(one);
    const [b] = await next(two);
    assert.ok(a?.type === "ADDED" && b?.type === "ADDED");
    assert.equal(a.event.encoded("ADDED"), b.event.encoded("ADDED"));
    other.end();
    assert.deepEqual(await next(other), []);
  });

  test("shows a deletion with the last state and the deletion's revision", async () => {
    await cache.ready();
    const stored = await put("x", { color: "red" });
    await cache.consistent();
    const watcher = await cache.watch({ ...plain, afterRevision: cache.revision });
    const { revision } = await store.delete(stored.key, stored.modRevision);
    await cache.consistent();
    const [item] = await next(watcher);
    assert.equal(item?.type, "DELETED");
    assert.equal(shown(item)?.object.metadata?.resourceVersion, String(revision));
    assert.deepEqual(shown(item)?.object.metadata?.labels, { color: "red" });
  });

  test("ends a watcher that does not read", async () => {
    await cache.ready();
    const watcher = await cache.watch({ ...plain, afterRevision: cache.revision });
    for (let index = 0; index < 30; index++) await put(`n${index}`);
    await cache.consistent();
    assert.equal(watcher.ended, true);
    assert.equal(cache.watchers, 0);
  });

  test("sends bookmarks only to those who asked", async () => {
    await cache.ready();
    const asked = await cache.watch({ ...plain, afterRevision: undefined, markInitialEnd: true, bookmarks: true });
    const silent = await cache.watch({ ...plain, afterRevision: undefined });
    cache.bookmark();
    const items = await next(asked);
    assert.deepEqual(
      items.map((item) => [item.type, item.type === "BOOKMARK" && item.initialEventsEnd === true]),
      [
        ["BOOKMARK", true],
        ["BOOKMARK", false],
      ],
    );
    silent.end();
    assert.deepEqual(await next(silent), []);
  });
});
