import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, mkdir, readdir, rename, rm, symlink, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Digest } from "#base/ids.ts";
import { GantryError } from "#base/errors.ts";
import { KeyedLock } from "#base/keyed-lock.ts";
import { readJson, syncFolder, writeFileAtomic } from "#host/files.ts";
import { run } from "#host/run.ts";
import { hexOf } from "./digest.ts";
import type { UnpackPool } from "./unpack-pool.ts";

/** What is kept of an unpacked layer, in `layer.json`. */
export interface Layer {
  chainId: Digest;
  diffId: Digest;
  parent: Digest | undefined;
  /** Bytes of content. */
  size: number;
  /** The kernel's boot in which it was unpacked; absent once all of it is known to be on the disk. */
  bootId?: string;
  /** The short name of its link in `l/`: overlay's option string has one page for all layers. */
  link: string;
}

/** Characters in a short link's name: 8 make `l/xxxxxxxx`, so that 127 layers fit into a page. */
const linkBytes = 6;

const settleMs = 1_000;

/**
 * Layers unpacked once, by ChainID: `<root>/<hex>/diff`, with a short link in `<root>/l/`. A layer is there
 * whole or not at all.
 */
export class LayerStore {
  readonly root: string;
  readonly #pool: UnpackPool;
  readonly #layers = new Map<string, Layer>();
  readonly #lock = new KeyedLock();
  readonly #bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  readonly #closed = new AbortController();
  #settling: Promise<void> | undefined;

  constructor(root: string, pool: UnpackPool) {
    this.root = root;
    this.#pool = pool;
  }

  /**
   * Waits for the disk, once for all layers that were unpacked meanwhile: not before a container may start, since
   * a layer that is lost with the power is unpacked again from its archive, which was synced.
   */
  #settle(): void {
    this.#settling ??= (async () => {
      await setTimeout(settleMs, undefined, { ref: false, signal: this.#closed.signal });
      const layers = this.list().filter((layer) => layer.bootId !== undefined);
      this.#settling = undefined;
      await run(["sync", "-f", this.root], { signal: this.#closed.signal });
      for (const layer of layers)
        await this.#lock.run(layer.chainId, async () => {
          if (this.#layers.get(layer.chainId) !== layer) return;
          const { bootId: _, ...settled } = layer;
          this.#layers.set(layer.chainId, settled);
          await writeFileAtomic(join(this.root, hexOf(layer.chainId), "layer.json"), JSON.stringify(settled));
        });
    })().catch(() => {
      // Not known to be on the disk, then: no more is lost than time after a power cut.
    });
  }

  /** Reads what is there and removes what an earlier crash left half-made. */
  async start(): Promise<void> {
    await mkdir(join(this.root, "l"), { recursive: true, mode: 0o711 });
    // Programs of images with root's set-user-ID bit are nothing for this machine's users.
    await chmod(this.root, 0o700);
    for (const name of await readdir(this.root)) {
      if (name === "l") continue;
      const layer = /^[a-f0-9]{64}$/.test(name)
        ? await readJson<Layer>(join(this.root, name, "layer.json")).catch(() => undefined)
        : undefined;
      // Unpacked just before the power went: its files may be empty. The image store unpacks it again.
      const doubtful = layer?.bootId !== undefined && layer.bootId !== this.#bootId;
      if (layer === undefined || doubtful) await rm(join(this.root, name), { recursive: true, force: true });
      else this.#layers.set(layer.chainId, layer);
    }
    const links = new Set([...this.#layers.values()].map((layer) => layer.link));
    for (const name of await readdir(join(this.root, "l")))
      if (!links.has(name)) await unlink(join(this.root, "l", name));
    for (const layer of this.#layers.values()) await this.#makeLink(layer);
    if (this.list().some((layer) => layer.bootId !== undefined)) this.#settle();
  }

  /** Ends what runs in the background; it is taken up again at the next start. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#settling;
  }

  get(chainId: string): Layer | undefined {
    return this.#layers.get(chainId);
  }

  list(): Layer[] {
    return [...this.#layers.values()];
  }

  diffPath(layer: Layer): string {
    return join(this.root, hexOf(layer.chainId), "diff");
  }

  /** Relative to `root`, for overlay's options. */
  linkPath(layer: Layer): string {
    return `l/${layer.link}`;
  }

  async #makeLink(layer: Layer): Promise<void> {
    await symlink(`../${hexOf(layer.chainId)}/diff`, join(this.root, "l", layer.link)).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      },
    );
  }

  /**
   * Unpacks an archive, compressed or not, as the layer `chainId`, unless it is there. Two callers at once do it once. Throws
   * `invalid` when the archive's content is not `diffId`.
   */
  unpack(
    layer: { chainId: Digest; diffId: Digest; parent: Digest | undefined },
    archive: string,
    onProgress?: (bytes: number) => void,
  ): Promise<Layer> {
    return this.#lock.run(layer.chainId, async () => {
      const known = this.#layers.get(layer.chainId);
      if (known !== undefined) return known;
      return this.#make(layer, async (target) => {
        const result = await this.#pool.unpack({ target, kind: "layer", source: archive }, onProgress);
        if (result.diffId !== layer.diffId) {
          throw new GantryError("invalid", `layers from manifest don't match image configuration`, {
            data: { expected: layer.diffId, actual: result.diffId },
          });
        }
        return result.size;
      });
    });
  }

  /** Takes a folder (a container's upper directory, copied) over as a layer by calling `fill` on an empty one. */
  adopt(
    layer: { chainId: Digest; diffId: Digest; parent: Digest | undefined },
    fill: (target: string) => Promise<number>,
  ): Promise<Layer> {
    return this.#lock.run(layer.chainId, async () => this.#layers.get(layer.chainId) ?? this.#make(layer, fill));
  }

  async #make(
    layer: { chainId: Digest; diffId: Digest; parent: Digest | undefined },
    fill: (target: string) => Promise<number>,
  ): Promise<Layer> {
    const temporary = join(this.root, `tmp-${randomBytes(8).toString("hex")}`);
    try {
      await mkdir(join(temporary, "diff"), { recursive: true, mode: 0o755 });
      const size = await fill(join(temporary, "diff"));
      const made: Layer = { ...layer, size, bootId: this.#bootId, link: randomBytes(linkBytes).toString("base64url") };
      await writeFileAtomic(join(temporary, "layer.json"), JSON.stringify(made));
      await rename(temporary, join(this.root, hexOf(layer.chainId)));
      syncFolder(this.root);
      await this.#makeLink(made);
      this.#layers.set(layer.chainId, made);
      this.#settle();
      return made;
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  }

  /** Removes every layer that `keep` does not want; it is asked just before. Returns the bytes freed. */
  async collect(keep: (chainId: string) => boolean): Promise<number> {
    let freed = 0;
    for (const layer of this.list()) {
      if (keep(layer.chainId)) continue;
      await this.#lock.run(layer.chainId, async () => {
        if (keep(layer.chainId) || !this.#layers.has(layer.chainId)) return;
        this.#layers.delete(layer.chainId);
        // Renamed first: a crash in the middle of the removal must not leave a layer that looks whole.
        const doomed = join(this.root, `tmp-${randomBytes(8).toString("hex")}`);
        await rename(join(this.root, hexOf(layer.chainId)), doomed);
        await unlink(join(this.root, "l", layer.link)).catch(() => {});
        await rm(doomed, { recursive: true, force: true });
        freed += layer.size;
      });
    }
    return freed;
  }
}
