import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { DownwardFacts } from "../downward.ts";
import type { Container, Pod, Volume } from "../pod-types.ts";
import { type ProjectedFile, writeAtomically } from "./atomic-writer.ts";
import type { ProjectionSources } from "./projection.ts";
import { type NodeMounts, VolumeStore } from "./volume-store.ts";

const files = (entries: Record<string, string>): Map<string, ProjectedFile> =>
  new Map(Object.entries(entries).map(([path, text]) => [path, { data: Buffer.from(text), mode: 0o640 }]));

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "gantry-volumes-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("atomic writer", () => {
  it("shows files through one link that is swapped", async () => {
    assert.equal(await writeAtomically(folder, files({ a: "1", "sub/b": "2" })), true);
    const first = readdirSync(folder).find((name) => /^\.\.\d/.test(name));
    assert.equal(readFileSync(join(folder, "sub/b"), "utf8"), "2");
    assert.equal(statSync(join(folder, "a")).mode & 0o777, 0o640);
    assert.equal(await writeAtomically(folder, files({ a: "1", "sub/b": "2" })), false);
    assert.equal(await writeAtomically(folder, files({ a: "3" })), true);
    assert.equal(readFileSync(join(folder, "a"), "utf8"), "3");
    assert.equal(existsSync(join(folder, "sub")), false);
    assert.equal(existsSync(join(folder, first ?? "")), false);
    assert.ok(lstatSync(join(folder, "..data")).isSymbolicLink());
  });

  it("refuses paths that leave the volume", async () => {
    for (const path of ["../x", "/x", "a/../../x", "..data"])
      await assert.rejects(writeAtomically(folder, files({ [path]: "1" })), { code: "invalid" });
  });
});

describe("volume store", () => {
  const mounted = new Set<string>();
  const mounts: NodeMounts = {
    mountTmpfs: (path) => void mounted.add(path),
    unmount: (path) => void mounted.delete(path),
    isMountPoint: (path) => mounted.has(path),
  };
  const sources: ProjectionSources = {
    configMap: async () => ({ data: { "ca.crt": "CA" } }),
    secret: async () => ({ data: { key: Buffer.from("s").toString("base64") } }),
    token: async () => "TOKEN",
  };
  const facts: DownwardFacts = {
    nodeName: "n",
    hostIp: "192.0.2.1",
    podIps: [],
    allocatableCpu: 1,
    allocatableMemoryBytes: 1,
    allocatableEphemeralStorageBytes: 1,
  };
  const pod = (volumes: Volume[], more: object = {}): Pod => ({
    metadata: { name: "web", namespace: "shop", uid: "u", labels: { app: "web" } },
    spec: { containers: [{ name: "web" }], volumes, ...more },
  });
  const prepare = async (of: Pod): Promise<ReadonlyMap<string, string>> =>
    new VolumeStore({ podsRoot: folder }, mounts).prepare(of, sources, facts);

  it("makes the service account's volume of token, authority and namespace", async () => {
    const path = (
      await prepare(
        pod([
          {
            name: "api",
            projected: {
              defaultMode: 0o644,
              sources: [
                { serviceAccountToken: { path: "token", expirationSeconds: 3607 } },
                { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
                { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
              ],
            },
          },
        ]),
      )
    ).get("api") as string;
    assert.deepEqual(
      ["token", "ca.crt", "namespace"].map((name) => readFileSync(join(path, name), "utf8")),
      ["TOKEN", "CA", "shop"],
    );
    assert.ok(mounted.has(path));
  });

  it("gives a token to the pod's user, or to its group", async () => {
    const volume: Volume = { name: "t", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } };
    const tokenOf = async (securityContext: object) =>
      statSync(join((await prepare(pod([volume], { securityContext }))).get("t") as string, "token"));
    const own = await tokenOf({ runAsUser: 1234 });
    assert.deepEqual([own.uid, own.mode & 0o777], [1234, 0o600]);
    const group = await tokenOf({ fsGroup: 77 });
    assert.deepEqual([group.gid, group.mode & 0o777], [77, 0o640]);
  });

  it("names the missing key of a ConfigMap", async () => {
    const volume: Volume = { name: "c", configMap: { name: "x", items: [{ key: "nope", path: "p" }] } };
    await assert.rejects(prepare(pod([volume])), {
      message: 'MountVolume.SetUp failed for volume "c" : references non-existent configmap key: nope',
    });
  });

  it("checks what a hostPath is", async () => {
    const host = join(folder, "host");
    const of = (type: NonNullable<Volume["hostPath"]>["type"]): Promise<unknown> =>
      prepare(pod([{ name: "h", hostPath: { path: host, type } }]));
    await assert.rejects(of("Directory"), {
      message: `MountVolume.SetUp failed for volume "h" : hostPath type check failed: ${host} is not a directory`,
    });
    await of("DirectoryOrCreate");
    await of("Directory");
    await assert.rejects(of("File"), /is not a file/);
    await assert.rejects(of("Socket"), /is not a socket file/);
  });

  it("makes sub paths inside the volume, and refuses links that lead out", async () => {
    const store = new VolumeStore({ podsRoot: folder }, mounts);
    const of = pod([{ name: "data", emptyDir: {} }]);
    const prepared = await store.prepare(of, sources, facts);
    const path = prepared.get("data") as string;
    assert.equal(statSync(path).mode & 0o777, 0o777);
    const mountsOf = (subPath: string, expr = false) => {
      const container: Container = {
        name: "web",
        volumeMounts: [{ name: "data", mountPath: "/d", ...(expr ? { subPathExpr: subPath } : { subPath }) }],
      };
      return store.mounts(container, prepared, new Map([["POD", "web-1"]]), of);
    };
    assert.equal((await mountsOf("$(POD)/x", true))[0]?.hostPath, join(path, "web-1/x"));
    assert.ok(existsSync(join(path, "web-1/x")));
    await assert.rejects(mountsOf("$(NOPE)", true), { message: 'missing value for "NOPE"' });
    await assert.rejects(mountsOf("../x"), /must not contain '\.\.'/);
    mkdirSync(join(folder, "outside"));
    symlinkSync(join(folder, "outside"), join(path, "link"));
    await assert.rejects(mountsOf("link"), /not within volume path/);
  });

  it("removes everything of a pod", async () => {
    const store = new VolumeStore({ podsRoot: folder }, mounts);
    const of = pod([
      { name: "s", secret: { secretName: "x" } },
      { name: "m", emptyDir: { medium: "Memory" } },
    ]);
    const prepared = await store.prepare(of, sources, facts);
    writeFileSync(join(prepared.get("m") as string, "file"), "x");
    chmodSync(prepared.get("m") as string, 0o500);
    await store.remove("u");
    await store.remove("u");
    assert.equal(mounted.has(prepared.get("s") as string), false);
    assert.deepEqual(await store.uids(), []);
  });
});
