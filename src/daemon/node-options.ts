import { join } from "node:path";
import type { NetworkingOptions } from "#network/networking.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { instancePaths } from "./instance-paths.ts";

/**
 * The ids of pods in user namespaces of their own: 256 ranges, other ones for each instance on a machine, between
 * 536870912 and systemd-nspawn's last. They are not looked up in /etc/subuid: instances would share them.
 */
export function podIdRange({ index }: Pick<InstanceConfig, "index">): { first: number; pods: number } {
  const pods = 256;
  return { first: 0x2000_0000 + index * pods * 65_536, pods };
}

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
