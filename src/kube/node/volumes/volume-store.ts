import { chmod, chown, lstat, mkdir, readdir, realpath, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ContainerMount } from "#api/pod-runtime.ts";
import { GantryError } from "#base/errors.ts";
import type { DownwardFacts } from "../downward.ts";
import { expandVariables } from "../environment.ts";
import type { Container, Pod, Volume, VolumeMount } from "../pod-types.ts";
import { quantityCeil } from "../quantity-value.ts";
import { writeAtomically } from "./atomic-writer.ts";
import { prepareHostPath } from "./host-path.ts";
import { type ProjectionSources, projectVolume } from "./projection.ts";

/** The mounts that the agent itself needs; `host` has them. */
export interface NodeMounts {
  mountTmpfs(path: string, options: { sizeBytes?: number; mode: number }): void | Promise<void>;
  unmount(path: string): void | Promise<void>;
  isMountPoint(path: string): boolean | Promise<boolean>;
}

/** Attaches volumes of other kinds (persistent volume claims, CSI, NFS). The seam for storage. */
export interface VolumePlugin {
  supports(volume: Volume): boolean;
  /** Makes the volume available and returns the host's folder. Safe to repeat. */
  setUp(pod: Pod, volume: Volume, targetPath: string): Promise<string>;
  tearDown(podUid: string, volumeName: string, targetPath: string): Promise<void>;
}

export interface VolumeStoreOptions {
  /** Folder of pods: `<root>/<uid>/volumes/<plugin>/<name>`. */
  podsRoot: string;
}

const pluginFolders = {
  emptyDir: "kubernetes.io~empty-dir",
  configMap: "kubernetes.io~configmap",
  secret: "kubernetes.io~secret",
  projected: "kubernetes.io~projected",
  downwardAPI: "kubernetes.io~downward-api",
} as const;

export type PreparedVolumes = ReadonlyMap<string, string>;

/** The pods' volumes on this machine: makes them, refreshes what is projected, and takes them away. */
export class VolumeStore {
  readonly #options: VolumeStoreOptions;
  readonly #mounts: NodeMounts;
  readonly #plugins: readonly VolumePlugin[];

  constructor(options: VolumeStoreOptions, mounts: NodeMounts, plugins: readonly VolumePlugin[] = []) {
    this.#options = options;
    this.#mounts = mounts;
    this.#plugins = plugins;
  }

