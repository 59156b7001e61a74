import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { buildHelloImage } from "./builtin-hello.ts";
import { ContentStore } from "./content-store.ts";
import { digestOf } from "./digest.ts";
import { ImageStore } from "./image-store.ts";
import { LayerStore } from "./layer-store.ts";
import { mediaTypes } from "./oci.ts";
import { canonicalString, parseReference } from "./reference.ts";
import { Snapshots } from "./snapshots.ts";
import { UnpackPool } from "./unpack-pool.ts";

/** Everything about images, on one folder: `oci/`, `layers/`, `snapshots/`, `init/`, `roots/`. */
export class ImageService {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly images: ImageStore;
  readonly snapshots: Snapshots;
  readonly #root: string;
  readonly #pool = new UnpackPool();

  constructor(root: string) {
    this.#root = root;
    this.content = new ContentStore(join(root, "oci"));
    this.layers = new LayerStore(join(root, "layers"), this.#pool);
    this.snapshots = new Snapshots(join(root, "snapshots"), this.layers);
    this.images = new ImageStore({
      content: this.content,
      layers: this.layers,
      usedByContainers: (chainId) => this.snapshots.uses(chainId),
    });
  }

  async start(): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o711 });
    await this.content.start();
    await this.layers.start();
    await this.images.start();
    await this.snapshots.start();
    // What a pull, a load, a commit or a build had stored when its process was killed.
    await this.images.collect();
  }

  async stop(): Promise<void> {
    this.snapshots.close();
    await this.layers.close();
    await this.#pool.close();
  }

  /** Makes `gantry/hello` when there is no image of that name. Returns true when it did. */
  async ensureHello(): Promise<boolean> {
    const { images, content } = this;
    if (images.find("gantry/hello:latest") !== undefined) return false;
    const hello = await buildHelloImage();
    const diffId = digestOf(hello.layer);
    const release = content.lease(diffId);
    try {
      const blob = await content.put(hello.layer);
      await images.create({
        config: { ...hello.config, rootfs: { type: "layers", diff_ids: [diffId] } },
        layers: [{ mediaType: mediaTypes.layer, ...blob }],
        tag: canonicalString(parseReference(hello.reference)),
      });
      return true;
    } finally {
      release();
    }
  }
}
