import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubeObject, ResourceRef } from "#api/kube/object.ts";
import { ManualClock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import { TaskGroup } from "#base/task-group.ts";
import { type CoreEvent, EventRecorder } from "./event-recorder.ts";
import type { EventSink } from "./kube-access.ts";

class Sink implements EventSink {
  readonly events = new Map<string, CoreEvent>();
  failures: GantryError[] = [];

  async create<T extends KubeObject>(_: ResourceRef, object: T): Promise<T> {
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    this.events.set(object.metadata?.name ?? "", structuredClone(object) as unknown as CoreEvent);
    return object;
  }

  async patch<T extends KubeObject>(
    _: ResourceRef,
    __: string | undefined,
    name: string,
    ___: string,
    patch: unknown,
  ): Promise<T> {
    const event = this.events.get(name);
    if (event === undefined) throw new GantryError("not-found", "gone");
    const next = { ...event, ...(patch as Partial<CoreEvent>) };
    this.events.set(name, next);
    return next as unknown as T;
  }
}

const pod = { kind: "Pod", apiVersion: "v1", namespace: "default", name: "web", uid: "u" };

function bench() {
  const [sink, clock] = [new Sink(), new ManualClock()];
  const tasks = new TaskGroup({ name: "test", log: silentLogger, clock });
  const recorder = new EventRecorder(
    { component: "kubelet", host: "node-1" },
    { client: sink, clock, log: silentLogger },
  );
  recorder.start(tasks);
  return { sink, clock, tasks, recorder, all: () => [...sink.events.values()] };
}

describe("event recorder", () => {
  it("counts an event that happens again instead of writing another", async () => {
    const { clock, tasks, recorder, all } = bench();
    recorder.event(pod, "Warning", "BackOff", "Back-off");
    await clock.advance(60_000);
    recorder.event(pod, "Warning", "BackOff", "Back-off");
    await clock.advance(1);
    assert.equal(all().length, 1);
    const [event] = all();
    assert.deepEqual(
      [event?.count, event?.firstTimestamp, event?.lastTimestamp],
      [2, "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"],
    );
    assert.deepEqual(event?.source, { component: "kubelet", host: "node-1" });
    assert.match(event?.metadata.name ?? "", /^web\.[0-9a-f]+$/);
    await tasks.stop();
  });

  it("combines many different messages of one reason", async () => {
    const { clock, tasks, recorder, all } = bench();
    for (let n = 0; n < 15; n++) recorder.event(pod, "Warning", "Unhealthy", `failure ${n}`);
    await clock.advance(1);
    assert.equal(all().length, 10);
    const combined = all().find(({ message }) => message.startsWith("(combined from similar events): "));
    assert.equal(combined?.message, "(combined from similar events): failure 14");
    assert.equal(combined?.count, 6);
    await tasks.stop();
  });

  it("limits an object that makes too many, and others not", async () => {
    const { clock, tasks, recorder, all } = bench();
    for (let n = 0; n < 40; n++) recorder.event(pod, "Normal", `Reason${n}`, "x");
    recorder.event({ ...pod, name: "other", uid: "v" }, "Normal", "Fine", "x");
    await clock.advance(1);
    assert.equal(all().filter(({ involvedObject }) => involvedObject.name === "web").length, 25);
    assert.equal(all().filter(({ involvedObject }) => involvedObject.name === "other").length, 1);
    await tasks.stop();
  });

  it("tries again while the server is away, and makes an event anew that has expired", async () => {
    const { sink, clock, tasks, recorder, all } = bench();
    sink.failures = [new GantryError("unavailable", "away")];
    recorder.event(pod, "Normal", "Started", "x");
    await clock.advance(1);
    await clock.advance(10_000);
    assert.equal(all().length, 1);
    sink.events.clear();
    recorder.event(pod, "Normal", "Started", "x");
    await clock.advance(1);
    assert.equal(all()[0]?.count, 2);
    await tasks.stop();
  });
});
