import type {
  ContainerConfig,
  ContainerCreateBody,
  ContainerInspect,
  ContainerUpdateBody,
} from "#api/docker/container-types.ts";
import { type ErrorCode, GantryError } from "#base/errors.ts";
import type { CommitOptions, WaitCondition } from "#engine/engine.ts";
import { checkShape } from "../body-shape.ts";
import { containerConfig, containerCreate, containerUpdate } from "../body-shapes.ts";
import { type Call, readJson, requireJson, type Route, sendJson, sendStatus, sendStream } from "../call.ts";
import { parseFilters } from "../filters.ts";
import { boolOr, boolValue, intValue } from "../query.ts";

function id(call: Call): string {
  return call.params["id"] as string;
}

async function list(call: Call): Promise<void> {
  const { query } = call;
  const limit = intValue(query, "limit");
  const filters = parseFilters(query.get("filters"));
  const containers = await call.engine.containers.list({
    all: boolValue(query, "all"),
    size: boolValue(query, "size"),
    filters,
    ...(limit === undefined || limit <= 0 ? {} : { limit }),
  });
  sendJson(call, 200, containers);
}

async function create(call: Call): Promise<void> {
  const body = await requireJson(call);
  checkShape(body, containerCreate, "CreateRequest");
  if (Object.keys(body).every((key) => key === "HostConfig" || key === "NetworkingConfig")) {
    throw new GantryError("invalid", "config cannot be empty in order to create a container");
  }
  const { query } = call;
  const platform = query.get("platform") ?? "";
  const name = query.get("name")?.replace(/^\//, "") ?? "";
  const made = await call.engine.containers.create(
    name === "" ? undefined : name,
    createBody(body as ContainerCreateBody, call.version),
    call.version >= 41 && platform !== "" ? { platform } : {},
  );
  sendJson(call, 201, { Id: made.Id, Warnings: made.Warnings });
}

/** What older clients cannot say is set to what their daemon took for granted. */
function createBody(body: ContainerCreateBody, version: number): ContainerCreateBody {
  const host = { ...body.HostConfig };
  // API 1.40 made "private" the default of the IPC mode.
  if (version < 40 && (host.IpcMode ?? "") === "") host.IpcMode = "shareable";
  // Since 1.42 these are no longer read.
  if (version >= 42) {
    delete host.KernelMemory;
    delete host.KernelMemoryTCP;
  }
  if (version < 41) delete host.CgroupnsMode;
  if (version < 43) delete host.Annotations;
  if (version >= 44) return { ...body, HostConfig: host };
  const { Healthcheck, ...rest } = body;
  if (Healthcheck === undefined || Healthcheck === null) return { ...rest, HostConfig: host };
  const { StartInterval: _unknown, ...older } = Healthcheck;
  return { ...rest, Healthcheck: older, HostConfig: host };
}

async function inspect(call: Call): Promise<void> {
  const found = await call.engine.containers.inspect(id(call), { size: boolValue(call.query, "size") });
  sendJson(call, 200, inspectFor(found, call.version));
}

function inspectFor(found: ContainerInspect, version: number): unknown {
  if (version >= 45) return found;
  // Before 1.45 the short id stood among the aliases of user-defined networks.
  const networks: ContainerInspect["NetworkSettings"]["Networks"] = {};
  const shortId = found.Id.slice(0, 12);
  for (const [name, endpoint] of Object.entries(found.NetworkSettings.Networks)) {
    const plain = ["bridge", "host", "none"].includes(name) || endpoint.Aliases?.includes(shortId) === true;
    networks[name] = plain ? endpoint : { ...endpoint, Aliases: [...(endpoint.Aliases ?? []), shortId] };
  }
  return { ...found, NetworkSettings: { ...found.NetworkSettings, Networks: networks } };
}

async function start(call: Call): Promise<void> {
  const body = await call.request.readBody(1024 * 1024);
  if (body.length > 7) {
    throw new GantryError(
      "invalid",
      "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
    );
  }
  const detachKeys = call.query.get("detachKeys");
  await call.engine.containers.start(id(call), detachKeys === null ? {} : { detachKeys });
  sendStatus(call, 204);
}

function stopOptions(call: Call): { timeout?: number; signal?: string } {
  const timeout = intValue(call.query, "t");
  const signal = call.version >= 42 ? (call.query.get("signal") ?? "") : "";
  return { ...(timeout === undefined ? {} : { timeout }), ...(signal === "" ? {} : { signal }) };
}

async function stop(call: Call): Promise<void> {
  const options = stopOptions(call);
  await telling(
    `cannot stop container: ${id(call)}: `,
    () => call.engine.containers.stop(id(call), options),
    "internal",
  );
  sendStatus(call, 204);
}

async function restart(call: Call): Promise<void> {
  const options = stopOptions(call);
  await telling(
    `Cannot restart container ${id(call)}: `,
    () => call.engine.containers.restart(id(call), options),
    "internal",
  );
  sendStatus(call, 204);
}

async function kill(call: Call): Promise<void> {
  const signal = call.query.get("signal") ?? "";
  await telling(`cannot kill container: ${id(call)}: `, () =>
    call.engine.containers.kill(id(call), signal === "" ? undefined : signal),
  );
  sendStatus(call, 204);
}

/** Errors say what could not be done to whom, as the user calls it; with `code`, all but that it is not there. */
async function telling(prefix: string, act: () => Promise<void>, code?: ErrorCode): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof GantryError) || error.code === "not-modified" || error.message.startsWith(prefix))
      throw error;
    if (code !== undefined && error.code === "not-found") throw error;
    throw new GantryError(code ?? error.code, prefix + error.message, { cause: error });
  }
}

