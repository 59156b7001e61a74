import { chownSync, existsSync, mkdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { lstat, mkdir, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { FilesystemChange } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { type FileOwner, type IdMapping, mappedRoot } from "#base/id-mapping.ts";
import { asFileOwner } from "#host/file-credentials.ts";
import { diskSteps } from "#host/disk-pace.ts";
import { readJson, removeFolder, writeFiles } from "#host/files.ts";
import { errnoOf } from "#host/libc.ts";
import { bindMount, isMounted, isMountPoint, mount, unmount, unmountFileSystem } from "#host/mount.ts";
import { UserNamespaces } from "#host/user-namespace.ts";
import type { Layer, LayerStore } from "./layer-store.ts";
import { checkMappedViews, dropProbes, mapIds } from "./mapped-view.ts";
import { overlayChanges } from "./overlay-changes.ts";
import { archiveTree } from "./tree-archive.ts";

/** A container's file system: what is kept of it, in `snapshot.json`. */
export interface Snapshot {
  id: string;
  /** ChainIDs from the bottom up; empty for an image without layers. */
  chain: string[];
  /** Shows an image as it is: nothing is written, and nothing of a container's is in it. */
  readOnly?: boolean;
  /** Whose ids it shows when it is mounted. On disk there are always those inside. Absent: the machine's. */
  mapping?: IdMapping;
}

export interface SnapshotPaths {
  /** The writable layer. */
  upper: string;
  work: string;
  /** Where it is mounted. */
  merged: string;
  /** From the top down, absolute. */
  lower: string[];
}

/** The kernel takes mount options of one page, with the end. */
const maxOptions = 4095;

const volatileOption = ",volatile";

/**
 * An overlay that syncs nothing (kernel documentation, "overlayfs", Volatile mount). False where the kernel cannot.
 */
function mountVolatile(target: string, data: string): boolean {
  try {
    mount({ source: "overlay", target, type: "overlay", data: `${data}${volatileOption}` });
    return true;
  } catch (error) {
    if (errnoOf(error) !== "EINVAL") throw error;
    return false;
  }
}

/**
 * Writable overlays on top of layers, one for each container (or build step, or volume copy): a folder with
 * `diff`, `work` and `merged`.
 */
export class Snapshots {
  readonly root: string;
  /** Holds this folder, the layers and the lowest layer. */
  readonly #base: string;
  readonly #roots: string;
  readonly #layers: LayerStore;
  /** Which layers each snapshot stands on: told from the snapshots themselves, never stored. */
  readonly #chains = new Map<string, readonly string[]>();

  /**
   * The lowest layer of every container: the places that a runtime mounts things on. Without it they would be
   * made in the writable layer, and show up in `docker diff` and in committed images.
   */
  readonly #initLayer: string;
  readonly #userNamespaces = new UserNamespaces();

  constructor(root: string, layers: LayerStore) {
    this.root = root;
    this.#layers = layers;
    this.#base = dirname(root);
    this.#roots = join(this.#base, "roots");
    this.#initLayer = join(this.#base, "init");
  }

  async start(): Promise<void> {
    for (const folder of [this.root, this.#roots]) await mkdir(folder, { recursive: true, mode: 0o711 });
    await this.#makeInitLayer();
    await dropProbes(this.#base);
    for (const name of await readdir(this.root))
      if (name.startsWith("tmp-")) await rm(join(this.root, name), { recursive: true, force: true });
    for (const id of await this.list()) {
      const snapshot = await this.get(id);
      if (snapshot !== undefined) this.#chains.set(id, snapshot.chain);
    }
  }

  /** True when a snapshot stands on this layer. */
  uses(chainId: string): boolean {
    for (const chain of this.#chains.values()) if (chain.includes(chainId)) return true;
    return false;
  }

  async #makeInitLayer(): Promise<void> {
    if (existsSync(this.#initLayer)) return;
    const temporary = `${this.#initLayer}.tmp`;
    await rm(temporary, { recursive: true, force: true });
    for (const folder of ["dev/pts", "dev/shm", "proc", "sys", "etc"])
      await mkdir(join(temporary, folder), { recursive: true, mode: 0o755 });
    for (const file of [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"])
      await writeFile(join(temporary, file), "", { mode: 0o755 });
    await symlink("/proc/mounts", join(temporary, "etc/mtab"));
    await rename(temporary, this.#initLayer);
  }

  /** Ids of all snapshots, mounted or not. */
  async list(): Promise<string[]> {
    return (await readdir(this.root)).filter((name) => !name.startsWith("tmp-"));
  }

  async get(id: string): Promise<Snapshot | undefined> {
    return readJson<Snapshot>(join(this.root, id, "snapshot.json"));
  }

  #layer(snapshot: Snapshot, chainId: string): Layer {
    const layer = this.#layers.get(chainId);
    if (layer !== undefined) return layer;
    throw new GantryError(
      "internal",
      `The layer ${chainId} of ${snapshot.id} is missing. Pull or load its image again.`,
    );
  }

  /**
   * Where a snapshot is mounted. With mapped ids it is not beside what is written: there files have the ids inside, so
   * a program with root's set-user-ID bit would make anybody root who could get to it.
   */
  mergedPath(id: string, isMapped = existsSync(join(this.#roots, id))): string {
    return join(isMapped ? this.#roots : this.root, id, "merged");
  }

  paths(snapshot: Snapshot): SnapshotPaths {
    const folder = join(this.root, snapshot.id);
    const lower = snapshot.chain.map((chainId) => this.#layers.diffPath(this.#layer(snapshot, chainId)));
    return {
      upper: join(folder, "diff"),
      work: join(folder, "work"),
      merged: this.mergedPath(snapshot.id, snapshot.mapping !== undefined),
      lower: [...lower.reverse(), this.#initLayer],
    };
  }

  /** Makes the folders of a new snapshot. The chain is what is below the writable layer, from the bottom up. */
  async prepare(
    id: string,
    chain: readonly string[],
    { readOnly, mapping }: { readOnly?: boolean; mapping?: IdMapping | undefined } = {},
  ): Promise<Snapshot> {
    const snapshot: Snapshot = {
      id,
      chain: [...chain],
      ...(readOnly === true ? { readOnly } : {}),
      ...(mapping === undefined ? {} : { mapping }),
    };
    for (const chainId of chain)
      if (this.#layers.get(chainId) === undefined)
        throw new GantryError("not-found", `The layer ${chainId} is missing. Pull or load the image again.`);
    this.#chains.set(id, snapshot.chain);
    const temporary = join(this.root, `tmp-${id}`);
    await removeFolder(temporary);
    const folders = mapping === undefined ? ["diff", "work", "merged"] : ["diff", "work"];
    const modeOf = (name: string): number => (name === "work" ? 0o700 : 0o755);
    await diskSteps(
      () => {
        mkdirSync(temporary, { mode: 0o710 });
        for (const name of folders) mkdirSync(join(temporary, name), { mode: modeOf(name) });
      },
      async () => {
        await mkdir(temporary, { mode: 0o710 });
        await Promise.all(folders.map((name) => mkdir(join(temporary, name), { mode: modeOf(name) })));
      },
    );
    if (mapping !== undefined) {
      mkdirSync(dirname(this.mergedPath(id, true)), { recursive: true, mode: 0o710 });
      mkdirSync(this.mergedPath(id, true), { recursive: true, mode: 0o755 });
      // Its root has to get through; nobody else has.
      chownSync(dirname(this.mergedPath(id, true)), 0, mappedRoot(mapping).gid);
    }
    await writeFiles([{ path: join(temporary, "snapshot.json"), text: JSON.stringify(snapshot), mode: 0o644 }]);
    await diskSteps(
      () => renameSync(temporary, join(this.root, id)),
      () => rename(temporary, join(this.root, id)),
    );
    return snapshot;
  }

  /**
   * Mounts a snapshot and returns where. Safe to repeat. With `passing` nothing of it shall outlive the machine's next
   * start: the kernel then spares the disk a sync of all when it is unmounted. Throws `unsupported` where the machine
   * cannot map its ids.
   */
  async mount(snapshot: Snapshot, options: { passing?: boolean } = {}): Promise<string> {
    const { merged } = this.paths(snapshot);
    // There is nothing to show of an image without layers.
    const isThere = (): boolean =>
      snapshot.readOnly === true ? snapshot.chain.length === 0 || isMounted(merged) : isMountPoint(merged);
    if (isThere()) return merged;
    if (snapshot.mapping === undefined) {
      this.#mountOn(this.#base, snapshot, options);
      return merged;
    }
    const namespace = await this.#userNamespaces.open(snapshot.mapping);
    // Another call may have been quicker.
    if (!isThere()) this.#mountMapped(snapshot, mappedRoot(snapshot.mapping), namespace, options);
    return merged;
  }

  /**
   * Layers that have other owners than on disk: of all folders of ours a second view is mounted, with mapped ids, for
   * as long as it takes to mount the snapshot on it (which keeps views of its own).
   */
  #mountMapped(snapshot: Snapshot, owner: FileOwner, namespace: number, options: { passing?: boolean }): void {
    const view = join(this.root, snapshot.id, "mapped");
    mkdirSync(view, { recursive: true, mode: 0o700 });
    mapIds(this.#base, view, namespace);
    try {
      // What the overlay makes for itself must have an owner that is known in the layers.
      asFileOwner(owner, () => this.#mountOn(view, snapshot, options));
    } finally {
      unmount(view);
      rmdirSync(view);
    }
  }

  /** `base` shows the folder of layers and snapshots. */
  #mountOn(base: string, snapshot: Snapshot, options: { passing?: boolean }): void {
    const { work, merged } = this.paths(snapshot);
    const at = (path: string): string => join(base, relative(this.#base, path));
    const layers = at(this.#layers.root);
    const lower = snapshot.chain.map((chainId) => this.#layers.linkPath(this.#layer(snapshot, chainId))).reverse();
    if (snapshot.readOnly !== true) lower.push(at(this.#initLayer));
    else if (lower.length === 1) {
      // The kernel makes no overlay of one layer.
      bindMount(join(layers, lower[0] as string), merged, { readOnly: true });
      return;
    }
    // The mark that a volatile layer must not be mounted again, which matters after a crash of the machine only: no
    // container whose layer was volatile is kept over one.
    rmSync(join(work, "work/incompat/volatile"), { recursive: true, force: true });
    const folder = at(join(this.root, snapshot.id));
    const writable =
      snapshot.readOnly === true ? "" : `,upperdir=${join(folder, "diff")},workdir=${join(folder, "work")}`;
    const data = (names: readonly string[]): string => `lowerdir=${names.join(":")}${writable}`;
    const absolute = data(lower.map((name) => (name.startsWith("/") ? name : join(layers, name))));
    if (absolute.length <= maxOptions) {
      const isPassing =
        options.passing === true && writable !== "" && absolute.length + volatileOption.length <= maxOptions;
      if (!isPassing || !mountVolatile(merged, absolute))
        mount({ source: "overlay", target: merged, type: "overlay", data: absolute });
      return;
    }
    // Names relative to the layers' folder are a third as long: the kernel reads them from where we stand.
    const short = data(lower);
    if (short.length > maxOptions)
      throw new GantryError(
        "invalid",
        `max depth exceeded: ${snapshot.chain.length} layers are more than one mount can take`,
      );
    const before = process.cwd();
    process.chdir(layers);
    try {
      mount({ source: "overlay", target: merged, type: "overlay", data: short });
    } finally {
      process.chdir(before);
    }
  }

  /**
   * Throws `unsupported` unless the folder's file system and the kernel can show layers with mapped ids, and with
   * `tmpfs` such file systems, too; `invalid` where the root of containers could not get to its files.
   */
  async checkMapping(mapping: IdMapping, options: { tmpfs?: boolean } = {}): Promise<void> {
    await checkMappedViews(this.#base, mappedRoot(mapping), await this.#userNamespaces.open(mapping), options);
  }

  /** Lets go of what this process holds. Mounts stay. */
  close(): void {
    this.#userNamespaces.close();
  }

  /** The same as `unmount`, without holding up the event loop while the kernel writes what it must. */
  async unmountLater(id: string): Promise<void> {
    await unmountFileSystem(this.mergedPath(id));
    // A single layer that is bound there is no file system of its own.
    this.unmount(id);
  }

  /** Safe to repeat, and for what was never mounted. */
  unmount(id: string): void {
    for (const path of [this.mergedPath(id), join(this.root, id, "mapped")]) while (unmount(path)) continue;
  }

  /** The layers below may go: nobody looks into this snapshot any more, and it is about to be removed. */
  disown(id: string): void {
    this.#chains.delete(id);
  }

  async remove(id: string): Promise<void> {
    await this.unmountLater(id);
    const doomed = join(this.root, `tmp-${id}`);
    try {
      renameSync(join(this.root, id), doomed);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    this.#chains.delete(id);
    await removeFolder(doomed);
    if (existsSync(join(this.#roots, id))) await removeFolder(join(this.#roots, id));
  }

  /** Bytes in the writable layer, hard links counted once. */
  async usage(id: string): Promise<number> {
    const seen = new Set<string>();
    const walk = async (folder: string): Promise<number> => {
      let sum = 0;
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) {
          sum += await walk(path);
        } else if (entry.isFile() || entry.isSymbolicLink()) {
          const stats = await lstat(path);
          const key = `${stats.dev}:${stats.ino}`;
          if (stats.nlink > 1 && seen.has(key)) continue;
          seen.add(key);
          sum += stats.size;
        }
      }
      return sum;
    };
    return walk(join(this.root, id, "diff")).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return 0;
      throw error;
    });
  }

  /** What was changed against the layers below (`docker diff`). Throws `not-found`. */
  async changes(id: string): Promise<FilesystemChange[]> {
    const { upper, lower } = this.paths(await this.#require(id));
    return overlayChanges(upper, lower);
  }

  /** The writable layer as an OCI layer: an uncompressed tar with whiteouts, the same bytes for the same content. */
  async layerArchive(id: string): Promise<AsyncGenerator<Buffer>> {
    return archiveTree(this.paths(await this.#require(id)).upper, { kind: "layer" });
  }

  async #require(id: string): Promise<Snapshot> {
    const snapshot = await this.get(id);
    if (snapshot === undefined) throw new GantryError("not-found", `snapshot ${id} does not exist: not found`);
    return snapshot;
  }

  /** Removes every snapshot that is not in `keep`: what an earlier crash left without an owner. */
  async collect(keep: ReadonlySet<string>): Promise<string[]> {
    const removed: string[] = [];
    for (const name of await readdir(this.root)) {
      if (keep.has(name)) continue;
      this.unmount(name);
      if (name.startsWith("tmp-")) rmSync(join(this.root, name), { recursive: true, force: true });
      else await this.remove(name);
      removed.push(name);
    }
    for (const name of await readdir(this.#roots)) {
      if (keep.has(name)) continue;
      this.unmount(name);
      await removeFolder(join(this.#roots, name));
    }
    return removed;
  }
}
