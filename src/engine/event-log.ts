import type { EventMessage, EventType } from "#api/docker/object-types.ts";
import { AsyncQueue } from "#base/async-queue.ts";
import type { Clock } from "#base/clock.ts";
import { Emitter } from "#base/emitter.ts";
import type { EventsOptions, Filters } from "./engine.ts";
import { asksForPods, matchesLabels } from "./filters.ts";

/** docker keeps so many for `--since`. */
const kept = 256;
const readerLimit = 10_000;
const knownFilters = new Set([
  "config",
  "container",
  "daemon",
  "event",
  "image",
  "label",
  "network",
  "node",
  "plugin",
  "scope",
  "secret",
  "service",
  "type",
  "volume",
]);

/** The engine's events: told to who listens, and the last ones kept for `since`. */
export class EventLog {
  readonly #clock: Clock;
  readonly #ring: EventMessage[] = [];
  readonly #emitter = new Emitter<EventMessage>();
  #lastNano = 0n;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  emit(type: EventType, action: string, id: string, attributes: Record<string, string>): void {
    const now = this.#clock.now();
    let nano = BigInt(Math.trunc(now)) * 1_000_000n;
    if (nano <= this.#lastNano) nano = this.#lastNano + 1n;
    this.#lastNano = nano;
    const isOld = type === "container" || type === "image";
    const from = attributes["image"];
    const event: EventMessage = {
      ...(isOld ? { status: action, id } : {}),
      ...(type === "container" && from !== undefined ? { from } : {}),
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: "local",
      time: Math.trunc(now / 1000),
      timeNano: Number(nano),
    };
    this.#ring.push(event);
    if (this.#ring.length > kept) this.#ring.shift();
    this.#emitter.emit(event);
  }

  /** Past events (with `since`), then live ones until `until` or the signal. As in docker, unknown filters do nothing. */
  subscribe(options: EventsOptions): AsyncIterable<EventMessage> {
    const filters = options.filters ?? {};
    const showPods = asksForPods(filters) || (filters["container"] ?? []).length > 0;
    const queue = new AsyncQueue<EventMessage>(readerLimit);
    const until = options.until ?? Number.POSITIVE_INFINITY;
    const take = (event: EventMessage): void => {
      // By the millisecond: a number of this size has lost its last nanoseconds.
      const at = Math.floor(event.timeNano / 1e6 + 0.0005);
      if (at < Math.floor(options.since ?? 0) || at > until || !matchesEvent(event, filters)) return;
      if (!showPods && event.Actor.Attributes["io.kubernetes.pod.uid"] !== undefined) return;
      // A reader that is so far behind has stopped reading.
      if (!queue.push(event)) queue.end();
    };
    if (options.since !== undefined || options.until !== undefined) for (const event of this.#ring) take(event);
    const off = this.#emitter.on(take);
    const stop = (): void => {
      off();
      clearTimeout(timer);
      options.signal.removeEventListener("abort", stop);
      queue.end();
    };
    const left = until - this.#clock.now();
    const timer = Number.isFinite(left) ? setTimeout(stop, Math.min(Math.max(left, 0), 2 ** 31 - 1)) : undefined;
    if (options.signal.aborted) stop();
    else options.signal.addEventListener("abort", stop, { once: true });
    return (async function* () {
      try {
        yield* queue;
      } finally {
        stop();
      }
    })();
  }

  /** For the engine's own parts. */
  on(listener: (event: EventMessage) => void): () => void {
    return this.#emitter.on(listener);
  }
}

function matchesEvent(event: EventMessage, filters: Filters): boolean {
  const { ID: id, Attributes: attributes } = event.Actor;
  const name = attributes["name"];
  for (const [key, values] of Object.entries(filters)) {
    if (values.length === 0 || !knownFilters.has(key)) continue;
    const some = (test: (value: string) => boolean): boolean => values.some(test);
    switch (key) {
      case "type":
        if (!some((value) => value === event.Type)) return false;
        break;
      case "event":
        if (!some((value) => value === event.Action || event.Action.startsWith(`${value}: `))) return false;
        break;
      case "scope":
        if (!some((value) => value === event.scope)) return false;
        break;
      case "label":
        if (!matchesLabels(attributes, values)) return false;
        break;
      case "image": {
        const image = event.Type === "image" ? [id, name] : [attributes["image"]];
        const bare = image.map((text) => text?.replace(/:[^:/]*$/, ""));
        if (!some((value) => image.includes(value) || bare.includes(value))) return false;
        break;
      }
      default:
        // container, network, volume, daemon…: the object's own id or name.
        if (event.Type !== key) return false;
        if (!some((value) => value === name || (value !== "" && id.startsWith(value)))) return false;
    }
  }
  return true;
}
