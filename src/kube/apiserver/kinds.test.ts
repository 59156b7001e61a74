import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { GantryError } from "#base/errors.ts";
import { type KubeObject, type ObjectMeta, ref } from "#api/kube/object.ts";
import type { KubeClient } from "#kube/client/client.ts";
import { startTestServer, type TestServer } from "./test-server.ts";
import { serviceAccountUser } from "./user.ts";

const pods = ref("pods");
const services = ref("services");
const namespaces = ref("namespaces");

interface Loose extends KubeObject {
  metadata?: ObjectMeta;
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}

interface ServiceObject extends KubeObject {
  spec: {
    clusterIP?: string;
    clusterIPs?: string[];
    type?: string;
    ports?: { nodePort?: number; port: number; protocol?: string }[];
  };
}

describe("kinds with a life of their own", () => {
  let at: TestServer;
  let client: KubeClient;

  before(async () => {
    at = await startTestServer({
      options: { serviceCidr: "10.103.0.0/24", nodePortRange: { from: 30000, to: 30003 } },
    });
    client = at.server.client();
    for (const namespace of ["default", "kube-system"])
      await client.create(ref("serviceaccounts"), {
        apiVersion: "v1",
        kind: "ServiceAccount",
        metadata: { name: "default", namespace },
      });
  });
  after(() => at.stop());

  const pod = (name: string, spec: Record<string, unknown> = {}): Loose => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: name } },
    spec: { containers: [{ name: "c", image: "gantry/hello" }], ...spec },
  });
  const service = (name: string, spec: Record<string, unknown>): ServiceObject =>
    ({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace: "default" },
      spec: { ports: [{ port: 80 }], ...spec },
    }) as ServiceObject;
  const message = async (work: Promise<unknown>): Promise<string> => {
    try {
      await work;
    } catch (error) {
      assert.ok(error instanceof GantryError);
      return error.message;
    }
    return assert.fail("it was not refused");
  };

  test("a cluster begins with its namespaces, roles, priority classes and the kubernetes Service", async () => {
    const names = (await client.list(namespaces)).items.map(({ metadata }) => metadata?.name);
    assert.deepEqual(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    const kubernetes = await client.get<ServiceObject>(services, "default", "kubernetes");
    assert.equal(kubernetes.spec.clusterIP, "10.103.0.1");
    assert.ok(await client.get(ref("discovery.k8s.io/v1", "endpointslices"), "default", "kubernetes"));
    assert.ok(await client.get(ref("rbac.authorization.k8s.io/v1", "clusterroles"), undefined, "cluster-admin"));
    assert.ok(await client.get(ref("scheduling.k8s.io/v1", "priorityclasses"), undefined, "system-node-critical"));
  });

  test("a new pod is Pending, has its account's token, a priority and tolerations", async () => {
    const made = (await client.create(pods, { ...pod("fresh"), status: { phase: "Running" } } as Loose)) as Loose & {
      spec: {
        volumes: { name: string }[];
        containers: { volumeMounts: { mountPath: string; name: string }[] }[];
      } & Record<string, unknown>;
    };
    assert.equal(made.status?.["phase"], "Pending");
    assert.equal(made.status?.["qosClass"], "BestEffort");
    assert.equal(made.spec["serviceAccountName"], "default");
    assert.equal(made.spec["priority"], 0);
    assert.equal(made.spec["preemptionPolicy"], "PreemptLowerPriority");
    assert.match(made.spec.volumes[0]?.name ?? "", /^kube-api-access-[a-z0-9]{5}$/);
    assert.equal(made.spec.containers[0]?.volumeMounts[0]?.mountPath, "/var/run/secrets/kubernetes.io/serviceaccount");
    assert.equal((made.spec["tolerations"] as unknown[]).length, 2);
  });

  test("a pod of an unknown account, class or namespace is refused", async () => {
    assert.equal(
      await message(client.create(pods, pod("p", { serviceAccountName: "ghost" }))),
      'pods "p" is forbidden: error looking up service account default/ghost: serviceaccount "ghost" not found',
    );
    assert.equal(
      await message(client.create(pods, pod("p", { priorityClassName: "ghost" }))),
      'pods "p" is forbidden: no PriorityClass with name ghost was found',
    );
  });

  test("a pod that no node has is deleted at once; one on a node gets its time", async () => {
    await client.create(pods, pod("unbound"));
    await client.delete(pods, "default", "unbound");
    await assert.rejects(client.get(pods, "default", "unbound"), { code: "not-found" });

    await client.create(pods, pod("bound", { terminationGracePeriodSeconds: 7 }));
    const binding = {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name: "bound" },
      target: { kind: "Node", name: "n1" },
    };
    await client.post(pods, "default", "bound", "binding", binding);
    assert.equal((await client.get<Loose>(pods, "default", "bound")).spec?.["nodeName"], "n1");
    assert.equal(
      await message(client.post(pods, "default", "bound", "binding", binding)),
      'Operation cannot be fulfilled on pods/binding "bound": pod bound is already assigned to node "n1"',
    );
    await client.delete(pods, "default", "bound");
    const ending = await client.get(pods, "default", "bound");
    assert.ok(ending.metadata?.deletionTimestamp);
    assert.equal(ending.metadata?.deletionGracePeriodSeconds, 7);
    await client.delete(pods, "default", "bound", { gracePeriodSeconds: 2 });
    assert.equal((await client.get(pods, "default", "bound")).metadata?.deletionGracePeriodSeconds, 2);
    await client.delete(pods, "default", "bound", { gracePeriodSeconds: 0 });
    await assert.rejects(client.get(pods, "default", "bound"), { code: "not-found" });
  });

  test("foreground deletion and orphaning are finalizers", async () => {
    const configMaps = ref("configmaps");
    const make = (name: string) =>
      client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } });
    await make("fore");
    await client.delete(configMaps, "default", "fore", { propagationPolicy: "Foreground" });
    assert.deepEqual((await client.get(configMaps, "default", "fore")).metadata?.finalizers, ["foregroundDeletion"]);
    await make("orphans");
    await client.delete(configMaps, "default", "orphans", { propagationPolicy: "Orphan" });
    assert.deepEqual((await client.get(configMaps, "default", "orphans")).metadata?.finalizers, ["orphan"]);
  });

  test("Services get addresses and node ports, keep them, and give them back", async () => {
    const web = await client.create(services, service("web", { type: "NodePort", selector: { app: "web" } }));
    assert.match(web.spec.clusterIP ?? "", /^10\.103\.0\.\d+$/);
    assert.deepEqual(web.spec.clusterIPs, [web.spec.clusterIP]);
    const port = web.spec.ports?.[0]?.nodePort ?? 0;
    assert.ok(port >= 30000 && port <= 30003);

    assert.equal(
      await message(client.create(services, service("thief", { clusterIP: web.spec.clusterIP }))),
      `Service "thief" is invalid: spec.clusterIPs: Invalid value: ["${web.spec.clusterIP}"]: failed to allocate IP ${web.spec.clusterIP}: provided IP is already allocated`,
    );
    assert.equal(
      await message(
        client.create(services, service("thief", { type: "NodePort", ports: [{ port: 80, nodePort: port }] })),
      ),
      `Service "thief" is invalid: spec.ports[0].nodePort: Invalid value: ${port}: provided port is already allocated`,
    );
    assert.equal(
      await message(client.create(services, service("far", { type: "NodePort", ports: [{ port: 80, nodePort: 80 }] }))),
      'Service "far" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30003',
    );
    const updated = await client.update(services, {
      ...web,
      spec: { ...web.spec, clusterIP: "", clusterIPs: [], ports: [{ port: 80 }] },
    } as ServiceObject);
    assert.equal(updated.spec.clusterIP, web.spec.clusterIP);
    assert.equal(updated.spec.ports?.[0]?.nodePort, port);
    const plain = await client.patch<ServiceObject>(services, "default", "web", "application/merge-patch+json", {
      spec: { type: "ClusterIP" },
    });
    assert.equal(plain.spec.ports?.[0]?.nodePort, undefined);
    const next = await client.create(
      services,
      service("next", { type: "NodePort", ports: [{ port: 80, nodePort: port }] }),
    );
    assert.equal(next.spec.ports?.[0]?.nodePort, port);
    await client.delete(services, "default", "web");
    const again = await client.create(services, service("again", { clusterIP: web.spec.clusterIP }));
    assert.equal(again.spec.clusterIP, web.spec.clusterIP);
    const headless = await client.create(services, service("headless", { clusterIP: "None" }));
    assert.deepEqual(headless.spec.clusterIPs, ["None"]);
    const outside = await client.create(
      services,
      service("outside", { type: "ExternalName", externalName: "example.com", ports: [] }),
    );
    assert.equal(outside.spec.clusterIP, undefined);
  });

  test("many Services at once get addresses of their own", async () => {
    const made = await Promise.all(
      Array.from({ length: 40 }, (_, index) => client.create(services, service(`many-${index}`, {}))),
    );
    assert.equal(new Set(made.map(({ spec }) => spec.clusterIP)).size, 40);
    await Promise.all(made.map(({ metadata }) => client.delete(services, "default", metadata?.name ?? "")));
  });

  test("a namespace ends in two steps, and takes nothing new meanwhile", async () => {
    const made = (await client.create(namespaces, {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "ending" },
    })) as Loose;
    assert.deepEqual(made.spec?.["finalizers"], ["kubernetes"]);
    assert.equal(made.metadata?.labels?.["kubernetes.io/metadata.name"], "ending");
    await client.delete(namespaces, undefined, "ending");
    const ending = (await client.get(namespaces, undefined, "ending")) as Loose;
    assert.equal(ending.status?.["phase"], "Terminating");
    assert.equal(
      await message(
        client.create(ref("configmaps"), {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: "late", namespace: "ending" },
        }),
      ),
      'configmaps "late" is forbidden: unable to create new content in namespace ending because it is being terminated',
    );
    await client.update(namespaces, { ...ending, spec: { finalizers: [] } } as Loose, { subresource: "finalize" });
    await assert.rejects(client.get(namespaces, undefined, "ending"), { code: "not-found" });
    assert.equal(
      await message(client.delete(namespaces, undefined, "kube-system")),
      'namespaces "kube-system" is forbidden: this namespace may not be deleted',
    );
  });

  test("Secrets take stringData, and immutable ones do not change", async () => {
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "s", namespace: "default" },
      stringData: { a: "x" },
      immutable: true,
    };
    const made = (await client.create(ref("secrets"), secret as KubeObject)) as KubeObject & {
      data: Record<string, string>;
      stringData?: unknown;
    };
    assert.deepEqual(made.data, { a: "eA==" });
    assert.equal(made.stringData, undefined);
    assert.equal(
      await message(
        client.patch(ref("secrets"), "default", "s", "application/merge-patch+json", { data: { a: "eQ==" } }),
      ),
      'Secret "s" is invalid: data: Forbidden: field is immutable when `immutable` is set',
    );
  });

  test("scale reads and writes replicas", async () => {
    const deployments = ref("apps/v1", "deployments");
    const template = { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "i" }] } };
    await client.create(deployments, {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: "default" },
      spec: { replicas: 2, selector: { matchLabels: { app: "web" } }, template },
    } as KubeObject);
    const scale = (await client.patch(
      deployments,
      "default",
      "web",
      "application/merge-patch+json",
      { spec: { replicas: 5 } },
      { subresource: "scale" },
    )) as Loose;
    assert.equal(scale.kind, "Scale");
    assert.equal(scale.spec?.["replicas"], 5);
    assert.equal(scale.status?.["selector"], "app=web");
    assert.equal((await client.get<Loose>(deployments, "default", "web")).spec?.["replicas"], 5);
  });

  test("an account's token is its own, and dies with what it is bound to", async () => {
    const accounts = ref("serviceaccounts");
    const made = await client.create(pods, pod("bearer"));
    const request = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: {
        expirationSeconds: 3600,
        boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "bearer", uid: made.metadata?.uid },
      },
    };
    const { status } = (await client.post(accounts, "default", "default", "token", request)) as Loose;
    const token = status?.["token"] as string;
    const review = async (): Promise<{ authenticated: boolean; user: { username?: string; groups?: string[] } }> => {
      const answer = (await client.create(ref("authentication.k8s.io/v1", "tokenreviews"), {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: { token },
      } as KubeObject)) as Loose;
      return answer.status as unknown as { authenticated: boolean; user: { username?: string; groups?: string[] } };
    };
    const known = await review();
    assert.equal(known.authenticated, true);
    assert.equal(known.user.username, "system:serviceaccount:default:default");
    assert.deepEqual(known.user.groups, [
      "system:serviceaccounts",
      "system:serviceaccounts:default",
      "system:authenticated",
    ]);
    await client.delete(pods, "default", "bearer");
    assert.equal((await review()).authenticated, false);
  });

  test("what a user may do is asked of the same rules that decide", async () => {
    const account = at.server.client(serviceAccountUser("kube-system", "deployment-controller"));
    const review = async (verb: string, group: string, resource: string): Promise<unknown> => {
      const answer = (await account.create(ref("authorization.k8s.io/v1", "selfsubjectaccessreviews"), {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes: { verb, group, resource, namespace: "default" } },
      } as KubeObject)) as Loose;
      return answer.status?.["allowed"];
    };
    assert.equal(await review("create", "apps", "replicasets"), true);
    assert.equal(await review("delete", "", "nodes"), false);
    await assert.rejects(account.delete(ref("nodes"), undefined, "n1"), { code: "forbidden" });
  });

  test("an eviction respects the budget", async () => {
    const budgets = ref("policy/v1", "poddisruptionbudgets");
    const made = (await client.create(pods, pod("guarded", { nodeName: "n1" }))) as Loose;
    await client.update(
      pods,
      {
        ...made,
        status: { ...made.status, phase: "Running", conditions: [{ type: "Ready", status: "True" }] },
      } as Loose,
      { subresource: "status" },
    );
    const budget = (await client.create(budgets, {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "guard", namespace: "default" },
      spec: { minAvailable: 1, selector: { matchLabels: { app: "guarded" } } },
    } as KubeObject)) as Loose;
    const report = {
      disruptionsAllowed: 0,
      currentHealthy: 1,
      desiredHealthy: 1,
      expectedPods: 1,
      observedGeneration: 1,
    };
    await client.update(budgets, { ...budget, status: report } as Loose, { subresource: "status" });
    const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "guarded", namespace: "default" } };
    assert.equal(
      await message(client.post(pods, "default", "guarded", "eviction", eviction)),
      "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    await client.patch(
      budgets,
      "default",
      "guard",
      "application/merge-patch+json",
      { status: { disruptionsAllowed: 1 } },
      { subresource: "status" },
    );
    await client.post(pods, "default", "guarded", "eviction", eviction);
    assert.ok((await client.get(pods, "default", "guarded")).metadata?.deletionTimestamp);
  });
});
