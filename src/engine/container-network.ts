import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EndpointSettings, NetworkSettings } from "#api/docker/container-types.ts";
import { GantryError, hasCode } from "#base/errors.ts";
import type { IdMapping } from "#base/id-mapping.ts";
import { writeFiles } from "#host/files.ts";
import { apply, setLink } from "#host/links.ts";
import { NetlinkSocket } from "#host/netlink-socket.ts";
import { createNetworkNamespace, inNetworkNamespace, removeNetworkNamespace } from "#host/network-namespace.ts";
import { pinOwnedNamespaces } from "#host/user-namespace.ts";
import { formatHosts, type HostsEntry } from "#network/hosts-file.ts";
import type { Endpoint, EndpointRequest } from "#network/network-types.ts";
import type { Networks } from "#network/networks.ts";
import { dockerResolvConf } from "#network/docker-resolv-conf.ts";
import { parseResolvConf, type ResolvConf } from "#network/resolv-conf.ts";
import { type Container, emptyNetworkSettings, statusWord } from "./container.ts";
import { linkNames, parseLink, runningLinks } from "./container-links.ts";
import type { ContainerStore } from "./container-store.ts";
import { portMap, publishRequests } from "./port-spec.ts";

export interface ContainerNetworkParts {
  networks: Networks;
  store: ContainerStore;
}

const builtin = new Set(["bridge", "host", "none"]);

/** The machine's resolv.conf and its path; behind systemd-resolved's own address stands the real one. */
export function hostResolvConf(): { conf: ResolvConf; path: string } {
  const read = (path: string): ResolvConf | undefined => {
    try {
      return parseResolvConf(readFileSync(path, "utf8"));
    } catch {
      return undefined;
    }
  };
  const path = "/etc/resolv.conf";
  const conf = read(path) ?? { servers: [], searches: [], options: [] };
  if (conf.servers.length !== 1 || conf.servers[0] !== "127.0.0.53") return { conf, path };
  const behind = "/run/systemd/resolve/resolv.conf";
  const real = read(behind);
  return real === undefined ? { conf, path } : { conf: real, path: behind };
}

/** Gives docker containers their network namespace, endpoints, names and files. */
export class ContainerNetwork {
  readonly #runDir: string;
  readonly #dns: { servers: string[]; searches: string[]; options: string[] };
  readonly #parts: ContainerNetworkParts;
  /** What the files of running containers got from here. They are bind mounts: written in place. */
  readonly #written = new Map<string, { hosts: string; resolv: string }>();

  constructor(
    options: { runDir: string; dns: { servers: string[]; searches: string[]; options: string[] } },
    parts: ContainerNetworkParts,
  ) {
    this.#runDir = options.runDir;
    this.#dns = options.dns;
    this.#parts = parts;
  }

