import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { KubeObject } from "../object.ts";
import { scheme } from "../scheme.ts";
import { FieldSet } from "./field-set.ts";
import { conflictMessage, serverSideApply, trackUpdate, type ApplyOptions } from "./server-side-apply.ts";

const schema = scheme.kind("apps", "v1", "Deployment");
const options = (manager: string, more: Partial<ApplyOptions> = {}): ApplyOptions => ({
  manager,
  force: false,
  subresource: "",
  now: "2026-01-01T00:00:00Z",
  ...more,
});

function deployment(spec: object, metadata: object = {}): KubeObject {
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "d", ...metadata }, spec } as KubeObject;
}

function apply(
  live: KubeObject | undefined,
  config: KubeObject,
  manager: string,
  more: Partial<ApplyOptions> = {},
): KubeObject {
  const { object, conflicts } = serverSideApply(live, config, schema, options(manager, more));
  assert.deepEqual(conflicts, []);
  return object as KubeObject;
}

const specOf = (object: KubeObject): Record<string, unknown> =>
  (object as unknown as { spec: Record<string, unknown> }).spec;
const containers = (...names: [string, string][]): object => ({
  template: { spec: { containers: names.map(([name, image]) => ({ name, image })) } },
});

test("the first apply owns what it names", () => {
  const object = apply(undefined, deployment({ replicas: 2, ...containers(["c", "x"]) }, { labels: { a: "b" } }), "me");
  assert.deepEqual(object.metadata?.managedFields, [
    {
      manager: "me",
      operation: "Apply",
      apiVersion: "apps/v1",
      time: "2026-01-01T00:00:00Z",
      fieldsType: "FieldsV1",
      fieldsV1: {
        "f:metadata": { "f:labels": { "f:a": {} } },
        "f:spec": {
          "f:replicas": {},
          "f:template": {
            "f:spec": { "f:containers": { 'k:{"name":"c"}': { ".": {}, "f:image": {}, "f:name": {} } } },
          },
        },
      },
    },
  ]);
});

test("a field that is no longer applied goes away, unless another owns it", () => {
  const first = apply(
    undefined,
    deployment({ replicas: 2, minReadySeconds: 5, ...containers(["c", "x"], ["d", "y"]) }),
    "me",
  );
  const shared = apply(first, deployment({ minReadySeconds: 5 }), "you");
  const second = apply(shared, deployment(containers(["c", "x"])), "me");
  assert.deepEqual(specOf(second), { minReadySeconds: 5, ...containers(["c", "x"]) });
});

test("what another owns with another value is a conflict, and force takes it", () => {
  const first = apply(undefined, deployment({ replicas: 2, minReadySeconds: 5 }), "me");
  const { conflicts } = serverSideApply(first, deployment({ replicas: 3 }), schema, options("you"));
  assert.equal(conflictMessage(conflicts), 'Apply failed with 1 conflict: conflict with "me": .spec.replicas');
  const both = serverSideApply(first, deployment({ replicas: 3, minReadySeconds: 6 }), schema, options("you"));
  assert.equal(
    conflictMessage(both.conflicts),
    'Apply failed with 2 conflicts: conflicts with "me":\n- .spec.minReadySeconds\n- .spec.replicas',
  );
  const forced = apply(first, deployment({ replicas: 3 }), "you", { force: true });
  assert.equal(specOf(forced)["replicas"], 3);
  const mine = forced.metadata?.managedFields?.find((entry) => entry["manager"] === "me");
  assert.deepEqual(mine?.["fieldsV1"], { "f:spec": { "f:minReadySeconds": {} } });
});

test("the same value is no conflict: both own it", () => {
  const first = apply(undefined, deployment({ replicas: 2 }), "me");
  const second = apply(first, deployment({ replicas: 2 }), "you");
  assert.equal(second.metadata?.managedFields?.length, 2);
  assert.deepEqual(specOf(apply(second, deployment({}), "me")), { replicas: 2 });
});

