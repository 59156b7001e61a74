/**
 * What the engine needs of the container layer (an OCI runtime under conmon). Kept narrow and free of docker's
 * words, so that docker's containers and pods' containers start the same way.
 */
import type { IdMapping } from "#base/id-mapping.ts";
import type { Resources } from "./docker/container-types.ts";

export interface NamespacePlan {
  /** A path joins, `host` shares the machine's, `new` makes one. */
  network: { kind: "path"; path: string } | { kind: "host" };
  pid: { kind: "new" } | { kind: "host" } | { kind: "path"; path: string };
  ipc: { kind: "new" } | { kind: "host" } | { kind: "path"; path: string };
  uts: { kind: "new" } | { kind: "host" } | { kind: "path"; path: string };
  cgroup: { kind: "new" } | { kind: "host" };
  /** Whose ids the container has; the namespaces above belong to it. Absent: the machine's. */
  user?: { path: string; mapping: IdMapping };
}

export interface PlannedMount {
  type: "bind" | "tmpfs" | "mqueue" | "proc" | "sysfs" | "cgroup" | "devpts";
  source: string;
  destination: string;
  /** As mount(8) and the OCI runtime spec take them: `rbind`, `ro`, `rprivate`, `nosuid`… */
  options: string[];
}

export interface DevicePlan {
  hostPath: string;
  containerPath: string;
  /** `rwm`. */
  permissions: string;
}

export interface LogPlan {
  /** `json-file` and `local` are docker's format on disk, `cri` the kubelet's, `none` keeps nothing. */
  format: "json-file" | "cri" | "none";
  path: string;
  /** Bytes, 0: unbounded. */
  maxSize: number;
  maxFiles: number;
  /** Rotated files are kept in gzip. */
  compress: boolean;
}

export interface ProcessPlan {
  args: string[];
  env: string[];
  cwd: string;
  uid: number;
  gid: number;
  additionalGids: number[];
  tty: boolean;
  /** Height, width. */
  consoleSize?: readonly [number, number];
  capabilities: string[];
  noNewPrivileges: boolean;
  /** Name of a profile, or `unconfined`. Absent where the kernel has no AppArmor. */
  apparmorProfile?: string;
}

export interface LaunchPlan {
  id: string;
  /** The mounted root file system. */
  rootfs: string;
  readonlyRootfs: boolean;
  hostname: string;
  domainname: string;
  process: ProcessPlan;
  namespaces: NamespacePlan;
  /** Besides /proc, /dev, /dev/pts, /sys, /sys/fs/cgroup, /dev/mqueue, which come by themselves; /dev/shm by `shmSize`. */
  mounts: PlannedMount[];
  shmSize: number;
  devices: DevicePlan[];
  privileged: boolean;
  /** Relative to the controllers' root: `gantry-default/docker/<id>`. */
  cgroupPath: string;
  resources: Resources;
  oomScoreAdj: number;
  sysctls: Record<string, string>;
  maskedPaths: string[] | undefined;
  readonlyPaths: string[] | undefined;
  /** `default`, `unconfined`, or the profile itself. */
  seccomp: "default" | "unconfined" | { profile: unknown };
  rootfsPropagation: "" | "private" | "slave" | "shared";
  /** Runs a small init as process 1. */
  init: boolean;
  annotations: Record<string, string>;
  openStdin: boolean;
  stdinOnce: boolean;
  log: LogPlan;
}

export interface ExitFacts {
  exitCode: number;
  oomKilled: boolean;
  /** Milliseconds since the epoch. */
  finishedAt: number;
}

export interface StreamsPort {
  readonly output: AsyncIterable<{ stream: "stdout" | "stderr"; data: Uint8Array }>;
  write(chunk: Uint8Array): Promise<void>;
  closeStdin(): void;
  close(): void;
}

export interface ExecHandle {
  readonly pid: number;
  readonly streams: StreamsPort;
  readonly exited: Promise<number>;
  resize(size: { height: number; width: number }): Promise<void>;
  /** Kills what the exec started. */
  kill(): void;
}

export type RuntimeState =
  | { state: "absent" }
  | { state: "created" | "running" | "paused"; pid: number; oomKilled: boolean }
  | { state: "exited"; exit: ExitFacts };

export interface RuntimeReading {
  cpu: {
    total: number;
    kernel: number;
    user: number;
    perCpu: number[];
    periods: number;
    throttled: number;
    throttledTime: number;
  };
  memory: { usage: number; max: number; limit: number; failures: number; stats: Record<string, number> };
  pids: { current: number; limit: number };
  blkio: Record<string, { major: number; minor: number; op: string; value: number }[] | null>;
}

/** What `docker logs` shows as one: a line of the program, or 16 KiB of one. */
export interface LoggedLine {
  stream: "stdout" | "stderr";
  time: string;
  data: Uint8Array;
}

/** What is known of a launch before anything is set up. */
export type ExpectedLaunch = Pick<LaunchPlan, "id" | "log" | "openStdin" | "stdinOnce"> & { tty: boolean };

export interface ContainerRuntimePort {
  facts(): Promise<{
    name: string;
    version: string;
    conmonVersion: string;
    cgroupVersion: 1 | 2;
    cgroupDriver: string;
    /** Whether the kernel confines programs by AppArmor profiles. */
    apparmor: boolean;
  }>;
  /** Says that `create` follows soon, so that what does not depend on more can begin. `delete` calls it off. */
  expect(launch: ExpectedLaunch): void;
  /** Namespaces, cgroup and process, stopped before the program: as `crun create`. Throws with the runtime's words. */
  create(plan: LaunchPlan): Promise<{ pid: number }>;
  /** Lets the program begin. */
  start(id: string): Promise<void>;
  /** Where it stands, also after a restart of ours. */
  state(id: string): Promise<RuntimeState>;
  /** Resolves when the program of a created or running container ended; it may have long before. */
  exited(id: string): Promise<ExitFacts>;
  /** Called when the kernel killed something of the container for want of memory. */
  onOom(listener: (id: string) => void): () => void;
  /** False when it is gone. Number or name. */
  kill(id: string, signal: number, all?: boolean): Promise<boolean>;
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  update(id: string, resources: Resources): Promise<void>;
  /** Removes every trace but the log: runtime state, conmon, cgroup. Safe to repeat; kills what still runs. */
  delete(id: string): Promise<void>;
  /** Ids that the runtime knows. */
  list(): Promise<string[]>;
  attach(id: string, options: { stdin: boolean; stdout: boolean; stderr: boolean }): Promise<StreamsPort>;
  resize(id: string, size: { height: number; width: number }): Promise<void>;
  exec(id: string, process: ProcessPlan & { privileged: boolean; stdin: boolean }): Promise<ExecHandle>;
  /** Runs a command to its end and collects what it says. Throws `timeout`; `data.exitCode` when it could not be run. */
  execSync(
    id: string,
    process: ProcessPlan,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<{ code: number; stdout: Buffer; stderr: Buffer }>;
  processes(id: string): Promise<number[]>;
  read(id: string): Promise<RuntimeReading>;
  readLog(
    log: LogPlan,
    options: {
      follow: boolean;
      tail?: number;
      since?: number;
      until?: number;
      ended: () => boolean;
      signal?: AbortSignal;
    },
  ): AsyncIterable<LoggedLine[]>;
  reopenLog(id: string): Promise<void>;
}
