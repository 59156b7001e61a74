import { accessSync, constants as fsConstants, openSync, statSync } from "node:fs";
import { Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { GantryError } from "#base/errors.ts";
import { closeFd, duplicateFd, makePipe } from "./descriptors.ts";
import { addressOf, bind, cString, errnoName, hasSymbol, systemError } from "./libc.ts";
import { inMountNamespace } from "./mount-namespace.ts";
import { type Signal, pidfdOpen, pidfdSendSignal, signalName } from "./pidfd.ts";
import { watchReadable } from "./poll.ts";

/** What a child's descriptor is: one of ours (by number), /dev/null, or a pipe to us. */
export type Stdio = number | "null" | "pipe";

export interface StartOptions {
  /** The program and its arguments. A name without a slash is looked up in the PATH of `env`. */
  argv: readonly string[];
  /** The child's whole environment. Default: `minimalEnvironment`. Nothing is inherited. */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** The index is the child's descriptor. Default: all three null. Nothing else is inherited. */
  stdio?: readonly Stdio[];
  /** Makes the child the leader of a new session, so that it outlives ours and its terminal. */
  newSession?: boolean;
  /** The file of a mount namespace to start it in; `argv[0]` with slashes and `cwd` (default: its root) are paths there. */
  mountNamespace?: string | undefined;
}

export interface ExitStatus {
  /** Null when a signal ended it. */
  code: number | null;
  /** `SIGKILL`, or null. */
  signal: string | null;
}

export interface ChildProcess {
  readonly pid: number;
  /** Set for a `pipe` at 0. */
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  /** Our ends of pipes, by the child's descriptor. Those from 3 up are two-way only in name: the child writes, we read. */
  readonly pipes: readonly (Readable | Writable | undefined)[];
  /** Never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** Sends a signal to this very process; false when it has ended. */
  kill(signal?: Signal): boolean;
  /** Lets our process end although the child runs. */
  unref(): void;
}

/** What children get when nothing else is said. */
export const minimalEnvironment: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
};

const pointer = "void *";
const actionsInit = bind("posix_spawn_file_actions_init", "int", [pointer]);
const actionsDestroy = bind("posix_spawn_file_actions_destroy", "int", [pointer]);
const actionsDup2 = bind("posix_spawn_file_actions_adddup2", "int", [pointer, "int", "int"]);
const actionsChdir = bind("posix_spawn_file_actions_addchdir_np", "int", [pointer, pointer]);
const actionsCloseFrom = bind("posix_spawn_file_actions_addclosefrom_np", "int", [pointer, "int"]);
const attributesInit = bind("posix_spawnattr_init", "int", [pointer]);
const attributesFlags = bind("posix_spawnattr_setflags", "int", [pointer, "short"]);
const attributesDefaults = bind("posix_spawnattr_setsigdefault", "int", [pointer, pointer]);
const attributesMask = bind("posix_spawnattr_setsigmask", "int", [pointer, pointer]);
const posixSpawn = bind("posix_spawn", "int", [pointer, pointer, pointer, pointer, "void *", "void *"]);
const waitpid = bind("waitpid", "int", ["int", pointer, "int"]);

const canCloseFrom = hasSymbol("posix_spawn_file_actions_addclosefrom_np");
const spawnSetSigDef = 0x04;
const spawnSetSigMask = 0x08;
const spawnSetSid = 0x80;
const waitNoHang = 1;

// glibc's sizes are 336, 80 and 128 bytes on 64-bit machines; musl's are smaller.
const attributesBuffers = new Map<boolean, Buffer>();
function attributes(newSession: boolean): Buffer {
  const known = attributesBuffers.get(newSession);
  if (known !== undefined) return known;
  const made = Buffer.alloc(512);
  attributesInit(made);
  attributesFlags(made, spawnSetSigDef | spawnSetSigMask | (newSession ? spawnSetSid : 0));
  // Node ignores SIGPIPE and blocks signals in some threads: children start with none of it.
  attributesDefaults(made, Buffer.alloc(128, 0xff));
  attributesMask(made, Buffer.alloc(128));
  attributesBuffers.set(newSession, made);
  return made;
}

/** A NULL-terminated array of C strings as one buffer of pointers. Keeps `keep` alive through the call. */
function pointerArray(words: readonly string[]): { pointers: Buffer; keep: Buffer } {
  const keep = Buffer.concat(words.map(cString));
  const pointers = Buffer.alloc((words.length + 1) * 8);
  let at = addressOf(keep);
  for (const [index, word] of words.entries()) {
    pointers.writeBigUInt64LE(at, index * 8);
    at += BigInt(Buffer.byteLength(word) + 1);
  }
  return { pointers, keep };
}

const executables = new Map<string, string>();

