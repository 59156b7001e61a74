import { lstatSync } from "node:fs";
import { posix } from "node:path";
import type { HostConfig, MountSpec } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import type { StoredMountPoint } from "./container.ts";

const invalid = (message: string): GantryError => new GantryError("invalid", message);
const propagations = new Set(["private", "rprivate", "shared", "rshared", "slave", "rslave"]);

/** A mount that a container shall have; `Name` is "" for an anonymous volume that is to be made. */
export interface WantedMount extends StoredMountPoint {
  /** A folder of the machine that is made when it is missing (`-v`, but not `--mount`). */
  createSource?: boolean;
  noCopy?: boolean;
  volumeLabels?: Record<string, string>;
  volumeOptions?: Record<string, string>;
  volumeDriver?: string;
  tmpfsOptions?: string[];
  /** Nobody named it. */
  isAnonymous?: boolean;
}

const cleanTarget = (target: string): string => {
  const clean = posix.normalize(target);
  return clean.length > 1 && clean.endsWith("/") ? clean.slice(0, -1) : clean;
};

/** A relative path that does not lead out by its own words (Go's filepath.IsLocal). */
function isLocal(path: string): boolean {
  return !path.startsWith("/") && !posix.normalize(path).startsWith("../") && posix.normalize(path) !== "..";
}

