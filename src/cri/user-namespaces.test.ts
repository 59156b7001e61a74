import assert from "node:assert/strict";
import { test } from "node:test";
import { containerConfigOf } from "./container-request.ts";
import type { ContainerConfig, IdMappingMessage, MountMessage, NamespaceMode, SandboxConfig } from "./messages.ts";
import { sandboxConfigOf } from "./sandbox-request.ts";

const range: IdMappingMessage = { containerId: 0, hostId: 70_000, length: 65_536 };

function sandbox(usernsOptions: { mode: NamespaceMode; uids?: IdMappingMessage[]; gids?: IdMappingMessage[] } | null) {
  const options = usernsOptions === null ? null : { uids: [], gids: [], ...usernsOptions };
  const namespaceOptions = { network: "POD", pid: "CONTAINER", ipc: "POD", targetId: "", usernsOptions: options };
  return {
    metadata: { name: "pod", uid: "u", namespace: "n", attempt: 0 },
    hostname: "pod",
    portMappings: [],
    linux: { cgroupParent: "", securityContext: { namespaceOptions, selinuxOptions: null } },
  } as unknown as SandboxConfig;
}

function container(mount: Partial<MountMessage>): ContainerConfig {
  return {
    metadata: { name: "c", attempt: 0 },
    image: { image: "i" },
    CDIDevices: [],
    stopSignal: "RUNTIME_DEFAULT",
    envs: [],
    devices: [],
    mounts: [
      {
        containerPath: "/v",
        hostPath: "/h",
        readonly: false,
        propagation: "PROPAGATION_PRIVATE",
        uidMappings: [],
        gidMappings: [],
        recursiveReadOnly: false,
        image: null,
        ...mount,
      },
    ],
  } as unknown as ContainerConfig;
}

test("a sandbox gets the user namespace that the client asks for, or the machine's", () => {
  const ids = [{ containerId: 0, hostId: 70_000, length: 65_536 }];
  const { userNamespace } = sandboxConfigOf(sandbox({ mode: "POD", uids: [range], gids: [range] }));
  assert.deepEqual(userNamespace, { uids: ids, gids: ids });
  assert.equal(sandboxConfigOf(sandbox({ mode: "NODE" })).userNamespace, undefined);
  assert.equal(sandboxConfigOf(sandbox(null)).userNamespace, undefined);
});

test("what cannot be a pod's user namespace is refused with the reason", () => {
  const refused = (mode: NamespaceMode, uids: IdMappingMessage[], gids: IdMappingMessage[], expected: RegExp): void =>
    assert.throws(() => sandboxConfigOf(sandbox({ mode, uids, gids })), expected);
  refused("CONTAINER", [range], [range], /unsupported user namespace mode: CONTAINER/);
  refused("TARGET", [range], [range], /unsupported user namespace mode: TARGET/);
  refused("POD", [], [], /exactly one mapping of uids is needed for a user namespace, not 0/);
  refused("POD", [range], [range, { ...range, hostId: 1 }], /exactly one mapping of gids .*, not 2/);
  refused("POD", [{ ...range, containerId: 1 }], [range], /has no root/);
  refused("POD", [{ ...range, length: 0 }], [range], /The uids cannot be mapped: 0:70000:0 is no range of ids/);
});

test("a mount may have the ids of its pod's user namespace, and no others", () => {
  const pod = sandbox({ mode: "POD", uids: [range], gids: [range] });
  const mapped = container({ uidMappings: [range], gidMappings: [range] });
  assert.equal(containerConfigOf(mapped, pod, "i").mounts[0]?.idMapped, true);
  assert.equal(containerConfigOf(container({}), pod, "i").mounts[0]?.idMapped, undefined);
  const other = container({ uidMappings: [{ ...range, hostId: 5 }], gidMappings: [range] });
  for (const [config, of] of [
    [other, pod],
    [mapped, sandbox({ mode: "NODE" })],
    [container({ uidMappings: [range] }), pod],
  ] as const)
    assert.throws(
      () => containerConfigOf(config, of, "i"),
      /ID mappings of the mount at "\/v" must be those of the pod/,
    );
});
