import { GantryError } from "#base/errors.ts";

/** A parsed image reference (distribution/reference). */
export interface ImageReference {
  /** `docker.io`, `127.0.0.1:5000`. */
  domain: string;
  /** Without the domain: `library/busybox`. */
  path: string;
  tag: string | undefined;
  digest: string | undefined;
}

const domainComponent = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const domainPattern = new RegExp(`^(?:${domainComponent}(?:\\.${domainComponent})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[\w][\w.-]{0,127}$/;
const digestPattern = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
const defaultDomain = "docker.io";

const badFormat = (text: string): GantryError =>
  new GantryError("invalid", "invalid reference format", { data: { reference: text } });

/** Splits `host/path`: the first part is a host when it has a dot or a port, is `localhost`, or has a capital. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  const isDomain = slash >= 0 && (/[.:]/.test(first) || first === "localhost" || first.toLowerCase() !== first);
  let domain = isDomain ? first : defaultDomain;
  let path = isDomain ? name.slice(slash + 1) : name;
  if (domain === "index.docker.io") domain = defaultDomain;
  if (domain === defaultDomain && !path.includes("/")) path = `library/${path}`;
  return { domain, path };
}

/**
 * Parses what a user types (`busybox`, `host:5000/a/b:tag@sha256:…`) into its full form. No tag is added.
 * Throws `invalid` in docker's words.
 */
export function parseReference(text: string): ImageReference {
  if (/^[a-f0-9]{64}$/.test(text)) {
    throw new GantryError("invalid", `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  let rest = text;
  let digest: string | undefined;
  const at = rest.indexOf("@");
  if (at >= 0) {
    digest = rest.slice(at + 1);
    rest = rest.slice(0, at);
    if (!digestPattern.test(digest)) throw badFormat(text);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(":");
  if (colon > rest.lastIndexOf("/")) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!tagPattern.test(tag)) throw badFormat(text);
  }
  if (rest === "") throw badFormat(text);
  const { domain, path } = splitDomain(rest);
  if (path.toLowerCase() !== path) {
    throw new GantryError("invalid", `invalid reference format: repository name (${path}) must be lowercase`);
  }
  if (!domainPattern.test(domain) || !path.split("/").every((part) => componentPattern.test(part)))
    throw badFormat(text);
  if (domain.length + 1 + path.length > 255)
    throw new GantryError("invalid", "invalid reference format: repository name must not be more than 255 characters");
  return { domain, path, tag, digest };
}

/** The repository in full: `docker.io/library/busybox`. */
export function repositoryOf(reference: ImageReference): string {
  return `${reference.domain}/${reference.path}`;
}

/** The repository as users see it: `busybox`, `host:5000/a`. */
export function familiarRepository(reference: ImageReference): string {
  if (reference.domain !== defaultDomain) return repositoryOf(reference);
  return reference.path.startsWith("library/") ? reference.path.slice("library/".length) : reference.path;
}

/** The same reference with `latest` when it has neither tag nor digest. */
export function withDefaultTag(reference: ImageReference): ImageReference {
  return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: "latest" } : reference;
}

/** The short form with tag or digest: `busybox:latest`. */
export function familiarString(reference: ImageReference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${familiarRepository(reference)}${tag}${digest}`;
}

/** The full form: `docker.io/library/busybox:latest`. */
export function canonicalString(reference: ImageReference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  const digest = reference.digest === undefined ? "" : `@${reference.digest}`;
  return `${repositoryOf(reference)}${tag}${digest}`;
}

/** Plain http without configuration: this machine's own registries (docker, "insecure-registries"). */
export function isLoopbackRegistry(domain: string): boolean {
  const host = domain.replace(/:\d+$/, "");
  return host === "localhost" || host === "[::1]" || /^127\.\d+(\.\d+){0,2}$/.test(host);
}
