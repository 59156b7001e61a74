import type { Logger } from "#base/log.ts";
import { Nftables } from "#host/nftables.ts";
import { watchTables } from "#host/nftables-events.ts";
import {
  type BridgeRule,
  bridgeElements,
  type Element,
  elementCommands,
  type PortRule,
  portElements,
  removalText,
  tableText,
} from "./rules.ts";

/**
 * The instance's table in the kernel. One object serves docker's networks and the pod network, since both stand
 * in the same table. Everything before `start` is only remembered; from then on each change is one transaction.
 */
export class Firewall {
  readonly #table: string;
  readonly #nft: Nftables;
  readonly #bridges = new Map<string, BridgeRule>();
  readonly #ports = new Map<string, PortRule>();
  readonly #noMasquerade4 = new Set<string>();
  readonly #log: Logger;
  #started = false;
  #endWatch: (() => void) | undefined;

  constructor(table: string, log: Logger) {
    this.#table = table;
    this.#log = log;
    this.#nft = new Nftables();
  }

  /**
   * Writes the whole table in one transaction, replacing what an earlier process left. From then on it is written
   * again whenever somebody else deletes it, as the reload of a firewall does that begins with `flush ruleset`.
   */
  async start(): Promise<void> {
    this.#started = true;
    this.#endWatch ??= watchTables([this.#table], () => this.#restore());
    await this.#write();
  }

  #restore(): void {
    if (!this.#started) return;
    this.#log.warn("The nftables table was deleted by somebody else and is written again.", { table: this.#table });
    this.#write().catch((error: unknown) => {
      this.#log.error("The nftables table could not be written again.", { table: this.#table, error });
    });
  }

  async #write(): Promise<void> {
    await this.#nft.apply(
      tableText(this.#table, {
        bridges: [...this.#bridges.values()],
        ports: [...this.#ports.values()],
        noMasquerade4: [...this.#noMasquerade4],
      }),
    );
  }

  async addBridge(bridge: BridgeRule): Promise<void> {
    if (this.#bridges.has(bridge.name)) return;
    this.#bridges.set(bridge.name, bridge);
    try {
      await this.#change("add", bridgeElements(bridge));
    } catch (error) {
      this.#bridges.delete(bridge.name);
      throw error;
    }
  }

  async removeBridges(names: readonly string[]): Promise<void> {
    const known = names.flatMap((name) => this.#bridges.get(name) ?? []);
    for (const { name } of known) this.#bridges.delete(name);
    await this.#change("delete", known.flatMap(bridgeElements));
  }

  async addPorts(ports: readonly PortRule[]): Promise<void> {
    for (const port of ports) this.#ports.set(keyOf(port), port);
    try {
      await this.#change("add", ports.flatMap(portElements));
    } catch (error) {
      for (const port of ports) this.#ports.delete(keyOf(port));
      throw error;
    }
  }

  async removePorts(ports: readonly PortRule[]): Promise<void> {
    const known = ports.filter((port) => this.#ports.delete(keyOf(port)));
    await this.#change("delete", this.#unshared(known.flatMap(portElements)));
  }

  /** Destinations off the bridges that see the senders' own addresses: pods of other nodes. */
  async exempt(cidr: string): Promise<void> {
    if (this.#noMasquerade4.has(cidr)) return;
    this.#noMasquerade4.add(cidr);
    await this.#change("add", [{ set: "no_masquerade4", key: cidr }]);
  }

  /** Several ports of one container share its hairpin element: it stays until the last one goes. */
  #unshared(elements: Element[]): Element[] {
    const kept = new Set([...this.#ports.values()].flatMap(portElements).map(({ set, key }) => `${set} ${key}`));
    return elements.filter(({ set, key }) => !kept.has(`${set} ${key}`));
  }

  async #change(verb: "add" | "delete", elements: readonly Element[]): Promise<void> {
    if (this.#started) await this.#nft.apply(elementCommands(this.#table, verb, elements));
  }

  /** Takes the table away. */
  async remove(): Promise<void> {
    this.#stopWatching();
    await this.#nft.apply(removalText(this.#table));
  }

  #stopWatching(): void {
    this.#started = false;
    this.#endWatch?.();
    this.#endWatch = undefined;
  }

  close(): void {
    this.#stopWatching();
    this.#nft.close();
  }
}

function keyOf(port: PortRule): string {
  return `${port.protocol} ${port.hostIp} ${port.hostPort} ${port.targetIp.includes(":") ? 6 : 4}`;
}
