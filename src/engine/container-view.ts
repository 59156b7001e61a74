import { join } from "node:path";
import type {
  ContainerInspect,
  ContainerState,
  ContainerSummary,
  EndpointSettings,
  MountPoint,
  PortSummary,
} from "#api/docker/container-types.ts";
import type { ImageService } from "#image/image-service.ts";
import { familiarString, parseReference } from "#image/reference.ts";
import type { Container, StoredMountPoint } from "./container.ts";
import { statusWord } from "./container.ts";
import { shownLinks } from "./container-links.ts";
import type { ContainerStore } from "./container-store.ts";
import { humanDuration, parseTime } from "./timestamps.ts";

function stateOf(container: Container): ContainerState {
  const { RemovalInProgress: _removal, ...state } = container.state;
  return { ...state, Status: statusWord(container.state) };
}

function mountsOf(container: Container): MountPoint[] {
  return Object.values(container.record.MountPoints).map((point: StoredMountPoint) => {
    const { Spec: _spec, CopyData: _copy, ID: _id, ...shown } = point;
    return shown;
  });
}

function endpointsOf(container: Container): Record<string, EndpointSettings> {
  const out: Record<string, EndpointSettings> = {};
  for (const [name, settings] of Object.entries(container.record.NetworkSettings.Networks)) {
    const { DesiredMacAddress: desired, ...shown } = settings as EndpointSettings & { DesiredMacAddress?: string };
    out[name] = {
      IPAMConfig: null,
      Links: null,
      Aliases: null,
      MacAddress: desired ?? "",
      DriverOpts: null,
      GwPriority: 0,
      NetworkID: "",
      EndpointID: "",
      Gateway: "",
      IPAddress: "",
      IPPrefixLen: 0,
      IPv6Gateway: "",
      GlobalIPv6Address: "",
      GlobalIPv6PrefixLen: 0,
      DNSNames: null,
      ...shown,
    };
  }
  return out;
}

const noFiles = { ResolvConfPath: "", HostnamePath: "", HostsPath: "", LogPath: "" };

/** The files that the first start makes. */
function filesOf({ hostConfig, record }: Container): typeof noFiles {
  const { ResolvConfPath, HostnamePath, HostsPath } = record;
  const hasLog = !["none", "local"].includes(hostConfig.LogConfig?.Type ?? "");
  return { ResolvConfPath, HostnamePath, HostsPath, LogPath: hasLog ? record.LogPath : "" };
}

function desiredMac({ hostConfig, record }: Container): { MacAddress?: string } {
  const mode = hostConfig.NetworkMode ?? "bridge";
  const main = record.NetworkSettings.Networks[mode] as { DesiredMacAddress?: string } | undefined;
  return main?.DesiredMacAddress ? { MacAddress: main.DesiredMacAddress } : {};
}

/** `GET /containers/{id}/json`. */
export function inspectContainer(container: Container, images: ImageService, store: ContainerStore): ContainerInspect {
  const { record, hostConfig } = container;
  const snapshotRoot = join(images.snapshots.root, container.id);
  const lower = record.Gantry.chain
    .map((chainId) => images.layers.get(chainId))
    .filter((layer) => layer !== undefined)
    .map((layer) => images.layers.diffPath(layer))
    .reverse();
  const execIds = [...container.execs.values()]
    .filter((exec) => exec.isRunning || !exec.isStarted)
    .map((exec) => exec.id);
  return {
    Id: container.id,
    Created: record.Created,
    Path: record.Path,
    Args: record.Args,
    State: stateOf(container),
    Image: record.Image,
    ...(record.HasBeenStartedBefore ? filesOf(container) : noFiles),
    Name: record.Name,
    RestartCount: record.RestartCount,
    Driver: record.Driver,
    Platform: record.OS,
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: record.AppArmorProfile ?? "",
    ExecIDs: execIds.length === 0 ? null : execIds,
    HostConfig: {
      ...hostConfig,
      Links: shownLinks(container, store),
      MaskedPaths: hostConfig.MaskedPaths ?? null,
      ReadonlyPaths: hostConfig.ReadonlyPaths ?? null,
    },
    GraphDriver: {
      Name: "overlay2",
      Data: {
        ID: container.id,
        LowerDir: lower.join(":"),
        MergedDir: images.snapshots.mergedPath(container.id, container.mapping !== undefined),
        UpperDir: join(snapshotRoot, "diff"),
        WorkDir: join(snapshotRoot, "work"),
      },
    },
    Mounts: mountsOf(container),
    // Where it stood before API 1.44.
    Config: record.Config.MacAddress ? record.Config : { ...record.Config, ...desiredMac(container) },
    NetworkSettings: { ...record.NetworkSettings, Networks: endpointsOf(container) },
  };
}

