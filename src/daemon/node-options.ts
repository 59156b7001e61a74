import { join } from "node:path";
import type { NetworkingOptions } from "#network/networking.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { instancePaths } from "./instance-paths.ts";

/** What the networking of an instance's node is told; `gantry reset` needs the same to take it away. */
export function networkingOptions(config: InstanceConfig): NetworkingOptions {
  return {
    linkPrefix: config.linkPrefix,
    defaultBridge: { name: config.dockerBridge, subnet: config.dockerSubnet },
    pools: config.dockerPools,
    nftTable: config.nftTable,
    stateDir: join(instancePaths(config).engine, "network"),
    pods: { bridge: config.podBridge, cidr: config.podCidr },
    services: { cidr: config.serviceCidr, dnsIp: config.clusterDnsIp },
  };
}

/** The service proxy's own table. */
export function serviceTableName(config: InstanceConfig): string {
  return `${config.nftTable}-services`;
}

/** Where conmon, crun and the pinned namespaces are. */
export function runtimeFolder(config: InstanceConfig): string {
  return join(config.runDir, "runtime");
}