async function pause(call: Call): Promise<void> {
  await call.engine.containers.pause(id(call));
  sendStatus(call, 204);
}

async function unpause(call: Call): Promise<void> {
  await call.engine.containers.unpause(id(call));
  sendStatus(call, 204);
}

async function wait(call: Call): Promise<void> {
  const { response, request } = call;
  const text = call.query.get("condition") ?? "";
  const condition = (text === "" ? "not-running" : text) as WaitCondition;
  if (call.version >= 30 && !["not-running", "next-exit", "removed"].includes(condition)) {
    throw new GantryError("invalid", `invalid condition: ${JSON.stringify(text)}`);
  }
  const { result } = await call.engine.containers.wait(id(call), condition, request.signal);
  // The client starts the container only after it has seen these headers.
  if (call.version >= 30) response.start(200, { "Content-Type": "application/json" });
  const outcome = await result;
  const body = call.version < 42 ? { Error: null, ...outcome } : outcome;
  if (call.version >= 30) response.end(`${JSON.stringify(body)}\n`);
  else sendJson(call, 200, body);
}

async function remove(call: Call): Promise<void> {
  await call.engine.containers.remove(id(call), {
    force: boolValue(call.query, "force"),
    volumes: boolValue(call.query, "v"),
    link: boolValue(call.query, "link"),
  });
  sendStatus(call, 204);
}

async function rename(call: Call): Promise<void> {
  const name = call.query.get("name") ?? "";
  if (name === "") throw new GantryError("invalid", "Neither old nor new names may be empty");
  await call.engine.containers.rename(id(call), name.replace(/^\//, ""));
  sendStatus(call, 204);
}

async function update(call: Call): Promise<void> {
  const body = await requireJson(call);
  checkShape(body, containerUpdate, "UpdateConfig");
  const { Warnings } = await call.engine.containers.update(id(call), body as ContainerUpdateBody);
  sendJson(call, 200, { Warnings: Warnings.length === 0 ? null : Warnings });
}

async function top(call: Call): Promise<void> {
  const args = call.query.get("ps_args") ?? "";
  const { Processes, Titles } = await call.engine.containers.top(id(call), args === "" ? undefined : args);
  sendJson(call, 200, { Processes, Titles });
}

async function diff(call: Call): Promise<void> {
  const changes = await call.engine.containers.diff(id(call));
  sendJson(call, 200, changes.length === 0 ? null : changes);
}

async function exportTar(call: Call): Promise<void> {
  const tar = await call.engine.containers.export(id(call));
  await sendStream(call, { "Content-Type": "application/octet-stream" }, tar);
}

async function prune(call: Call): Promise<void> {
  const report = await call.engine.containers.prune(parseFilters(call.query.get("filters")));
  sendJson(call, 200, {
    ContainersDeleted: report.deleted.length === 0 ? null : report.deleted,
    SpaceReclaimed: report.spaceReclaimed,
  });
}

async function commit(call: Call): Promise<void> {
  const { query } = call;
  const config = await readJson(call);
  checkShape(config, containerConfig, "ContainerConfig");
  const container = query.get("container") ?? "";
  if (container === "") throw new GantryError("invalid", 'invalid name or ID supplied: ""');
  const text = (key: string): string | undefined => (query.get(key) ?? "") || undefined;
  const changes = query
    .getAll("changes")
    .flatMap((change) => change.split("\n"))
    .filter((line) => line.trim() !== "");
  const options: CommitOptions = { pause: boolOr(query, "pause", true), changes };
  const repository = text("repo");
  const tag = text("tag");
  const comment = text("comment");
  const author = text("author");
  if (repository !== undefined) options.repository = repository;
  if (tag !== undefined) options.tag = tag;
  if (comment !== undefined) options.comment = comment;
  if (author !== undefined) options.author = author;
  if (config !== undefined) options.config = config as ContainerConfig;
  sendJson(call, 201, { Id: await call.engine.containers.commit(container, options) });
}

export const containerRoutes: Route[] = [
  { method: "GET", pattern: "/containers/json", handle: list },
  { method: "POST", pattern: "/containers/create", handle: create },
  { method: "POST", pattern: "/containers/prune", handle: prune, since: 25 },
  { method: "GET", pattern: "/containers/{id...}/json", handle: inspect },
  { method: "GET", pattern: "/containers/{id...}/top", handle: top },
  { method: "GET", pattern: "/containers/{id...}/changes", handle: diff },
  { method: "GET", pattern: "/containers/{id...}/export", handle: exportTar },
  { method: "POST", pattern: "/containers/{id...}/start", handle: start },
  { method: "POST", pattern: "/containers/{id...}/stop", handle: stop },
  { method: "POST", pattern: "/containers/{id...}/restart", handle: restart },
  { method: "POST", pattern: "/containers/{id...}/kill", handle: kill },
  { method: "POST", pattern: "/containers/{id...}/pause", handle: pause },
  { method: "POST", pattern: "/containers/{id...}/unpause", handle: unpause },
  { method: "POST", pattern: "/containers/{id...}/wait", handle: wait },
  { method: "POST", pattern: "/containers/{id...}/rename", handle: rename },
  { method: "POST", pattern: "/containers/{id...}/update", handle: update },
  { method: "DELETE", pattern: "/containers/{id...}", handle: remove },
  { method: "POST", pattern: "/commit", handle: commit },
];
