/** For this folder's tests: what a node agent asks of the pod runtime. */
import { join } from "node:path";
import type { ContainerSecurity, PodContainerConfig, PodSandboxConfig } from "#api/pod-runtime.ts";
import { newUid } from "#base/ids.ts";

export const plainSecurity: ContainerSecurity = {
  privileged: false,
  supplementalGroups: [],
  readOnlyRootFilesystem: false,
  noNewPrivileges: false,
  capabilitiesAdd: [],
  capabilitiesDrop: [],
  seccompProfile: "runtime/default",
};

export function podSandbox(name: string, base: string, more: Partial<PodSandboxConfig> = {}): PodSandboxConfig {
  const uid = newUid();
  return {
    metadata: { name, namespace: "default", uid, attempt: 0 },
    hostname: name,
    logDirectory: join(base, "pods", uid),
    dns: { servers: ["10.100.0.10"], searches: ["default.svc.cluster.local"], options: ["ndots:5"] },
    hostAliases: [{ ip: "1.2.3.4", hostnames: ["far"] }],
    portMappings: [],
    labels: { app: name },
    annotations: {},
    hostNetwork: false,
    hostPid: false,
    hostIpc: false,
    shareProcessNamespace: false,
    sysctls: {},
    cgroupParent: `kubepods/besteffort/pod${uid}`,
    ...more,
  };
}

/** A container that sleeps, named `main`. */
export function podContainer(imageId: string, more: Partial<PodContainerConfig> = {}): PodContainerConfig {
  const { name } = more.metadata ?? { name: "main" };
  return {
    metadata: { name, attempt: 0 },
    imageId,
    image: "gantry/hello",
    command: ["sleep", "1000"],
    args: [],
    env: [],
    mounts: [],
    devices: [],
    labels: {},
    annotations: {},
    logPath: `${name}/0.log`,
    stdin: false,
    stdinOnce: false,
    tty: false,
    stopSignal: "SIGKILL",
    resources: {},
    security: plainSecurity,
    ...more,
  };
}
