import type { VolumeCreateBody } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import { checkShape } from "../body-shape.ts";
import { volumeCreate } from "../body-shapes.ts";
import { type Call, readJson, type Route, sendJson, sendStatus } from "../call.ts";
import { parseFilters } from "../filters.ts";
import { boolValue } from "../query.ts";
import { notSwarmManager } from "./swarm.ts";

async function list(call: Call): Promise<void> {
  const { Volumes, Warnings } = await call.engine.volumes.list(parseFilters(call.query.get("filters")));
  sendJson(call, 200, { Volumes, Warnings: Warnings.length === 0 ? null : Warnings });
}

async function create(call: Call): Promise<void> {
  const body = (await readJson(call)) ?? {};
  checkShape(body, volumeCreate, "CreateOptions");
  if (body["ClusterVolumeSpec"] !== undefined && body["ClusterVolumeSpec"] !== null) throw notSwarmManager();
  sendJson(call, 201, await call.engine.volumes.create(body as VolumeCreateBody));
}

async function inspect(call: Call): Promise<void> {
  sendJson(call, 200, await call.engine.volumes.inspect(call.params["name"] as string));
}

async function remove(call: Call): Promise<void> {
  await call.engine.volumes.remove(call.params["name"] as string, boolValue(call.query, "force"));
  sendStatus(call, 204);
}

async function prune(call: Call): Promise<void> {
  const filters: Record<string, readonly string[]> = { ...parseFilters(call.query.get("filters")) };
  // Before 1.42 named volumes were pruned, too.
  if (call.version < 42) {
    if (filters["all"] !== undefined) throw new GantryError("invalid", "invalid filter 'all'");
    filters["all"] = ["true"];
  }
  const report = await call.engine.volumes.prune(filters);
  sendJson(call, 200, { VolumesDeleted: report.deleted, SpaceReclaimed: report.spaceReclaimed });
}

export const volumeRoutes: Route[] = [
  { method: "GET", pattern: "/volumes", handle: list },
  { method: "POST", pattern: "/volumes/create", handle: create },
  { method: "POST", pattern: "/volumes/prune", handle: prune, since: 25 },
  { method: "GET", pattern: "/volumes/{name}", handle: inspect },
  { method: "DELETE", pattern: "/volumes/{name}", handle: remove },
  {
    method: "PUT",
    pattern: "/volumes/{name}",
    since: 42,
    handle: () => {
      throw notSwarmManager();
    },
  },
];
