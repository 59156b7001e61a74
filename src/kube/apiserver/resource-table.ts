import type { ResourceInfo } from "#api/kube/schema.ts";
import { scheme } from "#api/kube/scheme.ts";
import type { ResourceType, ServedVersion } from "./resource-type.ts";

/** Where a resource's objects are kept when that is not under its own group: two faces of one thing. */
const storedAs: Record<string, string> = { "events.k8s.io/events": "/events" };

/** Groups that are off unless switched on. */
const unserved = new Set(["internal.apiserver.k8s.io"]);

function served(info: ResourceInfo): ServedVersion {
  return {
    version: info.version,
    verbs: info.verbs,
    subresources: new Map(
      info.subresources.map(({ name, group, version, kind, verbs }) => [
        name,
        { name, kind: { group, version, kind }, verbs },
      ]),
    ),
  };
}

/** The built-in resources that are served by default: every generally available version. */
export function builtinResourceTypes(): ResourceType[] {
  const types = new Map<string, ResourceType & { versions: ServedVersion[] }>();
  for (const info of scheme.resources) {
    if (!info.servedByDefault || unserved.has(info.group)) continue;
    const key = `${info.group}/${info.plural}`;
    const known = types.get(key);
    if (known !== undefined) {
      known.versions.push(served(info));
      continue;
    }
    types.set(key, {
      group: info.group,
      resource: info.plural,
      singular: info.singular,
      kind: info.kind,
      namespaced: info.namespaced,
      shortNames: info.shortNames,
      categories: info.categories,
      storageVersion: info.version,
      storageHash: info.storageVersionHash,
      versions: [served(info)],
    });
  }
  return [...types.values()];
}

/** `group/resource` under which the objects of a resource are kept. */
export function storageName(type: ResourceType): string {
  const own = `${type.group}/${type.resource}`;
  return storedAs[own] ?? own;
}
