import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubeObject, ResourceRef } from "#api/kube/object.ts";
import { ManualClock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { silentLogger } from "#base/log.ts";
import type { ObjectStore } from "./kube-access.ts";
import { type Lease, LeaderLock } from "./leader-lock.ts";

class OneLease implements ObjectStore {
  lease: Lease | undefined;
  down = false;

  async get<T extends KubeObject>(): Promise<T> {
    if (this.down) throw new GantryError("unavailable", "away");
    if (this.lease === undefined) throw new GantryError("not-found", "none");
    return structuredClone(this.lease) as T;
  }

  async create<T extends KubeObject>(_: ResourceRef, object: T): Promise<T> {
    if (this.down) throw new GantryError("unavailable", "away");
    if (this.lease !== undefined) throw new GantryError("already-exists", "there");
    this.lease = { ...structuredClone(object), metadata: { ...object.metadata, resourceVersion: "1" } };
    return object;
  }

  async update<T extends KubeObject>(_: ResourceRef, object: T): Promise<T> {
    if (this.down) throw new GantryError("unavailable", "away");
    const version = this.lease?.metadata?.resourceVersion;
    if (object.metadata?.resourceVersion !== version) throw new GantryError("conflict", "changed");
    this.lease = {
      ...structuredClone(object),
      metadata: { ...object.metadata, resourceVersion: String(Number(version) + 1) },
    };
    return object;
  }
}

function candidate(identity: string, client: ObjectStore, clock: ManualClock) {
  const stop = new AbortController();
  const lock = new LeaderLock(
    { namespace: "kube-system", name: "test", identity },
    { client, clock, log: silentLogger, random: () => 0 },
  );
  let signal: AbortSignal | undefined;
  const finished = lock.run(async (leading) => {
    signal = leading;
    await new Promise<void>((resolve) => leading.addEventListener("abort", () => resolve(), { once: true }));
  }, stop.signal);
  return { lock, stop, finished, working: () => signal !== undefined && !signal.aborted };
}

describe("leader lock", () => {
  it("lets one lead, and the next one only when it gives up", async () => {
    const [client, clock] = [new OneLease(), new ManualClock()];
    const a = candidate("a", client, clock);
    await clock.advance(1);
    const b = candidate("b", client, clock);
    await clock.advance(30_000);
    assert.deepEqual([a.working(), b.working()], [true, false]);
    assert.equal(b.lock.holder, "a");
    a.stop.abort();
    assert.equal(await a.finished, false);
    assert.equal(client.lease?.spec?.holderIdentity, "");
    await clock.advance(2_500);
    assert.equal(b.working(), true);
    assert.equal(client.lease?.spec?.leaseTransitions, 1);
    b.stop.abort();
    await b.finished;
  });

  it("takes over from one that stopped renewing, after the lease's time by its own clock", async () => {
    const [client, clock] = [new OneLease(), new ManualClock()];
    await client.create(
      undefined as never,
      {
        metadata: { name: "test", namespace: "kube-system" },
        spec: { holderIdentity: "dead", leaseDurationSeconds: 15, renewTime: "2040-01-01T00:00:00.000000Z" },
      } as Lease,
    );
    const b = candidate("b", client, clock);
    await clock.advance(1);
    await clock.advance(13_000);
    assert.equal(b.working(), false);
    await clock.advance(4_000);
    assert.equal(b.working(), true);
    b.stop.abort();
    await b.finished;
  });

  it("stops the work when it cannot renew for ten seconds", async () => {
    const [client, clock] = [new OneLease(), new ManualClock()];
    const a = candidate("a", client, clock);
    await clock.advance(1);
    client.down = true;
    await clock.advance(9_000);
    assert.equal(a.working(), true);
    await clock.advance(3_000);
    assert.equal(a.working(), false);
    assert.equal(await a.finished, true);
  });
});
