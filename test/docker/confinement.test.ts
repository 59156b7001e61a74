// What confines a container: AppArmor profiles and cgroup namespaces, where the kernel has them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { hasAppArmor } from "#host/apparmor.ts";
import { cgroupVersion } from "#host/cgroup.ts";
import { TestInstance } from "../acceptance/instance.ts";

const instance = new TestInstance(`confined-${process.pid}`);

before(() => instance.up());
after(() => instance.reset());

const current = ["cat", "/proc/self/attr/current"];
const run = (options: string[], ...command: string[]): string =>
  instance.docker("run", "--rm", "--network", "none", ...options, "gantry/hello", ...command).trim();
const inspected = (name: string): string => instance.docker("inspect", "-f", "{{.AppArmorProfile}}", name).trim();

test("AppArmor's default profile holds for a container, its commands and its pods", { skip: !hasAppArmor }, () => {
  instance.docker("run", "-d", "--name", "usual", "--network", "none", "gantry/hello", "sleep", "1000");
  assert.equal(inspected("usual"), "docker-default");
  assert.equal(instance.docker("exec", "usual", ...current).trim(), "docker-default (enforce)");
  assert.equal(instance.docker("exec", "--privileged", "usual", ...current).trim(), "docker-default (enforce)");
  assert.match(instance.docker("info", "-f", "{{.SecurityOptions}}"), /name=apparmor/);
  const refused = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"];
  assert.match(run(refused, "sh", "-c", "mount -t tmpfs none /tmp 2>&1 || true"), /denied/i);
  instance.kubectl("run", "confined", "--image=gantry/hello", "--restart=Never", "--", ...current);
  instance.kubectl("wait", "pod/confined", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s");
  assert.equal(instance.kubectl("logs", "confined").trim(), "docker-default (enforce)");
  instance.docker("rm", "-f", "usual");
});

test("AppArmor is off for privileged containers and those that say so", { skip: !hasAppArmor }, () => {
  assert.equal(run(["--privileged"], ...current), "unconfined");
  assert.equal(run(["--security-opt", "apparmor=unconfined"], ...current), "unconfined");
  const { status, stderr } = instance.run("docker", ["run", "--security-opt", "apparmor=none-such", "gantry/hello"]);
  assert.notEqual(status, 0);
  assert.match(stderr, /unable to apply apparmor profile: .*: no such file or directory/);
});

test("where the kernel has no AppArmor, nothing says that it confines", { skip: hasAppArmor }, () => {
  instance.docker("run", "--name", "plain", "--security-opt", "apparmor=mine", "gantry/hello", "true");
  assert.equal(inspected("plain"), "");
  assert.doesNotMatch(instance.docker("info", "-f", "{{.SecurityOptions}}"), /apparmor/);
  instance.docker("rm", "plain");
  const overrides = { spec: { securityContext: { appArmorProfile: { type: "RuntimeDefault" } } } };
  instance.kubectl("run", "rejected", "--image=gantry/hello", `--overrides=${JSON.stringify(overrides)}`);
  instance.kubectl("wait", "pod/rejected", "--for=jsonpath={.status.reason}=AppArmor", "--timeout=60s");
});

test("a container sees its own cgroup as the root on cgroup v2, and the machine's when it asks", () => {
  const isOwn = (options: string[]): boolean => !run(options, "cat", "/proc/self/cgroup").includes("docker");
  assert.equal(isOwn([]), cgroupVersion === 2);
  assert.equal(isOwn(["--cgroupns", "host"]), false);
  assert.equal(isOwn(["--cgroupns", "private"]), true);
});