test("an update takes the fields that it changes", () => {
  const first = apply(undefined, deployment({ replicas: 2, minReadySeconds: 5 }), "me");
  const scaled = { ...first, spec: { ...specOf(first), replicas: 4 } } as KubeObject;
  const managedFields =
    trackUpdate(first, scaled, schema, { manager: "kubectl-scale", subresource: "", now: "2026-01-02T00:00:00Z" }) ??
    [];
  const now = { ...scaled, metadata: { ...scaled.metadata, managedFields } };
  const { conflicts } = serverSideApply(now, deployment({ replicas: 2, minReadySeconds: 5 }), schema, options("me"));
  assert.equal(
    conflictMessage(conflicts),
    'Apply failed with 1 conflict: conflict with "kubectl-scale" using apps/v1: .spec.replicas',
  );
});

test("what an object had before its first apply belongs to nobody in particular", () => {
  const { conflicts } = serverSideApply(
    deployment({ replicas: 2 }),
    deployment({ replicas: 3 }),
    schema,
    options("me"),
  );
  assert.equal(
    conflictMessage(conflicts),
    'Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas',
  );
});

test("items of keyed lists keep what others added, in place", () => {
  const first = apply(undefined, deployment(containers(["a", "1"], ["c", "1"])), "me");
  const live = { ...first, spec: containers(["a", "1"], ["sidecar", "s"], ["c", "1"]) } as unknown as KubeObject;
  const second = apply(live, deployment(containers(["a", "1"], ["c", "2"], ["d", "1"])), "me");
  assert.deepEqual(specOf(second), containers(["a", "1"], ["sidecar", "s"], ["c", "2"], ["d", "1"]));
});

test("ports are told apart by their defaulted protocol", () => {
  const port = (more: object): object => ({
    template: { spec: { containers: [{ name: "c", ports: [{ containerPort: 80, ...more }] }] } },
  });
  const first = apply(undefined, deployment(port({})), "me");
  const live = { ...first, spec: port({ protocol: "TCP" }) } as unknown as KubeObject;
  assert.deepEqual(
    specOf(apply(live, deployment(port({ name: "web" })), "me")),
    port({ protocol: "TCP", name: "web" }),
  );
});

test("applying twice changes nothing more", () => {
  const value = fc.constantFrom("1", "2");
  const list = fc.uniqueArray(fc.record({ name: fc.constantFrom("a", "b", "c"), image: value }), {
    selector: ({ name }) => name,
    minLength: 1,
  });
  const spec = fc.record(
    {
      replicas: fc.integer({ min: 1, max: 3 }),
      paused: fc.boolean(),
      list,
      labels: fc.dictionary(fc.constantFrom("x", "y"), value),
    },
    { requiredKeys: ["list"] },
  );
  const build = ({
    list: items,
    labels,
    ...rest
  }: {
    list: object[];
    labels?: Record<string, string>;
    replicas?: number;
    paused?: boolean;
  }): KubeObject =>
    // fast-check's records have no prototype; JSON's have.
    JSON.parse(
      JSON.stringify(
        deployment({
          ...rest,
          template: { ...(labels === undefined ? {} : { metadata: { labels } }), spec: { containers: items } },
        }),
      ),
    ) as KubeObject;
  fc.assert(
    fc.property(spec, spec, spec, (one, two, three) => {
      const first = apply(undefined, build(one), "me");
      const second = apply(first, build(two), "you", { force: true });
      const third = apply(second, build(three), "me", { force: true });
      assert.deepEqual(apply(third, build(three), "me", { force: true, now: "2027-01-01T00:00:00Z" }), third);
      // What is applied is what is there.
      for (const container of three.list)
        assert.ok(
          (specOf(third)["template"] as { spec: { containers: object[] } }).spec.containers.some(
            (each) => JSON.stringify(each) === JSON.stringify({ ...each, ...container }),
          ),
        );
    }),
    { numRuns: 300 },
  );
});

test("a set reads back as it was written", () => {
  const json = { "f:a": { ".": {}, "f:b": {} }, 'k:{"name":"x"}': { ".": {}, "f:c": {} }, 'v:"s"': {} };
  assert.deepEqual(FieldSet.fromJson(json).toJson(), json);
  assert.deepEqual(FieldSet.fromJson(json).paths(), [".a", ".a.b", '[name="x"]', '[name="x"].c', '[="s"]']);
});
