import { GantryError, hasCode } from "#base/errors.ts";
import type { Container } from "./container.ts";

/**
 * `--link` on the default bridge: another container under a name of the linking one's choice. Links are stored as
 * `ID:ALIAS`, so that they survive a rename of either, and shown as `/OTHER:/OWN/ALIAS`.
 */
export interface ContainerLink {
  name: string;
  alias: string;
  hostname: string;
  ip: string;
  container: Container;
}

interface Containers {
  all(): Container[];
  byId(id: string): Container | undefined;
  resolve(ref: string): Container;
}

/** `other:alias`, `other`, or the form that inspect shows. */
export function parseLink(link: string): { ref: string; alias: string } {
  const [ref = "", alias = ref] = link.split(":");
  return { ref, alias: alias.replace(/^.*\//, "") };
}

/** The names that one container has for others, as the embedded DNS takes them. */
export function linkNames(links: readonly string[]): Record<string, string> {
  return Object.fromEntries(links.map(parseLink).map(({ ref, alias }) => [alias, ref.replace(/^\//, "")]));
}

/** Links as they are stored. Throws docker's sentence for a container that is not there. */
export function storedLinks(links: readonly string[], containers: Containers): string[] {
  return links.map((link) => {
    const { ref, alias } = parseLink(link);
    try {
      return `${containers.resolve(ref).id}:${alias}`;
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
      // Not "not found", for which the CLI would pull the image.
      throw new GantryError("invalid", `could not get container for ${ref}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  });
}

/** The containers that a container's links name; undefined where one has gone. */
function linked(container: Container, containers: Containers): { alias: string; other: Container | undefined }[] {
  return (container.hostConfig.Links ?? []).map(parseLink).map(({ ref, alias }) => ({
    alias,
    other: containers.byId(ref),
  }));
}

/** What inspect shows: `/db:/web/alias`, in order; null without links. */
export function shownLinks(container: Container, containers: Containers): string[] | null {
  const shown = linked(container, containers).flatMap(({ alias, other }) =>
    other === undefined ? [] : [`/${other.name}:/${container.name}/${alias}`],
  );
  return shown.length === 0 ? null : shown.sort();
}

/** The names that containers have because others link to them: `/web/alias`, by the container's id. */
export function namesByLinks(containers: Containers): ReadonlyMap<string, string[]> {
  const names = new Map<string, string[]>();
  for (const container of containers.all()) {
    for (const { alias, other } of linked(container, containers)) {
      if (other !== undefined) names.set(other.id, [...(names.get(other.id) ?? []), `/${container.name}/${alias}`]);
    }
  }
  return names;
}

/** Whom `OWN/ALIAS` means. */
export function linkTarget(owner: Container, alias: string, containers: Containers): Container | undefined {
  return linked(owner, containers).find((link) => link.alias === alias)?.other;
}

/**
 * The containers that `--link` names, with their addresses on the default bridge. Throws docker's sentence for one
 * that does not run.
 */
export function runningLinks(container: Container, containers: Containers): ContainerLink[] {
  if (container.record.NetworkSettings.Networks["bridge"] === undefined) return [];
  return (container.hostConfig.Links ?? []).map(parseLink).map(({ ref, alias }) => {
    const other = containers.byId(ref);
    const name = other?.name ?? ref.slice(0, 12);
    const ip = other?.isRunning === true ? other.record.NetworkSettings.Networks["bridge"]?.IPAddress : undefined;
    if (other === undefined || ip === undefined || ip === "") {
      throw new GantryError(
        "invalid",
        `Cannot link to a non running container: /${name} AS /${container.name}/${alias}`,
      );
    }
    return { name, alias, hostname: other.record.Config.Hostname ?? "", ip, container: other };
  });
}
