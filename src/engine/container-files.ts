import { existsSync, lstatSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { FilesystemChange, PathStat } from "#api/docker/container-types.ts";
import type { Clock } from "#base/clock.ts";
import { GantryError } from "#base/errors.ts";
import { type IdMapping, mappedRoot } from "#base/id-mapping.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import { asFileOwner } from "#host/file-credentials.ts";
import { bindMount, unmount } from "#host/mount.ts";
import { copyStat, exportTree } from "#image/copy-archive.ts";
import { familiarString, parseReference } from "#image/reference.ts";
import type { ImageService } from "#image/image-service.ts";
import { applyChanges } from "#image/config-changes.ts";
import { commitImage, targetName } from "#image/image-import.ts";
import { copyIn, copyOut } from "#image/isolated-copy.ts";
import type { ImageRuntimeConfig } from "#image/oci.ts";
import { overlayChanges } from "#image/overlay-changes.ts";
import type { VolumeStore } from "#volume/volume-store.ts";
import type { Container } from "./container.ts";
import type { CommitOptions, CopyInOptions } from "./engine.ts";
import type { EventLog } from "./event-log.ts";
import { words } from "./image-config-merge.ts";
import type { Launcher } from "./launcher.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { MountSources } from "./mount-sources.ts";
import { resolveUser } from "./passwd.ts";
import { resolveInRoot } from "#host/rooted-path.ts";

export interface ContainerFilesParts {
  images: ImageService;
  volumes: VolumeStore;
  lifecycle: Lifecycle;
  launcher: Launcher;
  sources: MountSources;
  events: EventLog;
  clock: Clock;
}

/** What is done with a container's files from outside: cp, diff, export, commit. */
export class ContainerFiles {
  readonly #parts: ContainerFilesParts;
  readonly #lock = new KeyedLock();
  /** How many look into a stopped container's root now. */
  readonly #users = new Map<string, number>();

  constructor(parts: ContainerFilesParts) {
    this.#parts = parts;
  }

  /**
   * The root as the container sees it, volumes included. Of a running one that is its process's own; of a stopped
   * one it is mounted, until `done`.
   */
  async #open(container: Container): Promise<{ rootfs: string; done: () => Promise<void> }> {
    if (container.isRunning) return { rootfs: `/proc/${container.state.Pid}/root`, done: async () => {} };
    return this.#lock.run(container.id, async () => {
      const { images, volumes, launcher, sources } = this.#parts;
      const rootfs = launcher.rootfs(container);
      const count = this.#users.get(container.id) ?? 0;
      if (count === 0) {
        const snapshot = await images.snapshots.get(container.id);
        if (snapshot === undefined) throw new GantryError("not-found", `No such container: ${container.id}`);
        await images.snapshots.mount(snapshot);
        const points = Object.values(container.record.MountPoints);
        for (const point of points)
          if (point.Type === "volume") await volumes.acquire(point.Name as string, `files-${container.id}`);
        const prepared = await sources.prepare(container);
        for (const point of points) {
          const source = prepared.get(point.Destination) ?? point.Source;
          if (point.Type === "tmpfs" || !existsSync(source)) continue;
          const target = resolveInRoot(rootfs, point.Destination);
          makeTarget(target, lstatSync(source).isDirectory(), container);
          bindMount(source, target, { recursive: true, readOnly: !point.RW });
        }
        sources.unpin(container);
      }
      this.#users.set(container.id, count + 1);
      let isDone = false;
      const done = (): Promise<void> =>
        this.#lock.run(container.id, async () => {
          if (isDone) return;
          isDone = true;
          const left = (this.#users.get(container.id) ?? 1) - 1;
          if (left > 0) {
            this.#users.set(container.id, left);
            return;
          }
          this.#users.delete(container.id);
          for (const point of Object.values(container.record.MountPoints).reverse()) {
            if (point.Type === "tmpfs") continue;
            if (!container.isRunning) unmount(resolveInRoot(rootfs, point.Destination));
            if (point.Type === "volume") await volumes.release(point.Name as string, `files-${container.id}`);
          }
          if (container.isRunning) return;
          images.snapshots.unmount(container.id);
          sources.release(container);
        });
      return { rootfs, done };
    });
  }

  async stat(container: Container, path: string, shown: string): Promise<PathStat> {
    const { rootfs, done } = await this.#open(container);
    try {
      return copyStat({ rootfs, path, container: shown });
    } finally {
      await done();
    }
  }

  async copyOut(
    container: Container,
    path: string,
    shown: string,
  ): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
    if (path === "") throw new GantryError("invalid", "missing path parameter");
    const { rootfs, done } = await this.#open(container);
    try {
      const { stat, tar } = await copyOut({ rootfs, path, container: shown, ...mapped(container) });
      this.#parts.lifecycle.emit(container, "archive-path");
      return { stat, tar: finishing(tar, done) };
    } catch (error) {
      await done();
      throw error;
    }
  }

  async copyIn(
    container: Container,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    shown: string,
    options: CopyInOptions = {},
  ): Promise<void> {
    const { rootfs, done } = await this.#open(container);
    try {
      if (container.hostConfig.ReadonlyRootfs === true && !isInWritableMount(container, path)) {
        throw new GantryError("invalid", "container rootfs is marked read-only");
      }
      // A container of nobody's in particular leaves the owners that the archive names.
      const spec = options.copyUidGid === true ? (container.record.Config.User ?? "") : "";
      const user = spec === "" ? undefined : resolveUser(rootfs, spec);
      await copyIn({ rootfs, path, container: shown, ...mapped(container) }, tar, {
        ...(options.noOverwriteDirNonDir === undefined ? {} : { noOverwriteDirNonDir: options.noOverwriteDirNonDir }),
        ...(user === undefined ? {} : { owner: { uid: user.uid, gid: user.gid } }),
      });
      this.#parts.lifecycle.emit(container, "extract-to-dir");
    } finally {
      await done();
    }
  }

  async diff(container: Container): Promise<FilesystemChange[]> {
    const snapshot = await this.#parts.images.snapshots.get(container.id);
    if (snapshot === undefined) return [];
    const { upper, lower } = this.#parts.images.snapshots.paths(snapshot);
    return overlayChanges(upper, lower);
  }

  async export(container: Container): Promise<AsyncIterable<Uint8Array>> {
    // Without volumes, as docker: the bare root.
    const { images, lifecycle } = this.#parts;
    const snapshot = await images.snapshots.get(container.id);
    if (snapshot === undefined) throw new GantryError("not-found", `No such container: ${container.id}`);
    const wasRunning = container.isRunning;
    const rootfs = await images.snapshots.mount(snapshot);
    lifecycle.emit(container, "export");
    return finishing(exportTree(rootfs, container.mapping), async () => {
      if (!wasRunning && !container.isRunning) images.snapshots.unmount(container.id);
    });
  }

  /** `docker commit`: the writable layer becomes a layer of a new image. */
  async commit(container: Container, options: CommitOptions): Promise<string> {
    const { images, lifecycle, events, clock } = this.#parts;
    const reference = targetName(options.repository, options.tag);
    const { record } = container;
    const parent = images.images.byId(record.Image);
    const base = (
      options.config === undefined ? record.Config : { ...record.Config, ...withoutEmpty(options.config) }
    ) as ImageRuntimeConfig;
    const changed = applyChanges(imageConfigOf(base), options.changes ?? []);
    const mustPause = options.pause !== false && container.isRunning && !container.state.Paused;
    try {
      if (mustPause) {
        // One that ended in between writes no more.
        await lifecycle.pause(container, { forCommit: true }).catch((error: unknown) => {
          if (container.isRunning) throw error;
        });
      }
      const image = await commitImage(images, {
        snapshotId: container.id,
        base: parent,
        config: changed,
        createdBy: [record.Path, ...record.Args].join(" "),
        ...(options.comment ? { comment: options.comment } : {}),
        ...(options.author ? { author: options.author } : {}),
        ...(reference === undefined ? {} : { tag: reference }),
        now: () => clock.now(),
      });
      const labels = image.config.config?.Labels ?? {};
      events.emit("image", "create", image.id, { ...labels, name: image.id });
      if (reference !== undefined)
        events.emit("image", "tag", image.id, { ...labels, name: shownReference(reference) });
      lifecycle.emit(container, "commit", {
        comment: options.comment ?? "",
        imageID: image.id,
        imageRef: reference ?? "",
      });
      return image.id;
    } finally {
      if (mustPause && container.state.Paused) await lifecycle.unpause(container);
    }
  }
}

