import { existsSync, readFileSync } from "node:fs";
import { join, normalize } from "node:path";
import type { Ulimit } from "#api/docker/container-types.ts";
import { GantryError, errorMessage } from "#base/errors.ts";
import { parseByteSize } from "#base/byte-size.ts";
import type { LogLevel } from "#base/log.ts";
import { parseAddress } from "#network/addresses.ts";
import { type DockerListener, groupId, parseHosts, type TlsFiles } from "./daemon-json-hosts.ts";
import { checkKeys, type DaemonJsonValues, type KeyInForce } from "./daemon-json-keys.ts";
import { type NetworkSettings, networkSettings } from "./daemon-json-network.ts";
import { checkInsecureRegistry, checkLabels, checkLogging, checkMirror, checkUlimits } from "./daemon-json-values.ts";
import { jsonComplaint } from "./daemon-json-syntax.ts";
import type { InstanceConfig } from "./instance-config.ts";
import { checkRemapSyntax } from "./remapped-root.ts";

/** What a daemon.json asks for, all defaults filled in. */
export interface DaemonSettings {
  /** Undefined: the instance's own folder. */
  dataRoot: string | undefined;
  network: NetworkSettings;
  dns: { servers: string[]; searches: string[]; options: string[] };
  registryMirrors: string[];
  insecureRegistries: string[];
  maxConcurrentDownloads: number;
  maxConcurrentUploads: number;
  maxDownloadAttempts: number;
  logDriver: string;
  logOptions: Record<string, string>;
  debug: boolean;
  logLevel: LogLevel;
  labels: string[];
  features: Record<string, boolean>;
  liveRestore: boolean;
  /** Seconds. */
  shutdownTimeout: number | undefined;
  listeners: DockerListener[];
  tls: TlsFiles | undefined;
  socketGroup: number | undefined;
  ulimits: Ulimit[];
  /** Bytes. */
  shmSize: number;
  ipcMode: string;
  cgroupnsMode: string | undefined;
  defaultRuntime: string;
  init: boolean;
  /** Whose subordinate ids containers get: `default`, `user`, `user:group`, `uid`, `uid:gid`. Undefined: nobody's. */
  usernsRemap: string | undefined;
  /** For the log and `docker info`: what was read otherwise than it was written. */
  warnings: string[];
  /** As in the file, to tell what a reload would change. */
  values: DaemonJsonValues;
}

/** Keys that SIGHUP brings in force; all others wait for the next start. */
export const reloadableKeys: readonly KeyInForce[] = [
  "debug",
  "log-level",
  "labels",
  "live-restore",
  "max-concurrent-downloads",
  "max-concurrent-uploads",
  "max-download-attempts",
  "insecure-registries",
  "registry-mirrors",
  "default-runtime",
  "default-shm-size",
  "default-ipc-mode",
  "default-cgroupns-mode",
  "shutdown-timeout",
  "features",
];

/** The file of an instance: the one that `gantry up --config-file` named, else `<root>/daemon.json`. */
export function daemonJsonPath(config: Pick<InstanceConfig, "root" | "configFile">): string {
  return config.configFile ?? join(config.root, "daemon.json");
}

const logLevels: Readonly<Record<string, LogLevel>> = {
  "": "info",
  trace: "debug",
  debug: "debug",
  info: "info",
  warn: "warn",
  warning: "warn",
  error: "error",
  fatal: "error",
  panic: "error",
};

function invalid(message: string): GantryError {
  return new GantryError("invalid", message);
}

function oneOf(values: DaemonJsonValues, key: KeyInForce, allowed: readonly string[], complaint: string): string {
  const value = (values[key] as string | undefined) ?? "";
  if (value !== "" && !allowed.includes(value)) throw invalid(`${complaint}${value}`);
  return value;
}

function count(values: DaemonJsonValues, key: KeyInForce, otherwise: number, what: string): number {
  const value = (values[key] as number | undefined) ?? otherwise;
  if (value < 0 || (value === 0 && key === "max-download-attempts")) throw invalid(`invalid ${what}: ${value}`);
  // dockerd takes 0 for its default.
  return value === 0 ? otherwise : value;
}

function dataRoot(values: DaemonJsonValues, warnings: string[]): string | undefined {
  const old = (values.graph as string | undefined) || undefined;
  const path = (values["data-root"] as string | undefined) || undefined;
  if (old !== undefined) {
    if (path !== undefined) throw invalid('cannot specify both "graph" and "data-root" config file options');
    warnings.push('The "graph" config file option is deprecated. Please use "data-root" instead.');
  }
  const chosen = path ?? old;
  if (chosen === undefined) return undefined;
  if (!chosen.startsWith("/")) throw invalid(`data-root: ${chosen} is not an absolute path`);
  const clean = normalize(chosen).replace(/\/+$/, "");
  if (clean === "") throw invalid("data-root: / cannot be the data root");
  return clean;
}

function featuresOf(values: DaemonJsonValues, warnings: string[]): Record<string, boolean> {
  const features = { ...(values.features as Record<string, boolean> | undefined) };
  for (const [name, isOn] of Object.entries(features)) {
    if (name === "buildkit" && isOn)
      warnings.push('The feature "buildkit" is not in force: Gantry serves the classic builder, without BuildKit.');
    else if (name !== "buildkit" && isOn) throw invalid(`the feature ${name} is not supported by Gantry`);
  }
  return features;
}

