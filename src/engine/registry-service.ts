import { pullAllTags, pullImage } from "#image/image-pull.ts";
import { pushImage } from "#image/image-push.ts";
import type { Image, ImageStore } from "#image/image-store.ts";
import { type ImageReference, parseReference, repositoryOf, withDefaultTag } from "#image/reference.ts";
import { RegistryClient } from "#image/registry-client.ts";
import type { RegistryConfig } from "#image/registry-config.ts";
import { distributionOf, searchRegistry } from "#image/registry-search.ts";
import type { RegistryAuth } from "./engine.ts";
import type { RegistryPort } from "./images-api.ts";

/** `name` with the `tag` parameter that docker sends beside it: a tag or a digest. */
function referenceOf(name: string, tag: string | undefined): ImageReference {
  const reference = parseReference(name);
  if (tag === undefined || tag === "") return reference;
  if (tag.includes(":")) return parseReference(`${repositoryOf(reference)}@${tag}`);
  return parseReference(`${repositoryOf(reference)}:${tag}`);
}

/** The one way to registries, for `docker pull` and for pods. */
export class RegistryService implements RegistryPort {
  readonly #images: ImageStore;
  #client: RegistryClient;
  /** Of earlier configurations: pulls may be under way. */
  readonly #retired: RegistryClient[] = [];

  constructor(config: RegistryConfig, images: ImageStore) {
    this.#images = images;
    this.#client = new RegistryClient(config);
  }

  async pull(name: string, options: Parameters<RegistryPort["pull"]>[1]): Promise<Image[]> {
    const { tag, platform, auth, progress, signal, allTags } = options;
    const reference = referenceOf(name, tag);
    const parts = { images: this.#images, client: this.#client };
    const pullOptions = { credentials: auth, platform, progress, signal };
    if (!allTags) return [await pullImage(parts, reference, pullOptions)];
    await pullAllTags(parts, reference, pullOptions);
    const prefix = `${repositoryOf(reference)}:`;
    return this.#images.list().filter((image) => image.tags.some((each) => each.startsWith(prefix)));
  }

  async push(name: string, options: Parameters<RegistryPort["push"]>[1]): Promise<void> {
    const { tag, auth, progress, signal } = options;
    await pushImage({ images: this.#images, client: this.#client }, referenceOf(name, tag), {
      credentials: auth,
      progress,
      signal,
    });
  }

  search(term: string, options: { limit?: number; auth?: RegistryAuth }): ReturnType<RegistryPort["search"]> {
    return searchRegistry(this.#client, term, {
      credentials: options.auth,
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    });
  }

  async login(auth: RegistryAuth): Promise<{ Status: string; IdentityToken?: string }> {
    const domain = (auth.serveraddress ?? "").replace(/^https?:\/\//, "").replace(/\/.*$/, "");
    await this.#client.login(domain === "" || domain === "index.docker.io" ? "docker.io" : domain, auth);
    return { Status: "Login Succeeded" };
  }

  distribution(name: string, auth?: RegistryAuth): ReturnType<RegistryPort["distribution"]> {
    return distributionOf(this.#client, withDefaultTag(parseReference(name)), auth);
  }

  /** What begins from now on follows `config`; what is under way ends as it began. */
  reconfigure(config: RegistryConfig): void {
    this.#retired.push(this.#client);
    this.#client = new RegistryClient(config);
  }

  async close(): Promise<void> {
    await Promise.all([this.#client, ...this.#retired].map((client) => client.close()));
  }
}
