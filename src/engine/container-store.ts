import { mkdirSync, renameSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { HostConfig } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { readJson, removeFolder, writeFileAtomic } from "#host/files.ts";
import { Container, type ContainerRecord, statusWord } from "./container.ts";
import { linkTarget } from "./container-links.ts";

/** The containers of this engine: in memory by id and by name, on disk under `containers/<id>/`. */
export class ContainerStore {
  readonly root: string;
  readonly #log: Logger;
  readonly #byId = new Map<string, Container>();
  readonly #byName = new Map<string, string>();

  constructor(root: string, log: Logger) {
    this.root = root;
    this.#log = log;
  }

  folder(id: string): string {
    return join(this.root, id);
  }

  /** Reads all records. Folders without a readable record are what a crash left of a create: removed. */
  async load(): Promise<void> {
    await mkdir(this.root, { recursive: true, mode: 0o710 });
    for (const id of await readdir(this.root)) {
      const folder = this.folder(id);
      const record = await readJson<ContainerRecord>(join(folder, "config.v2.json")).catch((error: unknown) => {
        this.#log.error("A container's configuration is damaged; it is left alone.", { container: id, error });
        return "damaged" as const;
      });
      if (record === "damaged") continue;
      if (record === undefined || id.startsWith("tmp-")) {
        await rm(folder, { recursive: true, force: true });
        continue;
      }
      const hostConfig = (await readJson<HostConfig>(join(folder, "hostconfig.json"))) ?? {};
      const container = new Container(record, hostConfig);
      this.#byId.set(id, container);
      this.#byName.set(container.name, id);
    }
  }

  all(): Container[] {
    return [...this.#byId.values()];
  }

  byId(id: string): Container | undefined {
    return this.#byId.get(id);
  }

  idOfName(name: string): string | undefined {
    return this.#byName.get(name);
  }

  /** What a user means: full id, name, prefix of an id. Throws docker's sentences. */
  resolve(ref: string): Container {
    if (ref === "") throw new GantryError("invalid", "No container name or ID supplied");
    const exact = this.#byId.get(ref);
    if (exact !== undefined) return exact;
    const named = this.#byName.get(ref.startsWith("/") ? ref.slice(1) : ref);
    if (named !== undefined) return this.#byId.get(named) as Container;
    const [owner = "", alias] = (ref.startsWith("/") ? ref.slice(1) : ref).split("/");
    const linking = alias === undefined ? undefined : this.#byId.get(this.#byName.get(owner) ?? "");
    const linked = linking === undefined ? undefined : linkTarget(linking, alias as string, this);
    if (linked !== undefined) return linked;
    const found: Container[] = [];
    if (/^[a-f0-9]+$/.test(ref)) {
      for (const [id, container] of this.#byId) if (id.startsWith(ref)) found.push(container);
    }
    if (found.length > 1) {
      throw new GantryError("invalid", `multiple IDs found with provided prefix: ${ref}`);
    }
    if (found[0] === undefined) throw new GantryError("not-found", `No such container: ${ref}`);
    return found[0];
  }

  /** Takes a name for an id, at once. Throws docker's conflict. */
  reserveName(name: string, id: string): void {
    const owner = this.#byName.get(name);
    if (owner !== undefined && owner !== id) {
      throw new GantryError(
        "conflict",
        `Conflict. The container name "/${name}" is already in use by container "${owner}". You have to remove (or rename) that container to be able to reuse that name.`,
      );
    }
    this.#byName.set(name, id);
  }

  releaseName(name: string, id: string): void {
    if (this.#byName.get(name) === id) this.#byName.delete(name);
  }

  /** Makes the container's folder and enters it. */
  async add(container: Container): Promise<void> {
    mkdirSync(this.folder(container.id), { recursive: true, mode: 0o710 });
    await Promise.all([this.saveHostConfig(container), this.save(container)]);
    this.#byId.set(container.id, container);
  }

  /** Writes the record. `durable: false` for what can be found out again after a power failure. */
  async save(container: Container, options: { durable?: boolean } = {}): Promise<void> {
    container.state.Status = statusWord(container.state);
    const text = JSON.stringify(container.record);
    await writeFileAtomic(join(this.folder(container.id), "config.v2.json"), text, {
      mode: 0o600,
      sync: options.durable === true,
    });
  }

  /**
   * Writes the record of what has happened or must happen whatever the disk says: that it is full holds up no end
   * and no removal. The next write, or a look at the processes at the next start, makes up for it.
   */
  async saveFact(container: Container): Promise<void> {
    await this.save(container).catch((error: unknown) => {
      this.#log.error("A container's state could not be written.", { container: container.id, error });
    });
  }

  async saveHostConfig(container: Container): Promise<void> {
    const text = JSON.stringify(container.hostConfig);
    await writeFileAtomic(join(this.folder(container.id), "hostconfig.json"), text, { mode: 0o600, sync: false });
  }

  /** Takes the record away, in one step for a later start. Its files are left for `remove`, or that start. */
  async withdraw(container: Container): Promise<void> {
    this.#byId.delete(container.id);
    this.releaseName(container.name, container.id);
    try {
      renameSync(this.folder(container.id), this.#doomed(container));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }

  /** Takes the record and its files away. */
  async remove(container: Container): Promise<void> {
    await this.withdraw(container);
    await removeFolder(this.#doomed(container));
  }

  #doomed(container: Container): string {
    return join(this.root, `tmp-${container.id}`);
  }
}
