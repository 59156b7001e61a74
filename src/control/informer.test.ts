import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type KubeList, type KubeObject, ref } from "#api/kube/object.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import { ManualClock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { InformerFactory } from "./informer-factory.ts";
import { Informer } from "./informer.ts";
import type { ListerWatcher } from "./kube-access.ts";

type Event = { type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; object: KubeObject };

/** A list that the test sets, and watches that the test feeds and ends. */
class FakeSource implements ListerWatcher {
  items: KubeObject[] = [];
  revision = "1";
  lists = 0;
  failList: GantryError | undefined;
  failWatch: GantryError | undefined;
  readonly watchedFrom: string[] = [];
  current = new AsyncQueue<Event>();

  async list<T extends KubeObject>(): Promise<KubeList<T>> {
    this.lists++;
    if (this.failList !== undefined) throw this.failList;
    return { metadata: { resourceVersion: this.revision }, items: this.items as T[] };
  }

  async *watch<T extends KubeObject>(
    _: unknown,
    query: { resourceVersion: string; signal: AbortSignal },
  ): AsyncIterable<{ type: Event["type"]; object: T }> {
    this.watchedFrom.push(query.resourceVersion);
    const failure = this.failWatch;
    this.failWatch = undefined;
    if (failure !== undefined) throw failure;
    const queue = (this.current = new AsyncQueue<Event>());
    query.signal.addEventListener("abort", () => queue.end(), { once: true });
    for await (const event of queue) yield event as { type: Event["type"]; object: T };
  }
}

const object = (name: string, version: string, more: Partial<KubeObject["metadata"]> = {}): KubeObject => ({
  metadata: { name, namespace: "default", uid: `uid-${name}`, resourceVersion: version, ...more },
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function bench() {
  const source = new FakeSource();
  const clock = new ManualClock();
  const tasks = new TaskGroup({ name: "test", log: silentLogger, clock });
  const told: string[] = [];
  const informer = new Informer(
    { resource: ref("pods"), indexers: { node: (one) => [one.metadata?.labels?.node ?? ""] } },
    { source, log: silentLogger, clock, random: () => 0 },
  );
  informer.addHandlers({
    add: (one, isInitial) => told.push(`add ${one.metadata?.name}${isInitial ? " initially" : ""}`),
    update: (one, old) =>
      told.push(`update ${one.metadata?.name} ${old.metadata?.resourceVersion}→${one.metadata?.resourceVersion}`),
    delete: (one) => told.push(`delete ${one.metadata?.name}`),
  });
  return { source, clock, tasks, told, informer };
}

describe("informer", () => {
  it("lists, then follows the watch, telling handlers in order", async () => {
    const { source, tasks, told, informer } = bench();
    source.items = [object("a", "1")];
    informer.start(tasks);
    await informer.synced;
    await turn();
    source.current.push({ type: "ADDED", object: object("b", "2") });
    source.current.push({ type: "MODIFIED", object: object("a", "3") });
    source.current.push({ type: "DELETED", object: object("b", "4") });
    source.current.push({ type: "BOOKMARK", object: { metadata: { resourceVersion: "9" } } });
    await turn();
    assert.deepEqual(told, ["add a initially", "add b", "update a 1→3", "delete b"]);
    assert.equal(informer.resourceVersion, "9");
    assert.ok(Object.isFrozen(informer.get("default/a")?.metadata));
    await tasks.stop();
  });

  it("resumes a watch that ended where it stopped, without listing", async () => {
    const { source, clock, tasks, informer } = bench();
    informer.start(tasks);
    await informer.synced;
    await turn();
    source.current.push({ type: "ADDED", object: object("b", "7") });
    await turn();
    source.current.end();
    await turn();
    await clock.advance(1_000);
    assert.deepEqual(source.watchedFrom, ["1", "7"]);
    assert.equal(source.lists, 1);
    await tasks.stop();
  });

  it("lists again when its revision has expired, and tells the difference", async () => {
    const { source, tasks, told, informer } = bench();
    source.items = [object("a", "1"), object("b", "1"), object("c", "1")];
    informer.start(tasks);
    await informer.synced;
    await turn();
    told.length = 0;
    source.items = [object("a", "1"), object("b", "5", { uid: "another" }), object("d", "6")];
    source.revision = "6";
    source.current.end(new GantryError("gone", "too old"));
    await turn();
    await turn();
    assert.deepEqual(told, ["delete b", "add b", "add d", "delete c"]);
    assert.equal(source.watchedFrom.at(-1), "6");
    await tasks.stop();
  });

  it("backs off while the server is away, and recovers", async () => {
    const { source, clock, tasks, informer } = bench();
    source.failList = new GantryError("unavailable", "away");
    informer.start(tasks);
    await turn();
    await clock.advance(800);
    assert.equal(source.lists, 2);
    await clock.advance(1_500);
    assert.equal(source.lists, 2);
    source.failList = undefined;
    await clock.advance(100);
    assert.equal(source.lists, 3);
    await informer.synced;
    await tasks.stop();
  });

  it("keeps indexes, also after changes", async () => {
    const { source, tasks, informer } = bench();
    source.items = [object("a", "1", { labels: { node: "n1" } }), object("b", "1", { labels: { node: "n1" } })];
    informer.start(tasks);
    await informer.synced;
    await turn();
    source.current.push({ type: "MODIFIED", object: object("b", "2", { labels: { node: "n2" } }) });
    await turn();
    assert.deepEqual(
      informer.byIndex("node", "n1").map((one) => one.metadata?.name),
      ["a"],
    );
    assert.deepEqual(
      informer.byIndex("node", "n2").map((one) => one.metadata?.name),
      ["b"],
    );
    assert.equal(informer.list("default").length, 2);
    assert.equal(informer.list("other").length, 0);
    await tasks.stop();
  });

  it("is shared by resource and selector through the factory", async () => {
    const { source, clock, tasks } = bench();
    const factory = new InformerFactory({ source, log: silentLogger, clock });
    const pods = factory.informer(ref("pods"));
    assert.equal(factory.informer(ref("pods")), pods);
    assert.notEqual(factory.informer(ref("pods"), { fieldSelector: "spec.nodeName=a" }), pods);
    factory.start(tasks);
    await factory.synced();
    assert.equal(source.lists, 2);
    await tasks.stop();
  });
});
