/**
 * What the Docker API (and build, compose, CRI) may ask of the engine. `ref` is always what a user types: a
 * name (with or without a leading slash), an id, or an unambiguous prefix of an id. Every error is a
 * GantryError whose message is docker's own sentence; its code says the status: `invalid` 400, `not-found`
 * 404, `conflict`/`already-exists` 409, `not-modified` 304, `unsupported` 501, `forbidden` 403, else 500.
 */
import type {
  ContainerCreateBody,
  ContainerInspect,
  ContainerStats,
  ContainerSummary,
  ContainerUpdateBody,
  EndpointSettings,
  ExecCreateBody,
  ExecInspect,
  FilesystemChange,
  PathStat,
  TopResult,
} from "#api/docker/container-types.ts";
import type {
  DiskUsage,
  EventMessage,
  ImageDeleteEntry,
  ImageHistoryEntry,
  ImageInspect,
  ImageSummary,
  NetworkCreateBody,
  NetworkResource,
  ProgressMessage,
  PruneReport,
  SearchResult,
  SystemInfo,
  VolumeCreateBody,
  VolumeResource,
} from "#api/docker/object-types.ts";
import type { PodRuntime } from "#api/pod-runtime.ts";
import type { Platform } from "#image/oci.ts";

export type { Platform };

/** docker's filter argument, parsed: key to the list of values. An unknown key is refused (`invalid`). */
export type Filters = Readonly<Record<string, readonly string[]>>;

export interface ListContainersOptions {
  all?: boolean;
  /** The newest n, whatever their state. */
  limit?: number;
  size?: boolean;
  filters?: Filters;
}

export interface LogsOptions {
  stdout: boolean;
  stderr: boolean;
  follow?: boolean;
  /** The last n lines; undefined: all. */
  tail?: number;
  /** Milliseconds since the epoch, fractions allowed. */
  since?: number;
  until?: number;
  signal?: AbortSignal;
}

export interface LogEntry {
  stream: "stdout" | "stderr";
  /** RFC 3339 with nanoseconds, UTC: what `--timestamps` shows. */
  time: string;
  /** With its newline, where the container wrote one. */
  data: Uint8Array;
}

export interface LogsResult {
  /** A TTY's log is sent raw, any other in 8-byte frames. */
  tty: boolean;
  /** What `--details` shows of each entry, sorted by key. */
  attributes: readonly (readonly [key: string, value: string])[];
  /** Those that are there at once, never none. */
  entries: AsyncIterable<LogEntry[]>;
}

export interface StreamChunk {
  stream: "stdout" | "stderr";
  data: Uint8Array;
}

/** A live connection to a container's or an exec's standard streams. */
export interface StreamSession {
  /** Output is raw for a TTY, to be framed else. */
  readonly tty: boolean;
  /** Ends when the process ends, when the detach keys were typed, or after `close`. */
  readonly output: AsyncIterable<StreamChunk>;
  /** Resolves once the bytes are taken over (back-pressure). Nothing happens when stdin is not attached. */
  write(chunk: Uint8Array): Promise<void>;
  /** The client half-closed. */
  closeStdin(): void;
  /** The client went away. */
  close(): void;
}

export interface AttachOptions {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Follow the live streams; without it only `logs` are given. */
  stream: boolean;
  /** Replay what was written so far first. */
  logs: boolean;
  /** docker's notation, `ctrl-p,ctrl-q`; the default when empty or absent. */
  detachKeys?: string;
}

export interface ExecStartOptions {
  detach: boolean;
  tty?: boolean;
  /** Height, width. */
  consoleSize?: readonly number[];
}

export type WaitCondition = "not-running" | "next-exit" | "removed";
export interface WaitResult {
  StatusCode: number;
  Error?: { Message: string };
}

export interface RemoveContainerOptions {
  force?: boolean;
  /** Anonymous volumes too. */
  volumes?: boolean;
  /** `docker rm --link`: the ref is `parent/alias`. */
  link?: boolean;
}

export interface CopyInOptions {
  noOverwriteDirNonDir?: boolean;
  copyUidGid?: boolean;
}

