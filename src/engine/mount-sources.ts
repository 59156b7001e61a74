import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { errorMessage, GantryError } from "#base/errors.ts";
import { errnoOf } from "#host/libc.ts";
import { bindMount, idmappedMount, unmount } from "#host/mount.ts";
import { openBeneath } from "#host/open-beneath.ts";
import type { Snapshots } from "#image/snapshots.ts";
import type { Container, StoredMountPoint } from "./container.ts";

/** The name of the n-th image mount's snapshot. */
export function imageMountId(containerId: string, index: number): string {
  return `${containerId}-${index}`;
}

/** The snapshots of a container beside its own root: one for each image that is mounted in it. */
export function imageMounts(container: Container): string[] {
  return Object.values(container.record.MountPoints).flatMap((point) =>
    point.Type === "image" && point.ID !== undefined ? [point.ID] : [],
  );
}

/**
 * What a container's mount points show when it starts: images that are mounted, and parts of volumes and images.
 *
 * A part is looked up when it is needed, not when the container is made, and pinned as a bind mount of what was
 * found: the runtime must not look it up again, since another container may have put a link there meanwhile.
 */
export class MountSources {
  readonly #pins: string;
  readonly #snapshots: Snapshots;

  /** `pins`: a folder of our own, on a mount that the runtime sees. */
  constructor(pins: string, snapshots: Snapshots) {
    this.#pins = pins;
    this.#snapshots = snapshots;
  }

  /** Removes the pins of a process that was killed. */
  start(): void {
    mkdirSync(this.#pins, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#pins)) this.#unpin(join(this.#pins, name));
  }

  /**
   * Mounts images and pins parts; gives the source of each such destination. Throws docker's errors for a part that
   * is not there or leads out of its volume. A pod's volumes are shown with the ids of the user namespace at
   * `userNamespace`; throws `unsupported` for a file system that cannot be shown so.
   */
  async prepare(container: Container, userNamespace?: string): Promise<Map<string, string>> {
    const sources = new Map<string, string>();
    for (const [index, point] of Object.values(container.record.MountPoints).entries()) {
      if (userNamespace !== undefined && isIdMapped(container, point)) {
        sources.set(point.Destination, this.#pinMapped(point, userNamespace, `${container.id}-${index}`));
        continue;
      }
      const base = point.Type === "image" ? await this.#mountImage(point) : point.Source;
      const part = partOf(point);
      if (part !== "") sources.set(point.Destination, this.#pin(base, part, `${container.id}-${index}`));
      else if (point.Type === "image") sources.set(point.Destination, base);
    }
    return sources;
  }

  /** After the runtime has mounted them. Safe to repeat. */
  unpin(container: Container): void {
    for (const [index, point] of Object.values(container.record.MountPoints).entries())
      if (partOf(point) !== "" || isIdMapped(container, point))
        this.#unpin(join(this.#pins, `${container.id}-${index}`));
  }

  /** Takes the images of a container that has ended from where they were mounted. Safe to repeat. */
  release(container: Container): void {
    this.unpin(container);
    for (const id of imageMounts(container)) this.#snapshots.unmount(id);
  }

  async #mountImage(point: StoredMountPoint): Promise<string> {
    const snapshot = await this.#snapshots.get(point.ID ?? "");
    if (snapshot === undefined) {
      throw new GantryError("internal", `The image ${point.Name} that is mounted at ${point.Destination} is missing.`);
    }
    return this.#snapshots.mount(snapshot);
  }

  /** A second view of a volume: on disk files keep the ids that they have inside, whichever range the pod got. */
  #pinMapped({ Source, Destination }: StoredMountPoint, userNamespace: string, name: string): string {
    const target = join(this.#pins, name);
    this.#unpin(target);
    if (statSync(Source).isDirectory()) mkdirSync(target);
    else writeFileSync(target, "");
    const namespace = openSync(userNamespace, "r");
    try {
      idmappedMount(Source, target, namespace, { recursive: true });
    } catch (cause) {
      this.#unpin(target);
      const why = `${Source} (with what is mounted below) cannot be shown so by Linux ${release()}`;
      throw new GantryError(
        "unsupported",
        `the mount at "${Destination}" needs the ids of its pod's user namespace: ${why}: ${errorMessage(cause)}`,
        { cause },
      );
    } finally {
      closeSync(namespace);
    }
    return target;
  }

  #pin(base: string, part: string, name: string): string {
    let found: number;
    try {
      found = openBeneath(base, part);
    } catch (cause) {
      if (errnoOf(cause) === "EXDEV") {
        const message = `path concatenation escapes the base directory, base: ${base}, subpath: ${part}`;
        throw new GantryError("invalid", message, { cause });
      }
      const words: Record<string, string> = {
        ENOENT: "no such file or directory",
        ENOTDIR: "not a directory",
        ELOOP: "too many levels of symbolic links",
      };
      const why = words[errnoOf(cause) ?? ""];
      if (why === undefined) throw cause;
      throw new GantryError("not-found", `cannot access path ${join(base, part)}: lstat ${join(base, part)}: ${why}`, {
        cause,
      });
    }
    const target = join(this.#pins, name);
    try {
      this.#unpin(target);
      if (fstatSync(found).isDirectory()) mkdirSync(target);
      else writeFileSync(target, "");
      bindMount(`/proc/self/fd/${found}`, target, { recursive: true });
    } finally {
      closeSync(found);
    }
    return target;
  }

  /** Never removes what stands behind a pin: a folder goes only when it is empty, so when nothing is mounted there. */
  #unpin(target: string): void {
    while (unmount(target)) continue;
    try {
      rmdirSync(target);
    } catch (error) {
      if (errnoOf(error) === "ENOTDIR") rmSync(target);
      else if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}

const isIdMapped = ({ record }: Container, { Destination }: StoredMountPoint): boolean =>
  record.Gantry.pod?.idMappedMounts?.includes(Destination) === true;

/** The part of a volume or image that a mount shows; "" for all of it. */
function partOf({ Type, Spec }: StoredMountPoint): string {
  if (Type === "volume") return Spec?.VolumeOptions?.Subpath ?? "";
  return Type === "image" ? (Spec?.ImageOptions?.Subpath ?? "") : "";
}
