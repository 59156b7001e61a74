/** What a path of the API is about (apiserver, RequestInfo). */
export interface ResourcePath {
  kind: "resource";
  group: string;
  version: string;
  /** "" for a path outside any namespace. */
  namespace: string;
  resource: string;
  /** "" for a collection. */
  name: string;
  subresource: string;
  /** What follows a proxy subresource, with its leading slash; "" otherwise. */
  rest: string;
  /** The deprecated `/api/v1/watch/…` form. */
  legacyWatch: boolean;
}

export type RequestPath = ResourcePath | { kind: "other"; path: string };

/** Takes a path apart. Segments are percent-decoded; undefined when they cannot be. */
export function parsePath(path: string): RequestPath | undefined {
  const raw = path.split("/");
  raw.shift();
  const root = raw[0];
  if ((root !== "api" && root !== "apis") || raw.length < (root === "api" ? 3 : 4)) return { kind: "other", path };
  let parts: string[];
  try {
    parts = raw.map(decodeURIComponent);
  } catch {
    return undefined;
  }
  const group = root === "api" ? "" : (parts[1] as string);
  const version = root === "api" ? (parts[1] as string) : (parts[2] as string);
  let at = root === "api" ? 2 : 3;
  const legacyWatch = parts[at] === "watch" && parts.length > at + 1;
  if (legacyWatch) at++;
  if (parts[at] === "" || parts[at] === undefined) return { kind: "other", path };
  let namespace = "";
  // `namespaces/x/finalize` and `/status` are about the namespace; any other third segment is a resource in it.
  if (parts[at] === "namespaces" && parts.length > at + 2 && parts[at + 2] !== "") {
    const third = parts[at + 2] as string;
    if (!(parts.length === at + 3 && (third === "finalize" || third === "status"))) {
      namespace = parts[at + 1] as string;
      at += 2;
    }
  }
  const resource = parts[at] as string;
  const name = parts[at + 1] ?? "";
  const subresource = parts[at + 2] ?? "";
  const rest = parts.length > at + 3 ? `/${raw.slice(at + 3).join("/")}` : "";
  return { kind: "resource", group, version, namespace, resource, name, subresource, rest, legacyWatch };
}
