/** Speed of the API server over HTTPS: `node bench/apiserver.ts`. Prints one JSON line. */
import { type KubeObject, ref } from "#api/kube/object.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { startTestServer } from "../src/kube/apiserver/test-server.ts";

const pods = ref("pods");
const configMaps = ref("configmaps");

function percentile(values: number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(3));
}

async function times(count: number, work: (index: number) => Promise<unknown>): Promise<{ p50: number; p99: number }> {
  const taken: number[] = [];
  for (let index = 0; index < count; index++) {
    const began = performance.now();
    await work(index);
    taken.push(performance.now() - began);
  }
  return { p50: percentile(taken, 0.5), p99: percentile(taken, 0.99) };
}

function pod(index: number): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `pod-${index}`, namespace: "default", labels: { app: "web", index: String(index % 10) } },
    spec: { containers: [{ name: "c", image: "gantry/hello", env: [{ name: "A", value: "x".repeat(200) }] }] },
  } as KubeObject;
}

/** Milliseconds from the write to the event at a watcher. */
async function watchLatency(
  writer: KubeClient,
  watcher: KubeClient,
  count: number,
): Promise<{ p50: number; p99: number }> {
  const { metadata } = await watcher.list(configMaps, { namespace: "default" });
  const stop = new AbortController();
  const began = new Map<string, number>();
  const taken: number[] = [];
  const reading = (async () => {
    for await (const { object } of watcher.watch(configMaps, {
      namespace: "default",
      resourceVersion: metadata.resourceVersion ?? "",
      signal: stop.signal,
    })) {
      taken.push(performance.now() - (began.get(object.metadata?.name ?? "") ?? 0));
      if (taken.length === count) stop.abort();
    }
  })();
  for (let index = 0; index < count; index++) {
    const name = `latency-${index}`;
    began.set(name, performance.now());
    await writer.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } });
  }
  await reading;
  return { p50: percentile(taken, 0.5), p99: percentile(taken, 0.99) };
}

const at = await startTestServer();
try {
  const client = await at.clientFor("bench", ["system:masters"]);
  const watcher = await at.clientFor("watcher", ["system:masters"]);
  const inProcess = at.server.client();
  await inProcess.create(ref("serviceaccounts"), {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default", namespace: "default" },
  });
  const create = await times(300, (index) => client.create(pods, pod(index)));
  const began = performance.now();
  await Promise.all(Array.from({ length: 4700 }, (_, index) => inProcess.create(pods, pod(index + 300))));
  const bulk = Math.round(4700 / ((performance.now() - began) / 1000));
  const get = await times(500, (index) => client.raw(`/api/v1/namespaces/default/pods/pod-${index}`));
  const getInProcess = await times(2000, (index) => inProcess.get(pods, "default", `pod-${index}`));
  let bytes = 0;
  const list = await times(10, async () => {
    bytes = (await client.raw("/api/v1/pods")).length;
  });
  const update = await times(300, async (index) => {
    await client.patch(pods, "default", `pod-${index}`, "application/merge-patch+json", {
      metadata: { labels: { touched: "yes" } },
    });
  });
  const watch = await watchLatency(client, watcher, 300);
  const result = {
    unit: "ms",
    create,
    get,
    getInProcess,
    list5000: { ...list, bytes },
    patch: update,
    watch,
    inProcessCreatesPerSecond: bulk,
    rssMb: Math.round(process.memoryUsage().rss / 1e6),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  await at.stop();
}
