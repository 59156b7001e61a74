import { GantryError } from "#base/errors.ts";
import type { IdRange } from "#base/id-mapping.ts";

/** One line of /etc/subuid or /etc/subgid (subuid(5)). */
export interface SubordinateRange {
  /** A user's name or number. */
  owner: string;
  start: number;
  count: number;
}

const idLimit = 2 ** 32 - 1;

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) < idLimit ? Number(text) : undefined;
}

/** Reads /etc/subuid or /etc/subgid. Lines that are no ranges, and what goes beyond the last id, are left out. */
export function parseSubordinateRanges(text: string): SubordinateRange[] {
  return text.split("\n").flatMap((line) => {
    const [owner = "", ...numbers] = line.trim().split(":");
    const [start, count] = numbers.map(numberOf);
    if (owner === "" || owner.startsWith("#") || numbers.length !== 2) return [];
    if (start === undefined || count === undefined || count === 0 || start + count > idLimit) return [];
    return [{ owner, start, count }];
  });
}

/**
 * The ids that a user may hand out, from 0 on inside, in the order of the file, as docker has it. Id 0 outside is
 * never handed out. Throws `invalid` for ranges that include it.
 */
export function subordinateIds(
  ranges: readonly SubordinateRange[],
  user: { name: string; uid: number },
  file: string,
): IdRange[] {
  const own = ranges.filter(({ owner }) => owner === user.name || owner === String(user.uid));
  let containerId = 0;
  return own.map(({ start, count }) => {
    if (start === 0)
      throw new GantryError("invalid", `${file} gives the machine's own root, id 0, to the user "${user.name}"`);
    const range = { containerId, hostId: start, length: count };
    containerId += count;
    return range;
  });
}

const firstStart = 100_000;

/** Where `count` ids are free that nobody has been given. Throws `exhausted`. */
export function freeSubordinateStart(ranges: readonly SubordinateRange[], count: number): number {
  let start = firstStart;
  for (const range of [...ranges].sort((left, right) => left.start - right.start))
    if (range.start < start + count && range.start + range.count > start) start = range.start + range.count;
  if (start + count > idLimit)
    throw new GantryError("exhausted", `There are no ${count} ids left that belong to nobody.`);
  return start;
}
