import { GantryError } from "#base/errors.ts";

/** Go's zero time, which docker shows for what never happened. */
export const zeroTime = "0001-01-01T00:00:00Z";

/** RFC 3339 as Go prints it: no more digits than there are. */
export function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.?0*Z$/, "Z");
}

/** Milliseconds of an RFC 3339 time; 0 for the zero time. */
export function parseTime(text: string): number {
  if (text === "" || text.startsWith("0001-")) return 0;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? 0 : ms;
}

/** A duration as `docker ps` words it (go-units, HumanDuration): `About a minute`, `3 hours`. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(ms / 3_600_000 + 0.5);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(ms / 3_600_000 / 24 / 365)} years`;
}

/** A duration as Go prints it (time.Duration.String): `300ms`, `1.5s`, `1m0s`, `2h0m30s`. */
export function goDuration(ms: number): string {
  if (ms === 0) return "0s";
  if (ms < 1) return `${ms * 1000}µs`;
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.trunc(ms / 3_600_000);
  const minutes = Math.trunc(ms / 60_000) % 60;
  const seconds = `${(ms % 60_000) / 1000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

/** Go's units of a duration (time.ParseDuration), in milliseconds. */
const durationUnits: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000_001,
};

/**
 * A time that a user gives in a filter: seconds since the epoch with fraction, RFC 3339 or the beginning of one, or a
 * Go duration back from now. Throws `invalid`: a filter that nobody understood must not choose everything.
 */
export function parseUserTime(text: string, now: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (/^[+-]?(\d+(\.\d*)?(h|m|s|ms|us|µs|ns))+$/.test(text)) {
    let back = 0;
    for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d*)?)(ms|us|µs|ns|h|m|s)/g))
      back += Number(number) * (durationUnits[unit as string] as number);
    return text.startsWith("-") ? now + back : now - back;
  }
  const ms = /^\d{4}-\d\d-\d\d([T ]\d\d.*)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new GantryError("invalid", `failed to parse value as time or duration: ${JSON.stringify(text)}`);
  return ms;
}
