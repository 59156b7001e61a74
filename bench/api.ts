/** The API server of a whole instance (SQLite store, controllers, scheduler, node), over HTTPS from another process. */
import { type KubeObject, ref } from "#api/kube/object.ts";
import type { HttpKubeClient } from "#kube/client/http-client.ts";
import { startInstance } from "./instance.ts";
import { type Bench, percentile, row, rounded, timed } from "./kit.ts";

const pods = ref("pods");
const configMaps = ref("configmaps");
const runs = 3;
const podCount = 5000;
const perRun = 200;
const bulkWriters = 16;

/** No scheduler answers to the name, so that the pods stay objects: this measures the API server, not the node. */
function pod(name: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: "web" } },
    spec: {
      schedulerName: "nobody",
      containers: [{ name: "c", image: "gantry/hello", env: [{ name: "A", value: "x".repeat(200) }] }],
    },
  } as KubeObject;
}

function configMap(name: string): KubeObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } } as KubeObject;
}

async function latencies(count: number, work: (index: number) => Promise<unknown>): Promise<number[]> {
  const out: number[] = [];
  for (let index = 0; index < count; index++) out.push(await timed(() => work(index)));
  return out;
}

/** From the call that writes to the event in a watcher on another connection. */
async function watchLatencies(writer: HttpKubeClient, watcher: HttpKubeClient, prefix: string): Promise<number[]> {
  const { metadata } = await watcher.list(configMaps, { namespace: "default" });
  const stop = new AbortController();
  const began = new Map<string, number>();
  const taken: number[] = [];
  const reading = (async () => {
    const query = { namespace: "default", resourceVersion: metadata.resourceVersion ?? "", signal: stop.signal };
    for await (const { object } of watcher.watch(configMaps, query)) {
      const start = began.get(object.metadata?.name ?? "");
      if (start !== undefined) taken.push(performance.now() - start);
      if (taken.length === perRun) stop.abort();
    }
  })();
  for (let index = 0; index < perRun; index++) {
    const name = `${prefix}-${index}`;
    began.set(name, performance.now());
    await writer.create(configMaps, configMap(name));
  }
  await reading;
  return taken;
}

/** Creates pods with several writers; gives how many a second. */
async function bulkRate(client: HttpKubeClient, count: number): Promise<number> {
  let next = 0;
  const ms = await timed(() =>
    Promise.all(
      Array.from({ length: bulkWriters }, async () => {
        while (next < count) await client.create(pods, pod(`bulk-${next++}`));
      }),
    ),
  );
  return count / (ms / 1000);
}

export const bench: Bench = {
  name: "api",
  title: "API server",
  async run() {
    const instance = await startInstance("bench-api", { sample: false });
    const [client, watcher] = await Promise.all([instance.kube(), instance.kube()]);
    const rate = await bulkRate(client, podCount - runs * perRun);
    const taken = { get: [], create: [], patch: [], list: [], watch: [] } as Record<string, number[][]>;
    for (let run = 0; run < runs; run++) {
      const name = (index: number): string => `one-${run}-${index}`;
      taken["create"]?.push(await latencies(perRun, (index) => client.create(pods, pod(name(index)))));
      taken["get"]?.push(
        await latencies(perRun, (index) => client.raw(`/api/v1/namespaces/default/pods/${name(index)}`)),
      );
      taken["patch"]?.push(
        await latencies(perRun, (index) =>
          client.patch(pods, "default", name(index), "application/merge-patch+json", {
            metadata: { labels: { touched: "yes" } },
          }),
        ),
      );
      taken["watch"]?.push(await watchLatencies(client, watcher, `latency-${run}`));
    }
    let bytes = 0;
    for (let run = 0; run < runs; run++) {
      taken["list"]?.push(await latencies(10, async () => (bytes = (await client.raw("/api/v1/pods")).length)));
    }
    await instance.remove();
    const lines = (what: string, of: string) =>
      [0.5, 0.99].map((part) =>
        row(
          `${what}, p${part * 100}`,
          "ms",
          (taken[of] ?? []).map((one) => percentile(one, part)),
        ),
      );
    return {
      rows: [
        ...lines("GET of one pod", "get"),
        ...lines(`LIST of ${podCount} pods (${(bytes / 1e6).toFixed(1)} MB of JSON)`, "list"),
        ...lines("create a pod, one after the other", "create"),
        ...lines("merge patch of a pod", "patch"),
        ...lines("from the write to the event at a watcher", "watch"),
        row(`creates with ${bulkWriters} writers`, "pods/s", [rate]),
      ],
      notes: [
        `Over HTTPS with a client certificate, from the benchmark's process: the client's own time counts in. ${perRun} requests (LIST: 10) in each run; p99 is therefore close to the worst.`,
        `Every write is on the disk (SQLite, WAL, synchronous=FULL) before its answer. A create answers in ${rounded(percentile(taken["create"]?.[0] ?? [], 0.5))} ms with all controllers watching.`,
      ],
    };
  },
};
