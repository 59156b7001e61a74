import { GantryError } from "./errors.ts";

/** A run of ids: those from `containerId` on in a user namespace are those from `hostId` on outside. */
export interface IdRange {
  containerId: number;
  hostId: number;
  length: number;
}

/** Which users and groups of the machine those of a user namespace are (user_namespaces(7)). */
export interface IdMapping {
  uids: readonly IdRange[];
  gids: readonly IdRange[];
}

export interface FileOwner {
  uid: number;
  gid: number;
}

/** What the kernel shows for an id that has no counterpart (/proc/sys/kernel/overflowuid). */
export const overflowId = 65_534;

/** The kernel's -1 is no id. */
const idLimit = 2 ** 32 - 1;
/** What one write to a map takes (user_namespaces(7)). */
const maxRanges = 340;

/** The id outside, or undefined where the namespace has no such id. */
export function toHostId(ranges: readonly IdRange[], id: number): number | undefined {
  const range = ranges.find(({ containerId, length }) => id >= containerId && id < containerId + length);
  return range === undefined ? undefined : id - range.containerId + range.hostId;
}

/** The id inside, or undefined for one that the namespace does not have. */
export function toContainerId(ranges: readonly IdRange[], id: number): number | undefined {
  const range = ranges.find(({ hostId, length }) => id >= hostId && id < hostId + length);
  return range === undefined ? undefined : id - range.hostId + range.containerId;
}

/** Who root inside is outside. Throws `invalid` for a mapping without root. */
export function mappedRoot(mapping: IdMapping): FileOwner {
  const uid = toHostId(mapping.uids, 0);
  const gid = toHostId(mapping.gids, 0);
  if (uid === undefined || gid === undefined)
    throw new GantryError("invalid", "The user namespace has no root: its mapping must have the ids 0.");
  return { uid, gid };
}

/** As /proc/PID/uid_map takes it. */
export function formatIdMap(ranges: readonly IdRange[]): string {
  return ranges.map(({ containerId, hostId, length }) => `${containerId} ${hostId} ${length}\n`).join("");
}

function isRange({ containerId, hostId, length }: IdRange): boolean {
  return [containerId, hostId, length].every(
    (number) => Number.isSafeInteger(number) && number >= 0 && number <= idLimit,
  );
}

/** Throws `invalid` for what the kernel would refuse, with the reason. */
export function checkIdRanges(ranges: readonly IdRange[], what: string): void {
  const refuse = (why: string): GantryError => new GantryError("invalid", `The ${what} cannot be mapped: ${why}.`);
  if (ranges.length === 0) throw refuse("there are none");
  if (ranges.length > maxRanges) throw refuse(`${ranges.length} ranges are more than the ${maxRanges} of one map`);
  for (const range of ranges) {
    const { containerId, hostId, length } = range;
    const shown = `${containerId}:${hostId}:${length}`;
    if (!isRange(range) || length === 0) throw refuse(`${shown} is no range of ids`);
    if (containerId + length > idLimit || hostId + length > idLimit)
      throw refuse(`${shown} goes beyond the last id, ${idLimit - 1}`);
  }
  for (const side of ["containerId", "hostId"] as const) {
    const sorted = [...ranges].sort((left, right) => left[side] - right[side]);
    for (const [index, range] of sorted.entries()) {
      const next = sorted[index + 1];
      if (next !== undefined && range[side] + range.length > next[side])
        throw refuse(`the ranges at ${range[side]} and ${next[side]} overlap`);
    }
  }
}

export const isSameMapping = (left: IdMapping, right: IdMapping): boolean =>
  formatIdMap(left.uids) === formatIdMap(right.uids) && formatIdMap(left.gids) === formatIdMap(right.gids);
