import type { ContainerSummary } from "#api/docker/container-types.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import type { ImageService } from "#image/image-service.ts";
import { namesByLinks } from "./container-links.ts";
import type { Container } from "./container.ts";
import { statusWord } from "./container.ts";
import type { ContainerStore } from "./container-store.ts";
import { summarize } from "./container-view.ts";
import type { Filters, ListContainersOptions } from "./engine.ts";
import { asksForPods, checkFilters, booleanFilter, matchesLabels, matchesName } from "./filters.ts";
import { parsePortKey } from "./port-spec.ts";
import { parseTime } from "./timestamps.ts";

const known = [
  "ancestor",
  "before",
  "exited",
  "expose",
  "health",
  "id",
  "is-task",
  "isolation",
  "label",
  "name",
  "network",
  "publish",
  "since",
  "status",
  "volume",
];
const states = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

const healths = ["none", "starting", "healthy", "unhealthy"];

function unknownValue(key: string, what: string, value: string, known: readonly string[]): GantryError {
  return new GantryError(
    "invalid",
    `invalid filter '${key}=${value}': invalid value for ${what} (${value}): must be one of ${known.join(", ")}`,
  );
}

export interface ListParts {
  store: ContainerStore;
  images: ImageService;
  clock: Clock;
}

/** `docker ps`: newest first. */
export async function listContainers(options: ListContainersOptions, parts: ListParts): Promise<ContainerSummary[]> {
  const { store, images, clock } = parts;
  const filters = options.filters ?? {};
  checkFilters(filters, known);
  const limit = options.limit ?? 0;
  // Some filters look at containers that do not run, too.
  const all =
    options.all === true || limit > 0 || (filters["status"] ?? []).length > 0 || (filters["exited"] ?? []).length > 0;
  const test = containerFilter(filters, parts);
  const showPods = asksForPods(filters);
  const found = store
    .all()
    .filter((container) => container.record.Gantry.phase !== "creating")
    .filter((container) => showPods || !container.isPod)
    .filter((container) => all || container.state.Running)
    .filter(test)
    .sort((a, b) => parseTime(b.record.Created) - parseTime(a.record.Created));
  const now = clock.now();
  const linkNames = namesByLinks(store);
  return Promise.all(
    (limit > 0 ? found.slice(0, limit) : found).map(async (container) => {
      const summary = summarize(container, images, now, linkNames.get(container.id) ?? []);
      if (options.size !== true) return summary;
      const SizeRw = await images.snapshots.usage(container.id);
      return { ...summary, ...(SizeRw === 0 ? {} : { SizeRw }), SizeRootFs: SizeRw + imageSize(container, images) };
    }),
  );
}

export function imageSize(container: Container, images: ImageService): number {
  return container.record.Gantry.chain.reduce((sum, chainId) => sum + (images.layers.get(chainId)?.size ?? 0), 0);
}

/** `80`, `80/udp`, `8000-8010/tcp` (moby, daemon/list.go: portOp). Throws docker's sentences; a protocol may be any. */
function portFilter(key: string, value: string): { protocol: string; from: number; to: number } {
  if (value.includes(":")) {
    throw new GantryError("internal", `filter for '${key}' should not contain ':': ${value}`);
  }
  const [ports = "", protocol = "tcp"] = value.split("/");
  const refuse = (why: string): never => {
    throw new GantryError("internal", `error while looking up for ${key} ${value}: ${why}`);
  };
  if (ports === "") refuse("empty string specified for ports.");
  const [from, to] = [ports.split("-")[0] ?? "", ports.split("-")[1] ?? ports].map((text) =>
    /^\d{1,5}$/.test(text) && Number(text) <= 65_535
      ? Number(text)
      : refuse(`strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`),
  ) as [number, number];
  if (to < from) refuse("invalid range specified for port: " + ports);
  return { protocol: protocol === "" ? "tcp" : protocol, from, to };
}

function containerFilter(filters: Filters, { store, images }: ListParts): (container: Container) => boolean {
  const values = (key: string): readonly string[] => filters[key] ?? [];
  for (const status of values("status")) {
    if (!states.includes(status)) throw unknownValue("status", "state", status, states);
  }
  for (const health of values("health")) {
    if (!healths.includes(health)) throw unknownValue("health", "health", health, healths);
  }
  const exits = values("exited").map((text) => {
    if (!/^-?\d+$/.test(text))
      throw new GantryError(
        "invalid",
        `invalid filter 'exited=${text}': strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
      );
    return Number(text);
  });
  const created = (ref: string): number => parseTime(store.resolve(ref).record.Created);
  const before = values("before").map(created);
  const since = values("since").map(created);
  const isTask = booleanFilter(filters, "is-task");
  const ancestors = values("ancestor").map((ref) => images.images.find(ref));
  const ports = (key: string): { protocol: string; from: number; to: number }[] =>
    values(key).map((value) => portFilter(key, value));
  const published = ports("publish");
  const exposed = ports("expose");
  const some = <T>(list: readonly T[], test: (value: T) => boolean): boolean => list.length === 0 || list.some(test);
  return (container) => {
    const { record, state } = container;
    const at = parseTime(record.Created);
    if (!some(values("id"), (value) => container.id.startsWith(value))) return false;
    if (
      values("name").length > 0 &&
      !matchesName(record.Name, values("name")) &&
      !matchesName(container.name, values("name"))
    )
      return false;
    if (!matchesLabels(record.Config.Labels, values("label"))) return false;
    if (!some(values("status"), (value) => statusWord(state) === value)) return false;
    if (
      !some(
        exits,
        (code) => !state.Running && state.StartedAt !== "" && statusWord(state) === "exited" && state.ExitCode === code,
      )
    )
      return false;
    if (!some(values("health"), (value) => (state.Health?.Status ?? "none") === value)) return false;
    if (before.some((time) => at >= time) || since.some((time) => at <= time)) return false;
    if (isTask === true) return false;
    if (
      ancestors.length > 0 &&
      !ancestors.some(
        (image) => image !== undefined && (image.id === record.Image || isAncestor(image.chain, record.Gantry.chain)),
      )
    )
      return false;
    if (
      !some(values("network"), (value) =>
        Object.entries(record.NetworkSettings.Networks).some(
          ([name, { NetworkID = "" }]) => name === value || (value !== "" && NetworkID.startsWith(value)),
        ),
      )
    )
      return false;
    if (
      !some(values("volume"), (value) =>
        Object.values(record.MountPoints).some(
          (point) => point.Name === value || point.Destination === value || point.Source === value,
        ),
      )
    )
      return false;
    const hasPort = (keys: string[], wanted: { protocol: string; from: number; to: number }): boolean =>
      keys.some((key) => {
        const { protocol, from, to } = parsePortKey(key);
        return protocol === wanted.protocol && from <= wanted.to && to >= wanted.from;
      });
    const bindings = Object.entries(record.NetworkSettings.Ports).flatMap(([key, list]) =>
      (list ?? []).map(({ HostPort }) => `${HostPort}/${key.split("/")[1]}`),
    );
    if (!some(published, (wanted) => hasPort(bindings, wanted))) return false;
    return some(exposed, (wanted) => hasPort(Object.keys(record.NetworkSettings.Ports), wanted));
  };
}

function isAncestor(image: readonly string[], chain: readonly string[]): boolean {
  return image.length > 0 && image.length <= chain.length && image.every((chainId, at) => chain[at] === chainId);
}