/** One `-v` argument: `[source:]target[:options]`. Throws docker's sentences (moby, volume/mounts/linux_parser.go). */
export function parseBind(spec: string, volumeDriver: string): WantedMount {
  const parts = spec.split(":");
  const refused = (why?: string): GantryError =>
    invalid(
      why === undefined ? `invalid volume specification: '${spec}'` : `invalid volume specification: '${spec}': ${why}`,
    );
  if (parts.length > 3 || parts[0] === "") throw refused();
  const isAnonymous = parts.length === 1;
  const source = isAnonymous ? "" : (parts[0] as string);
  const target = isAnonymous ? (parts[0] as string) : (parts[1] as string);
  const mode = parts[2] ?? "";
  if (target === "") throw refused();
  if (!target.startsWith("/"))
    throw refused(
      `invalid mount config for type "${source.startsWith("/") ? "bind" : "volume"}": invalid mount path: '${target}' mount path must be absolute`,
    );
  const clean = cleanTarget(target);
  if (clean === "/")
    throw refused(
      `invalid mount config for type "${source.startsWith("/") ? "bind" : "volume"}": invalid specification: destination can't be '/'`,
    );
  const isBind = source.startsWith("/");
  if (!isBind && source !== "" && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(source)) {
    throw invalid(
      `create ${source}: "${source}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  }
  let rw = true;
  let propagation = "";
  let noCopy = false;
  const seen = new Set<string>();
  for (const option of mode === "" ? [] : mode.split(",")) {
    const kind =
      option === "ro" || option === "rw"
        ? "rw"
        : propagations.has(option)
          ? "propagation"
          : option === "z" || option === "Z"
            ? "label"
            : option;
    if (seen.has(kind)) throw invalid(`invalid mode: ${mode}`);
    seen.add(kind);
    if (option === "ro") rw = false;
    else if (propagations.has(option)) {
      if (!isBind) throw refused('invalid mount config for type "volume": field BindOptions must not be specified');
      propagation = option;
    } else if (option === "nocopy") {
      if (isBind) throw refused('invalid mount config for type "bind": field VolumeOptions must not be specified');
      noCopy = true;
    } else if (!["rw", "z", "Z", "consistent", "cached", "delegated"].includes(option)) {
      throw invalid(`invalid mode: ${mode}`);
    }
  }
  const common = { Destination: clean, Mode: mode, RW: rw };
  if (isBind) {
    const normal = cleanTarget(source);
    return { Type: "bind", Source: normal, ...common, Propagation: propagation || "rprivate", createSource: true };
  }
  return {
    Type: "volume",
    Name: source,
    Source: "",
    Driver: volumeDriver || "local",
    ...common,
    Mode: mode === "" && source !== "" ? "z" : mode,
    Propagation: "",
    noCopy,
    CopyData: !noCopy,
  };
}

/** One `--mount`. Throws `invalid mount config for type "…": …`. */
export function parseMount(mount: MountSpec): WantedMount {
  const type = mount.Type;
  const refuse = (why: string): GantryError => invalid(`invalid mount config for type "${type ?? ""}": ${why}`);
  if (type === undefined || !["bind", "volume", "tmpfs", "image"].includes(type)) {
    throw refuse("mount type unknown");
  }
  const target = mount.Target ?? "";
  if (target === "") throw refuse("field Target must not be empty");
  if (!target.startsWith("/")) throw refuse(`invalid mount path: '${target}' mount path must be absolute`);
  const clean = cleanTarget(target);
  if (clean === "/") throw refuse("invalid specification: destination can't be '/'");
  const source = mount.Source ?? "";
  const extra = (name: string, value: unknown): void => {
    if (value !== undefined && value !== null) throw refuse(`field ${name} must not be specified`);
  };
  const common = { Destination: clean, Mode: "", RW: mount.ReadOnly !== true, Spec: mount };
  if (type === "bind") {
    if (source === "") throw refuse("field Source must not be empty");
    extra("VolumeOptions", mount.VolumeOptions);
    extra("ImageOptions", mount.ImageOptions);
    extra("TmpfsOptions", mount.TmpfsOptions);
    const propagation = mount.BindOptions?.Propagation ?? "";
    if (propagation !== "" && !propagations.has(propagation)) throw refuse(`invalid propagation mode: ${propagation}`);
    if (!source.startsWith("/")) throw refuse(`invalid mount path: '${source}' mount path must be absolute`);
    const createSource = mount.BindOptions?.CreateMountpoint === true;
    if (!createSource && lstatSync(source, { throwIfNoEntry: false }) === undefined) {
      throw refuse(`bind source path does not exist: ${source}`);
    }
    return {
      Type: "bind",
      Source: cleanTarget(source),
      ...common,
      Propagation: propagation || "rprivate",
      createSource,
    };
  }
  if (type === "volume") {
    extra("BindOptions", mount.BindOptions);
    extra("ImageOptions", mount.ImageOptions);
    extra("TmpfsOptions", mount.TmpfsOptions);
    const options = mount.VolumeOptions;
    if (options?.Subpath) {
      if (source === "") throw refuse("must not set Subpath when using anonymous volumes");
      if (!isLocal(options.Subpath)) throw refuse("subpath must be a relative path within the volume");
    }
    if (source === "" && mount.ReadOnly === true)
      throw refuse("must not set ReadOnly mode when using anonymous volumes");
    const noCopy = options?.NoCopy === true;
    return {
      Type: "volume",
      Name: source,
      Source: "",
      Driver: options?.DriverConfig?.Name || "local",
      ...common,
      Mode: "z",
      Propagation: "",
      noCopy,
      CopyData: !noCopy,
      ...(options?.Labels ? { volumeLabels: options.Labels } : {}),
      ...(options?.DriverConfig?.Options ? { volumeOptions: options.DriverConfig.Options } : {}),
      ...(options?.DriverConfig?.Name ? { volumeDriver: options.DriverConfig.Name } : {}),
    };
  }
  extra("BindOptions", mount.BindOptions);
  extra("VolumeOptions", mount.VolumeOptions);
  if (type === "image") {
    extra("TmpfsOptions", mount.TmpfsOptions);
    if (source === "") throw refuse("field Source must not be empty");
    const subpath = mount.ImageOptions?.Subpath ?? "";
    if (subpath !== "" && !isLocal(subpath)) throw refuse("subpath must be a relative path within the volume");
    return { Type: "image", Name: source, Source: "", ...common, RW: false, Propagation: "rprivate" };
  }
  extra("ImageOptions", mount.ImageOptions);
  if (source !== "") throw refuse("field Source must not be specified");
  const tmpfs = mount.TmpfsOptions;
  const options = [
    ...(tmpfs?.SizeBytes ? [`size=${tmpfs.SizeBytes}`] : []),
    ...(tmpfs?.Mode ? [`mode=${tmpfs.Mode.toString(8)}`] : []),
    ...(tmpfs?.Options ?? []).map((pair) => pair.join("=")),
  ];
  return { Type: "tmpfs", Source: "", ...common, Propagation: "", tmpfsOptions: options };
}

/** `--tmpfs /run:rw,size=64m`. */
export function parseTmpfs(tmpfs: HostConfig["Tmpfs"]): { destination: string; options: string[] }[] {
  return Object.entries(tmpfs ?? {}).map(([target, options]) => {
    if (!target.startsWith("/")) throw invalid(`invalid mount path: '${target}' mount path must be absolute`);
    if (cleanTarget(target) === "/") throw invalid("invalid specification: destination can't be '/'");
    const list = options.split(",").filter((option) => option !== "");
    for (const option of list) {
      if (
        !/^(rw|ro|(no)?exec|(no)?suid|(no)?dev|(no)?atime|(no)?diratime|(rel|strict)atime|size=\d+[kmgKMG%]?|mode=[0-7]+|uid=\d+|gid=\d+|nr_inodes=\d+[kmg]?|nr_blocks=\d+[kmg]?|mpol=.*|r?(private|shared|slave)|huge=.*)$/.test(
          option,
        )
      ) {
        throw invalid(`invalid tmpfs option ["${option}"]`);
      }
    }
    return { destination: cleanTarget(target), options: tmpfsOptions(list) };
  });
}

/** What a tmpfs is mounted with: docker's cautious defaults, of which `exec`, `suid` and `dev` each lift one. */
export function tmpfsOptions(wanted: readonly string[]): string[] {
  const merged = new Map<string, string>();
  for (const option of ["noexec", "nosuid", "nodev", ...wanted]) {
    // The last word on a thing counts: `noexec,exec`, `ro,rw`, `size=1m,size=2m`.
    const thing = option === "ro" ? "rw" : option.split("=", 1)[0]?.replace(/^no(?=exec|suid|dev|atime|diratime)/, "");
    merged.delete(thing as string);
    merged.set(thing as string, option);
  }
  return [...merged.values()];
}

/** `--volumes-from container[:ro]`. */
export function parseVolumesFrom(spec: string): { container: string; rw: boolean } {
  if (spec === "") throw invalid("volumes-from specification cannot be an empty string");
  const [container = "", mode = ""] = spec.split(":", 2);
  if (mode !== "" && !/^(rw|ro|z|Z|rw,z|ro,z|rw,Z|ro,Z|nocopy)$/.test(mode)) throw invalid(`invalid mode: ${mode}`);
  return { container, rw: !/(^|,)ro($|,)/.test(mode) };
}

/** All mounts of a create: binds and mounts take a place but once; image volumes fill what is left. */
export function plannedMounts(
  host: HostConfig,
  imageVolumes: readonly string[],
  inherited: readonly StoredMountPoint[],
): WantedMount[] {
  const own = new Map<string, WantedMount>();
  const add = (mount: WantedMount): void => {
    if (own.has(mount.Destination)) throw invalid(`Duplicate mount point: ${mount.Destination}`);
    own.set(mount.Destination, mount);
  };
  for (const spec of host.Binds ?? []) add(parseBind(spec, host.VolumeDriver ?? ""));
  for (const mount of host.Mounts ?? []) add(parseMount(mount));
  for (const { destination } of parseTmpfs(host.Tmpfs)) {
    if (own.has(destination)) throw invalid(`Duplicate mount point: ${destination}`);
  }
  const tmpfs = new Set(parseTmpfs(host.Tmpfs).map(({ destination }) => destination));
  for (const mount of inherited) if (!own.has(mount.Destination)) own.set(mount.Destination, { ...mount });
  for (const target of imageVolumes) {
    const Destination = cleanTarget(target);
    if (own.has(Destination) || tmpfs.has(Destination)) continue;
    own.set(Destination, {
      Type: "volume",
      Name: "",
      Source: "",
      Destination,
      Driver: host.VolumeDriver || "local",
      Mode: "",
      RW: true,
      Propagation: "",
      CopyData: true,
    });
  }
  return [...own.values()];
}
