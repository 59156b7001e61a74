import type { VolumeResource } from "#api/docker/object-types.ts";
import { GantryError } from "#base/errors.ts";

export type VolumeFilters = Readonly<Record<string, readonly string[]>>;

/** `key` or `key=value` against an object's labels. */
export function hasLabel(labels: Readonly<Record<string, string>> | null, filter: string): boolean {
  const equals = filter.indexOf("=");
  const key = equals < 0 ? filter : filter.slice(0, equals);
  if (labels === null || !Object.hasOwn(labels, key)) return false;
  return equals < 0 || labels[key] === filter.slice(equals + 1);
}

export function refuseUnknown(filters: VolumeFilters, known: readonly string[]): void {
  for (const key of Object.keys(filters))
    if (!known.includes(key)) throw new GantryError("invalid", `invalid filter '${key}'`);
}

/** docker's words for a boolean (strconv.ParseBool), or the error of a filter that wants one. */
export function booleanFilter(filters: VolumeFilters, key: string): boolean | undefined {
  const values = filters[key];
  if (values === undefined || values.length === 0) return undefined;
  const read = values.map((value) => {
    if (/^(1|t|true|T|TRUE|True)$/.test(value)) return true;
    if (/^(0|f|false|F|FALSE|False)$/.test(value)) return false;
    throw new GantryError("invalid", `invalid filter '${key}=[${values.join(" ")}]'`);
  });
  if (read.some((value) => value !== read[0]))
    throw new GantryError("invalid", `invalid filter '${key}=[${values.join(" ")}]'`);
  return read[0];
}

/** The filters of `docker volume ls`: dangling, driver, label, name. */
export function volumeFilter(
  filters: VolumeFilters,
  inUse: (name: string) => boolean,
): (volume: VolumeResource) => boolean {
  refuseUnknown(filters, ["dangling", "driver", "label", "name"]);
  const dangling = booleanFilter(filters, "dangling");
  const { driver = [], label = [], name = [] } = filters;
  return (volume) =>
    (dangling === undefined || dangling !== inUse(volume.Name)) &&
    (driver.length === 0 || driver.includes(volume.Driver)) &&
    (name.length === 0 || name.some((part) => volume.Name.includes(part))) &&
    label.every((each) => hasLabel(volume.Labels, each));
}
