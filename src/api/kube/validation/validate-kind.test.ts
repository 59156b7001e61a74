import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { withDefaults } from "../defaults/apply-defaults.ts";
import type { KubeObject } from "../object.ts";
import { validateKind } from "./validate-kind.ts";

function texts(object: object, old?: object, subresource?: string): string[] {
  const given = withDefaults(object) as KubeObject;
  const before = old === undefined ? undefined : (withDefaults(old) as KubeObject);
  return validateKind(given, before, subresource).map(({ field, message }) => `${field}: ${message}`);
}

const template = (labels: Record<string, string>, spec: object = {}): object => ({
  metadata: { labels },
  spec: { containers: [{ name: "c", image: "x:1" }], ...spec },
});
const deployment = (selector: object | undefined, labels: Record<string, string>, more: object = {}): object => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "d", namespace: "n" },
  spec: { ...(selector === undefined ? {} : { selector }), template: template(labels), ...more },
});
const pod = (spec: object, metadata: object = {}): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", namespace: "n", ...metadata },
  spec: { containers: [{ name: "c", image: "x:1" }], ...spec },
});

test("a good pod and a good deployment have no problems", () => {
  assert.deepEqual(texts(pod({})), []);
  assert.deepEqual(texts(deployment({ matchLabels: { a: "b" } }, { a: "b" })), []);
});

test("a deployment's selector must be there, match, and stay", () => {
  assert.deepEqual(texts(deployment({ matchLabels: { a: "c" } }, { a: "b" })), [
    'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
  ]);
  assert.deepEqual(texts(deployment(undefined, { a: "b" })), [
    "spec.selector: Required value",
    'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
  ]);
  assert.deepEqual(texts(deployment({}, { a: "b" })), [
    "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
  ]);
  assert.deepEqual(
    texts(deployment({ matchLabels: { a: "b" } }, { a: "b" }), deployment({ matchLabels: { a: "z" } }, { a: "z" })),
    ['spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable'],
  );
  assert.deepEqual(texts(deployment({ matchLabels: { a: "b" } }, { a: "b" }, { replicas: -1 })), [
    "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
  ]);
});

test("names are told their form in upstream's words", () => {
  const subdomain =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
  assert.deepEqual(texts(pod({}, { name: "Bad_Name" })), [`metadata.name: Invalid value: "Bad_Name": ${subdomain}`]);
  assert.deepEqual(
    texts(pod({}, { labels: { "a/b/c": "x" } }))[0]?.startsWith(
      'metadata.labels: Invalid value: "a/b/c": a valid label key must consist of',
    ),
    true,
  );
  assert.deepEqual(texts(pod({ containers: [{ name: "a.b", image: "x" }] })), [
    'spec.containers[0].name: Invalid value: "a.b": must not contain dots',
  ]);
  const label =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
  assert.deepEqual(
    texts({ apiVersion: "v1", kind: "Namespace", metadata: { name: "A" } })[0],
    `metadata.name: Invalid value: "A": ${label}`,
  );
});

test("a pod's containers are checked", () => {
  assert.deepEqual(texts(pod({ containers: [] })), ["spec.containers: Required value"]);
  assert.deepEqual(texts(pod({ containers: [{ name: "c" }] })), ["spec.containers[0].image: Required value"]);
  assert.deepEqual(texts(pod({ containers: [{ name: "c", image: "x", imagePullPolicy: "Sometimes" }] })), [
    'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"',
  ]);
  assert.deepEqual(
    texts(
      pod({
        containers: [
          { name: "c", image: "x" },
          { name: "c", image: "y" },
        ],
      }),
    ),
    ['spec.containers[1].name: Duplicate value: "c"'],
  );
  assert.deepEqual(
    texts(pod({ containers: [{ name: "c", image: "x", volumeMounts: [{ name: "v", mountPath: "/v" }] }] })),
    ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
  );
  assert.deepEqual(texts(pod({ containers: [{ name: "c", image: "x", ports: [{ containerPort: 70000 }] }] })), [
    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
  ]);
  assert.deepEqual(
    texts(
      pod({ containers: [{ name: "c", image: "x", resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } }] }),
    ),
    ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
  );
  assert.deepEqual(texts(pod({ containers: [{ name: "c", image: "x", livenessProbe: {} }] })), [
    "spec.containers[0].livenessProbe: Required value: must specify a handler type",
  ]);
  assert.deepEqual(texts(pod({ restartPolicy: "Perhaps" })), [
    'spec.restartPolicy: Unsupported value: "Perhaps": supported values: "Always", "OnFailure", "Never"',
  ]);
});

test("a pod's spec changes only in what may change", () => {
  assert.deepEqual(texts(pod({ containers: [{ name: "c", image: "y:2" }] }), pod({})), []);
  assert.match(
    texts(pod({ containers: [{ name: "c", image: "x:1", command: ["a"] }] }), pod({})).join(),
    /^spec: Forbidden: pod updates may not change fields other than `spec.containers\[\*\].image`,/,
  );
  assert.deepEqual(
    texts(
      pod({
        containers: [
          { name: "c", image: "x:1" },
          { name: "d", image: "x:1" },
        ],
      }),
      pod({}),
    ),
    ["spec.containers: Forbidden: pod updates may not add or remove containers"],
  );
  assert.match(texts(pod({ nodeName: "n1" }), pod({})).join(), /pod updates may not change fields/);
  assert.deepEqual(texts(pod({ nodeName: "n1" }), pod({}), "binding"), []);
});

test("services are checked", () => {
  const service = (spec: object): object => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "s", namespace: "n" },
    spec,
  });
  assert.deepEqual(texts(service({ ports: [{ port: 80 }] })), []);
  assert.deepEqual(texts(service({})), ["spec.ports: Required value"]);
  assert.deepEqual(texts(service({ clusterIP: "None" })), []);
  assert.deepEqual(texts(service({ ports: [{ port: 80 }, { port: 81 }] })), [
    "spec.ports[0].name: Required value",
    "spec.ports[1].name: Required value",
  ]);
  assert.deepEqual(texts(service({ type: "Nope", ports: [{ port: 80 }] })), [
    'spec.type: Unsupported value: "Nope": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
  ]);
  assert.deepEqual(texts(service({ ports: [{ port: 80, nodePort: 30000 }] })), [
    "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
  ]);
});

test("configmaps and secrets are checked", () => {
  assert.match(
    texts({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" }, data: { "a/b": "" } }).join(),
    /^data\[a\/b\]: Invalid value: "a\/b": a valid config key must consist of/,
  );
  assert.deepEqual(
    texts({ apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, type: "kubernetes.io/tls", data: {} }),
    ["data[tls.crt]: Required value", "data[tls.key]: Required value"],
  );
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s" } };
  assert.deepEqual(texts({ ...secret, type: "a" }, { ...secret, type: "b" }), [
    'type: Invalid value: "a": field is immutable',
  ]);
});

test("no JSON makes validation throw", () => {
  const spec = fc.dictionary(
    fc.constantFrom("template", "selector", "replicas", "strategy", "containers", "volumes"),
    fc.constantFrom({}, { containers: [] }, { spec: { containers: [{}] } }, { matchLabels: {} }),
  );
  fc.assert(
    fc.property(fc.constantFrom("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"), spec, (kind, value) => {
      const fits: Record<string, unknown> = { ...value };
      delete fits["replicas"];
      delete fits["containers"];
      delete fits["volumes"];
      texts({ apiVersion: "apps/v1", kind, metadata: { name: "x" }, spec: fits });
    }),
  );
});