  netnsPath(id: string): string {
    return join(this.#runDir, "netns", id);
  }

  /**
   * The network namespace that the container's process gets: one that is made, another container's, or the machine's.
   * One that is made belongs to the user namespace `owner`, which is made with it where it has a mapping.
   */
  async prepare(
    container: Container,
    owner?: { path: string; mapping?: IdMapping },
  ): Promise<{ path: string | undefined; isOwn: boolean }> {
    const mode = container.hostConfig.NetworkMode ?? "bridge";
    if (mode === "host") return { path: undefined, isOwn: false };
    if (mode.startsWith("container:")) {
      const other = this.#parts.store.resolve(mode.slice("container:".length));
      if (other.id === container.id) throw new GantryError("invalid", "cannot join own network namespace");
      if (!other.isRunning) {
        throw new GantryError(
          "conflict",
          `cannot join network namespace of a non running container: container ${other.name} is ${statusWord(other.state)}`,
        );
      }
      if (other.state.Restarting) {
        throw new GantryError("conflict", `Container ${other.id} is restarting, wait until the container is running`);
      }
      return { path: `/proc/${other.state.Pid}/ns/net`, isOwn: false };
    }
    const path = this.netnsPath(container.id);
    removeNetworkNamespace(path);
    if (owner === undefined) createNetworkNamespace(path);
    else if (owner.mapping === undefined) await pinOwnedNamespaces({ path: owner.path }, { net: path });
    else await pinOwnedNamespaces({ mapping: owner.mapping }, { user: owner.path, net: path });
    if (mode === "none" || container.record.Config.NetworkDisabled === true) await loopbackUp(path);
    return { path, isOwn: true };
  }

  /** Connects a container to all its networks and writes what inspect shows. Undone wholly when it fails. */
  async connectAll(container: Container): Promise<void> {
    const mode = container.hostConfig.NetworkMode ?? "bridge";
    const { NetworkSettings: settings } = container.record;
    if (mode.startsWith("container:") || container.record.Config.NetworkDisabled === true) return;
    try {
      const names = Object.keys(settings.Networks);
      const first = names.findIndex((name) => name === mode);
      if (first > 0) names.unshift(...names.splice(first, 1));
      for (const name of names) await this.#connect(container, name, settings.Networks[name] ?? {});
    } catch (error) {
      await this.release(container);
      throw error;
    }
    this.refresh(container);
    this.#tellLinkers(container);
  }

  /** Whoever has a link to a container on the default bridge learns its new address. */
  #tellLinkers({ id, record }: Container): void {
    if (record.NetworkSettings.Networks["bridge"] === undefined) return;
    for (const other of this.#parts.store.all()) {
      const isLinked = (other.hostConfig.Links ?? []).some((link) => parseLink(link).ref === id);
      if (!isLinked || !other.isRunning || !this.#written.has(other.id)) continue;
      try {
        this.writeHosts(other);
      } catch (error) {
        // Another of its links is down.
        if (!hasCode(error, "invalid")) throw error;
      }
    }
  }

  async #connect(container: Container, network: string, settings: EndpointSettings): Promise<Endpoint> {
    const { Config: config } = container.record;
    const isUser = !builtin.has(network);
    return this.#parts.networks.connect({
      network,
      containerId: container.id,
      containerName: container.name,
      netnsPath: this.netnsPath(container.id),
      ...(settings.IPAMConfig?.IPv4Address ? { ipv4: settings.IPAMConfig.IPv4Address } : {}),
      ...(settings.IPAMConfig?.IPv6Address ? { ipv6: settings.IPAMConfig.IPv6Address } : {}),
      ...this.#mac(container, network, settings),
      ...this.#driverOptions(settings),
      ...((container.hostConfig.Dns ?? []).length > 0 ? { dns: container.hostConfig.Dns as string[] } : {}),
      aliases: isUser ? [...(settings.Aliases ?? [])] : [],
      ...(isUser && (settings.Links ?? []).length > 0 ? { links: linkNames(settings.Links as string[]) } : {}),
      ...(config.Hostname ? { hostname: config.Hostname } : {}),
      ports: publishRequests(container.hostConfig, config.ExposedPorts ?? {}),
      ...(settings.GwPriority === undefined ? {} : { gatewayPriority: settings.GwPriority }),
    });
  }

  /** What the endpoint's driver options ask for (moby, libnetwork/netlabel). */
  #driverOptions({ DriverOpts: options, IPAMConfig }: EndpointSettings): Partial<EndpointRequest> {
    const name = options?.["com.docker.network.endpoint.ifname"] ?? "";
    const sysctls = options?.["com.docker.network.endpoint.sysctls"] ?? "";
    const linkLocal = IPAMConfig?.LinkLocalIPs ?? [];
    return {
      ...(name === "" ? {} : { interfaceName: name }),
      ...(sysctls === "" ? {} : { sysctls: sysctls.split(",") }),
      ...(linkLocal.length === 0 ? {} : { linkLocal }),
    };
  }

  #mac(container: Container, network: string, settings: EndpointSettings): { mac: string } | undefined {
    const wanted = container.record.Config.MacAddress;
    if (wanted !== undefined && wanted !== "" && network === (container.hostConfig.NetworkMode ?? "bridge"))
      return { mac: wanted };
    // What an earlier start was given is not asked for again, unless the user had asked.
    const asked = (settings as { DesiredMacAddress?: string }).DesiredMacAddress;
    return asked === undefined || asked === "" ? undefined : { mac: asked };
  }

  /** One more network for a running container (`docker network connect`), or a note for its next start. */
  async connectOne(
    container: Container,
    network: { id: string; name: string },
    settings: EndpointSettings,
  ): Promise<void> {
    const { Networks: networks } = container.record.NetworkSettings;
    const stored = { ...settings, ...(settings.MacAddress ? { DesiredMacAddress: settings.MacAddress } : {}) };
    if (container.isRunning) {
      await this.#connect(container, network.name, stored);
      networks[network.name] = stored;
      this.refresh(container);
      this.writeHosts(container);
      this.writeResolvConf(container);
    } else {
      checkEndpoint(this.#parts.networks, network.name, settings);
      networks[network.name] = {
        ...stored,
        DNSNames: builtin.has(network.name) ? null : dnsNames(container, settings.Aliases ?? []),
      };
    }
  }

  async disconnectOne(container: Container, network: { id: string; name: string }): Promise<void> {
    if (container.isRunning) await this.#parts.networks.disconnect(network.id, container.id);
    delete container.record.NetworkSettings.Networks[network.name];
    if (!container.isRunning) return;
    this.refresh(container);
    this.writeHosts(container);
    this.writeResolvConf(container);
  }

  /** Publishes the ports of the host configuration anew for a running container. */
  async republish(container: Container): Promise<void> {
    const requests = publishRequests(container.hostConfig, container.record.Config.ExposedPorts ?? {});
    await this.#parts.networks.publish(container.id, requests);
    this.refresh(container);
  }

  async release(container: Container): Promise<void> {
    this.#written.delete(container.id);
    await this.#parts.networks.release(container.id);
    removeNetworkNamespace(this.netnsPath(container.id));
    const { NetworkSettings: settings } = container.record;
    const networks: Record<string, EndpointSettings> = {};
    for (const [name, endpoint] of Object.entries(settings.Networks)) {
      networks[name] = {
        ...endpoint,
        EndpointID: "",
        Gateway: "",
        IPAddress: "",
        IPPrefixLen: 0,
        IPv6Gateway: "",
        GlobalIPv6Address: "",
        GlobalIPv6PrefixLen: 0,
        MacAddress: "",
      };
    }
    container.record.NetworkSettings = emptyNetworkSettings(networks);
    container.record.Gantry.endpoints = [];
  }

  /** Takes what the network layer knows into the record. */
  refresh(container: Container): void {
    const { record } = container;
    const endpoints = this.#parts.networks.endpoints(container.id);
    record.Gantry.endpoints = endpoints;
    const networks = { ...record.NetworkSettings.Networks };
    for (const endpoint of endpoints)
      networks[endpoint.networkName] = endpointSettings(networks[endpoint.networkName] ?? {}, endpoint, container);
    const bridge = networks["bridge"];
    const settings: NetworkSettings = {
      ...emptyNetworkSettings(networks),
      SandboxID: container.id.split("").reverse().join(""),
      SandboxKey: this.netnsPath(container.id),
      // Only a bridge tells of ports, also of those that are merely exposed.
      Ports: endpoints.some(({ driver }) => driver === "bridge")
        ? portMap(
            endpoints.flatMap((endpoint) => endpoint.ports),
            record.Config.ExposedPorts ?? {},
          )
        : {},
    };
    if (bridge !== undefined) {
      settings.EndpointID = bridge.EndpointID ?? "";
      settings.Gateway = bridge.Gateway ?? "";
      settings.IPAddress = bridge.IPAddress ?? "";
      settings.IPPrefixLen = bridge.IPPrefixLen ?? 0;
      settings.IPv6Gateway = bridge.IPv6Gateway ?? "";
      settings.GlobalIPv6Address = bridge.GlobalIPv6Address ?? "";
      settings.GlobalIPv6PrefixLen = bridge.GlobalIPv6PrefixLen ?? 0;
      settings.MacAddress = bridge.MacAddress ?? "";
    }
    record.NetworkSettings = settings;
  }

  /** The text of a container's /etc/hosts, with what is known of its addresses now. */
  hosts(container: Container): string {
    const { hostConfig, record } = container;
    if (hostConfig.NetworkMode === "host" && (hostConfig.ExtraHosts ?? []).length === 0) return machineHosts();
    const endpoints = this.#parts.networks.endpoints(container.id);
    const entries: HostsEntry[] = [];
    for (const extra of hostConfig.ExtraHosts ?? []) {
      const split = extra.search(/[:=]/);
      const ip = extra.slice(split + 1).replace(/^\[(.*)\]$/, "$1");
      entries.push({ ip: ip === "host-gateway" ? this.#hostGateway() : ip, names: [extra.slice(0, split)] });
    }
    for (const link of runningLinks(container, this.#parts.store)) {
      entries.push({ ip: link.ip, names: [...new Set([link.alias, link.hostname, link.name])] });
    }
    const hostname = record.Config.Hostname ?? "";
    const full = record.Config.Domainname ? `${hostname}.${record.Config.Domainname}` : hostname;
    const names = [...new Set([full, full.split(".", 1)[0] as string])];
    for (const { ipv4, ipv6 } of endpoints) {
      for (const ip of [ipv4, ipv6]) if (ip !== "") entries.push({ ip, names });
    }
    return formatHosts(entries);
  }

  #hostGateway(): string {
    return this.#parts.networks.inspect("bridge").IPAM.Config?.[0]?.Gateway ?? "127.0.0.1";
  }

  resolvConf(container: Container): string {
    const { hostConfig, record } = container;
    const networks = Object.keys(record.NetworkSettings.Networks);
    const isHost = hostConfig.NetworkMode === "host";
    const { conf, path } = hostResolvConf();
    return dockerResolvConf({
      host: conf,
      hostPath: path,
      network: isHost ? "host" : networks.some((name) => !builtin.has(name)) ? "embedded" : "legacy",
      ipv6: this.#parts.networks.endpoints(container.id).some(({ ipv6 }) => ipv6 !== ""),
      servers: (hostConfig.Dns ?? []).length > 0 ? (hostConfig.Dns as string[]) : this.#dns.servers,
      searches: (hostConfig.DnsSearch ?? []).length > 0 ? (hostConfig.DnsSearch as string[]) : this.#dns.searches,
      options: (hostConfig.DnsOptions ?? []).length > 0 ? (hostConfig.DnsOptions as string[]) : this.#dns.options,
    });
  }

  /** The container's files before its process is made; its addresses are not known yet. */
  async writeFirst(container: Container): Promise<void> {
    const { record } = container;
    const resolv = this.resolvConf(container);
    await writeFiles([
      { path: record.HostnamePath, text: `${record.Config.Hostname}\n` },
      { path: record.HostsPath, text: "" },
      { path: record.ResolvConfPath, text: resolv },
    ]);
    this.#written.set(container.id, { hosts: "", resolv });
  }

  /** Takes the files of a container that lived on as ours, but for what somebody has changed in them. */
  adopt(container: Container): void {
    if (container.isPod || container.hostConfig.NetworkMode?.startsWith("container:")) return;
    const { HostsPath: path } = container.record;
    let hosts: string;
    try {
      hosts = this.hosts(container);
    } catch {
      // A link's target has gone: its line stays with what is not ours.
      hosts = existsSync(path) ? readFileSync(path, "utf8") : "";
    }
    this.#written.set(container.id, { hosts, resolv: this.resolvConf(container) });
  }

  /** As docker does, lines come and go with addresses, and what else stands in the file stays. */
  writeHosts(container: Container): void {
    const written = this.#written.get(container.id);
    const hosts = this.hosts(container);
    const path = container.record.HostsPath;
    writeInPlace(path, withChanges(readFileSync(path, "utf8"), written?.hosts ?? "", hosts));
    if (written !== undefined) written.hosts = hosts;
  }

  /** A file that somebody has changed is theirs. */
  writeResolvConf(container: Container): void {
    const written = this.#written.get(container.id);
    const resolv = this.resolvConf(container);
    const path = container.record.ResolvConfPath;
    if (written === undefined || readFileSync(path, "utf8") !== written.resolv) return;
    writeInPlace(path, resolv);
    written.resolv = resolv;
  }
}

/** With `--network host` a container has the machine's names, unless it brings some of its own. */
function machineHosts(): string {
  return existsSync("/etc/hosts") ? readFileSync("/etc/hosts", "utf8") : formatHosts([]);
}

/** `text` without the lines that are in `before` alone, and with those that are new in `after`. */
function withChanges(text: string, before: string, after: string): string {
  if (text === before) return after;
  const lines = (part: string): string[] => part.split("\n").filter((line) => line !== "");
  const [old, wanted] = [new Set(lines(before)), new Set(lines(after))];
  const kept = text.split("\n").filter((line) => !old.has(line) || wanted.has(line));
  const present = new Set(kept);
  const added = lines(after).filter((line) => !old.has(line) && !present.has(line));
  const end = kept.at(-1) === "" ? kept.slice(0, -1) : kept;
  return `${[...end, ...added].join("\n")}\n`;
}

/** What the kernel does not do by itself in a new namespace; networks with interfaces do it on the way. */
async function loopbackUp(netnsPath: string): Promise<void> {
  const socket = inNetworkNamespace(netnsPath, () => NetlinkSocket.open());
  try {
    await apply(socket, [setLink(1, { up: true })]);
  } finally {
    socket.close();
  }
}

function writeInPlace(path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o644 });
}