/** The column STATUS: `Up 3 minutes (healthy)`, `Exited (0) 2 hours ago`. */
export function statusText(container: Container, now: number): string {
  const { state } = container;
  const word = statusWord(state);
  if (word === "removing") return "Removal In Progress";
  if (word === "dead") return "Dead";
  if (word === "created") return "Created";
  if (word === "restarting")
    return `Restarting (${state.ExitCode}) ${humanDuration(now - parseTime(state.FinishedAt))} ago`;
  if (word === "exited") {
    return parseTime(state.FinishedAt) === 0
      ? ""
      : `Exited (${state.ExitCode}) ${humanDuration(now - parseTime(state.FinishedAt))} ago`;
  }
  const up = `Up ${humanDuration(now - parseTime(state.StartedAt))}`;
  if (word === "paused") return `${up} (Paused)`;
  const health = state.Health?.Status;
  if (health === undefined || health === "none") return up;
  return health === "starting" ? `${up} (health: starting)` : `${up} (${health})`;
}

function portsOf(container: Container): PortSummary[] {
  const out: PortSummary[] = [];
  for (const [key, bindings] of Object.entries(container.isRunning ? container.record.NetworkSettings.Ports : {})) {
    const [port, type = "tcp"] = key.split("/");
    if (bindings === null) out.push({ PrivatePort: Number(port), Type: type });
    for (const { HostIp, HostPort } of bindings ?? []) {
      out.push({ IP: HostIp, PrivatePort: Number(port), PublicPort: Number(HostPort), Type: type });
    }
  }
  return out;
}

/** The image as `docker ps` shows it: the name it was made from while that still means this image, else its id. */
function imageName(container: Container, images: ImageService): string {
  const { Config, Image } = container.record;
  const name = Config.Image ?? "";
  try {
    if (images.images.find(name)?.id === Image) return name.startsWith("sha256:") ? name : name;
    const image = images.images.byId(Image);
    const tag = image?.tags[0];
    if (tag !== undefined && name.startsWith("sha256:")) return familiarString(parseReference(tag));
  } catch {
    // The name has become one that cannot be parsed: its id is shown.
  }
  return Image;
}

/** One line of `docker ps`. */
export function summarize(
  container: Container,
  images: ImageService,
  now: number,
  linkNames: readonly string[],
): ContainerSummary {
  const { record, hostConfig } = container;
  const command = [record.Path, ...record.Args.map((arg) => (/[\s'"]/.test(arg) ? `'${arg}'` : arg))].join(" ");
  return {
    Id: container.id,
    Names: [record.Name, ...linkNames].sort(),
    Image: imageName(container, images),
    ImageID: record.Image,
    Command: command,
    Created: Math.trunc(parseTime(record.Created) / 1000),
    Ports: portsOf(container),
    Labels: { ...record.Config.Labels },
    State: statusWord(container.state),
    Status: statusText(container, now),
    HostConfig: { NetworkMode: hostConfig.NetworkMode ?? "bridge" },
    NetworkSettings: { Networks: endpointsOf(container) },
    Mounts: mountsOf(container),
  };
}
