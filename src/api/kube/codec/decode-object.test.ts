import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GantryError } from "#base/errors.ts";
import { withDefaults } from "../defaults/apply-defaults.ts";
import { decodeObject, type FieldValidation, parseYaml } from "./decode-object.ts";
import { duplicateFields } from "./duplicate-fields.ts";
import { readProtobuf } from "./protobuf-reader.ts";
import { writeProtobuf } from "./protobuf-writer.ts";

const deployment = { group: "apps", version: "v1", kind: "Deployment" };

async function decode(
  text: string,
  validation: FieldValidation = "Strict",
  type = "application/json",
): Promise<{ object?: unknown; warnings?: string[]; error?: string }> {
  try {
    return await decodeObject(Buffer.from(text), type, deployment, validation);
  } catch (error) {
    return { error: (error as Error).message };
  }
}

test("a wrong type is told as Go's decoder tells it", async () => {
  const head = 'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal';
  const cases: [string, string][] = [
    ['{"spec":{"replicas":"three"}}', "string into Go struct field DeploymentSpec.spec.replicas of type int32"],
    ['{"spec":{"replicas":1.5}}', "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"],
    [
      '{"spec":{"template":{"spec":{"containers":{}}}}}',
      "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
    ],
    [
      '{"spec":{"template":{"spec":{"containers":[{"name":1}]}}}}',
      "number into Go struct field Container.spec.template.spec.containers.name of type string",
    ],
    ['{"metadata":{"labels":{"a":true}}}', "bool into Go struct field ObjectMeta.metadata.labels of type string"],
    ['{"spec":[]}', "array into Go struct field Deployment.spec of type v1.DeploymentSpec"],
  ];
  for (const [text, expected] of cases) assert.equal((await decode(text)).error, `${head} ${expected}`, text);
});

test("unknown and repeated fields are refused, warned of, or dropped, as asked", async () => {
  const text = '{"spec":{"foo":1,"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"nam":"x"}]}}}}';
  const list = [
    'unknown field "spec.foo"',
    'unknown field "spec.template.spec.containers[0].nam"',
    'duplicate field "spec.replicas"',
  ];
  assert.equal(
    (await decode(text)).error,
    `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: ${list.join(", ")}`,
  );
  const warned = await decode(text, "Warn");
  assert.deepEqual(warned.warnings, list);
  assert.deepEqual((warned.object as { spec: object }).spec, { replicas: 2, template: { spec: { containers: [{}] } } });
  assert.deepEqual((await decode(text, "Ignore")).warnings, []);
});

test("a body of another kind or version is refused", async () => {
  assert.match(
    (await decode('{"apiVersion":"v1","kind":"Nope"}')).error ?? "",
    /^no kind "Nope" is registered for version "v1"/,
  );
  assert.equal(
    (await decode('{"apiVersion":"apps/v2","kind":"Deployment"}')).error,
    "the API version in the data (apps/v2) does not match the expected API version (apps/v1)",
  );
});

test("duplicate keys are found wherever they are, and nothing else is", () => {
  assert.deepEqual(duplicateFields('{"a":[{"b":1,"b":2},{"b":1}],"a":{"\\u0062":[],"b":"}{\\"]["}}'), [
    "a[0].b",
    "a",
    "a.b",
  ]);
  fc.assert(
    fc.property(fc.json(), (text) => {
      assert.deepEqual(duplicateFields(text), []);
    }),
  );
  assert.throws(() => duplicateFields(`${"[".repeat(20_000)}${"]".repeat(20_000)}`), /exceeded max depth/);
});

test("an object goes through protobuf and back unchanged", () => {
  const text = fc.string({ maxLength: 8 });
  const labels = fc.dictionary(fc.string({ minLength: 1, maxLength: 5 }), text, { maxKeys: 3 });
  const container = fc.record(
    {
      name: text,
      image: text,
      command: fc.array(text, { minLength: 1, maxLength: 3 }),
      ports: fc.array(
        fc.record({ containerPort: fc.integer({ min: 1, max: 65535 }), protocol: fc.constantFrom("TCP", "UDP") }),
        { minLength: 1, maxLength: 2 },
      ),
      livenessProbe: fc.record({
        httpGet: fc.record({ port: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constant("web")) }),
        initialDelaySeconds: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      }),
      resources: fc.record({
        limits: fc.dictionary(fc.constantFrom<string>("cpu", "memory"), fc.constantFrom("100m", "1Gi", "2"), {
          minKeys: 1,
        }),
      }),
      securityContext: fc.record(
        { runAsUser: fc.integer({ min: 0, max: 2 ** 40 }), privileged: fc.boolean() },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: ["name", "image"] },
  );
  const pod = fc.record({
    metadata: fc.record({
      name: text,
      labels,
      creationTimestamp: fc.constant("2026-01-02T03:04:05Z"),
      generation: fc.integer({ min: 0, max: 2 ** 50 }),
    }),
    containers: fc.array(container, { minLength: 1, maxLength: 3 }),
    priority: fc.integer(),
  });
  fc.assert(
    fc.property(pod, ({ metadata, containers, priority }) => {
      const given = withDefaults({ apiVersion: "v1", kind: "Pod", metadata, spec: { containers, priority } });
      const bytes = writeProtobuf(given);
      assert.ok(bytes);
      const back = readProtobuf(bytes, { group: "", version: "v1", kind: "Pod" });
      assert.deepEqual(withDefaults(back), given);
    }),
    { numRuns: 300 },
  );
});

test("bytes that are no protobuf are refused and never break the reader", () => {
  const base = writeProtobuf(
    withDefaults({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "x", labels: { a: "b" } },
      spec: { containers: [{ name: "c", image: "i" }] },
    }),
  ) as Buffer;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(base.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 }),
      fc.nat(base.length),
      (changes, cut) => {
        const bytes = Buffer.from(base.subarray(0, cut));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        try {
          readProtobuf(bytes, { group: "", version: "v1", kind: "Pod" });
        } catch (error) {
          assert.ok(error instanceof GantryError, String((error as Error).stack));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("YAML is read as Kubernetes reads it", async () => {
  assert.deepEqual(
    await parseYaml("a: yes\nb: 'yes'\nc: 2001-01-01\nd: 8080:80\ne: &x {q: 1}\nf: {<<: *x, r: off}\n"),
    {
      a: true,
      b: "yes",
      c: "2001-01-01",
      d: "8080:80",
      e: { q: 1 },
      f: { q: 1, r: false },
    },
  );
  await assert.rejects(parseYaml("a: [1\nb: 2"), /^GantryError: error converting YAML to JSON: yaml: line 2: /);
  let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (const [from, to] of ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].map((pair) => [...pair]) as [
    string,
    string,
  ][])
    bomb += `${to}: &${to} [${Array.from({ length: 9 }, () => `*${from}`).join(",")}]\n`;
  await assert.rejects(parseYaml(bomb), /excessive aliasing/);
});
