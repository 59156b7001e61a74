import { parseByteSize } from "#base/byte-size.ts";
import { GantryError } from "#base/errors.ts";

const invalid = (message: string): GantryError => new GantryError("invalid", message);

/** Options that docker's drivers take, each by its name; `mode` and `max-buffer-size` are any driver's. */
const namesOf: Readonly<Record<string, readonly string[] | undefined>> = {
  "json-file": ["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"],
  local: ["max-size", "max-file", "compress"],
  none: undefined,
};

export type LogOptions = Readonly<Record<string, string>>;

/** True for a driver of ours. */
export function isLogDriver(name: string): boolean {
  return Object.hasOwn(namesOf, name);
}

/**
 * What dockerd looks at when a container is made, or when it starts itself: the driver, and the names of its options,
 * not their values (moby, daemon/logger/factory.go). Throws `invalid`.
 */
export function checkLogOptions(driver: string, options: LogOptions): void {
  if (!isLogDriver(driver)) throw invalid(`logger: no log driver named '${driver}' is registered`);
  const names = namesOf[driver];
  if (names === undefined) return;
  const { mode = "" } = options;
  const size = options["max-buffer-size"];
  if (!["", "blocking", "non-blocking"].includes(mode)) throw invalid(`logger: logging mode not supported: ${mode}`);
  if (size !== undefined && mode !== "non-blocking")
    throw invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  if (size !== undefined) inContext("error parsing option max-buffer-size", () => parseByteSize(size));
  for (const name of Object.keys(options)) {
    if (names.includes(name) || name === "mode" || name === "max-buffer-size") continue;
    throw invalid(
      driver === "local"
        ? `unknown log opt '${name}' for log driver local`
        : `unknown log opt '${name}' for ${driver} log driver`,
    );
  }
}

function inContext<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new GantryError("invalid", `${what}: ${(cause as Error).message}`, { cause });
  }
}

/** Go's strconv.ParseBool. */
function parseBool(text: string): boolean {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(text)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(text)) return false;
  throw invalid(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

/** Go's strconv.Atoi. */
function parseInteger(text: string): number {
  if (!/^[+-]?\d{1,15}$/.test(text)) throw invalid(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Number(text);
}

/** How a log is kept within bounds. */
export interface LogBounds {
  /** Bytes of one file; 0: unbounded. */
  maxSize: number;
  maxFiles: number;
  compress: boolean;
}

/** What a driver makes of its options when a container starts. Throws `invalid` in the driver's words. */
export function logBounds(driver: string, options: LogOptions): LogBounds {
  if (driver === "none") return { maxSize: 0, maxFiles: 1, compress: false };
  const { "max-size": size, "max-file": files, compress } = options;
  if (driver === "local") {
    const maxSize =
      size === undefined ? 0 : inContext(`invalid value for max-size: ${size}`, () => parseByteSize(size));
    const maxFiles =
      files === undefined ? 5 : inContext(`invalid value for max-file: ${files}`, () => parseInteger(files));
    const isCompressed =
      compress === undefined || inContext("error reading compress log option", () => parseBool(compress));
    if (maxFiles < 0) throw invalid("max file count cannot be less than 0");
    if (isCompressed && maxFiles <= 1) throw invalid("compression cannot be enabled when max file count is 1");
    return { maxSize: maxSize || 20 * 2 ** 20, maxFiles: Math.max(1, maxFiles), compress: isCompressed };
  }
  const maxSize = size === undefined ? 0 : parseByteSize(size, 1000);
  if (size !== undefined && maxSize <= 0) throw invalid("max-size must be a positive number");
  const maxFiles = files === undefined ? 1 : parseInteger(files);
  if (maxFiles < 1) throw invalid("max-file cannot be less than 1");
  const isCompressed = compress !== undefined && parseBool(compress);
  if (isCompressed && (maxFiles < 2 || maxSize === 0))
    throw invalid("compress cannot be true when max-file is less than 2 or max-size is not set");
  return { maxSize, maxFiles, compress: isCompressed };
}
