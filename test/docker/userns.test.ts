import assert from "node:assert/strict";
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { chownSync, copyFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setXattr } from "#host/file-metadata.ts";
import { TestInstance, eventually, projectRoot } from "../acceptance/instance.ts";

/** A daemon of its own with `userns-remap`. The ids belong to a user of every Debian, for as long as the test takes. */
const user = "daemon";
const firstUid = 50_000_000;
const firstGid = 60_000_000;
const instance = new TestInstance(`userns-${process.pid}`);
const image = "remapped";
const lines = { "/etc/subuid": `${user}:${firstUid}:65536\n`, "/etc/subgid": `${user}:${firstGid}:65536\n` };

const configure = (settings: object): void => {
  mkdirSync(instance.root, { recursive: true });
  writeFileSync(join(instance.root, "daemon.json"), JSON.stringify(settings));
};
const sh = (container: string, script: string): string => instance.docker("exec", container, "sh", "-c", script).trim();
const run = (...args: string[]): string => instance.docker("run", "--rm", ...args).trim();
const inspect = (name: string, format: string): string => instance.docker("inspect", "--format", format, name).trim();
const pidOf = (name: string): string => inspect(name, "{{.State.Pid}}");
const failedUp = (): string => {
  const up = ["up", "--no-demo", "--no-switch", "--name", instance.name, "--root", instance.root];
  const { status, stderr } = instance.run(join(projectRoot, "gantry"), up);
  assert.notEqual(status, 0);
  return stderr;
};
const owner = (path: string): number[] => {
  const { uid, gid } = statSync(path);
  return [uid, gid];
};
const failure = (...args: string[]): string => {
  const { status, stderr } = instance.run("docker", args);
  assert.equal(status, 125, stderr);
  return stderr;
};

