import { randomBytes } from "node:crypto";
import { GantryError } from "#base/errors.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import { apply, listLinks, setLink } from "#host/links.ts";
import type { NetlinkSocket } from "#host/netlink-socket.ts";
import { addressBits, formatAddress, formatCidr, macFromIPv4, requireCidr } from "./addresses.ts";
import { enableForwarding, ensureBridge } from "./bridge.ts";
import type { Firewall } from "./firewall.ts";
import { attachToBridge, detach } from "./interface.ts";
import { AddressPool } from "./ipam.ts";
import type { LinkReaper } from "./link-reaper.ts";
import type { PodEndpoint, PublishRequest, RecoveryReport } from "./network-types.ts";
import { portRules, type PortReservations, requestsOf } from "./ports.ts";

export interface PodNetworkOptions {
  linkPrefix: string;
  bridge: string;
  /** This node's pods: `10.64.0.0/16`. */
  cidr: string;
  /** All nodes' pods, which see each other's own addresses. Default: `cidr`. */
  clusterCidr?: string;
  mtu?: number;
}

export interface PodNetworkParts {
  firewall: Firewall;
  ports: PortReservations;
  socket: NetlinkSocket;
  reaper: LinkReaper;
}

export interface PodRequest {
  sandboxId: string;
  netnsPath: string;
  /** `hostPort`s of the pod's containers. */
  ports?: PublishRequest[];
}

/**
 * The network of pods: one bridge, whose address is every pod's gateway. A pod's address stands alone (/32), so
 * that all its traffic is routed by the node, to pods of the same bridge too: services and policies then see
 * every packet in both directions, whether the kernel filters bridged frames or not.
 */
export class PodNetwork {
  readonly #options: PodNetworkOptions;
  readonly #parts: PodNetworkParts;
  readonly #pool: AddressPool;
  readonly #pods = new Map<string, PodEndpoint>();
  readonly #lock = new KeyedLock();
  /** The node's own address on the bridge, every pod's gateway. */
  readonly gateway: string;
  #bridgeIndex = 0;

  constructor(options: PodNetworkOptions, parts: PodNetworkParts) {
    this.#options = options;
    this.#parts = parts;
    const subnet = requireCidr(options.cidr);
    this.#pool = new AddressPool({ subnet, order: "next" });
    this.gateway = formatAddress(subnet.family, subnet.base + 1n);
    this.#pool.reserve(this.gateway);
  }

