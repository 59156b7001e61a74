import type {
  ContainerConfig,
  ContainerState,
  EndpointSettings,
  HostConfig,
  MountPoint,
  MountSpec,
  NetworkSettings,
} from "#api/docker/container-types.ts";
import { Emitter } from "#base/emitter.ts";
import type { IdMapping } from "#base/id-mapping.ts";
import type { Endpoint } from "#network/network-types.ts";
import type { ExecSession } from "./exec-session.ts";
import type { HealthMonitor } from "./health-monitor.ts";
import { zeroTime } from "./timestamps.ts";

/** A mount point as `config.v2.json` keeps it. */
export interface StoredMountPoint extends MountPoint {
  Spec?: MountSpec;
  /** The snapshot of a mounted image. */
  ID?: string;
  /** A copy-up of the image's content was done, or is not wanted. */
  CopyData?: boolean;
}

/** Facts of ours in `config.v2.json`, beside docker's own. */
export interface GantryRecord {
  /** `creating` and `removing` are finished or undone at the next start. */
  phase: "creating" | "ready" | "removing";
  /** It is paused by a commit, not by a user: a start of ours that finds it so lets it go on. */
  pausedForCommit?: boolean;
  /** A removal that was begun takes anonymous volumes, too. */
  removeVolumes?: boolean;
  /** ChainIDs below the writable layer, from the bottom up. */
  chain: string[];
  /** What was connected last, for recovery. */
  endpoints: Endpoint[];
  platform: string;
  /** Of the container's user namespace, from its creation on; absent for the machine's. */
  mapping?: IdMapping;
  pod?: {
    sandboxId: string;
    logPath: string;
    attempt: number;
    name: string;
    image: string;
    labels: Record<string, string>;
    annotations: Record<string, string>;
    /** Its own process namespace or another container's, in place of the sandbox's. */
    pidNamespace?: "own" | { containerId: string };
    /** The image's groups of the user do not count. */
    strictGroups?: boolean;
    /** Where mounts are whose files have the ids inside on disk. */
    idMappedMounts?: string[];
    /** Of the last start. */
    user?: { uid: number; gid: number; supplementalGroups: number[] };
  };
}

/** `config.v2.json`: docker's names and shapes. */
export interface ContainerRecord {
  StreamConfig: Record<string, never>;
  State: ContainerState & { RemovalInProgress: boolean; StartedAt: string; FinishedAt: string };
  ID: string;
  Created: string;
  Managed: boolean;
  Path: string;
  Args: string[];
  Config: ContainerConfig;
  Image: string;
  NetworkSettings: NetworkSettings;
  LogPath: string;
  Name: string;
  Driver: string;
  OS: string;
  RestartCount: number;
  HasBeenStartedBefore: boolean;
  HasBeenManuallyStopped: boolean;
  HasBeenManuallyRestarted: boolean;
  MountPoints: Record<string, StoredMountPoint>;
  HostnamePath: string;
  HostsPath: string;
  ResolvConfPath: string;
  /** What confined it when it was last started; before that, what was asked for. */
  AppArmorProfile?: string;
  Gantry: GantryRecord;
}

/** A container's life seen from waiters: told after the state has changed. */
export type ContainerChange = "started" | "failed" | "exited" | "removed";

/** One container: what is on disk, and what only this process knows. Changed under the container's lock. */
export class Container {
  readonly record: ContainerRecord;
  hostConfig: HostConfig;
  readonly changes = new Emitter<ContainerChange>();
  readonly execs = new Map<string, ExecSession>();
  health: HealthMonitor | undefined;
  /** Attach sessions that wait for the process to be created. */
  readonly pendingAttach = new Set<() => Promise<void>>();
  /** Set while an exit is asked for, so that the restart policy keeps still. */
  stopRequested = false;
  /** The wait of the restart policy, to be cancelled. */
  cancelRestart: (() => void) | undefined;
  /** Milliseconds of the next back-off. */
  restartDelay = 0;
  isRemoving = false;
  lastExit: { exitCode: number } | undefined;

  constructor(record: ContainerRecord, hostConfig: HostConfig) {
    this.record = record;
    this.hostConfig = hostConfig;
  }

  get id(): string {
    return this.record.ID;
  }

  /** Without its slash. */
  get name(): string {
    return this.record.Name.slice(1);
  }

  get state(): ContainerRecord["State"] {
    return this.record.State;
  }

  /** Has a process: not so while it waits for its restart. */
  get isRunning(): boolean {
    return this.record.State.Running && !this.record.State.Restarting;
  }

  /** The ids of its user namespace; undefined in the machine's. */
  get mapping(): IdMapping | undefined {
    return this.record.Gantry.mapping;
  }

  get isPod(): boolean {
    return this.record.Gantry.pod !== undefined;
  }
}

export function emptyState(): ContainerRecord["State"] {
  return {
    Status: "created",
    Running: false,
    Paused: false,
    Restarting: false,
    OOMKilled: false,
    RemovalInProgress: false,
    Dead: false,
    Pid: 0,
    ExitCode: 0,
    Error: "",
    StartedAt: zeroTime,
    FinishedAt: zeroTime,
  };
}

export function emptyNetworkSettings(networks: Record<string, EndpointSettings>): NetworkSettings {
  return {
    Bridge: "",
    SandboxID: "",
    SandboxKey: "",
    Ports: {},
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: "",
    Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    IPAddress: "",
    IPPrefixLen: 0,
    IPv6Gateway: "",
    MacAddress: "",
    Networks: networks,
  };
}

/** The word for a state, from its flags. */
export function statusWord(state: ContainerRecord["State"]): ContainerState["Status"] {
  if (state.RemovalInProgress) return "removing";
  if (state.Dead) return "dead";
  if (state.Running && state.Paused) return "paused";
  if (state.Restarting) return "restarting";
  if (state.Running) return "running";
  return state.StartedAt === zeroTime && state.FinishedAt === zeroTime ? "created" : "exited";
}
