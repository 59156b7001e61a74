import type { Ulimit } from "#api/docker/container-types.ts";
import { GantryError } from "#base/errors.ts";
import { checkLogOptions, logBounds } from "#engine/log-options.ts";
import { checkUlimitName } from "#engine/ulimits.ts";

function invalid(message: string): GantryError {
  return new GantryError("invalid", message);
}

/** `KEY=VALUE` each, no key twice with different values; the same line twice counts once. */
export function checkLabels(labels: readonly string[]): string[] {
  const values = new Map<string, string>();
  for (const label of labels) {
    const equals = label.indexOf("=");
    if (equals <= 0) throw invalid(`bad attribute format: ${label}`);
    const [key, value] = [label.slice(0, equals), label.slice(equals + 1)];
    const before = values.get(key);
    if (before !== undefined && before !== value)
      throw invalid(`conflict labels for ${key}=${value} and ${key}=${before}`);
    values.set(key, value);
  }
  return [...values].map(([key, value]) => `${key}=${value}`);
}

/** A mirror's address with a slash at its end, as `docker info` shows it. */
export function checkMirror(text: string): string {
  const mirror = text.trim();
  let url: URL;
  try {
    url = new URL(mirror);
  } catch (cause) {
    throw new GantryError("invalid", `invalid mirror: ${JSON.stringify(mirror)} is not a valid URI`, { cause });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw invalid(
      `invalid mirror: unsupported scheme ${JSON.stringify(url.protocol.slice(0, -1))} in ${JSON.stringify(mirror)}: must use either 'https://' or 'http://'`,
    );
  if (url.search !== "" || url.hash !== "")
    throw invalid(`invalid mirror: query or fragment at end of the URI ${JSON.stringify(mirror)}`);
  if (url.username !== "" || url.password !== "")
    throw invalid(`invalid mirror: username/password not allowed in URI ${JSON.stringify(url.host)}`);
  return mirror.endsWith("/") ? mirror : `${mirror}/`;
}

/** `host[:port]` or an address range. */
export function checkInsecureRegistry(text: string, warnings: string[]): string {
  const scheme = /^https?:\/\//i.exec(text)?.[0];
  const name = scheme === undefined ? text : text.slice(scheme.length);
  if (scheme !== undefined)
    warnings.push(
      `insecure registry ${text} should not contain '${scheme}' and '${scheme}' has been removed from the insecure registry config`,
    );
  if (name.includes("://")) throw invalid(`insecure registry ${name} should not contain '://'`);
  if (/^-|-$/.test(name)) throw invalid(`invalid index name (${name}). Cannot begin or end with a hyphen`);
  if (/^[0-9a-fA-F.:]+\/\d{1,3}$/.test(name)) return name;
  const match = /^([A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::(\d+))?$/.exec(name);
  if (match === null) throw invalid(`insecure registry ${name} is not valid: invalid host "${name}"`);
  if (match[2] !== undefined && (Number(match[2]) < 1 || Number(match[2]) > 65_535))
    throw invalid(`insecure registry ${name} is not valid: invalid port "${match[2]}"`);
  return name;
}

/** The default log driver with its options: in dockerd's words, and what no container could start with is refused too. */
export function checkLogging(
  driver: string | undefined,
  options: Readonly<Record<string, string>> = {},
): { logDriver: string; logOptions: Record<string, string> } {
  const name = driver || "json-file";
  checkLogOptions(name, {});
  try {
    checkLogOptions(name, options);
    logBounds(name, options);
  } catch (cause) {
    throw new GantryError("invalid", `failed to set log opts: ${(cause as Error).message}`, { cause });
  }
  return { logDriver: name, logOptions: { ...options } };
}

/** `{"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}}`. */
export function checkUlimits(given: Readonly<Record<string, Record<string, unknown>>> = {}): Ulimit[] {
  return Object.entries(given).map(([key, entry]) => {
    const fields = new Map(Object.entries(entry).map(([name, value]) => [name.toLowerCase(), value]));
    for (const name of fields.keys())
      if (!["name", "soft", "hard"].includes(name))
        throw invalid(`default-ulimits: unknown field ${JSON.stringify(name)} of ${key}`);
    const name = fields.get("name") ?? key;
    if (name !== key) throw invalid(`invalid ulimit type: ${String(name)}`);
    checkUlimitName(key);
    const number = (value: unknown): number => {
      if (!Number.isSafeInteger(value ?? 0))
        throw invalid(
          `json: cannot unmarshal ${typeof value} into Go struct field Config.default-ulimits of type int64`,
        );
      return (value as number | undefined) ?? 0;
    };
    const [hard, soft] = [number(fields.get("hard")), number(fields.get("soft"))];
    if (soft > hard && hard !== -1)
      throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
    return { Name: key, Soft: soft, Hard: hard };
  });
}
