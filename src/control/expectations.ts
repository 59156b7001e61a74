import type { Clock } from "#base/clock.ts";

interface Expectation {
  adds: number;
  deletes: Set<string>;
  at: number;
}

const expiresAfterMs = 5 * 60_000;

/**
 * What a controller has asked for and not yet seen in its informer: as long as something is expected, its
 * copy is known to be behind, and it must not act on it again. Expectations expire after five minutes, so
 * that a lost event cannot stop a controller for ever (kubernetes, controller.ControllerExpectations).
 * Deletions are counted by the object's key or uid, so that one that is seen twice counts once.
 */
export class Expectations {
  readonly #clock: Clock;
  readonly #byKey = new Map<string, Expectation>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Replaces what is expected of `key`. */
  expect(key: string, adds: number, deletes: Iterable<string> = []): void {
    this.#byKey.set(key, { adds, deletes: new Set(deletes), at: this.#clock.monotonic() });
  }

  expectCreations(key: string, count: number): void {
    this.expect(key, count);
  }

  expectDeletions(key: string, ids: Iterable<string>): void {
    this.expect(key, 0, ids);
  }

  /** One creation was seen, or has failed and will not be seen. */
  creationObserved(key: string): void {
    const expected = this.#byKey.get(key);
    if (expected !== undefined && expected.adds > 0) expected.adds--;
  }

  deletionObserved(key: string, id: string): void {
    this.#byKey.get(key)?.deletes.delete(id);
  }

  /** True when everything was seen, nothing is expected, or the expectation has expired. */
  satisfied(key: string): boolean {
    const expected = this.#byKey.get(key);
    if (expected === undefined) return true;
    if (expected.adds === 0 && expected.deletes.size === 0) return true;
    return this.#clock.monotonic() - expected.at > expiresAfterMs;
  }

  /** Ids whose deletion is still expected, to be left out of counts. */
  pendingDeletions(key: string): ReadonlySet<string> {
    return this.#byKey.get(key)?.deletes ?? new Set();
  }

  /** For a key that is gone. */
  forget(key: string): void {
    this.#byKey.delete(key);
  }
}
