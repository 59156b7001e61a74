/** What every KubeClient must do, as tests: each implementation runs them against an API server. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type KubeObject, ref } from "#api/kube/object.ts";
import type { KubeClient, WatchEvent } from "./client.ts";

const configMaps = ref("configmaps");
const namespaces = ref("namespaces");
const deployments = ref("apps/v1", "deployments");

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

function configMap(
  namespace: string,
  name: string,
  data: Record<string, string> = {},
  labels?: Record<string, string>,
): ConfigMap {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace, ...(labels === undefined ? {} : { labels }) },
    data,
  };
}

/** Takes `count` events, then ends the watch. */
async function take(events: AsyncIterable<WatchEvent>, count: number, stop: AbortController): Promise<WatchEvent[]> {
  const out: WatchEvent[] = [];
  for await (const event of events) {
    out.push(event);
    if (out.length === count) stop.abort();
  }
  return out;
}

/** `open` gives a client that may do everything. */
export function kubeClientContract(
  name: string,
  open: () => Promise<{ client: KubeClient; close(): Promise<void> }>,
): void {
  describe(`the ${name} client`, () => {
    let client: KubeClient;
    let close: () => Promise<void>;
    const namespace = `contract-${name.replaceAll(" ", "-").toLowerCase()}`;

    before(async () => {
      ({ client, close } = await open());
      await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
    });
    after(() => close());

    test("creates an object and reads what it wrote", async () => {
      const made = await client.create(configMaps, configMap(namespace, "one", { a: "1" }));
      assert.ok(made.metadata?.uid);
      assert.match(made.metadata?.resourceVersion ?? "", /^\d+$/);
      const read = await client.get<ConfigMap>(configMaps, namespace, "one");
      assert.deepEqual(read.data, { a: "1" });
      assert.equal(read.kind, "ConfigMap");
      assert.equal(read.apiVersion, "v1");
      assert.equal(read.metadata?.uid, made.metadata?.uid);
    });

    test("leaves what it was given alone", async () => {
      const given = configMap(namespace, "given");
      await client.create(configMaps, given);
      assert.deepEqual(given, configMap(namespace, "given"));
    });

    test("names the error", async () => {
      await client.create(configMaps, configMap(namespace, "twice"));
      await assert.rejects(client.create(configMaps, configMap(namespace, "twice")), {
        code: "already-exists",
        message: 'configmaps "twice" already exists',
      });
      await assert.rejects(client.get(configMaps, namespace, "missing"), {
        code: "not-found",
        message: 'configmaps "missing" not found',
      });
      await assert.rejects(client.create(configMaps, configMap("nowhere", "x")), {
        code: "not-found",
        message: 'namespaces "nowhere" not found',
      });
      await assert.rejects(client.list(ref("example.com/v1", "things")), { code: "not-found" });
    });

    test("refuses an update of an older revision", async () => {
      const first = await client.create(configMaps, configMap(namespace, "swap", { n: "0" }));
      const second = await client.update<ConfigMap>(configMaps, { ...first, data: { n: "1" } });
      assert.notEqual(second.metadata?.resourceVersion, first.metadata?.resourceVersion);
      await assert.rejects(client.update<ConfigMap>(configMaps, { ...first, data: { n: "2" } }), {
        code: "conflict",
        message:
          'Operation cannot be fulfilled on configmaps "swap": the object has been modified; please apply your changes to the latest version and try again',
      });
    });

    test("does not write an update that changes nothing", async () => {
      const made = await client.create(configMaps, configMap(namespace, "same", { n: "0" }));
      const again = await client.update<ConfigMap>(configMaps, made);
      assert.equal(again.metadata?.resourceVersion, made.metadata?.resourceVersion);
    });

    test("patches", async () => {
      await client.create(configMaps, configMap(namespace, "patched", { a: "1", b: "2" }));
      const merged = await client.patch<ConfigMap>(configMaps, namespace, "patched", "application/merge-patch+json", {
        data: { a: null, c: "3" },
      });
      assert.deepEqual(merged.data, { b: "2", c: "3" });
      const edited = await client.patch<ConfigMap>(configMaps, namespace, "patched", "application/json-patch+json", [
        { op: "replace", path: "/data/b", value: "4" },
      ]);
      assert.deepEqual(edited.data, { b: "4", c: "3" });
    });

    test("lists by namespace and label, in pages", async () => {
      await Promise.all(
        Array.from({ length: 7 }, (_, index) =>
          client.create(configMaps, configMap(namespace, `page-${index}`, {}, { paged: "yes" })),
        ),
      );
      const query = { namespace, labelSelector: "paged=yes" };
      const all = await client.list(configMaps, query);
      assert.deepEqual(
        all.items.map((item) => item.metadata?.name),
        [0, 1, 2, 3, 4, 5, 6].map((index) => `page-${index}`),
      );
      assert.ok(all.items.every((item) => item.kind === "ConfigMap" && item.apiVersion === "v1"));
      const first = await client.list(configMaps, { ...query, limit: 3 });
      assert.equal(first.items.length, 3);
      await client.delete(configMaps, namespace, "page-5");
      const names: (string | undefined)[] = [];
      for (let next = first; ;) {
        names.push(...next.items.map((item) => item.metadata?.name));
        if (!next.metadata.continue) break;
        next = await client.list(configMaps, { ...query, limit: 3, continue: next.metadata.continue });
      }
      assert.equal(names.length, 7, "later pages show the state of the first");
    });

    test("watches from a revision, by label, and misses nothing", async () => {
      const { metadata } = await client.list(configMaps, { namespace });
      const resourceVersion = metadata.resourceVersion ?? "";
      const stop = new AbortController();
      const seen = take(
        client.watch(configMaps, { namespace, labelSelector: "in=yes", resourceVersion, signal: stop.signal }),
        4,
        stop,
      );
      await client.create(configMaps, configMap(namespace, "other"));
      const made = await client.create(configMaps, configMap(namespace, "watched", {}, { in: "yes" }));
      const changed = await client.update<ConfigMap>(configMaps, { ...made, data: { x: "1" } });
      const left = await client.update(configMaps, {
        ...changed,
        metadata: { ...changed.metadata, labels: { in: "no" } },
      });
      await client.update(configMaps, { ...left, metadata: { ...left.metadata, labels: { in: "yes" } } });
      const events = await seen;
      assert.deepEqual(
        events.map(({ type, object }) => [type, object.metadata?.labels?.["in"]]),
        [
          ["ADDED", "yes"],
          ["MODIFIED", "yes"],
          ["DELETED", "yes"],
          ["ADDED", "yes"],
        ],
      );
    });

    test("ends a watch without an error when its signal aborts", async () => {
      const { metadata } = await client.list(configMaps, { namespace });
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 50);
      const watch = client.watch(configMaps, {
        namespace,
        resourceVersion: metadata.resourceVersion ?? "",
        signal: stop.signal,
      });
      assert.deepEqual(await take(watch, 99, stop), []);
    });

    test("deletes with preconditions, and collections by selector", async () => {
      const made = await client.create(configMaps, configMap(namespace, "gone", {}, { sweep: "1" }));
      await assert.rejects(client.delete(configMaps, namespace, "gone", { preconditions: { uid: "another" } }), {
        code: "conflict",
      });
      await client.delete(configMaps, namespace, "gone", { preconditions: { uid: made.metadata?.uid ?? "" } });
      await assert.rejects(client.get(configMaps, namespace, "gone"), { code: "not-found" });
      await client.create(configMaps, configMap(namespace, "swept", {}, { sweep: "1" }));
      await client.create(configMaps, configMap(namespace, "kept", {}, { sweep: "2" }));
      await client.deleteCollection(configMaps, namespace, { labelSelector: "sweep=1" });
      const names = (await client.list(configMaps, { namespace })).items.map((item) => item.metadata?.name);
      assert.ok(!names.includes("swept") && names.includes("kept"));
    });

    test("keeps an object that has finalizers until they are gone", async () => {
      const object = configMap(namespace, "held");
      const made = await client.create(configMaps, {
        ...object,
        metadata: { ...object.metadata, finalizers: ["example.com/hold"] },
      });
      await client.delete(configMaps, namespace, "held");
      const held = await client.get(configMaps, namespace, "held");
      assert.ok(held.metadata?.deletionTimestamp);
      assert.equal(held.metadata?.uid, made.metadata?.uid);
      await client.update(configMaps, { ...held, metadata: { ...held.metadata, finalizers: [] } });
      await assert.rejects(client.get(configMaps, namespace, "held"), { code: "not-found" });
    });

    test("writes status apart from the rest, and counts generation by spec only", async () => {
      const template = {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: "gantry/hello" }] },
      };
      const spec = { replicas: 1, selector: { matchLabels: { app: "web" } }, template };
      const deployment = {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "web", namespace },
        spec,
      } as KubeObject;
      const made = (await client.create(deployments, {
        ...deployment,
        status: { replicas: 9 },
      } as KubeObject)) as KubeObject & {
        status?: { replicas?: number };
      };
      assert.equal(made.metadata?.generation, 1);
      assert.equal(made.status?.replicas, undefined);
      const status = { replicas: 1, observedGeneration: 1 };
      const reported = (await client.update(deployments, { ...made, spec: {}, status } as KubeObject, {
        subresource: "status",
      })) as KubeObject & {
        spec?: { replicas?: number };
        status?: { replicas?: number };
      };
      assert.equal(reported.status?.replicas, 1);
      assert.equal(reported.spec?.replicas, 1);
      assert.equal(reported.metadata?.generation, 1);
      const scaled = await client.patch(deployments, namespace, "web", "application/merge-patch+json", {
        spec: { replicas: 2 },
      });
      assert.equal(scaled.metadata?.generation, 2);
    });

    test("answers a dry run without writing", async () => {
      const answer = await client.create(configMaps, configMap(namespace, "dry"), { dryRun: true });
      assert.ok(answer.metadata?.uid);
      await assert.rejects(client.get(configMaps, namespace, "dry"), { code: "not-found" });
    });

    test("tells what is served", async () => {
      const served = await client.resources();
      const pods = served.find(({ group, resource }) => group === "" && resource === "pods");
      assert.equal(pods?.kind, "Pod");
      assert.equal(pods?.namespaced, true);
      assert.ok(pods?.verbs.includes("deletecollection"));
      assert.ok(served.some(({ group, resource }) => group === "apps" && resource === "deployments"));
    });
  });
}
