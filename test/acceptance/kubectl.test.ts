import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestInstance, eventually, get, otherKubectl } from "./instance.ts";

const instance = new TestInstance(`kube-${process.pid}`);
const forwarded = 25000 + (process.pid % 5000);

before(() => instance.up());
after(() => instance.reset());

const podNames = (): string[] =>
  instance
    .kubectl("get", "pods", "-l", "app=web", "-o", "name")
    .trim()
    .split("\n")
    .filter((name) => name !== "");
const aPod = (): string => (podNames()[0] as string).replace("pod/", "");

test("a deployment rolls out, and each replica answers through the service in turn", async () => {
  instance.kubectl("create", "deployment", "web", "--image=gantry/hello", "--replicas=3");
  instance.kubectl("expose", "deployment", "web", "--port=80");
  assert.match(instance.kubectl("rollout", "status", "deployment/web", "--timeout=60s"), /successfully rolled out/);
  assert.match(instance.kubectl("get", "pods", "-o", "wide"), /NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\s+IP\s+NODE/);
  instance.kubectl("run", "client", "--image=gantry/hello", "--command", "--", "sleep", "3600");
  instance.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s");
  await eventually("all replicas answer", () => {
    const seen = new Set<string>();
    for (let n = 0; n < 12; n++)
      seen.add(
        instance
          .kubectl("exec", "client", "--", "wget", "-qO-", "http://web.default.svc.cluster.local")
          .split("\n")[1] ?? "",
      );
    return podNames().every((name) => seen.has(name.replace("pod/", "")));
  });
});

test("scale, set image, undo, describe", async () => {
  instance.kubectl("scale", "deployment/web", "--replicas=2");
  await eventually("two pods are left", () => podNames().length === 2);
  instance.docker("tag", "gantry/hello", "gantry/hello:v2");
  instance.kubectl("set", "image", "deployment/web", "hello=gantry/hello:v2");
  instance.kubectl("rollout", "status", "deployment/web", "--timeout=60s");
  assert.match(
    instance.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.containers[0].image}"),
    /^gantry\/hello:v2/,
  );
  assert.match(instance.kubectl("rollout", "history", "deployment/web"), /^2\s/m);
  instance.kubectl("rollout", "undo", "deployment/web");
  instance.kubectl("rollout", "status", "deployment/web", "--timeout=60s");
  await eventually("the old image is back", () =>
    /^gantry\/hello( gantry\/hello)*$/.test(
      instance.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.containers[0].image}"),
    ),
  );
  const description = instance.kubectl("describe", "pod", aPod());
  assert.match(description, /Status:\s+Running/);
  assert.match(description, /Successfully assigned default\//);
  assert.match(description, /Container image "gantry\/hello" already present on machine/);
});

test("logs, exec with a terminal, cp and port-forward", async () => {
  instance.kubectl(
    "run",
    "talker",
    "--image=gantry/hello",
    "--command",
    "--",
    "sh",
    "-c",
    "for i in 1 2 3; do echo line $i; sleep 0.2; done; sleep 3600",
  );
  instance.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s");
  const logs = instance.start("kubectl", ["logs", "-f", "talker"]);
  await eventually("the log is followed", () => /line 3/.test(logs.output()));
  await logs.stop();
  assert.equal(instance.kubectl("logs", "talker", "--tail=1"), "line 3\n");
  assert.match(
    instance.ok("script", ["-qec", "kubectl exec -it talker -- sh -c 'test -t 0 && echo terminal'", "/dev/null"]),
    /terminal/,
  );
  const failed = instance.run("kubectl", ["exec", "talker", "--", "sh", "-c", "exit 3"]);
  assert.equal(failed.status, 3);
  writeFileSync(join(instance.folder, "local"), "copied\n");
  instance.kubectl("cp", "local", "talker:/tmp/there");
  assert.equal(instance.kubectl("exec", "talker", "--", "cat", "/tmp/there"), "copied\n");
  instance.kubectl("cp", "talker:/tmp/there", "back");
  assert.equal(readFileSync(join(instance.folder, "back"), "utf8"), "copied\n");
  const forward = instance.start("kubectl", ["port-forward", "deployment/web", `${forwarded}:80`]);
  await eventually("the forward is up", () => /Forwarding from/.test(forward.output()));
  assert.match(await get(`http://127.0.0.1:${forwarded}/`), /Hello from Gantry/);
  await forward.stop();
});

test("a killed container comes back and a deleted pod is replaced", async () => {
  const pod = aPod();
  instance.run("kubectl", ["exec", pod, "--", "sh", "-c", "kill 1"]);
  await eventually(
    "the container has restarted",
    () =>
      Number(instance.kubectl("get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount}")) >= 1,
  );
  await eventually(
    "it is ready again",
    () => instance.kubectl("get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].ready}") === "true",
  );
  instance.kubectl("delete", "pod", pod);
  await eventually(
    "a new pod runs",
    () =>
      podNames().length === 2 &&
      !podNames().includes(`pod/${pod}`) &&
      /2\/2/.test(instance.kubectl("get", "deployment", "web", "--no-headers")),
  );
});

