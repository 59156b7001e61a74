import type { SearchResult } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";
import { asDigest, digestOf } from "./digest.ts";
import type { Descriptor, Platform } from "./oci.ts";
import { maxManifestBytes, parseImageConfig, parseManifestOrIndex } from "./oci-parse.ts";
import type { ImageReference } from "./reference.ts";
import type { RegistryCredentials } from "./registry-auth.ts";
import type { RegistryClient, Repository } from "./registry-client.ts";
import { readBytes, readText } from "./registry-transport.ts";

export interface SearchOptions {
  /** 1 to 100. */
  limit?: number;
  credentials?: RegistryCredentials | undefined;
  signal?: AbortSignal;
}

/**
 * `docker search [registry/]term`: the registry's search (`/v1/search`), or, where it has none, the names in its
 * catalogue that contain the term. Throws `unsupported` where there is neither.
 */
export async function searchRegistry(
  client: RegistryClient,
  term: string,
  options: SearchOptions = {},
): Promise<SearchResult[]> {
  const { credentials, limit = 25, signal } = options;
  if (limit < 1 || limit > 100) throw new GantryError("invalid", `limit ${limit} is outside the range of [1, 100]`);
  const slash = term.indexOf("/");
  const first = slash < 0 ? "" : term.slice(0, slash);
  const named = slash >= 0 && (/[.:]/.test(first) || first === "localhost");
  const domain = named ? first : "docker.io";
  const query = named ? term.slice(slash + 1) : term;
  const scope = "registry:catalog:*";
  const ask = async (
    url: string,
    host = domain,
  ): Promise<{ status: number; value: Record<string, unknown> | undefined }> => {
    const answer = await client.send(host, {
      method: "GET",
      url,
      credentials,
      scope,
      accept: [404, 405],
      ...(signal === undefined ? {} : { signal }),
    });
    const text = await readText(answer.body, maxManifestBytes);
    if (answer.status !== 200) return { status: answer.status, value: undefined };
    try {
      return { status: 200, value: JSON.parse(text) as Record<string, unknown> };
    } catch {
      return { status: answer.status, value: undefined };
    }
  };
  // docker.io's search is on another host than its images.
  const host = domain === "docker.io" ? "index.docker.io" : domain;
  const searched = await ask(`/v1/search?q=${encodeURIComponent(query)}&n=${limit}`, host);
  if (Array.isArray(searched.value?.["results"])) {
    return searched.value["results"].slice(0, limit).map((each: Partial<SearchResult>) => ({
      star_count: Number(each.star_count ?? 0),
      is_official: each.is_official === true,
      is_automated: each.is_automated === true,
      name: String(each.name ?? ""),
      description: String(each.description ?? ""),
    }));
  }
  const catalog = domain === "docker.io" ? undefined : await ask("/v2/_catalog?n=1000");
  const names = catalog?.value?.["repositories"];
  if (!Array.isArray(names))
    throw new GantryError("unsupported", `Unexpected status code ${searched.status}: ${host} has no search`);
  return names
    .filter((name): name is string => typeof name === "string" && name.includes(query))
    .slice(0, limit)
    .map((name) => ({
      star_count: 0,
      is_official: false,
      is_automated: false,
      name: `${domain}/${name}`,
      description: "",
    }));
}

/** `GET /distribution/{name}/json`: what a registry has under a name, without pulling it. */
export async function distributionOf(
  client: RegistryClient,
  reference: ImageReference,
  credentials?: RegistryCredentials,
): Promise<{ Descriptor: unknown; Platforms: unknown[] }> {
  return client.withRepository(reference, { credentials, actions: "pull" }, async (repository) => {
    const { descriptor, bytes } = await repository.manifest(reference.digest ?? reference.tag ?? "latest");
    const parsed = parseManifestOrIndex(bytes);
    const platforms =
      "manifest" in parsed
        ? await platformOf(repository, parsed.manifest.config)
        : parsed.index.manifests.flatMap(({ platform }) => (platform === undefined ? [] : [platform]));
    return { Descriptor: descriptor, Platforms: platforms };
  });
}

/** A single image's platform stands in its configuration alone; what is no image has none. */
async function platformOf(repository: Repository, config: Descriptor): Promise<Platform[]> {
  const { body } = await repository.blob(asDigest(config.digest), 0);
  const bytes = await readBytes(body, maxManifestBytes);
  if (digestOf(bytes) !== config.digest)
    throw new GantryError("invalid", `the registry sent another configuration than ${config.digest}`);
  try {
    const { os, architecture, variant } = parseImageConfig(bytes);
    return [{ architecture, os, ...(variant === undefined || variant === "" ? {} : { variant }) }];
  } catch (error) {
    if (error instanceof GantryError) return [];
    throw error;
  }
}