/** Throws when a network cannot have an endpoint like this. */
export function checkEndpoint(networks: Networks, network: string, { IPAMConfig }: EndpointSettings): void {
  networks.checkEndpoint(network, {
    ipv4: IPAMConfig?.IPv4Address ?? "",
    ipv6: IPAMConfig?.IPv6Address ?? "",
    linkLocal: IPAMConfig?.LinkLocalIPs ?? [],
  });
}

/** The names that others on a user-defined network have for a container. */
function dnsNames(container: Container, aliases: readonly string[]): string[] {
  const names = [container.name, ...aliases, container.id.slice(0, 12), container.record.Config.Hostname ?? ""];
  return [...new Set(names.filter((name) => name !== ""))];
}

function endpointSettings(before: EndpointSettings, endpoint: Endpoint, container: Container): EndpointSettings {
  const isUser = !builtin.has(endpoint.networkName);
  return {
    IPAMConfig: before.IPAMConfig ?? null,
    Links: before.Links ?? null,
    Aliases: before.Aliases ?? null,
    DriverOpts: before.DriverOpts ?? null,
    GwPriority: before.GwPriority ?? 0,
    NetworkID: endpoint.networkId,
    EndpointID: endpoint.endpointId,
    Gateway: endpoint.gateway,
    IPAddress: endpoint.ipv4,
    IPPrefixLen: endpoint.ipv4PrefixLength,
    IPv6Gateway: endpoint.ipv6Gateway,
    GlobalIPv6Address: endpoint.ipv6,
    GlobalIPv6PrefixLen: endpoint.ipv6PrefixLength,
    MacAddress: endpoint.mac,
    DNSNames: isUser ? dnsNames(container, before.Aliases ?? []) : null,
    ...("DesiredMacAddress" in before
      ? { DesiredMacAddress: (before as { DesiredMacAddress?: string }).DesiredMacAddress }
      : {}),
  };
}