/** The path of a program in `searchPath`. Throws `not-found`. */
export function findExecutable(name: string, searchPath = minimalEnvironment["PATH"] as string): string {
  if (name.includes("/")) return name;
  const key = `${searchPath}\0${name}`;
  const known = executables.get(key);
  if (known !== undefined) return known;
  for (const folder of searchPath.split(":")) {
    const path = `${folder === "" ? "." : folder}/${name}`;
    try {
      accessSync(path, fsConstants.X_OK);
      if (!statSync(path).isFile()) continue;
      executables.set(key, path);
      return path;
    } catch {
      continue;
    }
  }
  throw new GantryError("not-found", `The program ${name} was not found in ${searchPath}.`, {
    data: { program: name, errno: "ENOENT" },
  });
}

let nullFd = -1;

/** Decodes a status of waitpid(2). */
function decodeStatus(status: number): ExitStatus {
  const signal = status & 0x7f;
  return signal === 0 ? { code: (status >> 8) & 0xff, signal: null } : { code: null, signal: signalName(signal) };
}

/**
 * Starts a program with posix_spawn(3), which costs the same from a process of any size (a fork would copy the
 * page tables). The child gets the named descriptors, default signal handlers, an empty mask, and nothing else.
 * Its exit is noticed by a pidfd in the event loop. Throws `not-found` (no such program, or folder), `forbidden`.
 */
export function start(options: StartOptions): ChildProcess {
  const { argv, cwd, newSession = false, mountNamespace } = options;
  const env = options.env ?? minimalEnvironment;
  const stdio = options.stdio ?? ["null", "null", "null"];
  const name = argv[0];
  if (name === undefined || name === "") throw new Error("start needs a program");
  const file = findExecutable(name, env["PATH"] ?? minimalEnvironment["PATH"]);
  const ours: (number | undefined)[] = [];
  const toClose: number[] = [];
  const actions = Buffer.alloc(128);
  actionsInit(actions);
  try {
    const sources: number[] = [];
    for (const [index, kind] of stdio.entries()) {
      if (kind === "pipe") {
        const { readEnd, writeEnd } = makePipe();
        ours[index] = index === 0 ? writeEnd : readEnd;
        sources[index] = index === 0 ? readEnd : writeEnd;
        toClose.push(sources[index]);
      } else if (kind === "null") {
        if (nullFd < 0) nullFd = openSync("/dev/null", "r+");
        sources[index] = nullFd;
      } else {
        sources[index] = kind;
      }
    }
    for (let index = 0; index < sources.length; index++) {
      const source = sources[index] as number;
      // One of ours that sits where an earlier dup2 writes to would be overwritten before it is copied.
      if (source < sources.length && source !== index) {
        sources[index] = duplicateFd(source, sources.length);
        toClose.push(sources[index] as number);
      }
    }
    for (const [index, source] of sources.entries()) actionsDup2(actions, source, index);
    if (canCloseFrom) actionsCloseFrom(actions, Math.max(sources.length, 3));
    const folder = cwd === undefined ? undefined : cString(cwd);
    if (folder !== undefined) actionsChdir(actions, folder);
    const words = pointerArray(argv);
    const variables = pointerArray(Object.entries(env).map(([key, value]) => `${key}=${value}`));
    const pid = Buffer.alloc(4);
    const spawn = (): number =>
      posixSpawn(pid, cString(file), actions, attributes(newSession), words.pointers, variables.pointers);
    const errno = mountNamespace === undefined ? spawn() : inMountNamespace(mountNamespace, spawn);
    if (errno !== 0) {
      throw systemError("posix_spawn", errno, { path: file, argv: [...argv], cwd, reason: errnoName(errno) });
    }
    // The strings behind the pointers must not be collected before this line.
    if (words.keep.length + variables.keep.length < 0) throw new Error("unreachable");
    return adopt(pid.readInt32LE(0), ours);
  } catch (error) {
    for (const fd of ours) if (fd !== undefined) closeFd(fd);
    throw error;
  } finally {
    actionsDestroy(actions);
    for (const fd of toClose) closeFd(fd);
  }
}

function adopt(pid: number, ours: readonly (number | undefined)[]): ChildProcess {
  const pipes = ours.map((fd, index) => {
    if (fd === undefined) return undefined;
    const socket = new Socket({ fd, readable: index !== 0, writable: index === 0 });
    // The reader of the stream learns of a broken pipe through `close` and the exit; an unheard error would end us.
    socket.on("error", () => {});
    return socket;
  });
  const pidfd = pidfdOpen(pid);
  let running = true;
  let unref = (): void => {};
  const exited = new Promise<ExitStatus>((resolve) => {
    const status = Buffer.alloc(4);
    const watch = watchReadable(pidfd, () => {
      const reaped = waitpid(pid, status, waitNoHang);
      if (reaped === 0) return;
      running = false;
      watch.close();
      closeFd(pidfd);
      resolve(reaped === pid ? decodeStatus(status.readInt32LE(0)) : { code: null, signal: null });
    });
    unref = () => watch.unref();
  });
  return {
    pid,
    stdin: pipes[0],
    stdout: pipes[1],
    stderr: pipes[2],
    pipes,
    exited,
    kill: (signal = "SIGTERM") => running && pidfdSendSignal(pidfd, signal),
    unref: () => {
      unref();
      for (const pipe of pipes) pipe?.unref();
    },
  };
}
