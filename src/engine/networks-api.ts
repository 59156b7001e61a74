import type { NetworkResource } from "#api/docker/object-types.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError, hasCode } from "#base/errors.ts";
import type { Networks } from "#network/networks.ts";
import type { Container } from "./container.ts";
import type { ContainerNetwork } from "./container-network.ts";
import type { ContainerStore } from "./container-store.ts";
import type { Filters, NetworksApi } from "./engine.ts";
import { checkFilters, matchesLabels, matchesName, matchesPruneLabels, untilFilter } from "./filters.ts";
import type { EventLog } from "./event-log.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { parseTime } from "./timestamps.ts";

export interface NetworksApiParts {
  networks: Networks;
  network: ContainerNetwork;
  store: ContainerStore;
  lifecycle: Lifecycle;
  clock: Clock;
  events: EventLog;
}

const builtin = new Set(["bridge", "host", "none"]);

export function createNetworksApi(parts: NetworksApiParts): NetworksApi {
  const { networks, network, store, lifecycle, clock } = parts;
  /** Containers that will use it at their next start count, too. */
  const isReferred = (name: string): boolean =>
    store.all().some((container) => container.state.Running && name in container.record.NetworkSettings.Networks);
  return {
    async create(body) {
      const { id, warning } = await networks.create(body);
      return { Id: id, Warning: warning };
    },
    async list(filters = {}) {
      const test = networkFilter(filters, isReferred);
      return networks
        .list()
        .filter(test)
        .map((resource) => ({ ...resource, Containers: {} }));
    },
    inspect: async (ref) => networks.inspect(ref),
    remove: (ref) => networks.remove(ref),
    async connect(ref, containerRef, endpoint) {
      const resource = networks.inspect(ref);
      const container = store.resolve(containerRef);
      await lifecycle.lock.run(container.id, async () => {
        checkConnectable(container, resource);
        if (resource.Name in container.record.NetworkSettings.Networks && container.isRunning) {
          throw new GantryError(
            "forbidden",
            `endpoint with name ${container.name} already exists in network ${resource.Name}`,
          );
        }
        await network.connectOne(container, { id: resource.Id, name: resource.Name }, endpoint ?? {});
        await store.save(container, { durable: true });
      });
    },
    async disconnect(ref, containerRef, force = false) {
      const resource = networks.inspect(ref);
      let container: Container;
      try {
        container = store.resolve(containerRef);
      } catch (error) {
        if (!force || !hasCode(error, "not-found")) throw error;
        const stale = Object.entries(resource.Containers).find(
          ([id, { Name }]) => id.startsWith(containerRef) || Name === containerRef,
        );
        if (stale === undefined) throw new GantryError("not-found", `endpoint ${containerRef} not found`);
        await networks.disconnect(resource.Id, stale[0]);
        return;
      }
      await lifecycle.lock.run(container.id, async () => {
        if (resource.Name === "host")
          throw new GantryError(
            "invalid",
            "cannot disconnect container from host network - container was created in host network mode",
          );
        if (!(resource.Name in container.record.NetworkSettings.Networks)) {
          throw new GantryError(
            "forbidden",
            `container ${container.id} is not connected to ${container.isRunning ? "" : "the "}network ${resource.Name}`,
          );
        }
        await network.disconnectOne(container, { id: resource.Id, name: resource.Name });
        await store.save(container, { durable: true });
      });
    },
    async prune(filters = {}) {
      checkFilters(filters, ["label", "label!", "until"]);
      const until = untilFilter(filters, clock.now());
      const deleted = await networks.prune(
        (resource) =>
          !builtin.has(resource.Name) &&
          !isReferred(resource.Name) &&
          matchesPruneLabels(resource.Labels, filters) &&
          (until === undefined || parseTime(resource.Created) < until),
      );
      parts.events.emit("network", "prune", "", { reclaimed: "0" });
      return { deleted, spaceReclaimed: 0 };
    },
  };
}

function checkConnectable(container: Container, resource: NetworkResource): void {
  const mode = container.hostConfig.NetworkMode ?? "bridge";
  if (resource.Name === "host") {
    throw new GantryError(
      "invalid",
      "cannot connect container to host network - container must be created in host network mode",
    );
  }
  if (mode === "host") throw sharedNetwork();
  if (mode.startsWith("container:")) throw sharedNetwork();
  const connected = Object.keys(container.record.NetworkSettings.Networks);
  if (connected.includes("none") || (resource.Name === "none" && connected.length > 0))
    throw new GantryError(
      "invalid",
      "container cannot be connected to multiple networks with one of the networks in private (none) mode",
    );
  if (container.isRemoving || container.state.Dead) {
    throw new GantryError(
      "conflict",
      `Container ${container.id} is marked for removal and cannot be connected or disconnected to the network`,
    );
  }
}

function sharedNetwork(): GantryError {
  return new GantryError(
    "invalid",
    "container sharing network namespace with another container or host cannot be connected to any other network",
  );
}

function danglingValue(text: string): boolean {
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw new GantryError("invalid", `invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")`);
}

function networkFilter(filters: Filters, isReferred: (name: string) => boolean): (network: NetworkResource) => boolean {
  checkFilters(filters, ["dangling", "driver", "id", "label", "name", "scope", "type"]);
  const [danglingText] = filters["dangling"] ?? [];
  const dangling = danglingText === undefined ? undefined : danglingValue(danglingText);
  const values = (key: string): readonly string[] => filters[key] ?? [];
  for (const type of values("type")) {
    if (type !== "custom" && type !== "builtin") throw new GantryError("invalid", `invalid filter: 'type'='${type}'`);
  }
  const some = (key: string, test: (value: string) => boolean): boolean =>
    values(key).length === 0 || values(key).some(test);
  return (resource) => {
    const isBuiltin = builtin.has(resource.Name);
    if (dangling !== undefined && (!isBuiltin && !isReferred(resource.Name)) !== dangling) return false;
    if (!some("driver", (value) => value === resource.Driver)) return false;
    if (!some("id", (value) => resource.Id.startsWith(value))) return false;
    if (!some("scope", (value) => value === resource.Scope)) return false;
    if (!some("type", (value) => (value === "builtin") === isBuiltin)) return false;
    if (values("name").length > 0 && !matchesName(resource.Name, values("name"))) return false;
    return matchesLabels(resource.Labels, values("label"));
  };
}
