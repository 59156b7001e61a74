import type { Clock } from "#base/clock.ts";

/** What makes two events alike. */
export interface EventFacts {
  component: string;
  host: string;
  /** kind/namespace/name/uid/fieldPath of the object, joined. */
  object: string;
  type: string;
  reason: string;
  message: string;
}

export type Correlation =
  | { action: "drop" }
  /** A new Event object. */
  | { action: "create"; key: string; message: string }
  /** The Event that was written under `key` happened again. */
  | { action: "repeat"; key: string; message: string };

const similarLimit = 10;
const similarWindowMs = 10 * 60_000;
const burst = 25;
const refillPerMs = 1 / (5 * 60_000);
const maxEntries = 4096;

/**
 * Decides what becomes of an event, as client-go's EventCorrelator does: the same message again raises the
 * count; more than ten different messages of one reason in ten minutes are combined into one; and an object
 * that makes more than 25 events is limited to one in five minutes.
 */
export class EventCorrelator {
  readonly #clock: Clock;
  /** Oldest first: a Map keeps its order, and what is used again is put at the end. */
  readonly #known = new Map<string, true>();
  readonly #similar = new Map<string, { messages: Set<string>; lastAt: number }>();
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  correlate(facts: EventFacts): Correlation {
    const source = `${facts.component}|${facts.host}|${facts.object}`;
    const group = `${source}|${facts.type}|${facts.reason}`;
    const combined = this.#combines(group, facts.message);
    const message = combined ? `(combined from similar events): ${facts.message}` : facts.message;
    const key = combined ? `${group}|*` : `${group}|${facts.message}`;
    const known = this.#known.has(key);
    touch(this.#known, key, true);
    if (!this.#mayPass(source)) return { action: "drop" };
    return { action: known ? "repeat" : "create", key, message };
  }

  /** For an event that the server no longer has: the next one is created anew. */
  forget(key: string): void {
    this.#known.delete(key);
  }

  #combines(group: string, message: string): boolean {
    const now = this.#clock.monotonic();
    let similar = this.#similar.get(group);
    if (similar === undefined || now - similar.lastAt > similarWindowMs) similar = { messages: new Set(), lastAt: now };
    similar.messages.add(message);
    similar.lastAt = now;
    touch(this.#similar, group, similar);
    if (similar.messages.size < similarLimit) return false;
    // The set is a counter from here on: let it not grow.
    similar.messages.delete(similar.messages.values().next().value as string);
    return true;
  }

  #mayPass(source: string): boolean {
    const now = this.#clock.monotonic();
    const bucket = this.#buckets.get(source) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) * refillPerMs);
    bucket.at = now;
    touch(this.#buckets, source, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }
}

function touch<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > maxEntries) map.delete(map.keys().next().value as string);
}
