import { readFileSync } from "node:fs";
import { GantryError } from "#base/errors.ts";
import type { TlsOptions } from "#web/server.ts";

/** Where else than on the instance's own socket the Docker API is served. */
export type DockerListener = { kind: "unix"; path: string } | { kind: "tcp"; host: string; port: number };

/** Files of the TCP listeners' certificates. */
export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

/** dockerd's own default of the TLS port. */
const tlsPort = 2376;

/** Where dockerd looks for certificates that are not named. */
const defaultTlsFolder = "/root/.docker";

function invalid(message: string): GantryError {
  return new GantryError("invalid", message);
}

function parseTcp(text: string): DockerListener {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]]*))(?::(\d+))?\/?$/.exec(text.slice("tcp://".length));
  const port = Number(match?.[3] ?? tlsPort);
  if (match === null || port < 1 || port > 65_535) throw invalid(`invalid bind address format: ${text}`);
  return { kind: "tcp", host: match[1] ?? (match[2] || "127.0.0.1"), port };
}

/** Parses one of `hosts`. Throws `invalid` in dockerd's words, and for what is not served, with the reason. */
export function parseHost(text: string): DockerListener {
  const host = text.trim();
  if (host.startsWith("tcp://")) return parseTcp(host);
  if (host.startsWith("unix://")) {
    const path = host.slice("unix://".length) || "/var/run/docker.sock";
    // The kernel's limit, the closing zero included (unix(7)).
    if (!path.startsWith("/") || Buffer.byteLength(path) > 107) throw invalid(`invalid bind address format: ${text}`);
    return { kind: "unix", path };
  }
  if (host.startsWith("fd://")) {
    throw invalid(
      `hosts: ${text} is not supported by Gantry: it takes no sockets from systemd; name the socket's path as unix://PATH`,
    );
  }
  if (host.startsWith("npipe://")) throw invalid(`hosts: ${text} is not supported by Gantry: named pipes are Windows'`);
  throw invalid(`invalid bind address format: ${text}`);
}

/** What daemon.json says about how the API is served. */
export interface HostKeys {
  hosts: readonly string[];
  tls: boolean | undefined;
  tlsverify: boolean | undefined;
  tlscacert: string | undefined;
  tlscert: string | undefined;
  tlskey: string | undefined;
}

/**
 * The listeners, and the certificates' files when one of them is TCP. Throws `invalid` for TCP without client
 * certificates: whoever may speak to the API is root on this machine.
 */
export function parseHosts(keys: HostKeys): { listeners: DockerListener[]; tls: TlsFiles | undefined } {
  const listeners = keys.hosts.map(parseHost);
  const tcp = keys.hosts.find((host) => host.trim().startsWith("tcp://"));
  if (tcp === undefined) return { listeners, tls: undefined };
  if (keys.tlsverify !== true) {
    throw invalid(
      `hosts: ${tcp} needs "tlsverify": true with tlscacert, tlscert and tlskey: Gantry serves the API over TCP only to clients with a certificate, since whoever reaches it is root on this machine`,
    );
  }
  const file = (named: string | undefined, name: string): string => named || `${defaultTlsFolder}/${name}.pem`;
  return {
    listeners,
    tls: { ca: file(keys.tlscacert, "ca"), cert: file(keys.tlscert, "cert"), key: file(keys.tlskey, "key") },
  };
}

/** Reads the certificates. Throws `invalid` in dockerd's words when one cannot be read. */
export function readTls(files: TlsFiles): TlsOptions {
  const read = (what: string, path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      const reason =
        (cause as NodeJS.ErrnoException).code === "ENOENT" ? "no such file or directory" : "cannot be read";
      throw new GantryError("invalid", `${what}: open ${path}: ${reason}`, { cause });
    }
  };
  const pair = `could not load X509 key pair (cert: ${JSON.stringify(files.cert)}, key: ${JSON.stringify(files.key)})`;
  return {
    clientCa: read(`could not read CA certificate ${JSON.stringify(files.ca)}`, files.ca),
    cert: read(pair, files.cert),
    key: read(pair, files.key),
    requireClientCertificate: true,
  };
}

/** The number of a group of /etc/group, by name or number. Throws dockerd's `group NAME not found`. */
export function groupId(name: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  for (const line of readFileSync("/etc/group", "utf8").split("\n")) {
    const [group, , id] = line.split(":");
    if (group === name) return Number(id);
  }
  throw invalid(`group ${name} not found`);
}
