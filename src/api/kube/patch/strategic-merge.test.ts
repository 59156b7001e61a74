import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { scheme } from "../scheme.ts";
import { mergePatch } from "./merge-patch.ts";
import { strategicMerge } from "./strategic-merge.ts";

const podSpec = scheme.object("core/v1", "PodSpec");
const container = scheme.object("core/v1", "Container");
const meta = scheme.object("meta/v1", "ObjectMeta");
const merge = (current: object, patch: object, schema = podSpec): object =>
  strategicMerge(current as Record<string, unknown>, patch as Record<string, unknown>, schema);
const names = (...list: string[]): object => ({ containers: list.map((name) => ({ name })) });
const order = (...list: string[]): object => ({ "$setElementOrder/containers": list.map((name) => ({ name })) });

test("lists with a merge key merge item by item; others are replaced", () => {
  assert.deepEqual(
    merge(
      { containers: [{ name: "a", image: "1", command: ["x"] }, { name: "b" }] },
      { containers: [{ name: "a", image: "2" }, { name: "c" }] },
    ),
    {
      containers: [{ name: "a", image: "2", command: ["x"] }, { name: "b" }, { name: "c" }],
    },
  );
  assert.deepEqual(merge({ command: ["a", "b"] }, { command: ["c"] }, container), { command: ["c"] });
  assert.deepEqual(
    merge(
      { ports: [{ containerPort: 80, name: "x" }] },
      { ports: [{ containerPort: 80, protocol: "UDP" }] },
      container,
    ),
    { ports: [{ containerPort: 80, name: "x", protocol: "UDP" }] },
  );
});

test("null deletes, and $patch deletes or replaces", () => {
  assert.deepEqual(merge({ nodeName: "n", hostname: "h" }, { nodeName: null }), { hostname: "h" });
  assert.deepEqual(merge(names("a", "b"), { containers: [{ name: "a", $patch: "delete" }] }), names("b"));
  assert.deepEqual(merge(names("a", "b"), { containers: [{ $patch: "replace" }, { name: "c" }] }), names("c"));
  assert.deepEqual(
    merge({ securityContext: { runAsUser: 1, fsGroup: 2 } }, { securityContext: { $patch: "replace", fsGroup: 3 } }),
    { securityContext: { fsGroup: 3 } },
  );
  assert.deepEqual(merge({ nodeSelector: { a: "1", b: "2" } }, { nodeSelector: { a: null, c: "3" } }), {
    nodeSelector: { b: "2", c: "3" },
  });
});

test("$deleteFromPrimitiveList takes values out, and primitive lists merge without repeats", () => {
  assert.deepEqual(merge({ finalizers: ["a", "b"] }, { "$deleteFromPrimitiveList/finalizers": ["a"] }, meta), {
    finalizers: ["b"],
  });
  assert.deepEqual(merge({ finalizers: ["a", "b"] }, { finalizers: ["b", "c"] }, meta), {
    finalizers: ["a", "b", "c"],
  });
});

test("$retainKeys keeps only what it names", () => {
  const schema = scheme.object("apps/v1", "DeploymentSpec");
  assert.deepEqual(
    merge(
      { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } },
      { strategy: { $retainKeys: ["type"], type: "Recreate" } },
      schema,
    ),
    { strategy: { type: "Recreate" } },
  );
  assert.deepEqual(
    merge(
      { volumes: [{ name: "v", emptyDir: {} }] },
      { volumes: [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/x" } }] },
    ),
    { volumes: [{ name: "v", hostPath: { path: "/x" } }] },
  );
});

test("$setElementOrder orders what it names; the server's own items keep their place", () => {
  assert.deepEqual(merge(names("a", "b"), { ...order("b", "a"), ...names("b") }), names("b", "a"));
  assert.deepEqual(merge(names("a", "s", "b"), { ...order("b", "a"), ...names("b") }), names("s", "b", "a"));
  assert.deepEqual(merge(names("s", "a"), { ...order("a", "c"), ...names("c") }), names("s", "a", "c"));
  assert.deepEqual(merge(names("a", "b"), order("b", "a")), names("b", "a"));
  assert.throws(() => merge(names("a"), { ...order("a"), ...names("z") }), /doesn't match \$setElementOrder list/);
});

test("what a patch lacks is told in upstream's words", () => {
  assert.throws(
    () => merge(names("a"), { containers: [{ image: "x" }] }),
    /map: map\[image:x\] does not contain declared merge key: name/,
  );
  assert.throws(() => merge({}, { $patch: "explode" }), /Unknown patch type found: explode/);
});

const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom("x", 1, true),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "b", "c", "d"), tie("value"), { noNullPrototype: true }),
  ),
})).value;
const object = fc.dictionary(fc.constantFrom("a", "b", "c", "d"), json, { noNullPrototype: true });

test("without a schema, a strategic merge is a merge patch; neither changes its arguments", () => {
  fc.assert(
    fc.property(object, object, (current, patch) => {
      const before = JSON.stringify([current, patch]);
      assert.deepEqual(strategicMerge(current, patch, undefined), mergePatch(current, patch));
      assert.equal(JSON.stringify([current, patch]), before);
    }),
  );
});

test("applying the same strategic merge twice is applying it once", () => {
  const list = fc.uniqueArray(
    fc.record(
      { name: fc.constantFrom("a", "b", "c", "d"), image: fc.constantFrom("1", "2") },
      { noNullPrototype: true },
    ),
    { selector: ({ name }) => name },
  );
  fc.assert(
    fc.property(list, list, fc.boolean(), (have, want, ordered) => {
      const patch = {
        containers: want,
        ...(ordered ? { "$setElementOrder/containers": want.map(({ name }) => ({ name })) } : {}),
      };
      const once = merge({ containers: have }, patch);
      assert.deepEqual(merge(once, patch), once);
      const result = (once as { containers: { name: string; image: string }[] }).containers;
      for (const item of want)
        assert.deepEqual(
          result.find(({ name }) => name === item.name),
          item,
        );
      assert.equal(new Set(result.map(({ name }) => name)).size, result.length);
    }),
  );
});
