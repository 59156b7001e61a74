import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { existsSync } from "node:fs";
import { ref } from "#api/kube/object.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

interface Outcome {
  code: number;
  out: string;
  err: string;
}

function findKubectl(): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, "kubectl");
    if (existsSync(path)) return realpathSync(path);
  }
  return undefined;
}

const kubectl = findKubectl();
const versions =
  kubectl === undefined
    ? []
    : ["1.27", "1.32", "1.33"]
        .map((version) => ({ version, path: join(dirname(kubectl), `kubectl.${version}`) }))
        .filter(({ path }) => existsSync(path));

const deployment = (name: string, extra = ""): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, labels: {app: ${name}}}
spec:
  replicas: 2
${extra}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      containers:
      - name: web
        image: gantry/hello
        ports: [{containerPort: 80}]
`;

describe("the real kubectl", { skip: versions.length === 0 ? "no kubectl is installed" : false }, () => {
  let at: TestServer;

  before(async () => {
    at = await startTestServer();
    await at.server.client().create(ref("serviceaccounts"), {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace: "default" },
    });
  });
  after(() => at.stop());

  function run(path: string, args: string[], input?: string): Promise<Outcome> {
    return new Promise((resolve) => {
      const child = execFile(
        path,
        args,
        { env: { ...process.env, HOME: at.directory, KUBECONFIG: at.kubeconfigPath }, timeout: 30_000 },
        (error, out, err) => {
          resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : 1, out, err });
        },
      );
      child.stdin?.end(input ?? "");
    });
  }

  for (const { version, path } of versions) {
    const ok = async (args: string[], input?: string): Promise<string> => {
      const { code, out, err } = await run(path, args, input);
      assert.equal(code, 0, `kubectl ${args.join(" ")}: ${err}`);
      return out;
    };
    const fails = async (args: string[], input?: string): Promise<string> => {
      const { code, err } = await run(path, args, input);
      assert.equal(code, 1, `kubectl ${args.join(" ")} did not fail`);
      return err.trim();
    };
    const name = `web-${version.replace(".", "-")}`;

    test(`${version}: apply, patch, scale, label, diff, delete`, async () => {
      assert.equal(await ok(["apply", "-f", "-"], deployment(name)), `deployment.apps/${name} created\n`);
      assert.equal(await ok(["apply", "-f", "-"], deployment(name)), `deployment.apps/${name} unchanged\n`);
      assert.equal(
        await ok(["apply", "-f", "-"], deployment(name, "  minReadySeconds: 3")),
        `deployment.apps/${name} configured\n`,
      );
      assert.equal(
        await ok(["get", "deploy", name, "-o", "jsonpath={.spec.minReadySeconds} {.metadata.generation}"]),
        "3 2",
      );
      const env = '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}';
      await ok(["patch", "deploy", name, "-p", env]);
      assert.equal(
        await ok([
          "get",
          "deploy",
          name,
          "-o",
          "jsonpath={.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env[0].value}",
        ]),
        "gantry/hello 1",
      );
      await ok(["scale", "deploy", name, "--replicas=5"]);
      await ok(["set", "image", `deploy/${name}`, "web=gantry/hello:2"]);
      await ok(["label", "deploy", name, "tier=front"]);
      await ok(["annotate", "deploy", name, "note=x"]);
      assert.equal(await ok(["get", "deploy", "-l", "tier=front", "-o", "jsonpath={.items[*].spec.replicas}"]), "5");
      const table = await ok(["get", "deploy", name]);
      assert.match(table, /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb-1-\d\d +0\/5 +0 +0 +\d+s\n$/);
      assert.equal(
        await ok(["apply", "-f", "-", "--dry-run=server"], deployment(name)),
        `deployment.apps/${name} configured (server dry run)\n`,
      );
      await ok(["delete", "deploy", name]);
      assert.equal(
        await fails(["get", "deploy", name]),
        `Error from server (NotFound): deployments.apps "${name}" not found`,
      );
    });

    test(`${version}: server-side apply owns, conflicts, takes over and lets go`, async () => {
      const mine = `${name}-ssa`;
      const apply = ["apply", "--server-side", "-f", "-"];
      assert.equal(
        await ok(apply, deployment(mine, "  minReadySeconds: 3")),
        `deployment.apps/${mine} serverside-applied\n`,
      );
      await ok(["scale", "deploy", mine, "--replicas=5"]);
      const refused = await fails(apply, deployment(mine, "  minReadySeconds: 3"));
      assert.match(
        refused,
        /Apply failed with 1 conflict: conflict with "kubectl.*" .*using apps\/v1: \.spec\.replicas/,
      );
      await ok([...apply, "--force-conflicts"], deployment(mine));
      const show = "jsonpath={.spec.replicas} {.spec.minReadySeconds} {.metadata.managedFields[*].manager}";
      assert.equal((await ok(["get", "deploy", mine, "--show-managed-fields", "-o", show])).trim(), "2  kubectl");
      await ok(["delete", "deploy", mine]);
    });

    test(`${version}: typed commands, which speak protobuf`, async () => {
      await ok(["create", "deployment", name, "--image=gantry/hello", "--replicas=3"]);
      await ok(["expose", "deployment", name, "--port=80", "--type=NodePort"]);
      assert.match(await ok(["get", "svc", name]), /NodePort +10\.103\.\d+\.\d+ +<none> +80:3\d{4}\/TCP/);
      await ok(["create", "configmap", name, "--from-literal=a=b"]);
      assert.equal(await ok(["get", "cm", name, "-o", "jsonpath={.data.a}"]), "b");
      await ok(["create", "secret", "generic", name, "--from-literal=k=v"]);
      assert.equal(await ok(["get", "secret", name, "-o", "jsonpath={.data.k} {.type}"]), "dg== Opaque");
      await ok(["create", "serviceaccount", name]);
      assert.match(await ok(["create", "token", name]), /^ey[\w-]+\.[\w-]+\.[\w-]+\s*$/);
      await ok(["create", "role", name, "--verb=get", "--resource=pods"]);
      await ok(["create", "rolebinding", name, `--role=${name}`, `--serviceaccount=default:${name}`]);
      assert.equal(await ok(["auth", "can-i", "get", "pods", `--as=system:serviceaccount:default:${name}`]), "yes\n");
      assert.equal(
        (await run(path, ["auth", "can-i", "delete", "pods", `--as=system:serviceaccount:default:${name}`])).out,
        "no\n",
      );
      await ok(["create", "namespace", name]);
      await ok(["run", name, "--image=gantry/hello"]);
      assert.match(
        await ok(["get", "pods", name, "-o", "wide"]),
        new RegExp(`${name} +0/1 +Pending +0 +\\d+s +<none> +<none> +<none> +<none>`),
      );
      await ok(["delete", "pod,deploy,svc,cm,secret,sa", name]);
    });

    test(`${version}: explain, api-resources, api-versions, version, raw`, async () => {
      assert.match(await ok(["explain", "deployment.spec.strategy"]), /type\t?/);
      const resources = await ok(["api-resources", "--no-headers"]);
      for (const each of ["pods", "deployments", "services", "endpointslices", "leases", "roles"])
        assert.match(resources, new RegExp(`^${each} `, "m"));
      assert.match(await ok(["api-versions"]), /^apps\/v1$/m);
      assert.match(await ok(["version"]), /Server Version: .*v1\.36\./);
      assert.equal(await ok(["get", "--raw", "/livez"]), "ok");
      assert.match(await ok(["cluster-info"]), /control plane/);
    });

    test(`${version}: errors are the server's own words`, async () => {
      const unknown = await fails(["apply", "-f", "-"], deployment(`bad-${name}`, "  replica: 3"));
      assert.match(unknown, /strict decoding error: unknown field "spec\.replica"$/);
      const wrongType = await fails(
        ["apply", "-f", "-"],
        deployment(`bad-${name}`).replace("replicas: 2", 'replicas: "two"'),
      );
      assert.match(
        wrongType,
        /json: cannot unmarshal string into Go struct field DeploymentSpec\.spec\.replicas of type int32/,
      );
      assert.match(await fails(["apply", "-f", "-"], "a: b: c"), /error (converting YAML|parsing)/);
      assert.equal(
        await fails(["create", "namespace", "default"]),
        'Error from server (AlreadyExists): namespaces "default" already exists',
      );
      assert.equal(
        await fails(["get", "pods", "--field-selector=spec.x=y"]),
        'Error from server (BadRequest): Unable to find "/v1, Resource=pods" that match label selector "", field selector "spec.x=y": field label not supported: spec.x',
      );
    });

    test(`${version}: watches`, async () => {
      const child = spawn(
        path,
        ["get", "cm", "-w", "--output-watch-events", "--no-headers", `--field-selector=metadata.name=watched-${name}`],
        {
          env: { ...process.env, HOME: at.directory, KUBECONFIG: at.kubeconfigPath },
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      let output = "";
      child.stdout.on("data", (data: Buffer) => (output += data.toString()));
      const until = async (pattern: RegExp): Promise<void> => {
        for (let wait = 0; wait < 200 && !pattern.test(output); wait++)
          await new Promise((resolve) => setTimeout(resolve, 25));
        assert.match(output, pattern);
      };
      const exited = new Promise((resolve) => child.once("exit", resolve));
      try {
        const client = at.server.client();
        await new Promise((resolve) => setTimeout(resolve, 500));
        const object = {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: { name: `watched-${name}`, namespace: "default" },
        };
        await client.create(ref("configmaps"), object);
        await until(/ADDED +watched-/);
        await client.patch(ref("configmaps"), "default", `watched-${name}`, "application/merge-patch+json", {
          data: { a: "b" },
        });
        await until(/MODIFIED +watched-\S+ +1 /);
        await client.delete(ref("configmaps"), "default", `watched-${name}`);
        await until(/DELETED +watched-/);
      } finally {
        child.kill();
        await exited;
      }
    });
  }
});
