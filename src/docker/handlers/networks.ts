import type { EndpointSettings } from "#api/docker/container-types.ts";
import type { NetworkCreateBody } from "#api/docker/object-types.ts";
import { checkShape } from "../body-shape.ts";
import { networkConnect, networkCreate, networkDisconnect } from "../body-shapes.ts";
import { type Call, requireJson, type Route, sendJson, sendStatus } from "../call.ts";
import { parseFilters } from "../filters.ts";

function id(call: Call): string {
  return call.params["id"] as string;
}

async function list(call: Call): Promise<void> {
  const networks = await call.engine.networks.list(parseFilters(call.query.get("filters")));
  // Since 1.28 a list does not name the containers.
  const brief = networks.map((network) => (call.version >= 28 ? { ...network, Containers: {} } : network));
  sendJson(call, 200, brief);
}

async function inspect(call: Call): Promise<void> {
  sendJson(call, 200, await call.engine.networks.inspect(id(call)));
}

async function create(call: Call): Promise<void> {
  const body = await requireJson(call);
  checkShape(body, networkCreate, "CreateRequest");
  sendJson(call, 201, await call.engine.networks.create(body as unknown as NetworkCreateBody));
}

async function connect(call: Call): Promise<void> {
  const body = await requireJson(call);
  checkShape(body, networkConnect, "ConnectOptions");
  const { Container, EndpointConfig } = body as { Container?: string; EndpointConfig?: EndpointSettings | null };
  await call.engine.networks.connect(id(call), Container ?? "", EndpointConfig);
  sendStatus(call, 200);
}

async function disconnect(call: Call): Promise<void> {
  const body = await requireJson(call);
  checkShape(body, networkDisconnect, "DisconnectOptions");
  const { Container, Force } = body as { Container?: string; Force?: boolean };
  await call.engine.networks.disconnect(id(call), Container ?? "", Force === true);
  sendStatus(call, 200);
}

async function remove(call: Call): Promise<void> {
  await call.engine.networks.remove(id(call));
  sendStatus(call, 204);
}

async function prune(call: Call): Promise<void> {
  const { deleted } = await call.engine.networks.prune(parseFilters(call.query.get("filters")));
  sendJson(call, 200, { NetworksDeleted: deleted.length === 0 ? null : deleted });
}

export const networkRoutes: Route[] = [
  { method: "GET", pattern: "/networks", handle: list },
  { method: "GET", pattern: "/networks/", handle: list },
  { method: "POST", pattern: "/networks/create", handle: create },
  { method: "POST", pattern: "/networks/prune", handle: prune, since: 25 },
  { method: "GET", pattern: "/networks/{id}", handle: inspect },
  { method: "DELETE", pattern: "/networks/{id}", handle: remove },
  { method: "POST", pattern: "/networks/{id}/connect", handle: connect },
  { method: "POST", pattern: "/networks/{id}/disconnect", handle: disconnect },
];
