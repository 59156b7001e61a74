import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Agent, request } from "undici";
import { type KubeObject, ref } from "#api/kube/object.ts";
import { splitLines } from "#kube/client/lines.ts";
import type { Status } from "./api-error.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

interface Answer<T> {
  code: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  json: T;
}

describe("the API over HTTPS", () => {
  let at: TestServer;
  let agent: Agent;

  before(async () => {
    at = await startTestServer();
    agent = new Agent({ connect: { ca: at.authority.certPem } });
  });
  after(async () => {
    await agent.destroy();
    await at.stop();
  });

  async function call<T = Status>(
    path: string,
    options: {
      method?: "GET" | "POST" | "PUT" | "DELETE";
      token?: string | null;
      body?: unknown;
      headers?: Record<string, string>;
    } = {},
  ): Promise<Answer<T>> {
    const { method = "GET", token = at.adminToken, body, headers = {} } = options;
    const answer = await request(`${at.server.url}${path}`, {
      method,
      dispatcher: agent,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      json = undefined;
    }
    return { code: answer.statusCode, headers: answer.headers, text, json: json as T };
  }

  /** The first `count` lines of a watch. */
  async function lines(path: string, count: number): Promise<{ type: string; object: KubeObject & Status }[]> {
    const stop = new AbortController();
    const { body } = await request(`${at.server.url}${path}`, {
      dispatcher: agent,
      headers: { authorization: `Bearer ${at.adminToken}` },
      signal: stop.signal,
    });
    const out: { type: string; object: KubeObject & Status }[] = [];
    try {
      for await (const line of splitLines(body)) {
        out.push(JSON.parse(line) as (typeof out)[number]);
        if (out.length === count) break;
      }
    } finally {
      stop.abort();
    }
    return out;
  }

  test("answers health and version to anybody, and nothing else", async () => {
    for (const path of ["/livez", "/readyz", "/healthz"]) assert.equal((await call(path, { token: null })).text, "ok");
    assert.match((await call("/readyz?verbose", { token: null })).text, /^\[\+\]ping ok\n[^]*readyz check passed\n$/);
    assert.equal((await call("/livez/ping")).text, "ok");
    const version = await call<{ gitVersion: string }>("/version", { token: null });
    assert.match(version.json.gitVersion, /^v1\.36\.\d+\+gantry/);
    const refused = await call("/api/v1/pods", { token: null });
    assert.equal(refused.code, 403);
    assert.equal(
      refused.json.message,
      'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope',
    );
    assert.equal(refused.json.reason, "Forbidden");
    assert.equal(
      (await call("/apis", { token: null })).json.message,
      'forbidden: User "system:anonymous" cannot get path "/apis"',
    );
  });

  test("refuses a wrong token", async () => {
    const { code, json } = await call("/api/v1/pods", { token: "wrong" });
    assert.equal(code, 401);
    assert.deepEqual(json, {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: "Unauthorized",
      reason: "Unauthorized",
      code: 401,
    });
  });

  test("refuses what a user's roles do not allow, and allows what they do", async () => {
    const jane = await at.clientFor("jane", ["devs"]);
    await assert.rejects(jane.list(ref("secrets"), { namespace: "default" }), {
      code: "forbidden",
      message:
        'secrets is forbidden: User "jane" cannot list resource "secrets" in API group "" in the namespace "default"',
    });
    await assert.rejects(jane.get(ref("apps/v1", "deployments"), "default", "web"), {
      message:
        'deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" in the namespace "default"',
    });
    await at.server.client().create(ref("rbac.authorization.k8s.io/v1", "rolebindings"), {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: "devs-view", namespace: "default" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
      subjects: [{ kind: "Group", name: "devs", apiGroup: "rbac.authorization.k8s.io" }],
    } as KubeObject);
    assert.deepEqual((await jane.list(ref("pods"), { namespace: "default" })).items, []);
    await assert.rejects(jane.list(ref("pods")), { code: "forbidden" });
    await assert.rejects(jane.list(ref("secrets"), { namespace: "default" }), { code: "forbidden" });
  });

  test("lets nobody grant what they do not hold", async () => {
    const client = at.server.client();
    const apiVersion = "rbac.authorization.k8s.io/v1";
    const apiGroup = "rbac.authorization.k8s.io";
    await client.create(ref(apiVersion, "rolebindings"), {
      apiVersion,
      kind: "RoleBinding",
      metadata: { name: "ann-admin", namespace: "default" },
      roleRef: { apiGroup, kind: "ClusterRole", name: "admin" },
      subjects: [{ kind: "User", name: "ann", apiGroup }],
    } as KubeObject);
    const ann = await at.clientFor("ann");
    const role = (name: string, rules: unknown[]) =>
      ann.create(ref(apiVersion, "roles"), {
        apiVersion,
        kind: "Role",
        metadata: { name, namespace: "default" },
        rules,
      } as KubeObject);
    await role("mine", [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }]);
    await assert.rejects(role("more", [{ apiGroups: [""], resources: ["nodes"], verbs: ["delete"] }]), {
      code: "forbidden",
      message:
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "ann" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["delete"]}',
    });
  });

  test("refuses bodies that are too large or no JSON", async () => {
    const large = await call("/api/v1/namespaces/default/configmaps", {
      method: "POST",
      body: JSON.stringify({ data: { a: "x".repeat(3 * 1024 * 1024) } }),
    });
    assert.equal(large.code, 413);
    assert.equal(large.json.message, "Request entity too large: limit is 3145728");
    const broken = await call("/api/v1/namespaces/default/configmaps", { method: "POST", body: "{" });
    assert.equal(broken.code, 400);
    assert.equal(broken.json.reason, "BadRequest");
  });

  test("answers 404, 405 and 406 as Status", async () => {
    const missing = await call("/apis/nope/v1/things");
    assert.equal(missing.code, 404);
    assert.equal(missing.json.message, "the server could not find the requested resource");
    assert.equal((await call("/api/v1/namespaces/default/configmaps", { method: "PUT", body: {} })).code, 405);
    assert.equal((await call("/api/v1/pods", { headers: { accept: "image/png" } })).code, 406);
  });

  test("lists with a revision that is not 0, also when nothing is there", async () => {
    const { json } = await call<KubeObject>("/api/v1/pods?resourceVersion=0");
    assert.equal(json.kind, "PodList");
    assert.ok(Number(json.metadata?.resourceVersion) > 0);
  });

  test("waits for a revision, and says when it does not come", async () => {
    const future = await call("/api/v1/pods?resourceVersion=999999999&resourceVersionMatch=NotOlderThan");
    assert.equal(future.code, 504);
    assert.match(future.json.message ?? "", /^Timeout: Too large resource version: 999999999, current: \d+$/);
    assert.equal(future.json.details?.causes?.[0]?.reason, "ResourceVersionTooLarge");
  });

  test("checks list options", async () => {
    const { code, json } = await call("/api/v1/pods?resourceVersionMatch=Exact");
    assert.equal(code, 422);
    assert.equal(
      json.message,
      'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
    assert.equal(
      (await call("/api/v1/pods?fieldSelector=spec.foo=bar")).json.message,
      "field label not supported: spec.foo",
    );
  });

  test("streams present objects first when asked, and marks their end", async () => {
    const events = await lines(
      "/api/v1/namespaces?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&resourceVersion=",
      5,
    );
    assert.deepEqual(
      events.map(({ type }) => type),
      ["ADDED", "ADDED", "ADDED", "ADDED", "BOOKMARK"],
    );
    const mark = events[4]?.object;
    assert.equal(mark?.metadata?.["annotations" as "labels"]?.["k8s.io/initial-events-end"], "true");
    assert.ok(Number((mark as KubeObject).metadata?.resourceVersion) > 0);
  });

  test("ends a watch after timeoutSeconds", async () => {
    const began = Date.now();
    const events = await lines("/api/v1/pods?watch=true&timeoutSeconds=1&resourceVersion=1", 1);
    assert.deepEqual(events, []);
    assert.ok(Date.now() - began >= 900);
  });

  test("answers a Table when asked", async () => {
    const { json } = await call<{ kind: string; rows: { cells: unknown[]; object: KubeObject }[] }>(
      "/api/v1/namespaces",
      {
        headers: { accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" },
      },
    );
    assert.equal(json.kind, "Table");
    assert.equal(json.rows[0]?.cells[0], "default");
    assert.equal(json.rows[0]?.object.kind, "PartialObjectMetadata");
  });

  test("tells what it serves, plainly and aggregated", async () => {
    interface Document {
      kind: string;
      items?: { metadata: { name?: string }; versions: { resources: { resource: string }[] }[] }[];
      resources?: { name: string; group?: string; version?: string }[];
    }
    const aggregated = await call<Document>("/apis", {
      headers: { accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json" },
    });
    assert.equal(aggregated.json.kind, "APIGroupDiscoveryList");
    assert.match(String(aggregated.headers["content-type"]), /as=APIGroupDiscoveryList/);
    const again = await call<Document>("/apis", {
      headers: {
        accept: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
        "if-none-match": String(aggregated.headers["etag"]),
      },
    });
    assert.equal(again.code, 304);
    const core = await call<Document>("/api/v1");
    const eviction = core.json.resources?.find(({ name }) => name === "pods/eviction");
    assert.deepEqual([eviction?.group, eviction?.version], ["policy", "v1"]);
    assert.equal((await call<Document>("/apis/apps/")).json.kind, "APIGroup");
    assert.equal((await call<Document>("/apis/apps/v1")).json.kind, "APIResourceList");
  });

  test("speaks events.k8s.io of what core/v1 stores", async () => {
    const made = await call("/api/v1/namespaces/default/events", {
      method: "POST",
      body: {
        metadata: { name: "e1", namespace: "default" },
        involvedObject: { kind: "Pod", name: "p", namespace: "default" },
        message: "hello",
        reason: "Started",
        type: "Normal",
      },
    });
    assert.equal(made.code, 201, made.text);
    const { json } = await call<{ note: string; regarding: { name: string }; apiVersion: string }>(
      "/apis/events.k8s.io/v1/namespaces/default/events/e1",
    );
    assert.equal(json.note, "hello");
    assert.equal(json.regarding.name, "p");
    assert.equal(json.apiVersion, "events.k8s.io/v1");
  });

  test("acts as another user for those who may", async () => {
    const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    const { json } = await call<{ status: { userInfo: { username: string; groups: string[] } } }>(
      "/apis/authentication.k8s.io/v1/selfsubjectreviews",
      {
        method: "POST",
        body: review,
        headers: { "impersonate-user": "bob", "impersonate-group": "team" },
      },
    );
    assert.equal(json.status.userInfo.username, "bob");
    assert.deepEqual(json.status.userInfo.groups, ["team", "system:authenticated"]);
  });
});
