import { createHash } from "node:crypto";
import type { Registry } from "./registry.ts";
import type { ResourceType, ServedVersion } from "./resource-type.ts";

interface ApiResource {
  name: string;
  singularName: string;
  namespaced: boolean;
  group?: string;
  version?: string;
  kind: string;
  verbs: readonly string[];
  shortNames?: readonly string[];
  categories?: readonly string[];
  storageVersionHash?: string;
}

const kindVersion = (group: string, version: string): { groupVersion: string; version: string } => ({
  groupVersion: group === "" ? version : `${group}/${version}`,
  version,
});

/** The documents of discovery, made from the registry and kept until it changes. */
export class Discovery {
  readonly #registry: Registry;
  #revision = -1;
  #types = new Map<string, ResourceType[]>();
  #kept = new Map<string, unknown>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Groups besides the core group, in order. */
  get groups(): string[] {
    this.#refresh();
    return [...this.#types.keys()].filter((group) => group !== "");
  }

  versions(group: string): string[] {
    this.#refresh();
    const out: string[] = [];
    for (const type of this.#types.get(group) ?? [])
      for (const { version } of type.versions) if (!out.includes(version)) out.push(version);
    return out;
  }

  /** `/api`. */
  legacy(serverAddress: string): unknown {
    return {
      kind: "APIVersions",
      versions: ["v1"],
      serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress }],
    };
  }

  /** `/apis`. */
  groupList(): unknown {
    return this.#keep("groups", () => ({
      kind: "APIGroupList",
      apiVersion: "v1",
      groups: this.groups.map((group) => this.#group(group)),
    }));
  }

  /** `/apis/GROUP`; undefined when there is no such group. */
  group(name: string): unknown {
    if (!this.groups.includes(name)) return undefined;
    return this.#keep(`group ${name}`, () => ({ kind: "APIGroup", apiVersion: "v1", ...this.#group(name) }));
  }

  /** `/api/v1`, `/apis/GROUP/VERSION`; undefined when that is not served. */
  resources(group: string, version: string): unknown {
    if (!this.versions(group).includes(version)) return undefined;
    return this.#keep(`resources ${group}/${version}`, () => ({
      kind: "APIResourceList",
      ...(group === "" ? {} : { apiVersion: "v1" }),
      groupVersion: kindVersion(group, version).groupVersion,
      resources: this.#inVersion(group, version).flatMap(({ type, served }) => resourceLines(type, served)),
    }));
  }

  /** The aggregated document of `/api` (core) or `/apis`, and its ETag. */
  aggregated(core: boolean, version: "v2" | "v2beta1"): { json: string; etag: string } {
    return this.#keep(`aggregated ${core} ${version}`, () => {
      const groups = core ? [""] : this.groups;
      const json = JSON.stringify({
        kind: "APIGroupDiscoveryList",
        apiVersion: `apidiscovery.k8s.io/${version}`,
        metadata: {},
        items: groups.map((group) => ({
          metadata: group === "" ? { creationTimestamp: null } : { name: group, creationTimestamp: null },
          versions: this.versions(group).map((each) => ({
            version: each,
            resources: this.#inVersion(group, each).map(({ type, served }) => aggregatedResource(type, served)),
            freshness: "Current",
          })),
        })),
      });
      return { json, etag: `"${createHash("sha512").update(json).digest("hex").toUpperCase()}"` };
    }) as { json: string; etag: string };
  }

  #group(name: string): Record<string, unknown> {
    const versions = this.versions(name).map((version) => kindVersion(name, version));
    return { name, versions, preferredVersion: versions[0] };
  }

  #inVersion(group: string, version: string): { type: ResourceType; served: ServedVersion }[] {
    const out: { type: ResourceType; served: ServedVersion }[] = [];
    for (const type of this.#types.get(group) ?? []) {
      const served = type.versions.find((each) => each.version === version);
      if (served !== undefined) out.push({ type, served });
    }
    return out.sort((a, b) => (a.type.resource < b.type.resource ? -1 : 1));
  }

  #keep<T>(key: string, make: () => T): T {
    this.#refresh();
    if (!this.#kept.has(key)) this.#kept.set(key, make());
    return this.#kept.get(key) as T;
  }

  #refresh(): void {
    if (this.#revision === this.#registry.revision) return;
    this.#revision = this.#registry.revision;
    this.#types = new Map();
    this.#kept = new Map();
    for (const type of this.#registry.types) {
      const known = this.#types.get(type.group);
      if (known === undefined) this.#types.set(type.group, [type]);
      else known.push(type);
    }
  }
}

function resourceLines(type: ResourceType, served: ServedVersion): ApiResource[] {
  const main: ApiResource = {
    name: type.resource,
    singularName: type.singular,
    namespaced: type.namespaced,
    kind: type.kind,
    verbs: served.verbs,
    ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
    ...(type.categories.length === 0 ? {} : { categories: type.categories }),
    ...(type.storageHash === "" ? {} : { storageVersionHash: type.storageHash }),
  };
  const parts = [...served.subresources.values()].map(({ name, kind, verbs }): ApiResource => {
    const foreign = kind.group !== type.group || kind.version !== served.version;
    return {
      name: `${type.resource}/${name}`,
      singularName: "",
      namespaced: type.namespaced,
      ...(foreign ? { group: kind.group, version: kind.version } : {}),
      kind: kind.kind,
      verbs,
    };
  });
  return [main, ...parts];
}

function aggregatedResource(type: ResourceType, served: ServedVersion): unknown {
  return {
    resource: type.resource,
    responseKind: { group: "", version: "", kind: type.kind },
    scope: type.namespaced ? "Namespaced" : "Cluster",
    singularResource: type.singular,
    verbs: served.verbs,
    ...(type.shortNames.length === 0 ? {} : { shortNames: type.shortNames }),
    ...(type.categories.length === 0 ? {} : { categories: type.categories }),
    ...(served.subresources.size === 0
      ? {}
      : {
          subresources: [...served.subresources.values()].map(({ name, kind, verbs }) => ({
            subresource: name,
            responseKind: {
              group: kind.group === type.group && kind.version === served.version ? "" : kind.group,
              version: kind.group === type.group && kind.version === served.version ? "" : kind.version,
              kind: kind.kind,
            },
            verbs,
          })),
        }),
  };
}
