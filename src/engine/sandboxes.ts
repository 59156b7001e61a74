import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { chown, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hostname } from "node:os";
import type { PodSandboxConfig, PodSandboxStatus } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { checkIdRanges, type IdMapping, mappedRoot } from "#base/id-mapping.ts";
import { newContainerId } from "#base/ids.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import type { Logger } from "#base/log.ts";
import { mount, unmount } from "#host/mount.ts";
import { createNetworkNamespace, inNetworkNamespace, removeNetworkNamespace } from "#host/network-namespace.ts";
import { inPinnedNamespaces, pinNamespaces, unpinNamespaces } from "#host/pinned-namespaces.ts";
import { pinOwnedNamespaces, unpinNamespace } from "#host/user-namespace.ts";
import { formatHosts, type HostsEntry } from "#network/hosts-file.ts";
import type { PodNetwork } from "#network/pod-network.ts";
import { formatResolvConf } from "#network/resolv-conf.ts";
import { hostResolvConf } from "./container-network.ts";
import type { SandboxJoin } from "./launcher.ts";
import { findHolder, isHolder, startHolder, stopHolder } from "./pid-holder.ts";
import type { SandboxRecord, SandboxStore } from "./sandbox-store.ts";

export interface SandboxesParts {
  store: SandboxStore;
  /** Absent on a machine without a cluster. */
  network: PodNetwork | undefined;
  clock: Clock;
  log: Logger;
}

const shmBytes = 67_108_864;

/** Pods' sandboxes: namespaces pinned as files (no pause process), an address, and the files that all containers share. */
export class Sandboxes {
  readonly #runDir: string;
  readonly #parts: SandboxesParts;
  readonly #lock = new KeyedLock();

  constructor(options: { runDir: string }, parts: SandboxesParts) {
    this.#runDir = options.runDir;
    this.#parts = parts;
  }

  #folder(id: string): string {
    return join(this.#runDir, "sandboxes", id);
  }

  netnsPath(record: SandboxRecord): string {
    return record.config.hostNetwork ? "" : join(this.#folder(record.id), "net");
  }

  /** The same pod and attempt again gives the same sandbox. */
  async run(config: PodSandboxConfig): Promise<string> {
    const { metadata } = config;
    return this.#lock.run(`${metadata.uid}/${metadata.attempt}`, async () => {
      const known = this.#parts.store
        .all()
        .find(
          ({ config: other, state }) =>
            state === "ready" &&
            other.owner === config.owner &&
            other.metadata.uid === metadata.uid &&
            other.metadata.attempt === metadata.attempt,
        );
      if (known !== undefined) return known.id;
      const record: SandboxRecord = {
        id: newContainerId(),
        config,
        state: "not-ready",
        createdAt: this.#parts.clock.now(),
        endpoint: undefined,
        holderPid: 0,
      };
      await mkdir(this.#parts.store.folder(record.id), { recursive: true, mode: 0o711 });
      await this.#parts.store.save(record);
      try {
        await this.#bringUp(record);
      } catch (error) {
        await this.#takeDown(record);
        await this.#parts.store.remove(record.id);
        throw error;
      }
      record.state = "ready";
      await this.#parts.store.save(record);
      return record.id;
    });
  }

