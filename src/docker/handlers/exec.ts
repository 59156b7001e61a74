import type { ExecCreateBody } from "#api/docker/container-types.ts";
import { errorMessage, GantryError } from "#base/errors.ts";
import type { ExecStartOptions, StreamSession } from "#engine/engine.ts";
import { checkShape } from "../body-shape.ts";
import { execCreate, execStart } from "../body-shapes.ts";
import { type Call, readJson, requireJson, type Route, sendJson, sendStatus } from "../call.ts";
import { terminalSize } from "../query.ts";
import { stdcopyFrame } from "../stdcopy.ts";
import { endGently, hijack, joinStreams } from "../streams.ts";

async function create(call: Call): Promise<void> {
  const body = await requireJson(call);
  checkShape(body, execCreate, "ExecOptions");
  const options = body as ExecCreateBody;
  if ((options.Cmd?.length ?? 0) === 0) throw new GantryError("invalid", "No exec command specified");
  const execId = await call.engine.containers.execCreate(call.params["id"] as string, options);
  sendJson(call, 201, { Id: execId });
}

async function start(call: Call): Promise<void> {
  const body = (await readJson(call)) ?? {};
  checkShape(body, execStart, "ExecStartOptions");
  const { Detach, Tty, ConsoleSize } = body as { Detach?: boolean; Tty?: boolean; ConsoleSize?: number[] | null };
  const execId = call.params["id"] as string;
  const options: ExecStartOptions = { detach: Detach === true, tty: Tty === true };
  if (call.version >= 42 && ConsoleSize !== undefined && ConsoleSize !== null) options.consoleSize = ConsoleSize;
  if (options.detach) {
    await call.engine.containers.execStart(execId, options);
    sendStatus(call, 200);
    return;
  }
  // Clients read the head of the answer before they look for output: it goes out first, once the exec is known.
  await call.engine.containers.execInspect(execId);
  const framed = options.tty !== true;
  const raw = hijack(call, !framed);
  let session: StreamSession | undefined;
  try {
    session = await call.engine.containers.execStart(execId, options);
  } catch (error) {
    // As docker: why a command cannot be run is said in its output.
    const text = Buffer.from(`${errorMessage(error)}\r\n`);
    raw.write(framed ? stdcopyFrame("stdout", text) : text);
  }
  if (session === undefined) endGently(raw);
  else await joinStreams(raw, session, framed, call.request.signal);
}

async function inspect(call: Call): Promise<void> {
  sendJson(call, 200, await call.engine.containers.execInspect(call.params["id"] as string));
}

async function resize(call: Call): Promise<void> {
  const size = terminalSize(call.query);
  await call.engine.containers.execResize(call.params["id"] as string, size);
  sendStatus(call, 200);
}

export const execRoutes: Route[] = [
  { method: "POST", pattern: "/containers/{id...}/exec", handle: create },
  { method: "POST", pattern: "/exec/{id}/start", handle: start },
  { method: "POST", pattern: "/exec/{id}/resize", handle: resize },
  { method: "GET", pattern: "/exec/{id}/json", handle: inspect },
];
