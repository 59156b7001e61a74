import type { ContainerLink } from "./container-links.ts";
import { parsePortKey } from "./port-spec.ts";

/** The variables of `--link` on the default bridge: `DB_PORT_5432_TCP_ADDR` and its kin, and the other's own as `DB_ENV_…`. */
export function linkEnvironment(owner: string, links: readonly ContainerLink[]): string[] {
  return links.flatMap(({ alias, ip, container }) => {
    const prefix = alias.toUpperCase().replaceAll("-", "_");
    const ports = Object.keys(container.record.Config.ExposedPorts ?? {})
      .map(parsePortKey)
      .sort((a, b) => a.from - b.from);
    const out = [`${prefix}_NAME=/${owner}/${alias}`];
    const [first] = ports;
    if (first !== undefined) out.push(`${prefix}_PORT=${first.protocol}://${ip}:${first.from}`);
    for (const { from, protocol } of ports) {
      const port = `${prefix}_PORT_${from}_${protocol.toUpperCase()}`;
      out.push(
        `${port}=${protocol}://${ip}:${from}`,
        `${port}_ADDR=${ip}`,
        `${port}_PORT=${from}`,
        `${port}_PROTO=${protocol}`,
      );
    }
    for (const text of container.record.Config.Env ?? []) {
      const key = text.split("=", 1)[0];
      if (key !== "HOME" && key !== "PATH") out.push(`${prefix}_ENV_${text}`);
    }
    return out;
  });
}