function execOptions(values: DaemonJsonValues): void {
  for (const option of (values["exec-opts"] as string[] | undefined) ?? []) {
    const [name = "", value] = option.split("=");
    if (value === undefined || name.trim() !== "native.cgroupdriver")
      throw invalid(`invalid exec-opt ${JSON.stringify(option)}: unknown option`);
    if (value !== "cgroupfs")
      throw invalid(
        value === "systemd"
          ? "exec-opts: native.cgroupdriver=systemd is not supported by Gantry: cgroups are written directly (cgroupfs)"
          : `invalid cgroup driver ${JSON.stringify(value)} for native.cgroupdriver`,
      );
  }
}

/** Reads the text of a daemon.json. Throws `invalid` with the part of dockerd's sentence after the file's name. */
export function parseDaemonJson(text: string): DaemonSettings {
  // A byte order mark, as some editors write.
  const trimmed = text.replace(/^\uFEFF/, "").trim();
  const values = trimmed === "" ? {} : checkKeys(parseJson(trimmed));
  const list = (key: KeyInForce): string[] => [...((values[key] as string[] | undefined) ?? [])];
  const warnings: string[] = [];
  execOptions(values);
  const driver = oneOf(
    values,
    "storage-driver",
    ["overlay2"],
    "error initializing graphdriver: driver not supported: ",
  );
  if (driver === "") delete values["storage-driver"];
  for (const server of list("dns"))
    if (parseAddress(server) === undefined) throw invalid(`invalid IP address: ${server}`);
  const logLevel = (values["log-level"] as string | undefined) ?? "";
  if (!Object.hasOwn(logLevels, logLevel)) throw invalid(`unable to parse logging level: ${logLevel}`);
  const debug = values.debug === true;
  const timeout = values["shutdown-timeout"] as number | undefined;
  if (timeout !== undefined && timeout < -1) throw invalid(`invalid shutdown-timeout: ${timeout}`);
  const hosts = parseHosts({
    hosts: list("hosts"),
    tls: values.tls as boolean | undefined,
    tlsverify: values.tlsverify as boolean | undefined,
    tlscacert: values.tlscacert as string | undefined,
    tlscert: values.tlscert as string | undefined,
    tlskey: values.tlskey as string | undefined,
  });
  const group = (values.group as string | undefined) || undefined;
  const usernsRemap = (values["userns-remap"] as string | undefined) || undefined;
  if (usernsRemap !== undefined) checkRemapSyntax(usernsRemap);
  return {
    dataRoot: dataRoot(values, warnings),
    network: networkSettings(values),
    dns: { servers: list("dns"), searches: list("dns-search"), options: list("dns-opts") },
    registryMirrors: list("registry-mirrors").map(checkMirror),
    insecureRegistries: list("insecure-registries").map((name) => checkInsecureRegistry(name, warnings)),
    maxConcurrentDownloads: count(values, "max-concurrent-downloads", 3, "max concurrent downloads"),
    maxConcurrentUploads: count(values, "max-concurrent-uploads", 5, "max concurrent uploads"),
    maxDownloadAttempts: count(values, "max-download-attempts", 5, "max download attempts"),
    ...checkLogging(
      values["log-driver"] as string | undefined,
      values["log-opts"] as Record<string, string> | undefined,
    ),
    debug,
    logLevel: debug ? "debug" : (logLevels[logLevel] as LogLevel),
    labels: checkLabels(list("labels")),
    features: featuresOf(values, warnings),
    liveRestore: values["live-restore"] !== false,
    shutdownTimeout: timeout,
    ...hosts,
    socketGroup: group === undefined ? undefined : groupId(group),
    ulimits: checkUlimits(values["default-ulimits"] as Record<string, Record<string, unknown>> | undefined),
    shmSize: parseByteSize(String(values["default-shm-size"] ?? "64M")),
    ipcMode:
      oneOf(
        values,
        "default-ipc-mode",
        ["private", "shareable"],
        "IPC can only be set to private or shareable, not: ",
      ) || "private",
    cgroupnsMode:
      oneOf(values, "default-cgroupns-mode", ["host", "private"], "invalid default cgroup namespace: ") || undefined,
    defaultRuntime: oneOf(values, "default-runtime", ["runc"], "specified default runtime does not exist: ") || "runc",
    init: values.init === true,
    usernsRemap,
    warnings,
    values,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const complaint = jsonComplaint(text) ?? errorMessage(cause);
    throw new GantryError("invalid", complaint, { cause });
  }
}

/**
 * Reads an instance's daemon.json. A file that nobody named may be absent. Throws `invalid` with dockerd's
 * "unable to configure the Docker daemon with file …".
 */
export function readDaemonJson(config: Pick<InstanceConfig, "root" | "configFile">): DaemonSettings {
  const path = daemonJsonPath(config);
  if (config.configFile === undefined && !existsSync(path)) return parseDaemonJson("");
  try {
    return parseDaemonJson(readText(path));
  } catch (cause) {
    throw new GantryError(
      "invalid",
      `unable to configure the Docker daemon with file ${path}: ${errorMessage(cause)}`,
      { cause },
    );
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = { ENOENT: "no such file or directory", EACCES: "permission denied" }[code ?? ""];
    throw invalid(
      code === "EISDIR" ? `read ${path}: is a directory` : `open ${path}: ${reason ?? errorMessage(error)}`,
    );
  }
}

/** Keys whose values differ, and that only a new start brings in force. */
export function keysAwaitingRestart(before: DaemonJsonValues, after: DaemonJsonValues): string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)] as KeyInForce[]);
  return [...keys]
    .filter((key) => !reloadableKeys.includes(key) && JSON.stringify(before[key]) !== JSON.stringify(after[key]))
    .sort();
}
