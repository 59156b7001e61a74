import { readFileSync, readdirSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { join } from "node:path";
import { GantryError } from "#base/errors.ts";
import { isLoopbackRegistry } from "./reference.ts";

/** How registries are reached: one configuration for `docker pull` and for pods' pulls. */
export interface RegistryConfig {
  /** By domain (`docker.io`), base addresses that are asked first: `https://mirror.example:5000`. */
  mirrors: Readonly<Record<string, readonly string[]>>;
  /** Hosts (`host:port`) and address ranges whose certificates are not checked, and that may speak plain http. */
  insecureRegistries: readonly string[];
  /** Folders `<host>/` with `*.crt` (authorities) and `*.cert` with `*.key` (ours). */
  certsDir: string;
  maxConcurrentDownloads: number;
  maxConcurrentUploads: number;
  /** Tries of one blob, each of which goes on where the one before was cut. */
  maxDownloadAttempts: number;
  timeouts: RegistryTimeouts;
}

/** Milliseconds. */
export interface RegistryTimeouts {
  connect: number;
  /** Until the answer's headers. */
  headers: number;
  /** Without a byte. */
  idle: number;
  /** Before the first retry; doubles. */
  retry: number;
}

export const defaultRegistryConfig: RegistryConfig = {
  mirrors: {},
  insecureRegistries: [],
  certsDir: "/etc/docker/certs.d",
  maxConcurrentDownloads: 3,
  maxConcurrentUploads: 5,
  maxDownloadAttempts: 5,
  timeouts: { connect: 15_000, headers: 60_000, idle: 60_000, retry: 1_000 },
};

/** What of docker's daemon.json is about registries. */
export interface DaemonRegistryKeys {
  "registry-mirrors"?: readonly string[];
  "insecure-registries"?: readonly string[];
  "max-concurrent-downloads"?: number;
  "max-concurrent-uploads"?: number;
  "max-download-attempts"?: number;
}

/** The configuration that daemon.json asks for. Throws `invalid` in docker's words. */
export function registryConfigOf(keys: DaemonRegistryKeys): RegistryConfig {
  const mirrors = keys["registry-mirrors"] ?? [];
  for (const mirror of mirrors) {
    if (!URL.canParse(mirror) || !/^https?:$/.test(new URL(mirror).protocol))
      throw new GantryError(
        "invalid",
        `invalid mirror: unsupported scheme ${JSON.stringify(mirror)}, must either be http or https`,
      );
    if (new URL(mirror).search !== "" || new URL(mirror).username !== "")
      throw new GantryError(
        "invalid",
        `invalid mirror: query, fragment or user at end of the URI ${JSON.stringify(mirror)}`,
      );
  }
  const positive = (
    key: "max-concurrent-downloads" | "max-concurrent-uploads" | "max-download-attempts",
    fallback: number,
  ): number => {
    const value = keys[key] ?? fallback;
    if (!Number.isInteger(value) || value < 1)
      throw new GantryError("invalid", `invalid ${key.replaceAll("-", " ")}: ${value}`);
    return value;
  };
  return {
    ...defaultRegistryConfig,
    mirrors: mirrors.length === 0 ? {} : { "docker.io": mirrors },
    insecureRegistries: keys["insecure-registries"] ?? [],
    maxConcurrentDownloads: positive("max-concurrent-downloads", defaultRegistryConfig.maxConcurrentDownloads),
    maxConcurrentUploads: positive("max-concurrent-uploads", defaultRegistryConfig.maxConcurrentUploads),
    maxDownloadAttempts: positive("max-download-attempts", defaultRegistryConfig.maxDownloadAttempts),
  };
}

/** One way to a registry. */
export interface RegistryEndpoint {
  /** `https://host:port`, without a slash at the end. */
  base: string;
  /** `host:port`. */
  host: string;
  insecure: boolean;
  mirror: boolean;
}

/** Where docker's own domain really is. */
const hubHost = "registry-1.docker.io";

function isInsecure(host: string, insecure: readonly string[]): boolean {
  if (isLoopbackRegistry(host)) return true;
  const bare = host.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return insecure.some((entry) => {
    if (!/\/\d+$/.test(entry)) return entry.replace(/^https?:\/\//, "") === host;
    const [network, prefix] = entry.split("/") as [string, string];
    const family = isIP(network);
    if (family === 0 || isIP(bare) !== family) return false;
    const list = new BlockList();
    list.addSubnet(network, Number(prefix), family === 6 ? "ipv6" : "ipv4");
    return list.check(bare, family === 6 ? "ipv6" : "ipv4");
  });
}

/** The ways to a domain's registry, in the order to try them: mirrors, then https, then http where it is allowed. */
export function endpointsOf(config: RegistryConfig, domain: string): RegistryEndpoint[] {
  const out: RegistryEndpoint[] = [];
  for (const mirror of config.mirrors[domain] ?? []) {
    let url: URL;
    try {
      url = new URL(mirror);
    } catch (cause) {
      throw new GantryError("invalid", `invalid mirror: ${JSON.stringify(mirror)} is not a valid URI`, { cause });
    }
    const insecure = url.protocol === "http:" || isInsecure(url.host, config.insecureRegistries);
    out.push({ base: url.href.replace(/\/$/, ""), host: url.host, insecure, mirror: true });
  }
  const host = domain === "docker.io" ? hubHost : domain;
  const insecure = isInsecure(host, config.insecureRegistries);
  out.push({ base: `https://${host}`, host, insecure, mirror: false });
  if (insecure) out.push({ base: `http://${host}`, host, insecure, mirror: false });
  return out;
}

/** What TLS is given for a host (`certs.d`). */
export interface HostCertificates {
  ca?: string[];
  cert?: string;
  key?: string;
}

/** Reads `<certsDir>/<host>/`; nothing where there is no such folder. Throws `invalid` for half a pair. */
export function certificatesOf(certsDir: string, host: string): HostCertificates {
  const folder = join(certsDir, host);
  let names: string[];
  try {
    names = readdirSync(folder).sort();
  } catch {
    return {};
  }
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const ca = names.filter((name) => name.endsWith(".crt")).map(read);
  const certName = names.find((name) => name.endsWith(".cert"));
  const keyName = names.find((name) => name.endsWith(".key"));
  if (certName !== undefined && !names.includes(certName.replace(/cert$/, "key")))
    throw new GantryError(
      "invalid",
      `missing key ${certName.replace(/cert$/, "key")} for client certificate ${certName}. Note that CA certificates should use the extension .crt`,
    );
  if (keyName !== undefined && !names.includes(keyName.replace(/key$/, "cert")))
    throw new GantryError(
      "invalid",
      `missing client certificate ${keyName.replace(/key$/, "cert")} for key ${keyName}`,
    );
  return {
    ...(ca.length === 0 ? {} : { ca }),
    ...(certName === undefined ? {} : { cert: read(certName), key: read(certName.replace(/cert$/, "key")) }),
  };
}
