import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import type {
  ContainerConfig,
  ContainerCreateBody,
  HostConfig,
  Resources,
  RestartPolicy,
} from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { parseSignal } from "#base/signal.ts";
import { checkUlimitName } from "./ulimits.ts";
import { withoutEffect } from "./create-warnings.ts";
import { parsePortKey, parseHostPort } from "./port-spec.ts";

const invalid = (message: string): GantryError => new GantryError("invalid", message);
const minMemory = 6 * 1024 * 1024;

/**
 * Checks what a client asks for, in docker's words (moby, daemon/container.go and daemon_unix.go), and returns
 * warnings for what is taken but not in force. Throws `invalid`, or `unsupported` for what Gantry does not do.
 */
export function validateCreate(body: ContainerCreateBody): string[] {
  validateConfig(body);
  const host = body.HostConfig ?? {};
  const warnings = validateResources(host);
  validateRestartPolicy(host.RestartPolicy, host.AutoRemove === true);
  validateModes(body, host);
  refuseWindowsLimits(host);
  validatePorts(body, host);
  refuseUnsupported(host);
  if ((host.ShmSize ?? 0) < 0) throw invalid("SHM size can not be less than 0");
  if ((host.OomScoreAdj ?? 0) < -1000 || (host.OomScoreAdj ?? 0) > 1000) {
    throw invalid(`Invalid value ${host.OomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  for (const extra of host.ExtraHosts ?? []) {
    const colon = extra.search(/[:=]/);
    if (colon <= 0 || colon === extra.length - 1) throw invalid(`bad format for add-host: "${extra}"`);
  }
  for (const key of Object.keys(host.Annotations ?? {})) {
    if (key === "") throw invalid("invalid Annotations: the empty string is not permitted as an annotation key");
  }
  return [...warnings, ...withoutEffect(body)];
}

function validateConfig(config: ContainerConfig): void {
  const folder = config.WorkingDir ?? "";
  if (folder !== "" && !folder.startsWith("/")) {
    throw invalid(`the working directory '${folder}' is invalid, it needs to be an absolute path`);
  }
  for (const variable of config.Env ?? []) {
    if (variable === "" || variable.startsWith("=")) throw invalid(`invalid environment variable: ${variable}`);
  }
  for (const target of Object.keys(config.Volumes ?? {})) {
    if (!target.startsWith("/")) throw invalid(`invalid mount path: '${target}' mount path must be absolute`);
    if (/^\/+$/.test(target)) throw invalid("invalid specification: destination can't be '/'");
  }
  const health = config.Healthcheck;
  if (health !== undefined) {
    const least = 1_000_000;
    const check = (value: number | undefined, name: string): void => {
      if (value !== undefined && value !== 0 && value < least)
        throw invalid(`${name} in Healthcheck cannot be less than 1ms`);
    };
    check(health.Interval, "Interval");
    check(health.Timeout, "Timeout");
    check(health.StartPeriod, "StartPeriod");
    check(health.StartInterval, "StartInterval");
    if ((health.Retries ?? 0) < 0) throw invalid("Retries in Healthcheck cannot be negative");
    const kind = health.Test?.[0];
    if (kind !== undefined && !["NONE", "CMD", "CMD-SHELL", ""].includes(kind)) {
      throw invalid(`Unknown healthcheck type ${kind}`);
    }
  }
  const stop = config.StopSignal ?? "";
  if (stop !== "") parseSignal(stop);
}

/** The policy that counts. Throws docker's sentences. */
export function validateRestartPolicy(policy: RestartPolicy | undefined, autoRemove: boolean): void {
  const name = policy?.Name ?? "";
  const count = policy?.MaximumRetryCount ?? 0;
  if (!["", "no", "always", "unless-stopped", "on-failure"].includes(name)) {
    throw invalid(
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (name !== "on-failure" && name !== "" && count !== 0) {
    throw invalid(
      `invalid restart policy: maximum retry count can only be used with 'on-failure'${count < 0 ? " and cannot be negative" : ""}`,
    );
  }
  if (count < 0) throw invalid("invalid restart policy: maximum retry count cannot be negative");
  if (autoRemove && name !== "" && name !== "no")
    throw invalid("can't create 'AutoRemove' container with restart policy");
}

/** Real-time scheduling of groups is a thing of cgroup v1, and of kernels that were built with it. */
function hasRealTimeScheduler(): boolean {
  return existsSync("/sys/fs/cgroup/cpu/cpu.rt_period_us") && existsSync("/sys/fs/cgroup/cpu/cpu.rt_runtime_us");
}

function cpuList(text: string, kind: string): Set<number> {
  const out = new Set<number>();
  for (const part of text.split(",")) {
    const range = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    const from = Number(range?.[1]);
    const to = Number(range?.[2] ?? from);
    if (range === null || to < from || to > 8192) {
      throw invalid(`Invalid value ${text} for cpuset ${kind}: invalid format: ${part}`);
    }
    for (let cpu = from; cpu <= to; cpu++) out.add(cpu);
  }
  return out;
}

/** Limits of a create or an update; with `before`, what an update leaves alone. Returns warnings. */
export function validateResources(resources: Resources, before?: Resources): string[] {
  const memory = resources.Memory || before?.Memory || 0;
  const swap = resources.MemorySwap || before?.MemorySwap || 0;
  const reservation = resources.MemoryReservation ?? 0;
  if ((resources.Memory ?? 0) !== 0 && (resources.Memory as number) < minMemory) {
    throw invalid("Minimum memory limit allowed is 6MB");
  }
  if (memory > 0 && swap > 0 && swap < memory) {
    if (before !== undefined && !resources.MemorySwap) {
      throw new GantryError(
        "conflict",
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
      );
    }
    throw invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (memory === 0 && swap > 0)
    throw invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  const swappiness = resources.MemorySwappiness;
  if (swappiness !== undefined && swappiness !== null && (swappiness < -1 || swappiness > 100)) {
    throw invalid(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
  if (reservation > 0 && reservation < minMemory) throw invalid("Minimum memory reservation allowed is 6MB");
  if (memory > 0 && reservation > 0 && memory < reservation) {
    throw invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
  if ((resources.KernelMemory ?? 0) !== 0 || (resources.KernelMemoryTCP ?? 0) !== 0) {
    throw invalid("kernel memory limits are not supported: the kernel has dropped them");
  }
  const nano = resources.NanoCpus ?? 0;
  const period = resources.CpuPeriod ?? 0;
  const quota = resources.CpuQuota ?? 0;
  if (nano > 0 && period > 0) throw invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  if (nano > 0 && quota > 0) throw invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  const cpus = availableParallelism();
  if (nano < 0 || nano > cpus * 1e9) {
    throw invalid(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  }
  if (period !== 0 && (period < 1000 || period > 1_000_000)) {
    throw invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (quota > 0 && quota < 1000) throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if ((resources.CpuShares ?? 0) < 0)
    throw invalid(`invalid CPU shares (${resources.CpuShares}): value must be a positive integer`);
  const realTime = { period: resources.CpuRealtimePeriod ?? 0, runtime: resources.CpuRealtimeRuntime ?? 0 };
  if ((realTime.period !== 0 || realTime.runtime !== 0) && !hasRealTimeScheduler()) {
    throw invalid("kernel does not support CPU real-time scheduler");
  }
  if (realTime.period !== 0 && realTime.runtime > realTime.period) {
    throw invalid("cpu real-time runtime cannot be higher than cpu real-time period");
  }
  const weight = resources.BlkioWeight ?? 0;
  if (weight !== 0 && (weight < 10 || weight > 1000)) throw invalid("Range of blkio weight is from 10 to 1000");
  for (const [text, kind] of [
    [resources.CpusetCpus, "cpus"],
    [resources.CpusetMems, "mems"],
  ] as const) {
    if (text === undefined || text === "") continue;
    const wanted = cpuList(text, kind);
    const available = kind === "cpus" ? cpus : 1;
    if ([...wanted].some((number) => number >= available)) {
      const range = available === 1 ? "0" : `0-${available - 1}`;
      const what = kind === "cpus" ? "CPUs" : "memory nodes";
      throw invalid(`Requested ${what} are not available - requested ${text}, available: ${range}`);
    }
  }
  for (const { Name } of resources.Ulimits ?? []) checkUlimitName(Name);
  return [];
}

/** What only Windows limits. */
function refuseWindowsLimits(host: HostConfig): void {
  if ((host.IOMaximumBandwidth ?? 0) !== 0) {
    throw invalid("invalid option: QoS maximum bandwidth configuration is not supported on linux");
  }
  if ((host.IOMaximumIOps ?? 0) !== 0) {
    throw invalid("invalid option: QoS maximum IOPs configuration is not supported on linux");
  }
}

function validateModes(body: ContainerCreateBody, host: HostConfig): void {
  const network = host.NetworkMode ?? "";
  const isContainer = network.startsWith("container:");
  if (network === "host" && (host.Links ?? []).length > 0) {
    throw invalid(
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    );
  }
  if (isContainer && (host.Links ?? []).length > 0) {
    throw invalid(
      "conflicting options: container type network can't be used with links. This would result in undefined behavior",
    );
  }
  if (isContainer) {
    const conflicts: [boolean, string][] = [
      [(body.Hostname ?? "") !== "", "hostname and the network mode"],
      [(host.Dns ?? []).length > 0, "dns and the network mode"],
      [(host.ExtraHosts ?? []).length > 0, "custom host-to-IP mapping and the network mode"],
      [(body.MacAddress ?? "") !== "", "mac-address and the network mode"],
      [
        Object.keys(host.PortBindings ?? {}).length > 0 || host.PublishAllPorts === true,
        "port publishing and the container type network mode",
      ],
      [Object.keys(body.ExposedPorts ?? {}).length > 0, "port exposing and the container type network mode"],
    ];
    for (const [isSo, words] of conflicts) if (isSo) throw invalid(`conflicting options: ${words}`);
    if (network === "container:") throw invalid("Invalid network mode: invalid container format container:<name|id>");
  }
  const uts = host.UTSMode ?? "";
  if (!["", "host"].includes(uts)) throw invalid(`invalid UTS mode: ${uts}`);
  if (uts === "host" && (body.Hostname ?? "") !== "") throw invalid("conflicting options: hostname and the UTS mode");
  const pid = host.PidMode ?? "";
  if (!["", "host", "private"].includes(pid) && !/^container:.+/.test(pid)) throw invalid(`invalid PID mode: ${pid}`);
  const ipc = host.IpcMode ?? "";
  if (!["", "none", "private", "shareable", "host"].includes(ipc) && !/^container:.+/.test(ipc)) {
    throw invalid(`invalid IPC mode: ${ipc}`);
  }
  const cgroupns = host.CgroupnsMode ?? "";
  if (!["", "private", "host"].includes(cgroupns)) throw invalid(`invalid cgroup namespace mode: ${cgroupns}`);
  const userns = host.UsernsMode ?? "";
  if (!["", "host"].includes(userns)) throw invalid("invalid USER mode: " + userns);
  if ((host.Isolation ?? "") !== "" && host.Isolation !== "default") {
    throw invalid(`invalid isolation (${host.Isolation}): linux only supports 'default'`);
  }
}

/** What a container in a user namespace of its own cannot have. Throws docker's sentences. */
export function refuseBesideRemap(host: HostConfig): void {
  if (host.UsernsMode === "host") return;
  if (host.Privileged === true)
    throw invalid(
      "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
    );
  if (host.NetworkMode === "host")
    throw invalid("cannot share the host's network namespace when user namespaces are enabled");
  if (host.PidMode === "host") throw invalid("cannot share the host PID namespace when user namespaces are enabled");
}

function validatePorts(body: ContainerCreateBody, host: HostConfig): void {
  for (const key of Object.keys(body.ExposedPorts ?? {})) parsePortKey(key);
  for (const [key, bindings] of Object.entries(host.PortBindings ?? {})) {
    parsePortKey(key);
    for (const { HostPort } of bindings ?? []) parseHostPort(HostPort ?? "");
  }
}

function refuseUnsupported(host: HostConfig): void {
  const runtime = host.Runtime ?? "";
  if (!["", "runc", "crun", "io.containerd.runc.v2"].includes(runtime)) {
    throw invalid(`unknown or invalid runtime name: ${runtime}`);
  }
  if (Object.keys(host.StorageOpt ?? {}).length > 0) {
    throw invalid("--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
  }
  for (const option of host.SecurityOpt ?? []) {
    const name = option.split(/[=:]/, 1)[0] ?? "";
    if (!["no-new-privileges", "seccomp", "apparmor", "label", "systempaths"].includes(name)) {
      throw invalid(`invalid --security-opt 2: "${option}"`);
    }
  }
}