const shownReference = (reference: string): string => familiarString(parseReference(reference));

function imageConfigOf(config: ImageRuntimeConfig): ImageRuntimeConfig {
  return { ...config, Cmd: words(config.Cmd), Entrypoint: words(config.Entrypoint) } as ImageRuntimeConfig;
}

function withoutEmpty(config: object): object {
  return Object.fromEntries(
    Object.entries(config).filter(
      ([key, value]) =>
        !["HostConfig", "NetworkingConfig"].includes(key) &&
        value !== null &&
        value !== "" &&
        value !== undefined &&
        value !== false,
    ),
  );
}

function makeTarget(target: string, isFolder: boolean, { mapping }: Container): void {
  if (existsSync(target)) return;
  asFileOwner(mapping === undefined ? { uid: 0, gid: 0 } : mappedRoot(mapping), () => {
    mkdirSync(isFolder ? target : dirname(target), { recursive: true });
    if (!isFolder) writeFileSync(target, "");
  });
}

const mapped = ({ mapping }: Container): { mapping?: IdMapping } => (mapping === undefined ? {} : { mapping });

function isInWritableMount(container: Container, path: string): boolean {
  return Object.values(container.record.MountPoints).some(
    (point) => point.RW && (path === point.Destination || path.startsWith(`${point.Destination}/`)),
  );
}

async function* finishing(tar: AsyncIterable<Uint8Array>, done: () => Promise<void>): AsyncGenerator<Uint8Array> {
  try {
    yield* tar;
  } finally {
    await done();
  }
}
