import { objectKey, ref } from "#api/kube/object.ts";
import { type EndpointSlice, type Service, serviceOfSlice } from "#api/kube/service-types.ts";
import { type Clock, systemClock } from "#base/clock.ts";
import { errorMessage } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { TaskGroup } from "#base/task-group.ts";
import type { Informer } from "#control/informer.ts";
import type { InformerFactory } from "#control/informer-factory.ts";
import { type FlowFilter, forgetFlows } from "#host/conntrack.ts";
import { Nftables } from "#host/nftables.ts";
import { watchTables } from "#host/nftables-events.ts";
import { addressBytes } from "#network/addresses.ts";
import { removalText } from "#network/rules.ts";
import { servicePorts } from "./service-port.ts";
import type { ServiceTableOptions } from "./service-rules.ts";
import { ServiceTable, type StaleFlow } from "./service-table.ts";

export interface ServiceProxyOptions extends ServiceTableOptions {
  nodeName: string;
}

export interface ServiceProxyParts {
  informers: InformerFactory;
  log: Logger;
  clock?: Clock;
}

const byService = "proxy/service";

/**
 * The service proxy of one node: keeps an nftables table that sends what is meant for services to their
 * endpoints. It stands in a table of its own, `ServiceProxyOptions.table`, written whole at the start and changed
 * by the difference from then on. Stopping leaves it in force, so that services work while the node process is
 * away.
 */
export class ServiceProxy {
  readonly #options: ServiceProxyOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #services: Informer<Service>;
  readonly #slices: Informer<EndpointSlice>;
  readonly #dirty = new Set<string>();
  #wake: () => void = () => {};
  #lost = false;
  #table: ServiceTable;
  #resolveReady!: () => void;
  /** Resolves when the table is in force for the first time. */
  readonly ready: Promise<void> = new Promise((resolve) => {
    this.#resolveReady = resolve;
  });

  constructor(options: ServiceProxyOptions, parts: ServiceProxyParts) {
    this.#options = options;
    this.#log = parts.log;
    this.#clock = parts.clock ?? systemClock;
    this.#services = parts.informers.informer<Service>(ref("services"));
    this.#slices = parts.informers.informer<EndpointSlice>(ref("discovery.k8s.io/v1", "endpointslices"));
    this.#slices.addIndex(byService, (slice) => [serviceOfSlice(slice) ?? ""]);
    this.#table = new ServiceTable(options);
  }

  /** Starts the loop; it ends with the group. */
  start(tasks: TaskGroup): void {
    const touch = (key: string | undefined): void => {
      if (key === undefined) return;
      this.#dirty.add(key);
      this.#wake();
    };
    const ofService = (service: Service): void => touch(objectKey(service));
    const ofSlice = (slice: EndpointSlice): void => touch(serviceOfSlice(slice));
    const ends = [
      this.#services.addHandlers({ add: ofService, update: ofService, delete: ofService }),
      this.#slices.addHandlers({
        add: ofSlice,
        update: (slice, old) => {
          ofSlice(old);
          ofSlice(slice);
        },
        delete: ofSlice,
      }),
    ];
    tasks.run("service proxy", async (signal) => {
      const nft = new Nftables();
      const onAbort = (): void => this.#wake();
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        await this.#run(nft, signal);
      } finally {
        for (const end of ends) end();
        nft.close();
      }
    });
  }

  async #run(nft: Nftables, signal: AbortSignal): Promise<void> {
    await Promise.race([Promise.all([this.#services.synced, this.#slices.synced]), aborted(signal)]);
    let inForce = false;
    let failures = 0;
    const endWatch = watchTables([this.#options.table], () => {
      this.#log.warn("The service table was deleted by somebody else and is written again.");
      inForce = false;
      this.#lost = true;
      this.#wake();
    });
    signal.addEventListener("abort", endWatch, { once: true });
    while (!signal.aborted) {
      try {
        this.#lost = false;
        if (inForce) await this.#applyChanges(nft);
        else await this.#applyAll(nft);
        inForce = !this.#lost;
        failures = 0;
        this.#resolveReady();
      } catch (error) {
        // What is in the kernel is not known any more: write it anew.
        inForce = false;
        this.#log.error("The service table could not be written and will be tried again.", {
          error: errorMessage(error),
        });
        await this.#clock.sleep(Math.min(1_000 * 2 ** failures++, 30_000), signal);
        continue;
      }
      if (this.#dirty.size > 0 || !inForce) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (signal.aborted || this.#dirty.size > 0) resolve();
      });
    }
  }

  async #applyAll(nft: Nftables): Promise<void> {
    this.#dirty.clear();
    this.#table = new ServiceTable(this.#options);
    for (const service of this.#services.list()) this.#update(objectKey(service));
    await nft.apply(this.#table.fullText());
  }

  async #applyChanges(nft: Nftables): Promise<void> {
    const keys = [...this.#dirty];
    this.#dirty.clear();
    const changes = keys.map((key) => this.#update(key));
    await nft.apply(changes.map(({ commands }) => commands).join(""));
    const stale = changes.flatMap(({ staleFlows }) => staleFlows);
    if (stale.length > 0) await this.#forget(stale);
  }

  #update(key: string): ReturnType<ServiceTable["set"]> {
    const service = this.#services.get(key);
    const slices = service === undefined ? [] : this.#slices.byIndex(byService, key);
    return this.#table.set(key, service === undefined ? [] : servicePorts(service, slices, this.#options.nodeName));
  }

  async #forget(flows: readonly StaleFlow[]): Promise<void> {
    const filters = flows.map(({ ip, port, reply }): FlowFilter => ({
      protocol: "udp",
      port,
      ...(ip === "" ? {} : { address: addressBytes(ip) }),
      ...(reply === undefined ? {} : { reply: addressBytes(reply) }),
    }));
    try {
      await forgetFlows(filters);
    } catch (error) {
      this.#log.warn("Old UDP flows could not be forgotten.", { error: errorMessage(error) });
    }
  }
}

/** Takes a proxy's table away. */
export async function removeServiceTable(table: string): Promise<void> {
  const nft = new Nftables();
  try {
    await nft.apply(removalText(table));
  } finally {
    nft.close();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