  podFolder(uid: string): string {
    return join(this.#options.podsRoot, uid);
  }

  /** Host folders of all volumes, by name. Safe to repeat: what is there is refreshed. Throws with a reason for FailedMount. */
  async prepare(pod: Pod, sources: ProjectionSources, facts: DownwardFacts): Promise<PreparedVolumes> {
    const out = new Map<string, string>();
    for (const volume of pod.spec?.volumes ?? []) {
      try {
        out.set(volume.name, await this.#setUp(pod, volume, sources, facts));
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        throw new GantryError("unavailable", `MountVolume.SetUp failed for volume "${volume.name}" : ${message}`, {
          cause: error,
        });
      }
    }
    return out;
  }

  async #setUp(pod: Pod, volume: Volume, sources: ProjectionSources, facts: DownwardFacts): Promise<string> {
    const uid = pod.metadata?.uid ?? "";
    const fsGroup = pod.spec?.securityContext?.fsGroup;
    if (volume.hostPath !== undefined) {
      await prepareHostPath(volume.hostPath.path, volume.hostPath.type);
      return volume.hostPath.path;
    }
    const kind = (Object.keys(pluginFolders) as (keyof typeof pluginFolders)[]).find(
      (name) => volume[name] !== undefined,
    );
    if (kind === undefined) return this.#setUpByPlugin(pod, volume);
    const path = join(this.podFolder(uid), "volumes", pluginFolders[kind], volume.name);
    if (kind === "emptyDir") {
      await this.#emptyDir(path, volume.emptyDir ?? {}, fsGroup);
      return path;
    }
    const files = await projectVolume(pod, volume, sources, facts);
    await mkdir(path, { recursive: true, mode: 0o755 });
    const inMemory = kind === "secret" || kind === "projected";
    if (inMemory && !(await this.#mounts.isMountPoint(path))) await this.#mounts.mountTmpfs(path, { mode: 0o1777 });
    if (fsGroup !== undefined) await ownFolder(path, fsGroup, 0o2775);
    await writeAtomically(path, files, fsGroup);
    return path;
  }

  #setUpByPlugin(pod: Pod, volume: Volume): Promise<string> {
    const plugin = this.#plugins.find((one) => one.supports(volume));
    if (plugin === undefined) {
      const kind = Object.keys(volume).find((key) => key !== "name") ?? "unknown";
      throw new GantryError("unsupported", `volume type ${kind} is not supported on this node`);
    }
    return plugin.setUp(pod, volume, join(this.podFolder(pod.metadata?.uid ?? ""), "volumes", "plugin", volume.name));
  }

  async #emptyDir(
    path: string,
    { medium = "", sizeLimit }: { medium?: string; sizeLimit?: string | number },
    fsGroup?: number,
  ): Promise<void> {
    if (medium !== "" && medium !== "Memory") {
      throw new GantryError("unsupported", `emptyDir medium ${medium} is not supported on this node`);
    }
    const isNew = (await stat(path).catch(() => undefined)) === undefined;
    await mkdir(path, { recursive: true });
    if (medium === "Memory" && !(await this.#mounts.isMountPoint(path))) {
      const sizeBytes = sizeLimit === undefined ? undefined : quantityCeil(sizeLimit);
      await this.#mounts.mountTmpfs(path, { sizeBytes: sizeBytes === 0 ? undefined : sizeBytes, mode: 0o777 });
      await chmod(path, 0o777);
    } else if (isNew) await chmod(path, 0o777);
    if (fsGroup !== undefined) await ownFolder(path, fsGroup, 0o2777);
  }

  /** The mounts of one container. `environment` serves subPathExpr. Throws with a reason for CreateContainerConfigError. */
  async mounts(
    container: Container,
    volumes: PreparedVolumes,
    environment: ReadonlyMap<string, string>,
    pod: Pod,
  ): Promise<ContainerMount[]> {
    if ((container.volumeDevices ?? []).length > 0) {
      throw new GantryError("unsupported", "block volume devices are not supported on this node");
    }
    const out: ContainerMount[] = [];
    for (const mount of container.volumeMounts ?? []) {
      const source = volumes.get(mount.name);
      const volume = pod.spec?.volumes?.find(({ name }) => name === mount.name);
      if (source === undefined || volume === undefined) {
        throw new GantryError(
          "not-found",
          `cannot find volume "${mount.name}" to mount into container "${container.name}"`,
        );
      }
      const readOnlyKind =
        volume.configMap !== undefined ||
        volume.secret !== undefined ||
        volume.downwardAPI !== undefined ||
        volume.projected !== undefined;
      out.push({
        hostPath: await subPathOf(source, mount, environment),
        containerPath: mount.mountPath.startsWith("/") ? mount.mountPath : `/${mount.mountPath}`,
        readOnly: mount.readOnly === true || readOnlyKind,
        propagation: propagationOf(mount),
      });
    }
    return out;
  }

  /** A fresh file for a container's termination message. */
  async terminationMessageFile(pod: Pod, name: string, attempt: number): Promise<string> {
    const path = join(this.podFolder(pod.metadata?.uid ?? ""), "containers", name, String(attempt));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, "", { mode: 0o666 });
    await chmod(path, 0o666);
    return path;
  }

  /** Unmounts and deletes everything of a pod. Safe to repeat. */
  async remove(podUid: string): Promise<void> {
    const folder = this.podFolder(podUid);
    const volumes = join(folder, "volumes");
    for (const plugin of await readdir(volumes).catch(() => [])) {
      for (const name of await readdir(join(volumes, plugin)).catch(() => [])) {
        const path = join(volumes, plugin, name);
        if (plugin === "plugin") for (const one of this.#plugins) await one.tearDown(podUid, name, path);
        if (await this.#mounts.isMountPoint(path)) await this.#mounts.unmount(path);
      }
    }
    await rm(folder, { recursive: true, force: true });
  }

  /** Uids of pods that have a folder here. */
  async uids(): Promise<string[]> {
    return readdir(this.#options.podsRoot).catch(() => []);
  }
}

async function ownFolder(path: string, gid: number, mode: number): Promise<void> {
  await chown(path, (await lstat(path)).uid, gid);
  await chmod(path, mode);
}

function propagationOf(mount: VolumeMount): ContainerMount["propagation"] {
  switch (mount.mountPropagation) {
    case "HostToContainer":
      return "host-to-container";
    case "Bidirectional":
      return "bidirectional";
    default:
      return "private";
  }
}

/** The host's path of a mount; a sub path must exist inside the volume after links are followed. */
async function subPathOf(
  source: string,
  mount: VolumeMount,
  environment: ReadonlyMap<string, string>,
): Promise<string> {
  let subPath = mount.subPath ?? "";
  if (mount.subPathExpr) {
    const missing: string[] = [];
    subPath = expandVariables(mount.subPathExpr, (name) => {
      const value = environment.get(name);
      if (value === undefined) missing.push(name);
      return value;
    });
    if (missing.length > 0) throw new GantryError("invalid", `missing value for "${missing[0]}"`);
  }
  if (subPath === "") return source;
  if (subPath.startsWith("/"))
    throw new GantryError("invalid", `error SubPath \`${subPath}\` must not be an absolute path`);
  if (subPath.split("/").includes(".."))
    throw new GantryError("invalid", `unable to provision SubPath \`${subPath}\`: must not contain '..'`);
  const root = await realpath(source);
  const inside = (path: string): boolean => path === root || path.startsWith(`${root}/`);
  let at = root;
  for (const part of subPath.split("/").filter((one) => one !== "" && one !== ".")) {
    const next = join(at, part);
    const found = await realpath(next).catch(() => undefined);
    if (found === undefined) {
      await mkdir(next, { mode: 0o750 });
      await chmod(next, (await stat(root)).mode & 0o7777);
      at = next;
    } else at = found;
    if (!inside(at)) throw new GantryError("invalid", `subpath "${subPath}" not within volume path "${source}"`);
  }
  return at;
}
