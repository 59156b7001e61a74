import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { Agent, request } from "undici";
import { ref } from "#api/kube/object.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

const seeds: { path: string; object: Record<string, unknown> }[] = [
  {
    path: "/api/v1/namespaces/default/pods",
    object: {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "p",
        labels: { a: "b" },
        finalizers: ["x/y"],
        ownerReferences: [{ apiVersion: "v1", kind: "A", name: "n", uid: "u" }],
      },
      spec: {
        containers: [
          {
            name: "c",
            image: "i",
            ports: [{ containerPort: 1 }],
            resources: { requests: { cpu: "1" } },
            env: [{ name: "A", value: "B" }],
          },
        ],
        volumes: [{ name: "v", emptyDir: {} }],
        tolerations: [{ key: "k", operator: "Exists" }],
      },
    },
  },
  {
    path: "/api/v1/namespaces/default/services",
    object: {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "s" },
      spec: { type: "NodePort", clusterIP: "10.103.0.9", ports: [{ port: 80, nodePort: 30001 }], selector: { a: "b" } },
    },
  },
  {
    path: "/apis/apps/v1/namespaces/default/deployments",
    object: {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "d" },
      spec: {
        replicas: 1,
        selector: { matchLabels: { a: "b" } },
        template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } },
      },
    },
  },
  {
    path: "/api/v1/namespaces",
    object: {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { generateName: "n-" },
      spec: { finalizers: ["kubernetes"] },
    },
  },
  {
    path: "/api/v1/namespaces/default/secrets",
    object: { apiVersion: "v1", kind: "Secret", metadata: { name: "x" }, stringData: { a: "b" }, type: "Opaque" },
  },
  {
    path: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    object: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "b" },
      roleRef: { kind: "ClusterRole", name: "view" },
      subjects: [{ kind: "User", name: "u" }],
    },
  },
  {
    path: "/apis/batch/v1/namespaces/default/jobs",
    object: {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name: "j" },
      spec: { template: { spec: { containers: [{ name: "c", image: "i" }] } } },
    },
  },
  {
    path: "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
    object: {
      apiVersion: "autoscaling/v1",
      kind: "HorizontalPodAutoscaler",
      metadata: { name: "h" },
      spec: { maxReplicas: 3, scaleTargetRef: { kind: "Deployment", name: "d" } },
    },
  },
];

/** Every path into an object. */
function pathsOf(value: unknown, at: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [at];
  return [
    at,
    ...Object.entries(value).flatMap(([key, item]) => pathsOf(item, [...at, Array.isArray(value) ? Number(key) : key])),
  ];
}

function replaceAt(value: unknown, path: readonly (string | number)[], item: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return item;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<
    string | number,
    unknown
  >;
  copy[first] = replaceAt(copy[first], rest, item);
  return copy;
}

const junk = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    "",
    0,
    -1,
    1.5,
    true,
    [],
    {},
    "x".repeat(300),
    [null],
    [{}],
    { "": "" },
    "..",
    "/",
    "\u0000",
    1e300,
    "-1",
    { a: null },
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

describe("bad input", () => {
  let at: TestServer;
  let agent: Agent;

  before(async () => {
    at = await startTestServer();
    agent = new Agent({ connect: { ca: at.authority.certPem } });
    // A pod waits a moment for its account: not eight hundred times.
    await at.server.client().create(ref("serviceaccounts"), {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace: "default" },
    });
  });
  after(async () => {
    await agent.destroy();
    await at.stop();
  });

  async function send(
    method: "POST" | "PATCH" | "PUT" | "GET",
    path: string,
    body: string | undefined,
    contentType = "application/json",
  ): Promise<{ code: number; text: string }> {
    const answer = await request(`${at.server.url}${path}`, {
      method,
      dispatcher: agent,
      headers: {
        authorization: `Bearer ${at.adminToken}`,
        ...(body === undefined ? {} : { "content-type": contentType }),
      },
      ...(body === undefined ? {} : { body }),
    });
    return { code: answer.statusCode, text: await answer.body.text() };
  }

  test("is the client's fault, never the server's: mutated objects", { timeout: 120_000 }, async () => {
    const cases = seeds.flatMap((seed) => pathsOf(seed.object).map((path) => ({ seed, path })));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...cases), junk, async ({ seed, path }, item) => {
        const body = JSON.stringify(replaceAt(seed.object, path, item));
        const { code, text } = await send("POST", `${seed.path}?dryRun=All`, body);
        assert.ok(code < 500, `${code} for ${seed.path} ${body}: ${text}`);
        assert.doesNotThrow(() => JSON.parse(text) as unknown);
      }),
      { numRuns: 800 },
    );
  });

  test("is the client's fault, never the server's: patches", { timeout: 120_000 }, async () => {
    await send("POST", "/apis/apps/v1/namespaces/default/deployments", JSON.stringify(seeds[2]?.object));
    const path = "/apis/apps/v1/namespaces/default/deployments/d?dryRun=All";
    const types = [
      "application/json-patch+json",
      "application/merge-patch+json",
      "application/strategic-merge-patch+json",
    ];
    const target = seeds[2]?.object ?? {};
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...types),
        fc.constantFrom(...pathsOf(target)),
        junk,
        async (type, at_, item) => {
          const patch =
            type === "application/json-patch+json"
              ? [{ op: "replace", path: `/${at_.join("/")}`, value: item }]
              : replaceAt(target, at_, item);
          const { code, text } = await send("PATCH", path, JSON.stringify(patch), type);
          assert.ok(code < 500, `${code} for ${type} ${JSON.stringify(patch)}: ${text}`);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("is the client's fault, never the server's: bytes, queries and paths", { timeout: 120_000 }, async () => {
    const types = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", ""];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...types), fc.string({ maxLength: 60, unit: "binary" }), async (type, body) => {
        const prefix = type.includes("protobuf") ? "k8s\u0000" : "";
        const { code, text } = await send(
          "POST",
          "/api/v1/namespaces/default/configmaps?dryRun=All",
          prefix + body,
          type,
        );
        assert.ok(code < 500, `${code} for ${type} ${JSON.stringify(body)}: ${text}`);
      }),
      { numRuns: 400 },
    );
    const names = [
      "limit",
      "continue",
      "resourceVersion",
      "labelSelector",
      "fieldSelector",
      "timeoutSeconds",
      "includeObject",
      "resourceVersionMatch",
      "fieldValidation",
      "dryRun",
    ];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), fc.string({ maxLength: 30 }), async (name, value) => {
        if (name === "resourceVersion" && /^\d+$/.test(value)) return;
        const { code, text } = await send("GET", `/api/v1/pods?${name}=${encodeURIComponent(value)}`, undefined);
        assert.ok(code < 500, `${code} for ${name}=${value}: ${text}`);
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.constantFrom(
            "api",
            "apis",
            "v1",
            "apps",
            "namespaces",
            "default",
            "pods",
            "x",
            "%2e%2e",
            "status",
            "log",
            "proxy",
            "%zz",
            "..",
            "",
          ),
        ),
        async (parts) => {
          const { code, text } = await send("GET", `/${parts.join("/")}`, undefined);
          assert.ok(code < 500, `${code} for /${parts.join("/")}: ${text}`);
        },
      ),
      { numRuns: 300 },
    );
  });
});