  async #bringUp(record: SandboxRecord): Promise<void> {
    const { config, id } = record;
    const folder = this.#folder(id);
    await mkdir(folder, { recursive: true, mode: 0o711 });
    if (config.userNamespace !== undefined) await this.#pinMapped(record, config.userNamespace);
    if (!config.hostNetwork) {
      if (config.userNamespace === undefined) createNetworkNamespace(join(folder, "net"));
      const { network } = this.#parts;
      if (network === undefined) throw new GantryError("unavailable", "this node has no pod network");
      record.endpoint = await network.attach({
        sandboxId: id,
        netnsPath: join(folder, "net"),
        ports: config.portMappings
          .filter(({ hostPort }) => hostPort > 0)
          .map(({ protocol, containerPort, hostPort, hostIp }) => ({
            protocol,
            containerPort,
            hostIp: hostIp ?? "",
            hostPort: { from: hostPort, to: hostPort },
          })),
      });
    }
    const inNetwork = <T>(work: () => T): T =>
      config.hostNetwork ? work() : inNetworkNamespace(join(folder, "net"), work);
    const sysctls = Object.entries(config.sysctls);
    inNetwork(() => {
      for (const [key, value] of sysctls.filter(([name]) => name.startsWith("net."))) writeSysctl(key, value);
    });
    const settings = {
      folder,
      ipc: !config.hostIpc,
      uts: !config.hostNetwork,
      hostname: config.hostname,
      inside: () => {
        for (const [key, value] of sysctls.filter(([name]) => !name.startsWith("net."))) writeSysctl(key, value);
      },
    };
    if (config.userNamespace === undefined) pinNamespaces(settings);
    else inPinnedNamespaces(settings, mappedRoot(config.userNamespace));
    if (!config.hostIpc) {
      await mkdir(join(folder, "shm"), { recursive: true });
      mount({
        source: "shm",
        target: join(folder, "shm"),
        type: "tmpfs",
        flags: 2 | 4 | 8,
        data: `mode=1777,size=${shmBytes}`,
      });
      await this.#own(record, join(folder, "shm"));
    }
    if (config.shareProcessNamespace && !config.hostPid)
      record.holderPid = await startHolder(id, config.userNamespace && join(folder, "user"));
    await this.#writeFiles(record);
  }

  /** All namespaces of a pod with ids of its own belong to its user namespace: only so has its root a say in them. */
  async #pinMapped({ config, id }: SandboxRecord, mapping: IdMapping): Promise<void> {
    checkIdRanges(mapping.uids, "users");
    checkIdRanges(mapping.gids, "groups");
    mappedRoot(mapping);
    if (config.hostNetwork || config.hostPid || config.hostIpc)
      throw new GantryError(
        "invalid",
        "a pod in a user namespace of its own cannot have the machine's network, process or ipc namespace",
      );
    const at = (name: string): string => join(this.#folder(id), name);
    await pinOwnedNamespaces({ mapping }, { user: at("user"), net: at("net"), ipc: at("ipc"), uts: at("uts") });
  }

  async #own({ config }: SandboxRecord, ...paths: string[]): Promise<void> {
    if (config.userNamespace === undefined) return;
    const { uid, gid } = mappedRoot(config.userNamespace);
    await Promise.all(paths.map((path) => chown(path, uid, gid)));
  }

  async #writeFiles(record: SandboxRecord): Promise<void> {
    const { config, endpoint } = record;
    const folder = this.#parts.store.folder(record.id);
    const name = config.hostNetwork ? hostname() : config.hostname;
    const aliases: HostsEntry[] = config.hostAliases.map(({ ip, hostnames }) => ({ ip, names: hostnames }));
    const own: HostsEntry[] = (endpoint?.ips ?? []).map((ip) => ({ ip, names: [name] }));
    const hosts = config.hostNetwork
      ? `${readFileSync("/etc/hosts", "utf8")}${formatAliases(aliases)}`
      : formatHosts([...own, ...aliases]);
    const { servers, searches, options } = config.dns;
    const isEmpty = servers.length + searches.length + options.length === 0;
    const resolv = formatResolvConf(isEmpty ? hostResolvConf().conf : { servers, searches, options });
    await Promise.all([
      writeFile(join(folder, "hosts"), hosts),
      writeFile(join(folder, "hostname"), `${name}\n`),
      writeFile(join(folder, "resolv.conf"), resolv),
    ]);
    const files = this.files(record.id);
    await this.#own(record, files.hosts, files.hostname, files.resolvConf);
  }

  /** Where the files are that containers of the sandbox see under /etc. */
  files(id: string): { hosts: string; hostname: string; resolvConf: string } {
    const folder = this.#parts.store.folder(id);
    return {
      hosts: join(folder, "hosts"),
      hostname: join(folder, "hostname"),
      resolvConf: join(folder, "resolv.conf"),
    };
  }

  get(id: string): SandboxRecord {
    const record = this.#parts.store.get(id);
    if (record === undefined) throw new GantryError("not-found", `sandbox "${id}" not found`);
    return record;
  }

  /** What a container of the sandbox starts in. */
  join(id: string): SandboxJoin {
    const record = this.get(id);
    if (record.state !== "ready") throw new GantryError("conflict", `sandbox "${id}" is not running`);
    const { config } = record;
    const folder = this.#folder(id);
    return {
      netnsPath: config.hostNetwork ? undefined : join(folder, "net"),
      shmPath: config.hostIpc ? "/dev/shm" : join(folder, "shm"),
      namespaces: {
        pid: config.hostPid
          ? { kind: "host" }
          : record.holderPid > 0
            ? { kind: "path", path: `/proc/${record.holderPid}/ns/pid` }
            : { kind: "new" },
        ipc: config.hostIpc ? { kind: "host" } : { kind: "path", path: join(folder, "ipc") },
        uts: config.hostNetwork ? { kind: "host" } : { kind: "path", path: join(folder, "uts") },
        cgroup: { kind: "host" },
        ...(config.userNamespace === undefined
          ? {}
          : { user: { path: join(folder, "user"), mapping: config.userNamespace } }),
      },
    };
  }

  /** The address goes, containers must have ended. Safe to repeat. */
  async stop(id: string): Promise<void> {
    const record = this.#parts.store.get(id);
    if (record === undefined) return;
    await this.#lock.run(id, async () => {
      await this.#takeDown(record);
      record.state = "not-ready";
      record.endpoint = undefined;
      if (this.#parts.store.get(id) !== undefined) await this.#parts.store.save(record);
    });
  }

  async #takeDown(record: SandboxRecord): Promise<void> {
    const folder = this.#folder(record.id);
    await stopHolder(record.holderPid, record.id);
    await this.#parts.network?.detach(record.id);
    removeNetworkNamespace(join(folder, "net"));
    unpinNamespaces(folder);
    unpinNamespace(join(folder, "user"));
    while (unmount(join(folder, "shm"))) continue;
    await rm(folder, { recursive: true, force: true });
  }

  async remove(id: string): Promise<void> {
    if (this.#parts.store.get(id) === undefined) return;
    await this.stop(id);
    await this.#parts.store.remove(id);
  }

  /** Which sandboxes still have their namespaces after a restart of ours: others are marked as ended. */
  async recover(): Promise<void> {
    for (const record of this.#parts.store.all()) {
      const folder = this.#folder(record.id);
      const isWhole = record.config.hostNetwork || existsSync(join(folder, "net"));
      const hasHolder = record.holderPid === 0 || isHolder(record.holderPid, record.id);
      if (record.state === "ready" && isWhole && hasHolder && existsSync(folder)) continue;
      if (record.config.shareProcessNamespace && record.holderPid === 0) record.holderPid = findHolder(record.id);
      record.state = "not-ready";
      await this.#takeDown(record);
      await this.#parts.store.save(record);
    }
  }

  status(record: SandboxRecord): PodSandboxStatus {
    const { config, endpoint } = record;
    return {
      id: record.id,
      metadata: config.metadata,
      state: record.state,
      createdAt: record.createdAt,
      ips: [...(endpoint?.ips ?? [])],
      netnsPath: this.netnsPath(record),
      namespaces: {
        hostNetwork: config.hostNetwork,
        hostPid: config.hostPid,
        hostIpc: config.hostIpc,
        shareProcessNamespace: config.shareProcessNamespace,
        ...(config.userNamespace === undefined ? {} : { userNamespace: config.userNamespace }),
      },
      ...(config.resources === undefined ? {} : { resources: config.resources }),
      labels: config.labels,
      annotations: config.annotations,
    };
  }
}

function formatAliases(aliases: readonly HostsEntry[]): string {
  return aliases.map(({ ip, names }) => `${ip}\t${names.join(" ")}\n`).join("");
}

function writeSysctl(key: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/${key.replaceAll(".", "/")}`, value);
  } catch (cause) {
    throw new GantryError("invalid", `sysctl "${key}" could not be set to "${value}"`, { cause });
  }
}