test("an image that docker commits runs in a pod without any load", () => {
  instance.docker("run", "--name", "source", "gantry/hello", "sh", "-c", "echo made by docker > /made");
  instance.docker("commit", "source", "made/by-docker:1");
  instance.docker("rm", "source");
  instance.kubectl(
    "run",
    "committed",
    "--image=made/by-docker:1",
    "--image-pull-policy=IfNotPresent",
    "--restart=Never",
    "--command",
    "--",
    "cat",
    "/made",
  );
  instance.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/committed", "--timeout=60s");
  assert.equal(instance.kubectl("logs", "committed"), "made by docker\n");
});

for (const version of ["1.27", "1.33"]) {
  const program = otherKubectl(version);
  test(
    `kubectl ${version} gets, applies, creates, reads logs and executes`,
    { skip: program === undefined ? `kubectl ${version} is not on this machine` : false },
    () => {
      const kubectl = (...args: string[]): string => instance.ok(program as string, args);
      const manifest = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: `from-${version}` }, data: { a: "1" } };
      const apply = (): string =>
        instance.ok(program as string, ["apply", "-f", "-"], { input: JSON.stringify(manifest) });
      assert.match(apply(), /created/);
      manifest.data.a = "2";
      assert.match(apply(), /configured/);
      assert.match(apply(), /unchanged/);
      assert.match(kubectl("get", "pods"), /NAME\s+READY\s+STATUS/);
      kubectl("create", "deployment", `d${version.replace(".", "")}`, "--image=gantry/hello");
      kubectl("rollout", "status", `deployment/d${version.replace(".", "")}`, "--timeout=60s");
      assert.match(kubectl("logs", "talker"), /line 1/);
      assert.equal(kubectl("exec", "talker", "--", "echo", "hi"), "hi\n");
      kubectl("delete", "deployment", `d${version.replace(".", "")}`);
    },
  );
}

test("bad input gets Kubernetes' errors and changes nothing", () => {
  const apply = (text: string): string => {
    const { status, stderr } = instance.run("kubectl", ["apply", "-f", "-"], { input: text });
    assert.equal(status, 1);
    return stderr;
  };
  assert.match(apply("a: b: c"), /error (parsing|converting)/);
  assert.match(
    apply(JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" }, dtaa: {} })),
    /strict decoding error: unknown field "dtaa"/,
  );
  assert.match(
    apply(
      JSON.stringify({
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "x" },
        spec: { replicas: "two", selector: { matchLabels: { a: "b" } }, template: {} },
      }),
    ),
    /cannot be handled as a Deployment|unmarshal|replicas/,
  );
  assert.match(
    apply(
      JSON.stringify({
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "UPPER" },
        spec: { ports: [{ port: 80 }] },
      }),
    ),
    /Invalid value: "UPPER"/,
  );
  assert.match(instance.run("kubectl", ["get", "configmap", "x"]).stderr, /configmaps "x" not found/);
  assert.match(
    instance.run("kubectl", [
      "--token=wrong",
      "--kubeconfig=/dev/null",
      "--server",
      serverUrl(),
      "--insecure-skip-tls-verify",
      "get",
      "pods",
    ]).stderr,
    /Unauthorized|must be logged in/,
  );
  const huge = JSON.stringify({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "huge" },
    data: { a: "x".repeat(4 << 20) },
  });
  const answer = instance.run("kubectl", ["create", "-f", "-"], { input: huge });
  assert.notEqual(answer.status, 0);
  assert.match(answer.stderr, /Request entity too large|limit is 3145728|too large/i);
});

const serverUrl = (): string => instance.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}");

test("an image that does not exist is backed off from, with the reason", async () => {
  instance.kubectl("run", "missing", "--image=127.0.0.1:1/none:1");
  await eventually("the pod is in back-off", () =>
    /ImagePullBackOff|ErrImagePull/.test(instance.kubectl("get", "pod", "missing", "--no-headers")),
  );
  assert.match(instance.kubectl("describe", "pod", "missing"), /Failed to pull image "127\.0\.0\.1:1\/none:1"/);
  instance.kubectl("delete", "pod", "missing", "--now");
});

test("a namespace takes everything in it along", async () => {
  instance.kubectl("create", "namespace", "doomed");
  instance.kubectl("-n", "doomed", "create", "deployment", "d", "--image=gantry/hello", "--replicas=2");
  instance.kubectl("-n", "doomed", "rollout", "status", "deployment/d", "--timeout=60s");
  instance.kubectl("delete", "namespace", "doomed", "--timeout=90s");
  assert.equal(
    instance.kubectl("get", "pods", "-A", "-o", 'jsonpath={.items[?(@.metadata.namespace=="doomed")].metadata.name}'),
    "",
  );
});
