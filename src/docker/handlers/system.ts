import type { ImageSummary, SystemInfo } from "#api/docker/object-types.ts";
import { dockerRelease } from "#api/docker/release.ts";
import { GantryError } from "#base/errors.ts";
import { apiVersionText, newestMinor, oldestMinor } from "../api-version.ts";
import { type Call, readJson, type Route, sendJson, writeChunk } from "../call.ts";
import { parseFilters } from "../filters.ts";
import { timeValue } from "../query.ts";
import { pickAuth } from "../registry-auth.ts";

function ping(call: Call): void {
  const { response } = call;
  const headers = {
    // 1 is the classic builder: with 2 the CLI would talk BuildKit.
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    Pragma: "no-cache",
    Swarm: "inactive",
    "Content-Type": "text/plain; charset=utf-8",
  };
  if (call.request.method === "HEAD") response.send(200, { ...headers, "Content-Length": 0 });
  else response.send(200, headers, "OK");
}

/** Go's names of Node's architectures. */
const goArch: Record<string, string> = { x64: "amd64", arm64: "arm64", ia32: "386", arm: "arm" };

async function version(call: Call): Promise<void> {
  const { options, engine } = call;
  const facts = await engine.version();
  const arch = goArch[facts.arch] ?? facts.arch;
  const buildTime = options.buildTime ?? "";
  const gitCommit = options.gitCommit ?? "";
  sendJson(call, 200, {
    Platform: { Name: `Gantry ${options.version}` },
    Version: dockerRelease,
    ApiVersion: apiVersionText(newestMinor),
    MinAPIVersion: apiVersionText(oldestMinor),
    Os: facts.os,
    Arch: arch,
    GitCommit: gitCommit,
    GoVersion: "",
    KernelVersion: facts.kernelVersion,
    BuildTime: buildTime,
    Components: [
      {
        Name: "Engine",
        Version: dockerRelease,
        Details: {
          ApiVersion: apiVersionText(newestMinor),
          Arch: arch,
          BuildTime: buildTime,
          Experimental: "false",
          GitCommit: gitCommit,
          GoVersion: "",
          KernelVersion: facts.kernelVersion,
          MinAPIVersion: apiVersionText(oldestMinor),
          Os: facts.os,
        },
      },
      { Name: "gantry", Version: options.version, Details: { NodeVersion: process.versions.node } },
      ...facts.components,
    ],
  });
}

async function info(call: Call): Promise<void> {
  sendJson(call, 200, infoFor(await call.engine.info(), call.version));
}

/** What came with, and went before, the client's version of the API. */
function infoFor(info: SystemInfo, version: number): SystemInfo {
  const out = { ...info };
  if (version >= 42) delete out["KernelMemory"];
  if (version < 47) {
    out["RegistryConfig"] = {
      AllowNondistributableArtifactsCIDRs: null,
      AllowNondistributableArtifactsHostnames: null,
      ...(info["RegistryConfig"] as object),
    };
  }
  if (version < 49) {
    delete out["FirewallBackend"];
    for (const program of ["ContainerdCommit", "RuncCommit", "InitCommit"]) {
      const commit = info[program] as { ID: string };
      if (commit.ID !== "") out[program] = { ...commit, Expected: commit.ID };
    }
  }
  if (version < 50) Object.assign(out, { BridgeNfIptables: false, BridgeNfIp6tables: false });
  return out;
}

async function events(call: Call): Promise<void> {
  const { query, response, request } = call;
  const since = timeValue(query, "since");
  const until = timeValue(query, "until");
  const filters = parseFilters(query.get("filters"));
  if (since !== undefined && until !== undefined && since > until) {
    throw new GantryError(
      "invalid",
      `\`since\` time (${query.get("since")}) cannot be after \`until\` time (${query.get("until")})`,
    );
  }
  const stream = call.engine.events({
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    filters,
    signal: request.signal,
  });
  response.start(200, { "Content-Type": "application/json" });
  for await (const event of stream) {
    if (!(await writeChunk(response, `${JSON.stringify(event)}\n`))) return;
  }
  response.end();
}

const usageTypes = ["container", "image", "volume", "build-cache"] as const;
type UsageType = (typeof usageTypes)[number];

/** VirtualSize, which was the same as Size, went with API 1.44. */
function usedImage(image: ImageSummary, minor: number): object {
  const shown = image.RepoDigests?.length === 0 ? { ...image, RepoDigests: null } : image;
  return minor < 44 ? { ...shown, VirtualSize: image.Size } : shown;
}

async function diskUsage(call: Call): Promise<void> {
  const { query, version: minor } = call;
  const asked = minor >= 42 ? query.getAll("type") : [];
  const types = asked.map((type) => {
    const known = usageTypes.find((one) => one === type);
    if (known === undefined) throw new GantryError("invalid", `unknown object type: ${type}`);
    return known;
  });
  const usage = await call.engine.diskUsage(types.length === 0 ? undefined : types);
  const wanted = (type: UsageType): boolean => types.length === 0 || types.includes(type);
  sendJson(call, 200, {
    ...(wanted("image") ? { LayersSize: usage.LayersSize } : {}),
    Images: wanted("image") ? usage.Images.map((image) => usedImage(image, minor)) : null,
    Containers: wanted("container") ? usage.Containers : null,
    Volumes: wanted("volume") ? usage.Volumes : null,
    BuildCache: wanted("build-cache") ? usage.BuildCache : null,
  });
}

async function auth(call: Call): Promise<void> {
  const body = (await readJson(call)) ?? {};
  const answer = await call.engine.images.login(pickAuth(body) ?? {});
  sendJson(call, 200, { IdentityToken: "", ...answer });
}

export const systemRoutes: Route[] = [
  { method: "GET", pattern: "/_ping", handle: ping },
  { method: "HEAD", pattern: "/_ping", handle: ping },
  { method: "GET", pattern: "/version", handle: version },
  { method: "GET", pattern: "/info", handle: info },
  { method: "GET", pattern: "/events", handle: events },
  { method: "GET", pattern: "/system/df", handle: diskUsage },
  { method: "POST", pattern: "/auth", handle: auth },
];
