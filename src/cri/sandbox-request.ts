import { hostname } from "node:os";
import type { PodSandboxConfig } from "#api/pod-runtime.ts";
import { GantryError } from "#base/errors.ts";
import { refuseSelinux, resourcesOf } from "./container-request.ts";
import type { SandboxConfig } from "./messages.ts";

const protocols = { TCP: "tcp", UDP: "udp", SCTP: "sctp" } as const;

/** RunPodSandbox's config for the port. Throws `invalid`, and `unsupported` for what Gantry cannot put in force. */
export function sandboxConfigOf(config: SandboxConfig | null): PodSandboxConfig {
  const metadata = config?.metadata ?? null;
  if (config === null || metadata === null) throw new GantryError("invalid", "sandbox config must include metadata");
  if (metadata.name === "" || metadata.uid === "") {
    throw new GantryError("invalid", "sandbox metadata must include a name and a uid");
  }
  const { linux } = config;
  const security = linux?.securityContext ?? null;
  const namespaces = security?.namespaceOptions ?? null;
  refuseSelinux(security?.selinuxOptions ?? null);
  if (namespaces?.usernsOptions?.mode === "POD") {
    throw new GantryError("unsupported", "user namespaces are not supported");
  }
  const hostNetwork = namespaces?.network === "NODE";
  const pid = namespaces?.pid ?? "POD";
  const parent = linux?.cgroupParent ?? "";
  return {
    metadata,
    // As the machine's own when the client names none.
    hostname: config.hostname === "" ? hostname() : config.hostname,
    logDirectory: config.logDirectory,
    dns: config.dnsConfig ?? { servers: [], searches: [], options: [] },
    hostAliases: [],
    portMappings: config.portMappings.map(({ protocol, containerPort, hostPort, hostIp }) => ({
      protocol: protocols[protocol],
      containerPort,
      hostPort,
      ...(hostIp === "" ? {} : { hostIp }),
    })),
    labels: config.labels,
    annotations: config.annotations,
    hostNetwork,
    hostPid: pid === "NODE",
    hostIpc: namespaces?.ipc === "NODE",
    shareProcessNamespace: pid === "POD",
    sysctls: linux?.sysctls ?? {},
    cgroupParent: parent === "" ? `cri/${metadata.uid.replaceAll("/", "-")}-${metadata.attempt}` : parent,
    ...(linux?.resources ? { resources: resourcesOf(linux.resources) } : {}),
  };
}
