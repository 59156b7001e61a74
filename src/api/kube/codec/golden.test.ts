// Kubernetes' own golden files: one object of each kind with every field set, as JSON, YAML and protobuf.
// They come with the Go module k8s.io/api (`go mod download k8s.io/api@v0.36.0`) and are not committed.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { scheme } from "../scheme.ts";
import { parseYaml } from "./decode-object.ts";
import { readProtobuf } from "./protobuf-reader.ts";
import { writeProtobuf } from "./protobuf-writer.ts";
import { fitToSchema } from "./structural.ts";

const folder = join(process.env["GOMODCACHE"] ?? join(homedir(), "go/pkg/mod"), "k8s.io/api@v0.36.0/testdata/HEAD");
const skip = existsSync(folder) ? false : "the golden files are not here: go mod download k8s.io/api@v0.36.0";
const names =
  skip === false
    ? readdirSync(folder)
        .filter((file) => file.endsWith(".json"))
        .map((file) => file.slice(0, -5))
    : [];

function kindOf(object: Record<string, unknown>): { group: string; version: string; kind: string } {
  const [first = "", second] = String(object["apiVersion"]).split("/");
  const kind = String(object["kind"]);
  return second === undefined ? { group: "", version: first, kind } : { group: first, version: second, kind };
}

const cases = names
  .map((name) => ({
    name,
    json: JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as Record<string, unknown>,
  }))
  .filter(({ json }) => {
    const { group, version, kind } = kindOf(json);
    return scheme.kind(group, version, kind) !== undefined;
  });

test("golden protobuf reads as the golden JSON", { skip }, () => {
  assert.ok(cases.length > 100, `${cases.length} kinds`);
  for (const { name, json } of cases) {
    const pb = readFileSync(join(folder, `${name}.pb`));
    assert.deepEqual(withoutNulls(readProtobuf(pb, kindOf(json))), withoutNulls(json), name);
  }
});

test("golden JSON writes as the golden protobuf, byte by byte", { skip }, () => {
  for (const { name, json } of cases) {
    const written = writeProtobuf(json);
    assert.equal(written?.toString("hex"), readFileSync(join(folder, `${name}.pb`)).toString("hex"), name);
  }
});

test("golden JSON and YAML fit the tables and are the same", { skip }, async () => {
  for (const { name, json } of cases) {
    const { group, version, kind } = kindOf(json);
    const schema = scheme.kind(group, version, kind);
    assert.ok(schema, name);
    const { object, report } = fitToSchema(json, schema);
    assert.deepEqual(report, { unknown: [], mismatch: undefined }, name);
    assert.deepEqual(withoutNulls(object), withoutNulls(json), name);
    assert.deepEqual(await parseYaml(readFileSync(join(folder, `${name}.yaml`), "utf8")), json, name);
  }
});

/** Nulls are absent to us. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null && item !== undefined)
      .map(([key, item]) => [key, withoutNulls(item)]),
  );
}
