import { hostname } from "node:os";
import type { PodSandboxConfig } from "#api/pod-runtime.ts";
import { GantryError } from "#base/errors.ts";
import { idRange, refuseSelinux, resourcesOf } from "./container-request.ts";
import { checkIdRanges, type IdMapping, mappedRoot } from "#base/id-mapping.ts";
import type { SandboxConfig, UserNamespaceMessage } from "./messages.ts";

const protocols = { TCP: "tcp", UDP: "udp", SCTP: "sctp" } as const;

/** As containerd has it: one range each, with root in it. Throws `invalid`. */
function userNamespaceOf(options: UserNamespaceMessage | null): IdMapping | undefined {
  if (options === null || options.mode === "NODE") return undefined;
  if (options.mode !== "POD")
    throw new GantryError("invalid", `unsupported user namespace mode: ${options.mode}. Use POD or NODE.`);
  const mapping = { uids: options.uids.map(idRange), gids: options.gids.map(idRange) };
  for (const [what, ranges] of Object.entries(mapping)) {
    if (ranges.length !== 1)
      throw new GantryError(
        "invalid",
        `exactly one mapping of ${what} is needed for a user namespace, not ${ranges.length}`,
      );
    checkIdRanges(ranges, what);
  }
  mappedRoot(mapping);
  return mapping;
}

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
  const userNamespace = userNamespaceOf(namespaces?.usernsOptions ?? null);
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
    ...(userNamespace === undefined ? {} : { userNamespace }),
    cgroupParent: parent === "" ? `cri/${metadata.uid.replaceAll("/", "-")}-${metadata.attempt}` : parent,
    ...(linux?.resources ? { resources: resourcesOf(linux.resources) } : {}),
  };
}