export interface CommitOptions {
  repository?: string;
  tag?: string;
  comment?: string;
  author?: string;
  /** Default true. */
  pause?: boolean;
  /** Dockerfile instructions, one each: `CMD ["x"]`. */
  changes?: readonly string[];
  config?: ContainerCreateBody;
}

export interface ContainersApi {
  /** `name` without slash, or undefined for a random one. */
  create(
    name: string | undefined,
    body: ContainerCreateBody,
    options?: { platform?: string },
  ): Promise<{ Id: string; Warnings: string[] }>;
  /** `not-modified` when it runs already. */
  start(ref: string, options?: { detachKeys?: string }): Promise<void>;
  /** `not-modified` when it does not run. `timeout` in seconds, -1 for ever; undefined: the container's own. */
  stop(ref: string, options?: { timeout?: number; signal?: string }): Promise<void>;
  restart(ref: string, options?: { timeout?: number; signal?: string }): Promise<void>;
  kill(ref: string, signal?: string): Promise<void>;
  pause(ref: string): Promise<void>;
  unpause(ref: string): Promise<void>;
  /** Returns once it listens; the exit comes through `result`, so that headers can be sent in between. */
  wait(ref: string, condition: WaitCondition, signal: AbortSignal): Promise<{ result: Promise<WaitResult> }>;
  remove(ref: string, options?: RemoveContainerOptions): Promise<void>;
  rename(ref: string, newName: string): Promise<void>;
  update(ref: string, body: ContainerUpdateBody): Promise<{ Warnings: string[] }>;
  inspect(ref: string, options?: { size?: boolean }): Promise<ContainerInspect>;
  list(options?: ListContainersOptions): Promise<ContainerSummary[]>;
  logs(ref: string, options: LogsOptions): Promise<LogsResult>;
  attach(ref: string, options: AttachOptions): Promise<StreamSession>;
  resize(ref: string, size: { height: number; width: number }): Promise<void>;
  top(ref: string, psArgs?: string): Promise<TopResult>;
  /** Without `stream` one object, with a second reading behind it unless `oneShot`. */
  stats(
    ref: string,
    options: { stream: boolean; oneShot?: boolean; signal?: AbortSignal },
  ): Promise<AsyncIterable<ContainerStats>>;
  archiveStat(ref: string, path: string): Promise<PathStat>;
  archiveOut(ref: string, path: string): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }>;
  archiveIn(ref: string, path: string, tar: AsyncIterable<Uint8Array>, options?: CopyInOptions): Promise<void>;
  diff(ref: string): Promise<FilesystemChange[]>;
  /** Returns the new image's id, `sha256:…`. */
  commit(ref: string, options: CommitOptions): Promise<string>;
  export(ref: string): Promise<AsyncIterable<Uint8Array>>;
  prune(filters?: Filters): Promise<PruneReport>;

  execCreate(ref: string, body: ExecCreateBody): Promise<string>;
  /** Undefined when detached. */
  execStart(execId: string, options: ExecStartOptions): Promise<StreamSession | undefined>;
  execInspect(execId: string): Promise<ExecInspect>;
  execResize(execId: string, size: { height: number; width: number }): Promise<void>;
}

/** What `X-Registry-Auth` carries, decoded. */
export interface RegistryAuth {
  username?: string;
  password?: string;
  auth?: string;
  identitytoken?: string;
  registrytoken?: string;
  serveraddress?: string;
}

export type ProgressSink = (message: ProgressMessage) => void;

export interface PullOptions {
  tag?: string;
  platform?: string;
  auth?: RegistryAuth;
  progress: ProgressSink;
  signal?: AbortSignal;
  allTags?: boolean;
}