/** CAP_CHOWN for whoever runs the file (linux/capability.h, revision 2, effective). */
const chownCapability = Buffer.from([1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** busybox, `/seed` with a file of user 33, and a busybox that may change owners. */
function makeImage(): void {
  const root = join(instance.folder, "root");
  for (const folder of ["bin", "cap", "etc", "tmp", "seed"]) mkdirSync(join(root, folder), { recursive: true });
  for (const folder of ["bin", "cap"]) copyFileSync("/bin/busybox", join(root, folder, "busybox"));
  setXattr(join(root, "cap/busybox"), "security.capability", chownCapability);
  for (const applet of instance.ok("/bin/busybox", ["--list"]).trim().split("\n"))
    if (applet !== "busybox") symlinkSync("busybox", join(root, "bin", applet));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n");
  writeFileSync(join(root, "etc/group"), "root:x:0:\nweb:x:33:\nextra:x:44:\n");
  writeFileSync(join(root, "seed/file"), "seed");
  for (const path of ["seed", "seed/file"]) chownSync(join(root, path), 33, 33);
  const tar = join(instance.folder, "image.tar");
  instance.ok("tar", ["-C", root, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-cf", tar, "."]);
  instance.docker("import", tar, image, "--change", "CMD sleep 3600");
}

before(() => {
  for (const [file, line] of Object.entries(lines)) appendFileSync(file, line);
  configure({ "userns-remap": user });
  assert.match(failedUp(), /restricts access to the remapped root uid\/gid; .*: chmod o\+x \/tmp\/gantry-userns/);
  chmodSync(instance.folder, 0o711);
  instance.up();
  makeImage();
});
after(() => {
  instance.reset();
  for (const [file, line] of Object.entries(lines)) writeFileSync(file, readFileSync(file, "utf8").replace(line, ""));
});

test("root in a container is a subordinate user of the machine, with a root's rights inside alone", () => {
  instance.docker("run", "-d", "--name", "plain", "--hostname", "inside", image);
  assert.match(sh("plain", "cat /proc/self/uid_map"), new RegExp(`^\\s*0 +${firstUid} +65536$`));
  assert.match(sh("plain", "cat /proc/self/gid_map"), new RegExp(`^\\s*0 +${firstGid} +65536$`));
  assert.equal(sh("plain", "id -u; id -g; hostname"), "0\n0\ninside");
  const status = readFileSync(`/proc/${pidOf("plain")}/status`, "utf8");
  assert.match(status, new RegExp(`^Uid:\\s+${firstUid}\\s`, "m"));
  assert.match(status, new RegExp(`^Gid:\\s+${firstGid}\\s`, "m"));
  assert.match(instance.docker("top", "plain"), new RegExp(`^${firstUid} .*sleep 3600`, "m"));
  // What an own user namespace does not let pass: the machine's settings, devices, other namespaces.
  assert.notEqual(
    instance.run("docker", ["exec", "--privileged", "plain", "sh", "-c", "echo 1 > /proc/sys/kernel/panic"]).status,
    0,
  );
  assert.notEqual(
    instance.run("docker", ["exec", "--privileged", "plain", "mknod", "/tmp/x", "b", "7", "0"]).status,
    0,
  );
  assert.equal(inspect("plain", "{{.HostConfig.UsernsMode}}"), "");
  assert.match(instance.docker("info", "--format", "{{.SecurityOptions}}"), /name=userns/);
});

test("files of the image, /etc, terminals, streams and file systems belong to whom they belong without a mapping", () => {
  assert.equal(sh("plain", "stat -c '%u:%g' /bin/busybox /seed/file /etc/passwd"), "0:0\n33:33\n0:0");
  assert.equal(sh("plain", "stat -c '%u:%g' /etc/hosts /etc/resolv.conf /etc/hostname"), "0:0\n0:0\n0:0");
  assert.equal(sh("plain", "echo 127.0.0.9 more >> /etc/hosts && tail -n 1 /etc/hosts"), "127.0.0.9 more");
  assert.equal(run("-t", "-u", "web", image, "sh", "-c", "stat -c '%u:%g' $(tty) && echo ok > /dev/tty"), "33:5\r\nok");
  assert.equal(
    run("-u", "web:44", "--group-add", "50", image, "sh", "-c", "id -u; id -G; echo x > /dev/stdout"),
    "33\n44 50\nx",
  );
  assert.equal(run("--tmpfs", "/scratch:mode=700", image, "stat", "-c", "%u:%g %a", "/scratch"), "0:0 700");
  assert.equal(run("--read-only", image, "sh", "-c", "touch /x 2>/dev/null || echo refused"), "refused");
  assert.equal(run("-w", "/made/here", image, "stat", "-c", "%u:%g", "/made"), "0:0");
  assert.equal(run("--device", "/dev/null:/dev/nothing", image, "sh", "-c", "echo x > /dev/nothing && echo ok"), "ok");
  assert.equal(run("--sysctl", "net.ipv4.ip_forward=0", image, "cat", "/proc/sys/net/ipv4/ip_forward"), "0");
  const mounts = sh("plain", "cat /proc/mounts");
  assert.match(mounts, new RegExp(`devpts /dev/pts devpts [^\\n]*gid=${firstGid + 5}`));
  assert.match(mounts, /^sysfs \/sys sysfs ro,/m);
  assert.match(mounts, / \/sys\/fs\/cgroup\/?[a-z]* cgroup2? ro,/);
});

const useCapability = "cd /dev/shm && touch mine && /cap/busybox chown 5 mine && stat -c %u mine";

test("an image's file capabilities hold in the container", () => {
  assert.equal(run("-u", "web", image, "sh", "-c", useCapability), "5");
});

test("the machine's /dev/null stays the machine's", () => {
  run(image, "true");
  run("-u", "web", image, "true");
  sh("plain", "true");
  assert.deepEqual(owner("/dev/null"), [0, 0]);
});

test("whoever got out of a container gets to its root, but to no file that has root's id on disk", () => {
  const ids = [`--reuid=${firstUid}`, `--regid=${firstGid}`, "--clear-groups"];
  const reaches = (key: string): boolean => {
    const folder = inspect("plain", `{{.GraphDriver.Data.${key}}}`).split(":")[0] as string;
    return instance.run("setpriv", [...ids, "ls", folder]).status === 0;
  };
  assert.deepEqual(["MergedDir", "UpperDir", "LowerDir"].map(reaches), [true, false, false]);
  const merged = inspect("plain", "{{.GraphDriver.Data.MergedDir}}");
  assert.notEqual(instance.run("setpriv", ["--reuid=7", "--regid=7", "--clear-groups", "ls", merged]).status, 0);
});

test("volumes belong to the mapped root; bind mounts have the machine's ids", () => {
  instance.docker("volume", "create", "vol");
  const at = instance.docker("volume", "inspect", "--format", "{{.Mountpoint}}", "vol").trim();
  assert.deepEqual(owner(at), [firstUid, firstGid]);
  run("-v", "vol:/vol", image, "sh", "-c", "echo x > /vol/a");
  assert.deepEqual(owner(join(at, "a")), [firstUid, firstGid]);

  run("-v", "seeded:/seed", image, "sh", "-c", "stat -c '%u:%g' /seed /seed/file | grep -qv 33:33 && exit 1; true");
  const seeded = instance.docker("volume", "inspect", "--format", "{{.Mountpoint}}", "seeded").trim();
  assert.deepEqual(owner(join(seeded, "file")), [firstUid + 33, firstGid + 33]);

  const bound = join(instance.folder, "bound");
  mkdirSync(bound);
  writeFileSync(join(bound, "of-root"), "");
  writeFileSync(join(bound, "of-mapped"), "");
  chownSync(join(bound, "of-mapped"), firstUid + 7, firstGid + 8);
  assert.equal(
    run("-v", `${bound}:/b:ro`, image, "stat", "-c", "%u:%g", "/b/of-root", "/b/of-mapped"),
    "65534:65534\n7:8",
  );
});

test("cp, export, diff and commit speak of the ids inside, each translated once", () => {
  const file = join(instance.folder, "file");
  writeFileSync(file, "hello");
  chownSync(file, 21, 22);
  instance.docker("create", "--name", "still", "-v", "vol:/vol", image);
  for (const name of ["plain", "still"]) {
    instance.ok("sh", ["-c", `tar -C ${instance.folder} --numeric-owner -cf - file | docker cp - ${name}:/tmp`]);
    assert.match(instance.ok("sh", ["-c", `docker cp ${name}:/tmp/file - | tar tvf - --numeric-owner`]), / 21\/22 /);
    assert.match(
      instance.ok("sh", ["-c", `docker cp ${name}:/seed - | tar tvf - --numeric-owner`]),
      / 33\/33 .*seed\/file/,
    );
    assert.match(instance.ok("sh", ["-c", `docker export ${name} | tar tvf - --numeric-owner`]), / 21\/22 .*tmp\/file/);
    assert.match(instance.docker("diff", name), /^A \/tmp\/file$/m);
  }
  assert.equal(sh("plain", "stat -c '%u:%g' /tmp/file"), "21:22");
  instance.docker("cp", file, "still:/vol/copied");
  const at = instance.docker("volume", "inspect", "--format", "{{.Mountpoint}}", "vol").trim();
  assert.deepEqual(owner(join(at, "copied")), [firstUid + 21, firstGid + 22]);

  chownSync(file, 70_000, 0);
  const { status, stderr } = instance.run("docker", ["cp", file, "plain:/tmp/beyond"]);
  assert.notEqual(status, 0);
  assert.match(stderr, /Container ID 70000 cannot be mapped to a host ID/);
  assert.doesNotMatch(sh("plain", "ls /tmp"), /beyond/);

  instance.docker("commit", "plain", "committed");
  const look = ["stat", "-c", "%u:%g", "/tmp/file", "/seed/file"];
  assert.equal(run("committed", ...look), "21:22\n33:33");
  assert.equal(run("--userns", "host", "committed", ...look), "21:22\n33:33");
  assert.equal(run("-u", "web", "committed", "sh", "-c", useCapability), "5");
});

test("--userns=host turns it off, and what needs the machine's namespaces is refused in docker's words", () => {
  assert.match(run("--userns", "host", image, "cat", "/proc/self/uid_map"), /^0 +0 +4294967295$/);
  run("--userns", "host", "--privileged", "--network", "host", "--pid", "host", image, "true");
  assert.match(
    failure("run", "--rm", "--privileged", image, "true"),
    /privileged mode is incompatible with user namespaces\. {2}You must run the container in the host namespace when running privileged mode/,
  );
  assert.match(
    failure("run", "--rm", "--network", "host", image, "true"),
    /cannot share the host's network namespace when user namespaces are enabled/,
  );
  assert.match(
    failure("run", "--rm", "--pid", "host", image, "true"),
    /cannot share the host PID namespace when user namespaces are enabled/,
  );
  assert.match(failure("run", "--rm", "--userns", "other", image, "true"), /--userns: invalid USER mode/);
  run("--uts", "host", image, "true");
  run("--ipc", "host", image, "true");
});

test("containers join each other's namespaces, when they have one user namespace", () => {
  instance.docker("run", "-d", "--name", "donor", "--ipc", "shareable", image);
  const joined = run(
    "--network",
    "container:donor",
    "--pid",
    "container:donor",
    "--ipc",
    "container:donor",
    image,
    "sh",
    "-c",
    "hostname; readlink /proc/self/ns/user; readlink /proc/1/ns/user; touch /dev/shm/x && stat -c %u /dev/shm/x",
  );
  const [name, own, first, shm] = joined.split("\n");
  assert.equal(name, inspect("donor", "{{.Config.Hostname}}"));
  assert.equal(own, first);
  assert.equal(shm, "0");
  assert.equal(
    run("--pid", "container:donor", image, "cat", "/proc/1/cmdline").replaceAll("\0", " ").trim(),
    "sleep 3600",
  );
  run("--userns", "host", "--network", "container:donor", "--pid", "container:donor", image, "true");
  instance.docker("run", "-d", "--name", "unmapped", "--userns", "host", image);
  assert.match(
    failure("run", "--rm", "--network", "container:unmapped", image, "true"),
    /cannot join the namespaces of container .*it runs in another user namespace/,
  );
});

test("networks, limits, health checks and restarts work as without a mapping", async () => {
  instance.docker("network", "create", "net");
  instance.docker(
    "run",
    "-d",
    "--name",
    "server",
    "--network",
    "net",
    "-m",
    "32m",
    "--health-cmd",
    "id -u | grep -qx 0",
    "--health-interval",
    "200ms",
    image,
  );
  assert.match(run("--network", "net", image, "ping", "-c", "1", "-W", "3", "server"), /1 packets received/);
  await eventually("healthy", () => inspect("server", "{{.State.Health.Status}}") === "healthy");
  instance.docker("update", "-m", "48m", "--memory-swap", "96m", "server");
  assert.match(instance.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", "server"), /48MiB/);
  instance.docker("restart", "-t", "0", "server");
  assert.equal(sh("server", "id -u"), "0");
  instance.docker("run", "-d", "--name", "often", "--restart", "on-failure:2", image, "sh", "-c", "exit 3");
  await eventually("two restarts", () => inspect("often", "{{.RestartCount}} {{.State.Running}}") === "2 false");
  assert.equal(inspect("often", "{{.State.ExitCode}}"), "3");
});

test("containers live through the death of the node process, and can be used afterwards", async () => {
  const pid = pidOf("plain");
  process.kill(instance.pid("node"), "SIGKILL");
  instance.up();
  await eventually("docker", () => instance.run("docker", ["ps"]).status === 0);
  assert.equal(pidOf("plain"), pid);
  assert.equal(sh("plain", "id -u; stat -c %u /seed/file"), "0\n33");
  instance.docker("restart", "-t", "0", "plain");
  assert.match(sh("plain", "cat /proc/self/uid_map"), new RegExp(` ${firstUid} `));
});

test("without the key, containers made before keep their ids, and new ones have the machine's", async () => {
  instance.gantry("down", "--timeout", "1");
  configure({ "userns-remap": "no-such-user" });
  assert.match(failedUp(), /userns-remap: Error during uid lookup for "no-such-user": no matching entries in passwd/);
  configure({});
  instance.up();
  instance.docker("start", "plain");
  assert.match(sh("plain", "cat /proc/self/uid_map"), new RegExp(` ${firstUid} `));
  assert.equal(sh("plain", "stat -c '%u:%g' /tmp/file"), "21:22");
  assert.match(run(image, "cat", "/proc/self/uid_map"), /^0 +0 +4294967295$/);
  assert.doesNotMatch(instance.docker("info", "--format", "{{.SecurityOptions}}"), /userns/);
  instance.docker("rm", "-f", "plain");
  assert.equal(existsSync(`/run/gantry/${instance.name}/engine/userns/plain`), false);
});
