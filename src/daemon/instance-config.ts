import { instanceRunDir } from "./instance-paths.ts";

/**
 * What makes one Gantry instance: its name and all the names, ports and address ranges that must not collide
 * with another instance's on the same machine. The numbers follow from the instance's index; `gantry up`
 * picks the lowest free index and writes this once, to `<root>/instance.json`.
 */
export interface InstanceConfig {
  name: string;
  /** 0 to 15. */
  index: number;
  /** Data that outlives a reboot. */
  root: string;
  /** Sockets, pid files, pinned namespaces: gone after a reboot. */
  runDir: string;
  /** Prefix of link names (15 characters is the kernel's limit): `gt0`. */
  linkPrefix: string;
  /** docker's default bridge. */
  dockerBridge: string;
  dockerSubnet: string;
  /** Where user-defined networks take their subnets from, and each one's prefix length. */
  dockerPools: { base: string; size: number }[];
  podBridge: string;
  podCidr: string;
  serviceCidr: string;
  clusterDnsIp: string;
  clusterDomain: string;
  apiPort: number;
  kubeletPort: number;
  nodePortRange: { from: number; to: number };
  /** Name of the nftables table (family inet). */
  nftTable: string;
  /** Top cgroup folder, relative to each controller's root. */
  cgroupParent: string;
  dockerSocket: string;
  nodeName: string;
  /** The daemon.json that `gantry up --config-file` named; `<root>/daemon.json` when absent. */
  configFile?: string;
}

export const maxInstances = 16;

/** The configuration that belongs to a name, an index and a data root. Pure. */
export function instanceConfig(name: string, index: number, root: string, hostname: string): InstanceConfig {
  const runDir = instanceRunDir(name);
  return {
    name,
    index,
    root,
    runDir,
    linkPrefix: `gt${index}`,
    dockerBridge: `gt${index}-docker`,
    dockerSubnet: `10.${128 + index}.0.0/16`,
    dockerPools: [{ base: `10.${160 + index}.0.0/16`, size: 24 }],
    podBridge: `gt${index}-pods`,
    podCidr: `10.${64 + index}.0.0/16`,
    serviceCidr: `10.${96 + index}.0.0/16`,
    clusterDnsIp: `10.${96 + index}.0.10`,
    clusterDomain: "cluster.local",
    apiPort: 6443 + index,
    kubeletPort: 10250 + index * 10,
    nodePortRange: index === 0 ? { from: 30000, to: 32767 } : { from: 18000 + index * 700, to: 18699 + index * 700 },
    nftTable: `gantry-${name}`,
    cgroupParent: `gantry-${name}`,
    dockerSocket: `${runDir}/docker.sock`,
    nodeName: name === "default" ? hostname : `${hostname}-${name}`,
  };
}