export interface ImagesApi {
  /** Throws before the first progress message when the reference is bad; the caller turns later errors into a line. */
  pull(reference: string, options: PullOptions): Promise<void>;
  push(
    reference: string,
    options: { tag?: string; auth?: RegistryAuth; progress: ProgressSink; signal?: AbortSignal },
  ): Promise<void>;
  load(
    tar: AsyncIterable<Uint8Array>,
    options: { progress: ProgressSink; quiet?: boolean; platform?: Platform },
  ): Promise<void>;
  save(references: readonly string[], options?: { platform?: Platform }): Promise<AsyncIterable<Uint8Array>>;
  /** From an archive, or from a URL, which is downloaded; without a scheme it is http. */
  import(
    source: AsyncIterable<Uint8Array> | string,
    options: {
      progress: ProgressSink;
      signal?: AbortSignal;
      repository?: string;
      tag?: string;
      message?: string;
      changes?: readonly string[];
      platform?: string;
    },
  ): Promise<string>;
  tag(ref: string, repository: string, tag?: string): Promise<void>;
  remove(ref: string, options?: { force?: boolean; noPrune?: boolean }): Promise<ImageDeleteEntry[]>;
  list(options?: { all?: boolean; filters?: Filters; sharedSize?: boolean }): Promise<ImageSummary[]>;
  /** `not-found` for an image of another platform than the one asked for. */
  inspect(ref: string, options?: { platform?: Platform }): Promise<ImageInspect>;
  history(ref: string, options?: { platform?: Platform }): Promise<ImageHistoryEntry[]>;
  prune(filters?: Filters): Promise<{ deleted: ImageDeleteEntry[]; spaceReclaimed: number }>;
  search(term: string, options?: { limit?: number; filters?: Filters; auth?: RegistryAuth }): Promise<SearchResult[]>;
  /** Checks credentials against a registry (`POST /auth`). */
  login(auth: RegistryAuth): Promise<{ Status: string; IdentityToken?: string }>;
  /** The registry's descriptor of a reference (`GET /distribution/{name}/json`). */
  distribution(reference: string, auth?: RegistryAuth): Promise<{ Descriptor: unknown; Platforms: unknown[] }>;
}

export interface NetworksApi {
  create(body: NetworkCreateBody): Promise<{ Id: string; Warning: string }>;
  list(filters?: Filters): Promise<NetworkResource[]>;
  inspect(ref: string): Promise<NetworkResource>;
  remove(ref: string): Promise<void>;
  connect(ref: string, container: string, endpoint?: EndpointSettings | null): Promise<void>;
  disconnect(ref: string, container: string, force?: boolean): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
}

export interface VolumesApi {
  create(body: VolumeCreateBody): Promise<VolumeResource>;
  list(filters?: Filters): Promise<{ Volumes: VolumeResource[]; Warnings: string[] }>;
  inspect(name: string): Promise<VolumeResource>;
  remove(name: string, force?: boolean): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
}

export interface EventsOptions {
  /** Milliseconds since the epoch; past events from the engine's bounded memory come first. */
  since?: number;
  /** The stream ends at this time. */
  until?: number;
  filters?: Filters;
  signal: AbortSignal;
}

export interface Engine {
  readonly containers: ContainersApi;
  readonly images: ImagesApi;
  readonly networks: NetworksApi;
  readonly volumes: VolumesApi;
  readonly pods: PodRuntime;
  /** The same for clients of the CRI socket: their sandboxes and containers, which `pods` does not show. */
  readonly criPods: PodRuntime;
  /** Recovers what an earlier process left: containers, exits, ports, rules; removes what has no owner. */
  start(): Promise<void>;
  /** Leaves containers running. */
  stop(): Promise<void>;
  /**
   * Stops every container, and every pod unless `pods` is false, before the process goes. Without a timeout each
   * container gets its own.
   */
  shutdownContainers(timeoutSeconds: number | undefined, options?: { pods?: boolean }): Promise<void>;
  events(options: EventsOptions): AsyncIterable<EventMessage>;
  /** Puts an event of another part (build: `builder prune`) into the stream. */
  emitEvent(event: Pick<EventMessage, "Type" | "Action" | "Actor">): void;
  info(): Promise<SystemInfo>;
  /** Runtime and kernel facts for `GET /version`; API versions and the server's own version are the edge's. */
  version(): Promise<{
    kernelVersion: string;
    os: string;
    arch: string;
    components: { Name: string; Version: string; Details?: Record<string, string> }[];
  }>;
  diskUsage(types?: readonly ("container" | "image" | "volume" | "build-cache")[]): Promise<DiskUsage>;
}
