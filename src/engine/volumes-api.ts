import type { VolumeStore } from "#volume/volume-store.ts";
import type { VolumesApi } from "./engine.ts";
import type { ContainerStore } from "./container-store.ts";
import type { EventLog } from "./event-log.ts";

/** The ids of containers that a volume belongs to, in whatever state. */
export function volumeUsers(store: ContainerStore): (name: string) => string[] {
  return (name) =>
    store
      .all()
      .filter((container) =>
        Object.values(container.record.MountPoints).some((point) => point.Type === "volume" && point.Name === name),
      )
      .filter((container) => !container.isRemoving)
      .map((container) => container.id);
}

export function createVolumesApi(parts: { volumes: VolumeStore; events: EventLog }): VolumesApi {
  const { volumes, events } = parts;
  return {
    async create(body) {
      const { volume, created } = await volumes.ensure(body);
      if (created) events.emit("volume", "create", volume.Name, { driver: "local" });
      return volume;
    },
    list: async (filters = {}) => ({ Volumes: volumes.list(filters), Warnings: [] }),
    inspect: async (name) => volumes.inspect(name),
    async remove(name, force = false) {
      if (await volumes.remove(name, force)) events.emit("volume", "destroy", name, { driver: "local" });
    },
    async prune(filters = {}) {
      const report = await volumes.prune(filters);
      for (const name of report.deleted) events.emit("volume", "destroy", name, { driver: "local" });
      events.emit("volume", "prune", "", { reclaimed: String(report.spaceReclaimed) });
      return report;
    },
  };
}
