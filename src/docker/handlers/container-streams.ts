import type { Duplex } from "node:stream";
import { GantryError } from "#base/errors.ts";
import type { AttachOptions, LogsOptions, StreamSession } from "#engine/engine.ts";
import { acceptWebSocket } from "#web/websocket.ts";
import { type Call, type Route, sendJson, sendStatus, writeChunk } from "../call.ts";
import { boolOr, boolValue, terminalSize, timeValue } from "../query.ts";
import { joinPieces } from "../stdcopy.ts";
import { hijack, joinStreams } from "../streams.ts";

function id(call: Call): string {
  return call.params["id"] as string;
}

function attachOptions(call: Call): AttachOptions {
  const { query } = call;
  const detachKeys = query.get("detachKeys") ?? "";
  return {
    stdin: boolValue(query, "stdin"),
    stdout: boolValue(query, "stdout"),
    stderr: boolValue(query, "stderr"),
    stream: boolValue(query, "stream"),
    logs: boolValue(query, "logs"),
    ...(detachKeys === "" ? {} : { detachKeys }),
  };
}

async function attach(call: Call): Promise<void> {
  const session = await call.engine.containers.attach(id(call), attachOptions(call));
  let raw: Duplex;
  try {
    raw = hijack(call, session.tty);
  } catch (error) {
    session.close();
    throw error;
  }
  await joinStreams(raw, session, !session.tty, call.request.signal);
}

/** Attach for browsers: what the container writes comes unframed, in binary messages. */
async function attachWebSocket(call: Call): Promise<void> {
  if (call.request.upgrade !== "websocket") throw new GantryError("invalid", "not websocket protocol");
  // Older clients name no stream and mean all.
  const options = attachOptions(call);
  if (!options.stdin && !options.stdout && !options.stderr) {
    options.stdin = true;
    options.stdout = true;
    options.stderr = true;
  }
  const session: StreamSession = await call.engine.containers.attach(id(call), options);
  const { socket } = await acceptWebSocket(call.request, call.response, []);
  socket.on("message", (message: Buffer) => {
    socket.pause();
    void session.write(message).finally(() => socket.resume());
  });
  socket.once("close", () => session.close());
  for await (const { data } of session.output) {
    if (socket.readyState !== socket.OPEN) break;
    await new Promise<void>((resolve) => socket.send(data, { binary: true }, () => resolve()));
  }
  socket.close();
}

/** An attribute of a log's entries, each half as in the query of a URL. */
function detail([key, value]: readonly [string, string]): string {
  const escaped = (text: string): string =>
    encodeURIComponent(text)
      .replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
      .replaceAll("%20", "+");
  return `${escaped(key)}=${escaped(value)}`;
}

async function logs(call: Call): Promise<void> {
  const { query, request, response } = call;
  const stdout = boolValue(query, "stdout");
  const stderr = boolValue(query, "stderr");
  if (!stdout && !stderr) throw new GantryError("invalid", "Bad parameters: you must choose at least one stream");
  const since = timeValue(query, "since");
  const until = timeValue(query, "until");
  const options: LogsOptions = { stdout, stderr, follow: boolValue(query, "follow"), signal: request.signal };
  // What is no number means all, as docker takes it.
  const tail = query.get("tail") ?? "";
  if (/^\d+$/.test(tail)) options.tail = Number(tail);
  if (since !== undefined) options.since = since;
  if (until !== undefined) options.until = until;
  const result = await call.engine.containers.logs(id(call), options);
  const framed = !result.tty && call.version >= 42;
  response.start(200, {
    "Content-Type": framed ? "application/vnd.docker.multiplexed-stream" : "application/vnd.docker.raw-stream",
  });
  const timestamps = boolValue(query, "timestamps");
  const details = boolValue(query, "details") ? `${result.attributes.map(detail).join(",")} ` : "";
  for await (const entries of result.entries) {
    const pieces = entries.map((entry) => ({
      stream: entry.stream,
      prefix: `${timestamps ? `${entry.time} ` : ""}${details}`,
      data: entry.data,
    }));
    if (!(await writeChunk(response, joinPieces(pieces, !result.tty)))) return;
  }
  response.end();
}

async function resize(call: Call): Promise<void> {
  const size = terminalSize(call.query);
  await call.engine.containers.resize(id(call), size);
  sendStatus(call, 200);
}

async function stats(call: Call): Promise<void> {
  const { query, request, response } = call;
  const stream = boolOr(query, "stream", true);
  const oneShot = call.version >= 41 && boolValue(query, "one-shot");
  if (stream && oneShot) throw new GantryError("invalid", "cannot have stream=true and one-shot=true");
  const readings = await call.engine.containers.stats(id(call), { stream, oneShot, signal: request.signal });
  if (!stream) {
    for await (const reading of readings) {
      sendJson(call, 200, reading);
      return;
    }
    throw new GantryError("not-found", `No such container: ${id(call)}`);
  }
  response.start(200, { "Content-Type": "application/json" });
  for await (const reading of readings) {
    if (!(await writeChunk(response, `${JSON.stringify(reading)}\n`))) return;
  }
  response.end();
}

export const containerStreamRoutes: Route[] = [
  { method: "POST", pattern: "/containers/{id...}/attach", handle: attach },
  { method: "GET", pattern: "/containers/{id...}/attach/ws", handle: attachWebSocket },
  { method: "GET", pattern: "/containers/{id...}/logs", handle: logs },
  { method: "POST", pattern: "/containers/{id...}/resize", handle: resize },
  { method: "GET", pattern: "/containers/{id...}/stats", handle: stats },
];
