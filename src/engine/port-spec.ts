import type { HostConfig, PortMap } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import type { Protocol, PublishedPort, PublishRequest } from "#network/network-types.ts";

const portNumber = (text: string): number | undefined => {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  return number >= 0 && number <= 65_535 ? number : undefined;
};

/** `80/tcp`, `8000-8002/udp`, `80` as protocol and ports. Throws docker's sentence. */
export function parsePortKey(key: string): { protocol: Protocol; from: number; to: number } {
  const [ports = "", protocol = "tcp", ...rest] = key.split("/");
  const [from, to] = [ports.split("-")[0], ports.split("-")[1] ?? ports].map((text) => portNumber(text ?? ""));
  if (rest.length > 0 || !["tcp", "udp", "sctp"].includes(protocol.toLowerCase())) {
    throw new GantryError("invalid", `invalid port specification: "${key}"`);
  }
  if (from === undefined || to === undefined || to < from || from === 0) {
    throw new GantryError("invalid", `invalid port specification: "${key}"`);
  }
  return { protocol: protocol.toLowerCase() as Protocol, from, to };
}

/** The host's side of a binding: undefined for any free port. */
export function parseHostPort(text: string): { from: number; to: number } | undefined {
  if (text === "") return undefined;
  const [from, to] = [text.split("-")[0], text.split("-")[1] ?? text].map((part) => portNumber(part ?? ""));
  if (from === undefined || to === undefined || to < from) {
    throw new GantryError("invalid", `invalid port specification: "${text}"`);
  }
  return from === 0 ? undefined : { from, to };
}

/** What a container asks to have published: its bindings and, with `-P`, every exposed port. */
export function publishRequests(host: HostConfig, exposed: Readonly<Record<string, unknown>>): PublishRequest[] {
  const out: PublishRequest[] = [];
  for (const [key, bindings] of Object.entries(host.PortBindings ?? {})) {
    const { protocol, from, to } = parsePortKey(key);
    for (let port = from; port <= to; port++) {
      for (const binding of bindings ?? []) {
        const hostPort = parseHostPort(binding.HostPort ?? "");
        const shifted =
          hostPort !== undefined && to > from
            ? { from: hostPort.from + port - from, to: hostPort.from + port - from }
            : hostPort;
        out.push({
          protocol,
          containerPort: port,
          hostIp: binding.HostIp ?? "",
          ...(shifted === undefined ? {} : { hostPort: shifted }),
        });
      }
    }
  }
  if (host.PublishAllPorts !== true) return out;
  for (const key of Object.keys(exposed)) {
    const { protocol, from, to } = parsePortKey(key);
    for (let port = from; port <= to; port++) {
      if (!out.some((request) => request.containerPort === port && request.protocol === protocol)) {
        out.push({ protocol, containerPort: port, hostIp: "" });
      }
    }
  }
  return out;
}

/** `NetworkSettings.Ports`: published ports, and null for those that are only exposed. */
export function portMap(published: readonly PublishedPort[], exposed: Readonly<Record<string, unknown>>): PortMap {
  const out: PortMap = {};
  for (const key of Object.keys(exposed)) {
    const { protocol, from, to } = parsePortKey(key);
    for (let port = from; port <= to; port++) out[`${port}/${protocol}`] = null;
  }
  for (const { containerPort, protocol, hostIp, hostPort } of published) {
    const key = `${containerPort}/${protocol}`;
    out[key] = [...(out[key] ?? []), { HostIp: hostIp, HostPort: String(hostPort) }];
  }
  return out;
}
