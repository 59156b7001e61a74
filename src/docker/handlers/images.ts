import type { ImageInspect, ImageSummary } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import { type Call, type Route, sendJson, sendStatus } from "../call.ts";
import { parseFilters } from "../filters.ts";
import { platformOf } from "../platform-query.ts";
import { boolValue, intValue } from "../query.ts";
import { decodeRegistryAuth } from "../registry-auth.ts";

function name(call: Call): string {
  return call.params["name"] as string;
}

async function list(call: Call): Promise<void> {
  const { query } = call;
  const filters: Record<string, readonly string[]> = { ...parseFilters(query.get("filters")) };
  // An older way to say filters={"reference":…}.
  const legacy = query.get("filter") ?? "";
  if (call.version < 41 && legacy !== "") filters["reference"] = [...(filters["reference"] ?? []), legacy];
  const images = await call.engine.images.list({
    all: boolValue(query, "all"),
    filters,
    sharedSize: call.version >= 42 && boolValue(query, "shared-size"),
  });
  sendJson(call, 200, call.version < 44 ? images.map(withVirtualSize) : images);
}

/** API 1.44 took VirtualSize away; it was the same as Size. */
function withVirtualSize<T extends ImageSummary | ImageInspect>(image: T): T & { VirtualSize: number } {
  return { ...image, VirtualSize: image.Size };
}

async function inspect(call: Call): Promise<void> {
  const image = await call.engine.images.inspect(name(call), platformOf(call, 49));
  sendJson(call, 200, inspectFor(image, call.version));
}

/** What a configuration showed of the container that it once was a part of, until API 1.50. */
const containerFields = {
  Hostname: "",
  Domainname: "",
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: "",
};
/** Docker 28 shows these also where an image has none. */
const configFields = {
  User: "",
  Env: null,
  Cmd: null,
  Volumes: null,
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
};

function inspectFor(image: ImageInspect, version: number): object {
  const empty = { ...(version < 50 ? containerFields : {}), ...configFields };
  const shown = { ...image, Config: { ...empty, ...image.Config } };
  return version < 44
    ? { ...withVirtualSize(shown as ImageInspect), ContainerConfig: { ...containerFields, ...configFields } }
    : shown;
}

async function history(call: Call): Promise<void> {
  sendJson(call, 200, await call.engine.images.history(name(call), platformOf(call, 48)));
}

async function tag(call: Call): Promise<void> {
  const repository = call.query.get("repo") ?? "";
  const label = call.query.get("tag") ?? "";
  await call.engine.images.tag(name(call), repository, label === "" ? undefined : label);
  sendStatus(call, 201);
}

async function remove(call: Call): Promise<void> {
  if (name(call).trim() === "") throw new GantryError("invalid", "image name cannot be blank");
  const removed = await call.engine.images.remove(name(call), {
    force: boolValue(call.query, "force"),
    noPrune: boolValue(call.query, "noprune"),
  });
  sendJson(call, 200, removed);
}

async function prune(call: Call): Promise<void> {
  const report = await call.engine.images.prune(parseFilters(call.query.get("filters")));
  sendJson(call, 200, {
    ImagesDeleted: report.deleted.length === 0 ? null : report.deleted,
    SpaceReclaimed: report.spaceReclaimed,
  });
}

async function search(call: Call): Promise<void> {
  const { query } = call;
  const limit = intValue(query, "limit");
  const auth = decodeRegistryAuth(call.request.header("x-registry-auth"));
  const found = await call.engine.images.search(query.get("term") ?? "", {
    filters: parseFilters(query.get("filters")),
    ...(limit === undefined ? {} : { limit }),
    ...(auth === undefined ? {} : { auth }),
  });
  sendJson(call, 200, found);
}

async function distribution(call: Call): Promise<void> {
  const auth = decodeRegistryAuth(call.request.header("x-registry-auth"));
  sendJson(call, 200, await call.engine.images.distribution(name(call), auth));
}

export const imageRoutes: Route[] = [
  { method: "GET", pattern: "/images/json", handle: list },
  { method: "GET", pattern: "/images/search", handle: search },
  { method: "POST", pattern: "/images/prune", handle: prune, since: 25 },
  { method: "GET", pattern: "/images/{name...}/json", handle: inspect },
  { method: "GET", pattern: "/images/{name...}/history", handle: history },
  { method: "POST", pattern: "/images/{name...}/tag", handle: tag },
  { method: "DELETE", pattern: "/images/{name...}", handle: remove },
  { method: "GET", pattern: "/distribution/{name...}/json", handle: distribution, since: 30 },
];