  /** Gives a pod its interface `eth0`, its address and its published ports. Undone wholly when it fails. */
  attach(request: PodRequest): Promise<PodEndpoint> {
    return this.#lock.run(request.sandboxId, async () => {
      const known = this.#pods.get(request.sandboxId);
      if (known !== undefined) return known;
      const ip = this.#pool.allocate();
      const pod: PodEndpoint = {
        sandboxId: request.sandboxId,
        netnsPath: request.netnsPath,
        interfaceName: "eth0",
        hostInterface: `${this.#options.linkPrefix}p${randomBytes(5).toString("hex")}`,
        mac: ip.includes(":") ? "" : macFromIPv4(ip),
        ips: [ip],
        gateway: this.gateway,
        ports: [],
      };
      try {
        await this.#plumb(pod, request.ports ?? []);
      } catch (error) {
        this.#pool.release(ip);
        throw error;
      }
      this.#pods.set(pod.sandboxId, pod);
      return pod;
    });
  }

  async #plumb(pod: PodEndpoint, ports: readonly PublishRequest[]): Promise<void> {
    const { socket, firewall } = this.#parts;
    const target = podTarget(pod);
    const reserved = await this.#parts.ports.reserve(ports, target);
    try {
      const prefixLength = addressBits(pod.ips[0]?.includes(":") ? 6 : 4);
      await attachToBridge(
        socket,
        {
          netnsPath: pod.netnsPath,
          name: pod.interfaceName,
          mac: pod.mac,
          mtu: this.#options.mtu ?? 1_500,
          addresses: pod.ips.map((ip) => ({ ip, prefixLength })),
          gateways: [{ ip: pod.gateway, onLink: true }],
        },
        { name: pod.hostInterface, bridgeIndex: this.#bridgeIndex, hairpin: true, isolated: false },
      );
      await firewall.addPorts(reserved.rules);
    } catch (error) {
      this.#parts.ports.release(reserved.ports);
      await detach(socket, pod.hostInterface);
      throw error;
    }
    pod.ports = reserved.ports;
  }

  /** Takes everything back that `attach` gave. Quiet when there is nothing. */
  detach(sandboxId: string): Promise<void> {
    return this.#lock.run(sandboxId, async () => {
      const pod = this.#pods.get(sandboxId);
      if (pod === undefined) return;
      this.#pods.delete(sandboxId);
      await this.#parts.firewall.removePorts(portRules(pod.ports, podTarget(pod)));
      this.#parts.ports.release(pod.ports);
      for (const ip of pod.ips) this.#pool.release(ip);
      await this.#parts.reaper.reap(pod.hostInterface);
    });
  }

  get(sandboxId: string): PodEndpoint | undefined {
    return this.#pods.get(sandboxId);
  }

  /** Finds bridge and pods again at the start, before the firewall's `start`. */
  async recover(live: readonly PodEndpoint[], report: RecoveryReport): Promise<void> {
    const { socket, firewall } = this.#parts;
    const subnet = requireCidr(this.#options.cidr);
    const address = { ip: this.gateway, prefixLength: subnet.prefix };
    const mtu = this.#options.mtu ?? 1_500;
    const bridge = await ensureBridge(socket, { name: this.#options.bridge, mtu, addresses: [address] });
    this.#bridgeIndex = bridge.index;
    enableForwarding(subnet.family);
    await firewall.addBridge({
      name: this.#options.bridge,
      subnets4: subnet.family === 4 ? [formatCidr(subnet)] : [],
      subnets6: subnet.family === 6 ? [formatCidr(subnet)] : [],
      internal: false,
      icc: true,
      masquerade: true,
      routed: true,
      hairpin: false,
      trusted: [],
    });
    await firewall.exempt(this.#options.clusterCidr ?? this.#options.cidr);
    const links = new Map((await listLinks(socket)).map((link) => [link.name, link]));
    for (const pod of live) {
      const link = links.get(pod.hostInterface);
      if (link === undefined) {
        report.lostEndpoints.push(pod.sandboxId);
        continue;
      }
      if (link.master !== this.#bridgeIndex) await apply(socket, [setLink(link.index, { master: this.#bridgeIndex })]);
      await this.#readopt(pod, report);
    }
    const known = new Set(live.map(({ hostInterface }) => hostInterface));
    const ours = new RegExp(`^${this.#options.linkPrefix}p[0-9a-f]{10}$`);
    for (const name of links.keys()) if (ours.test(name) && !known.has(name)) report.removedLinks.push(name);
  }

  async #readopt(pod: PodEndpoint, report: RecoveryReport): Promise<void> {
    for (const ip of pod.ips) if (!this.#pool.isUsed(ip)) this.#pool.reserve(ip);
    this.#pods.set(pod.sandboxId, pod);
    for (const port of pod.ports) {
      try {
        await this.#parts.ports.reserve(requestsOf([port]), podTarget(pod));
      } catch (error) {
        if (!(error instanceof GantryError)) throw error;
        report.lostPorts.push(port);
      }
    }
    await this.#parts.firewall.addPorts(portRules(pod.ports, podTarget(pod)));
  }

  /** Takes the bridge away, and with it all pods' links. */
  async removeAll(): Promise<void> {
    await detach(this.#parts.socket, this.#options.bridge);
  }
}

function podTarget(pod: PodEndpoint): { ipv4: string; ipv6: string; selfHairpin: boolean } {
  return {
    ipv4: pod.ips.find((ip) => !ip.includes(":")) ?? "",
    ipv6: pod.ips.find((ip) => ip.includes(":")) ?? "",
    selfHairpin: true,
  };
}
