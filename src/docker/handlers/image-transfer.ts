import { GantryError } from "#base/errors.ts";
import type { PullOptions } from "#engine/engine.ts";
import { type Call, type Route, sendStream } from "../call.ts";
import { ProgressStream } from "../progress-stream.ts";
import { platformOf } from "../platform-query.ts";
import { boolOr } from "../query.ts";
import { decodeRegistryAuth } from "../registry-auth.ts";

/** `docker pull` and `docker import`. */
async function create(call: Call): Promise<void> {
  const { query } = call;
  const reference = query.get("fromImage") ?? "";
  if (reference === "") return importTar(call);
  const tag = query.get("tag") ?? "";
  const platform = query.get("platform") ?? "";
  const auth = decodeRegistryAuth(call.request.header("x-registry-auth"));
  const progress = new ProgressStream(call);
  const options: PullOptions = { progress: progress.write, signal: call.request.signal };
  if (tag !== "") options.tag = tag;
  // Without a tag the API pulls them all; the CLI always sends one.
  else if (!/[:@][^/]*$/.test(reference)) options.allTags = true;
  if (platform !== "") options.platform = platform;
  if (auth !== undefined) options.auth = auth;
  await progress.run(() => call.engine.images.pull(reference, options));
}

async function importTar(call: Call): Promise<void> {
  const { query } = call;
  const source = query.get("fromSrc") ?? "";
  if (source === "") throw new GantryError("invalid", "invalid reference format");
  const progress = new ProgressStream(call);
  const text = (key: string): string | undefined => (query.get(key) ?? "") || undefined;
  const repository = text("repo");
  const tag = text("tag");
  const message = text("message");
  const platform = text("platform");
  await progress.run(async () => {
    const imageId = await call.engine.images.import(source === "-" ? call.request.body : source, {
      progress: progress.write,
      signal: call.request.signal,
      changes: query.getAll("changes"),
      ...(repository === undefined ? {} : { repository }),
      ...(tag === undefined ? {} : { tag }),
      ...(message === undefined ? {} : { message }),
      ...(platform === undefined ? {} : { platform }),
    });
    progress.write({ status: imageId });
  });
}

async function push(call: Call): Promise<void> {
  const tag = call.query.get("tag") ?? "";
  const auth = decodeRegistryAuth(call.request.header("x-registry-auth"));
  const progress = new ProgressStream(call);
  await progress.run(() =>
    call.engine.images.push(call.params["name"] as string, {
      progress: progress.write,
      signal: call.request.signal,
      ...(tag === "" ? {} : { tag }),
      ...(auth === undefined ? {} : { auth }),
    }),
  );
}

async function load(call: Call): Promise<void> {
  const progress = new ProgressStream(call);
  const quiet = boolOr(call.query, "quiet", true);
  const platform = platformOf(call, 48);
  // docker tells every failure of a load in the stream.
  progress.begin();
  await progress.run(() =>
    call.engine.images.load(call.request.body, { progress: progress.write, quiet, ...platform }),
  );
}

async function save(call: Call): Promise<void> {
  const single = call.params["name"];
  const names = single === undefined ? call.query.getAll("names").flatMap((list) => list.split(",")) : [single];
  await sendStream(
    call,
    { "Content-Type": "application/x-tar" },
    await call.engine.images.save(names, platformOf(call, 48)),
  );
}

export const imageTransferRoutes: Route[] = [
  { method: "POST", pattern: "/images/create", handle: create },
  { method: "POST", pattern: "/images/load", handle: load },
  { method: "GET", pattern: "/images/get", handle: save },
  { method: "GET", pattern: "/images/{name...}/get", handle: save },
  { method: "POST", pattern: "/images/{name...}/push", handle: push },
];
