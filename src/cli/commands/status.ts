import { existsSync, readFileSync, readdirSync } from "node:fs";
import { daemonPid } from "#daemon/daemon-process.ts";
import type { InstanceConfig } from "#daemon/instance-config.ts";
import { daemonNames, instancePaths } from "#daemon/instance-paths.ts";
import { machineAddresses } from "../addresses.ts";
import { requireInstance } from "../instance.ts";
import type { InstanceOptions } from "../instance-options.ts";
import { KubeRequester } from "../kube-request.ts";
import { sampleAddress } from "../sample.ts";
import { version } from "#daemon/version.ts";

interface StatusOptions extends InstanceOptions {
  output: "text" | "json";
}

interface ProcessStatus {
  /** `control`, `node` or `conmon`. */
  name: string;
  pid: number;
  /** Resident memory in bytes. */
  memory: number;
}

interface NodeStatus {
  name: string;
  ready: boolean;
  address: string;
  version: string;
}

/** What `gantry status -o json` prints. Fields are only ever added. */
export interface InstanceStatus {
  name: string;
  version: string;
  state: "up" | "down" | "partial";
  root: string;
  processes: ProcessStatus[];
  addresses: {
    docker: string;
    kubernetes: string;
    sample?: string;
    machine: string[];
    podCidr: string;
    serviceCidr: string;
    dockerSubnet: string;
    clusterDns: string;
    nodePorts: string;
  };
  kubeconfig: string;
  nodes: NodeStatus[];
  /** Why the cluster could not be asked, when it could not. */
  problem?: string;
}

function residentBytes(pid: number): number {
  try {
    const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return match === null ? 0 : Number(match[1]) * 1024;
  } catch {
    return 0;
  }
}

/** The container monitors of this instance: those whose arguments name its folders. */
function monitors(config: InstanceConfig): ProcessStatus[] {
  const out: ProcessStatus[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readFileSync(`/proc/${entry}/comm`, "utf8") !== "conmon\n") continue;
      const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8");
      if (!argv.includes(`${config.root}/`) && !argv.includes(`${config.runDir}/`)) continue;
      out.push({ name: "conmon", pid: Number(entry), memory: residentBytes(Number(entry)) });
    } catch {
      continue; // It has ended meanwhile.
    }
  }
  return out;
}

interface NodeObject {
  metadata: { name: string };
  status?: {
    conditions?: { type: string; status: string }[];
    addresses?: { type: string; address: string }[];
    nodeInfo?: { kubeletVersion?: string };
  };
}

async function readNodes(kube: KubeRequester): Promise<NodeStatus[]> {
  const { body } = await kube.send("GET", "/api/v1/nodes", undefined, 2_000);
  return ((body as { items?: NodeObject[] }).items ?? []).map(({ metadata, status }) => ({
    name: metadata.name,
    ready: status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") ?? false,
    address: status?.addresses?.find((address) => address.type === "InternalIP")?.address ?? "",
    version: status?.nodeInfo?.kubeletVersion ?? "",
  }));
}

/** Collects the status of an instance. */
export async function instanceStatus(config: InstanceConfig): Promise<InstanceStatus> {
  const daemons = daemonNames.flatMap((name) => {
    const pid = daemonPid(config, name);
    return pid === undefined ? [] : [{ name, pid, memory: residentBytes(pid) }];
  });
  const result: InstanceStatus = {
    name: config.name,
    version,
    state: daemons.length === daemonNames.length ? "up" : daemons.length === 0 ? "down" : "partial",
    root: config.root,
    processes: [...daemons, ...monitors(config)],
    addresses: {
      docker: `unix://${config.dockerSocket}`,
      kubernetes: `https://127.0.0.1:${config.apiPort}`,
      machine: machineAddresses(),
      podCidr: config.podCidr,
      serviceCidr: config.serviceCidr,
      dockerSubnet: config.dockerSubnet,
      clusterDns: config.clusterDnsIp,
      nodePorts: `${config.nodePortRange.from}-${config.nodePortRange.to}`,
    },
    kubeconfig: instancePaths(config).kubeconfig,
    nodes: [],
  };
  if (!daemons.some(({ name }) => name === "control") || !existsSync(result.kubeconfig)) return result;
  const kube = new KubeRequester(config);
  try {
    const [nodes, sample] = await Promise.all([readNodes(kube), sampleAddress(kube)]);
    result.nodes = nodes;
    if (sample !== undefined) result.addresses.sample = sample;
  } catch (error) {
    result.state = "partial";
    result.problem = (error as Error).message;
  } finally {
    kube.close();
  }
  return result;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`;
}

function asText(status: InstanceStatus): string {
  const { addresses } = status;
  const lines = [`Gantry "${status.name}" ${status.version} is ${status.state}.`];
  if (status.problem !== undefined) lines.push(status.problem);
  lines.push("", "Processes");
  for (const { name, pid, memory } of status.processes)
    lines.push(`  ${name.padEnd(10)} ${String(pid).padStart(8)} ${megabytes(memory).padStart(8)}`);
  lines.push(
    `  ${"together".padEnd(10)} ${"".padStart(8)} ${megabytes(status.processes.reduce((sum, { memory }) => sum + memory, 0)).padStart(8)}`,
  );
  lines.push("", "Addresses", `  docker      ${addresses.docker}`, `  kubernetes  ${addresses.kubernetes}`);
  if (addresses.sample !== undefined) lines.push(`  sample      ${addresses.sample}`);
  lines.push(
    `  pods        ${addresses.podCidr}`,
    `  services    ${addresses.serviceCidr}`,
    `  containers  ${addresses.dockerSubnet}`,
  );
  lines.push("", "Nodes");
  for (const node of status.nodes)
    lines.push(`  ${node.name.padEnd(24)} ${node.ready ? "Ready" : "NotReady"}  ${node.address}  ${node.version}`);
  lines.push("", `Data in ${status.root}; kubeconfig in ${status.kubeconfig}`);
  return lines.join("\n");
}

/** `gantry status`. */
export async function status(options: StatusOptions): Promise<void> {
  const result = await instanceStatus(requireInstance(options));
  process.stdout.write(`${options.output === "json" ? JSON.stringify(result, null, 2) : asText(result)}\n`);
  if (result.state !== "up") process.exitCode = 3;
}
