import { chown, lstat, mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { PruneReport, VolumeCreateBody, VolumeResource } from "#api/docker/object-types.ts";
import { GantryError, errorMessage } from "#base/errors.ts";
import type { FileOwner } from "#base/id-mapping.ts";
import { randomHex } from "#base/ids.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import { readJson, syncFolder, writeFileAtomic } from "#host/files.ts";
import { isMounted, mount, unmount } from "#host/mount.ts";
import { copyTree, treeSize } from "./copy-tree.ts";
import { type VolumeMount, kernelHas, parseDriverOptions } from "./mount-options.ts";
import { type VolumeFilters, booleanFilter, hasLabel, refuseUnknown, volumeFilter } from "./volume-filters.ts";

/** The label of volumes that nobody named; `docker volume prune` takes only these unless told otherwise. */
export const anonymousLabel = "com.docker.volume.anonymous";

export interface VolumeStoreOptions {
  /** Volumes stand in `<root>/<name>/_data`. */
  root: string;
  /** The ids of containers, running or not, that refer to a volume. */
  users: (name: string) => readonly string[];
  /** Milliseconds since the epoch. */
  now?: () => number;
  /** Whose the folders of new volumes are: the root of containers. Default: the machine's. */
  owner?: FileOwner;
}

/** What is kept beside `_data`, in `volume.json`. */
interface VolumeRecord {
  name: string;
  createdAt: string;
  labels: Record<string, string> | null;
  options: Record<string, string> | null;
}

const inWords = (error: unknown, prefix: string): GantryError =>
  error instanceof GantryError
    ? new GantryError(error.code, `${prefix}${error.message}`, { data: error.data, cause: error })
    : new GantryError("internal", `${prefix}${errorMessage(error)}`, { cause: error });

function checkName(name: string): void {
  if (name.length === 1)
    throw new GantryError(
      "invalid",
      `create ${name}: volume name is too short, names should be at least two alphanumeric characters`,
    );
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name))
    throw new GantryError(
      "invalid",
      `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  if (name.length > 255) throw new GantryError("invalid", `create ${name}: mkdir ${name}: file name too long`);
}

/**
 * The volumes of docker's `local` driver: folders of their own, or what `type`, `device` and `o` say, mounted
 * there while a container runs with it. What a crash left half-made is removed at start.
 */
export class VolumeStore {
  readonly root: string;
  readonly #users: (name: string) => readonly string[];
  readonly #now: () => number;
  readonly #owner: FileOwner | undefined;
  readonly #volumes = new Map<string, VolumeRecord>();
  /** Who has a volume mounted now. Only volumes with driver options have anything to mount. */
  readonly #mounted = new Map<string, Set<string>>();
  readonly #lock = new KeyedLock();

  constructor(options: VolumeStoreOptions) {
    this.root = options.root;
    this.#users = options.users;
    this.#now = options.now ?? Date.now;
    this.#owner = options.owner;
  }

  /** Reads what is there; removes what an earlier crash left half-made or half-removed. */
  async start(): Promise<void> {
    await mkdir(this.root, { recursive: true, mode: 0o701 });
    for (const name of await readdir(this.root)) {
      if (name.startsWith(".tmp-")) {
        await this.#discard(join(this.root, name));
        continue;
      }
      const record = await readJson<VolumeRecord>(join(this.root, name, "volume.json")).catch(() => undefined);
      if (record === undefined) continue;
      this.#volumes.set(name, { ...record, name });
      // A crash in the middle of a copy-up: the half must not pass for the whole.
      if (await lstat(this.#fillMark(name)).catch(() => undefined)) await this.#empty(name);
    }
  }

  /** Is there while a volume is being filled. */
  #fillMark(name: string): string {
    return join(this.root, name, "filling");
  }

  async #empty(name: string): Promise<void> {
    const target = this.mountpoint(name);
    for (const entry of await readdir(target)) await rm(join(target, entry), { recursive: true, force: true });
    await rm(this.#fillMark(name), { force: true });
  }

  async #discard(folder: string): Promise<void> {
    while (unmount(join(folder, "_data"))) continue;
    await rm(folder, { recursive: true, force: true });
  }

  /** Where a volume's content stands. */
  mountpoint(name: string): string {
    return join(this.root, name, "_data");
  }

  #resource(record: VolumeRecord): VolumeResource {
    return {
      CreatedAt: record.createdAt,
      Driver: "local",
      Labels: record.labels,
      Mountpoint: this.mountpoint(record.name),
      Name: record.name,
      Options: record.options,
      Scope: "local",
    };
  }

  #get(name: string): VolumeRecord {
    const record = this.#volumes.get(name);
    if (record === undefined)
      throw new GantryError("not-found", `get ${name}: no such volume`, { data: { volume: name } });
    return record;
  }

  find(name: string): VolumeResource | undefined {
    const record = this.#volumes.get(name);
    return record === undefined ? undefined : this.#resource(record);
  }

  /** Throws `not-found`. */
  inspect(name: string): VolumeResource {
    return this.#resource(this.#get(name));
  }

  /** In name order. Filters: dangling, driver, label, name. */
  list(filters: VolumeFilters = {}): VolumeResource[] {
    const wanted = volumeFilter(filters, (name) => this.#users(name).length > 0);
    return [...this.#volumes.values()]
      .map((record) => this.#resource(record))
      .filter(wanted)
      .sort((a, b) => (a.Name < b.Name ? -1 : 1));
  }

  /**
   * Makes a volume; one that exists is given back as it is. Without a name it is anonymous: 64 hexadecimal
   * digits and docker's label.
   */
  async create(body: VolumeCreateBody): Promise<VolumeResource> {
    return (await this.ensure(body)).volume;
  }

  /** The same, and whether it was made now. */
  async ensure(body: VolumeCreateBody): Promise<{ volume: VolumeResource; created: boolean }> {
    const anonymous = body.Name === undefined || body.Name === "";
    const name = anonymous ? randomHex(32) : (body.Name as string);
    checkName(name);
    if (body.Driver !== undefined && body.Driver !== "" && body.Driver !== "local")
      throw new GantryError(
        "not-found",
        `create ${name}: error looking up volume plugin ${body.Driver}: plugin "${body.Driver}" not found`,
      );
    const options = body.DriverOpts ?? {};
    try {
      parseDriverOptions(options);
    } catch (error) {
      throw inWords(error, `create ${name}: `);
    }
    return this.#lock.run(name, async () => {
      const known = this.#volumes.get(name);
      if (known !== undefined) return { volume: this.#resource(known), created: false };
      const labels = anonymous ? { ...body.Labels, [anonymousLabel]: "" } : (body.Labels ?? null);
      const record: VolumeRecord = {
        name,
        createdAt: new Date(this.#now()).toISOString().replace(/\.\d+Z$/, "Z"),
        labels,
        options: Object.keys(options).length === 0 ? null : { ...options },
      };
      const temporary = join(this.root, `.tmp-${randomHex(8)}`);
      try {
        await mkdir(join(temporary, "_data"), { recursive: true, mode: 0o755 });
        if (this.#owner !== undefined) await chown(join(temporary, "_data"), this.#owner.uid, this.#owner.gid);
        await writeFileAtomic(join(temporary, "volume.json"), JSON.stringify(record));
        await rename(temporary, join(this.root, name));
      } catch (error) {
        await rm(temporary, { recursive: true, force: true });
        throw inWords(error, `create ${name}: `);
      }
      syncFolder(this.root);
      this.#volumes.set(name, record);
      return { volume: this.#resource(record), created: true };
    });
  }

  /** Throws `conflict` while a container refers to it, `not-found` unless forced. Returns whether it was there. */
  remove(name: string, force = false): Promise<boolean> {
    return this.#lock.run(name, async () => {
      if (!this.#volumes.has(name)) {
        if (force) return false;
        this.#get(name);
      }
      const users = this.#users(name);
      if (users.length > 0)
        throw new GantryError("conflict", `remove ${name}: volume is in use - [${users.join(", ")}]`);
      const doomed = join(this.root, `.tmp-${randomHex(8)}`);
      // Unmounted before anything is removed: the content of a bound folder is not ours.
      while (unmount(this.mountpoint(name))) continue;
      this.#mounted.delete(name);
      await rename(join(this.root, name), doomed).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error;
      });
      this.#volumes.delete(name);
      syncFolder(this.root);
      await this.#discard(doomed);
      return true;
    });
  }

  /** Removes what no container refers to: anonymous volumes only, unless `all=true`. Filters: all, label, label!. */
  async prune(filters: VolumeFilters = {}): Promise<PruneReport> {
    refuseUnknown(filters, ["all", "label", "label!"]);
    const [word] = filters["all"] ?? [];
    if (word !== undefined && !/^([01tTfF]|true|TRUE|True|false|FALSE|False)$/.test(word)) {
      throw new GantryError(
        "invalid",
        `invalid filter 'all': strconv.ParseBool: parsing ${JSON.stringify(word)}: invalid syntax`,
      );
    }
    const all = booleanFilter(filters, "all") ?? false;
    const { label = [], "label!": notLabel = [] } = filters;
    const deleted: string[] = [];
    let spaceReclaimed = 0;
    for (const { Name, Labels } of this.list()) {
      if (!all && !hasLabel(Labels, anonymousLabel)) continue;
      if (!label.every((each) => hasLabel(Labels, each)) || notLabel.some((each) => hasLabel(Labels, each))) continue;
      if (this.#users(Name).length > 0) continue;
      const size = await this.usage(Name);
      try {
        if (!(await this.remove(Name, true))) continue;
      } catch (error) {
        // A container may have taken it in the meantime.
        if (error instanceof GantryError && error.code === "conflict") continue;
        throw error;
      }
      deleted.push(Name);
      spaceReclaimed += size;
    }
    return { deleted, spaceReclaimed };
  }

  /** Bytes of a volume's own content; 0 for what is mounted from elsewhere. */
  async usage(name: string): Promise<number> {
    const record = this.#get(name);
    return record.options === null ? treeSize(this.mountpoint(name)) : 0;
  }

  /**
   * Makes a volume's content available for `user` (a container's id) and returns where it is. Safe to repeat,
   * also after a restart of ours. Throws in docker's words when mounting fails.
   */
  acquire(name: string, user: string): Promise<string> {
    return this.#lock.run(name, () => {
      const record = this.#get(name);
      const target = this.mountpoint(name);
      const what = parseDriverOptions(record.options ?? {});
      if (what === undefined) return target;
      const users = this.#mounted.get(name) ?? new Set();
      if (users.size === 0 && !isMounted(target)) this.#mount(what, target);
      this.#mounted.set(name, users.add(user));
      return target;
    });
  }

  #mount({ type, source, flags, data }: VolumeMount, target: string): void {
    const shown = `failed to mount local volume: mount ${source}:${target}${flags === 0 ? "" : `, flags: 0x${flags.toString(16)}`}${data === "" ? "" : `, data: ${data}`}`;
    const refuse = (reason: string, cause?: unknown): GantryError =>
      new GantryError("internal", `error while mounting volume '${target}': ${shown}: ${reason}`, { cause });
    if (type.startsWith("nfs") && !kernelHas(type === "nfs4" ? "nfs4" : "nfs"))
      throw refuse(`no such device: this kernel has no ${type} file system (it is not in /proc/filesystems)`);
    try {
      mount({ source, target, type, flags, ...(data === "" ? {} : { data }) });
    } catch (error) {
      const reason = errorMessage(error);
      throw refuse(reason.slice(reason.lastIndexOf(": ") + 2), error);
    }
  }

  /** The container has ended with it; the last one unmounts. Safe to repeat. */
  release(name: string, user: string): Promise<void> {
    return this.#lock.run(name, () => {
      const users = this.#mounted.get(name);
      if (users === undefined || !users.delete(user) || users.size > 0) return;
      this.#mounted.delete(name);
      while (unmount(this.mountpoint(name))) continue;
    });
  }

  /** After a restart, once running containers have acquired theirs again: unmounts what nobody uses. */
  async releaseUnused(): Promise<void> {
    for (const [name, record] of this.#volumes) {
      if (record.options === null || this.#mounted.has(name)) continue;
      await this.#lock.run(name, () => {
        if (!this.#mounted.has(name)) while (unmount(this.mountpoint(name))) continue;
      });
    }
  }

  /**
   * Fills a volume that is empty with what an image has at its place, with owners, modes and attributes.
   * `source` is the folder in the mounted image, symbolic links resolved. Call between `acquire` and the
   * container's start. True when something was copied; a failure leaves the volume empty.
   */
  copyUp(name: string, source: string): Promise<boolean> {
    return this.#lock.run(name, async () => {
      const target = this.mountpoint(name);
      this.#get(name);
      const stats = await lstat(source).catch(() => undefined);
      if (stats === undefined || !stats.isDirectory()) return false;
      if ((await readdir(target)).length > 0) return false;
      await writeFileAtomic(this.#fillMark(name), "");
      try {
        await copyTree(source, target);
        await rm(this.#fillMark(name));
      } catch (error) {
        await this.#empty(name);
        throw inWords(error, `failed to populate volume: `);
      }
      return true;
    });
  }
}
