/** CRI v1's requests as the codec gives them: every field present, absent messages `null`. Only what is read is here. */

export interface NumberValue {
  value: number;
}

export type NamespaceMode = "POD" | "CONTAINER" | "NODE" | "TARGET";

export interface NamespaceOption {
  network: NamespaceMode;
  pid: NamespaceMode;
  ipc: NamespaceMode;
  targetId: string;
  usernsOptions: UserNamespaceMessage | null;
}

export interface UserNamespaceMessage {
  mode: NamespaceMode;
  uids: IdMappingMessage[];
  gids: IdMappingMessage[];
}

export interface IdMappingMessage {
  hostId: number;
  containerId: number;
  length: number;
}

export interface SecurityProfile {
  profileType: "RuntimeDefault" | "Unconfined" | "Localhost";
  localhostRef: string;
}

export interface SandboxMetadata {
  name: string;
  uid: string;
  namespace: string;
  attempt: number;
}

export interface LinuxResources {
  cpuPeriod: number;
  cpuQuota: number;
  cpuShares: number;
  memoryLimitInBytes: number;
  oomScoreAdj: number;
  cpusetCpus: string;
  cpusetMems: string;
  hugepageLimits: { pageSize: string; limit: number }[];
  unified: Record<string, string>;
  memorySwapLimitInBytes: number;
}

interface SeLinuxOption {
  user: string;
  role: string;
  type: string;
  level: string;
}

export interface SandboxConfig {
  metadata: SandboxMetadata | null;
  hostname: string;
  logDirectory: string;
  dnsConfig: { servers: string[]; searches: string[]; options: string[] } | null;
  portMappings: { protocol: "TCP" | "UDP" | "SCTP"; containerPort: number; hostPort: number; hostIp: string }[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  linux: {
    cgroupParent: string;
    securityContext: {
      namespaceOptions: NamespaceOption | null;
      selinuxOptions: SeLinuxOption | null;
    } | null;
    sysctls: Record<string, string>;
    resources: LinuxResources | null;
  } | null;
}

export interface ImageSpec {
  image: string;
  userSpecifiedImage: string;
}

export interface ContainerSecurityContext {
  capabilities: {
    addCapabilities: string[];
    dropCapabilities: string[];
    addAmbientCapabilities: string[];
  } | null;
  privileged: boolean;
  namespaceOptions: NamespaceOption | null;
  selinuxOptions: SeLinuxOption | null;
  runAsUser: NumberValue | null;
  runAsGroup: NumberValue | null;
  runAsUsername: string;
  readonlyRootfs: boolean;
  supplementalGroups: number[];
  supplementalGroupsPolicy: "Merge" | "Strict";
  noNewPrivs: boolean;
  maskedPaths: string[];
  readonlyPaths: string[];
  seccomp: SecurityProfile | null;
  apparmor: SecurityProfile | null;
  apparmorProfile: string;
  seccompProfilePath: string;
}

export interface MountMessage {
  containerPath: string;
  hostPath: string;
  readonly: boolean;
  propagation: "PROPAGATION_PRIVATE" | "PROPAGATION_HOST_TO_CONTAINER" | "PROPAGATION_BIDIRECTIONAL";
  uidMappings: IdMappingMessage[];
  gidMappings: IdMappingMessage[];
  recursiveReadOnly: boolean;
  image: ImageSpec | null;
  imageSubPath: string;
}

export interface ContainerConfig {
  metadata: { name: string; attempt: number } | null;
  image: ImageSpec | null;
  command: string[];
  args: string[];
  workingDir: string;
  envs: { key: string; value: string }[];
  mounts: MountMessage[];
  devices: { containerPath: string; hostPath: string; permissions: string }[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  logPath: string;
  stdin: boolean;
  stdinOnce: boolean;
  tty: boolean;
  linux: { resources: LinuxResources | null; securityContext: ContainerSecurityContext | null } | null;
  CDIDevices: { name: string }[];
  stopSignal: string;
}

interface Filter {
  id: string;
  labelSelector: Record<string, string>;
}

export interface SandboxFilter extends Filter {
  state: { state: string } | null;
}

export interface ContainerFilter extends Filter {
  state: { state: string } | null;
  podSandboxId: string;
}

export interface StatsFilter extends Filter {
  podSandboxId: string;
}

interface SandboxId {
  podSandboxId: string;
}

interface ContainerId {
  containerId: string;
}

interface Streams {
  containerId: string;
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

interface Nothing {
  readonly nothing?: never;
}

/** Every method's request. */
export interface RuntimeRequests {
  Version: { version: string };
  RunPodSandbox: { config: SandboxConfig | null; runtimeHandler: string };
  StopPodSandbox: SandboxId;
  RemovePodSandbox: SandboxId;
  PodSandboxStatus: SandboxId & { verbose: boolean };
  ListPodSandbox: { filter: SandboxFilter | null };
  CreateContainer: SandboxId & { config: ContainerConfig | null; sandboxConfig: SandboxConfig | null };
  StartContainer: ContainerId;
  StopContainer: ContainerId & { timeout: number };
  RemoveContainer: ContainerId;
  ListContainers: { filter: ContainerFilter | null };
  ContainerStatus: ContainerId & { verbose: boolean };
  UpdateContainerResources: ContainerId & { linux: LinuxResources | null };
  ReopenContainerLog: ContainerId;
  ExecSync: ContainerId & { cmd: string[]; timeout: number };
  Exec: Streams & { cmd: string[] };
  Attach: Streams;
  PortForward: SandboxId & { port: number[] };
  ContainerStats: ContainerId;
  ListContainerStats: { filter: StatsFilter | null };
  PodSandboxStats: SandboxId;
  ListPodSandboxStats: { filter: Filter | null };
  ListMetricDescriptors: Nothing;
  ListPodSandboxMetrics: Nothing;
  UpdatePodSandboxResources: SandboxId & { overhead: LinuxResources | null; resources: LinuxResources | null };
  UpdateRuntimeConfig: { runtimeConfig: { networkConfig: { podCidr: string } | null } | null };
  Status: { verbose: boolean };
  RuntimeConfig: Nothing;
}

export interface ImageRequests {
  ListImages: { filter: { image: ImageSpec | null } | null };
  ImageStatus: { image: ImageSpec | null; verbose: boolean };
  PullImage: {
    image: ImageSpec | null;
    auth: {
      username: string;
      password: string;
      auth: string;
      serverAddress: string;
      identityToken: string;
      registryToken: string;
    } | null;
  };
  RemoveImage: { image: ImageSpec | null };
  ImageFsInfo: Nothing;
}

/** Plain objects in the answers' shapes; the codec checks them against the schema's types. */
export type Handlers<Requests> = { [Method in keyof Requests]: (request: Requests[Method]) => Promise<object> };
