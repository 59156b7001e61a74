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

/** A time that a user gives in a filter: seconds since the epoch with fraction, RFC 3339, or a Go duration back from now. */
export function parseUserTime(text: string, now: number): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const duration = /^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?$/.exec(text);
  if (duration !== null && text !== "") {
    const [, h = "0", m = "0", s = "0"] = duration;
    return now - (Number(h) * 3600 + Number(m) * 60 + Number(s)) * 1000;
  }
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}
