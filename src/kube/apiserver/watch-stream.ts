import type { Clock } from "#base/clock.ts";
import type { KubeObject } from "#api/kube/object.ts";
import type { HttpResponse } from "#web/http.ts";
import { statusOf } from "./api-error.ts";
import type { CacheWatcher, WatchItem } from "./cache-watcher.ts";
import { fromStorage, isStorageForm } from "./conversion.ts";
import { watchFrame } from "./machinery.ts";
import type { Wanted } from "./negotiation.ts";
import type { Served } from "./registry.ts";
import { apiVersionOf } from "./resource-type.ts";
import { type IncludeObject, partialMetadata, tableOf } from "./transform.ts";

export interface WatchStreamOptions {
  served: Served;
  watcher: CacheWatcher;
  form: Wanted;
  include: IncludeObject;
  /** 0: half an hour to an hour, as upstream. */
  timeoutSeconds: number;
  clock: Clock;
  signal: AbortSignal;
  response: HttpResponse;
  headers: Record<string, string[]>;
}

const defaultTimeoutMs = 30 * 60_000;

/** What a bookmark shows: nothing but how far the watcher has come. */
export function bookmarkObject({ type, version }: Served, item: Extract<WatchItem, { type: "BOOKMARK" }>): KubeObject {
  return {
    kind: type.kind,
    apiVersion: apiVersionOf(type.group, version),
    metadata: {
      resourceVersion: String(item.revision),
      ...(item.initialEventsEnd === true ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    },
  };
}

/** Writes a watch's items until it ends: by the client, by its time, or because the client is too slow. */
export async function streamWatch(options: WatchStreamOptions): Promise<void> {
  const { watcher, response, signal, form, headers } = options;
  const encode = encoder(options);
  const stop = (): void => watcher.end();
  const timeoutMs = options.timeoutSeconds > 0 ? options.timeoutSeconds * 1000 : defaultTimeoutMs * (1 + Math.random());
  const timer = setTimeout(stop, timeoutMs);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    const protobuf = form.format === "protobuf" && form.as === "";
    response.start(200, {
      "content-type": protobuf ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/json",
      ...headers,
    });
    for await (const batch of watcher.batches()) {
      const chunks: Buffer[] = [];
      try {
        for (const item of batch) chunks.push(encode(item));
      } catch (error) {
        chunks.push(Buffer.from(`${JSON.stringify({ type: "ERROR", object: statusOf(error) })}\n`));
        watcher.end();
      }
      const only = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      const room = response.write(only);
      if (room !== undefined) await room;
      if (response.finished) return;
    }
    response.end();
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    watcher.end();
  }
}

/** How one item becomes bytes in the form that the client wants. */
function encoder({ served, form, include, clock }: WatchStreamOptions): (item: WatchItem) => Buffer {
  const { type, version } = served;
  const shown = (item: WatchItem): KubeObject =>
    item.type === "BOOKMARK" ? bookmarkObject(served, item) : fromStorage(served, item.event.shown(item.type).object);
  const line = (event: string, object: KubeObject): Buffer =>
    Buffer.from(`{"type":"${event}","object":${JSON.stringify(object)}}\n`);
  if (form.as === "Table") {
    const kind = { group: type.group, version, kind: type.kind };
    let headers = true;
    return (item) => {
      const object = shown(item);
      const metadata = { resourceVersion: object.metadata?.resourceVersion };
      const table = tableOf(kind, [object], metadata, { include, version: form.version, headers, now: clock.now() });
      headers = false;
      return line(item.type, table);
    };
  }
  if (form.as !== "") return (item) => line(item.type, partialMetadata(shown(item), form.version));
  if (form.format === "protobuf") return (item) => watchFrame(item.type, shown(item));
  if (isStorageForm(served))
    return (item) => (item.type === "BOOKMARK" ? line(item.type, shown(item)) : item.event.encoded(item.type));
  return (item) => line(item.type, shown(item));
}
