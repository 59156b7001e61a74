import type { ResourceRef } from "#api/kube/object.ts";

/** The path of a resource's collection, object or subresource. */
export function resourcePath(resource: ResourceRef, namespace?: string, name?: string, subresource?: string): string {
  let path = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  if (namespace !== undefined && namespace !== "") path += `/namespaces/${encodeURIComponent(namespace)}`;
  path += `/${resource.resource}`;
  if (name !== undefined) path += `/${encodeURIComponent(name)}`;
  if (subresource !== undefined && subresource !== "") path += `/${subresource}`;
  return path;
}

/** `?a=b&c=d` of what is defined; "" when nothing is. */
export function queryString(values: Record<string, string | number | boolean | undefined>): string {
  const out = new URLSearchParams();
  for (const key in values) if (values[key] !== undefined) out.set(key, String(values[key]));
  const text = out.toString();
  return text === "" ? "" : `?${text}`;
}
