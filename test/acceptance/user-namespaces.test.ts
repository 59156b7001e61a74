import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, statSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestInstance, eventually } from "./instance.ts";

/** Secrets are in memory, and tmpfs takes ID-mapped mounts since Linux 6.3. */
const [major = 0, minor = 0] = release().split(".").map(Number);
const isOld = major < 6 || (major === 6 && minor < 3);
const instance = new TestInstance(`podns-${process.pid}`);
const hostFolder = join(instance.folder, "host");

/** Pods of two containers, with all kinds of volumes. */
function pod(name: string): object {
  const mounts = ["empty", "memory", "config", "secret", "host"].map((volume) => ({
    name: volume,
    mountPath: `/${volume}`,
  }));
  const container = (of: string, more: object = {}): object => ({
    name: of,
    image: "gantry/hello",
    command: ["sleep", "3600"],
    volumeMounts: mounts,
    ...more,
  });
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      hostUsers: false,
      shareProcessNamespace: name === "shared",
      terminationGracePeriodSeconds: 0,
      securityContext: {
        fsGroup: 2000,
        sysctls: [
          { name: "kernel.shm_rmid_forced", value: "1" },
          { name: "net.ipv4.ip_unprivileged_port_start", value: "80" },
        ],
      },
      containers: [container("root"), container("user", { securityContext: { runAsUser: 1000 } })],
      volumes: [
        { name: "empty", emptyDir: {} },
        { name: "memory", emptyDir: { medium: "Memory" } },
        { name: "config", configMap: { name: "config" } },
        { name: "secret", secret: { secretName: "secret" } },
        { name: "host", hostPath: { path: hostFolder } },
      ],
    },
  };
}

const exec = (name: string, container: string, script: string): string =>
  instance.kubectl("exec", name, "-c", container, "--", "sh", "-c", script).trim();
const firstId = (name: string): number =>
  Number(/^\s*0 +(\d+) +65536$/.exec(exec(name, "root", "cat /proc/self/uid_map"))?.[1]);
const apply = async (...names: string[]): Promise<void> => {
  for (const name of names) instance.ok("kubectl", ["apply", "-f", "-"], { input: JSON.stringify(pod(name)) });
  instance.kubectl("wait", "--for=condition=Ready", "--timeout=60s", ...names.map((name) => `pod/${name}`));
};

before(() => {
  chmodSync(instance.folder, 0o711);
  mkdirSync(hostFolder);
  instance.up();
  instance.kubectl("create", "configmap", "config", "--from-literal=key=value");
  instance.kubectl("create", "secret", "generic", "secret", "--from-literal=key=hidden");
});
after(() => instance.reset());

test(
  "pods with hostUsers: false have ids of their own, and their volumes the ids inside",
  { skip: isOld },
  async () => {
    await apply("one", "shared");
    const [one, other] = [firstId("one"), firstId("shared")];
    assert.ok(one >= 2 ** 29 && other >= 2 ** 29 && Math.abs(one - other) >= 65_536);
    assert.equal(exec("one", "user", "id -u; id -G"), "1000\n0 2000");
    assert.equal(exec("one", "root", "cat /proc/sys/kernel/shm_rmid_forced; hostname"), "1\none");
    assert.equal(
      exec("one", "root", "stat -c %u:%g /empty /memory /host /etc/hosts /dev/shm"),
      "0:2000\n0:2000\n0:0\n0:0\n0:0",
    );
    assert.equal(exec("one", "user", "cat /config/key /secret/key"), "valuehidden");
    exec("one", "root", "echo x > /host/file");
    assert.equal(statSync(join(hostFolder, "file")).uid, 0);
    exec("one", "user", "touch /empty/mine /memory/mine");
    assert.equal(exec("one", "root", "stat -c %u:%g /empty/mine /memory/mine"), "1000:2000\n1000:2000");
    // What another pod with other ids leaves on the machine is the same user's here.
    assert.equal(exec("shared", "root", "stat -c %u /host/file && rm /host/file && echo removed"), "0\nremoved");
  },
);

test("containers of a pod share its user namespace, also with one process namespace", { skip: isOld }, () => {
  const namespaceOf = (container: string): string => exec("shared", container, "readlink /proc/self/ns/user");
  assert.equal(namespaceOf("root"), namespaceOf("user"));
  assert.match(exec("shared", "root", "ps"), /sleep 3600[\s\S]*sleep 3600/);
});

test("ranges outlive the node process, and are free again with the pod", { skip: isOld }, async () => {
  const [one, other] = [firstId("one"), firstId("shared")];
  process.kill(instance.pid("node"), "SIGKILL");
  instance.up();
  await eventually("exec", () => firstId("one") === one);
  await apply("two");
  const two = firstId("two");
  assert.ok(![one, other].includes(two));
  instance.kubectl("delete", "pod", "one", "--now");
  await apply("three");
  assert.equal(firstId("three"), one);
});

test("where the kernel is too old, such a pod waits and says why", { skip: !isOld }, async () => {
  instance.ok("kubectl", ["apply", "-f", "-"], { input: JSON.stringify(pod("old")) });
  const message = /FailedCreatePodSandBox.*hostUsers is false, but .*takes Linux 6\.3 or newer/;
  await eventually("an event", () => message.test(instance.kubectl("get", "events")));
  instance.kubectl("delete", "pod", "old", "--now");
});

test("a pod that asks for the machine's network as well is refused", () => {
  const both = pod("both") as { spec: { hostNetwork?: boolean } };
  both.spec.hostNetwork = true;
  const { status, stderr } = instance.run("kubectl", ["apply", "-f", "-"], { input: JSON.stringify(both) });
  assert.notEqual(status, 0);
  assert.match(stderr, /spec\.hostNetwork: Forbidden: when `hostUsers` is false/);
});

test("nothing of pods that have gone stays", { skip: isOld }, async () => {
  instance.kubectl("delete", "pod", "--all", "--now");
  const sandboxes = `/run/gantry/${instance.name}/engine/sandboxes`;
  await eventually("no sandbox", () => !existsSync(sandboxes) || instance.ok("ls", [sandboxes]) === "");
  assert.equal(instance.ok("ls", [`/run/gantry/${instance.name}/engine/mount-sources`]), "");
});
