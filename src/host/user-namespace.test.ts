import assert from "node:assert/strict";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { IdMapping } from "#base/id-mapping.ts";
import { asFileOwner } from "./file-credentials.ts";
import { idmappedMount, isMounted, unmount } from "./mount.ts";
import { run } from "./run.ts";
import { UserNamespaces, pinOwnedNamespaces, unpinNamespace } from "./user-namespace.ts";

const mapping: IdMapping = {
  uids: [{ containerId: 0, hostId: 70_000_000, length: 65_536 }],
  gids: [{ containerId: 0, hostId: 80_000_000, length: 65_536 }],
};
let folder = "";

before(() => {
  folder = mkdtempSync(join(tmpdir(), "gantry-userns-"));
});
after(() => {
  for (const name of ["view", "user", "net", "other-net"]) while (unmount(join(folder, name))) continue;
  rmSync(folder, { recursive: true, force: true });
});

test("an idmapped mount shows files with the mapping's ids, and keeps those inside on disk", async () => {
  const [source, view] = [join(folder, "source"), join(folder, "view")];
  for (const path of [source, view]) mkdirSync(path);
  writeFileSync(join(source, "file"), "");
  chownSync(join(source, "file"), 33, 44);
  const namespaces = new UserNamespaces();
  try {
    const namespace = await namespaces.open(mapping);
    assert.equal(await namespaces.open({ ...mapping }), namespace);
    idmappedMount(source, view, namespace);
  } finally {
    namespaces.close();
  }
  const { uid, gid } = statSync(join(view, "file"));
  assert.deepEqual([uid, gid], [70_000_033, 80_000_044]);
  assert.throws(() => mkdirSync(join(view, "by-root")), /EOVERFLOW|EINVAL/);
  asFileOwner({ uid: 70_000_001, gid: 80_000_002 }, () => mkdirSync(join(view, "made")));
  const made = statSync(join(source, "made"));
  assert.deepEqual([made.uid, made.gid], [1, 2]);
  unmount(view);
});

test("after work as another owner of files the thread is root again, with all its rights, also when it failed", () => {
  const rights = (): string => /^CapEff:\s*(\S+)/m.exec(readFileSync("/proc/thread-self/status", "utf8"))?.[1] ?? "";
  const had = rights();
  asFileOwner({ uid: 5, gid: 6 }, () => assert.equal(rights(), had));
  assert.throws(
    () =>
      asFileOwner({ uid: 5, gid: 6 }, () => {
        throw new Error("failed");
      }),
    /failed/,
  );
  assert.equal(rights(), had);
  writeFileSync(join(folder, "mine"), "");
  assert.equal(statSync(join(folder, "mine")).uid, 0);
});

test("namespaces that belong to a user namespace live on as files, without a process", async () => {
  const path = (name: string): string => join(folder, name);
  await pinOwnedNamespaces({ mapping }, { user: path("user"), net: path("net") });
  assert.ok(isMounted(path("user")) && isMounted(path("net")));
  const enter = ["/usr/bin/nsenter", `--user=${path("user")}`, `--net=${path("net")}`, "--"];
  const { stdout } = await run([...enter, "/bin/cat", "/proc/self/uid_map"]);
  assert.match(stdout, /^\s*0 +70000000 +65536\n$/);
  // Only its own root may change the interfaces of a network namespace.
  await run([...enter, "/bin/sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);

  await pinOwnedNamespaces({ path: path("user") }, { net: path("other-net") });
  assert.notEqual(statSync(path("net")).ino, statSync(path("other-net")).ino);
  for (const name of ["user", "net", "other-net"]) unpinNamespace(path(name));
  assert.equal(existsSync(path("user")), false);
  unpinNamespace(path("user"));
});

test("a mapping that the kernel refuses leaves nothing behind", async () => {
  const broken: IdMapping = { ...mapping, uids: [{ containerId: 0, hostId: 5, length: 0 }] };
  await assert.rejects(
    pinOwnedNamespaces({ mapping: broken }, { user: join(folder, "user") }),
    /A user namespace could not be made: /,
  );
  assert.equal(existsSync(join(folder, "user")), false);
});
