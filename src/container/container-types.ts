/** What the engine asks of the container layer, and what it is told. */

/** Signals by number: the engine translates names. */
export interface ContainerPaths {
  /** Holds `config.json`, conmon's pid file, attach socket and control pipe. In the run directory. */
  bundle: string;
  /** Conmon's log, in CRI format, or undefined for none. */
  log?: string;
}

/** What a container's conmon is told. */
export interface MonitorOptions extends ContainerPaths {
  id: string;
  /** For people: conmon's arguments show it. */
  name: string;
  tty: boolean;
  /** Keeps a pipe for stdin open. */
  stdin: boolean;
  /** Stdin stays open when a client that attached goes away. */
  leaveStdinOpen: boolean;
  /** The log is cut to a fresh file when it reaches this many bytes. */
  logMaxBytes?: number;
}

export interface CreateOptions extends MonitorOptions {
  /** The OCI runtime spec (`config.json`), as `buildSpec` makes it. */
  spec: object;
  /** Text for `keptFile` in the bundle: there before the process is. */
  kept: string;
}

/** How a container's process ended. */
export interface ContainerExit {
  /** 128 + n when signal n ended it. */
  code: number;
  /** Milliseconds since the epoch. */
  finishedAt: number;
  oomKilled: boolean;
}

/** A created container as the container layer knows it. */
export interface CreatedContainer {
  id: string;
  /** The container's first process, in our pid namespace. */
  pid: number;
  conmonPid: number;
}

/** What `recover` found of a container that an earlier daemon started. */
export type RecoveredState =
  | { state: "created" | "running" | "paused"; pid: number; conmonPid: number }
  | { state: "exited"; exit: ContainerExit }
  | { state: "gone" };

export interface ExecOptions {
  containerId: string;
  containerBundle: string;
  /** A name for this session, unique in the container. */
  execId: string;
  process: ExecProcess;
  stdin: boolean;
}

/** The OCI `process` object of an exec (runtime spec, config, "Process"). */
export interface ExecProcess {
  terminal: boolean;
  args: string[];
  env: string[];
  cwd: string;
  user: { uid: number; gid: number; additionalGids?: number[] };
  consoleSize?: { height: number; width: number };
  capabilities?: Record<string, string[]>;
  noNewPrivileges?: boolean;
  apparmorProfile?: string;
}

export interface ExecSession {
  pid: number;
  streams: AttachedStreams;
  /** Resolves when the process has ended. */
  exited: Promise<{ code: number }>;
  resize(height: number, width: number): void;
}

export interface OutputChunk {
  stream: "stdout" | "stderr";
  data: Buffer;
}

/** A live connection to conmon: one of any number. */
export interface AttachedStreams {
  /** Ends when the process has ended and all output is read, or after `close`. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Resolves when conmon has taken the bytes. */
  write(data: Uint8Array): Promise<void>;
  /** Half-closes: the process reads end of file, unless stdin was to stay open. */
  closeStdin(): void;
  close(): void;
}
