import { chownSync, existsSync, statSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type {
  ContainerRuntimePort,
  ExecHandle,
  ExitFacts,
  ExpectedLaunch,
  LaunchPlan,
  LogPlan,
  LoggedLine,
  ProcessPlan,
  RuntimeReading,
  RuntimeState,
  StreamsPort,
} from "#api/container-runtime.ts";
import type { Resources } from "#api/docker/container-types.ts";
import { Emitter } from "#base/emitter.ts";
import { errorMessage, GantryError } from "#base/errors.ts";
import { type IdMapping, toHostId } from "#base/id-mapping.ts";
import { randomHex } from "#base/ids.ts";
import type { Logger } from "#base/log.ts";
import { hasAppArmor } from "#host/apparmor.ts";
import { cgroupProcesses, cgroupVersion, readCgroup, removeCgroup } from "#host/cgroup.ts";
import { oomKills, watchOom } from "#host/cgroup-oom.ts";
import { readJson } from "#host/files.ts";
import { run } from "#host/run.ts";
import { findExecutable } from "#host/spawn.ts";
import { defaultAppArmorProfile, ensureDefaultAppArmorProfile } from "./apparmor-profile.ts";
import { runtimeKnowsWeights, setWeights, updateCgroup } from "./cgroup-update.ts";
import type { ContainerExit, MonitorOptions } from "./container-types.ts";
import { readLog } from "./log-reader.ts";
import { LogRotation } from "./log-rotation.ts";
import { findInit } from "./init-program.ts";
import { keptFile, OciRuntime, type OciRuntimeOptions } from "./oci-runtime.ts";
import { buildSpec } from "./spec.ts";

/** What is kept of a launch beside the bundle, so that a later process can go on with it. */
/** Longest wait for a log that conmon opens anew. */
const reopenMs = 1_000;

interface Kept {
  cgroupPath: string;
  tty: boolean;
  log: LogPlan;
}

/** The small init that `--init` puts before a program. Throws `unavailable` where the machine has none. */
function requireInit(): string {
  const found = findInit();
  if (found !== undefined) return found;
  throw new GantryError(
    "unavailable",
    "--init needs a small init program, and none is installed on this machine: apt-get install tini",
  );
}

/** The container layer: an OCI runtime under conmon, behind the engine's port. */
export class ContainerRuntime implements ContainerRuntimePort {
  readonly #oci: OciRuntime;
  readonly #bundles: string;
  readonly #kept = new Map<string, Kept>();
  readonly #exits = new Map<string, Promise<ExitFacts>>();
  readonly #oom = new Emitter<string>();
  readonly #oomWatches = new Map<string, () => void>();
  readonly #rotation: LogRotation;
  readonly #log: Logger;

  constructor(options: OciRuntimeOptions, parts: { log: Logger }) {
    this.#log = parts.log;
    this.#oci = new OciRuntime(options, parts);
    this.#bundles = join(options.runDir, "bundles");
    this.#rotation = new LogRotation((id) => this.#oci.reopenLog(id));
  }

  /** Chooses crun or runc. Once, before anything else. */
  async initialise(): Promise<void> {
    await this.#oci.start();
  }

  /** Stops watching; containers go on. */
  stop(): void {
    this.#rotation.stop();
    for (const unwatch of this.#oomWatches.values()) unwatch();
    this.#oomWatches.clear();
    this.#oci.stop();
  }

  #bundle(id: string): string {
    return join(this.#bundles, id);
  }

  async #keptOf(id: string): Promise<Kept | undefined> {
    const known = this.#kept.get(id);
    if (known !== undefined) return known;
    const read = await readJson<Kept>(join(this.#bundle(id), keptFile)).catch(() => undefined);
    if (read !== undefined) this.#kept.set(id, read);
    return read;
  }

  async facts(): ReturnType<ContainerRuntimePort["facts"]> {
    const version = async (program: string, pattern: RegExp): Promise<string> =>
      pattern.exec((await run([program, "--version"])).stdout)?.[1] ?? "unknown";
    const name = this.#oci.program.split("/").pop() as string;
    return {
      name,
      version: await version(this.#oci.program, /version (\S+)/),
      conmonVersion: await version(findExecutable("conmon"), /version (\S+)/),
      cgroupVersion,
      cgroupDriver: "cgroupfs",
      apparmor: hasAppArmor,
    };
  }

  expect(launch: ExpectedLaunch): void {
    this.#oci.expect(this.#monitorOf(launch));
  }

  #monitorOf({ id, log, tty, openStdin, stdinOnce }: ExpectedLaunch): MonitorOptions {
    return {
      id,
      name: id.slice(0, 12),
      bundle: this.#bundle(id),
      ...(log.format === "none" ? {} : { log: log.path }),
      tty,
      stdin: openStdin,
      // docker ends stdin with its first client, but never a terminal's: one can detach from it and come back.
      leaveStdinOpen: openStdin && (!stdinOnce || tty),
    };
  }

  async create(plan: LaunchPlan): Promise<{ pid: number }> {
    const { id } = plan;
    const init = plan.init ? requireInit() : undefined;
    await ensureProfile(plan.process);
    const spec = buildSpec(plan, init);
    const kept: Kept = { cgroupPath: plan.cgroupPath, tty: plan.process.tty, log: plan.log };
    const monitor = this.#monitorOf({ ...plan, tty: plan.process.tty });
    const created = await this.#oci.create({ ...monitor, kept: JSON.stringify(kept), spec });
    this.#kept.set(id, kept);
    this.#watch(id, kept);
    this.#rotation.add(id, plan.log);
    const { user } = plan.namespaces;
    try {
      // The runtime is in the user namespace by then, and may not lower it.
      if (user !== undefined && plan.oomScoreAdj !== 0) setOomScore(created.pid, plan.oomScoreAdj);
      if (user !== undefined && !this.#oci.isCrun) ownStreams(created.pid, plan.process, user.mapping);
      if (!runtimeKnowsWeights()) setWeights(plan.cgroupPath, plan.resources);
    } catch (error) {
      await this.delete(id);
      throw error;
    }
    return { pid: created.pid };
  }

  #watch(id: string, { cgroupPath }: Kept): Promise<ExitFacts> {
    const known = this.#exits.get(id);
    if (known !== undefined) return known;
    let wasTold = false;
    try {
      const unwatch = watchOom(cgroupPath, () => {
        wasTold = true;
        this.#oom.emit(id);
      });
      this.#oomWatches.set(id, unwatch);
    } catch (error) {
      // Nothing is left to watch with: the exit tells it later.
      this.#log.warn("A container is not watched for want of memory.", { container: id, error: errorMessage(error) });
    }
    const exited = this.#oci.exited(id).then((exit) => {
      this.#rotation.remove(id);
      this.#unwatchOom(id);
      return factsOf(exit, wasTold || oomKills(cgroupPath) > 0);
    });
    exited.catch(() => {});
    this.#exits.set(id, exited);
    return exited;
  }

  #unwatchOom(id: string): void {
    this.#oomWatches.get(id)?.();
    this.#oomWatches.delete(id);
  }

  async start(id: string): Promise<void> {
    await this.#oci.startContainer(id);
  }

  async state(id: string): Promise<RuntimeState> {
    const kept = await this.#keptOf(id);
    if (kept === undefined) return { state: "absent" };
    if (this.#oci.pid(id) !== undefined) {
      const status = await this.#oci.status(id);
      if (status !== undefined)
        return { state: status, pid: this.#oci.pid(id) as number, oomKilled: oomKills(kept.cgroupPath) > 0 };
      return { state: "exited", exit: await this.#watch(id, kept) };
    }
    const recovered = await this.#oci.recover(id, this.#bundle(id), kept.tty);
    if (recovered.state === "gone") return { state: "absent" };
    if (recovered.state === "exited") {
      const exit = factsOf(recovered.exit, oomKills(kept.cgroupPath) > 0);
      this.#exits.set(id, Promise.resolve(exit));
      return { state: "exited", exit };
    }
    this.#watch(id, kept);
    this.#rotation.add(id, kept.log);
    return { state: recovered.state, pid: recovered.pid, oomKilled: oomKills(kept.cgroupPath) > 0 };
  }

  async exited(id: string): Promise<ExitFacts> {
    const known = this.#exits.get(id);
    if (known !== undefined) return known;
    const state = await this.state(id);
    if (state.state === "exited") return state.exit;
    const kept = await this.#keptOf(id);
    if (state.state === "absent" || kept === undefined)
      throw new GantryError("not-found", `container ${id} is not running`);
    return this.#watch(id, kept);
  }

  onOom(listener: (id: string) => void): () => void {
    return this.#oom.on(listener);
  }

  async kill(id: string, signal: number, all = false): Promise<boolean> {
    const kept = await this.#keptOf(id);
    if (kept === undefined || this.#oci.pid(id) === undefined) return false;
    if (!all) return this.#oci.kill(id, signal);
    for (const pid of cgroupProcesses(kept.cgroupPath)) {
      try {
        process.kill(pid, signal);
      } catch {
        continue; // It has ended meanwhile.
      }
    }
    return true;
  }

  async pause(id: string): Promise<void> {
    await this.#oci.pause(id);
  }

  async resume(id: string): Promise<void> {
    await this.#oci.resume(id);
  }

  async update(id: string, resources: Resources): Promise<void> {
    const kept = await this.#keptOf(id);
    if (kept === undefined) throw new GantryError("not-found", `container ${id} is not running`);
    updateCgroup(kept.cgroupPath, resources);
  }

  async delete(id: string): Promise<void> {
    const kept = await this.#keptOf(id);
    await this.#rotation.forget(id);
    this.#unwatchOom(id);
    // A cgroup can be removed only when no process is left in it.
    const cgroupIsGone = kept !== undefined && removeCgroup(kept.cgroupPath);
    await this.#oci.delete(id, this.#bundle(id), cgroupIsGone);
    if (kept !== undefined && !cgroupIsGone) removeCgroup(kept.cgroupPath);
    this.#kept.delete(id);
    this.#exits.delete(id);
  }

  async list(): Promise<string[]> {
    return readdir(this.#bundles).catch(() => []);
  }

  async attach(id: string): Promise<StreamsPort> {
    return this.#oci.attach(id);
  }

  async resize(id: string, size: { height: number; width: number }): Promise<void> {
    this.#oci.resize(id, size.height, size.width);
  }

  async exec(id: string, plan: ProcessPlan & { privileged: boolean; stdin: boolean }): Promise<ExecHandle> {
    await ensureProfile(plan);
    const session = await this.#oci.exec({
      containerId: id,
      containerBundle: this.#bundle(id),
      execId: randomHex(8),
      stdin: plan.stdin,
      process: processOf(plan),
    });
    return {
      pid: session.pid,
      streams: session.streams,
      exited: session.exited.then(({ code }) => code),
      resize: async ({ height, width }) => session.resize(height, width),
      kill: () => {
        try {
          process.kill(session.pid, "SIGKILL");
        } catch {
          // It has ended already.
        }
      },
    };
  }

  /** Runs a command to its end and collects what it says: for probes and health checks. */
  async execSync(
    id: string,
    plan: ProcessPlan,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<{ code: number; stdout: Buffer; stderr: Buffer }> {
    await ensureProfile(plan);
    return this.#oci.execSync(id, processOf(plan), options);
  }

  async processes(id: string): Promise<number[]> {
    const kept = await this.#keptOf(id);
    return kept === undefined ? [] : cgroupProcesses(kept.cgroupPath);
  }

  async read(id: string): Promise<RuntimeReading> {
    const kept = await this.#keptOf(id);
    if (kept === undefined) throw new GantryError("not-found", `container ${id} is not running`);
    return readCgroup(kept.cgroupPath);
  }

  readLog(log: LogPlan, options: Parameters<ContainerRuntimePort["readLog"]>[1]): AsyncIterable<LoggedLine[]> {
    return readLog(log, options);
  }

  async reopenLog(id: string): Promise<void> {
    const kept = await this.#keptOf(id);
    this.#oci.reopenLog(id);
    // Conmon does it a moment later, and says nothing; who asks wants the new file to be there.
    const path = kept?.log.path ?? "";
    for (let waited = 0; waited < reopenMs && path !== "" && !existsSync(path); waited += 2) await sleep(2);
  }
}

/** Conmon's word for an oom comes after the exit and may be late: the cgroup's own count is not. */
async function ensureProfile({ apparmorProfile }: ProcessPlan): Promise<void> {
  if (apparmorProfile === defaultAppArmorProfile) await ensureDefaultAppArmorProfile();
}

/**
 * Makes the user of a process the owner of its streams, so that it can open /dev/stderr and its kin. crun has done that
 * from outside; runc tries it in the user namespace, where it may not.
 */
function ownStreams(pid: number, { uid, gid }: ProcessPlan, mapping: IdMapping): void {
  const owner = { uid: toHostId(mapping.uids, uid), gid: toHostId(mapping.gids, gid) };
  if (owner.uid === undefined || owner.gid === undefined) return;
  for (const fd of [0, 1, 2]) {
    const path = `/proc/${pid}/fd/${fd}`;
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isFIFO() || stats?.isSocket()) chownSync(path, owner.uid, owner.gid);
  }
}

function setOomScore(pid: number, score: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score));
  } catch (cause) {
    throw new GantryError("internal", `write /proc/self/oom_score_adj: ${errorMessage(cause)}`, { cause });
  }
}

function factsOf(exit: ContainerExit, oomKilled: boolean): ExitFacts {
  return { exitCode: exit.code, oomKilled: oomKilled || exit.oomKilled, finishedAt: exit.finishedAt };
}

function processOf(plan: ProcessPlan): Parameters<OciRuntime["exec"]>[0]["process"] {
  const all = plan.capabilities;
  const own = plan.uid === 0 ? all : [];
  return {
    terminal: plan.tty,
    args: plan.args,
    env: plan.env,
    cwd: plan.cwd,
    user: { uid: plan.uid, gid: plan.gid, additionalGids: plan.additionalGids },
    capabilities: { bounding: all, permitted: own, effective: own },
    noNewPrivileges: plan.noNewPrivileges,
    ...(plan.apparmorProfile === undefined ? {} : { apparmorProfile: plan.apparmorProfile }),
    ...(plan.consoleSize === undefined
      ? {}
      : { consoleSize: { height: plan.consoleSize[0], width: plan.consoleSize[1] } }),
  };
}
