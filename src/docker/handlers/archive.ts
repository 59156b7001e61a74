import type { PathStat } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { type Call, type Route, sendStatus, sendStream } from "../call.ts";
import { boolValue } from "../query.ts";

function archivePath(call: Call): string {
  const path = call.query.get("path") ?? "";
  if (path === "") throw new GantryError("invalid", "bad parameter: path cannot be empty");
  return path;
}

function statHeader(stat: PathStat): Record<string, string> {
  return { "X-Docker-Container-Path-Stat": Buffer.from(JSON.stringify(stat)).toString("base64") };
}

async function head(call: Call): Promise<void> {
  const stat = await call.engine.containers.archiveStat(call.params["id"] as string, archivePath(call));
  call.response.send(200, statHeader(stat));
}

async function get(call: Call): Promise<void> {
  const { stat, tar } = await call.engine.containers.archiveOut(call.params["id"] as string, archivePath(call));
  await sendStream(call, { "Content-Type": "application/x-tar", ...statHeader(stat) }, tar);
}

async function put(call: Call): Promise<void> {
  await call.engine.containers.archiveIn(call.params["id"] as string, archivePath(call), call.request.body, {
    noOverwriteDirNonDir: boolValue(call.query, "noOverwriteDirNonDir"),
    copyUidGid: boolValue(call.query, "copyUIDGID"),
  });
  sendStatus(call, 200);
}

export const archiveRoutes: Route[] = [
  { method: "HEAD", pattern: "/containers/{id...}/archive", handle: head },
  { method: "GET", pattern: "/containers/{id...}/archive", handle: get },
  { method: "PUT", pattern: "/containers/{id...}/archive", handle: put },
];
